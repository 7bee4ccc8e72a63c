use std::f64::consts::PI;

use super::Activation::{self, *};

/// The central difference quotient at `x`, which must not be next to a kink.
fn difference(activation: Activation, x: f64) -> f64 {
    let h = 1e-5;
    (activation.value(x + h) - activation.value(x - h)) / (2.0 * h)
}

#[test]
fn derivatives_are_the_slopes_of_the_values() {
    for activation in Activation::ALL {
        for i in -799..800 {
            let x = f64::from(i) * 0.01 + 0.003;
            if activation.kinks().iter().any(|k| (k - x).abs() < 1e-4) {
                continue;
            }
            let (exact, slope) = (activation.derivative(x), difference(activation, x));
            assert!((exact - slope).abs() < 1e-9, "{activation} at {x}: {exact} is not {slope}");
        }
    }
}

#[test]
fn kinks_are_where_the_slope_or_its_slope_jumps_and_nowhere_else() {
    for activation in Activation::ALL {
        for i in -80..=80 {
            let x = f64::from(i) * 0.1;
            let x = (x * 10.0).round() / 10.0;
            let second =
                |at: f64| (activation.derivative(at + 1e-6) - activation.derivative(at - 1e-6)) / 2e-6;
            let jump = (second(x + 1e-4) - second(x - 1e-4)).abs() > 0.01
                || (activation.derivative(x + 1e-9) - activation.derivative(x - 1e-9)).abs() > 1e-3;
            assert_eq!(jump, activation.kinks().contains(&x), "{activation} at {x}");
        }
    }
}

#[test]
fn limits_are_values_and_nan_stays_nan() {
    for activation in Activation::ALL {
        assert!(activation.value(f64::NAN).is_nan(), "{activation}");
        assert!(activation.derivative(f64::NAN).is_nan(), "{activation}");
        if activation != Sin {
            for x in [f64::NEG_INFINITY, f64::INFINITY] {
                assert!(!activation.value(x).is_nan(), "{activation} at {x}");
                assert!(!activation.derivative(x).is_nan(), "{activation}' at {x}");
                let far = activation.value(1e4 * x.signum());
                let limit = activation.value(x);
                assert!(limit.is_infinite() || (limit - far).abs() < 1e-3, "{activation} at {x}");
            }
        }
    }
}

/// Gains by quadrature with 10 digits, from `1/√E[φ²]` in closed form (identity, relu, erf, sin) or
/// computed with mpmath at 30 digits.
#[test]
fn gains() {
    let erf_moment = 2.0 / PI * (2f64 / 3.0).asin();
    let sin_moment = 0.5 * (1.0 - (-2f64).exp());
    let cases = [
        (Identity, 1.0),
        (Relu, 2f64.sqrt()),
        (LeakyRelu { slope: 0.2 }, (2.0 / 1.04f64).sqrt()),
        (Erf, erf_moment.sqrt().recip()),
        (Sin, sin_moment.sqrt().recip()),
        (Selu, 1.0),
    ];
    for (activation, gain) in cases {
        let got = activation.gain();
        assert!((got - gain).abs() < 1e-10, "{activation}: {got} is not {gain}");
    }
    let to_five_digits = [
        (Gelu, 1.53353),
        (GeluTanh, 1.53358),
        (Silu, 1.67653),
        (Tanh, 1.59254),
        (Sigmoid, 1.84623),
        (Elu { alpha: 1.0 }, 1.24520),
        (Mish, 1.48685),
        (Hardswish, 1.73666),
        (Softplus, 1.04187),
    ];
    for (activation, gain) in to_five_digits {
        let got = activation.gain();
        assert!((got - gain).abs() <= 6e-6, "{activation}: {got} is not {gain}");
    }
}

#[test]
fn flat_tails_are_flat_outside_and_steep_inside() {
    for activation in Activation::ALL {
        let (low, high) = activation.saturation_thresholds();
        for (edge, outward) in [(low, -1.0), (high, 1.0)] {
            if edge.is_finite() {
                let steepest =
                    (-800..800).map(|i| activation.derivative(f64::from(i) * 0.01).abs()).fold(0.0, f64::max);
                for step in 0..100 {
                    let x = edge + outward * (1e-9 + f64::from(step));
                    assert!(activation.derivative(x).abs() < 0.1001 * steepest, "{activation} at {x}");
                }
                assert!(activation.derivative(edge - outward * 1e-3).abs() > 0.09 * steepest);
            }
        }
    }
    assert_eq!(Hardtanh.saturation_thresholds(), (-1.0, 1.0));
    let (low, high) = Sigmoid.saturation_thresholds();
    assert!((low + high).abs() < 1e-12);
}

#[test]
fn names_round_trip() {
    for activation in Activation::ALL {
        assert_eq!(activation.to_string().parse(), Ok(activation));
    }
    for (text, name) in [
        ("Tanh", "tanh"),
        ("ReLU", "relu"),
        ("LeakyReLU:0.3", "leaky_relu:0.3"),
        ("Leaky-ReLU", "leaky_relu"),
        ("SiLU", "silu"),
    ] {
        assert_eq!(text.parse::<Activation>(), name.parse(), "{text}");
        assert!(name.parse::<Activation>().is_ok(), "{name}");
    }
    for wrong in ["", "_", "tan h", "tanh:1", "leaky_relu:", "leaky_relu:x", "leaky_relu:nan", "elu:inf"] {
        assert!(wrong.parse::<Activation>().is_err(), "{wrong}");
        let said = |text: &str| text.parse::<Activation>().unwrap_err().to_string();
        let slope =
            "'leaky_relu:nan': the slope is no finite number; write leaky_relu:SLOPE, as leaky_relu:0.2";
        assert_eq!(said("leaky_relu:nan"), slope);
        assert!(said("elu:one").contains("write elu:ALPHA"));
        assert_eq!(said("tanh:2"), "'tanh:2': tanh takes no parameter");
        assert!(
            said("swoosh:2")
                .starts_with("unknown activation 'swoosh:2' (did you mean swish?); known: identity")
        );
    }
}

/// The enum, `ALL` and the table of the docs name the same activations.
#[test]
fn every_variant_is_in_every_list() {
    let source = include_str!("kind.rs");
    let (_, variants) = source.split_once("pub enum Activation {\n").unwrap();
    let (variants, _) = variants.split_once("\n}\n").unwrap();
    assert_eq!(variants.lines().count(), Activation::ALL.len());
    for (place, activation) in Activation::ALL.into_iter().enumerate() {
        assert!(source.contains(&format!("/// | `{activation}` | ")), "{activation} is in the table");
        assert!(Activation::ALL[..place].iter().all(|other| other.name() != activation.name()));
    }
}
