//! Statistics in two stages, written to records that are read all at once. A GPU runs as many blocks as it has room for, each
//! with a part of the elements, and the parts are merged in order: the same GPU finds the same bits each time, another one may
//! find other last digits. Counts are the same everywhere.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DeviceRepr, PushKernelArg};
use candle_core::cuda_backend::{CudaDevice, CudaStorage, WrapErr};
use candle_core::{DType, Layout, Result, Tensor};

use super::{Element, address, blocks, by_type, contiguous, lasting_kernel, on_gpu, ptx, room};
use crate::summary::Partial;
use crate::{Histogram, Moments, Summary};

/// Numbers in a part: what a block finds.
const PART: usize = 5;
/// Bins that a block can count, `SHARED_BINS` in `stats.cuh`.
pub(crate) const MOST_BINS: usize = 4096;
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
    tails: i32,
    unused: i32,
}

// SAFETY: plain numbers, laid out as in C.
unsafe impl DeviceRepr for Ear {}

/// What is to be found out about a tensor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) bins: usize,
    /// Of the histogram, where it is known.
    pub(super) range: Option<(f64, f64)>,
    /// At or outside of these an element is saturated, if that is counted.
    pub(super) tails: Option<(f64, f64)>,
    /// The blocks of the launch, at most.
    pub(super) parts: usize,
}

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
    parts: Option<CudaSlice<f64>>,
}

impl Board {
    /// A board for so many words.
    fn with_room(device: &CudaDevice, words: usize) -> Result<Self> {
        Ok(Self { device: device.clone(), words: device.alloc_zeros(words)?, used: 0, parts: None })
    }

    /// The last of the boards, or a new one, with room for a record of so many bins on this device.
    pub(crate) fn of<'a>(
        boards: &'a mut Vec<Self>,
        device: &CudaDevice,
        bins: usize,
    ) -> Result<&'a mut Self> {
        /// 200 records of 30 bins.
        const USUAL: usize = 1 << 13;
        let words = HEAD + bins;
        let fits = |board: &Self| board.device.id() == device.id() && board.words.len() - board.used >= words;
        if !boards.last().is_some_and(fits) {
            boards.push(Self::with_room(device, words.max(USUAL))?);
        }
        let last = boards.len() - 1;
        Ok(&mut boards[last])
    }

    /// Room for one more record, which `launch` is to fill: it gets the kernels' view of it.
    pub(super) fn record(&mut self, wanted: Wanted, launch: impl FnOnce(Ear) -> Result<()>) -> Result<Place> {
        let parts = match self.parts.take().filter(|parts| parts.len() >= wanted.parts * PART) {
            Some(parts) => parts,
            None => room(&self.device, wanted.parts * PART)?,
        };
        let place = Place { start: self.used, bins: wanted.bins };
        let (low, high) = wanted.range.unwrap_or_default();
        let (tail_low, tail_high) = wanted.tails.unwrap_or_default();
        let parts = self.parts.insert(parts);
        launch(Ear {
            record: address(&self.words) + 8 * place.start as u64,
            parts: address(parts),
            bins: wanted.bins as i32,
            known: wanted.range.is_some().into(),
            low,
            high,
            tail_low,
            tail_high,
            tails: wanted.tails.is_some().into(),
            unused: 0,
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
        let histogram = Histogram::of_counts(real(4), real(5), record[HEAD..].to_vec(), record[HEAD - 1]);
        let partial = Partial { moments, histogram: Some(histogram), bins: self.bins };
        (partial.summary::<f64>(&[]), record[HEAD - 2])
    }
}

/// The statistics of a tensor for which [`has`] holds.
pub(crate) fn summarize(xs: &Tensor, range: Option<(f64, f64)>, bins: usize) -> Result<Summary> {
    Ok(now(xs, bins.max(1), range, None)?.0)
}

/// How many elements are at or below `low` or at or above `high`.
pub(crate) fn outside(xs: &Tensor, low: f64, high: f64) -> Result<u64> {
    Ok(now(xs, 1, Some((0.0, 1.0)), Some((low, high)))?.1)
}

fn now(
    xs: &Tensor,
    bins: usize,
    range: Option<(f64, f64)>,
    tails: Option<(f64, f64)>,
) -> Result<(Summary, u64)> {
    let xs = xs.detach().contiguous()?;
    let (storage, layout) = xs.storage_and_layout();
    let storage = on_gpu(&storage)?;
    at_once(
        storage.device(),
        bins,
        |board| by_type!(xs.dtype(), T => board.look::<T>(storage, layout, Wanted { bins, range, tails, parts: 0 })),
    )
}

/// The statistics of one record, read as soon as it has been made, and the number of saturated elements.
pub(super) fn at_once(
    device: &CudaDevice,
    bins: usize,
    record: impl FnOnce(&mut Board) -> Result<Place>,
) -> Result<(Summary, u64)> {
    let mut board = Board::with_room(device, HEAD + bins)?;
    let place = record(&mut board)?;
    Ok(place.summary(&board.read()?))
}

impl Board {
    /// The record of a contiguous tensor.
    fn look<T: Element>(&mut self, xs: &CudaStorage, layout: &Layout, mut wanted: Wanted) -> Result<Place> {
        let device = self.device.clone();
        let (start, end) = contiguous(layout)?;
        let (count, view) = (end - start, xs.as_cuda_slice::<T>()?.slice(start..end));
        let length = count as u64;
        let (function, most) = lasting_kernel::<T>(&device, "summarize", "wick-stats", ptx::STATS)?;
        wanted.parts = most;
        let place = self.record(wanted, |ear| {
            let stream = device.cuda_stream();
            let mut launch = stream.launch_builder(&function);
            launch.arg(&ear).arg(&view).arg(&length);
            // SAFETY: the arguments are the kernel's; the record has room for the bins, the parts for the blocks.
            unsafe { launch.launch(blocks(count, most)) }.w()?;
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
        let (function, most) = lasting_kernel::<T>(&device, "histogram", "wick-stats", ptx::STATS)?;
        let mut record = self.words.slice_mut(place.start..place.start + HEAD + place.bins);
        let stream = device.cuda_stream();
        let mut launch = stream.launch_builder(&function);
        launch.arg(&mut record).arg(&bins).arg(&view).arg(&length);
        // SAFETY: the arguments are the kernel's, and the record has room for the bins.
        unsafe { launch.launch(blocks(count, most)) }.w()?;
        Ok(())
    }
}
