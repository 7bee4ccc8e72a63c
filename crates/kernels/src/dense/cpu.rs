//! The forward and backward pass of a dense layer over slices, on a CPU.

use std::mem::MaybeUninit;
use std::sync::{Mutex, PoisonError};

use wick_theory::Activation;

use crate::activation::cpu::{apply, apply_gradient};
use crate::cpu::element::Number;
use crate::cpu::malloc::room;
use crate::cpu::parallel;
use crate::cpu::simd::{self, SimdLevel};
use crate::linalg::gemm;
use crate::linalg::gemm::matrix::Matrix;
use crate::linalg::gemm::product::{Finish, rows_of_block};
use crate::stats::histogram::Histogram;
use crate::stats::moments::Moments;
use crate::stats::partial::{Partial, Summary, summarize_with_moments};
use crate::stats::summary::count_outside;

/// The number of elements that are processed together, so that they stay in the first-level cache from the
/// bias to the histogram.
const CHUNK: usize = 1 << 13;

/// A layer without its bias.
pub(super) struct Layer<'a, T> {
    pub(super) activation: Activation,
    /// `[outputs, inputs]`.
    pub(super) weight: &'a [T],
    pub(super) samples: usize,
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    /// The number of bins of the histograms; `None` if no statistics are taken.
    pub(super) bins: Option<usize>,
}

/// The results of a forward pass.
pub(super) struct Forward<T> {
    pub(super) output: Vec<T>,
    pub(super) pre_activation: Option<Vec<T>>,
    /// The statistics of the output, and the fraction of saturated pre-activations.
    pub(super) statistics: Option<(Summary, f64)>,
}

/// The results of a backward pass.
pub(super) struct Backward<T> {
    pub(super) inputs: Option<Vec<T>>,
    pub(super) weight: Vec<T>,
    pub(super) bias: Option<Vec<T>>,
    /// The statistics of the gradient of the output.
    pub(super) statistics: Option<Summary>,
}

impl<T: Number> Layer<'_, T> {
    fn matrix<'b>(data: &'b [T], rows: usize, columns: usize) -> Matrix<'b, T> {
        debug_assert_eq!(data.len(), rows * columns);
        Matrix::new(data, rows, columns).unwrap_or(Matrix::empty())
    }

    /// The number of elements of as many whole rows as have about `elements`.
    fn whole_rows(&self, elements: usize) -> usize {
        (elements / self.outputs.max(1)).max(1) * self.outputs.max(1)
    }

    pub(super) fn forward(&self, xs: &[T], bias: Option<&[T]>, keep: bool) -> Forward<T> {
        let (samples, size) = (self.samples, self.samples * self.outputs);
        let mut kept = Vec::with_capacity(if keep { size } else { 0 });
        let to_keep = parallel::Start(kept.as_mut_ptr());
        let block_size = rows_of_block(samples);
        let observed: Vec<Mutex<BlockStats>> =
            (0..samples.div_ceil(block_size)).map(|_| Mutex::new(BlockStats::default())).collect();
        let nothing = self.bins.map(|bins| BlockStats::new(self.activation, bins));
        let thresholds =
            if self.bins.is_some() { self.activation.saturation_thresholds() } else { (0.0, 0.0) };
        let size_of_chunk = self.whole_rows(CHUNK);
        let finish = |first: usize, rows: &mut [T]| {
            let mut mine = nothing.clone();
            for (index, chunk) in rows.chunks_mut(size_of_chunk).enumerate() {
                if let Some(bias) = bias {
                    simd::run(SimdLevel::best(), AddBias { rows: chunk, bias });
                }
                if keep {
                    let at = first * self.outputs + index * size_of_chunk;
                    debug_assert!(at + chunk.len() <= size);
                    // SAFETY: there is room for `size` numbers, these rows belong to this task alone, and
                    // they do not lie in the output.
                    unsafe { std::ptr::copy_nonoverlapping(chunk.as_ptr(), to_keep.at(at), chunk.len()) };
                }
                if let Some(mine) = &mut mine {
                    mine.pre_activations(thresholds, chunk);
                }
                apply(self.activation, chunk);
                if let Some(mine) = &mut mine {
                    mine.output.add(chunk);
                }
            }
            if let Some(mine) = mine {
                *observed[first / block_size].lock().unwrap_or_else(PoisonError::into_inner) = mine;
            }
        };
        let (a, b) = (
            Self::matrix(xs, samples, self.inputs),
            Self::matrix(self.weight, self.outputs, self.inputs).t(),
        );
        let finish = Finish { call: &finish, fixed: self.bins.is_some() };
        let output = gemm::matmul_then(SimdLevel::best(), a, b, Some(finish));
        assert!(output.len() == size, "{} numbers for {size}", output.len());
        if keep {
            // SAFETY: every block of rows has been finished, and copied whole.
            unsafe { kept.set_len(size) };
        }
        let statistics = nothing.map(|nothing| nothing.with(observed).summary(&output));
        Forward { output, pre_activation: keep.then_some(kept), statistics }
    }

    /// Computes the gradients. `known` is the tensor that the derivative is computed from: the output of the
    /// layer or its pre-activation.
    pub(super) fn backward(
        &self,
        xs: &[T],
        known: &[T],
        gradient: &[T],
        with_bias: bool,
        with_inputs: bool,
    ) -> Backward<T> {
        let samples = self.samples;
        assert!(known.len() == gradient.len(), "{} numbers for {} gradients", known.len(), gradient.len());
        let block_size = rows_of_block(samples) * self.outputs.max(1);
        // dL/dz, its sum over the samples, and the moments of dL/dh, in one pass over blocks of rows.
        let mut of_z = room(gradient.len());
        let spare = &mut of_z.spare_capacity_mut()[..gradient.len()];
        let parts =
            spare.chunks_mut(block_size).zip(gradient.chunks(block_size)).zip(known.chunks(block_size));
        let parts: Vec<_> = parts.map(Mutex::new).collect();
        let blocks: Vec<(Moments, Vec<f64>)> = parallel::map(parts.len(), |block| {
            let ((of_z, gradient), known) = &mut *parts[block].lock().unwrap_or_else(PoisonError::into_inner);
            let (mut moments, mut sums) = (Moments::default(), Vec::new());
            if with_bias {
                sums = vec![0.0; self.outputs];
            }
            // This loop streams three tensors, so a chunk is a quarter of the usual size to stay in the
            // first-level cache.
            let size = self.whole_rows(CHUNK / 4);
            let chunks = of_z.chunks_mut(size).zip(gradient.chunks(size));
            for ((of_z, gradient), known) in chunks.zip(known.chunks(size)) {
                let of_z = copy(gradient, of_z);
                apply_gradient(self.activation, known, of_z);
                if self.bins.is_some() {
                    moments.merge(&Moments::of(gradient));
                }
                if with_bias {
                    simd::run(SimdLevel::best(), AddColumns { rows: of_z, sums: &mut sums });
                }
            }
            (moments, sums)
        });
        drop(parts);
        // SAFETY: the parts cover all of it, and each has been written whole.
        unsafe { of_z.set_len(gradient.len()) };
        let bias = with_bias.then(|| {
            let mut sums = vec![0.0; self.outputs];
            for (_, part) in &blocks {
                sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
            }
            sums.into_iter().map(T::narrow).collect()
        });
        let statistics = self.bins.map(|bins| {
            let mut moments = Moments::default();
            blocks.iter().for_each(|(part, _)| moments.merge(part));
            summarize_with_moments(gradient, moments, bins)
        });
        let of_z = Self::matrix(&of_z, samples, self.outputs);
        let weight = gemm::matmul(SimdLevel::best(), of_z.t(), Self::matrix(xs, samples, self.inputs));
        let inputs = with_inputs.then(|| {
            let weight = Self::matrix(self.weight, self.outputs, self.inputs);
            gemm::matmul(SimdLevel::best(), of_z, weight)
        });
        Backward { inputs, weight, bias, statistics }
    }
}

/// Copies numbers to uninitialised memory of the same length.
fn copy<'a, T: Copy>(from: &[T], to: &'a mut [MaybeUninit<T>]) -> &'a mut [T] {
    assert!(from.len() == to.len(), "{} numbers into {}", from.len(), to.len());
    for (to, from) in to.iter_mut().zip(from) {
        to.write(*from);
    }
    // SAFETY: every element has just been written.
    unsafe { &mut *(std::ptr::from_mut(to) as *mut [T]) }
}

/// The statistics of a part of a forward pass.
#[derive(Clone, Default)]
struct BlockStats {
    output: Partial,
    saturated: u64,
}

impl BlockStats {
    fn new(activation: Activation, bins: usize) -> Self {
        let histogram = activation.range().map(|(low, high)| Histogram::new(low, high, bins));
        Self { output: Partial { moments: Moments::default(), histogram, bins }, saturated: 0 }
    }

    fn pre_activations<T: Number>(&mut self, (low, high): (f64, f64), zs: &[T]) {
        if low.is_finite() || high.is_finite() {
            self.saturated += count_outside(zs, low, high);
        }
    }

    /// Adds the statistics of all parts, in order.
    fn with(mut self, parts: Vec<Mutex<Self>>) -> Self {
        for part in parts {
            let part = part.into_inner().unwrap_or_else(PoisonError::into_inner);
            self.output.merge(&part.output);
            self.saturated += part.saturated;
        }
        self
    }

    fn summary<T: Number>(self, output: &[T]) -> (Summary, f64) {
        let saturated = self.saturated as f64 / output.len() as f64;
        (self.output.summary(output), saturated)
    }
}

struct AddBias<'a, T> {
    rows: &'a mut [T],
    bias: &'a [T],
}

impl<T: Number> simd::Task for AddBias<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for row in self.rows.chunks_exact_mut(self.bias.len().max(1)) {
            for (x, &b) in row.iter_mut().zip(self.bias) {
                *x += b;
            }
        }
    }
}

struct AddColumns<'a, T> {
    rows: &'a [T],
    sums: &'a mut [f64],
}

impl<T: Number> simd::Task for AddColumns<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for row in self.rows.chunks_exact(self.sums.len().max(1)) {
            for (sum, &x) in self.sums.iter_mut().zip(row) {
                *sum += x.widen();
            }
        }
    }
}
