//! Tests of the pools: against candle's ops over random settings, ties, NaN, refusals.

use candle_core::{DType, Device, Tensor, Var};

use super::pooling::Pooling;
use super::{avg_pool2d, composed, max_pool2d};
use crate::conv::geometry::{Geometry, Window};

fn wave(shape: (usize, usize, usize, usize), dtype: DType) -> Tensor {
    let count = shape.0 * shape.1 * shape.2 * shape.3;
    let values: Vec<f64> = (0..count).map(|i| (i as f64 * 1.7 + 0.3).sin() * 2.0).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The outputs, and the gradient of their sum with unequal weights.
fn with_gradient(x: &Tensor, op: impl Fn(&Tensor) -> Tensor) -> [Vec<f64>; 2] {
    let x = Var::from_tensor(x).unwrap();
    let y = op(&x).flatten_all().unwrap();
    let weights: Vec<f64> = (0..y.elem_count()).map(|i| 0.4 + (0.7 * i as f64).cos()).collect();
    let weights = Tensor::new(weights, &Device::Cpu).unwrap().to_dtype(y.dtype()).unwrap();
    let gradients = (&y * weights).unwrap().sum_all().unwrap().backward().unwrap();
    [numbers(&y), numbers(gradients.get(&x).unwrap())]
}

fn near(a: &[f64], b: &[f64], bound: f64) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || (a - b).abs() <= bound * b.abs().max(1.0))
}

#[test]
fn random_settings_are_candles_ops() {
    let mut state = 5u64;
    let mut choose = |from: usize, count: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        from + (state >> 33) as usize % count
    };
    let mut done = 0;
    while done < 200 {
        let shape = (choose(1, 3), choose(1, 3), choose(1, 14), choose(1, 14));
        let kernel = [choose(1, 4), choose(1, 4)];
        let window = Window {
            stride: [choose(1, 4), choose(1, 4)],
            padding: kernel.map(|k| choose(0, k / 2 + 1)),
            dilation: [choose(1, 2), choose(1, 2)],
        };
        let g = Geometry::new("", (shape.0 * shape.1, 1, [shape.2, shape.3]), (1, 1, kernel), window, 1);
        let Ok(g) = g else { continue };
        done += 1;
        for (dtype, bound) in [(DType::F64, 1e-14), (DType::F32, 1e-6)] {
            let x = wave(shape, dtype);
            for include in [None, Some(true), Some(false)] {
                let pooling =
                    include.map_or(Pooling::Max, |include_padding| Pooling::Mean { include_padding });
                let ours = with_gradient(&x, |x| match include {
                    None => max_pool2d(x, kernel, window).unwrap(),
                    Some(include) => avg_pool2d(x, kernel, window, include).unwrap(),
                });
                let theirs = with_gradient(&x, |x| composed::pool(pooling, &g, x).unwrap());
                for (ours, theirs) in ours.iter().zip(&theirs) {
                    assert!(near(ours, theirs, bound), "{pooling:?} {g:?} {dtype:?}: {ours:?} {theirs:?}");
                }
            }
        }
    }
}

/// The comparison can fail: the padding counts, or does not.
#[test]
fn the_padding_counts_if_asked() {
    let x = wave((1, 1, 4, 4), DType::F64);
    let mean =
        |include| with_gradient(&x, |x| avg_pool2d(x, [3, 3], Window::square(1, 1, 1), include).unwrap());
    assert!(mean(true).iter().zip(&mean(false)).all(|(with, without)| !near(with, without, 1e-3)));
}

#[test]
fn the_first_of_equal_pixels_and_a_nan_are_taken() {
    let equal = Tensor::ones((1, 1, 4, 4), DType::F32, &Device::Cpu).unwrap();
    let op = |x: &Tensor| max_pool2d(x, [3, 3], Window::square(1, 1, 1)).unwrap().sum_all().unwrap();
    let [_, gradient] = with_gradient(&equal, op);
    let first =
        [4.0, 2.0, 2.0, 0.0, 2.0, 1.0, 1.0, 0.0, 2.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0].map(|g| g * 1.4);
    assert!(near(&gradient, &first, 1e-6), "{gradient:?}");
    let nan = Tensor::new(&[[[[f32::INFINITY, f32::NAN], [5.0, f32::NEG_INFINITY]]]], &Device::Cpu).unwrap();
    let [y, gradient] = with_gradient(&nan, |x| max_pool2d(x, [2, 2], Window::default()).unwrap());
    assert!(y[0].is_nan() && near(&gradient, &[0.0, 1.4, 0.0, 0.0], 1e-6), "{y:?} {gradient:?}");
}

#[test]
fn threads_change_no_bit_and_half_is_rounded_once() {
    let x = wave((40, 7, 19, 23), DType::F32);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let window = Window::square(2, 1, 1);
            let max = with_gradient(&x, |x| max_pool2d(x, [3, 3], window).unwrap());
            (max, with_gradient(&x, |x| avg_pool2d(x, [3, 3], window, true).unwrap()))
        })
    };
    assert!(run(1) == run(2));
    for dtype in [DType::BF16, DType::F16] {
        let x = x.to_dtype(dtype).unwrap();
        let wide = avg_pool2d(&x.to_dtype(DType::F32).unwrap(), [3, 3], Window::default(), true).unwrap();
        let half = avg_pool2d(&x, [3, 3], Window::default(), true).unwrap();
        assert_eq!(half.dtype(), dtype);
        assert_eq!(numbers(&half), numbers(&wide.to_dtype(dtype).unwrap()));
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let x = wave((1, 1, 4, 4), DType::F32);
    let fail = |kernel, window| max_pool2d(&x, kernel, window).unwrap_err().to_string();
    assert!(fail([2, 2], Window::square(2, 2, 1)).contains("more than half of the kernel [2, 2]"));
    assert!(fail([5, 5], Window::default()).contains("does not fit into an image of [4, 4]"));
    assert!(fail([0, 2], Window::default()).contains("has no entries"));
    let none = Tensor::zeros((0, 3, 4, 4), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(max_pool2d(&none, [2, 2], Window::square(2, 0, 1)).unwrap().dims(), [0, 3, 2, 2]);
    assert_eq!(avg_pool2d(&none, [2, 2], Window::square(2, 0, 1), true).unwrap().dims(), [0, 3, 2, 2]);
}
