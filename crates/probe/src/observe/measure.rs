//! The measurements: what is taken of a tensor at once, and what is taken later.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Result, Tensor};
use wick_kernels::{Histogram, Moments, Stats, Summary, moments, summarize};

use crate::observe::bad::{Side, find_bad};
use crate::observe::late::{Found, Late, Measurement, SMALL, bytes};
use crate::observe::log::Log;
use crate::observe::rows::constants;
use crate::observe::units::{MAX_SAMPLES, Units};

/// A summary without a histogram.
fn without_histogram(moments: &Moments) -> Summary {
    static NONE: LazyLock<Histogram> = LazyLock::new(|| Histogram::new(0.0, 1.0, 1));
    Summary {
        count: moments.count(),
        mean: moments.mean(),
        std: moments.std(),
        rms: moments.rms(),
        min: moments.min(),
        max: moments.max(),
        histogram: NONE.clone(),
    }
}

/// How a tensor is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// The axis of the units; `None` for the usual one.
    pub(crate) axis: Option<usize>,
    pub(crate) with_units: bool,
    pub(crate) with_stats: bool,
    /// The range and the number of bins of the histogram.
    pub(crate) range: Option<(f64, f64)>,
    pub(crate) bins: usize,
}

impl Look {
    /// Looks at a tensor that does not change any more. A floating point tensor on the CPU is kept, and measured
    /// as far as the next steps need it; others are measured as a whole.
    pub(crate) fn take(self, tensor: &Tensor, log: &Mutex<Log>) -> Result<Measurement> {
        let dtype = tensor.dtype();
        let is_float = matches!(dtype, DType::F32 | DType::F64 | DType::BF16 | DType::F16);
        let buffer = if is_float && tensor.device().is_cpu() {
            locked(log).room(bytes(tensor), tensor.elem_count() <= SMALL)
        } else {
            None
        };
        let Some(buffer) = buffer else {
            let fetched = self.fetch(tensor)?;
            let summary = summarize(&fetched, self.range, self.bins)?;
            return self.take_all(summary, dtype, Some(&fetched));
        };
        let tensor = tensor.detach().contiguous()?;
        let summary = without_histogram(&moments(&tensor)?);
        let constants = if self.with_units { constants(&tensor, self.axis, MAX_SAMPLES) } else { None };
        Ok(Measurement {
            bad: find_bad(&summary, dtype, Some(&tensor))?,
            stats: self.stats(&tensor)?,
            summary,
            dtype,
            tracked: None,
            units: None,
            constants,
            late: Some(Late::new(
                tensor,
                buffer,
                (self.range, self.bins),
                self.with_units.then_some(self.axis),
            )),
        })
    }

    /// Measures all of a tensor at once, given its statistics and, where it is at hand, the tensor.
    pub(crate) fn take_all(
        self,
        summary: Summary,
        dtype: DType,
        tensor: Option<&Tensor>,
    ) -> Result<Measurement> {
        let bad = find_bad(&summary, dtype, tensor)?;
        let (mut units, mut stats) = (None, None);
        if let Some(tensor) = tensor {
            let tensor = self.fetch(tensor)?;
            units = if self.with_units { Units::along(&tensor, self.axis)? } else { None };
            stats = self.stats(&tensor)?;
        }
        let constants = units.as_ref().map(|units| (units.count, units.constants.clone()));
        Ok(Measurement { summary, dtype, tracked: None, units, constants, late: None, stats, bad })
    }

    /// What the totals need of a tensor.
    fn stats(self, tensor: &Tensor) -> Result<Option<Stats>> {
        if self.with_stats { Stats::of_tensor(tensor).map(Some) } else { Ok(None) }
    }

    /// The tensor on the CPU, if every element is read there. Totals read all of them, units a few samples.
    fn fetch(self, tensor: &Tensor) -> Result<Tensor> {
        if self.with_stats { tensor.detach().to_device(&Device::Cpu) } else { Ok(tensor.detach()) }
    }
}

/// Measures what is left of the records: units and slopes, and the histograms if they are wanted. The log is
/// not locked meanwhile: loops on every core may run other work of their thread pool, which may tap.
pub(crate) fn measure_late(log: &Mutex<Log>, with_histograms: bool) {
    let ids: Vec<u64> = locked(log).ids().collect();
    for id in ids {
        for side in [Side::Forward, Side::Backward] {
            let wanted = |late: &Late| {
                let histogram = late.histogram.filter(|_| with_histograms);
                let is_wanted = histogram.is_some() || late.units.is_some();
                is_wanted.then(|| (late.tensor(), histogram, late.units))
            };
            let late = locked(log).left(id).and_then(|left| left.side(side).and_then(wanted));
            // Nothing that is done here can fail with a floating point tensor on the CPU.
            let Some((Ok(tensor), histogram, units)) = late else { continue };
            if let Some(axis) = units {
                let units = Units::along(&tensor, axis).ok().flatten();
                locked(log).fill(id, Found::Units(side, units));
            }
            if let Some((range, bins)) = histogram
                && let Ok(summary) = summarize(&tensor, range, bins)
            {
                locked(log).fill(id, Found::Histogram(side, summary.histogram));
            }
        }
        let slopes = locked(log).left(id).and_then(|left| left.slopes.clone());
        if let Some(slopes) = slopes {
            locked(log).fill(id, Found::SlopeSquare(slopes.mean_square()));
        }
    }
}

/// The log, also where a thread panicked with it.
pub(crate) fn locked(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
