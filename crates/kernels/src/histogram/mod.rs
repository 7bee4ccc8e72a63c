//! Histograms of a fixed range.

#[cfg(target_arch = "x86_64")]
mod slots;

use serde::Serialize;

use crate::SimdLevel;
use crate::simd;
use crate::slice::Number;

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
#[derive(Debug, Clone, Serialize)]
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
    /// How `f32`s are counted fast, where they can be.
    #[cfg(target_arch = "x86_64")]
    #[serde(skip)]
    slots: Option<std::sync::Arc<slots::Slots>>,
}

/// By range and counts.
impl PartialEq for Histogram {
    fn eq(&self, other: &Self) -> bool {
        self.is_like(other) && self.counts == other.counts && self.outside == other.outside
    }
}

impl Histogram {
    /// An empty histogram. A range without width, or without order, is widened to one around `low`, as NumPy
    /// does.
    pub fn new(low: f64, high: f64, bins: usize) -> Self {
        // Of nothing but NaN there is no range either; any will do.
        let low = if low.is_nan() { 0.0 } else { low };
        let (low, high) = if low < high { (low, high) } else { (low - 0.5, low + 0.5) };
        let counts = vec![0; bins.max(1)];
        Self {
            low,
            high,
            outside: 0,
            #[cfg(target_arch = "x86_64")]
            slots: slots::Slots::new(&Edges::new(low, high, counts.len())).map(Into::into),
            counts,
        }
    }

    /// What has been counted elsewhere, over a range that has a width.
    #[cfg(feature = "cuda")]
    pub(crate) fn of_counts(low: f64, high: f64, counts: Vec<u64>, outside: u64) -> Self {
        Self {
            low,
            high,
            counts,
            outside,
            #[cfg(target_arch = "x86_64")]
            slots: None,
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        (self.low, self.high, self.counts.len()) == (other.low, other.high, other.counts.len())
    }

    /// Counts numbers.
    pub fn add<T: Number>(&mut self, values: &[T]) {
        #[cfg(target_arch = "x86_64")]
        // The range and the bins are anybody's to change.
        if let (Some(slots), Some(values)) = (&self.slots, T::as_f32s(values))
            && *slots.edges() == Edges::new(self.low, self.high, self.counts.len())
        {
            self.outside += slots.count(values, &mut self.counts);
            return;
        }
        self.add_one_by_one(values);
    }

    fn add_one_by_one<T: Number>(&mut self, values: &[T]) {
        // The counts of one part fit in 32 bits.
        for values in values.chunks(1 << 30) {
            simd::run(SimdLevel::best(), Add { histogram: self, values });
        }
    }

    /// Adds the counts of another histogram of the same range and bins; others are not added and give
    /// `false`.
    pub fn merge(&mut self, other: &Self) -> bool {
        let same = self.is_like(other);
        if same {
            for (count, more) in self.counts.iter_mut().zip(&other.counts) {
                *count += more;
            }
            self.outside += other.outside;
        }
        same
    }
}

/// Where the bins lie.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Edges {
    low: f64,
    high: f64,
    bins: usize,
    /// Bins in a unit.
    scale: f64,
}

impl Edges {
    fn new(low: f64, high: f64, bins: usize) -> Self {
        Self { low, high, bins, scale: bins as f64 / (high - low) }
    }

    /// The bin, from 0, of a number within the range, as a whole number.
    #[inline(always)]
    fn bin(&self, x: f64) -> f64 {
        ((x - self.low) * self.scale).min((self.bins - 1) as f64).floor()
    }

    /// The bin from 1; 0 below the range (and for NaN), and one more than the bins above it.
    #[cfg(target_arch = "x86_64")]
    fn slot(&self, x: f64) -> usize {
        if x > self.high {
            self.bins + 1
        } else if x >= self.low {
            self.bin(x) as usize + 1
        } else {
            0
        }
    }
}

struct Add<'a, T> {
    histogram: &'a mut Histogram,
    values: &'a [T],
}

impl<T: Number> simd::Task for Add<'_, T> {
    type Output = ();

    /// The bins of some values at once, by the vector unit; then one is added to each, in tables of their own, so that
    /// no addition has to wait for the one before it.
    #[inline(always)]
    fn run(self) {
        const SOME: usize = 64;
        const TABLES: usize = 4;
        let Self { histogram, values } = self;
        let bins = histogram.counts.len();
        let edges = Edges::new(histogram.low, histogram.high, bins);
        let bin = |x: T| {
            let x: f64 = x.into();
            // NaN is neither.
            let inside = edges.low <= x && x <= edges.high;
            // What is in no bin is counted behind the last one.
            let bin = if inside { edges.bin(x) } else { bins as f64 };
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

    /// All at once and one by one are the same, at every edge and beside it, for all numbers of bins and ranges near and
    /// far from 0, and whatever number of values is left over.
    #[test]
    fn many_at_once_are_counted_as_one_by_one() {
        for (low, high) in [
            (-1.0, 1.0),
            (0.0, 1.0),
            (-0.278_464_5, 3.7),
            (1e4, 1e4 + 1.0),
            (-1e30, 2e30),
            (1e-30, 3e-30),
            (1e-42, 3e-40),
        ] {
            for bins in [1, 2, 7, 29, 30, 31, 100] {
                let mut values =
                    vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, f32::MAX, f32::MIN];
                for i in 0..=4 * bins {
                    let x = (low + (high - low) * (i as f64 - bins as f64) / (2 * bins) as f64) as f32;
                    values.extend([x.next_down().next_down(), x.next_down(), x, x.next_up()]);
                }
                for i in 0..1500 {
                    values.push((low + (high - low) * (f64::from(i) * 0.618).fract()) as f32);
                }
                #[cfg(target_arch = "x86_64")]
                if (low, high, bins) == (-1.0, 1.0, 30) && SimdLevel::best() == SimdLevel::Avx512 {
                    let able = is_x86_feature_detected!("avx512vpopcntdq");
                    assert_eq!(
                        Histogram::new(low, high, bins).slots.is_some(),
                        able,
                        "the usual one is fast"
                    );
                }
                for count in [values.len(), 511, 512, 513, 3, 0] {
                    let mut fast = Histogram::new(low, high, bins);
                    fast.add(&values[..count.min(values.len())]);
                    let mut slow = Histogram::new(low, high, bins);
                    slow.add_one_by_one(&values[..count.min(values.len())]);
                    assert_eq!(fast, slow, "{low} {high} {bins} {count}");
                }
            }
        }
    }

    #[test]
    fn a_range_without_width_is_widened() {
        let mut histogram = Histogram::new(3.0, 3.0, 2);
        histogram.add(&[3.0f32]);
        assert_eq!((histogram.low, histogram.high, &histogram.counts[..]), (2.5, 3.5, &[0, 1][..]));
    }

    #[test]
    fn a_range_that_was_changed_is_the_one_that_counts() {
        let mut histogram = Histogram::new(0.0, 1.0, 2);
        (histogram.high, histogram.counts) = (4.0, vec![0; 4]);
        histogram.add(&[0.5f32, 3.5]);
        assert_eq!(histogram.counts, [1, 0, 0, 1]);
    }
}
