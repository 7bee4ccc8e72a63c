//! What was measured of a tensor, and what of it is kept for what is measured only when somebody asks for it:
//! histograms, units and slopes.
//!
//! A tap keeps its own output, and the gradient that comes back to it, and neither changes any more: the output is
//! the tap's copy, and candle adds gradients into new tensors. So what is read later is what passed. Of small
//! tensors, the probe keeps copies, in buffers that it fills again in the next step: the memory of the tensors
//! themselves then goes to the next op, where it is in the cache.

use candle_core::{CpuStorage, DType, Device, Result, Shape, Storage, Tensor};
use wick_kernels::{Histogram, Stats, Summary};

use crate::observe::bad::{Bad, Side};
use crate::observe::units::{Slopes, Units};

/// The most bytes of tensors that a probe keeps. Tensors beyond are measured at once.
pub(crate) const MOST_KEPT: usize = 128 << 20;

/// Tensors of at most this many numbers are copied.
pub(crate) const SMALL: usize = 1 << 16;

/// What was measured of one tensor.
#[derive(Debug)]
pub(crate) struct Measurement {
    pub(crate) summary: Summary,
    pub(crate) dtype: DType,
    pub(crate) tracked: Option<bool>,
    pub(crate) units: Option<Units>,
    /// The number of units and the constant ones, if units are recorded.
    pub(crate) constants: Option<(usize, Vec<usize>)>,
    /// The tensor, if something is left to measure.
    pub(crate) late: Option<Late>,
    pub(crate) stats: Option<Stats>,
    pub(crate) bad: Option<Bad>,
}

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
    /// Keeps a contiguous tensor on the CPU, of which a histogram and, where an axis is given, units are left.
    pub(crate) fn new(
        tensor: Tensor,
        buffer: Vec<f32>,
        histogram: (Option<(f64, f64)>, usize),
        units: Option<Option<usize>>,
    ) -> Self {
        Self { kept: keep(tensor, buffer), histogram: Some(histogram), units }
    }

    pub(crate) fn bytes(&self) -> usize {
        match &self.kept {
            Kept::Whole(tensor) => bytes(tensor),
            Kept::Copy(numbers, _) => size_of_val(&**numbers),
        }
    }

    pub(crate) fn tensor(&self) -> Result<Tensor> {
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

/// The bytes of a tensor's numbers.
pub(crate) fn bytes(tensor: &Tensor) -> usize {
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
    pub(crate) fn side(&self, side: Side) -> Option<&Late> {
        match side {
            Side::Forward => self.value.as_ref(),
            Side::Backward => self.gradient.as_ref(),
        }
    }
}
