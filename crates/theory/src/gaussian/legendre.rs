//! Gauss-Legendre quadrature in panels.

use std::sync::LazyLock;

/// Nodes in a panel.
const NODES: usize = 20;
/// The widest panel. A function that changes on the scale 1 is integrated to the last digits of `f64` by 20
/// nodes.
const WIDEST: f64 = 0.75;

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

/// The nodes and weights of equal panels between two edges.
pub(super) fn panels(low: f64, high: f64) -> impl Iterator<Item = (f64, f64)> {
    let panels = ((high - low) / WIDEST).ceil().max(1.0);
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
