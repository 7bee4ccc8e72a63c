//! Summaries, and the statistics of parts of a tensor that they are merged from.

use crate::cpu::element::Number;
use crate::cpu::parallel;
use crate::stats::histogram::Histogram;
use crate::stats::moments::Moments;

/// Statistics of a whole tensor, as [`summarize`](crate::summarize) returns them.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The number of elements.
    pub count: u64,
    /// The mean.
    pub mean: f64,
    /// The population standard deviation.
    pub std: f64,
    /// The root mean square.
    pub rms: f64,
    /// The smallest element.
    pub min: f64,
    /// The largest element.
    pub max: f64,
    /// The histogram of the elements.
    pub histogram: Histogram,
}

/// The number of elements that are summed as one block. Blocks are merged in order, so that the bits do not
/// depend on the number of threads.
pub(super) const BLOCK: usize = 1 << 13;

/// Up to this many elements, the calling thread takes all blocks: it is done before another thread is awake.
const ALONE: usize = 1 << 17;

/// The results of `of` for each block of the values, in order.
pub(super) fn by_blocks<T: Sync, R: Send>(values: &[T], of: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
    if values.len() <= ALONE {
        return values.chunks(BLOCK).map(of).collect();
    }
    parallel::map(values.len().div_ceil(BLOCK), |block| {
        of(&values[block * BLOCK..values.len().min((block + 1) * BLOCK)])
    })
}

/// The statistics of some of the values of a tensor.
#[derive(Debug, Clone, Default)]
pub(crate) struct Partial {
    pub(crate) moments: Moments,
    /// Present if the range is known before the values are.
    pub(crate) histogram: Option<Histogram>,
    pub(crate) bins: usize,
}

impl Partial {
    /// Adds values: some thousands at most at a time.
    pub(crate) fn add<T: Number>(&mut self, values: &[T]) {
        self.moments.merge(&Moments::of(values));
        if let Some(histogram) = &mut self.histogram {
            histogram.add(values);
        }
    }

    /// Adds the statistics of other values.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.moments.merge(&other.moments);
        if let (Some(histogram), Some(other)) = (&mut self.histogram, &other.histogram) {
            histogram.merge(other);
        }
    }

    /// The summary of all values. If the range was not known before, the histogram is counted here, from
    /// `values`.
    pub(crate) fn summary<T: Number>(self, values: &[T]) -> Summary {
        let moments = self.moments;
        let histogram = self.histogram.unwrap_or_else(|| {
            let mut all = Histogram::new(moments.min(), moments.max(), self.bins);
            let parts = by_blocks(values, |block: &[T]| {
                let mut histogram = all.clone();
                histogram.add(block);
                histogram
            });
            for part in &parts {
                all.merge(part);
            }
            all
        });
        Summary {
            count: moments.count(),
            mean: moments.mean(),
            std: moments.std(),
            rms: moments.rms(),
            min: moments.min(),
            max: moments.max(),
            histogram,
        }
    }
}

/// The summary of values whose moments are known: only the histogram is left to count.
pub(crate) fn summarize_with_moments<T: Number>(values: &[T], moments: Moments, bins: usize) -> Summary {
    Partial { moments, histogram: None, bins }.summary(values)
}
