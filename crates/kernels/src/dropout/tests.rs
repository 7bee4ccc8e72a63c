//! Tests of dropout: its definition, its fraction, its bits, its memory.

use candle_core::{DType, Device, Tensor, Var};

use super::cpu::Mask;
use super::{MaskKey, dropout};
use crate::cpu::checks::{in_pool, numbers, wave};
use crate::cpu::simd::SimdLevel;

fn ones(count: usize, dtype: DType) -> Tensor {
    Tensor::ones(count, dtype, &Device::Cpu).unwrap()
}

/// Word `(i mod 64) div 16` of block `16·(i div 64) + i mod 16`, one block at a time.
fn dropped(place: u64, threshold: u32, mask: u64, key: u64) -> bool {
    let block = 16 * (place / 64) + place % 16;
    let mut words = [block as u32, (block >> 32) as u32, mask as u32, (mask >> 32) as u32];
    let mut key = [key as u32, (key >> 32) as u32];
    for _ in 0..7 {
        let p = 0xD251_1F53u64 * u64::from(words[0]);
        let q = 0xCD9E_8D57u64 * u64::from(words[2]);
        words =
            [(q >> 32) as u32 ^ words[1] ^ key[0], q as u32, (p >> 32) as u32 ^ words[3] ^ key[1], p as u32];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    words[(place % 64 / 16) as usize] < threshold
}

#[test]
fn the_definition_holds_at_every_level_with_any_threads_and_in_every_type() {
    let (key, number) = (0x0123_4567_89ab_cdef, (1 << 40) + 3);
    for count in [1, 63, 64, 65, 40_000] {
        let mask = Mask::new(0.25, key, number);
        let expected: Vec<f64> = (0..count)
            .map(|place| if dropped(place, 1 << 30, number, key) { 0.0 } else { 4.0 / 3.0 })
            .collect();
        let xs = vec![1f64; count as usize];
        for level in SimdLevel::available() {
            assert!(in_pool(1, || mask.apply(level, &xs)) == expected, "{level} {count}");
            assert!(in_pool(2, || mask.apply(level, &xs)) == expected, "{level} {count}");
        }
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            let got = numbers(&dropout(&ones(count as usize, dtype), 0.25, key.into(), number).unwrap());
            assert!(
                got.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 5e-3 && (*a == 0.0) == (*b == 0.0))
            );
        }
    }
}

/// n = 10⁶ places, key 7: the fraction of the dropped ones is p, and that of a place and the one 1, 16 or 64 further
/// on, or of the next mask or key, is p², each within 4.9 standard errors (α = 1e-6). A mask of p + 0.005 is not.
#[test]
fn fractions() {
    let n = 1_000_000;
    let mask = |p: f64, key: u64, number: u64| -> Vec<bool> {
        let y = dropout(&ones(n, DType::F32), p, key.into(), number).unwrap();
        y.to_vec1::<f32>().unwrap().into_iter().map(|y| y == 0.0).collect()
    };
    let far = |count: usize, of: usize, p: f64| {
        (count as f64 / of as f64 - p).abs() / (p * (1.0 - p) / of as f64).sqrt()
    };
    for p in [0.01, 0.1, 0.5, 0.9] {
        let own = mask(p, 7, 0);
        let count = own.iter().filter(|dropped| **dropped).count();
        assert!(far(count, n, p) < 4.9, "{p}: {count}");
        let twin = mask(p + 0.005, 7, 0).into_iter().filter(|dropped| *dropped).count();
        assert!(far(twin, n, p) > 4.9, "the twin of {p}: {twin}");
        for other in [mask(p, 7, 1), mask(p, 8, 0)] {
            let both = own.iter().zip(&other).filter(|(a, b)| **a && **b).count();
            assert!(far(both, n, p * p) < 4.9, "{p}: {both}");
        }
        for shift in [1, 16, 64] {
            let both = own.iter().zip(&own[shift..]).filter(|(a, b)| **a && **b).count();
            assert!(far(both, n - shift, p * p) < 4.9, "{p} {shift}: {both}");
        }
    }
}

#[test]
fn the_backward_pass_has_the_same_mask() {
    for dtype in [DType::F32, DType::F64, DType::BF16] {
        let x = Var::from_tensor(&wave((30, 41), 0.0, dtype)).unwrap();
        let y = dropout(&x.t().unwrap(), 0.3, MaskKey::from(5), 9).unwrap();
        let g = wave((41, 30), 1.0, dtype);
        let gradient = (&y * &g).unwrap().sum_all().unwrap().backward().unwrap().get(&x).unwrap().clone();
        let expected = dropout(&g, 0.3, MaskKey::from(5), 9).unwrap().t().unwrap();
        assert_eq!(numbers(&gradient), numbers(&expected), "{dtype:?}");
        let other = dropout(&g, 0.3, MaskKey::from(5), 10).unwrap().t().unwrap();
        assert_ne!(numbers(&gradient), numbers(&other), "the next mask");
    }
}

#[test]
fn a_dropped_number_is_0_whatever_it_was() {
    let xs = Tensor::full(f32::NAN, 100, &Device::Cpu).unwrap();
    let y = dropout(&xs, 0.5, 1.into(), 0).unwrap().to_vec1::<f32>().unwrap();
    assert!(y.contains(&0.0) && y.iter().all(|y| y.is_nan() || *y == 0.0));
}

#[test]
fn probabilities_out_of_range_are_refused() {
    for p in [-0.1, 1.0, f64::NAN] {
        let error = dropout(&ones(3, DType::F32), p, 1.into(), 0).unwrap_err().to_string();
        assert!(error.contains("in [0, 1), not"), "{error}");
    }
    assert_eq!(numbers(&dropout(&ones(3, DType::F32), 0.0, 1.into(), 0).unwrap()), [1.0; 3]);
    let rare = dropout(&ones(1000, DType::F32), 1.0 - 1e-12, 1.into(), 0).unwrap();
    assert_eq!(numbers(&rare), [0.0; 1000]);
}
