use super::expectation;
use crate::activation::Activation;

#[test]
fn even_moments_are_double_factorials() {
    let mut expected = 1.0;
    for k in 1..=6 {
        expected *= f64::from(2 * k - 1);
        let got = expectation(|z| z.powi(2 * k), 1.0, &[]);
        assert!((got / expected - 1.0).abs() < 1e-11, "moment {}: {got} is not {expected}", 2 * k);
    }
}

#[test]
fn erf_length_map_in_closed_form() {
    for q in [1e-6, 0.01, 0.3, 1.0, 7.0, 200.0, 1e6] {
        let got = expectation(|x| libm::erf(x).powi(2), q, &[]);
        let exact = std::f64::consts::FRAC_2_PI * (2.0 * q / (1.0 + 2.0 * q)).asin();
        assert!((got - exact).abs() < 1e-10 * exact.max(1.0), "q = {q}: {got} is not {exact}");
    }
}

/// `E[sin²(√q z)] = (1 - e^{-2q})/2`, for arguments that run through many periods.
#[test]
fn the_sine_never_settles() {
    for q in [0.1, 1.0, 100.0, 1e4, 1e6] {
        let got = expectation(|x| x.sin().powi(2), q, &[]);
        let exact = 0.5 * (1.0 - (-2.0 * q).exp());
        assert!((got - exact).abs() < 1e-10, "q = {q}: {got}");
    }
}

/// SELU's χ₁ at σ_w² = 1 is 1.0715750; a rule that is not split at the kink misses it.
#[test]
fn a_kink_needs_a_split() {
    let selu = Activation::Selu;
    let chi = |kinks| expectation(|x| selu.derivative(x).powi(2), 1.0, kinks);
    assert!((chi(&[0.0]) - 1.071_575_0).abs() < 5e-8, "{}", chi(&[0.0]));
    // Moved off the panel's edge, the kink costs digits: this is what the split is for.
    let off = expectation(|x| selu.derivative(x).powi(2), 1.0, &[0.1]);
    assert!((off - chi(&[0.0])).abs() > 1e-4, "{off}");
}

#[test]
fn a_point_mass_is_the_value_at_zero() {
    assert_eq!(expectation(|x| x.cos() + 1.0, 0.0, &[]), 2.0);
}
