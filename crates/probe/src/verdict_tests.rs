use wick_theory::finite_width;

use super::*;
use crate::Units;

/// A tanh net at its critical point, as it should be: layers of 200 units and a batch of normal numbers.
fn healthy(depth: usize) -> Vec<LayerReport> {
    let draw = LayerLaw {
        fan_in: 200,
        fan_out: 200,
        weight_variance: 1.0 / 200.0,
        bias_variance: 0.0,
        orthogonal: false,
        phi: Activation::Tanh,
    };
    let batch = BatchGeometry::normal(100, 200, 1.0);
    let bands = finite_width(&vec![draw; depth], &batch, &batch);
    let reading = |(index, bands): (usize, &wick_theory::LayerBands)| {
        let std = bands.std.middle;
        LayerReport {
            gradient_rms: Some(bands.gradient_rms.middle),
            saturated: Some(0.01),
            constant: Some(0.0),
            copies: Some(0.0),
            batch: Some(BatchGeometry::normal(100, 200, std)),
            draw: Some(draw),
            ..LayerReport::new(format!("layer_{index}"), std, std)
        }
    };
    bands.iter().enumerate().map(reading).collect()
}

/// What is found after something was done to the layers, with the layer that is blamed.
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
    // One layer half as much again: it alone is to blame, since the others are seen beside what came in.
    assert_eq!(found(6, scaled(2, 1.5))[0], (Fault::OutsideBand, "layer_2".into()));
    assert_eq!(found(6, scaled(2, 1.03)), []);
    // The layer whose weights send back too much, by the gradient below it.
    let back = |index: usize, layer: &mut LayerReport| {
        if index < 3 {
            layer.gradient_rms = layer.gradient_rms.map(|g| g * 2.0);
        }
    };
    assert_eq!(found(6, back), only(Fault::OutsideBand, "layer_3"));
    // Without knowing how layers were drawn, the course of all tells.
    let fading = |index: usize, layer: &mut LayerReport| {
        layer.draw = None;
        layer.std = 0.3f64.powi(index as i32);
    };
    assert_eq!(found(10, fading), only(Fault::DiesOut, "layer_2"));
    let growing = |index: usize, layer: &mut LayerReport| {
        layer.draw = None;
        layer.std = 3f64.powi(index as i32);
    };
    assert_eq!(found(10, growing), only(Fault::BlowsUp, "layer_3"));
    let gradient = |by: f64| {
        move |index: usize, layer: &mut LayerReport| {
            layer.draw = None;
            layer.gradient_rms = Some(1e-4 * by.powi(9 - index as i32));
        }
    };
    assert_eq!(found(10, gradient(0.3)), only(Fault::VanishingGradient, "layer_7"));
    assert_eq!(found(10, gradient(3.0)), only(Fault::ExplodingGradient, "layer_6"));
    assert_eq!(found(10, gradient(0.7)), []);
    let nothing = |index: usize, layer: &mut LayerReport| {
        layer.draw = None;
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
            cosine: 0.9999,
            cosine_square: 0.9998,
            ..BatchGeometry::normal(100, 200, layer.rms)
        });
    };
    assert_eq!(found(5, one(4, alike)), only(Fault::RankCollapse, "layer_4"));
    // A tanh that was left out, though the std does not show it.
    assert_eq!(found(5, one(3, |l| l.range = Some((-0.9, 1.2)))), only(Fault::OutsideBand, "layer_3"));
    assert_eq!(found(5, one(1, |l| l.rms = f64::NAN)), only(Fault::NonFinite, "layer_1"));
    // A gradient that is NaN at layer 3 is passed on to the layers below.
    let nan_behind = |index: usize, layer: &mut LayerReport| {
        if index <= 3 {
            layer.gradient_rms = Some(f64::NAN);
        }
    };
    assert_eq!(found(5, nan_behind), only(Fault::NonFinite, "layer_3"));
}

/// Half of a ReLU is flat by design, and what is not known is not accused of it; a tanh is, from half of it on.
#[test]
fn only_what_is_bounded_saturates() {
    let with = |activation: Option<Activation>| {
        let spoil = move |_: usize, layer: &mut LayerReport| {
            (layer.draw, layer.activation, layer.saturated) = (None, activation, Some(0.55));
        };
        found(3, spoil)
    };
    assert_eq!(with(None), []);
    assert_eq!(with(Some(Activation::Relu)), []);
    assert_eq!(with(Some(Activation::Tanh)), only(Fault::Saturated, "layer_0"));
}

#[test]
fn one_number_everywhere_is_nothing() {
    let layers: Vec<LayerReport> = healthy(3)
        .into_iter()
        .map(|layer| LayerReport { std: 0.0, rms: 0.5, draw: None, constant: Some(1.0), ..layer })
        .collect();
    let verdicts = judge(&layers, &BatchGeometry::normal(100, 200, 1.0));
    let said = "dies out: nothing but one number, everywhere the same, comes out of layer_0";
    assert_eq!(verdicts.iter().map(|verdict| verdict.text.as_str()).collect::<Vec<_>>(), [said]);
}

/// A layer is compared with what comes in, where that is known, and where the type has digits for it.
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
    // A few samples have nearly all of the signal.
    let uneven = |index: usize, layer: &mut LayerReport| {
        twice(index, layer);
        let lengths = [vec![0.1; 19], vec![18.1]].concat();
        layer.batch = Some(BatchGeometry { lengths, ..BatchGeometry::normal(100, 200, layer.rms) });
    };
    assert_eq!(found(4, uneven), []);
    // So small that tanh is linear; the first layer, whose input is not, is left alone.
    let tiny = |index: usize, layer: &mut LayerReport| {
        (layer.std, layer.rms, layer.gradient_rms) = (1e-5, 1e-5, None);
        layer.batch = Some(BatchGeometry::normal(100, 200, 1e-5));
        twice(index, layer);
        if index == 0 {
            layer.draw = None;
        }
    };
    assert_eq!(found(4, tiny), only(Fault::OutsideBand, "layer_2"));
    let subnormal = |index: usize, layer: &mut LayerReport| {
        tiny(index, layer);
        layer.dtype = Some(candle_core::DType::F16);
    };
    assert_eq!(found(4, subnormal), []);
}

/// A GELU has the steeper slopes the longer a sample is: gradients that come to the long ones are larger than the product of the
/// means. Of samples of one length they are not, and twice as much is too much of any.
#[test]
fn long_samples_have_long_gradients() {
    let judged = |spread: f64, times: f64| {
        let lengths: Vec<f64> = (0..20).map(|group| 1.0 + spread * (f64::from(group) / 9.5 - 1.0)).collect();
        let mut layers = healthy(4);
        for (index, layer) in layers.iter_mut().enumerate() {
            // E φ'² of a GELU at a length of 1 is .456.
            layer.gradient_rms = Some(if index < 2 { 0.456f64.sqrt() * times } else { 1.0 });
            layer.batch =
                Some(BatchGeometry { lengths: lengths.clone(), ..BatchGeometry::normal(100, 200, 1.0) });
            (layer.std, layer.rms) = (0.58, 0.65);
            let gelu = layer.draw.map(|draw| LayerLaw { phi: Activation::Gelu, ..draw });
            layer.draw = gelu.filter(|_| index == 2);
        }
        judge(&layers, &BatchGeometry::normal(100, 200, 1.0)).len()
    };
    assert_eq!((judged(0.9, 1.0), judged(0.9, 1.4), judged(0.9, 2.0)), (0, 0, 1));
    assert_eq!((judged(0.0, 1.0), judged(0.0, 1.4)), (0, 1));
}

/// Of samples at a cosine of .95, a third of a ReLU's units are on one side for all of a hundred; at 0, none.
#[test]
fn idle_units_are_not_dead() {
    let idle_units = |cosine: f64, phi: Activation| {
        let batch =
            move |layer: &LayerReport| BatchGeometry { cosine, ..BatchGeometry::normal(100, 200, layer.rms) };
        let spoil = move |_: usize, layer: &mut LayerReport| {
            (layer.draw, layer.activation, layer.constant) = (None, Some(phi), Some(0.3));
            layer.batch = Some(batch(layer));
        };
        found(4, spoil)
    };
    let expected =
        idle(Some(Activation::Relu), &BatchGeometry { cosine: 0.95, ..BatchGeometry::normal(100, 200, 1.0) });
    assert!((0.2..0.35).contains(&expected), "{expected}");
    // What comes into the first layer is not alike.
    assert_eq!(idle_units(0.95, Activation::Relu), only(Fault::DeadUnits, "layer_0"));
    let deep = |phi| {
        let mut layers = healthy(4);
        for layer in &mut layers {
            (layer.draw, layer.activation, layer.constant) = (None, Some(phi), Some(0.3));
            layer.batch = Some(BatchGeometry { cosine: 0.95, ..BatchGeometry::normal(100, 200, layer.rms) });
        }
        judge(&layers[1..], &BatchGeometry { cosine: 0.95, ..BatchGeometry::normal(100, 200, 1.0) }).len()
    };
    assert_eq!((deep(Activation::Relu), deep(Activation::Tanh)), (0, 1));
}

#[test]
fn what_saturates_and_explodes_and_what_outgrows_its_type() {
    let text = |spoil: fn(usize, &mut LayerReport)| {
        let mut layers = healthy(8);
        layers.iter_mut().enumerate().for_each(|(index, layer)| spoil(index, layer));
        judge(&layers, &BatchGeometry::normal(100, 200, 1.0))[0].clone()
    };
    let verdict = text(|index, layer| {
        (layer.draw, layer.activation, layer.saturated) = (None, Some(Activation::Tanh), Some(0.9));
        layer.gradient_rms = Some(3f64.powi(8 - index as i32));
    });
    assert!(verdict.text.ends_with("few units carry all of the gradient"), "{verdict}");
    let verdict = text(|index, layer| {
        layer.draw = layer.draw.map(|draw| LayerLaw { weight_variance: 1.0, ..draw });
        layer.rms = if index < 5 { 10f64.powi(index as i32) } else { f64::NAN };
    });
    assert_eq!((verdict.fault, verdict.layer.as_str()), (Fault::NonFinite, "layer_5"));
    assert!(verdict.text.ends_with("they have outgrown the type"), "{verdict}");
    assert!(verdict.remedy.starts_with("tanh keeps its signals"), "{verdict}");
}

#[test]
fn what_would_mend_it() {
    let remedies = |phi, weight_variance: f64| {
        let mut layers = healthy(12);
        for (index, layer) in layers.iter_mut().enumerate() {
            layer.draw = layer.draw.map(|draw| LayerLaw { phi, weight_variance, ..draw });
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
    // GELU's critical point is at σ_w² = 1.98305826, σ_b² = .17292239, and its σ_b .41584.
    let gelu = "gelu keeps its signals with Var W = 1.98/fan_in, here σ = 0.0996 and biases of σ = 0.416";
    assert_eq!(remedies(Activation::Gelu, 1e-4).as_deref(), Some(gelu));
    // Who has those weights is not told to take them, and what has no critical point, or one that is saturated, has none.
    assert_eq!(remedies(Activation::Tanh, 1.0 / 200.0).as_deref(), Some(""));
    for phi in [Activation::Sigmoid, Activation::Softplus] {
        assert!(
            remedies(phi, 1e-4).unwrap().starts_with(&format!("{phi} has no weights that keep")),
            "{phi}"
        );
    }
}

#[test]
fn copies_and_the_dead() {
    use candle_core::{Device, Tensor};
    let rows: Vec<f32> = (0..40u8)
        .flat_map(|sample| {
            let a = f32::from(sample).sin();
            // A unit, one that is a copy up to rounding, one that is its negative, one nearly a copy, a constant.
            [a, a * (1.0 + 1e-7), -a, a * 1.001, 3.0]
        })
        .collect();
    let units = Units::of(&Tensor::from_vec(rows, (40, 5), &Device::Cpu).unwrap()).unwrap().unwrap();
    assert_eq!((units.constant, units.copies), (0.2, 0.2));
    // Channels of an image are units; pixels are samples.
    let image = Tensor::arange(0f32, 24.0, &Device::Cpu).unwrap().reshape((2, 3, 2, 2)).unwrap();
    assert_eq!(Units::of(&image).unwrap().map(|units| units.count), Some(3));
    assert_eq!(
        Units::of(&Tensor::zeros((1, 4), candle_core::DType::F32, &Device::Cpu).unwrap()).unwrap(),
        None
    );
}
