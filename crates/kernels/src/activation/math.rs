//! Elementary functions without branches, so that a loop over them is vectorised.
//!
//! The functions of `f64` are accurate to about two units in the last place unless the result is subnormal;
//! rounded once, they serve `f32`. Those whose names end in `_for_f32` are accurate to 4·10⁻¹⁰, which rounded once
//! serves `f32` as well in about half the time, unless something near is subtracted. The polynomials are Chebyshev
//! interpolants of the functions in their comments, computed with fifty digits. The functions of NaN are NaN.

use std::f64::consts::{FRAC_2_PI, FRAC_2_SQRT_PI, LOG2_E};

/// ln 2 in two parts. The first ends with zero bits, so that its product with a whole number is exact.
const LN_2: [f64; 2] = [0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10];
/// π/2 in two parts.
const HALF_PI: [f64; 2] = [std::f64::consts::FRAC_PI_2, 6.123_233_995_736_766e-17];
/// `1/√(2π)`.
const FRAC_1_SQRT_2_PI: f64 = 0.398_942_280_401_432_7;
/// Adding this rounds a number to a whole one, which is then in the last bits; subtracting it returns the
/// whole number.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// `c₀ + c₁x + c₂x² + …` by Horner's scheme.
#[inline(always)]
fn polynomial<const N: usize>(x: f64, coefficients: [f64; N]) -> f64 {
    let mut sum = coefficients[N - 1];
    for i in (0..N - 1).rev() {
        sum = sum.mul_add(x, coefficients[i]);
    }
    sum
}

/// `(eʳ - 1 - r)/r²` for `|r| ≤ ln 2/2`.
const EXP: [f64; 11] = [
    0.5,
    0.166_666_666_666_666_7,
    0.041_666_666_666_666_67,
    8.333_333_333_326_135e-3,
    1.388_888_888_888_374_8e-3,
    1.984_126_987_482_062_5e-4,
    2.480_158_732_554_774e-5,
    2.755_725_540_020_642_4e-6,
    2.755_727_364_311_033e-7,
    2.510_521_700_472_074_5e-8,
    2.091_468_696_808_687_7e-9,
];
/// The same with an error of `eʳ` below 2.3·10⁻¹⁰.
const EXP_FOR_F32: [f64; 6] = [
    0.500_000_001_345_772_7,
    0.166_666_666_816_142_56,
    4.166_646_500_604_005e-2,
    8.333_310_934_448_869e-3,
    1.393_364_103_198_670_1e-3,
    1.989_098_087_586_975e-4,
];

/// `2ⁿ` and `eʳ - 1` with `eˣ = 2ⁿeʳ`, `|r| ≤ ln 2/2`, for `|x| ≤ 708`; other `x` are clamped.
#[inline(always)]
fn exp_parts<const N: usize>(x: f64, series: [f64; N]) -> (f64, f64) {
    let x = if x < -708.0 { -708.0 } else { x };
    let x = if x > 708.0 { 708.0 } else { x };
    let shifted = x.mul_add(LOG2_E, ROUND);
    let n = shifted - ROUND;
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1f64.to_bits()));
    let r = (-n).mul_add(LN_2[1], (-n).mul_add(LN_2[0], x));
    (power, (r * r).mul_add(polynomial(r, series), r))
}

/// `eˣ`.
#[inline(always)]
pub(crate) fn exp(x: f64) -> f64 {
    let (power, rest) = exp_parts(x, EXP);
    power.mul_add(rest, power)
}

/// `eˣ`.
#[inline(always)]
pub(crate) fn exp_for_f32(x: f64) -> f64 {
    let (power, rest) = exp_parts(x, EXP_FOR_F32);
    power.mul_add(rest, power)
}

/// `eˣ - 1`.
#[inline(always)]
pub(crate) fn exp_m1(x: f64) -> f64 {
    let (power, rest) = exp_parts(x, EXP);
    power.mul_add(rest, power - 1.0)
}

/// `ln(1 + t)` for `0 ≤ t ≤ 1`, as `2 artanh(t/(2 + t))`.
#[inline(always)]
pub(crate) fn ln_1p(t: f64) -> f64 {
    /// `(artanh(s)/s - 1)/s²` by `s²`, for `s ≤ 1/3`.
    const SERIES: [f64; 10] = [
        0.333_333_333_333_333_3,
        0.200_000_000_000_072_98,
        0.142_857_142_835_525_3,
        0.111_111_113_589_008_91,
        9.090_894_708_663_223e-2,
        7.692_785_296_456_121e-2,
        6.657_067_775_440_581e-2,
        6.000_577_591_428_889e-2,
        4.400_158_825_434_387e-2,
        8.082_469_084_735_669e-2,
    ];
    let s = t / (2.0 + t);
    let z = s * s;
    2.0 * (s * z).mul_add(polynomial(z, SERIES), s)
}

/// `1/(1 + e⁻ˣ)`, with full relative accuracy on the left.
#[inline(always)]
pub(crate) fn sigmoid_for_f32(x: f64) -> f64 {
    let e = exp_for_f32(-x.abs());
    let top = if x < 0.0 { e } else { 1.0 };
    top / (1.0 + e)
}

/// `1/cosh² x`.
#[inline(always)]
pub(crate) fn sech2(x: f64) -> f64 {
    let e = exp(-2.0 * x.abs());
    4.0 * e / ((1.0 + e) * (1.0 + e))
}

/// `ln(1 + eˣ)`.
#[inline(always)]
pub(crate) fn softplus(x: f64) -> f64 {
    let right = if x > 0.0 { x } else { 0.0 };
    right + ln_1p(exp(-x.abs()))
}

/// The `|x|` from which on erf is computed from erfc.
const ERF_EDGE: f64 = 0.9;

/// `erf x/x` by `x²`, for `|x| ≤ 1`.
#[inline(always)]
fn erf_series(square: f64) -> f64 {
    const SERIES: [f64; 13] = [
        FRAC_2_SQRT_PI,
        -0.376_126_389_031_837_5,
        0.112_837_916_709_548_79,
        -2.686_617_064_507_679_3e-2,
        5.223_977_624_818_014e-3,
        -8.548_326_980_833_79e-4,
        1.205_533_111_164_271e-4,
        -1.492_559_526_683_118_2e-5,
        1.646_100_048_412_136_8e-6,
        -1.635_031_270_105_469_5e-7,
        1.465_977_527_404_743_6e-8,
        -1.137_284_885_679_167_4e-9,
        5.957_176_147_748_911e-11,
    ];
    polynomial(square, SERIES)
}

/// `erfc x` for `x ≥ 0.9`, as `e^{-x²} p((x - c)/(x + c))/(1 + 2x)` (the form of Shepherd and Laframboise
/// 1981, *Chebyshev approximation of (1 + 2x)exp(x²)erfc x in 0 ≤ x < ∞*).
#[inline(always)]
fn erfc_tail(x: f64) -> f64 {
    const CENTRE: f64 = 3.75;
    const SERIES: [f64; 20] = [
        1.237_512_630_837_827_6,
        -0.140_240_598_585_547,
        3.585_415_485_465_075_4e-3,
        0.082_276_738_490_147_6,
        -0.108_803_930_141_832_87,
        9.230_432_116_008_322e-2,
        -5.869_339_858_614_595e-2,
        2.836_227_741_698_958_2e-2,
        -9.746_579_626_104_65e-3,
        1.755_625_892_422_554e-3,
        2.937_143_998_733_519e-4,
        -2.901_544_492_658_226e-4,
        5.164_436_457_928_459e-5,
        2.238_617_122_968_487e-5,
        -1.142_538_101_875_005_7e-5,
        -9.795_240_782_582_553e-7,
        1.706_538_569_420_766e-6,
        -4.659_472_804_433_359e-8,
        -1.973_990_649_330_948e-7,
        1.335_895_180_713_141_4e-8,
    ];
    let x = if x > 15.0 { 15.0 } else { x };
    exp(-x * x) * polynomial((x - CENTRE) / (x + CENTRE), SERIES) / (1.0 + 2.0 * x)
}

/// `2/√π ∫₀ˣ e^{-t²} dt`.
#[inline(always)]
pub(crate) fn erf(x: f64) -> f64 {
    let far = (1.0 - erfc_tail(x.abs())).copysign(x);
    if x.abs() < ERF_EDGE { x * erf_series(x * x) } else { far }
}

/// `e^{x²/2} (x + c) (1 - Φ(x))` for `x ≥ 0` by `(x - c)/(x + c)`, from which the area of the normal distribution beyond
/// `x` is computed (the form of Shepherd and Laframboise 1981, with one quotient less). The error is below 2·10⁻¹⁷ up to
/// 15.1; beyond, the area of an `f32` is 0.
const TAIL: (f64, [f64; 20]) = (
    4.5,
    [
        0.763_230_528_970_203_2,
        -0.640_257_760_252_617_2,
        0.446_452_517_055_684_1,
        -0.253_141_799_950_967_4,
        0.111_382_596_569_848_46,
        -0.033_871_326_177_096_615,
        4.223_613_389_430_074e-3,
        1.748_830_567_070_268_8e-3,
        -9.177_466_218_260_7e-4,
        6.381_135_819_923_83e-6,
        1.120_435_905_301_801_9e-4,
        -1.593_271_763_949_02e-5,
        -1.423_982_779_977_130_7e-5,
        3.187_286_179_307_021_4e-6,
        2.152_780_964_601_655e-6,
        -4.887_845_525_014_849e-7,
        -3.909_655_876_886_033e-7,
        3.935_405_518_285_118_3e-8,
        6.972_351_844_070_246e-8,
        1.420_471_392_031_711_3e-8,
    ],
);
/// The same with an error below 10⁻¹⁰.
const TAIL_FOR_F32: (f64, [f64; 12]) = (
    5.0,
    [
        0.769_193_049_708_684,
        -0.665_382_501_924_292_5,
        0.495_305_620_649_778_7,
        -0.313_533_206_255_799_56,
        0.165_020_264_067_773_34,
        -0.069_117_950_113_058_06,
        2.079_610_001_809_352e-2,
        -2.997_218_819_991_794_4e-3,
        -8.035_061_236_284_231e-4,
        5.538_668_946_548_162e-4,
        -4.400_958_398_644_565e-5,
        -5.547_121_189_910_597e-5,
    ],
);

/// `(1 - Φ(x)) e^{x²/2}` for `x ≥ 0`.
#[inline(always)]
fn scaled_tail<const N: usize>(x: f64, (centre, series): (f64, [f64; N])) -> f64 {
    let quotient = 1.0 / (x + centre);
    quotient * polynomial((-2.0 * centre).mul_add(quotient, 1.0), series)
}

/// The standard normal distribution function, with full relative accuracy on the left.
#[inline(always)]
pub(crate) fn normal_cdf_for_f32(x: f64) -> f64 {
    let tail = exp_for_f32(-0.5 * x * x) * scaled_tail(x.abs(), TAIL_FOR_F32);
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// The standard normal distribution function, and `x` times the density.
#[inline(always)]
pub(crate) fn normal_cdf_and_slope(x: f64) -> (f64, f64) {
    let e = exp(-0.5 * x * x);
    let tail = e * scaled_tail(x.abs(), TAIL);
    (if x < 0.0 { tail } else { 1.0 - tail }, FRAC_1_SQRT_2_PI * x * e)
}

/// The magnitude beyond which [`sin`] and [`cos`] lose digits.
pub(crate) const SIN_LIMIT: f64 = 1e12;

/// `sin x` for `|x| ≤` [`SIN_LIMIT`].
#[inline(always)]
pub(crate) fn sin(x: f64) -> f64 {
    // The absolute value is reduced, so that the function is odd to the bit.
    let (sin, cos, quadrant) = sin_cos_parts(x.abs());
    let value = if quadrant & 1 == 0 { sin } else { cos };
    let value = if quadrant & 2 == 0 { value } else { -value };
    if x.is_sign_negative() { -value } else { value }
}

/// `cos x` for `|x| ≤` [`SIN_LIMIT`].
#[inline(always)]
pub(crate) fn cos(x: f64) -> f64 {
    let (sin, cos, quadrant) = sin_cos_parts(x);
    let value = if quadrant & 1 == 0 { cos } else { sin };
    if (quadrant + 1) & 2 == 0 { value } else { -value }
}

/// Sine and cosine of the rest of `x` in its quadrant, and the quadrant.
#[inline(always)]
fn sin_cos_parts(x: f64) -> (f64, f64, u64) {
    /// `(sin r/r - 1)/r²` by `r²`, for `|r| ≤ π/4`.
    const SIN: [f64; 7] = [
        -0.166_666_666_666_666_66,
        8.333_333_333_333_331e-3,
        -1.984_126_984_126_506e-4,
        2.755_731_921_933_545_3e-6,
        -2.505_210_623_115_790_6e-8,
        1.605_853_141_458_901e-10,
        -7.586_685_070_091_267e-13,
    ];
    /// `(cos r - 1 + r²/2)/r⁴` by `r²`, for `|r| ≤ π/4`.
    const COS: [f64; 7] = [
        4.166_666_666_666_666_4e-2,
        -1.388_888_888_888_888_7e-3,
        2.480_158_730_158_464_5e-5,
        -2.755_731_922_140_076e-7,
        2.087_675_579_036_34e-9,
        -1.147_046_077_396_932_5e-11,
        4.745_865_203_787_455e-14,
    ];
    let shifted = x.mul_add(FRAC_2_PI, ROUND);
    let n = shifted - ROUND;
    let r = (-n).mul_add(HALF_PI[1], (-n).mul_add(HALF_PI[0], x));
    let z = r * r;
    let sin = (r * z).mul_add(polynomial(z, SIN), r);
    let cos = (z * z).mul_add(polynomial(z, COS), (-0.5f64).mul_add(z, 1.0));
    (sin, cos, shifted.to_bits())
}

/// `tanh x` in `f32` alone, as `t/(t + 2)` with `t = e^{2|x|} - 1`.
#[inline(always)]
pub(crate) fn tanh_f32(x: f32) -> f32 {
    /// `(eʳ - 1 - r)/r²` for `|r| ≤ ln 2/2`.
    const SERIES: [f32; 5] = [0.5, 0.166_665_77, 0.041_666_555, 8.363_179e-3, 1.392_618_4e-3];
    /// ln 2 in two parts.
    const LN_2: [f32; 2] = [0.693_145_75, 1.428_606_8e-6];
    const ROUND: f32 = 12_582_912.0;
    let magnitude = x.abs();
    // For larger numbers the result is 1.
    let magnitude = if magnitude > 10.0 { 10.0 } else { magnitude };
    let twice = magnitude + magnitude;
    let shifted = twice.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1f32.to_bits()));
    let r = (-n).mul_add(LN_2[1], (-n).mul_add(LN_2[0], twice));
    let mut sum = SERIES[4];
    for i in (0..4).rev() {
        sum = sum.mul_add(r, SERIES[i]);
    }
    let t = power.mul_add((r * r).mul_add(sum, r), power - 1.0);
    (t / (t + 2.0)).copysign(x)
}

/// `eˣ` in `f32` alone, for `x ≤ 0`: 0 where it would be no normal number, as of a masked logit.
#[inline(always)]
pub(crate) fn exp_below_0_f32(x: f32) -> f32 {
    /// `(eʳ - 1 - r)/r²` for `|r| ≤ ln 2/2`, with an error of eˣ below 1.1·10⁻⁸.
    const SERIES: [f32; 5] = [0.5, 0.166_665_77, 0.041_666_555, 8.363_203e-3, 1.392_621_3e-3];
    /// ln 2 in two parts.
    const LN_2: [f32; 2] = [0.693_145_75, 1.428_606_8e-6];
    const ROUND: f32 = 12_582_912.0;
    const LEAST: f32 = -87.336_54;
    let inside = if x < LEAST { LEAST } else { x };
    let shifted = inside.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1f32.to_bits()));
    let r = (-n).mul_add(LN_2[1], (-n).mul_add(LN_2[0], inside));
    let mut sum = SERIES[4];
    for i in (0..4).rev() {
        sum = sum.mul_add(r, SERIES[i]);
    }
    let value = power.mul_add((r * r).mul_add(sum, r), power);
    if x < LEAST { 0.0 } else { value }
}

/// `eˣ` for `x ≤ 0`: 0 where it would be no normal number.
#[inline(always)]
pub(crate) fn exp_below_0(x: f64) -> f64 {
    if x < -708.0 { 0.0 } else { exp(x) }
}
