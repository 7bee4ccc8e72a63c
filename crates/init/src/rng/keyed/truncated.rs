//! Truncated normals by the inverse distribution function: each element takes one word, and none is rejected.

use std::f64::consts::FRAC_1_SQRT_2;

use wick_theory::special::normal_cdf;

use super::math::{ln_f32, ln_f64};

/// A truncated normal, prepared for drawing.
#[derive(Clone, Copy)]
pub(crate) struct Truncated {
    pub(super) mean: f64,
    pub(super) std: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    /// The middle and half the width of `erf(bound/√2)`, if the bounds are near enough to the mean for `f32`.
    pub(super) near: Option<(f32, f32)>,
    /// The distribution function at the bounds. It is that of the mirrored normal if both bounds lie above
    /// the mean, so that the tail keeps its digits.
    pub(super) cdf: (f64, f64),
    pub(super) mirrored: bool,
}

impl Truncated {
    /// Prepares `N(mean, std²)` cut off outside `[low, high]`.
    pub(crate) fn new(mean: f64, std: f64, low: f64, high: f64) -> Self {
        // A normal with std 0 has all of its mass at the mean.
        let (a, b) = if std > 0.0 { ((low - mean) / std, (high - mean) / std) } else { (-1.0, 1.0) };
        let mirrored = a > 0.0;
        let (p, q) = if mirrored { (-b, -a) } else { (a, b) };
        let (erf_a, erf_b) = (libm::erf(a * FRAC_1_SQRT_2), libm::erf(b * FRAC_1_SQRT_2));
        let near = (a >= -4.0 && b <= 4.0 && a <= 0.0 && b >= 0.0)
            .then_some(((0.5 * (erf_a + erf_b)) as f32, (0.5 * (erf_b - erf_a)) as f32));
        Self { mean, std, low, high, near, cdf: (normal_cdf(p), normal_cdf(q)), mirrored }
    }

    /// Returns the sampler that works in `f32` alone, if the bounds allow it.
    #[inline(always)]
    pub(super) fn near(&self) -> Option<Near> {
        let (mean, std) = (self.mean as f32, self.std as f32);
        let (low, high) = (self.low as f32, self.high as f32);
        self.near.map(|(middle, half)| Near { middle, half, mean, std, low, high })
    }

    #[inline(always)]
    pub(crate) fn at_f32(&self, word: u32) -> f32 {
        match self.near() {
            Some(near) => near.at(word),
            None => self.at_f64(u64::from(word) << 32 | 1 << 31) as f32,
        }
    }

    #[inline(always)]
    pub(crate) fn at_f64(&self, word: u64) -> f64 {
        const SCALE: f64 = 1.0 / (1u128 << 64) as f64;
        // The inverted top bit orders the words as the signed words of `f32` are ordered, so that the types
        // agree.
        let u = ((word ^ (1 << 63)) as f64 + 0.5) * SCALE;
        let u = if self.mirrored { 1.0 - u } else { u };
        let (low, high) = self.cdf;
        // Rounding can give 1, whose quantile is infinite.
        let z = normal_quantile((low + (high - low) * u).min(1.0 - 0.5 * f64::EPSILON));
        let z = if self.mirrored { -z } else { z };
        (self.mean + self.std * z).max(self.low).min(self.high)
    }
}

/// A truncated normal whose bounds are near enough to the mean for `f32`.
#[derive(Clone, Copy)]
pub(super) struct Near {
    middle: f32,
    half: f32,
    mean: f32,
    std: f32,
    low: f32,
    high: f32,
}

impl Near {
    #[inline(always)]
    pub(super) fn at(&self, word: u32) -> f32 {
        const SCALE: f32 = 1.0 / (1u32 << 31) as f32;
        let z = std::f32::consts::SQRT_2 * erf_inv(self.middle + self.half * (word as i32 as f32 * SCALE));
        (self.mean + self.std * z).max(self.low).min(self.high)
    }
}

/// The inverse of erf for `|x| < 1 - 1e-5`, by the polynomials of Giles 2010 (*Approximating the erfinv
/// function*, GPU Computing Gems, single precision): relative error below 1e-6.
#[inline(always)]
fn erf_inv(x: f32) -> f32 {
    const CENTRAL: [f32; 9] = [
        2.810_226_4e-8,
        3.432_739_4e-7,
        -3.523_387_7e-6,
        -4.391_506_5e-6,
        2.185_808_7e-4,
        -1.253_725e-3,
        -4.177_681_6e-3,
        2.466_407_3e-1,
        1.501_409_4,
    ];
    const TAIL: [f32; 9] = [
        -2.002_142_6e-4,
        1.009_505_6e-4,
        1.349_343_2e-3,
        -3.673_428_4e-3,
        5.739_507_7e-3,
        -7.622_461_3e-3,
        9.438_870_5e-3,
        1.001_674,
        2.832_976_8,
    ];
    let w = -ln_f32((1.0 - x) * (1.0 + x));
    let central = w < 5.0;
    let t = if central { w - 2.5 } else { w.sqrt() - 3.0 };
    let mut p = if central { CENTRAL[0] } else { TAIL[0] };
    for i in 1..9 {
        p = p * t + if central { CENTRAL[i] } else { TAIL[i] };
    }
    p * x
}

/// The inverse of the standard normal distribution function for `0 < p < 1`: algorithm AS 241 (Wichura 1988,
/// PPND16), relative error about 1e-16.
fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 8] = [
        2.509_080_928_730_122_7e3,
        33_430.575_583_588_13,
        6.726_577_092_700_87e4,
        4.592_195_393_154_987e4,
        1.373_169_376_550_946e4,
        1.971_590_950_306_551_3e3,
        1.331_416_678_917_843_8e2,
        3.387_132_872_796_366_5,
    ];
    const B: [f64; 8] = [
        5.226_495_278_852_854e3,
        2.872_908_573_572_194_3e4,
        3.930_789_580_009_271e4,
        2.121_379_430_158_659_7e4,
        5.394_196_021_424_751e3,
        6.871_870_074_920_579e2,
        4.231_333_070_160_091e1,
        1.0,
    ];
    const C: [f64; 8] = [
        7.745_450_142_783_414e-4,
        2.272_384_498_926_918_4e-2,
        2.417_807_251_774_506e-1,
        1.270_458_252_452_368_4,
        3.647_848_324_763_204_5,
        5.769_497_221_460_691,
        4.630_337_846_156_546,
        1.423_437_110_749_683_5,
    ];
    const D: [f64; 8] = [
        1.050_750_071_644_416_9e-9,
        5.475_938_084_995_345e-4,
        1.519_866_656_361_645_7e-2,
        1.481_039_764_274_800_8e-1,
        6.897_673_349_851e-1,
        1.676_384_830_183_803_8,
        2.053_191_626_637_759,
        1.0,
    ];
    const E: [f64; 8] = [
        2.010_334_399_292_288_1e-7,
        2.711_555_568_743_487_6e-5,
        1.242_660_947_388_078_4e-3,
        2.653_218_952_657_612_4e-2,
        2.965_605_718_285_048_7e-1,
        1.784_826_539_917_291_3,
        5.463_784_911_164_114,
        6.657_904_643_501_103,
    ];
    const F: [f64; 8] = [
        2.044_263_103_389_939_8e-15,
        1.421_511_758_316_446e-7,
        1.846_318_317_510_054_8e-5,
        7.868_691_311_456_133e-4,
        1.487_536_129_085_061_5e-2,
        1.369_298_809_227_358e-1,
        5.998_322_065_558_88e-1,
        1.0,
    ];
    let ratio = |top: &[f64; 8], bottom: &[f64; 8], x: f64| {
        let horner = |c: &[f64; 8]| c.iter().fold(0.0, |sum, c| sum * x + c);
        horner(top) / horner(bottom)
    };
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        return q * ratio(&A, &B, 0.180_625 - q * q);
    }
    let r = (-ln_f64(p.min(1.0 - p))).sqrt();
    let z = if r <= 5.0 { ratio(&C, &D, r - 1.6) } else { ratio(&E, &F, r - 5.0) };
    if q < 0.0 { -z } else { z }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::SQRT_2;

    #[test]
    fn quantiles_are_the_inverse_of_the_distribution_function() {
        for i in -3700..800 {
            let z = f64::from(i) * 0.01;
            let back = normal_quantile(normal_cdf(z));
            // Near p = 1 the distribution function itself keeps few digits.
            let tolerance = if z < 1.0 { 4e-15 * z.abs().max(1.0) } else { 5e-16 / (-0.5 * z * z).exp() };
            assert!((back - z).abs() < tolerance.max(2e-15), "{z}: {back}");
        }
    }

    #[test]
    fn the_inverse_of_erf() {
        for i in -39_999..40_000 {
            let z = f64::from(i) * 1e-4 * FRAC_1_SQRT_2;
            let x = libm::erf(z) as f32;
            let exact = normal_quantile(0.5 + 0.5 * f64::from(x)) / SQRT_2;
            assert!((f64::from(erf_inv(x)) - exact).abs() <= 2e-6 * exact.abs().max(1e-3), "{x}: {exact}");
        }
    }

    #[test]
    fn far_tails_keep_inside_and_apart() {
        let tail = Truncated::new(0.0, 1.0, 8.0, 20.0);
        let at = |u: f64| tail.at_f64((u * 2f64.powi(64)) as u64);
        let drawn = [0.01, 0.3, 0.49, 0.51, 0.7, 0.99].map(at);
        assert!(drawn.iter().all(|x| (8.0..10.0).contains(x)), "{drawn:?}");
        assert!(drawn.windows(2).all(|pair| pair[0] != pair[1]));
        // The largest word, where the bound is so far that its distribution function is 1.
        let wide = Truncated::new(0.0, 1.0, -20.0, 1e9);
        assert!((8.0..9.0).contains(&wide.at_f64(u64::MAX >> 1)), "{}", wide.at_f64(u64::MAX >> 1));
        let point = Truncated::new(0.5, 0.0, 0.0, 1.0);
        assert_eq!((point.at_f32(7), point.at_f64(7)), (0.5, 0.5));
    }
}
