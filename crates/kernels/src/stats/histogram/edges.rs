//! The edges of bins of equal width.

/// The edges of a histogram's bins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Edges {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) bins: usize,
    /// The number of bins per unit.
    pub(super) scale: f64,
}

impl Edges {
    pub(super) fn new(low: f64, high: f64, bins: usize) -> Self {
        Self { low, high, bins, scale: bins as f64 / (high - low) }
    }

    /// The index of the bin of a number within the range, as a whole number.
    #[inline(always)]
    pub(super) fn bin(&self, x: f64) -> f64 {
        ((x - self.low) * self.scale).min((self.bins - 1) as f64).floor()
    }

    /// The index of the bin plus 1; 0 below the range and for NaN, `bins + 1` above the range.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn slot(&self, x: f64) -> usize {
        if x > self.high {
            self.bins + 1
        } else if x >= self.low {
            self.bin(x) as usize + 1
        } else {
            0
        }
    }
}
