//! What layer-stats prints.

use serde::Serialize;
use wick_bins::output::{Report, Table, exact, short};
use wick_model::{Activation, MlpConfig};
use wick_probe::{Fault, Histogram, Probe, Verdict, describe_trend, judge};
use wick_theory::{BatchGeometry, LayerBands};

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
    pub(crate) bias_std: f64,
    pub(crate) dtype: &'static str,
    pub(crate) device: String,
    pub(crate) seed: u64,
    pub(crate) data: String,
    pub(crate) standardized: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) init: String,
    /// In one or two sentences.
    pub(crate) verdict: String,
    /// What is wrong, if anything is.
    pub(crate) faults: Vec<Verdict>,
    pub(crate) layers: Vec<Layer>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Layer {
    pub(crate) name: String,
    pub(crate) fan_in: usize,
    pub(crate) fan_out: usize,
    pub(crate) forward: Forward,
    pub(crate) backward: Backward,
    /// `None` where the weights are not independent or orthogonal of mean 0.
    pub(crate) predicted: Option<Predicted>,
}

/// The median over the draws of the weights, and the band that 95 % of them are in.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Predicted {
    pub(crate) std: f64,
    pub(crate) std_low: f64,
    pub(crate) std_high: f64,
    pub(crate) backward_rms: f64,
    pub(crate) backward_low: f64,
    pub(crate) backward_high: f64,
}

impl From<LayerBands> for Predicted {
    fn from(LayerBands { std, gradient_rms }: LayerBands) -> Self {
        Self {
            std: std.middle,
            std_low: std.low,
            std_high: std.high,
            backward_rms: gradient_rms.middle,
            backward_low: gradient_rms.low,
            backward_high: gradient_rms.high,
        }
    }
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
    pub(crate) fn new(
        init: &str,
        config: &MlpConfig,
        input: &BatchGeometry,
        probe: &Probe,
        bands: Option<&[LayerBands]>,
    ) -> Self {
        let faults = judge(&probe.layer_reports(), input);
        let predicted = |index: usize| bands?.get(index).copied().map(Predicted::from);
        let layers =
            config.layers().zip(probe.records()).enumerate().map(|(index, ((fan_in, fan_out), record))| {
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
                    predicted: predicted(index),
                }
            });
        let layers: Vec<Layer> = layers.collect();
        let verdict = verdict(&faults, &layers);
        Self { init: init.to_owned(), verdict, faults, layers }
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

/// What is wrong, or how the signals go; and whether that is what theory says.
fn verdict(faults: &[Verdict], layers: &[Layer]) -> String {
    let stds: Vec<f64> = layers.iter().map(|layer| layer.forward.std).collect();
    let said = match faults {
        [] => describe_trend(&stds),
        faults => {
            let mut said = faults.iter().map(|fault| fault.text.as_str()).collect::<Vec<_>>().join("; ");
            let remedies =
                faults.iter().map(|fault| fault.remedy.as_str()).filter(|remedy| !remedy.is_empty());
            for remedy in remedies.collect::<std::collections::BTreeSet<_>>() {
                said += &format!(". {remedy}");
            }
            said
        }
    };
    let predicted = || layers.iter().filter_map(|layer| Some((layer, layer.predicted?)));
    let outside: Vec<&str> = predicted()
        .filter(|(layer, p)| !(p.std_low..=p.std_high).contains(&layer.forward.std))
        .map(|(layer, _)| layer.name.as_str())
        .collect();
    let all = predicted().count();
    // A layer beside its own input may be off where a net as a whole is not.
    let one_is_off = faults.iter().any(|fault| fault.fault == Fault::OutsideBand);
    match outside[..] {
        _ if all == 0 => format!("{said}."),
        [] if one_is_off => format!("{said}."),
        [] => format!("{said}. Every layer's std is in its predicted band."),
        [first, ..] => {
            let count = outside.len();
            let chance = if faults.is_empty() { "; 5 % are expected to be" } else { "" };
            format!(
                "{said}. {count} of {all} layers are outside their predicted band, {first} first{chance}."
            )
        }
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
            "predicted",
            "min",
            "max",
            "saturated",
            "histogram",
            "gradient rms",
            "predicted ",
        ];
        let tables = self.runs.iter().map(|run| {
            let mut table = Table::new(&run.init, header);
            for (index, layer) in run.layers.iter().enumerate() {
                let last = index + 1 == run.layers.len();
                let Forward { mean, std, min, max, saturated, histogram } = &layer.forward;
                table.row([
                    layer.name.clone(),
                    layer.fan_in.to_string(),
                    layer.fan_out.to_string(),
                    short(*mean),
                    short(*std),
                    band(layer.predicted.map(|p| [p.std_low, p.std_high])),
                    short(*min),
                    short(*max),
                    if saturated.is_nan() { "–".into() } else { format!("{:.1} %", 100.0 * saturated) },
                    sparkline(histogram),
                    short(layer.backward.rms),
                    match layer.predicted {
                        // It is what the loss sends in.
                        Some(_) if last => "given".into(),
                        predicted => band(predicted.map(|p| [p.backward_low, p.backward_high])),
                    },
                ]);
            }
            table.note = format!("{}\nverdict: {}", run.note(), run.verdict);
            table
        });
        let Experiment { samples, features, activation, bias_std, dtype, device, seed, data, standardized } =
            &self.experiment;
        let standardized = if *standardized { ", standardized" } else { "" };
        let bias = if *bias_std > 0.0 { format!(", biases of σ = {bias_std}") } else { String::new() };
        let title = format!(
            "{samples}×{features} {data}{standardized} input, {activation}{bias}, {dtype} on {device}, seed {seed}"
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
                "backward_mean",
                "backward_std",
                "backward_rms",
                "predicted_std",
                "predicted_std_low",
                "predicted_std_high",
                "predicted_backward_rms",
                "predicted_backward_low",
                "predicted_backward_high",
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
                let predicted = layer.predicted.map_or([f64::NAN; 6], |p| {
                    [p.std, p.std_low, p.std_high, p.backward_rms, p.backward_low, p.backward_high]
                });
                let numbers = numbers.into_iter().chain(predicted).map(exact);
                table.row(text.into_iter().chain(fans).chain(numbers));
            }
        }
        table
    }
}

/// A band, shortly.
fn band(ends: Option<[f64; 2]>) -> String {
    match ends {
        None => "–".into(),
        Some([low, high]) => format!("{}–{}", short(low), short(high)),
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
