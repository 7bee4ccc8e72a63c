//! Histograms of a fixed range.

use serde::Serialize;

use crate::Level;
use crate::simd;

/// Counts in bins of equal width over `[low, high]`. A bin holds its lower edge, and the last one its upper
/// edge too.
///
/// ```
/// use wick_kernels::Histogram;
///
/// let mut histogram = Histogram::new(0.0, 1.0, 4);
/// histogram.add(&[0.0f64, 0.25, 0.3, 1.0, 7.0, f64::NAN]);
/// assert_eq!(histogram.counts, [1, 2, 0, 1]);
/// assert_eq!(histogram.outside, 2);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Histogram {
    /// The lower edge of the first bin.
    pub low: f64,
    /// The upper edge of the last bin.
    pub high: f64,
    /// How many numbers fell into each bin.
    pub counts: Vec<u64>,
    /// How many fell into none: those outside the range, and NaN.
    #[serde(skip)]
    pub outside: u64,
}

impl Histogram {
    /// An empty histogram. A range without width, or without order, is widened to one around `low`, as NumPy
    /// does.
    pub fn new(low: f64, high: f64, bins: usize) -> Self {
        // Of nothing but NaN there is no range either; any will do.
        let low = if low.is_nan() { 0.0 } else { low };
        let (low, high) = if low < high { (low, high) } else { (low - 0.5, low + 0.5) };
        Self { low, high, counts: vec![0; bins.max(1)], outside: 0 }
    }

    /// Counts numbers.
    pub fn add<T: Copy + Into<f64>>(&mut self, values: &[T]) {
        // The counts of one part fit in 32 bits.
        for values in values.chunks(1 << 30) {
            simd::run(Level::best(), Add { histogram: self, values });
        }
    }

    /// Adds the counts of another histogram of the same range and bins; others are not added and give
    /// `false`.
    pub fn merge(&mut self, other: &Self) -> bool {
        let same = (self.low, self.high, self.counts.len()) == (other.low, other.high, other.counts.len());
        if same {
            for (count, more) in self.counts.iter_mut().zip(&other.counts) {
                *count += more;
            }
            self.outside += other.outside;
        }
        same
    }
}

struct Add<'a, T> {
    histogram: &'a mut Histogram,
    values: &'a [T],
}

impl<T: Copy + Into<f64>> simd::Task for Add<'_, T> {
    type Output = ();

    /// The bins of some values at once, by the vector unit; then one is added to each, in tables of their own, so that
    /// no addition has to wait for the one before it.
    #[inline(always)]
    fn run(self) {
        const SOME: usize = 64;
        const TABLES: usize = 4;
        let Self { histogram, values } = self;
        let (low, high, bins) = (histogram.low, histogram.high, histogram.counts.len());
        let scale = bins as f64 / (high - low);
        let last = (bins - 1) as f64;
        let bin = |x: T| {
            let x: f64 = x.into();
            // NaN is neither.
            let inside = low <= x && x <= high;
            let bin = ((x - low) * scale).min(last);
            // What is in no bin is counted behind the last one.
            let bin = if inside { bin.floor() } else { last + 1.0 };
            // A whole number added to 2⁵² stands in the last bits: a conversion that every vector unit has.
            (bin + 4_503_599_627_370_496.0).to_bits() as u32
        };
        let stride = bins + 1;
        let mut tables = vec![0u32; TABLES * stride];
        let (whole, rest) = values.as_chunks::<SOME>();
        let mut places = [0u32; SOME];
        for chunk in whole {
            for (place, &x) in places.iter_mut().zip(chunk) {
                *place = bin(x);
            }
            for four in places.as_chunks::<TABLES>().0 {
                for (table, &place) in four.iter().enumerate() {
                    tables[table * stride + place as usize] += 1;
                }
            }
        }
        for &x in rest {
            tables[bin(x) as usize] += 1;
        }
        for table in tables.chunks(stride) {
            for (count, &more) in histogram.counts.iter_mut().zip(table) {
                *count += u64::from(more);
            }
            histogram.outside += u64::from(table[bins]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_counts_what_adding_counts() {
        let values: Vec<f64> = (0..1000).map(|i| (f64::from(i) * 0.37).sin() * 1.2).collect();
        let mut all = Histogram::new(-1.0, 1.0, 30);
        all.add(&values);
        assert_eq!(all.counts.iter().sum::<u64>() + all.outside, 1000);
        assert!(all.outside > 0);
        let mut merged = Histogram::new(-1.0, 1.0, 30);
        for part in values.chunks(123) {
            let mut one = Histogram::new(-1.0, 1.0, 30);
            one.add(part);
            assert!(merged.merge(&one));
        }
        assert_eq!(merged, all);
        assert!(!merged.merge(&Histogram::new(-1.0, 2.0, 30)));
    }

    #[test]
    fn a_range_without_width_is_widened() {
        let mut histogram = Histogram::new(3.0, 3.0, 2);
        histogram.add(&[3.0f32]);
        assert_eq!((histogram.low, histogram.high, &histogram.counts[..]), (2.5, 3.5, &[0, 1][..]));
    }
}
