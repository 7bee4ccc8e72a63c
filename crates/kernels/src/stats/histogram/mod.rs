//! Histograms of a fixed range.

mod edges;
#[cfg(target_arch = "x86_64")]
mod slots;

use serde::Serialize;

use crate::cpu::element::Number;
use crate::cpu::simd::{self, SimdLevel};
use edges::Edges;

/// Counts in bins of equal width over `[low, high]`. A bin includes its lower edge; the last bin includes its
/// upper edge too.
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
    /// The number of numbers in each bin.
    pub counts: Vec<u64>,
    /// The number of numbers in no bin: those outside the range, and NaN.
    #[serde(skip)]
    pub outside: u64,
    /// The fast way to count `f32`s, if the processor and the range allow it.
    #[cfg(target_arch = "x86_64")]
    #[serde(skip)]
    slots: Option<std::sync::Arc<slots::Slots>>,
}

/// Compares range and counts.
impl PartialEq for Histogram {
    fn eq(&self, other: &Self) -> bool {
        self.is_like(other) && self.counts == other.counts && self.outside == other.outside
    }
}

impl Histogram {
    /// An empty histogram. A range without width, or without order, becomes one of width 1 around `low`, as
    /// in NumPy.
    pub fn new(low: f64, high: f64, bins: usize) -> Self {
        // If all numbers are NaN, there is no range, and any range will do.
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

    /// A histogram of counts from a device, over a range that has a width.
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
        // The fields are public: the range and the bins may have been changed since `new`.
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

    /// Adds the counts of another histogram of the same range and bins. Returns `false`, and adds nothing, if
    /// they differ.
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

struct Add<'a, T> {
    histogram: &'a mut Histogram,
    values: &'a [T],
}

impl<T: Number> simd::Task for Add<'_, T> {
    type Output = ();

    /// Computes the bins of some values at once, on the vector unit, and then counts them in several tables,
    /// so that no addition waits for the one before it.
    #[inline(always)]
    fn run(self) {
        const SOME: usize = 64;
        const TABLES: usize = 4;
        let Self { histogram, values } = self;
        let bins = histogram.counts.len();
        let edges = Edges::new(histogram.low, histogram.high, bins);
        let bin = |x: T| {
            let x = x.widen();
            // A NaN is not inside.
            let inside = edges.low <= x && x <= edges.high;
            // A number in no bin is counted behind the last bin.
            let bin = if inside { edges.bin(x) } else { bins as f64 };
            // Adding 2⁵² puts a whole number into the last bits: a conversion that every vector unit has.
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
mod tests;
