//! What layer-stats prints.

use serde::Serialize;
use wick::output::{Report, Table, short};
use wick_model::{Activation, MlpConfig};
use wick_probe::{Histogram, Record};

#[derive(Debug, Serialize)]
pub(crate) struct LayerStats {
    pub(crate) experiment: Experiment,
    pub(crate) runs: Vec<Run>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Experiment {
    pub(crate) samples: usize,
    pub(crate) features: usize,
    pub(crate) activation: Activation,
    pub(crate) dtype: &'static str,
    pub(crate) device: String,
    pub(crate) seed: u64,
    pub(crate) data: String,
    pub(crate) standardized: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) init: String,
    pub(crate) layers: Vec<Layer>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Layer {
    pub(crate) name: String,
    pub(crate) fan_in: usize,
    pub(crate) fan_out: usize,
    pub(crate) forward: Forward,
    pub(crate) backward: Backward,
}

#[derive(Debug, Serialize)]
pub(crate) struct Forward {
    pub(crate) mean: f64,
    pub(crate) std: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) saturated: f64,
    pub(crate) histogram: Histogram,
}

#[derive(Debug, Serialize)]
pub(crate) struct Backward {
    pub(crate) mean: f64,
    pub(crate) std: f64,
    pub(crate) rms: f64,
}

impl Run {
    pub(crate) fn new(init: &str, config: &MlpConfig, records: Vec<Record>) -> Self {
        let layers = config.layers().zip(records).map(|((fan_in, fan_out), record)| {
            let (forward, backward) = (record.forward, record.backward);
            let gradient = |f: fn(&wick_probe::Summary) -> f64| backward.as_ref().map_or(f64::NAN, f);
            Layer {
                name: record.name,
                fan_in,
                fan_out,
                forward: Forward {
                    mean: forward.mean,
                    std: forward.std,
                    min: forward.min,
                    max: forward.max,
                    saturated: record.saturated.unwrap_or(f64::NAN),
                    histogram: forward.histogram,
                },
                backward: Backward {
                    mean: gradient(|g| g.mean),
                    std: gradient(|g| g.std),
                    rms: gradient(|g| g.rms),
                },
            }
        });
        Self { init: init.to_owned(), layers: layers.collect() }
    }

    /// What became of the signal between the first layer and the last.
    fn note(&self) -> String {
        let (Some(first), Some(last)) = (self.layers.first(), self.layers.last()) else {
            return String::new();
        };
        format!(
            "forward, std from {} to {}: {}; backward, rms from {} to {}: {}",
            first.name,
            last.name,
            times(last.forward.std / first.forward.std),
            last.name,
            first.name,
            times(first.backward.rms / last.backward.rms),
        )
    }
}

fn times(ratio: f64) -> String {
    if ratio.is_finite() { format!("×{}", short(ratio)) } else { "–".into() }
}

impl Report for LayerStats {
    fn tables(&self) -> Vec<Table> {
        let header = [
            "layer",
            "fan_in",
            "fan_out",
            "mean",
            "std",
            "min",
            "max",
            "saturated",
            "histogram",
            "gradient rms",
        ];
        let tables = self.runs.iter().map(|run| {
            let mut table = Table::new(&run.init, header);
            for layer in &run.layers {
                let Forward { mean, std, min, max, saturated, histogram } = &layer.forward;
                table.row([
                    layer.name.clone(),
                    layer.fan_in.to_string(),
                    layer.fan_out.to_string(),
                    short(*mean),
                    short(*std),
                    short(*min),
                    short(*max),
                    format!("{:.1} %", 100.0 * saturated),
                    sparkline(histogram),
                    short(layer.backward.rms),
                ]);
            }
            table.note = run.note();
            table
        });
        let Experiment { samples, features, activation, dtype, device, seed, data, standardized } =
            &self.experiment;
        let standardized = if *standardized { ", standardized" } else { "" };
        let title = format!(
            "{samples}×{features} {data}{standardized} input, {activation}, {dtype} on {device}, seed {seed}"
        );
        std::iter::once(Table { title, ..Table::default() }).chain(tables).collect()
    }

    fn csv(&self) -> Table {
        let mut table = Table::new(
            "",
            [
                "init",
                "layer",
                "fan_in",
                "fan_out",
                "mean",
                "std",
                "min",
                "max",
                "saturated",
                "gradient_mean",
                "gradient_std",
                "gradient_rms",
            ],
        );
        for run in &self.runs {
            for layer in &run.layers {
                let (forward, backward) = (&layer.forward, &layer.backward);
                let text = [run.init.clone(), layer.name.clone()];
                let fans = [layer.fan_in, layer.fan_out].map(|fan| fan.to_string());
                let numbers = [
                    forward.mean,
                    forward.std,
                    forward.min,
                    forward.max,
                    forward.saturated,
                    backward.mean,
                    backward.std,
                    backward.rms,
                ];
                table.row(text.into_iter().chain(fans).chain(numbers.map(|x| x.to_string())));
            }
        }
        table
    }
}

/// A histogram as a word of blocks, its bins joined to at most fifteen.
fn sparkline(histogram: &Histogram) -> String {
    const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let joined = histogram.counts.len().div_ceil(15);
    let bins: Vec<u64> = histogram.counts.chunks(joined).map(|bins| bins.iter().sum()).collect();
    let tallest = bins.iter().copied().max().unwrap_or(0).max(1);
    // What is there at all shows, however little it is.
    let height = |count: u64| (8 * count).div_ceil(tallest) as usize;
    bins.into_iter().map(|count| BLOCKS[height(count).min(8)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_shows_the_smallest_bin_and_the_tallest() {
        let mut histogram = Histogram::new(0.0, 1.0, 4);
        histogram.counts = vec![0, 1, 500, 1000];
        assert_eq!(sparkline(&histogram), " ▁▄█");
        histogram.counts = vec![1; 30];
        assert_eq!(sparkline(&histogram), "█".repeat(15));
    }
}
