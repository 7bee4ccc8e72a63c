//! What layer-stats prints.

use serde::Serialize;
use wick_bins::data::name_of;
use wick_bins::output::{Cell, Column, Report, Table, apart, csv_of, short, table_of, times};
use wick_model::{Activation, MlpConfig};
use wick_probe::{Fault, Histogram, LayerReport, Probe, Verdict, describe_trend, judge, not_judged};
use wick_theory::{BatchGeometry, LayerBands, write_number};

use crate::ranking::{Outcome, Ranking};

#[derive(Debug, Serialize)]
pub(crate) struct LayerStats {
    pub(crate) experiment: Experiment,
    pub(crate) runs: Vec<Run>,
    /// `None` for one seed.
    pub(crate) ranking: Option<Ranking>,
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
    /// The columns of the data that are no features.
    pub(crate) left_out: Vec<String>,
    /// Their numbers, from 1.
    pub(crate) left_out_columns: Vec<usize>,
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
    /// Whether there are enough outputs to judge their scale.
    #[serde(skip)]
    has_a_scale: bool,
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
        (config, input): (&MlpConfig, &BatchGeometry),
        probe: &Probe,
        bands: Option<&[LayerBands]>,
        advice: Option<&str>,
    ) -> Self {
        let reports = probe.layer_reports();
        let mut faults = judge(&reports, input);
        let predicted = |index: usize| bands?.get(index).copied().map(Predicted::from);
        let layers =
            config.layers().zip(probe.records()).enumerate().map(|(index, ((fan_in, fan_out), record))| {
                let (forward, backward) = (record.forward, record.backward);
                let gradient = |f: fn(&wick_probe::Summary) -> f64| backward.as_ref().map_or(f64::NAN, f);
                Layer {
                    has_a_scale: reports.get(index).is_some_and(LayerReport::has_a_scale),
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
        if advice.is_some() {
            // Data with large means make samples alike and units constant, whatever weights and biases are.
            let of_data =
                |fault: &&mut Verdict| matches!(fault.fault, Fault::RankCollapse | Fault::DeadUnits);
            faults.iter_mut().filter(of_data).for_each(|fault| fault.remedy.clear());
        }
        let mut sentences = verdict(&faults, &layers, advice);
        sentences.extend(not_judged(&reports, input).map(|note| format!("Not judged: {note}.")));
        let verdict = sentences.join(" ");
        for fault in &mut faults {
            let parts = advice.into_iter().chain(Some(&*fault.remedy).filter(|remedy| !remedy.is_empty()));
            fault.remedy = parts.collect::<Vec<_>>().join("; then: ");
        }
        Self { init: init.to_owned(), verdict, faults, layers }
    }

    /// What the ranking needs.
    pub(crate) fn outcome(&self) -> Outcome {
        let ratio = |of: fn(&Layer) -> f64| match self.judged()[..] {
            [first, .., last] => of(last) / of(first),
            _ => f64::NAN,
        };
        Outcome {
            std_ratio: ratio(|layer| layer.forward.std),
            gradient_ratio: 1.0 / ratio(|layer| layer.backward.rms),
            is_faulty: !self.faults.is_empty(),
        }
    }

    /// The layers with enough outputs to judge their scale.
    fn judged(&self) -> Vec<&Layer> {
        self.layers.iter().filter(|layer| layer.has_a_scale).collect()
    }

    /// What became of the signal between the first layer and the last.
    fn note(&self) -> String {
        // One layer has nothing to compare with, and few outputs have no std.
        let [first, .., last] = self.judged()[..] else { return String::new() };
        format!(
            "forward, std from {} to {}: {}; backward, rms from {} to {}: {}\n",
            first.name,
            last.name,
            times(last.forward.std / first.forward.std),
            last.name,
            first.name,
            times(first.backward.rms / last.backward.rms),
        )
    }
}

/// What is wrong, or how the signals go; and whether that is what theory says. In sentences; none if nothing
/// is wrong and too few layers have the outputs to tell how the signals go.
fn verdict(faults: &[Verdict], layers: &[Layer], advice: Option<&str>) -> Vec<String> {
    let judged: Vec<&Layer> = layers.iter().filter(|layer| layer.has_a_scale).collect();
    let said = match faults {
        [] if judged.len() < layers.len().min(2) => None,
        [] => Some(describe_trend(&judged.iter().map(|layer| layer.forward.std).collect::<Vec<_>>())),
        faults => {
            let mut said = faults.iter().map(|fault| fault.text.as_str()).collect::<Vec<_>>().join("; ");
            let remedies =
                faults.iter().map(|fault| fault.remedy.as_str()).filter(|remedy| !remedy.is_empty());
            let remedies = remedies.collect::<std::collections::BTreeSet<_>>();
            for remedy in advice.into_iter().chain(remedies) {
                said += &format!(". {remedy}");
            }
            Some(said)
        }
    };
    let zeros = layers.last().filter(|last| last.forward.min == 0.0 && last.forward.max == 0.0);
    let zeros = zeros.filter(|_| said.is_none()).map(|last| format!("all outputs of {} are 0", last.name));
    let sentences = said.or(zeros).into_iter().chain(beside_theory(faults, &judged, layers.len()));
    sentences.map(|sentence| sentence + ".").collect()
}

/// How many of the judged layers are outside their predicted bands, if theory predicts any.
fn beside_theory(faults: &[Verdict], judged: &[&Layer], layers: usize) -> Option<String> {
    let predicted = || judged.iter().filter_map(|layer| Some((layer, layer.predicted?)));
    let outside: Vec<&str> = predicted()
        .filter(|(layer, p)| !(p.std_low..=p.std_high).contains(&layer.forward.std))
        .map(|(layer, _)| layer.name.as_str())
        .collect();
    let all = predicted().count();
    // A layer beside its own input may be off where a net as a whole is not.
    let one_is_off = faults.iter().any(|fault| fault.fault == Fault::OutsideBand);
    let chance = if faults.is_empty() { "; 5 % are expected to be" } else { "" };
    let Some(first) = outside.first() else {
        return match all {
            0 => None,
            _ if one_is_off || judged.len() < layers.min(2) => None,
            _ if all < layers => {
                Some("The std of every layer that is judged is in its predicted band".into())
            }
            _ => Some("Every layer's std is in its predicted band".into()),
        };
    };
    match (outside.len(), first, all) {
        (1, first, 1) => Some(format!("{first} is outside its predicted band{chance}")),
        (1, first, _) => Some(format!("1 of {all} layers is outside its predicted band, {first}{chance}")),
        (count, first, _) => {
            Some(format!("{count} of {all} layers are outside their predicted band, {first} first{chance}"))
        }
    }
}

/// A layer of a run, and whether it is the last.
type Row<'a> = (&'a Run, &'a Layer, bool);

/// The columns of the layers.
fn columns<'a>() -> [Column<Row<'a>>; 22] {
    [
        Column::for_programs("init", |(run, ..)| run.init.as_str().into()),
        Column::new("layer", "layer", |(_, layer, _)| layer.name.as_str().into()),
        Column::new("fan_in", "fan_in", |(_, layer, _)| layer.fan_in.into()),
        Column::new("fan_out", "fan_out", |(_, layer, _)| layer.fan_out.into()),
        Column::new("mean", "mean", |(_, layer, _)| layer.forward.mean.into()),
        Column::for_people("std", |(_, layer, _)| beside_band(layer).0),
        Column::for_programs("std", |(_, layer, _)| layer.forward.std.into()),
        Column::for_people("predicted", |(_, layer, _)| beside_band(layer).1),
        Column::new("min", "min", |(_, layer, _)| layer.forward.min.into()),
        Column::new("max", "max", |(_, layer, _)| layer.forward.max.into()),
        Column::new("saturated", "saturated", |(_, layer, _)| Cell::Fraction(layer.forward.saturated)),
        Column::for_people("histogram", |(_, layer, _)| sparkline(&layer.forward.histogram)),
        Column::for_programs("backward_mean", |(_, layer, _)| layer.backward.mean.into()),
        Column::for_programs("backward_std", |(_, layer, _)| layer.backward.std.into()),
        Column::new("gradient rms", "backward_rms", |(_, layer, _)| layer.backward.rms.into()),
        Column::for_people("predicted ", |(_, layer, is_last)| match layer.predicted {
            // The gradient of the last output is the one that the program sends in.
            Some(_) if *is_last => "given".into(),
            predicted => band(predicted.map(|p| [p.backward_low, p.backward_high])),
        }),
        Column::for_programs("predicted_std", |row| predicted(row, |p| p.std)),
        Column::for_programs("predicted_std_low", |row| predicted(row, |p| p.std_low)),
        Column::for_programs("predicted_std_high", |row| predicted(row, |p| p.std_high)),
        Column::for_programs("predicted_backward_rms", |row| predicted(row, |p| p.backward_rms)),
        Column::for_programs("predicted_backward_low", |row| predicted(row, |p| p.backward_low)),
        Column::for_programs("predicted_backward_high", |row| predicted(row, |p| p.backward_high)),
    ]
}

fn predicted((_, layer, _): &Row<'_>, of: fn(&Predicted) -> f64) -> Cell {
    layer.predicted.as_ref().map(of).into()
}

impl Run {
    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let last = self.layers.len().saturating_sub(1);
        self.layers.iter().enumerate().map(move |(index, layer)| (self, layer, index == last))
    }
}

impl Report for LayerStats {
    fn tables(&self) -> Vec<Table> {
        let tables = self.runs.iter().map(|run| {
            let mut table = table_of(&run.init, &columns(), run.rows());
            table.note = format!("{}verdict: {}", run.note(), run.verdict);
            table
        });
        let Experiment {
            samples,
            features,
            activation,
            bias_std,
            dtype,
            device,
            seed,
            data,
            left_out,
            left_out_columns,
            standardized,
        } = &self.experiment;
        let standardized = if *standardized { ", standardized" } else { "" };
        let data = name_of(data);
        let bias = if *bias_std > 0.0 {
            format!(", biases of σ = {}", write_number(*bias_std))
        } else {
            String::new()
        };
        let without = match left_out.len() {
            0 => String::new(),
            1..=5 => {
                let named = left_out.iter().zip(left_out_columns).map(|(name, column)| {
                    let number = format!("column {column}");
                    if *name == number { number } else { format!("{name} ({number})") }
                });
                format!(" without {}", named.collect::<Vec<_>>().join(", "))
            }
            count => format!(" without {count} columns"),
        };
        let title = format!(
            "{samples}×{features} {data}{without}{standardized} input, {activation}{bias}, {dtype} on {device}, seed {seed}"
        );
        let ranking = self.ranking.iter().map(Ranking::table);
        std::iter::once(Table { title, ..Table::default() }).chain(tables).chain(ranking).collect()
    }

    /// The layers; of several seeds, the ranking.
    fn csv(&self) -> Table {
        match &self.ranking {
            Some(ranking) => ranking.csv(),
            None => csv_of(&columns(), self.runs.iter().flat_map(Run::rows)),
        }
    }
}

/// A predicted band for people.
fn band(ends: Option<[f64; 2]>) -> Cell {
    ends.map_or(Cell::Unknown, |ends| {
        let [low, high] = apart(ends);
        format!("{low}–{high}").into()
    })
}

/// A layer's std and its band for people, with the digits that tell on which side of its ends the std is.
fn beside_band(layer: &Layer) -> (Cell, Cell) {
    let std = layer.forward.std;
    match layer.predicted {
        Some(p) => {
            let [std, low, high] = apart([std, p.std_low, p.std_high]);
            (std.into(), format!("{low}–{high}").into())
        }
        None => (short(std).into(), Cell::Unknown),
    }
}

/// Returns a histogram as a word of at most fifteen blocks, of as many numbers at least: fewer have no shape.
fn sparkline(histogram: &Histogram) -> Cell {
    if histogram.counts.iter().sum::<u64>() < 15 {
        return Cell::Unknown;
    }
    const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let joined = histogram.counts.len().div_ceil(15);
    let bins: Vec<u64> = histogram.counts.chunks(joined).map(|bins| bins.iter().sum()).collect();
    let tallest = bins.iter().copied().max().unwrap_or(0).max(1);
    // A bin that is not empty shows, even if it is small.
    let height = |count: u64| (8 * count).div_ceil(tallest) as usize;
    bins.into_iter().map(|count| BLOCKS[height(count).min(8)]).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_shows_the_smallest_bin_and_the_tallest() {
        let mut histogram = Histogram::new(0.0, 1.0, 4);
        histogram.counts = vec![0, 1, 500, 1000];
        assert_eq!(sparkline(&histogram), " ▁▄█".into());
        histogram.counts = vec![1; 30];
        assert_eq!(sparkline(&histogram), "█".repeat(15).into());
        histogram.counts = vec![7, 7];
        assert_eq!(sparkline(&histogram), Cell::Unknown);
    }
}
