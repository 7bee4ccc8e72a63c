//! Loss and spread against the step.

use anyhow::Result;
use wick_bins::picture::Picture;
use wick_bins::picture::chart::{Chart, Series};

use crate::report::{Run, Symmetry};

pub(crate) fn render(report: &Symmetry) -> Result<Picture> {
    let lines = |values: fn(&Run) -> &[f64]| -> Vec<Series> {
        let runs = report.runs.iter().enumerate();
        runs.map(|(number, run)| {
            let points = values(run).iter().enumerate().map(|(step, &y)| (step as f64, y));
            let line = Series::new(run.init.as_str(), number, points);
            if number == 0 { line } else { line.dashed() }
        })
        .collect()
    };
    let chart = |title: &str, y_label: &str, series| Chart {
        title: title.into(),
        x_label: "step".into(),
        y_label: y_label.into(),
        log: false,
        series,
        ..Chart::default()
    };
    let loss = chart("What is learned", "cross entropy", lines(|run| &run.loss));
    let spread = chart("How far the hidden units are apart", "largest difference", lines(|run| &run.spread));
    Picture::render((1100, 440), |area| {
        let (left, right) = area.split_horizontally(550);
        loss.draw(&left)?;
        spread.draw(&right)
    })
}
