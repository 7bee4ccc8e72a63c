//! `ln`, `sin` and `cos` as PyTorch's vectorized CPU kernels compute them: Cephes' polynomials (Moshier) with
//! fused multiplications and additions. `mul_add` rounds once on every processor, so the bits are PyTorch's.

/// `ln u` for normal `u > 0`.
#[inline(always)]
pub(super) fn ln(u: f32) -> f32 {
    const P: [f32; 9] = [
        7.037_683_6e-2,
        -1.151_461e-1,
        1.167_699_84e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_4e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ];
    let u = u.max(f32::MIN_POSITIVE);
    let bits = u.to_bits();
    let m = f32::from_bits((bits & 0x007f_ffff) | 0x3f00_0000);
    let e = (bits >> 23) as i32 - 126;
    let low = m < std::f32::consts::FRAC_1_SQRT_2;
    let e = if low { e - 1 } else { e } as f32;
    let x = if low { (m - 1.0) + m } else { m - 1.0 };
    let z = x * x;
    let mut y = P[0];
    for p in &P[1..] {
        y = y.mul_add(x, *p);
    }
    y *= x;
    let t = e * -2.121_944_4e-4;
    y = y.mul_add(z, t);
    y = z.mul_add(-0.5, y);
    e.mul_add(0.693_359_4, x + y)
}

/// `(sin x, cos x)` for `x ≥ 0`.
#[inline(always)]
pub(super) fn sin_cos(x: f32) -> (f32, f32) {
    // Rounds toward zero, then up to the next even number.
    let j = ((x * 1.273_239_5) as i32 + 1) & !1;
    let y = j as f32;
    let sin_sign = ((j & 4) as u32) << 29;
    let cos_sign = ((!(j - 2) & 4) as u32) << 29;
    let x = y.mul_add(-0.785_156_25, x);
    let x = y.mul_add(-2.418_756_5e-4, x);
    let x = y.mul_add(-3.774_895e-8, x);
    let z = x * x;
    let mut c = 2.443_315_7e-5f32.mul_add(z, -1.388_731_6e-3);
    c = c.mul_add(z, 4.166_664_6e-2) * z;
    c = c.mul_add(z, -(z * 0.5)) + 1.0;
    let mut s = (-1.951_529_6e-4f32).mul_add(z, 8.332_161e-3);
    s = s.mul_add(z, -1.666_665_5e-1) * z;
    s = s.mul_add(x, x);
    let (sin, cos) = if j & 2 == 0 { (s, c) } else { (c, s) };
    (f32::from_bits(sin.to_bits() ^ sin_sign), f32::from_bits(cos.to_bits() ^ cos_sign))
}
