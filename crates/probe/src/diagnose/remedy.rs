//! Weights that fix a net.

use wick_theory::{Activation, Critical, Custom, LayerLaw, MeanField, predict};

use crate::diagnose::fault::{Fault, MAX_SATURATED, MAX_TOTAL_CHANGE, MIN_SLOPE_FRACTION, Verdict};
use crate::diagnose::layer_report::LayerReport;
use crate::text::{short, without_trailing_zeros};

/// The law of weights that keeps signals and gradients, if the laws of the layers are known and lose these by
/// themselves. The text is empty if they are not known, if all layers have that law already, or if the fault is that of
/// a layer, which does not do what its law says.
pub(crate) fn remedy(layers: &[LayerReport]) -> String {
    let laws = || layers.iter().filter_map(|layer| layer.law).filter(|law| law.phi != Activation::Identity);
    let Some(law) = laws().next() else { return String::new() };
    if !lose_signals(&laws().collect::<Vec<_>>()) {
        return String::new();
    }
    let phi = law.phi;
    let Some(critical) = critical_point(phi) else {
        return format!(
            "{phi} has no weights that keep its signals and its gradients; tanh, relu and gelu have"
        );
    };
    if laws().all(|law| is_critical(&law, critical)) {
        return String::new();
    }
    let sigma = (critical.weight_variance / law.fan_in as f64).sqrt();
    let bias = if critical.bias_variance > 1e-6 {
        format!(" and biases of σ = {}", short(critical.bias_variance.sqrt()))
    } else {
        String::new()
    };
    let variance = without_trailing_zeros(&short(critical.weight_variance));
    format!("{phi} keeps its signals with Var W = {variance}/fan_in, here σ = {}{bias}", short(sigma))
}

/// Whether theory predicts that layers of these laws lose what comes in, or the gradients: that these shrink or grow by
/// the root of what is a fault of a net, or that a layer is saturated.
fn lose_signals(laws: &[LayerLaw<Activation>]) -> bool {
    let predicted = predict(laws, 1.0, 1.0);
    let is_kept = |size: f64| size.is_finite() && (2.0 * size.ln()).abs() < MAX_TOTAL_CHANGE.ln();
    let is_flat = |q: f64, phi: Activation| {
        let field = MeanField { phi, weight_variance: 1.0, bias_variance: 0.0 };
        phi.range().is_some() && field.chi_1(q) < MIN_SLOPE_FRACTION * max_slope(phi).powi(2)
    };
    laws.iter().zip(&predicted).any(|(law, layer)| {
        !is_kept(layer.rms) || !is_kept(layer.gradient_rms) || is_flat(layer.pre_activation_variance, law.phi)
    })
}

/// The weights by which an activation keeps its signals, in words; `None` if there are none.
pub(crate) fn weights_that_keep(phi: Activation) -> Option<String> {
    let critical = critical_point(phi)?;
    let variance = without_trailing_zeros(&short(critical.weight_variance));
    Some(format!("{phi} keeps its signals with Var W = {variance}/fan_in"))
}

/// What helps a layer that is dead as a whole at the start.
pub(crate) const NEW_WEIGHTS: &str = "draw its weights at random, with biases of 0";

/// The remedy of a fault whose rule knows none of its own: of a layer that is dead as a whole at the start, other
/// weights; of what came by training, another training. Empty where neither is known to help.
pub(crate) fn of_fault(verdict: &Verdict, layers: &[LayerReport]) -> String {
    let Some(layer) = layers.iter().find(|layer| layer.name == verdict.layer) else { return String::new() };
    let by_training = match verdict.fault {
        Fault::DiesOut | Fault::BlowsUp | Fault::Saturated | Fault::RankCollapse => true,
        Fault::VanishingGradient | Fault::ExplodingGradient => true,
        Fault::DeadUnits => verdict.figure >= 0.5,
        // Bands hold at the start alone: what is left is a layer beside the others, or a missing activation.
        Fault::OutsideBand => true,
        _ => false,
    };
    // What it puts out is 0, or its biases.
    let is_dead = matches!(verdict.fault, Fault::DiesOut | Fault::DeadUnits) && layer.is_same();
    if by_training && layer.after_start {
        "if it was not so at the start, start again with a smaller learning rate or less weight decay, a tenth at a \
         time, while the loss falls faster"
            .to_owned()
    } else if is_dead {
        NEW_WEIGHTS.to_owned()
    } else if verdict.fault == Fault::NonFinite && layer.after_start {
        "start again with a smaller learning rate, a tenth at a time, while the loss falls faster, or look at what this \
         layer computes"
            .to_owned()
    } else if verdict.fault == Fault::NonFinite {
        "look at what this layer computes: a division by 0, a root or a logarithm of 0 or less, a number beyond the \
         range of its type"
            .to_owned()
    } else {
        String::new()
    }
}

/// The critical point of an activation, without biases if it has one. A point at which a layer is saturated
/// is none.
fn critical_point(phi: Activation) -> Option<Critical> {
    let field = MeanField { phi, weight_variance: 1.0, bias_variance: 0.0 };
    let critical = field.critical().or_else(|| field.critical_point())?;
    let (low, high) = phi.saturation_thresholds();
    let is_flat = Custom {
        value: |x: f64| f64::from(u8::from(x <= low || x >= high)),
        derivative: |_: f64| 0.0,
        kinks: [low, high].into_iter().filter(|threshold| threshold.is_finite()).collect(),
    };
    let fraction =
        MeanField { phi: is_flat, weight_variance: 1.0, bias_variance: 0.0 }.length_map(critical.q);
    let slope_fraction = field.chi_1(critical.q) / max_slope(phi).powi(2);
    let is_saturated =
        phi.range().is_some() && (fraction > MAX_SATURATED || slope_fraction < MIN_SLOPE_FRACTION);
    (!is_saturated).then_some(critical)
}

/// Whether a layer has the critical variances: the weights' within 5 %, the biases' within 10 %.
fn is_critical(law: &LayerLaw<Activation>, critical: Critical) -> bool {
    let variance = law.weight_variance * law.fan_in as f64;
    (variance / critical.weight_variance - 1.0).abs() < 0.05
        && (law.bias_variance - critical.bias_variance).abs() <= 0.1 * critical.bias_variance
}

/// The largest slope of a bounded activation.
pub(crate) fn max_slope(phi: Activation) -> f64 {
    (-800..=800).map(|x| phi.derivative(f64::from(x) / 100.0).abs()).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use wick_theory::BatchGeometry;

    use super::*;
    use crate::judge;

    /// A layer of zeros in a net whose laws keep its signals has other weights for its remedy, and no other law: the laws
    /// are right but for small biases, or for the biases of GELU's critical point. The twins are laws that lose the
    /// signals, or saturate the layers, by themselves.
    #[test]
    fn a_law_is_advised_where_the_laws_are_at_fault() {
        let advised = |phi: Activation, variance: f64, bias_variance: f64| {
            let mut layers: Vec<LayerReport> = (0..4)
                .map(|index| {
                    let (fan_in, fan_out) = (64, 64);
                    let weight_variance = variance / 64.0;
                    let law =
                        LayerLaw { fan_in, fan_out, weight_variance, bias_variance, orthogonal: false, phi };
                    LayerReport::new(format!("fc{index}"), 0.9, 1.0).with_law(law)
                })
                .collect();
            (layers[2].std, layers[2].rms, layers[2].constant) = (0.0, 0.0, Some(1.0));
            let verdicts = judge(&layers, &BatchGeometry::normal(64, 64, 1.0));
            verdicts.into_iter().find(|verdict| verdict.fault == Fault::DiesOut).map(|verdict| verdict.remedy)
        };
        for (phi, variance, bias_variance) in
            [(Activation::Relu, 2.0, 0.005), (Activation::Tanh, 1.0, 0.005), (Activation::Gelu, 2.0, 0.0)]
        {
            assert_eq!(advised(phi, variance, bias_variance).as_deref(), Some(NEW_WEIGHTS), "{phi}");
            for wrong in [0.02, 500.0] {
                let found = advised(phi, wrong, bias_variance);
                assert!(
                    found.as_ref().is_some_and(|text| text.contains("Var W = ")),
                    "{phi}, {wrong}: {found:?}"
                );
            }
        }
    }
}
