//! The numbers that attention is computed in.

use crate::activation::math::exp;
use crate::cpu::element::Number;

/// `f32` or `f64`, with the exponential function of what is not above 0.
pub(super) trait Real: Number {
    /// `eˣ` for `x ≤ 0` (or a little more, by rounding), to about a unit in the last place: 0 where it would be no
    /// normal number, as of -∞, and NaN of NaN.
    fn exp_below_0(x: Self) -> Self;

    /// `self·b + c`, rounded once.
    fn multiply_add(self, b: Self, c: Self) -> Self;
}

impl Real for f32 {
    #[inline(always)]
    fn exp_below_0(x: f32) -> f32 {
        /// `(eʳ - 1 - r)/r²` for `|r| ≤ ln 2/2`: the Chebyshev interpolant, within 2.3e-10 of it relative to `eʳ`.
        const SERIES: [f32; 6] =
            [0.5, 0.166_666_67, 0.041_666_463, 8.333_310_5e-3, 1.393_368_6e-3, 1.989_103e-4];
        /// ln 2 in two parts. The first ends with zero bits, so that its product with a whole number is exact.
        const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
        /// Adding this rounds a number to a whole one, which is then in the last bits.
        const ROUND: f32 = 12_582_912.0;
        let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
        let n = shifted - ROUND;
        let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1f32.to_bits()));
        let r = (-n).mul_add(LN_2[1], (-n).mul_add(LN_2[0], x));
        let sum = SERIES[5].mul_add(r, SERIES[4]).mul_add(r, SERIES[3]).mul_add(r, SERIES[2]);
        let sum = sum.mul_add(r, SERIES[1]).mul_add(r, SERIES[0]);
        let e = power.mul_add((r * r).mul_add(sum, r), power);
        if x < -87.0 { 0.0 } else { e }
    }

    #[inline(always)]
    fn multiply_add(self, b: f32, c: f32) -> f32 {
        self.mul_add(b, c)
    }
}

impl Real for f64 {
    #[inline(always)]
    fn exp_below_0(x: f64) -> f64 {
        if x < -708.0 { 0.0 } else { exp(x) }
    }

    #[inline(always)]
    fn multiply_add(self, b: f64, c: f64) -> f64 {
        self.mul_add(b, c)
    }
}
