//! The time against the batch on log axes, with a panel for each job and a line for each width.

use anyhow::Result;
use wick_bins::picture::Picture;
use wick_bins::picture::chart::{Chart, Series};

use crate::jobs::Job;
use crate::report::{DeviceBench, Measured};

const PANEL: (u32, u32) = (520, 380);

pub(crate) fn render(report: &DeviceBench) -> Result<Picture> {
    let jobs: Vec<Job> =
        Job::ALL.into_iter().filter(|job| report.measured.iter().any(|row| row.job == *job)).collect();
    let columns = jobs.len().clamp(1, 2) as u32;
    let rows = (jobs.len() as u32).div_ceil(columns).max(1);
    Picture::render((PANEL.0 * columns, PANEL.1 * rows), |area| {
        let panels = area.split_evenly((rows as usize, columns as usize));
        jobs.iter().zip(&panels).try_for_each(|(&job, panel)| chart(report, job).draw(panel))
    })
}

/// Returns the chart of a job. With a GPU, the CPU's lines are dashed. The GPU's lines are those of `f32`;
/// the table has the other types.
fn chart(report: &DeviceBench, job: Job) -> Chart {
    let mut widths: Vec<usize> = report.measured.iter().map(|row| row.width).collect();
    widths.sort_unstable();
    widths.dedup();
    // Drawing has no batch, so its times are plotted against the width.
    let lines: Vec<Option<usize>> =
        if job == Job::Draw { vec![None] } else { widths.into_iter().map(Some).collect() };
    let machines: Vec<&str> =
        report.peaks.iter().map(|peak| peak.on.as_str()).filter(|on| on.ends_with(" f32")).collect();
    let mut series = Vec::new();
    for (number, width) in lines.into_iter().enumerate() {
        for (machine, on) in machines.iter().enumerate() {
            let in_line = |row: &&Measured| {
                row.job == job && row.on == *on && width.is_none_or(|width| width == row.width)
            };
            let x = |row: &Measured| if width.is_some() { row.batch } else { row.width };
            let rows = report.measured.iter().filter(in_line);
            let mut points: Vec<(f64, f64)> = rows.map(|row| ((x(row) as f64).log2(), row.ms)).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let is_cpu = on.starts_with("cpu");
            let label = match width {
                _ if points.is_empty() => continue,
                Some(width) if is_cpu => format!("width {width}"),
                Some(_) => String::new(),
                None => (*on).to_owned(),
            };
            let colour = if width.is_some() { number } else { machine };
            let line = Series::new(label, colour, points).with_markers();
            series.push(if is_cpu && machines.len() > 1 { line.dashed() } else { line });
        }
    }
    let title = match job {
        Job::Product => "One product".into(),
        Job::Forward => format!("Forward through {} layers, with statistics", report.depth),
        Job::Training => format!("Training step of {} layers", report.depth),
        Job::Draw => "Drawing the weights of a layer".into(),
    };
    let gpu = machines.iter().find(|on| !on.starts_with("cpu"));
    Chart {
        title: gpu
            .map_or_else(|| format!("{title}: the CPU"), |gpu| format!("{title}: {gpu}, dashed the CPU")),
        x_label: format!("log2 of the {}", if job == Job::Draw { "width" } else { "batch" }),
        y_label: "milliseconds".into(),
        log: true,
        series,
        ..Chart::default()
    }
}
