//! The rules of other tools, to compare with: all of them absolute, so that they turn when the loss is scaled.

use crate::LayerReport;
use crate::parameters::{ParameterGradient, Update};
use crate::verdict::{Fault, Verdict};

/// The rules of another tool, with the thresholds that it has when nobody changes them.
///
/// ```
/// use wick_probe::{Fault, ParameterGradient, Baseline};
///
/// let tiny = ParameterGradient { name: "w".into(), norm: 1e-6, mean_abs: 1e-8, zeros: 0.0, weight_std: 0.1 };
/// let verdicts = Baseline::SageMaker.judge(&[], &[tiny], &[]);
/// assert_eq!(verdicts[0].fault, Fault::VanishingGradient);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Baseline {
    /// Amazon SageMaker Debugger's built-in rules: a gradient's mean magnitude below 1e-7; a layer of which half the units are
    /// dead; the weights' variances of two layers a factor of 10 apart; an update above 10 times the weight or below 1e-8 of it.
    SageMaker,
    /// AutoTrainer (Zhang et al. 2021, *AutoTrainer: an automatic DNN training problem detection and repair system*): the first
    /// gradient's norm below 1e-3 of the last's and below 1e-4; any above 70; 70 % of all gradients zero.
    AutoTrainer,
    /// DeepChecker (Ben Braiek and Khomh 2023, *Testing feedforward neural networks training programs*): an activation's std
    /// outside `[0.5, 2]`; `log10` of update over weight outside `[-4, -1]`.
    DeepChecker,
}

impl Baseline {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::SageMaker, Self::AutoTrainer, Self::DeepChecker];

    /// What the tool's rules find in a step: its layers, its parameters' gradients and updates, each from first to last.
    pub fn judge(
        self,
        layers: &[LayerReport],
        gradients: &[ParameterGradient],
        updates: &[Update],
    ) -> Vec<Verdict> {
        let mut found = Vec::new();
        let mut say = |fault, layer: &str, figure: f64| {
            let text = format!("{layer}: {fault:?} ({figure:.2e}), by the rules of {self:?}");
            found.push(Verdict { fault, layer: layer.to_owned(), figure, text, remedy: String::new() });
        };
        let bad = |x: f64| !x.is_finite();
        if let Some(layer) = layers.iter().find(|layer| bad(layer.rms)) {
            say(Fault::NonFinite, &layer.name, layer.rms);
        }
        if let Some(gradient) = gradients.iter().find(|gradient| bad(gradient.norm)) {
            say(Fault::NonFinite, &gradient.name, gradient.norm);
        }
        let weights = || updates.iter().filter(|update| update.rank > 1 && update.rms > 0.0);
        match self {
            Self::SageMaker => {
                for gradient in gradients.iter().filter(|gradient| gradient.mean_abs < 1e-7).take(1) {
                    say(Fault::VanishingGradient, &gradient.name, gradient.mean_abs);
                }
                for layer in layers {
                    if let Some(constant) = layer.constant.filter(|constant| *constant > 0.5) {
                        say(Fault::DeadUnits, &layer.name, constant);
                        break;
                    }
                }
                let variances =
                    gradients.iter().map(|gradient| gradient.weight_std.powi(2)).filter(|v| *v > 0.0);
                let (low, high) =
                    variances.fold((f64::INFINITY, 0.0f64), |(low, high), v| (low.min(v), high.max(v)));
                if high / low > 10.0 {
                    say(Fault::OutsideBand, "weights", high / low);
                }
                for update in weights() {
                    let ratio = 10f64.powf(update.log10_ratio);
                    if !(1e-8..=10.0).contains(&ratio) {
                        say(Fault::UpdateRatio, &update.name, ratio);
                        break;
                    }
                }
            }
            Self::AutoTrainer => {
                if let (Some(first), Some(last)) = (gradients.first(), gradients.last())
                    && first.norm / last.norm < 1e-3
                    && first.norm < 1e-4
                {
                    say(Fault::VanishingGradient, &first.name, first.norm / last.norm);
                }
                for gradient in gradients.iter().filter(|gradient| gradient.norm > 70.0).take(1) {
                    say(Fault::ExplodingGradient, &gradient.name, gradient.norm);
                }
                let zeros =
                    gradients.iter().map(|gradient| gradient.zeros).sum::<f64>() / gradients.len() as f64;
                if zeros >= 0.7 {
                    say(Fault::DeadUnits, "gradients", zeros);
                }
            }
            Self::DeepChecker => {
                for layer in layers.iter().filter(|layer| !(0.5..=2.0).contains(&layer.std)).take(1) {
                    say(Fault::OutsideBand, &layer.name, layer.std);
                }
                for update in weights().filter(|update| !(-4.0..=-1.0).contains(&update.log10_ratio)).take(1)
                {
                    say(Fault::UpdateRatio, &update.name, update.log10_ratio);
                }
            }
        }
        found
    }
}
