//! The two types that optimizers compute in.

use candle_core::CpuStorage;
use half::{bf16, f16};

use crate::cpu::element::Number;

/// `f32` or `f64`: what an optimizer keeps its state in and computes in.
pub trait Real: Number {
    /// The square root.
    fn root(self) -> Self;
    /// The numbers of a storage, if they have this type.
    fn numbers(storage: &mut CpuStorage) -> Option<&mut [Self]>;
    /// The same number in `f32`: the masters of `bf16` and `f16` are `f32` themselves.
    fn single(self) -> f32;
    /// The number of this type that is equal to one in `f32`.
    fn of_single(x: f32) -> Self;
}

impl Real for f32 {
    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }

    fn numbers(storage: &mut CpuStorage) -> Option<&mut [Self]> {
        match storage {
            CpuStorage::F32(numbers) => Some(numbers),
            _ => None,
        }
    }

    #[inline(always)]
    fn single(self) -> f32 {
        self
    }

    #[inline(always)]
    fn of_single(x: f32) -> Self {
        x
    }
}

impl Real for f64 {
    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }

    fn numbers(storage: &mut CpuStorage) -> Option<&mut [Self]> {
        match storage {
            CpuStorage::F64(numbers) => Some(numbers),
            _ => None,
        }
    }

    #[inline(always)]
    fn single(self) -> f32 {
        self as f32
    }

    #[inline(always)]
    fn of_single(x: f32) -> Self {
        x.into()
    }
}

/// `bf16` or `f16`: a type of variables whose weights are kept in `f32`.
pub(crate) trait Short: Copy + Send + Sync {
    fn of(x: f32) -> Self;
    fn widen(self) -> f32;
}

impl Short for bf16 {
    #[inline(always)]
    fn of(x: f32) -> Self {
        Self::from_f32(x)
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }
}

impl Short for f16 {
    #[inline(always)]
    fn of(x: f32) -> Self {
        Self::from_f32(x)
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }
}
