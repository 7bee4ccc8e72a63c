//! Statistics in two stages, written to records that are read all at once.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DeviceRepr, PushKernelArg};
use candle_core::cuda_backend::{CudaDevice, CudaStorage, WrapErr};
use candle_core::{DType, Layout, Result, Tensor};

use super::{Element, address, blocks, by_type, contiguous, kernel, on_gpu, ptx};
use crate::summary::Partial;
use crate::{Histogram, Moments, Summary};

/// Blocks of a launch at most: what the parts of a record are for.
const MOST: usize = 1024;
/// Numbers in a part.
const PART: usize = 5;
/// Bins that a block can count, `SHARED_BINS` in `stats.cuh`.
const MOST_BINS: usize = 4096;
/// Words of a record before its counts: `Word` in `stats.cuh`.
const HEAD: usize = 10;

/// Whether the kernels can summarize a tensor so.
pub(crate) fn has(xs: &Tensor, bins: usize) -> bool {
    let floating = matches!(xs.dtype(), DType::F32 | DType::F64 | DType::BF16 | DType::F16);
    xs.device().is_cuda() && floating && bins <= MOST_BINS && xs.elem_count() > 0
}

/// `Ear` in `stats.cuh`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ear {
    record: u64,
    parts: u64,
    bins: i32,
    known: i32,
    low: f64,
    high: f64,
    tail_low: f64,
    tail_high: f64,
}

// SAFETY: plain numbers, laid out as in C.
unsafe impl DeviceRepr for Ear {}

/// What is to be found out about a tensor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) bins: usize,
    /// Of the histogram, where it is known.
    pub(super) range: Option<(f64, f64)>,
    /// At or outside of these an element is saturated.
    pub(super) tails: (f64, f64),
    /// The blocks of the launch, at most.
    pub(super) parts: usize,
}

/// Nobody's tails.
pub(super) const NO_TAILS: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

/// Where a tensor's statistics are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    start: usize,
    bins: usize,
}

/// A buffer on a device with room for the records of many tensors, and for the parts of the one that is being made.
#[derive(Debug)]
pub(crate) struct Board {
    device: CudaDevice,
    words: CudaSlice<u64>,
    used: usize,
    parts: CudaSlice<f64>,
}

impl Board {
    /// A board for `words` words at least.
    fn with_room(device: &CudaDevice, words: usize) -> Result<Self> {
        /// 200 records of 30 bins.
        const USUAL: usize = 1 << 13;
        Ok(Self {
            device: device.clone(),
            words: device.alloc_zeros(words.max(USUAL))?,
            used: 0,
            parts: device.alloc_zeros(MOST * PART)?,
        })
    }

    /// The last of the boards, or a new one, with room for a record of so many bins on this device.
    pub(crate) fn of<'a>(
        boards: &'a mut Vec<Self>,
        device: &CudaDevice,
        bins: usize,
    ) -> Result<&'a mut Self> {
        let words = HEAD + bins;
        let fits = |board: &Self| board.device.id() == device.id() && board.words.len() - board.used >= words;
        if !boards.last().is_some_and(fits) {
            boards.push(Self::with_room(device, words)?);
        }
        let last = boards.len() - 1;
        Ok(&mut boards[last])
    }

    /// Room for one more record, which `launch` is to fill: it gets the kernels' view of it.
    pub(super) fn record(&mut self, wanted: Wanted, launch: impl FnOnce(Ear) -> Result<()>) -> Result<Place> {
        if wanted.parts * PART > self.parts.len() {
            self.parts = self.device.alloc_zeros(wanted.parts * PART)?;
        }
        let place = Place { start: self.used, bins: wanted.bins };
        let (low, high) = wanted.range.unwrap_or_default();
        launch(Ear {
            record: address(&self.words) + 8 * place.start as u64,
            parts: address(&self.parts),
            bins: wanted.bins as i32,
            known: wanted.range.is_some().into(),
            low,
            high,
            tail_low: wanted.tails.0,
            tail_high: wanted.tails.1,
        })?;
        self.used += HEAD + wanted.bins;
        Ok(place)
    }

    /// Everything that has been written so far: one copy.
    pub(crate) fn read(&self) -> Result<Vec<u64>> {
        self.device.clone_dtoh(&self.words.slice(..self.used))
    }
}

impl Place {
    /// The summary in what was [read](Board::read), and how many elements are saturated.
    pub(crate) fn summary(self, words: &[u64]) -> (Summary, u64) {
        let record = &words[self.start..self.start + HEAD + self.bins];
        let [_, count, rest @ ..] = record else { return (Partial::default().summary::<f64>(&[]), 0) };
        let real = |index: usize| f64::from_bits(rest[index]);
        let moments = Moments::from_parts(*count, real(0), real(1), real(2), real(3));
        let mut histogram = Histogram::new(real(4), real(5), self.bins);
        histogram.counts.copy_from_slice(&record[HEAD..]);
        histogram.outside = record[HEAD - 1];
        let partial = Partial { moments, histogram: Some(histogram), bins: self.bins };
        (partial.summary::<f64>(&[]), record[HEAD - 2])
    }
}

/// The statistics of a tensor for which [`has`] holds.
pub(crate) fn summarize(xs: &Tensor, range: Option<(f64, f64)>, bins: usize) -> Result<Summary> {
    Ok(now(xs, Wanted { bins: bins.max(1), range, tails: NO_TAILS, parts: MOST })?.0)
}

/// How many elements are at or below `low` or at or above `high`.
pub(crate) fn outside(xs: &Tensor, low: f64, high: f64) -> Result<u64> {
    Ok(now(xs, Wanted { bins: 1, range: Some((0.0, 1.0)), tails: (low, high), parts: MOST })?.1)
}

fn now(xs: &Tensor, wanted: Wanted) -> Result<(Summary, u64)> {
    let xs = xs.detach().contiguous()?;
    let (storage, layout) = xs.storage_and_layout();
    let storage = on_gpu(&storage)?;
    let mut boards = Vec::new();
    let board = Board::of(&mut boards, storage.device(), wanted.bins)?;
    let place = board.look(storage, layout, wanted)?;
    Ok(place.summary(&board.read()?))
}

impl Board {
    /// The record of a contiguous tensor.
    fn look(&mut self, xs: &CudaStorage, layout: &Layout, wanted: Wanted) -> Result<Place> {
        by_type!(xs.dtype(), T => self.look_as::<T>(xs, layout, wanted))
    }

    fn look_as<T: Element>(&mut self, xs: &CudaStorage, layout: &Layout, wanted: Wanted) -> Result<Place> {
        let device = self.device.clone();
        let (start, end) = contiguous(layout)?;
        let (count, view) = (end - start, xs.as_cuda_slice::<T>()?.slice(start..end));
        let length = count as u64;
        let function = kernel::<T>(&device, "summarize", "wick-stats", ptx::STATS)?;
        let place = self.record(wanted, |ear| {
            let stream = device.cuda_stream();
            let mut launch = stream.launch_builder(&function);
            launch.arg(&ear).arg(&view).arg(&length);
            // SAFETY: the arguments are the kernel's; the record has room for the bins, the parts for the blocks.
            unsafe { launch.launch(blocks(count, MOST)) }.w()?;
            Ok(())
        })?;
        if wanted.range.is_none() {
            self.histogram::<T>(place, xs, layout)?;
        }
        Ok(place)
    }

    /// The histogram of a tensor whose record has its range by now.
    pub(super) fn histogram<T: Element>(
        &mut self,
        place: Place,
        xs: &CudaStorage,
        layout: &Layout,
    ) -> Result<()> {
        let device = self.device.clone();
        let (start, end) = contiguous(layout)?;
        let (count, view) = (end - start, xs.as_cuda_slice::<T>()?.slice(start..end));
        let (length, bins) = (count as u64, place.bins as i32);
        let function = kernel::<T>(&device, "histogram", "wick-stats", ptx::STATS)?;
        let mut record = self.words.slice_mut(place.start..place.start + HEAD + place.bins);
        let stream = device.cuda_stream();
        let mut launch = stream.launch_builder(&function);
        launch.arg(&mut record).arg(&bins).arg(&view).arg(&length);
        // SAFETY: the arguments are the kernel's, and the record has room for the bins.
        unsafe { launch.launch(blocks(count, MOST)) }.w()?;
        Ok(())
    }
}

/// The launch of a kernel that hands in statistics, for so many elements.
pub(super) fn heard_blocks(count: usize) -> candle_core::cuda_backend::cudarc::driver::LaunchConfig {
    blocks(count, MOST)
}

/// The most parts that a record can have.
pub(super) const PARTS: usize = MOST;
