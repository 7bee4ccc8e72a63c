//! Integrals over the standard normal measure.

use std::iter::successors;
use std::sync::LazyLock;

use crate::special::normal_pdf;

/// Beyond this many standard deviations the normal measure weighs less than 1e-32.
const REACH: f64 = 12.0;
/// Nodes in a panel, and the widest panel in standard deviations: together far past `f64` for what is
/// smooth inside a panel.
const NODES: usize = 20;
const PANEL: f64 = 0.75;
/// The widest panel in units of the argument, for functions that never settle, like the sine: about one
/// period for twenty nodes.
const WIDEST: f64 = 8.0;

/// `E[f(√q z)]` for `z ~ N(0, 1)`: Gauss-Legendre panels over ±12 standard deviations. The work grows with
/// √q.
///
/// `q ≥ 0` is the variance of the argument of `f`; `kinks` are the places, in the argument of `f`, where
/// `f` or a derivative of it jumps. A panel ends at each, which an unsplit rule pays for with its digits.
///
/// ```
/// use wick_theory::gaussian::expectation;
///
/// let second_moment = expectation(|x| x * x, 4.0, &[]);
/// assert!((second_moment - 4.0).abs() < 1e-12);
/// let half = expectation(|x| if x > 0.0 { x * x } else { 0.0 }, 4.0, &[0.0]);
/// assert!((half - 2.0).abs() < 1e-12);
/// ```
pub fn expectation(f: impl Fn(f64) -> f64, q: f64, kinks: &[f64]) -> f64 {
    let scale = q.sqrt();
    if scale == 0.0 {
        return f(0.0);
    }
    let edges = edges(scale, kinks);
    edges.windows(2).map(|edge| integrate(&|z| f(scale * z) * normal_pdf(z), edge[0], edge[1])).sum()
}

/// The rule of [`expectation`] as nodes `z` with their weights, for more than one integral over the same
/// numbers.
pub(crate) fn nodes(q: f64, kinks: &[f64]) -> Vec<(f64, f64)> {
    let scale = q.sqrt();
    if scale == 0.0 {
        // Whatever the argument is multiplied by, the function sees zero.
        return edges(1.0, &[]).windows(2).flat_map(|edge| weighted(edge[0], edge[1])).collect();
    }
    edges(scale, kinks).windows(2).flat_map(|edge| weighted(edge[0], edge[1])).collect()
}

/// The nodes between two edges, weighted by the normal density.
fn weighted(low: f64, high: f64) -> impl Iterator<Item = (f64, f64)> {
    panels(low, high).map(|(z, weight)| (z, weight * normal_pdf(z)))
}

/// Where the panels end, in standard deviations, for an argument of this standard deviation.
fn edges(scale: f64, kinks: &[f64]) -> Vec<f64> {
    let mut edges = vec![-REACH, REACH];
    edges.extend(kinks.iter().map(|k| k / scale));
    if scale > 1.0 {
        // An activation bends within a few units of zero: there the panels keep to its own scale.
        let graded = successors(Some(0.5f64), |u| Some((u * 1.5).max(u + 0.5).min(u + WIDEST)));
        edges.extend(graded.map(|u| u / scale).take_while(|z| *z < REACH).flat_map(|z| [-z, z]));
    }
    edges.retain(|z| z.abs() <= REACH);
    edges.sort_by(f64::total_cmp);
    edges
}

/// `∫ g` from `low` to `high`, both finite, by Gauss-Legendre panels of at most .75: for what changes on the
/// scale of a standard normal.
///
/// ```
/// use wick_theory::gaussian::integrate;
///
/// let third = integrate(&|x| x * x, 0.0, 1.0);
/// assert!((third - 1.0 / 3.0).abs() < 1e-15);
/// ```
pub fn integrate(g: &impl Fn(f64) -> f64, low: f64, high: f64) -> f64 {
    panels(low, high).map(|(x, weight)| weight * g(x)).sum()
}

/// The nodes and weights of the panels between two edges.
fn panels(low: f64, high: f64) -> impl Iterator<Item = (f64, f64)> {
    let panels = ((high - low) / PANEL).ceil().max(1.0);
    let half = 0.5 * (high - low) / panels;
    (0..panels as usize).flat_map(move |panel| {
        let middle = low + half * (2 * panel + 1) as f64;
        LEGENDRE.iter().map(move |(x, w)| (middle + half * x, w * half))
    })
}

/// The nodes and weights of Gauss-Legendre quadrature on [-1, 1].
static LEGENDRE: LazyLock<[(f64, f64); NODES]> = LazyLock::new(|| {
    std::array::from_fn(|i| {
        // Newton's iteration on the Legendre polynomial from Tricomi's approximation of its i-th root.
        let n = NODES as f64;
        let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (n + 0.5)).cos();
        let mut slope = 0.0;
        for _ in 0..8 {
            let (mut previous, mut value) = (1.0, x);
            for k in 2..=NODES {
                let k = k as f64;
                (previous, value) = (value, ((2.0 * k - 1.0) * x * value - (k - 1.0) * previous) / k);
            }
            slope = n * (x * value - previous) / (x * x - 1.0);
            x -= value / slope;
        }
        (x, 2.0 / ((1.0 - x * x) * slope * slope))
    })
});

#[cfg(test)]
mod tests {
    use super::*;

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
        let selu = crate::Activation::Selu;
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
}
