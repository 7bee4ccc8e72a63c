//! `ln`, `sin` and `cos` from additions and multiplications alone. IEEE 754 defines the rounding of each of
//! these, so every processor computes the same bits, with or without FMA, vectorized or not. (Rust never
//! fuses a multiplication and an addition by itself.)

/// `ln u` for normal `u > 0`. Within 2 ulp of the true value (tested over every exponent).
///
/// The polynomial is that of Cephes' `logf` (Moshier) on `[√½ - 1, √2 - 1]`.
#[inline(always)]
pub(super) fn ln_f32(u: f32) -> f32 {
    const P: [f32; 9] = [
        7.037_683_6e-2,
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ];
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const SQRT_HALF_BITS: u32 = 0x3f35_04f3;

    // u = 2^e·m with m in [√½, √2).
    let shifted = u.to_bits().wrapping_sub(SQRT_HALF_BITS);
    let e = ((shifted as i32) >> 23) as f32;
    let m = f32::from_bits((shifted & 0x007f_ffff).wrapping_add(SQRT_HALF_BITS));
    let x = m - 1.0;
    let square = x * x;
    let mut p = P[0];
    for coefficient in &P[1..] {
        p = p * x + coefficient;
    }
    let p = x * square * p + e * LN2_LOW - 0.5 * square;
    x + p + e * LN2_HIGH
}

/// `(sin πt, cos πt)` for `t` in `[-1, 1]`. Absolute error below 1.2e-7.
///
/// The polynomials are those of Cephes' `sinf` on `[-π/4, π/4]`; the quarter turn is taken off exactly.
#[inline(always)]
pub(super) fn sin_cos_pi_f32(t: f32) -> (f32, f32) {
    // Adding and taking off 1.5·2²³ rounds to the nearest integer; the sum's last bits are that integer.
    const ROUND: f32 = 12_582_912.0;
    let shifted = 2.0 * t + ROUND;
    let quarter = shifted.to_bits();
    let x = (t - 0.5 * (shifted - ROUND)) * std::f32::consts::PI;
    let z = x * x;
    let sin = ((-1.951_529_6e-4 * z + 8.332_161e-3) * z - 1.666_665_5e-1) * z * x + x;
    let cos = ((2.443_315_7e-5 * z - 1.388_731_6e-3) * z + 4.166_664_6e-2) * (z * z) - 0.5 * z + 1.0;
    let (a, b) = if quarter & 1 == 0 { (sin, cos) } else { (cos, sin) };
    // The sine changes its sign in the third and fourth quarter, the cosine in the second and third.
    let sin_sign = (quarter & 2) << 30;
    let cos_sign = (quarter.wrapping_add(1) & 2) << 30;
    (f32::from_bits(a.to_bits() ^ sin_sign), f32::from_bits(b.to_bits() ^ cos_sign))
}

/// `ln u` for normal `u > 0`. Within 2 ulp of the true value.
///
/// `ln m = 2 atanh(s)`, `s = (m-1)/(m+1)`, with the polynomial of fdlibm's `e_log.c` (Sun Microsystems).
#[inline(always)]
pub(super) fn ln_f64(u: f64) -> f64 {
    const P: [f64; 7] = [
        1.479_819_860_511_658_6e-1,
        1.531_383_769_920_937_3e-1,
        1.818_357_216_161_805e-1,
        2.222_219_843_214_978_4e-1,
        2.857_142_874_366_239e-1,
        3.999_999_999_940_942e-1,
        6.666_666_666_666_735e-1,
    ];
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    const SQRT_HALF_BITS: u64 = 0x3fe6_a09e_667f_3bcd;

    let shifted = u.to_bits().wrapping_sub(SQRT_HALF_BITS);
    let e = ((shifted as i64) >> 52) as f64;
    let m = f64::from_bits((shifted & 0x000f_ffff_ffff_ffff).wrapping_add(SQRT_HALF_BITS));
    let x = m - 1.0;
    let s = x / (2.0 + x);
    let z = s * s;
    let mut p = P[0];
    for coefficient in &P[1..] {
        p = p * z + coefficient;
    }
    let half_square = 0.5 * x * x;
    e * LN2_HIGH - ((half_square - (s * (half_square + p * z) + e * LN2_LOW)) - x)
}

/// `(sin πt, cos πt)` for `t` in `[-1, 1]`. Absolute error below 2.3e-16.
///
/// The polynomials are those of fdlibm's `k_sin.c` and `k_cos.c` (Sun Microsystems) on `[-π/4, π/4]`.
#[inline(always)]
pub(crate) fn sin_cos_pi_f64(t: f64) -> (f64, f64) {
    const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5·2⁵²
    const SIN: [f64; 6] = [
        1.589_690_995_211_55e-10,
        -2.505_076_025_340_686_3e-8,
        2.755_731_370_707_006_8e-6,
        -1.984_126_982_985_795e-4,
        8.333_333_333_322_49e-3,
        -1.666_666_666_666_663_2e-1,
    ];
    const COS: [f64; 6] = [
        -1.135_964_755_778_819_5e-11,
        2.087_572_321_298_175e-9,
        -2.755_731_435_139_066_3e-7,
        2.480_158_728_947_673e-5,
        -1.388_888_888_887_411e-3,
        4.166_666_666_666_66e-2,
    ];
    let shifted = 2.0 * t + ROUND;
    let quarter = shifted.to_bits();
    let x = (t - 0.5 * (shifted - ROUND)) * std::f64::consts::PI;
    let z = x * x;
    let (mut p, mut q) = (SIN[0], COS[0]);
    for i in 1..6 {
        p = p * z + SIN[i];
        q = q * z + COS[i];
    }
    let sin = p * z * x + x;
    let cos = q * (z * z) - 0.5 * z + 1.0;
    let (a, b) = if quarter & 1 == 0 { (sin, cos) } else { (cos, sin) };
    let sin_sign = (quarter & 2) << 62;
    let cos_sign = (quarter.wrapping_add(1) & 2) << 62;
    (f64::from_bits(a.to_bits() ^ sin_sign), f64::from_bits(b.to_bits() ^ cos_sign))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    #[test]
    fn ln_f32_is_within_2_ulp_at_every_exponent() {
        let mut worst = 0.0f64;
        for bits in (0x0080_0000u32..0x7f80_0000).step_by(4099) {
            let u = f32::from_bits(bits);
            let exact = f64::from(u).ln();
            let nearest = exact as f32;
            let ulp = f64::from(f32::from_bits((nearest.abs().to_bits()) + 1)) - f64::from(nearest.abs());
            if exact != 0.0 {
                worst = worst.max((f64::from(ln_f32(u)) - exact).abs() / ulp);
            }
        }
        assert!(worst < 2.0, "{worst} ulp");
        assert_eq!(ln_f32(1.0), 0.0);
    }

    #[test]
    fn ln_f64_is_the_logarithm() {
        // The system's logarithm is itself within an ulp.
        for i in 0..200_000u64 {
            let u = f64::from_bits(0x0010_0000_0000_0000 + i * 45_000_000_000_003);
            if u.is_finite() {
                let exact = u.ln();
                assert!((ln_f64(u) - exact).abs() <= 3e-16 * exact.abs().max(1e-300), "{u}");
            }
        }
        for u in [0.5f64, 0.999_999_9, 1.0, 1.000_000_1, 2f64.powi(-64)] {
            assert!((ln_f64(u) - u.ln()).abs() <= 3e-16 * u.ln().abs(), "{u}");
        }
    }

    #[test]
    fn sines_and_cosines() {
        for i in -100_000..=100_000 {
            let t = f64::from(i) * 1e-5;
            let (sin, cos) = sin_cos_pi_f64(t);
            assert!((sin - (PI * t).sin()).abs() < 4e-16 && (cos - (PI * t).cos()).abs() < 4e-16, "{t}");
            let narrow = t as f32;
            let (sin, cos) = sin_cos_pi_f32(narrow);
            let angle = PI * f64::from(narrow);
            assert!((f64::from(sin) - angle.sin()).abs() < 1.2e-7, "{t}");
            assert!((f64::from(cos) - angle.cos()).abs() < 1.2e-7, "{t}");
        }
        assert_eq!(sin_cos_pi_f32(0.5), (1.0, 0.0));
        assert_eq!(sin_cos_pi_f64(-0.25).0, -sin_cos_pi_f64(0.25).0);
    }
}
