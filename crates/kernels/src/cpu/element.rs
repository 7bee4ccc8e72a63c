//! The types of a tensor's elements.

use candle_core::WithDType;
use half::{bf16, f16};

use crate::activation::function::Function;
use crate::cpu::simd::SimdLevel;
use crate::linalg::gemm::tile::{self, Tiles};

/// An element of a floating point tensor: `f32`, `f64`, `bf16` or `f16`.
pub trait Element: Copy + Send + Sync + 'static {
    /// `φ(x)`, rounded once.
    fn value(function: impl Function, x: Self) -> Self;
    /// `φ'(x)·g`, rounded once.
    fn gradient(function: impl Function, x: Self, g: Self) -> Self;
    /// The same number in `f64`.
    fn widen(self) -> f64;
    /// The number nearest to `x`.
    fn narrow(x: f64) -> Self;

    /// `x·factor`, of `f32` with the factor rounded first.
    #[doc(hidden)]
    #[inline(always)]
    fn scaled(self, factor: f64) -> Self {
        Self::narrow(self.widen() * factor)
    }
}

impl Element for f32 {
    #[inline(always)]
    fn value(function: impl Function, x: Self) -> Self {
        function.value_f32(x)
    }

    #[inline(always)]
    fn gradient(function: impl Function, x: Self, g: Self) -> Self {
        function.gradient_f32(x, g)
    }

    #[inline(always)]
    fn widen(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn narrow(x: f64) -> Self {
        x as Self
    }

    #[inline(always)]
    fn scaled(self, factor: f64) -> Self {
        self * factor as Self
    }
}

/// Implements [`Element`] for a type whose functions are computed in `f64`.
macro_rules! through_f64 {
    ($element:ty, $widen:expr, $narrow:expr) => {
        impl Element for $element {
            #[inline(always)]
            fn value(function: impl Function, x: Self) -> Self {
                $narrow(function.value($widen(x)))
            }

            #[inline(always)]
            fn gradient(function: impl Function, x: Self, g: Self) -> Self {
                $narrow(function.derivative($widen(x)) * $widen(g))
            }

            #[inline(always)]
            fn widen(self) -> f64 {
                $widen(self)
            }

            #[inline(always)]
            fn narrow(x: f64) -> Self {
                $narrow(x)
            }
        }
    };
}

through_f64!(f64, std::convert::identity, std::convert::identity);
through_f64!(bf16, bf16::to_f64, bf16::from_f64);
through_f64!(f16, f16::to_f64, f16::from_f64);

/// `f32` or `f64`: a number that matrix products, dense layers and statistics are computed in on a CPU.
pub trait Number: Element + WithDType + Into<f64> + std::ops::Neg<Output = Self> {
    /// 0.
    const ZERO: Self;
    /// ∞.
    const INFINITY: Self;
    /// -∞.
    const NEG_INFINITY: Self;

    /// The largest number that is not above `x`.
    fn at_most(x: f64) -> Self;

    /// The smallest number that is not below `x`.
    fn at_least(x: f64) -> Self;

    /// The numbers themselves, if they are `f32`.
    fn as_f32s(values: &[Self]) -> Option<&[f32]>;

    /// The numbers themselves, to change, if they are `f32`.
    fn as_f32s_mut(values: &mut [Self]) -> Option<&mut [f32]>;

    /// The tiles of the matrix product at a level.
    #[doc(hidden)]
    fn tiles(level: SimdLevel) -> &'static Tiles<Self>;
}

impl Number for f32 {
    const ZERO: Self = 0.0;
    const INFINITY: Self = f32::INFINITY;
    const NEG_INFINITY: Self = f32::NEG_INFINITY;

    #[inline]
    fn at_most(x: f64) -> Self {
        let near = x as f32;
        if f64::from(near) > x { near.next_down() } else { near }
    }

    #[inline]
    fn at_least(x: f64) -> Self {
        -Self::at_most(-x)
    }

    #[inline]
    fn as_f32s(values: &[Self]) -> Option<&[f32]> {
        Some(values)
    }

    #[inline]
    fn as_f32s_mut(values: &mut [Self]) -> Option<&mut [f32]> {
        Some(values)
    }

    fn tiles(level: SimdLevel) -> &'static Tiles<Self> {
        tile::of_f32(level)
    }
}

impl Number for f64 {
    const ZERO: Self = 0.0;
    const INFINITY: Self = f64::INFINITY;
    const NEG_INFINITY: Self = f64::NEG_INFINITY;

    #[inline]
    fn at_most(x: f64) -> Self {
        x
    }

    #[inline]
    fn at_least(x: f64) -> Self {
        x
    }

    #[inline]
    fn as_f32s(_: &[Self]) -> Option<&[f32]> {
        None
    }

    #[inline]
    fn as_f32s_mut(_: &mut [Self]) -> Option<&mut [f32]> {
        None
    }

    fn tiles(level: SimdLevel) -> &'static Tiles<Self> {
        tile::of_f64(level)
    }
}
