//! `erf` and its inverse as JAX's CPU backend (XLA) computes them in `f32`, step by step: XLA contracts a
//! multiplication and an addition to one operation that rounds once. `mul_add` does so on every processor.

/// The inverse of the error function by the polynomials of Giles 2010 (*Approximating the erfinv function*) in
/// `w = -ln(1 - x²)`.
#[inline(always)]
pub(super) fn erf_inv(x: f32) -> f32 {
    const CENTRE: [f32; 9] = [
        2.810_226_4e-8,
        3.432_739_4e-7,
        -3.523_387_7e-6,
        -4.391_506_5e-6,
        2.185_808_7e-4,
        -1.253_725e-3,
        -4.177_681_6e-3,
        0.246_640_73,
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
    let log = ln_1p(x * -x);
    let is_centre = log > -5.0;
    let w = if is_centre { -2.5 - log } else { (-log).sqrt() - 3.0 };
    let mut p = if is_centre { CENTRE[0] } else { TAIL[0] };
    for (centre, tail) in CENTRE[1..].iter().zip(&TAIL[1..]) {
        p = p.mul_add(w, if is_centre { *centre } else { *tail });
    }
    x * p
}

/// `ln(1 + t)` for `t` in `(-1, 0]`: a quotient of polynomials near 0 (Cephes' `log1p`), elsewhere [`ln`].
#[inline(always)]
fn ln_1p(t: f32) -> f32 {
    const TOP: [f32; 7] =
        [4.527e-5, 0.498_541_03, 6.578_732_5, 29.911_919, 60.949_67, 57.112_965, 20.039_553];
    const BOTTOM: [f32; 6] = [15.062_909, 83.047_57, 221.762_4, 309.098_72, 216.427_88, 60.118_66];
    let horner = |p: f32, c: &f32| p.mul_add(t, *c);
    let top = TOP[1..].iter().fold(TOP[0], horner);
    let bottom = BOTTOM.iter().fold(1.0, horner);
    let square = t * t;
    let near = t + square.mul_add(-0.5, t * square * (top / bottom));
    if t.abs() < 0.414_213_57 { near } else { ln(1.0 + t) }
}

/// `ln u` for `u > 0`, by Cephes' polynomial of degree 8 in Eigen's order of operations.
#[inline(always)]
fn ln(u: f32) -> f32 {
    let bits = u.max(f32::MIN_POSITIVE).to_bits();
    let m = f32::from_bits((bits & 0x007f_ffff) | 0x3f00_0000);
    let is_low = m < std::f32::consts::FRAC_1_SQRT_2;
    let e = (bits >> 23) as f32 - 126.0 - if is_low { 1.0 } else { 0.0 };
    let x = (m - 1.0) + if is_low { m } else { 0.0 };
    let (x2, x3) = (x * x, x * x * x);
    let part = |a: f32, b: f32, c: f32| a.mul_add(x, b).mul_add(x, c);
    let high = part(7.037_683_6e-2, -1.151_461e-1, 1.167_699_84e-1);
    let middle = part(-1.242_014_1e-1, 1.424_932_3e-1, -1.666_805_8e-1);
    let low = part(2.000_071_4e-1, -2.499_999_4e-1, 3.333_333e-1);
    let y = high.mul_add(x3, middle).mul_add(x3, low);
    let y = y.mul_add(x3, e * -2.121_944_4e-4);
    e.mul_add(0.693_359_4, (-x2).mul_add(0.5, x) + y)
}

/// The error function, as Eigen's quotient of polynomials.
pub(super) fn erf(x: f32) -> f32 {
    const TOP: [u32; 5] = [0x3970_2d51, 0x3b5f_5da2, 0x3d50_b6eb, 0x3e3d_a740, 0x3f90_6eba];
    const BOTTOM: [u32; 7] =
        [0xb3fd_3906, 0x37c5_88df, 0x3a85_6d28, 0x3c66_87d4, 0x3de3_4c21, 0x3efe_b44a, 0x3f80_0000];
    // Beyond this number, the nearest f32 is ±1.
    const LARGEST: u32 = 0x4075_47cb;
    if x.abs() >= f32::from_bits(LARGEST) {
        return 1f32.copysign(x);
    }
    let square = x * x;
    let horner = |p: f32, c: &u32| p.mul_add(square, f32::from_bits(*c));
    let top = TOP[1..].iter().fold(f32::from_bits(TOP[0]), horner);
    let bottom = BOTTOM[1..].iter().fold(f32::from_bits(BOTTOM[0]), horner);
    x * top / bottom
}
