use wick_theory::{Activation, BatchGeometry, LayerLaw, finite_width};

use super::*;
use crate::diagnose::units::idle_fraction;

/// A healthy tanh net at its critical point, with layers of 200 units and a batch of normal numbers.
pub(crate) fn healthy(depth: usize) -> Vec<LayerReport> {
    let law = LayerLaw {
        fan_in: 200,
        fan_out: 200,
        weight_variance: 1.0 / 200.0,
        bias_variance: 0.0,
        orthogonal: false,
        phi: Activation::Tanh,
    };
    let batch = BatchGeometry::normal(100, 200, 1.0);
    let bands = finite_width(&vec![law; depth], &batch, &batch);
    let report = |(index, bands): (usize, &wick_theory::LayerBands)| {
        let std = bands.std.middle;
        LayerReport {
            gradient_rms: Some(bands.gradient_rms.middle),
            saturated: Some(0.01),
            constant: Some(0.0),
            copies: Some(0.0),
            batch: Some(BatchGeometry::normal(100, 200, std)),
            law: Some(law),
            ..LayerReport::new(format!("layer_{index}"), std, std)
        }
    };
    bands.iter().enumerate().map(report).collect()
}

/// The faults that are found after `spoil` changed the layers, with the layers that are blamed.
fn found(depth: usize, spoil: impl Fn(usize, &mut LayerReport)) -> Vec<(Fault, String)> {
    let mut layers = healthy(depth);
    for (index, layer) in layers.iter_mut().enumerate() {
        spoil(index, layer);
    }
    judge(&layers, &BatchGeometry::normal(100, 200, 1.0))
        .into_iter()
        .map(|verdict| (verdict.fault, verdict.layer))
        .collect()
}

fn only(fault: Fault, layer: &str) -> Vec<(Fault, String)> {
    vec![(fault, layer.to_owned())]
}

#[test]
fn a_healthy_net_has_no_faults_whatever_the_loss_is_multiplied_by() {
    for factor in [1e-6, 1.0, 1e6] {
        assert_eq!(found(12, |_, layer| layer.gradient_rms = layer.gradient_rms.map(|g| g * factor)), []);
    }
    assert!(judge(&[], &BatchGeometry::normal(1, 1, 1.0)).is_empty());
}

#[test]
fn each_fault_by_its_name_and_layer() {
    let scaled = |from: usize, by: f64| {
        move |index: usize, layer: &mut LayerReport| {
            if index >= from {
                (layer.std, layer.rms) = (layer.std * by, layer.rms * by);
                layer.batch = Some(BatchGeometry::normal(100, 200, layer.rms));
            }
        }
    };
    // One layer is 1.5 times too large. It alone is to blame, since each layer is compared with its own
    // input.
    assert_eq!(found(6, scaled(2, 1.5))[0], (Fault::OutsideBand, "layer_2".into()));
    assert_eq!(found(6, scaled(2, 1.03)), []);
    // The gradient before a layer is too large for the layer's weights.
    let back = |index: usize, layer: &mut LayerReport| {
        if index < 3 {
            layer.gradient_rms = layer.gradient_rms.map(|g| g * 2.0);
        }
    };
    assert_eq!(found(6, back), only(Fault::OutsideBand, "layer_3"));
    // If the laws of the layers are not known, the trend over all layers is judged.
    let fading = |index: usize, layer: &mut LayerReport| {
        layer.law = None;
        layer.std = 0.3f64.powi(index as i32);
    };
    assert_eq!(found(10, fading), only(Fault::DiesOut, "layer_2"));
    let growing = |index: usize, layer: &mut LayerReport| {
        layer.law = None;
        layer.std = 3f64.powi(index as i32);
    };
    assert_eq!(found(10, growing), only(Fault::BlowsUp, "layer_3"));
    let gradient = |by: f64| {
        move |index: usize, layer: &mut LayerReport| {
            layer.law = None;
            layer.gradient_rms = Some(1e-4 * by.powi(9 - index as i32));
        }
    };
    assert_eq!(found(10, gradient(0.3)), only(Fault::VanishingGradient, "layer_7"));
    assert_eq!(found(10, gradient(3.0)), only(Fault::ExplodingGradient, "layer_6"));
    assert_eq!(found(10, gradient(0.7)), []);
    let nothing = |index: usize, layer: &mut LayerReport| {
        layer.law = None;
        if index > 3 {
            (layer.std, layer.rms) = (0.0, 0.0);
        }
        if index < 3 {
            layer.gradient_rms = Some(0.0);
        }
    };
    let both = [(Fault::DiesOut, "layer_4".into()), (Fault::VanishingGradient, "layer_2".into())];
    assert_eq!(found(6, nothing), both);
    let one = |at: usize, spoil: fn(&mut LayerReport)| {
        move |index: usize, layer: &mut LayerReport| {
            if index == at {
                spoil(layer);
            }
        }
    };
    assert_eq!(found(5, one(3, |l| l.saturated = Some(0.9))), only(Fault::Saturated, "layer_3"));
    let flat = |l: &mut LayerReport| (l.saturated, l.slope_square) = (Some(0.4), Some(0.05));
    assert_eq!(found(5, one(3, flat)), only(Fault::Saturated, "layer_3"));
    let steep = |l: &mut LayerReport| (l.saturated, l.slope_square) = (Some(0.6), Some(0.3));
    assert_eq!(found(5, one(3, steep)), []);
    assert_eq!(found(5, one(1, |l| l.constant = Some(0.4))), only(Fault::DeadUnits, "layer_1"));
    assert_eq!(found(5, one(2, |l| l.copies = Some(1.0))), only(Fault::SymmetricUnits, "layer_2"));
    let alike = |layer: &mut LayerReport| {
        layer.batch = Some(BatchGeometry {
            cosine: 0.99999,
            cosine_square: 0.99998,
            ..BatchGeometry::normal(100, 200, layer.rms)
        });
    };
    assert_eq!(found(5, one(4, alike)), only(Fault::RankCollapse, "layer_4"));
    // An activation was left out, which the std does not show.
    assert_eq!(found(5, one(3, |l| l.range = Some((-0.9, 1.2)))), only(Fault::OutsideBand, "layer_3"));
    assert_eq!(found(5, one(1, |l| l.rms = f64::NAN)), only(Fault::NonFinite, "layer_1"));
    // A gradient that is NaN at layer 3 is passed back to the layers before.
    let nan_behind = |index: usize, layer: &mut LayerReport| {
        if index <= 3 {
            layer.gradient_rms = Some(f64::NAN);
        }
    };
    assert_eq!(found(5, nan_behind), only(Fault::NonFinite, "layer_3"));
}

/// Half of a ReLU is flat by design, and an unknown activation does not saturate. A tanh does, from a
/// fraction of a half on.
#[test]
fn only_bounded_activations_saturate() {
    let with = |activation: Option<Activation>| {
        let spoil = move |_: usize, layer: &mut LayerReport| {
            (layer.law, layer.activation, layer.saturated) = (None, activation, Some(0.55));
        };
        found(3, spoil)
    };
    assert_eq!(with(None), []);
    assert_eq!(with(Some(Activation::Relu)), []);
    assert_eq!(with(Some(Activation::Tanh)), only(Fault::Saturated, "layer_0"));
}

#[test]
fn constant_outputs_are_dead_signals() {
    let layers: Vec<LayerReport> = healthy(3)
        .into_iter()
        .map(|layer| LayerReport { std: 0.0, rms: 0.5, law: None, constant: Some(1.0), ..layer })
        .collect();
    let verdicts = judge(&layers, &BatchGeometry::normal(100, 200, 1.0));
    let expected = "dies out: all outputs of layer_0 are the same number";
    assert_eq!(verdicts.iter().map(|verdict| verdict.text.as_str()).collect::<Vec<_>>(), [expected]);
}

/// A layer is compared with its input if that is known, and if the type has digits for the numbers.
#[test]
fn bands_need_a_batch_and_normal_numbers() {
    let twice = |index: usize, layer: &mut LayerReport| {
        if index == 2 {
            layer.std *= 2.0;
        }
    };
    assert_eq!(found(4, twice), only(Fault::OutsideBand, "layer_2"));
    let unknown = |index: usize, layer: &mut LayerReport| {
        twice(index, layer);
        layer.batch = None;
    };
    assert_eq!(found(4, unknown), []);
    // A few samples carry nearly all of the signal.
    let uneven = |index: usize, layer: &mut LayerReport| {
        twice(index, layer);
        let lengths = [vec![0.1; 19], vec![18.1]].concat();
        layer.batch = Some(BatchGeometry { lengths, ..BatchGeometry::normal(100, 200, layer.rms) });
    };
    assert_eq!(found(4, uneven), []);
    // The signals are so small that tanh is linear. The input of the first layer is not: it has no law here.
    let tiny = |index: usize, layer: &mut LayerReport| {
        (layer.std, layer.rms, layer.gradient_rms) = (1e-5, 1e-5, None);
        layer.batch = Some(BatchGeometry::normal(100, 200, 1e-5));
        twice(index, layer);
        if index == 0 {
            layer.law = None;
        }
    };
    assert_eq!(found(4, tiny), only(Fault::OutsideBand, "layer_2"));
    let subnormal = |index: usize, layer: &mut LayerReport| {
        tiny(index, layer);
        layer.dtype = Some(candle_core::DType::F16);
    };
    assert_eq!(found(4, subnormal), []);
}

/// GELU is steeper for longer samples, so that gradients on the long samples come back larger than the
/// product of the means. For samples of one length they do not, and a factor of 2 is too large in both cases.
#[test]
fn long_samples_have_long_gradients() {
    let judged = |spread: f64, times: f64| {
        let lengths: Vec<f64> = (0..20).map(|group| 1.0 + spread * (f64::from(group) / 9.5 - 1.0)).collect();
        let mut layers = healthy(4);
        for (index, layer) in layers.iter_mut().enumerate() {
            // E φ'² of GELU at a mean square of 1 is 0.456.
            layer.gradient_rms = Some(if index < 2 { 0.456f64.sqrt() * times } else { 1.0 });
            layer.batch =
                Some(BatchGeometry { lengths: lengths.clone(), ..BatchGeometry::normal(100, 200, 1.0) });
            (layer.std, layer.rms) = (0.58, 0.65);
            let gelu = layer.law.map(|law| LayerLaw { phi: Activation::Gelu, ..law });
            layer.law = gelu.filter(|_| index == 2);
        }
        judge(&layers, &BatchGeometry::normal(100, 200, 1.0)).len()
    };
    assert_eq!((judged(0.9, 1.0), judged(0.9, 1.4), judged(0.9, 2.0)), (0, 0, 1));
    assert_eq!((judged(0.0, 1.0), judged(0.0, 1.4)), (0, 1));
}

/// If 100 samples have a cosine of 0.95, a third of the units of a ReLU layer are on one side for all of
/// them.
#[test]
fn idle_units_are_not_dead() {
    let idle_units = |cosine: f64, phi: Activation| {
        let batch =
            move |layer: &LayerReport| BatchGeometry { cosine, ..BatchGeometry::normal(100, 200, layer.rms) };
        let spoil = move |_: usize, layer: &mut LayerReport| {
            (layer.law, layer.activation, layer.constant) = (None, Some(phi), Some(0.3));
            layer.batch = Some(batch(layer));
        };
        found(4, spoil)
    };
    let expected = idle_fraction(
        Some(Activation::Relu),
        &BatchGeometry { cosine: 0.95, ..BatchGeometry::normal(100, 200, 1.0) },
    );
    assert!((0.2..0.35).contains(&expected), "{expected}");
    // The samples of the first layer's input are not alike.
    assert_eq!(idle_units(0.95, Activation::Relu), only(Fault::DeadUnits, "layer_0"));
    let deep = |phi| {
        let mut layers = healthy(4);
        for layer in &mut layers {
            (layer.law, layer.activation, layer.constant) = (None, Some(phi), Some(0.3));
            layer.batch = Some(BatchGeometry { cosine: 0.95, ..BatchGeometry::normal(100, 200, layer.rms) });
        }
        judge(&layers[1..], &BatchGeometry { cosine: 0.95, ..BatchGeometry::normal(100, 200, 1.0) })
            .iter()
            .filter(|verdict| verdict.fault == Fault::DeadUnits)
            .count()
    };
    assert_eq!((deep(Activation::Relu), deep(Activation::Tanh)), (0, 1));
}

#[test]
fn texts_tell_saturation_with_explosion_and_overflow() {
    let text = |spoil: fn(usize, &mut LayerReport)| {
        let mut layers = healthy(8);
        layers.iter_mut().enumerate().for_each(|(index, layer)| spoil(index, layer));
        judge(&layers, &BatchGeometry::normal(100, 200, 1.0))[0].clone()
    };
    let verdict = text(|index, layer| {
        (layer.law, layer.activation, layer.saturated) = (None, Some(Activation::Tanh), Some(0.9));
        layer.gradient_rms = Some(3f64.powi(8 - index as i32));
    });
    assert!(verdict.text.ends_with("few units carry all of the gradient"), "{verdict}");
    let verdict = text(|index, layer| {
        layer.law = layer.law.map(|law| LayerLaw { weight_variance: 1.0, ..law });
        layer.rms = if index < 5 { 10f64.powi(index as i32) } else { f64::NAN };
    });
    assert_eq!((verdict.fault, verdict.layer.as_str()), (Fault::NonFinite, "layer_5"));
    assert!(verdict.text.ends_with("they have outgrown the type"), "{verdict}");
    assert!(verdict.remedy.starts_with("tanh keeps its signals"), "{verdict}");
}

#[test]
fn remedies_are_critical_weights() {
    let remedies = |phi, weight_variance: f64| {
        let mut layers = healthy(12);
        for (index, layer) in layers.iter_mut().enumerate() {
            layer.law = layer.law.map(|law| LayerLaw { phi, weight_variance, ..law });
            layer.std = 0.3f64.powi(index as i32);
        }
        judge(&layers, &BatchGeometry::normal(100, 200, 1.0))
            .into_iter()
            .find(|verdict| verdict.fault == Fault::DiesOut)
            .map(|v| v.remedy)
    };
    let tanh = "tanh keeps its signals with Var W = 1/fan_in, here σ = 0.0707";
    assert_eq!(remedies(Activation::Tanh, 1e-4).as_deref(), Some(tanh));
    let relu = "relu keeps its signals with Var W = 2/fan_in, here σ = 0.100";
    assert_eq!(remedies(Activation::Relu, 1e-4).as_deref(), Some(relu));
    // GELU has its critical point at σ_w² = 1.98305826 and σ_b² = 0.17292239, so that σ_b = 0.41584.
    let gelu = "gelu keeps its signals with Var W = 1.98/fan_in, here σ = 0.0996 and biases of σ = 0.416";
    assert_eq!(remedies(Activation::Gelu, 1e-4).as_deref(), Some(gelu));
    // A net that has those weights gets no remedy. An activation without a critical point, or with a
    // saturated one, has none.
    assert_eq!(remedies(Activation::Tanh, 1.0 / 200.0).as_deref(), Some(""));
    for phi in [Activation::Sigmoid, Activation::Softplus] {
        assert!(
            remedies(phi, 1e-4).unwrap().starts_with(&format!("{phi} has no weights that keep")),
            "{phi}"
        );
    }
}

/// Samples that are alike in the input stay alike whatever the weights are.
#[test]
fn alike_samples_of_the_input_are_the_inputs() {
    let alike = |cosine: f64| BatchGeometry {
        cosine,
        cosine_square: cosine * cosine,
        ..BatchGeometry::normal(100, 200, 1.0)
    };
    let mut layers = healthy(3);
    for layer in &mut layers {
        layer.batch = Some(alike(0.9999));
    }
    let first = |input: &BatchGeometry| {
        let verdicts = judge(&layers, input);
        verdicts.into_iter().find(|verdict| verdict.fault == Fault::RankCollapse).unwrap()
    };
    for cosine in [0.92, 0.99995, 1.0] {
        let verdict = first(&alike(cosine));
        let of_input = verdict.layer == "input" && verdict.remedy.starts_with("subtract each column's mean");
        assert!(of_input, "{verdict}");
    }
    let verdict = first(&alike(0.5));
    assert_eq!((verdict.layer.as_str(), verdict.remedy.as_str()), ("layer_0", ""));
    // A norm before the first layer takes the shift away.
    let normed = judge(&healthy(3), &alike(0.9999));
    assert!(normed.iter().all(|verdict| verdict.layer != "input"), "{normed:?}");
    // A layer that later ones undo is no collapse.
    layers[2].batch = Some(alike(0.5));
    assert!(judge(&layers, &alike(0.5)).iter().all(|verdict| verdict.fault != Fault::RankCollapse));
}

/// Finite outputs whose squares overflow are no infinities.
#[test]
fn outputs_whose_squares_overflow_are_too_large() {
    let found = |spoil: fn(&mut LayerReport)| {
        let mut layers = healthy(3);
        spoil(&mut layers[1]);
        judge(&layers, &BatchGeometry::normal(100, 200, 1.0)).remove(0)
    };
    let verdict = found(|layer| {
        (layer.rms, layer.mean, layer.range) = (f64::NAN, Some(1e199), Some((-3e200, 1e200)));
    });
    assert_eq!((verdict.fault, verdict.figure), (Fault::BlowsUp, 3e200));
    let said = "layer_1: outputs of 3.00e200 are too large to judge, in this layer first: their squares are beyond the largest f64";
    assert_eq!(verdict.text, said);
    let verdict = found(|layer| {
        (layer.gradient_rms, layer.gradient_mean) = (Some(f64::INFINITY), Some(1e199));
        layer.gradient_range = Some((0.0, 1e200));
    });
    assert_eq!(verdict.fault, Fault::ExplodingGradient);
    let verdict = found(|layer| {
        (layer.rms, layer.mean, layer.range) = (f64::NAN, Some(f64::NAN), Some((-3e200, 1e200)));
    });
    assert_eq!(verdict.fault, Fault::NonFinite);
    let verdict = found(|layer| {
        (layer.rms, layer.mean) = (f64::INFINITY, Some(f64::INFINITY));
        layer.range = Some((0.0, f64::INFINITY));
    });
    assert_eq!(verdict.fault, Fault::NonFinite);
}

/// A variance far from 1 is written with its exponent.
#[test]
fn remedies_have_their_exponents() {
    let phi = Activation::LeakyRelu { slope: 1e5 };
    let mut layers = healthy(12);
    for (index, layer) in layers.iter_mut().enumerate() {
        layer.law = layer.law.map(|law| LayerLaw { phi, weight_variance: 1.0, ..law });
        layer.std = 1e3f64.powi(index as i32);
    }
    let verdicts = judge(&layers, &BatchGeometry::normal(100, 200, 1.0));
    assert!(verdicts.iter().any(|verdict| verdict.remedy.contains("Var W = 2e-10/fan_in")), "{verdicts:?}");
}
