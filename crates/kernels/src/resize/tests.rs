//! Tests of the resized images: against products with matrices, and by hand.

use candle_core::{DType, Device, Tensor, Var};

use super::{Axis, Resize, composed, resize, upsample_bilinear2d, upsample_nearest2d};
use crate::cpu::checks::worst;

fn wave(shape: &[usize]) -> Tensor {
    let count = shape.iter().product::<usize>();
    let values: Vec<f64> = (0..count).map(|i| (i as f64 * 1.7 + 0.3).sin() * 2.0).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn with_gradient(x: &Tensor, op: impl Fn(&Tensor) -> Tensor) -> Vec<f64> {
    let x = Var::from_tensor(x).unwrap();
    let y = op(&x);
    let gradients = (&y * wave(y.dims())).unwrap().sum_all().unwrap().backward().unwrap();
    [numbers(&y), numbers(gradients.get(&x).unwrap())].concat()
}

#[test]
fn any_sizes_are_products_with_matrices() {
    for old in [1, 2, 3, 5, 8] {
        for new in [1, 2, 3, 4, 7, 16] {
            let x = wave(&[2, 3, old, 9 - old]);
            let axes = |linear: Option<bool>| {
                let axis = |old, new| match linear {
                    Some(align) => Axis::linear(old, new, align),
                    None => Axis::nearest(old, new),
                };
                Resize { rows: axis(old, new), columns: axis(9 - old, new + 2), linear: linear.is_some() }
            };
            for linear in [None, Some(false), Some(true)] {
                let ours = with_gradient(&x, |x| resize(x, axes(linear)).unwrap());
                let theirs = with_gradient(&x, |x| composed(x, &axes(linear)).unwrap());
                let off = worst(ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()));
                assert!(ours.len() == theirs.len() && off < 1e-13, "{linear:?} {old} {new}: {off}");
            }
        }
    }
    // The two alignments are different, forward and backward.
    let x = wave(&[1, 1, 3, 3]);
    let aligned = with_gradient(&x, |x| upsample_bilinear2d(x, 5, 5, true).unwrap());
    let other = with_gradient(&x, |x| upsample_bilinear2d(x, 5, 5, false).unwrap());
    let off =
        |range: std::ops::Range<usize>| range.map(|i| (aligned[i] - other[i]).abs()).fold(0.0, f64::max);
    assert!(off(0..25) > 0.1 && off(25..34) > 0.1);
}

/// An infinite pixel stays within its own new pixels.
#[test]
fn nearest_pixels_are_copies() {
    let x = Tensor::new(&[[[[f32::INFINITY, 1.0], [2.0, f32::NAN]]]], &Device::Cpu).unwrap();
    let y = numbers(&upsample_nearest2d(&x, 2, 4).unwrap());
    assert_eq!(y[..6], [f64::INFINITY, f64::INFINITY, 1.0, 1.0, 2.0, 2.0]);
    assert!(y[6].is_nan() && y[7].is_nan());
}

#[test]
fn halves_are_rounded_once_and_sizes_of_0_are_named() {
    let x = wave(&[1, 2, 3, 4]);
    for dtype in [DType::BF16, DType::F16] {
        let half = x.to_dtype(dtype).unwrap();
        let y = upsample_bilinear2d(&half, 5, 7, false).unwrap();
        let wide = upsample_bilinear2d(&half.to_dtype(DType::F32).unwrap(), 5, 7, false).unwrap();
        assert_eq!(numbers(&y), numbers(&wide.to_dtype(dtype).unwrap()));
    }
    let error = upsample_nearest2d(&x, 0, 3).unwrap_err().to_string();
    assert!(error.contains("images of [3, 4] cannot become images of [0, 3]"), "{error}");
    assert_eq!(upsample_nearest2d(&wave(&[0, 2, 3, 4]), 6, 8).unwrap().dims(), [0, 2, 6, 8]);
}
