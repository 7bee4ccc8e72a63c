//! What coordinate-check prints.

use serde::Serialize;
use wick_bins::output::{Report, Table, exact};
use wick_train::{CoordinateTable, Coordinates, Power};

use crate::nets::Parametrization;

#[derive(Debug, Serialize)]
pub(crate) struct CoordinateReport {
    pub(crate) experiment: Experiment,
    pub(crate) runs: Vec<Checked>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Experiment {
    pub(crate) over: &'static str,
    pub(crate) sizes: Vec<usize>,
    /// The units of a layer of residual nets; `None` over the width.
    pub(crate) units: Option<usize>,
    pub(crate) optimizer: String,
    pub(crate) steps: u64,
    pub(crate) seeds: usize,
    pub(crate) tolerance: f64,
    pub(crate) dtype: &'static str,
    pub(crate) device: String,
    pub(crate) seed: u64,
}

/// One parametrization.
#[derive(Debug, Serialize)]
pub(crate) struct Checked {
    pub(crate) parametrization: Parametrization,
    /// Whether no layer's change grows or fades.
    pub(crate) is_independent: bool,
    pub(crate) layers: Vec<Coordinates>,
}

impl Checked {
    pub(crate) fn new(parametrization: Parametrization, table: CoordinateTable, tolerance: f64) -> Self {
        let is_independent = table.is_independent(tolerance);
        Self { parametrization, is_independent, layers: table.layers }
    }

    /// What was found, in a line.
    pub(crate) fn verdict(&self, over: &str, tolerance: f64) -> String {
        let name = self.parametrization.name();
        if self.is_independent {
            return format!("{name}: no change depends on the {over} (exponents within {tolerance})");
        }
        let exponent = |layer: &Coordinates| layer.change.map_or(0.0, |change| change.exponent.abs());
        let worst = self.layers.iter().max_by(|a, b| exponent(a).total_cmp(&exponent(b)));
        let Some(Coordinates { layer, change: Some(change), .. }) =
            worst.filter(|layer| exponent(layer) > tolerance)
        else {
            return format!("{name}: a layer does not change at all, so that nothing is said");
        };
        let (how, wrong) = if change.exponent > 0.0 { ("grow", "too high") } else { ("fade", "too low") };
        format!(
            "{name}: changes {how} with the {over}, most in `{layer}` like {over}^{:.2}: a learning rate that is right for a \
             small net is {wrong} for a large one",
            change.exponent
        )
    }
}

fn power(power: Option<Power>) -> String {
    match power {
        Some(Power { exponent, half_width: Some(half) }) => format!("{exponent:.2} ± {half:.2}"),
        Some(Power { exponent, half_width: None }) => format!("{exponent:.2}"),
        None => "zero somewhere".to_owned(),
    }
}

impl Report for CoordinateReport {
    fn tables(&self) -> Vec<Table> {
        let e = &self.experiment;
        let sizes: Vec<String> = e.sizes.iter().map(usize::to_string).collect();
        let units = e.units.map_or(String::new(), |units| format!(" of {units} units"));
        let title = format!(
            "exponents over the {} {}{units}: {} steps of {}, {} nets each; {} on {}, seed {}",
            e.over,
            sizes.join(", "),
            e.steps,
            e.optimizer,
            e.seeds,
            e.dtype,
            e.device,
            e.seed
        );
        let mut table =
            Table::new(title, ["parametrization", "layer", "outputs at the start", "their change"]);
        for run in &self.runs {
            for layer in &run.layers {
                let name = run.parametrization.name().to_owned();
                table.row([name, layer.layer.clone(), power(layer.start), power(layer.change)]);
            }
        }
        let verdicts = self.runs.iter().map(|run| run.verdict(e.over, e.tolerance));
        table.note = verdicts.collect::<Vec<_>>().join("\n");
        vec![table]
    }

    fn csv(&self) -> Table {
        let header = [
            "parametrization",
            "layer",
            "start_exponent",
            "start_half_width",
            "change_exponent",
            "change_half_width",
        ];
        let mut table = Table::new("", header);
        for run in &self.runs {
            for layer in &run.layers {
                let exponent =
                    |power: Option<Power>| power.map(|power| exact(power.exponent)).unwrap_or_default();
                let half = |power: Option<Power>| {
                    power.and_then(|power| power.half_width).map(exact).unwrap_or_default()
                };
                table.row([
                    run.parametrization.name().to_owned(),
                    layer.layer.clone(),
                    exponent(layer.start),
                    half(layer.start),
                    exponent(layer.change),
                    half(layer.change),
                ]);
            }
        }
        table
    }
}
