//! What is measured only when somebody asks for it: histograms, units and slopes.
//!
//! A tap keeps its own output, and the gradient that comes back to it, and neither changes any more: the output is
//! the tap's copy, and candle adds gradients into new tensors. So what is read later is what passed. Of small
//! tensors, the probe keeps copies, in buffers that it fills again in the next step: the memory of the tensors
//! themselves then goes to the next op, where it is in the cache.

use std::sync::LazyLock;

use candle_core::{CpuStorage, DType, Device, Result, Shape, Storage, Tensor};
use wick_kernels::{Histogram, Moments, Summary, moments, summarize};

use crate::observe::bad::{Side, find_bad};
use crate::observe::log::Measurement;
use crate::observe::probe::Probe;
use crate::observe::rows::constants;
use crate::observe::units::{MAX_SAMPLES, Slopes, Units};

/// The most bytes of tensors that a probe keeps. Tensors beyond are measured at once.
pub(crate) const MOST_KEPT: usize = 128 << 20;

/// Tensors of at most this many numbers are copied.
const SMALL: usize = 1 << 16;

/// A tensor of which something is left to measure.
#[derive(Debug)]
pub(crate) struct Late {
    kept: Kept,
    /// The range, if it is known, and the number of bins of a histogram that is left to count.
    pub(crate) histogram: Option<(Option<(f64, f64)>, usize)>,
    /// The axis of the units, if they are left to measure.
    pub(crate) units: Option<Option<usize>>,
}

/// What was measured late.
#[derive(Debug)]
pub(crate) enum Found {
    Histogram(Side, Histogram),
    Units(Side, Option<Units>),
    SlopeSquare(f64),
}

/// What is kept of a tensor.
#[derive(Debug)]
enum Kept {
    Whole(Tensor),
    Copy(Vec<f32>, Shape),
}

impl Late {
    pub(crate) fn bytes(&self) -> usize {
        match &self.kept {
            Kept::Whole(tensor) => bytes(tensor),
            Kept::Copy(numbers, _) => size_of_val(&**numbers),
        }
    }

    fn tensor(&self) -> Result<Tensor> {
        match &self.kept {
            Kept::Whole(tensor) => Ok(tensor.clone()),
            Kept::Copy(numbers, shape) => Tensor::from_slice(numbers, shape.clone(), &Device::Cpu),
        }
    }

    /// The buffer of the copy, if it is one.
    pub(crate) fn into_buffer(self) -> Option<Vec<f32>> {
        match self.kept {
            Kept::Whole(_) => None,
            Kept::Copy(numbers, _) => Some(numbers),
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.histogram.is_none() && self.units.is_none()
    }
}

fn bytes(tensor: &Tensor) -> usize {
    tensor.elem_count() * tensor.dtype().size_in_bytes()
}

/// Keeps a contiguous tensor on the CPU: a small one of `f32` in the buffer.
fn keep(tensor: Tensor, mut buffer: Vec<f32>) -> Kept {
    if tensor.elem_count() <= SMALL {
        let (storage, layout) = tensor.storage_and_layout();
        if let (Storage::Cpu(CpuStorage::F32(numbers)), Some((from, to))) =
            (&*storage, layout.contiguous_offsets())
        {
            buffer.clear();
            buffer.extend_from_slice(&numbers[from..to]);
            return Kept::Copy(buffer, layout.shape().clone());
        }
    }
    Kept::Whole(tensor)
}

/// What is left to measure of a record.
#[derive(Debug, Default)]
pub(crate) struct Left {
    pub(crate) value: Option<Late>,
    pub(crate) gradient: Option<Late>,
    pub(crate) slopes: Option<Slopes>,
}

impl Left {
    fn side(&self, side: Side) -> Option<&Late> {
        match side {
            Side::Forward => self.value.as_ref(),
            Side::Backward => self.gradient.as_ref(),
        }
    }
}

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
    pub(crate) range: Option<(f64, f64)>,
    pub(crate) axis: Option<usize>,
    pub(crate) with_units: bool,
}

impl Probe {
    /// Looks at a tensor that does not change any more. A floating point tensor on the CPU is kept, and measured
    /// as far as the next steps need it; others are measured as a whole.
    pub(crate) fn look(&self, tensor: &Tensor, look: Look) -> Result<Measurement> {
        let Look { range, axis, with_units } = look;
        let dtype = tensor.dtype();
        let is_float = matches!(dtype, DType::F32 | DType::F64 | DType::BF16 | DType::F16);
        let buffer = if is_float && tensor.device().is_cpu() {
            self.lock().room(bytes(tensor), tensor.elem_count() <= SMALL)
        } else {
            None
        };
        let Some(buffer) = buffer else {
            let fetched = self.fetch(tensor)?;
            let summary = summarize(&fetched, range, self.bins())?;
            return self.measure(axis, summary, dtype, Some(&fetched), with_units);
        };
        let tensor = tensor.detach().contiguous()?;
        let summary = without_histogram(&moments(&tensor)?);
        let constants = if with_units { constants(&tensor, axis, MAX_SAMPLES) } else { None };
        Ok(Measurement {
            bad: find_bad(&summary, dtype, Some(&tensor))?,
            stats: self.stats(&tensor)?,
            summary,
            dtype,
            tracked: None,
            units: None,
            constants,
            late: Some(Late {
                kept: keep(tensor, buffer),
                histogram: Some((range, self.bins())),
                units: with_units.then_some(axis),
            }),
        })
    }

    /// Measures what is left of the records: units and slopes, and the histograms if they are wanted. The probe is
    /// not locked meanwhile: loops on every core may run other work of their thread pool, which may tap.
    pub(crate) fn measure_late(&self, with_histograms: bool) {
        let ids: Vec<u64> = self.lock().ids().collect();
        for id in ids {
            for side in [Side::Forward, Side::Backward] {
                let wanted = |late: &Late| {
                    let histogram = late.histogram.filter(|_| with_histograms);
                    let is_wanted = histogram.is_some() || late.units.is_some();
                    is_wanted.then(|| (late.tensor(), histogram, late.units))
                };
                let late = self.lock().left(id).and_then(|left| left.side(side).and_then(wanted));
                // Nothing that is done here can fail with a floating point tensor on the CPU.
                let Some((Ok(tensor), histogram, units)) = late else { continue };
                if let Some(axis) = units {
                    self.lock().fill(id, Found::Units(side, Units::along(&tensor, axis).ok().flatten()));
                }
                if let Some((range, bins)) = histogram
                    && let Ok(summary) = summarize(&tensor, range, bins)
                {
                    self.lock().fill(id, Found::Histogram(side, summary.histogram));
                }
            }
            let slopes = self.lock().left(id).and_then(|left| left.slopes.clone());
            if let Some(slopes) = slopes {
                self.lock().fill(id, Found::SlopeSquare(slopes.mean_square()));
            }
        }
    }
}
