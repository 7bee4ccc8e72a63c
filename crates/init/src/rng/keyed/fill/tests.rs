use super::*;
use crate::initializer::Initializer;
use crate::rng::keyed::KeyedV1;
use candle_core::{DType, Device};
use statrs::distribution::{ContinuousCDF, Normal};

const NORMAL: Law = Law::Normal { mean: 0.0, std: 1.0 };
const UNIFORM: Law = Law::Uniform { low: -1.0, high: 1.0 };

/// A truncated normal, off the middle, whose bounds are near enough for `f32` arithmetic.
const CUT: Law = Law::TruncatedNormal { mean: 0.0, std: 1.0, low: -2.0, high: 3.5 };

fn key() -> Key {
    KeyedV1::new(2024).key("layer.weight")
}

/// The Kolmogorov-Smirnov distance times √n, which exceeds 1.95 with a chance of 0.001 (two-sided, large n).
fn kolmogorov_smirnov(values: &[f32], cdf: impl Fn(f64) -> f64) -> f64 {
    let mut sorted: Vec<f64> = values.iter().map(|&x| f64::from(x)).collect();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let distance = sorted.iter().enumerate().map(|(i, &x)| {
        let f = cdf(x);
        (f - i as f64 / n).abs().max(((i + 1) as f64 / n - f).abs())
    });
    distance.fold(0.0, f64::max) * n.sqrt()
}

/// n = 1,000,000, seed 2024, alpha = 0.001; the twins are a normal 1 % too wide and a uniform 1 % too narrow.
#[test]
fn elements_have_their_law() {
    let n = 1_000_000;
    let (normal, wide) = (Normal::new(0.0, 1.0).unwrap(), Normal::new(0.0, 1.01).unwrap());
    let values = draw::<f32>(key(), NORMAL, n);
    assert!(kolmogorov_smirnov(&values, |x| normal.cdf(x)) < 1.95);
    assert!(kolmogorov_smirnov(&values, |x| wide.cdf(x)) > 1.95);

    let values = draw::<f32>(key(), UNIFORM, n);
    assert!(kolmogorov_smirnov(&values, |x| 0.5 + 0.5 * x) < 1.95);
    assert!(kolmogorov_smirnov(&values, |x| (0.5 + 0.505 * x).clamp(0.0, 1.0)) > 1.95);
}

/// Neighbours, and elements that share a block, are uncorrelated: n = 1,000,000, seed 2024; |r|·√n exceeds
/// 3.9 with a chance of 1e-4. The twin correlates a value with itself plus noise.
#[test]
fn elements_are_uncorrelated() {
    let n = 1_000_000usize;
    let values = draw::<f32>(key(), NORMAL, n);
    let score =
        |pair: &dyn Fn(usize) -> f64| (0..n - GROUP).map(pair).sum::<f64>() / ((n - GROUP) as f64).sqrt();
    for lag in [1, 15, 16, 17, 32, 48, 64] {
        let r = score(&|i| f64::from(values[i]) * f64::from(values[i + lag]));
        assert!(r.abs() < 3.9, "lag {lag}: {r}");
        let squares =
            score(&|i| (f64::from(values[i]).powi(2) - 1.0) * (f64::from(values[i + lag]).powi(2) - 1.0));
        assert!(squares.abs() / 2.0 < 3.9, "squares at lag {lag}: {squares}");
    }
    let twin = score(&|i| f64::from(values[i]) * (0.01 * f64::from(values[i]) + f64::from(values[i + 1])));
    assert!(twin > 3.9);
}

/// These bits are fixed for ever: a change breaks the seeds of all users.
#[test]
fn values_are_stable() {
    let bits = |law| draw::<f32>(key(), law, 70).iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let digest = |values: &[u32]| {
        values
            .iter()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, v| (hash ^ u64::from(*v)).wrapping_mul(0x100_0000_01b3))
    };
    let wide = draw::<f64>(key(), NORMAL, 70);
    let wide = wide.iter().flat_map(|x| [x.to_bits() as u32, (x.to_bits() >> 32) as u32]).collect::<Vec<_>>();
    let digests = [digest(&bits(NORMAL)), digest(&bits(UNIFORM)), digest(&wide), digest(&bits(CUT))];
    assert_eq!(digests, STABLE, "{digests:#x?}");
}

const STABLE: [u64; 4] =
    [0x36b3_95eb_245e_b100, 0x4c22_5efd_c0fb_c03a, 0xda8f_38a3_aa00_a68a, 0x71fa_d739_5db5_cfca];

/// The vector code and the portable code give the same bits.
#[test]
fn every_processor_draws_the_same() {
    for law in [NORMAL, UNIFORM, CUT, Law::Normal { mean: 0.3, std: 1e-3 }] {
        let narrow = |level| -> Vec<u32> {
            draw_at::<f32>(level, key(), law, 100_003).iter().map(|x| x.to_bits()).collect()
        };
        let wide = |level| -> Vec<u64> {
            draw_at::<f64>(level, key(), law, 10_007).iter().map(|x| x.to_bits()).collect()
        };
        for level in SimdLevel::available() {
            assert!(narrow(level) == narrow(SimdLevel::PORTABLE), "{law:?} {level:?}");
            assert!(wide(level) == wide(SimdLevel::PORTABLE), "{law:?} {level:?}");
        }
    }
}

/// The narrow types are `f32` rounded once, at every level and length.
#[test]
fn narrow_types_are_rounded_as_they_are_drawn() {
    for law in [NORMAL, UNIFORM, CUT, Law::Normal { mean: 0.3, std: 1e-6 }, Law::Constant(0.1)] {
        for count in [1, 63, 64, 70, 100_003] {
            let wide = draw::<f32>(key(), law, count);
            let bf16s: Vec<bf16> = wide.iter().map(|x| bf16::from_f32(*x)).collect();
            let f16s: Vec<f16> = wide.iter().map(|x| f16::from_f32(*x)).collect();
            for level in SimdLevel::available() {
                assert!(draw_at::<bf16>(level, key(), law, count) == bf16s, "{law:?} {count} {level:?}");
                assert!(draw_at::<f16>(level, key(), law, count) == f16s, "{law:?} {count} {level:?}");
            }
        }
    }
}

#[test]
fn any_length_is_a_beginning_of_a_longer_one() {
    let long = draw::<f32>(key(), NORMAL, 100_000);
    for count in [0, 1, 15, 63, 64, 65, GROUP * TASK - 1, GROUP * TASK + 1] {
        assert_eq!(draw::<f32>(key(), NORMAL, count), long[..count]);
    }
}

#[test]
fn one_thread_draws_what_two_do() {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let draw = || draw::<f32>(key(), NORMAL, 200_001);
    assert_eq!(pool(1).install(draw), pool(2).install(draw));
}

/// An f32 element is near the f64 element, except in the far tail, where 32 bits of radius are coarse.
#[test]
fn types_agree() {
    let wide = draw::<f64>(key(), NORMAL, 100_000);
    let narrow = draw::<f32>(key(), NORMAL, 100_000);
    for (a, b) in wide.iter().zip(&narrow) {
        assert!((a - f64::from(*b)).abs() < 2e-6, "{a} {b}");
    }
    let half = Initializer::normal(1.0).tensor(key(), 1000, DType::BF16, &Device::Cpu).unwrap();
    let expected: Vec<bf16> = narrow[..1000].iter().map(|x| bf16::from_f32(*x)).collect();
    assert_eq!(half.to_vec1::<bf16>().unwrap(), expected);
    let (wide, narrow) = (draw::<f64>(key(), CUT, 100_000), draw::<f32>(key(), CUT, 100_000));
    for (a, b) in wide.iter().zip(&narrow) {
        assert!((a - f64::from(*b)).abs() < 1e-4, "{a} {b}");
    }
}

/// The extreme words give finite numbers at the edges that the docs name.
#[test]
fn extremes() {
    let (largest, zero) = normal_pair_f32(0, 0);
    assert!((f64::from(largest) - (66.0 * 2f64.ln()).sqrt()).abs() < 1e-5);
    assert_eq!(zero, 0.0);
    assert_eq!(normal_pair_f32(u32::MAX, 0).0, 0.0);
    assert!((normal_pair_f64(0, 0).0 - (130.0 * 2f64.ln()).sqrt()).abs() < 1e-12);
    for word in [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        let s = signed_f32(word);
        assert!((-1.0..=1.0).contains(&s));
        let (a, b) = normal_pair_f32(word, word);
        assert!(a.is_finite() && b.is_finite());
    }
}

#[test]
fn uniforms_keep_to_their_bounds() {
    let (low, high) = (0.1, 0.1 + 1e-7);
    for x in draw::<f32>(key(), Law::Uniform { low, high }, 10_000) {
        assert!((low as f32..=high as f32).contains(&x));
    }
}
