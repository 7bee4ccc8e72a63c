//! Statistics on a GPU, written to records that are read all at once.
//!
//! The kernels work in two stages: a GPU runs as many blocks as fit at once, each takes a part of the
//! elements, and the parts are merged in order. So the same GPU computes the same bits each time, and another
//! one may compute other last digits. Counts are the same everywhere.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DeviceRepr, PushKernelArg};
use candle_core::cuda_backend::{CudaDevice, CudaStorage, WrapErr};
use candle_core::{DType, Layout, Result, Tensor, bail};

use crate::cuda::launch::{
    DeviceElement, address, alloc_uninit, blocks, by_type, contiguous, on_gpu, persistent_kernel, ptx,
};
use crate::stats::histogram::Histogram;
use crate::stats::moments::Moments;
use crate::stats::partial::{Partial, Summary};

/// The number of words in a part, the result of a block.
const PART: usize = 5;
/// The largest number of bins that a block can count: `SHARED_BINS` in `stats.cuh`.
pub(crate) const MAX_BINS: usize = 4096;
/// The number of words of a record before its counts: `Word` in `stats.cuh`.
const HEAD: usize = 10;

/// Whether the kernels can summarize a tensor, with this many bins.
pub(crate) fn can_summarize(xs: &Tensor, bins: usize) -> bool {
    let floating = matches!(xs.dtype(), DType::F32 | DType::F64 | DType::BF16 | DType::F16);
    xs.device().is_cuda() && floating && bins <= MAX_BINS && xs.elem_count() > 0
}

/// Where a kernel writes the statistics of a tensor, and which: `Sink` in `stats.cuh`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sink {
    record: u64,
    parts: u64,
    bins: i32,
    known: i32,
    low: f64,
    high: f64,
    saturated_low: f64,
    saturated_high: f64,
    counts_saturated: i32,
    unused: i32,
}

// SAFETY: plain numbers, laid out as in C.
unsafe impl DeviceRepr for Sink {}

/// The statistics to take of a tensor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    /// The number of bins of the histogram.
    pub(crate) bins: usize,
    /// The range of the histogram, if it is known before the elements are.
    pub(crate) range: Option<(f64, f64)>,
    /// The saturation thresholds; `None` if saturated elements are not counted.
    pub(crate) thresholds: Option<(f64, f64)>,
    /// The largest number of blocks of the launch.
    pub(crate) parts: usize,
}

/// The record of a tensor's statistics in a [`RecordArena`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordId {
    start: usize,
    bins: usize,
}

/// A buffer on a device for the records of many tensors, and for the parts of the record that is being made.
#[derive(Debug)]
pub(crate) struct RecordArena {
    device: CudaDevice,
    words: CudaSlice<u64>,
    used: usize,
    parts: Option<CudaSlice<f64>>,
}

impl RecordArena {
    /// An arena of this many words.
    fn with_words(device: &CudaDevice, words: usize) -> Result<Self> {
        Ok(Self { device: device.clone(), words: device.alloc_zeros(words)?, used: 0, parts: None })
    }

    /// The last of the arenas if a record of this many bins on this device fits into it, else a new one.
    pub(crate) fn last_or_new<'a>(
        arenas: &'a mut Vec<Self>,
        device: &CudaDevice,
        bins: usize,
    ) -> Result<&'a mut Self> {
        /// The usual number of words: 200 records of 30 bins.
        const USUAL: usize = 1 << 13;
        let words = HEAD + bins;
        let fits = |arena: &Self| arena.device.id() == device.id() && arena.words.len() - arena.used >= words;
        if !arenas.last().is_some_and(fits) {
            arenas.push(Self::with_words(device, words.max(USUAL))?);
        }
        let last = arenas.len() - 1;
        Ok(&mut arenas[last])
    }

    /// Adds a record, which `launch` is to fill: it gets the kernels' view of the record. The launch must
    /// have at most `request.parts` blocks.
    pub(crate) fn record(
        &mut self,
        request: Request,
        launch: impl FnOnce(Sink) -> Result<()>,
    ) -> Result<RecordId> {
        if self.words.len() - self.used < HEAD + request.bins {
            bail!("an arena of {} words has no room for {} bins", self.words.len(), request.bins);
        }
        let parts = match self.parts.take().filter(|parts| parts.len() >= request.parts * PART) {
            Some(parts) => parts,
            // SAFETY: every block writes its part before the last block reads all parts.
            None => unsafe { alloc_uninit(&self.device, request.parts * PART)? },
        };
        let id = RecordId { start: self.used, bins: request.bins };
        let (low, high) = request.range.unwrap_or_default();
        let (saturated_low, saturated_high) = request.thresholds.unwrap_or_default();
        let parts = self.parts.insert(parts);
        launch(Sink {
            record: address(&self.words) + 8 * id.start as u64,
            parts: address(parts),
            bins: request.bins as i32,
            known: request.range.is_some().into(),
            low,
            high,
            saturated_low,
            saturated_high,
            counts_saturated: request.thresholds.is_some().into(),
            unused: 0,
        })?;
        self.used += HEAD + request.bins;
        Ok(id)
    }

    /// All words that have been written so far, in one copy.
    pub(crate) fn read(&self) -> Result<Vec<u64>> {
        self.device.clone_dtoh(&self.words.slice(..self.used))
    }
}

impl RecordId {
    /// The summary in the words that were [read](RecordArena::read), and the number of saturated elements.
    pub(crate) fn summary(self, words: &[u64]) -> (Summary, u64) {
        let record = &words[self.start..self.start + HEAD + self.bins];
        let [_, count, rest @ ..] = record else { return (Partial::default().summary::<f64>(&[]), 0) };
        let real = |index: usize| f64::from_bits(rest[index]);
        let moments = Moments::from_parts(*count, real(0), real(1), real(2), real(3));
        let histogram = Histogram::of_counts(real(4), real(5), record[HEAD..].to_vec(), record[HEAD - 1]);
        let partial = Partial { moments, histogram: Some(histogram), bins: self.bins };
        (partial.summary::<f64>(&[]), record[HEAD - 2])
    }
}

/// The statistics of a tensor for which [`can_summarize`] holds.
pub(crate) fn summarize(xs: &Tensor, range: Option<(f64, f64)>, bins: usize) -> Result<Summary> {
    Ok(summarize_tensor(xs, bins.max(1), range, None)?.0)
}

/// The number of elements at or below `low` or at or above `high`.
pub(crate) fn count_outside(xs: &Tensor, low: f64, high: f64) -> Result<u64> {
    Ok(summarize_tensor(xs, 1, Some((0.0, 1.0)), Some((low, high)))?.1)
}

fn summarize_tensor(
    xs: &Tensor,
    bins: usize,
    range: Option<(f64, f64)>,
    thresholds: Option<(f64, f64)>,
) -> Result<(Summary, u64)> {
    let xs = xs.detach().contiguous()?;
    let (storage, layout) = xs.storage_and_layout();
    let storage = on_gpu(&storage)?;
    summarize_now(
        storage.device(),
        bins,
        |arena| by_type!(xs.dtype(), T => arena.summarize::<T>(storage, layout, Request { bins, range, thresholds, parts: 0 })),
    )
}

/// The statistics of one record, read as soon as it has been made, and the number of saturated elements.
pub(crate) fn summarize_now(
    device: &CudaDevice,
    bins: usize,
    record: impl FnOnce(&mut RecordArena) -> Result<RecordId>,
) -> Result<(Summary, u64)> {
    let mut arena = RecordArena::with_words(device, HEAD + bins)?;
    let id = record(&mut arena)?;
    Ok(id.summary(&arena.read()?))
}

impl RecordArena {
    /// Makes the record of a contiguous tensor.
    fn summarize<T: DeviceElement>(
        &mut self,
        xs: &CudaStorage,
        layout: &Layout,
        mut request: Request,
    ) -> Result<RecordId> {
        let device = self.device.clone();
        let (start, end) = contiguous(layout)?;
        let (count, view) = (end - start, xs.as_cuda_slice::<T>()?.slice(start..end));
        let length = count as u64;
        let (function, max_blocks) = persistent_kernel::<T>(&device, "summarize", "wick-stats", ptx::STATS)?;
        request.parts = max_blocks;
        let id = self.record(request, |sink| {
            let stream = device.cuda_stream();
            let mut launch = stream.launch_builder(&function);
            launch.arg(&sink).arg(&view).arg(&length);
            // SAFETY: the arguments are those of the kernel: `length` elements in `view`, a record of
            // `HEAD + bins` words, and five words in `parts` for each of the at most `max_blocks` blocks.
            unsafe { launch.launch(blocks(count, max_blocks)) }.w()?;
            Ok(())
        })?;
        if request.range.is_none() {
            self.histogram::<T>(id, xs, layout)?;
        }
        Ok(id)
    }

    /// Counts the histogram of a tensor whose record already has the range.
    pub(crate) fn histogram<T: DeviceElement>(
        &mut self,
        id: RecordId,
        xs: &CudaStorage,
        layout: &Layout,
    ) -> Result<()> {
        let device = self.device.clone();
        let (start, end) = contiguous(layout)?;
        let (count, view) = (end - start, xs.as_cuda_slice::<T>()?.slice(start..end));
        let (length, bins) = (count as u64, id.bins as i32);
        let (function, max_blocks) = persistent_kernel::<T>(&device, "histogram", "wick-stats", ptx::STATS)?;
        let mut record = self.words.slice_mut(id.start..id.start + HEAD + id.bins);
        let stream = device.cuda_stream();
        let mut launch = stream.launch_builder(&function);
        launch.arg(&mut record).arg(&bins).arg(&view).arg(&length);
        // SAFETY: the arguments are those of the kernel: a record of `HEAD + bins` words, and `length`
        // elements in `view`.
        unsafe { launch.launch(blocks(count, max_blocks)) }.w()?;
        Ok(())
    }
}
