//! What device-bench prints.

use serde::Serialize;
use wick_bins::output::{Cell, Column, Report, Table, apart, csv_of, short, table_of};

use crate::jobs::{Job, Size};
use crate::machine::Check;

#[derive(Debug, Serialize)]
pub(crate) struct DeviceBench {
    /// The reason why no GPU was measured.
    pub(crate) missing: Option<String>,
    pub(crate) depth: usize,
    pub(crate) seed: u64,
    pub(crate) peaks: Vec<Peak>,
    pub(crate) checks: Vec<Check>,
    pub(crate) measured: Vec<Measured>,
    pub(crate) crossovers: Vec<Crossover>,
    /// The number of sizes that were too large for a device.
    pub(crate) left_out: usize,
}

/// The peak of a machine: an FMA loop for the CPU, the largest product for other devices.
#[derive(Debug, Serialize)]
pub(crate) struct Peak {
    pub(crate) on: String,
    pub(crate) gflops: f64,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measured {
    /// Device and type.
    pub(crate) on: String,
    pub(crate) job: Job,
    pub(crate) batch: usize,
    pub(crate) width: usize,
    pub(crate) ms: f64,
    /// For drawing, billions of numbers a second.
    pub(crate) gflops: f64,
    /// The fraction of the machine's peak.
    pub(crate) fraction_of_peak: Option<f64>,
    /// The CPU's time over this one.
    pub(crate) speedup: Option<f64>,
    pub(crate) transfer_ms: Option<f64>,
}

/// The batch from which on another device is faster than the CPU.
#[derive(Debug, Serialize)]
pub(crate) struct Crossover {
    pub(crate) on: String,
    pub(crate) job: Job,
    pub(crate) width: usize,
    /// `None` if the device never is.
    pub(crate) batch: Option<usize>,
    /// The same with the transfer of the input included.
    pub(crate) with_transfer: Option<usize>,
}

impl Measured {
    pub(crate) fn new(on: &str, size: &Size, ms: f64, transfer_ms: Option<f64>, peak: f64) -> Self {
        let gflops = size.operations() / ms * 1e-6;
        Self {
            on: on.to_owned(),
            job: size.job,
            batch: size.batch,
            width: size.width,
            ms,
            gflops,
            fraction_of_peak: (size.job != Job::Draw).then_some(gflops / peak),
            speedup: None,
            transfer_ms,
        }
    }
}

impl DeviceBench {
    pub(crate) fn new(
        missing: Option<String>,
        depth: usize,
        seed: u64,
        peaks: Vec<Peak>,
        checks: Vec<Check>,
        mut measured: Vec<Measured>,
        left_out: usize,
    ) -> Self {
        let cpu: Vec<Measured> = measured.iter().filter(|row| row.on.starts_with("cpu")).cloned().collect();
        let on_cpu = |row: &Measured| {
            let same =
                |other: &&Measured| (other.job, other.batch, other.width) == (row.job, row.batch, row.width);
            cpu.iter().find(same).map(|row| row.ms)
        };
        for row in measured.iter_mut().filter(|row| !row.on.starts_with("cpu")) {
            row.speedup = on_cpu(row).map(|ms| ms / row.ms);
        }
        let mut crossovers: Vec<Crossover> = Vec::new();
        for row in measured.iter().filter(|row| row.speedup.is_some()) {
            let is_known =
                |known: &Crossover| (&known.on, known.job, known.width) == (&row.on, row.job, row.width);
            if crossovers.iter().any(is_known) {
                continue;
            }
            let with = |transfer: bool| {
                let mut of: Vec<(usize, bool)> = measured
                    .iter()
                    .filter(|other| (&other.on, other.job, other.width) == (&row.on, row.job, row.width))
                    .filter_map(|other| {
                        let more = if transfer { other.transfer_ms.unwrap_or(0.0) } else { 0.0 };
                        Some((other.batch, other.ms + more < on_cpu(other)?))
                    })
                    .collect();
                of.sort_unstable();
                // The device wins at this batch and at every larger one that was measured.
                let lost = of.iter().rposition(|(_, wins)| !wins);
                of.get(lost.map_or(0, |index| index + 1)).map(|(batch, _)| *batch)
            };
            crossovers.push(Crossover {
                on: row.on.clone(),
                job: row.job,
                width: row.width,
                batch: with(false),
                with_transfer: with(true),
            });
        }
        Self { missing, depth, seed, peaks, checks, measured, crossovers, left_out }
    }
}

/// The columns of the measured times.
fn columns<'a>() -> [Column<&'a Measured>; 10] {
    [
        Column::new("on", "on", |row| row.on.as_str().into()),
        Column::new("job", "job", |row| row.job.name().into()),
        Column::new("width", "width", |row| row.width.into()),
        Column::for_people("batch", |row| if row.batch == 0 { Cell::Unknown } else { row.batch.into() }),
        Column::for_programs("batch", |row| row.batch.into()),
        Column::new("ms", "ms", |row| row.ms.into()),
        Column::new("GFLOP/s", "gflops", |row| row.gflops.into()),
        Column::new("of its peak", "fraction_of_peak", |row| {
            row.fraction_of_peak.map_or(Cell::Unknown, Cell::Fraction)
        }),
        Column::new("× the CPU", "speedup", |row| row.speedup.into()),
        Column::new("transfer ms", "transfer_ms", |row| row.transfer_ms.into()),
    ]
}

impl Report for DeviceBench {
    fn tables(&self) -> Vec<Table> {
        let mut peaks = Table::new("what each can do", ["on", "GFLOP/s"]);
        for peak in &self.peaks {
            peaks.row([peak.on.clone(), short(peak.gflops)]);
        }
        peaks.note = match &self.missing {
            Some(why) => format!("No GPU: {why}."),
            None => self
                .checks
                .iter()
                .map(|check| {
                    let [off, bound] = apart([check.largest_difference, check.bound]);
                    format!(
                        "{}: the CPU's weights to the bit, outputs within {off} ({bound} is allowed)",
                        check.on
                    )
                })
                .collect::<Vec<_>>()
                .join("\n"),
        };
        let mut rows = table_of(format!("{} layers, medians", self.depth), &columns(), &self.measured);
        if self.left_out > 0 {
            rows.note = format!(
                "{} sizes were left out: more operations than --cpu-limit, or more memory than the device has",
                self.left_out
            );
        }
        let mut tables = vec![peaks, rows];
        if !self.crossovers.is_empty() {
            let header = ["on", "job", "width", "wins from batch", "with the transfer"];
            let mut table = Table::new("crossover", header);
            for cross in &self.crossovers {
                let from = |x: Option<usize>| match x {
                    None => "never".into(),
                    Some(0) => "always".into(),
                    Some(batch) => batch.to_string(),
                };
                table.row([
                    cross.on.clone(),
                    cross.job.to_string(),
                    cross.width.to_string(),
                    from(cross.batch),
                    from(cross.with_transfer),
                ]);
            }
            tables.push(table);
        }
        tables
    }

    fn csv(&self) -> Table {
        csv_of(&columns(), &self.measured)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(on: &str, batch: usize, ms: f64, transfer_ms: Option<f64>) -> Measured {
        let size = Size { job: Job::Product, batch, width: 64, depth: 1 };
        Measured::new(on, &size, ms, transfer_ms, 100.0)
    }

    /// The GPU takes 1 ms for any batch and 0.5 ms for the transfer, and the CPU 0.01 ms a sample.
    #[test]
    fn crossovers_are_where_it_wins_from() {
        let batches = [1, 64, 128, 256];
        let cpu = batches.map(|batch| row("cpu f32", batch, 0.01 * batch as f64, None));
        let gpu = batches.map(|batch| row("cuda:0 f32", batch, 1.0, Some(0.5)));
        let rows: Vec<_> = cpu.into_iter().chain(gpu).collect();
        let bench = DeviceBench::new(None, 1, 0, vec![], vec![], rows, 0);
        let [cross] = &bench.crossovers[..] else { panic!("one crossover") };
        assert_eq!((cross.batch, cross.with_transfer), (Some(128), Some(256)));
        assert_eq!(bench.measured[7].speedup, Some(2.56));
        let slow = vec![row("cpu f32", 1, 1.0, None), row("metal:0 f32", 1, 2.0, None)];
        assert_eq!(DeviceBench::new(None, 1, 0, vec![], vec![], slow, 0).crossovers[0].batch, None);
    }
}
