use std::f64::consts::{FRAC_2_PI, FRAC_PI_4, PI};

use super::MeanField;
use crate::activation::Activation;
use crate::gaussian::expectation;
use crate::nonlinearity::Custom;
use crate::response::Response;

fn field(phi: Activation, weight_variance: f64, bias_variance: f64) -> MeanField<Activation> {
    MeanField { phi, weight_variance, bias_variance }
}

fn near(got: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((got - expected).abs() <= tolerance, "{what}: {got}, not {expected}");
}

#[test]
fn relu_and_erf_in_closed_form() {
    for q in [1e-3, 0.5, 1.0, 20.0] {
        let relu = field(Activation::Relu, 1.7, 0.3);
        near(relu.length_map(q), 1.7 * q / 2.0 + 0.3, 1e-10 * q.max(1.0), "ReLU's lengths");
        let erf = field(Activation::Erf, 1.7, 0.3);
        near(
            erf.length_map(q),
            1.7 * FRAC_2_PI * (2.0 * q / (1.0 + 2.0 * q)).asin() + 0.3,
            1e-10,
            "erf's lengths",
        );
        near(erf.chi_1(q), 4.0 / PI * 1.7 / (1.0 + 4.0 * q).sqrt(), 1e-10, "erf's χ₁");
        for c in [-0.9f64, -0.2, 0.0, 0.5, 0.99, 1.0] {
            let he = field(Activation::Relu, 2.0, 0.0);
            let expected = ((1.0 - c * c).sqrt() + c * (PI - f64::acos(c))) / PI;
            near(he.correlation_map(q, q, c), expected, 1e-9, "ReLU's correlations");
            let erf = field(Activation::Erf, 1.0, 0.0);
            let other = 0.4 * q;
            let arcsine = |a: f64, b: f64, c: f64| {
                FRAC_2_PI * (2.0 * c * (a * b).sqrt() / ((1.0 + 2.0 * a) * (1.0 + 2.0 * b)).sqrt()).asin()
            };
            let expected = arcsine(q, other, c) / (arcsine(q, q, 1.0) * arcsine(other, other, 1.0)).sqrt();
            near(erf.correlation_map(q, other, c), expected, 1e-9, "erf's correlations");
        }
    }
}

/// `χ_∥` agrees with difference quotients of the length map, and `χ₁` with that of the correlation map at 1.
#[test]
fn chis_are_slopes() {
    for phi in Activation::ALL {
        let field = field(phi, 1.3, 0.2);
        for q in [0.3, 2.0] {
            let step = 1e-4 * q;
            let slope = (field.length_map(q + step) - field.length_map(q - step)) / (2.0 * step);
            near(field.chi_parallel(q), slope, 1e-6, &format!("{phi} at {q}"));
        }
    }
    let tanh = field(Activation::Tanh, 2.0, 0.05);
    let q = tanh.fixed_length().unwrap();
    let step = 1e-4;
    let slope = (tanh.correlation_map(q, q, 1.0) - tanh.correlation_map(q, q, 1.0 - step)) / step;
    near(slope, tanh.chi_1(q), 1e-3, "the slope at 1");
}

#[test]
fn tanhs_critical_line() {
    for (bias, weight, q) in [
        (0.001, 1.189_189_59, None),
        (0.01, 1.424_205_29, Some(0.273_300_91)),
        (0.04, 1.700_796_37, Some(0.512_078_50)),
        (0.05, 1.760_954_64, Some(0.570_047_88)),
        (0.1, 1.986_072_64, Some(0.805_799_18)),
    ] {
        let found = field(Activation::Tanh, 0.0, bias).critical().unwrap();
        near(found.weight_variance, weight, 6e-9, "σ_w²");
        if let Some(q) = q {
            near(found.q, q, 6e-9, "q*");
        }
        let critical = field(Activation::Tanh, found.weight_variance, bias);
        near(critical.chi_1(critical.fixed_length().unwrap()), 1.0, 1e-9, "χ₁ at its fixed point");
    }
    let start = field(Activation::Tanh, 0.0, 0.0).critical().unwrap();
    near(start.weight_variance, 1.0, 1e-10, "without biases");
    assert_eq!(start.q, 0.0);
}

#[test]
fn tanhs_phases() {
    for (weight, q, chi_1, c, length, correlation) in [
        (1.0, 0.193_593, 0.759_032, 1.0, 1.7476, 3.6270),
        (2.0, 0.721_762, 1.047_666, 0.744_08, 1.3880, 25.213),
        (4.0, 2.195_494, 1.342_402, 0.165_06, 0.8733, 6.9803),
    ] {
        let tanh = field(Activation::Tanh, weight, 0.05);
        let fixed = tanh.fixed_length().unwrap();
        near(fixed, q, 6e-7, "q*");
        near(tanh.chi_1(fixed), chi_1, 6e-7, "χ₁");
        near(tanh.fixed_correlation(fixed), c, 6e-6, "c*");
        let scales = tanh.depth_scales().unwrap();
        near(scales.length, length, 6e-5, "ξ_q");
        near(scales.correlation.unwrap(), correlation, 6e-4, "ξ_c");
        near(scales.gradient, 1.0 / chi_1.ln().abs(), 1e-4, "ξ_∇");
    }
    // Without biases and above the critical weight variance, two inputs end up uncorrelated.
    let chaotic = field(Activation::Tanh, 3.0, 0.0);
    assert_eq!(chaotic.fixed_correlation(chaotic.fixed_length().unwrap()), 0.0);
    assert_eq!(field(Activation::Tanh, 0.5, 0.0).fixed_length(), Some(0.0));
}

/// At a fixed length of 0, χ₁ of a ReLU is the mean of both sides and not the value at its kink, the
/// correlation is not defined, and the depth scales are those of a signal that dies out.
#[test]
fn phases_of_no_length() {
    for (phi, chi_1) in [(Activation::Relu, 0.5), (Activation::LeakyRelu { slope: 0.5 }, 0.625)] {
        let field = field(phi, 1.0, 0.0);
        assert_eq!(field.fixed_length(), Some(0.0));
        near(field.chi_1(0.0), chi_1, 1e-12, &format!("{phi}'s χ₁"));
        let phase = field.phase().unwrap();
        near(phase.chi_1, chi_1, 1e-12, &format!("{phi}'s χ₁ in its phase"));
        let scales = field.depth_scales().unwrap();
        assert_eq!((phase.c, phase.scales.correlation, scales.correlation), (None, None, None));
        near(phase.scales.gradient, -1.0 / chi_1.ln(), 1e-9, "ξ_∇");
        near(phase.scales.length, -1.0 / chi_1.ln(), 1e-9, "ξ_q");
    }
    let weightless = field(Activation::Tanh, 0.0, 0.0).phase().unwrap();
    assert_eq!((weightless.c, weightless.chi_1, weightless.scales.gradient), (None, 0.0, 0.0));
}

#[test]
fn critical_points() {
    near(field(Activation::Erf, 0.0, 0.0).critical().unwrap().weight_variance, FRAC_PI_4, 1e-10, "erf");
    near(field(Activation::Erf, 0.0, 0.05).critical().unwrap().weight_variance, 1.375_839_01, 6e-9, "erf");
    for (phi, q, weight, bias) in [
        (Activation::Gelu, (3.0 + 17f64.sqrt()) / 2.0, 1.983_058_26, 0.172_922_39),
        (Activation::Silu, 14.320_173_62, 1.988_004_68, 0.555_143_17),
    ] {
        let found = field(phi, 0.0, 0.0).critical_point().unwrap();
        // χ_∥ is nearly flat at that point, so that the length is less exact than χ_∥.
        near(found.q, q, 3e-6 * q, "q*");
        near(found.weight_variance, weight, 1e-7, "σ_w²");
        near(found.bias_variance, bias, 1e-6, "σ_b²");
        assert!(field(phi, 0.0, 0.5 * bias).critical().is_none(), "{phi}: unstable below");
        assert!(field(phi, 0.0, 1.5 * bias).critical().is_some(), "{phi}: a line above");
    }
    let relu = field(Activation::Relu, 0.0, 0.0).critical_point().unwrap();
    near(relu.weight_variance, 2.0, 1e-9, "ReLU");
    assert!(field(Activation::Relu, 0.0, 0.1).critical().is_none(), "its only one");
}

#[test]
fn selu_by_its_design() {
    let selu = field(Activation::Selu, 1.0, 0.0);
    near(selu.length_map(1.0), 1.0, 1e-10, "E φ²");
    near(selu.chi_1(1.0), 1.071_575_0, 6e-8, "χ₁");
    near(expectation(|x| Activation::Selu.value(x), 1.0, &[0.0]), 0.0, 1e-10, "E φ");
    // This is the other entry of the Jacobian of the (mean, variance) map, half of E[x² φ²] - E[φ²] by its
    // variance.
    near(selu.chi_parallel(1.0), 0.782_647_9, 6e-8, "dν/dν");
}

#[test]
fn functions_of_ones_own() {
    let custom = MeanField {
        phi: Custom { value: |x: f64| x.max(0.0), derivative: |x: f64| f64::from(x > 0.0), kinks: vec![0.0] },
        weight_variance: 2.0,
        bias_variance: 0.0,
    };
    let relu = field(Activation::Relu, 2.0, 0.0);
    assert_eq!(custom.length_map(0.7), relu.length_map(0.7));
    near(custom.correlation_map(1.0, 2.0, 0.3), relu.correlation_map(1.0, 2.0, 0.3), 1e-14, "c");
}

/// The Hermite series agree with the correlation map by quadrature in two dimensions.
#[test]
fn series_agree_with_quadrature() {
    for phi in [Activation::Tanh, Activation::Relu, Activation::Gelu, Activation::Sigmoid] {
        let map = field(phi, 1.0, 0.0);
        for q in [0.1, 1.0, 4.0] {
            let response = Response::new(&phi, q);
            for c in [-0.5, 0.0, 0.3, 0.9, 1.0] {
                let got = response.product_of_values(c) / response.mean_square;
                let expected = map.correlation_map(q, q, c);
                assert!((got - expected).abs() < 1e-4, "{phi} {q} {c}: {got} {expected}");
            }
        }
    }
}
