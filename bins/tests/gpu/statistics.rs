//! Statistics of tensors.

use candle_core::{DType, Device, Tensor};
use wick_kernels::{share_outside, summarize};

use super::Test;
use super::kernels::assert_alike;
use super::numbers::{CPU, TYPES, normal};

pub(crate) const TESTS: &[Test] = &[
    ("summaries", summaries),
    ("summaries_of_odd_tensors", summaries_of_odd_tensors),
    ("summaries_far_from_zero", summaries_far_from_zero),
    ("summaries_are_the_same_bits_again", summaries_are_the_same_bits_again),
    ("shares_outside", shares_outside),
];

fn summaries(gpu: &Device) {
    for dtype in TYPES {
        for count in [1, 3, 4, 255, 1025, 100_003] {
            let xs = normal("x", count, dtype);
            for range in [None, Some((-1.0, 1.0)), Some((0.5, 0.5))] {
                for bins in [1, 30, 1000, 5000] {
                    let got = summarize(&xs.to_device(gpu).unwrap(), range, bins).unwrap();
                    let what = format!("{count} of {dtype:?} in {bins} bins of {range:?}");
                    assert_alike(&what, &got, &summarize(&xs, range, bins).unwrap());
                }
            }
            // The twin: one element more, or a bin more.
            let got = summarize(&xs.to_device(gpu).unwrap(), None, 30).unwrap();
            assert_ne!(got.count, summarize(&normal("x", count + 1, dtype), None, 30).unwrap().count);
            assert_ne!(got.histogram, summarize(&xs, None, 31).unwrap().histogram);
        }
    }
}

/// Views, integers, equal numbers, infinities and NaN.
fn summaries_of_odd_tensors(gpu: &Device) {
    let plain = normal("x", (40, 25), DType::F32);
    let part = plain.narrow(1, 3, 17).unwrap();
    let mut with_nan = vec![1f32, -2.0, f32::NAN, 5.0];
    let tensors = [
        plain.t().unwrap(),
        part,
        plain.narrow(0, 1, 1).unwrap(),
        Tensor::full(3f32, 1000, &CPU).unwrap(),
        Tensor::new(&[1u32, 2, 3], &CPU).unwrap(),
    ];
    for xs in tensors {
        let there = xs.to_device(gpu).unwrap();
        let what = format!("{:?}", xs.shape());
        assert_alike(&what, &summarize(&there, None, 7).unwrap(), &summarize(&xs, None, 7).unwrap());
    }
    for extra in [1.0, f32::INFINITY] {
        with_nan.push(extra);
        let xs = Tensor::new(with_nan.as_slice(), &CPU).unwrap();
        let (got, expected) =
            (summarize(&xs.to_device(gpu).unwrap(), None, 7).unwrap(), summarize(&xs, None, 7).unwrap());
        assert_eq!((got.count, got.min, got.max), (expected.count, expected.min, expected.max));
        assert!(got.mean.is_nan() && expected.mean.is_nan());
        assert_eq!(got.histogram, expected.histogram);
    }
    let nan = summarize(&Tensor::full(f32::NAN, 9, gpu).unwrap(), None, 7).unwrap();
    assert!(nan.min.is_nan() && nan.max.is_nan() && nan.histogram.outside == 9, "{nan:?}");
}

/// A variance of 1e-4 beside a mean of 1e4, where naive sums of squares have no digit left: within 1e-9.
fn summaries_far_from_zero(gpu: &Device) {
    let xs = ((normal("x", 200_000, DType::F64) * 1e-2).unwrap() + 1e4).unwrap();
    let got = summarize(&xs.to_device(gpu).unwrap(), None, 30).unwrap();
    let expected = summarize(&xs, None, 30).unwrap();
    assert!((got.std / expected.std - 1.0).abs() < 1e-9, "{} for {}", got.std, expected.std);
    let squares =
        (xs.sqr().unwrap().mean_all().unwrap().to_scalar::<f64>().unwrap() - expected.mean.powi(2)).abs();
    assert!((squares.sqrt() / expected.std - 1.0).abs() > 1e-9, "the naive twin");
}

fn summaries_are_the_same_bits_again(gpu: &Device) {
    let xs = normal("x", 300_001, DType::F32).to_device(gpu).unwrap();
    let first = summarize(&xs, None, 30).unwrap();
    for _ in 0..3 {
        assert_eq!(summarize(&xs, None, 30).unwrap(), first);
    }
}

fn shares_outside(gpu: &Device) {
    let xs = normal("x", 10_007, DType::F32);
    for (low, high) in [(-1.0, 1.0), (f64::NEG_INFINITY, 0.3), (-0.1, f64::INFINITY), (0.0, 0.0)] {
        let expected = share_outside(&xs, low, high).unwrap();
        assert_eq!(share_outside(&xs.to_device(gpu).unwrap(), low, high).unwrap(), expected);
        assert!(expected > 0.0);
    }
}
