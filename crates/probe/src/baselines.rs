//! The rules of other tools, to compare with. Their thresholds are absolute, so that verdicts change when the
//! loss is scaled.

use crate::diagnose::fault::{Fault, Level, Verdict};
use crate::diagnose::layer_report::LayerReport;
use crate::observe::parameters::{ParameterGradient, Update};

/// The rules of another tool, with its default thresholds.
///
/// ```
/// use wick_probe::{Baseline, Fault, ParameterGradient};
///
/// let (name, zeros, weight_std) = ("w".into(), 0.0, 0.1);
/// let tiny = ParameterGradient { name, norm: 1e-6, mean_abs: 1e-8, zeros, weight_std };
/// let verdicts = Baseline::SageMaker.judge(&[], &[tiny], &[]);
/// assert_eq!(verdicts[0].fault, Fault::VanishingGradient);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Baseline {
    /// Amazon SageMaker Debugger's built-in rules: a gradient's mean magnitude below 1e-7; a layer with half
    /// of its units dead; weights of two layers whose variances differ by a factor of 10; an update above 10
    /// times the weight or below 1e-8 of it.
    SageMaker,
    /// AutoTrainer (Zhang et al. 2021, *AutoTrainer: an automatic DNN training problem detection and repair
    /// system*): the first gradient's norm below 1e-3 of the last's and below 1e-4; any above 70; 70 % of all
    /// gradients zero.
    AutoTrainer,
    /// DeepChecker (Ben Braiek and Khomh 2023, *Testing feedforward neural networks training programs*): an
    /// activation's std outside `[0.5, 2]`; `log10` of update over weight outside `[-4, -1]`.
    DeepChecker,
}

impl Baseline {
    /// All tools.
    pub const ALL: [Self; 3] = [Self::SageMaker, Self::AutoTrainer, Self::DeepChecker];

    /// The faults that the tool's rules find in a step, from the layers, the parameters' gradients and the
    /// updates, each from first to last.
    pub fn judge(
        self,
        layers: &[LayerReport],
        gradients: &[ParameterGradient],
        updates: &[Update],
    ) -> Vec<Verdict> {
        let mut found = Vec::new();
        let mut report = |fault, layer: &str, figure: f64| {
            let text = format!("{layer}: {fault:?} ({figure:.2e}), by the rules of {self:?}");
            found.push(Verdict::new(fault, Level::Faulty, layer, figure, text));
        };
        let is_bad = |x: f64| !x.is_finite();
        if let Some(layer) = layers.iter().find(|layer| is_bad(layer.rms)) {
            report(Fault::NonFinite, &layer.name, layer.rms);
        }
        if let Some(gradient) = gradients.iter().find(|gradient| is_bad(gradient.norm)) {
            report(Fault::NonFinite, &gradient.name, gradient.norm);
        }
        let weights = || updates.iter().filter(|update| update.rank > 1 && update.rms > 0.0);
        match self {
            Self::SageMaker => {
                for gradient in gradients.iter().filter(|gradient| gradient.mean_abs < 1e-7).take(1) {
                    report(Fault::VanishingGradient, &gradient.name, gradient.mean_abs);
                }
                for layer in layers {
                    if let Some(constant) = layer.constant.filter(|constant| *constant > 0.5) {
                        report(Fault::DeadUnits, &layer.name, constant);
                        break;
                    }
                }
                let variances =
                    gradients.iter().map(|gradient| gradient.weight_std.powi(2)).filter(|v| *v > 0.0);
                let (low, high) =
                    variances.fold((f64::INFINITY, 0.0f64), |(low, high), v| (low.min(v), high.max(v)));
                if high / low > 10.0 {
                    report(Fault::OutsideBand, "weights", high / low);
                }
                for update in weights() {
                    let ratio = 10f64.powf(update.log10_ratio);
                    if !(1e-8..=10.0).contains(&ratio) {
                        report(Fault::UpdateRatio, &update.name, ratio);
                        break;
                    }
                }
            }
            Self::AutoTrainer => {
                if let (Some(first), Some(last)) = (gradients.first(), gradients.last())
                    && first.norm / last.norm < 1e-3
                    && first.norm < 1e-4
                {
                    report(Fault::VanishingGradient, &first.name, first.norm / last.norm);
                }
                for gradient in gradients.iter().filter(|gradient| gradient.norm > 70.0).take(1) {
                    report(Fault::ExplodingGradient, &gradient.name, gradient.norm);
                }
                let zeros =
                    gradients.iter().map(|gradient| gradient.zeros).sum::<f64>() / gradients.len() as f64;
                if zeros >= 0.7 {
                    report(Fault::DeadUnits, "gradients", zeros);
                }
            }
            Self::DeepChecker => {
                for layer in layers.iter().filter(|layer| !(0.5..=2.0).contains(&layer.std)).take(1) {
                    report(Fault::OutsideBand, &layer.name, layer.std);
                }
                for update in weights().filter(|update| !(-4.0..=-1.0).contains(&update.log10_ratio)).take(1)
                {
                    report(Fault::UpdateRatio, &update.name, update.log10_ratio);
                }
            }
        }
        found
    }
}
