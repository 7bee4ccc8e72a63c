//! Statistics of tensors.

use candle_core::{DType, Device, Tensor, Var};
use wick_kernels::{dot, fraction_outside, summarize};

use super::Test;
use super::kernels::assert_alike;
use super::numbers::{CPU, TYPES, epsilon, flat, normal};

pub(crate) const TESTS: &[Test] = &[
    ("summaries", summaries),
    ("summaries_of_odd_tensors", summaries_of_odd_tensors),
    ("summaries_far_from_zero", summaries_far_from_zero),
    ("bins_at_their_edges", bins_at_their_edges),
    ("summaries_are_the_same_bits_again", summaries_are_the_same_bits_again),
    ("sums_of_products", sums_of_products),
    ("fractions_outside", fractions_outside),
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
            // The twin has one element more, or one bin more.
            let got = summarize(&xs.to_device(gpu).unwrap(), None, 30).unwrap();
            assert_ne!(got.count, summarize(&normal("x", count + 1, dtype), None, 30).unwrap().count);
            assert_ne!(got.histogram, summarize(&xs, None, 31).unwrap().histogram);
        }
    }
}

/// Summaries of views, integers, equal numbers, infinities and NaN.
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

/// A variance of 1e-4 with a mean of 1e4 is within 1e-9, where naive sums of squares have no correct digit.
fn summaries_far_from_zero(gpu: &Device) {
    let xs = ((normal("x", 200_000, DType::F64) * 1e-2).unwrap() + 1e4).unwrap();
    let got = summarize(&xs.to_device(gpu).unwrap(), None, 30).unwrap();
    let expected = summarize(&xs, None, 30).unwrap();
    assert!((got.std / expected.std - 1.0).abs() < 1e-9, "{} for {}", got.std, expected.std);
    let squares =
        (xs.sqr().unwrap().mean_all().unwrap().to_scalar::<f64>().unwrap() - expected.mean.powi(2)).abs();
    assert!((squares.sqrt() / expected.std - 1.0).abs() > 1e-9, "the naive twin");
}

/// Numbers at every edge, next to it, and at the distance of the guess's error, for every way to count, and
/// for ranges near and far from 0.
fn bins_at_their_edges(gpu: &Device) {
    let ranges = [
        (-1.0, 1.0),
        (0.0, 1.0),
        (-0.278_464_5, 3.7),
        (1e4, 1e4 + 1.0),
        (1e7, 1e7 + 3.0),
        (-1e30, 2e30),
        (-3e38, 3e38),
        (1e-30, 3e-30),
        (1e-36, 3e-36),
    ];
    for (low, high) in ranges {
        for bins in [1, 2, 7, 30, 127, 128, 129, 1000, 4096] {
            let mut values = vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, f32::MAX, f32::MIN];
            let width = (high - low) / bins as f64;
            for edge in -1..=bins as i32 + 1 {
                let x = low + width * f64::from(edge);
                let near = x as f32;
                values.extend([near.next_down().next_down(), near.next_down(), near, near.next_up()]);
                values.extend([1e-7, 1e-6, 1e-5, 0.3].map(|off| (x + off * width * bins as f64) as f32));
                values.extend([1e-7, 1e-6, 1e-5, 0.3].map(|off| (x - off * width * bins as f64) as f32));
            }
            let xs = Tensor::new(values.as_slice(), &CPU).unwrap();
            for dtype in [DType::F32, DType::F64] {
                let xs = xs.to_dtype(dtype).unwrap();
                let got = summarize(&xs.to_device(gpu).unwrap(), Some((low, high)), bins).unwrap();
                let expected = summarize(&xs, Some((low, high)), bins).unwrap();
                assert_eq!(got.histogram, expected.histogram, "{dtype:?} {low} {high} {bins}");
                assert_eq!(got.histogram.outside, expected.histogram.outside);
            }
        }
    }
}

/// Sums of products in all types, with gradients. Their bits are the same in every run.
fn sums_of_products(gpu: &Device) {
    for dtype in TYPES {
        for count in [1, 3, 4, 1025, 100_003] {
            let both = [normal("a", count, dtype), normal("b", count, dtype)];
            let expected: f64 = flat(&both[0]).iter().zip(flat(&both[1])).map(|(a, b)| a * b).sum();
            let size: f64 = flat(&both[0]).iter().zip(flat(&both[1])).map(|(a, b)| (a * b).abs()).sum();
            let [a, b] = both.each_ref().map(|x| Var::from_tensor(&x.to_device(gpu).unwrap()).unwrap());
            let sum = dot(&a, &b).unwrap();
            assert!(sum.device().is_cuda() && sum.dtype() == dtype && sum.dims().is_empty());
            let got = flat(&sum)[0];
            assert!(
                (got - expected).abs() <= epsilon(dtype) * expected.abs() + 1e-14 * size,
                "{count} {dtype:?}: {got} for {expected}"
            );
            assert_eq!(flat(&dot(&a, &b).unwrap())[0], got);
            let gradients = (sum * -0.5).unwrap().backward().unwrap();
            for (var, other) in [(&a, &both[1]), (&b, &both[0])] {
                assert_eq!(flat(gradients.get(var).unwrap()), flat(&(other * -0.5).unwrap()));
            }
        }
    }
    // Both factors are the same transposed tensor.
    let x = normal("x", (40, 25), DType::F64);
    let squares = flat(&x).iter().map(|x| x * x).sum::<f64>();
    let there = Var::from_tensor(&x.to_device(gpu).unwrap()).unwrap();
    let sum = dot(&there.t().unwrap(), &there.t().unwrap()).unwrap();
    assert!((flat(&sum)[0] / squares - 1.0).abs() < 1e-13);
    assert_eq!(flat(sum.backward().unwrap().get(&there).unwrap()), flat(&(x * 2.0).unwrap()));
}

fn summaries_are_the_same_bits_again(gpu: &Device) {
    let xs = normal("x", 300_001, DType::F32).to_device(gpu).unwrap();
    let first = summarize(&xs, None, 30).unwrap();
    for _ in 0..3 {
        assert_eq!(summarize(&xs, None, 30).unwrap(), first);
    }
}

fn fractions_outside(gpu: &Device) {
    let xs = normal("x", 10_007, DType::F32);
    for (low, high) in [(-1.0, 1.0), (f64::NEG_INFINITY, 0.3), (-0.1, f64::INFINITY), (0.0, 0.0)] {
        let expected = fraction_outside(&xs, low, high).unwrap();
        assert_eq!(fraction_outside(&xs.to_device(gpu).unwrap(), low, high).unwrap(), expected);
        assert!(expected > 0.0);
    }
}
