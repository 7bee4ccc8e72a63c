//! Functions of correlated normal numbers, by series in Hermite polynomials (equation (10) of
//! `docs/finite-width.md`).

/// Terms of a series. The remainder is taken as one more power, so that both ends, correlation 0 and 1, are
/// exact.
pub(crate) const TERMS: usize = 40;

/// The coefficients `f_k = E[f(z) h_k(z)]` of a function in normalized Hermite polynomials.
#[derive(Debug, Clone)]
pub(crate) struct Series(pub(crate) [f64; TERMS]);

impl Series {
    /// `E[f(z₁) g(z₂)] = Σ f_k g_k c^k` at the correlation `c` (Mehler's formula), where `whole` is
    /// `E[f(z) g(z)]`, the value at `c = 1`.
    pub(crate) fn product(&self, other: &Self, whole: f64, c: f64) -> f64 {
        let (mut sum, mut terms, mut power) = (0.0, 0.0, 1.0);
        for (a, b) in self.0.iter().zip(other.0) {
            sum += a * b * power;
            terms += a * b;
            power *= c;
        }
        sum + (whole - terms) * power
    }
}

/// Adds `weight · h_k(z) · f` to the coefficients of each series, for the values `f` of its function at `z`.
pub(crate) fn add_node<const N: usize>(
    series: &mut [[f64; TERMS]; N],
    z: f64,
    weight: f64,
    values: [f64; N],
) {
    let (mut before, mut hermite) = (0.0, weight);
    for k in 0..TERMS {
        for (coefficients, value) in series.iter_mut().zip(values) {
            coefficients[k] += hermite * value;
        }
        let next = (z * hermite - (k as f64).sqrt() * before) / ((k + 1) as f64).sqrt();
        (before, hermite) = (hermite, next);
    }
}
