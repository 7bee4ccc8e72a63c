//! Sums over rows in lanes: the bits depend neither on the width of the vectors nor on the number of threads.
//!
//! Element `i` of a block of [`BLOCK`] elements is added to lane `i mod` [`LANES`]; the lanes are added pair by pair,
//! and the blocks in their order, in `f64`.

use candle_core::{DType, Tensor};

use crate::activation::math;
use crate::cpu::element::Number;
use crate::cpu::simd::SimdLevel;

/// The number of sums that run in parallel: two vectors of 512 bits, or four of 256.
pub(crate) const LANES: usize = 32;
/// The number of elements that are summed in their own type.
pub(crate) const BLOCK: usize = 1 << 12;
/// The number of elements that one task takes, in whole rows.
pub(crate) const TASK: usize = 1 << 14;

/// The numbers of the lanes, or a part of a row.
pub(crate) type Chunk<T> = [T; LANES];

/// A number with a fused multiply-add and an exponential.
pub(crate) trait Float: Number {
    /// `self·a + b`, rounded once.
    fn fused(self, a: Self, b: Self) -> Self;
    /// `eˣ` for `x ≤ 0`.
    fn exp_below_0(self) -> Self;
}

impl Float for f32 {
    #[inline(always)]
    fn fused(self, a: Self, b: Self) -> Self {
        self.mul_add(a, b)
    }

    #[inline(always)]
    fn exp_below_0(self) -> Self {
        math::exp_below_0_f32(self)
    }
}

impl Float for f64 {
    #[inline(always)]
    fn fused(self, a: Self, b: Self) -> Self {
        self.mul_add(a, b)
    }

    #[inline(always)]
    fn exp_below_0(self) -> Self {
        math::exp_below_0(self)
    }
}

/// The end of a row as a chunk, filled up.
#[inline(always)]
pub(crate) fn padded<T: Copy>(rest: &[T], pad: T) -> Chunk<T> {
    let mut chunk = [pad; LANES];
    for (place, &x) in chunk.iter_mut().zip(rest) {
        *place = x;
    }
    chunk
}

/// The sum of the lanes.
#[inline(always)]
pub(crate) fn total<T: Number>(mut lanes: Chunk<T>) -> T {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            let other = lanes[lane + width];
            lanes[lane] += other;
        }
        width /= 2;
    }
    lanes[0]
}

/// `Σ x`.
#[inline(always)]
pub(crate) fn sum<T: Float>(xs: &[T]) -> f64 {
    let mut all = 0.0;
    for block in xs.chunks(BLOCK) {
        let mut lanes = [T::ZERO; LANES];
        let (whole, rest) = block.as_chunks::<LANES>();
        for chunk in whole {
            for lane in 0..LANES {
                lanes[lane] += chunk[lane];
            }
        }
        let rest = padded(rest, T::ZERO);
        for lane in 0..LANES {
            lanes[lane] += rest[lane];
        }
        all += total(lanes).widen();
    }
    all
}

/// `Σ a b`, of rows of equal length.
#[inline(always)]
pub(crate) fn dot<T: Float>(a: &[T], b: &[T]) -> f64 {
    let mut all = 0.0;
    for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
        let mut lanes = [T::ZERO; LANES];
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        for (a, b) in a.iter().zip(b) {
            for lane in 0..LANES {
                lanes[lane] = a[lane].fused(b[lane], lanes[lane]);
            }
        }
        let (a, b) = (padded(a_rest, T::ZERO), padded(b_rest, T::ZERO));
        for lane in 0..LANES {
            lanes[lane] = a[lane].fused(b[lane], lanes[lane]);
        }
        all += total(lanes).widen();
    }
    all
}

/// `Σ (x - c)` and `Σ (x - c)²`.
#[inline(always)]
pub(crate) fn sums_about<T: Float>(xs: &[T], centre: T) -> [f64; 2] {
    let mut all = [0.0; 2];
    for block in xs.chunks(BLOCK) {
        let (mut off, mut squares) = ([T::ZERO; LANES], [T::ZERO; LANES]);
        let (whole, rest) = block.as_chunks::<LANES>();
        for chunk in whole {
            for lane in 0..LANES {
                let x = chunk[lane] - centre;
                off[lane] += x;
                squares[lane] = x.fused(x, squares[lane]);
            }
        }
        let rest = padded(rest, centre);
        for lane in 0..LANES {
            let x = rest[lane] - centre;
            off[lane] += x;
            squares[lane] = x.fused(x, squares[lane]);
        }
        all[0] += total(off).widen();
        all[1] += total(squares).widen();
    }
    all
}

/// The largest number that is not NaN; -∞ if there is none.
#[inline(always)]
pub(crate) fn largest<T: Float>(xs: &[T]) -> T {
    let mut lanes = [T::NEG_INFINITY; LANES];
    let (whole, rest) = xs.as_chunks::<LANES>();
    for chunk in whole {
        for lane in 0..LANES {
            lanes[lane] = if chunk[lane] > lanes[lane] { chunk[lane] } else { lanes[lane] };
        }
    }
    let rest = padded(rest, T::NEG_INFINITY);
    let mut largest = T::NEG_INFINITY;
    for lane in 0..LANES {
        lanes[lane] = if rest[lane] > lanes[lane] { rest[lane] } else { lanes[lane] };
        largest = if lanes[lane] > largest { lanes[lane] } else { largest };
    }
    largest
}

/// The number of rows of a width that one task takes.
pub(crate) fn rows_of_task(width: usize) -> usize {
    (TASK / width.max(1)).max(1)
}

/// Whether the loops of this crate take the tensor: on a CPU with a fused multiply-add, floating point.
pub(crate) fn are_for(xs: &Tensor) -> bool {
    xs.device().is_cpu() && is_float(xs.dtype()) && SimdLevel::best().is_fast()
}

/// Whether the type is `bf16` or `f16`, of which the loops compute in `f32`.
pub(crate) fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::BF16 | DType::F16)
}

/// Whether the type is one of the four that ops take.
pub(crate) fn is_float(dtype: DType) -> bool {
    is_half(dtype) || matches!(dtype, DType::F32 | DType::F64)
}
