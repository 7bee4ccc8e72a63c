//! Moments, and tests of a distribution.

/// Returns the mean and the variance (divided by n).
pub fn mean_and_variance(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n)
}

/// Returns the standard deviation (divided by n).
pub fn std(values: &[f64]) -> f64 {
    mean_and_variance(values).1.sqrt()
}

/// Returns the relative standard error of the std of n normal numbers, `1/√(2n)`. It is smaller for a
/// kurtosis below 3.
pub fn std_error(n: usize) -> f64 {
    1.0 / (2.0 * n as f64).sqrt()
}

/// Tests whether the std of the values is the expected one, within 4.1 standard errors: if the kurtosis is at
/// most 3, the test rejects a right std with a probability of at most 4e-5.
pub fn has_std(values: &[f64], expected: f64) -> bool {
    (std(values) / expected - 1.0).abs() < 4.1 * std_error(values.len())
}

/// Returns √n times the Kolmogorov–Smirnov distance of the values from a distribution function. For values of
/// that distribution and large n, it exceeds 1.95 with a probability of 1e-3, 2.23 with 1e-4, and 2.4 with
/// 2e-5.
pub fn kolmogorov_smirnov(values: &[f64], cdf: impl Fn(f64) -> f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let distance = sorted.iter().enumerate().map(|(i, &x)| {
        let f = cdf(x);
        (f - i as f64 / n).abs().max(((i + 1) as f64 / n - f).abs())
    });
    distance.fold(0.0, f64::max) * n.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The midpoints of n equal parts of [0, 1] are 1/(2n) from the uniform distribution, and shifted by 1/4
    /// they are 1/4 farther.
    #[test]
    fn distances_are_exact() {
        let values: Vec<f64> = (0..100).map(|i| (f64::from(i) + 0.5) / 100.0).collect();
        assert!((kolmogorov_smirnov(&values, |x| x) - 0.05).abs() < 1e-12);
        assert!((kolmogorov_smirnov(&values, |x| (x + 0.25).min(1.0)) - 2.55).abs() < 1e-12);
    }

    /// The critical values belong to the probabilities that are stated: P(√n D > x) ≈ 2 exp(-2x²).
    #[test]
    fn critical_values() {
        for (x, alpha) in [(1.95, 1e-3), (2.23, 1e-4), (2.4, 2e-5)] {
            let tail = 2.0 * f64::exp(-2.0 * x * x);
            assert!((tail / alpha - 1.0f64).abs() < 0.05, "{x}: {tail}");
        }
    }

    #[test]
    fn moments() {
        assert_eq!(mean_and_variance(&[1.0, 3.0]), (2.0, 1.0));
        assert_eq!(std(&[1.0, 3.0, 1.0, 3.0]), 1.0);
        assert!(has_std(&[1.0, 3.0], 1.0) && !has_std(&[1.0, 3.0].repeat(5000), 1.1));
    }
}
