//! The softmax of random scores, and tokens that come to be alike.

use std::f64::consts::TAU;

/// Standard deviations of the scores over which is integrated.
const REACH: f64 = 9.0;

/// What a softmax over independent normal scores makes of its keys.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SoftmaxLaw {
    /// The mean entropy of a row in nats: `ln T` for scores that are all the same, 0 if one key takes everything.
    pub entropy: f64,
    /// The mean of `Σ_i A_i²`, one over the number of keys that count: `1/T` to 1.
    pub squares: f64,
}

impl SoftmaxLaw {
    /// The law of a row `A = softmax(z)` of `T` = `keys` scores, each normal with the standard deviation `s` = `std`
    /// and independent of the others.
    ///
    /// With `Z = Σ e^z` and `g(t) = E exp(-t e^z)`, `E ln Z = ∫ (e^{-t} - g(t)^T) dt/t`, and
    /// `E ΣA² = T ∫ t E[e^{2z} exp(-t e^z)] g(t)^{T-1} dt`; the entropy is `E ln Z - s² (1 - E ΣA²)`, since
    /// `E[z_i A_i] = s² E[A_i (1 - A_i)]` (Stein 1981, lemma 1). For `s` below [`collapse`](Self::collapse) and many
    /// keys it is nearly `ln T - s²/2`.
    ///
    /// ```
    /// use wick_theory::SoftmaxLaw;
    ///
    /// let law = SoftmaxLaw::new(128, 1.0);
    /// assert!((law.entropy - (128f64.ln() - 0.5)).abs() < 0.02);
    /// assert!((law.squares - 0.02019).abs() < 5e-6);
    /// assert_eq!(SoftmaxLaw::new(16, 0.0).entropy, 16f64.ln());
    /// ```
    pub fn new(keys: usize, std: f64) -> Self {
        let count = keys as f64;
        if keys < 2 || std.is_nan() || std <= 0.0 {
            let squares = if keys == 0 { 0.0 } else { 1.0 / count };
            return Self { entropy: count.max(1.0).ln(), squares };
        }
        // Scores on a grid that is fine beside their own scale and that of the exponential.
        let step = (std / 12.0).min(0.2);
        let most = (REACH * std / step).ceil() as i64;
        let grid: Vec<(f64, f64)> = (-most..=most)
            .map(|index| {
                let z = index as f64 * step;
                (z, step / (TAU.sqrt() * std) * (-0.5 * (z / std).powi(2)).exp())
            })
            .collect();
        let (from, to) = (-(count.ln() + REACH * std + 30.0), REACH * std + 6.0);
        let steps = ((to - from) / 0.05).ceil();
        let du = (to - from) / steps;
        let (mut log_sum, mut squares) = (0.0, 0.0);
        for index in 0..=steps as usize {
            let t = (from + index as f64 * du).exp();
            let (mut mean, mut second) = (0.0, 0.0);
            for (z, weight) in &grid {
                let power = t * z.exp();
                let rest = weight * (-power).exp();
                (mean, second) = (mean + rest, second + rest * power * power);
            }
            // 1 minus what is small keeps its digits.
            log_sum += du * ((-t).exp() - mean.min(1.0).powf(count));
            squares += du * count * second * mean.min(1.0).powf(count - 1.0);
        }
        let squares = squares.clamp(1.0 / count, 1.0);
        Self { entropy: (log_sum - std * std * (1.0 - squares)).clamp(0.0, count.ln()), squares }
    }

    /// The standard deviation `√(2 ln T)` of the scores from which on, for many keys, a few keys take everything: the
    /// freezing of the random energy model (Derrida 1981; for attention Giorlandino and Goldt 2025, arXiv:2505.24333).
    ///
    /// ```
    /// use wick_theory::SoftmaxLaw;
    ///
    /// assert!((SoftmaxLaw::collapse(128) - 3.115).abs() < 1e-3);
    /// ```
    pub fn collapse(keys: usize) -> f64 {
        (2.0 * (keys.max(1) as f64).ln()).sqrt()
    }
}

/// The correlation of two tokens behind `blocks` residual blocks of uniform attention, for a sequence of `tokens` that
/// start out uncorrelated, if each block's branch has `branch` times the variance of what it averages:
/// `ρ = g/(1 + g)` with `g = ((1 + a)^L - 1)/T` (Noci et al. 2022, arXiv:2206.03126, for uniform attention).
///
/// ```
/// use wick_theory::token_correlation;
///
/// assert!((token_correlation(8, 6, 1.0) - 0.887).abs() < 1e-3);
/// // A branch of 1/L keeps the tokens apart at any depth.
/// assert!((token_correlation(8, 6, 1.0 / 6.0) - 0.160).abs() < 1e-3);
/// ```
pub fn token_correlation(tokens: usize, blocks: usize, branch: f64) -> f64 {
    let grown = ((1.0 + branch).powf(blocks as f64) - 1.0) / tokens.max(1) as f64;
    if grown.is_finite() { grown / (1.0 + grown) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean square of a softmax, by an integral that was computed elsewhere and agrees with draws.
    #[test]
    fn squares_are_those_of_the_integral() {
        for (keys, std, expected) in [
            (16, 0.5, 0.07820),
            (16, 1.0, 0.13245),
            (128, 1.0, 0.02019),
            (128, 2.0, 0.10986),
            (128, 3.0, 0.26671),
            (1024, 2.0, 0.02854),
            (1024, 3.0, 0.13495),
        ] {
            let found = SoftmaxLaw::new(keys, std).squares;
            assert!((found - expected).abs() < 1e-5, "{keys} {std}: {found}");
        }
    }

    /// For two keys the entropy is an integral over one normal difference.
    #[test]
    fn the_entropy_of_two_keys() {
        for std in [0.1f64, 0.7, 2.0, 6.0, 20.0] {
            let entropy = |difference: f64| {
                let p = 1.0 / (1.0 + (-difference.abs()).exp());
                let q = (-difference.abs()).exp() * p;
                -p * p.ln() - if q > 0.0 { q * q.ln() } else { 0.0 }
            };
            let (scale, step) = (std * 2f64.sqrt(), 1e-3);
            let expected: f64 = (-9000..=9000)
                .map(|i| f64::from(i) * step)
                .map(|x| step / TAU.sqrt() * (-0.5 * x * x).exp() * entropy(scale * x))
                .sum();
            let found = SoftmaxLaw::new(2, std).entropy;
            assert!((found - expected).abs() < 2e-5, "{std}: {found} {expected}");
        }
    }

    /// The entropy falls with the scores' std, and is far below its start at the collapse.
    #[test]
    fn the_entropy_collapses() {
        for keys in [16, 128, 1024] {
            let at = |fraction: f64| {
                SoftmaxLaw::new(keys, fraction * SoftmaxLaw::collapse(keys)).entropy / (keys as f64).ln()
            };
            let all = [0.0, 0.25, 0.5, 1.0, 2.0, 4.0].map(at);
            assert!(all.windows(2).all(|pair| pair[0] > pair[1]), "{all:?}");
            assert!(all[1] > 0.9 && all[3] < 0.55 && all[5] < 0.15, "{all:?}");
        }
    }
}
