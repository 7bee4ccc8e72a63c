//! What candle 0.11 gets wrong, and the same right. When a test fails at its first half, candle has been fixed: then the
//! fault's line in the documentation has to go.

use candle_core::{DType, Result, Tensor, Var};
use wick_layers::{PoolOptions, avg_pool2d, max_pool2d, max_pool2d_with, upsample_nearest2d};
use wick_tests::{CPU, gradient_errors, largest, normal, numbers};

const FIXED: &str = "candle has been fixed here: take the fault out of docs/layers.md";

fn x(shape: &[usize]) -> Tensor {
    normal(5, "x", shape, DType::F64)
}

/// The worst error of candle's gradients and of ours.
fn both(
    candle: impl Fn(&[Tensor]) -> Result<Tensor>,
    ours: impl Fn(&[Tensor]) -> Result<Tensor>,
    inputs: &[Tensor],
) -> [f64; 2] {
    let worst = |errors: Vec<f64>| errors.into_iter().fold(0.0, f64::max);
    [worst(gradient_errors(candle, inputs)), worst(gradient_errors(ours, inputs))]
}

fn wrong_and_right([candle, ours]: [f64; 2]) {
    assert!(candle > 1e-2, "{FIXED} ({candle:e})");
    assert!(ours < 1e-7, "{ours:e}");
}

/// Whether candle refuses the backward pass.
fn refuses(op: impl Fn(&Tensor) -> Result<Tensor>, x: &Tensor) -> bool {
    let x = Var::from_tensor(x).unwrap();
    op(&x).and_then(|y| y.sum_all()?.backward()).is_err()
}

#[test]
fn conv1d_weights_of_two_samples() {
    let (x, w) = (x(&[2, 2, 6]), normal(5, "w", (3, 2, 3), DType::F64));
    let candle = |t: &[Tensor]| t[0].conv1d(&t[1], 0, 1, 1, 1);
    wrong_and_right(both(candle, |t| wick_kernels::conv1d(&t[0], &t[1], None, 0, 1, 1, 1), &[x, w]));
}

#[test]
fn conv1d_with_a_turned_weight() {
    let (x, w) = (x(&[2, 2, 6]), normal(5, "w", (3, 2, 3), DType::F64).transpose(0, 2).unwrap());
    let whole = w.contiguous().unwrap();
    let expected = numbers(&x.conv1d(&whole, 0, 1, 1, 1).unwrap());
    let off = |y: Tensor| largest(numbers(&y).iter().zip(&expected).map(|(a, b)| (a - b).abs()));
    assert!(off(x.conv1d(&w, 0, 1, 1, 1).unwrap()) > 1e-2, "{FIXED}");
    assert!(off(wick_kernels::conv1d(&x, &w, None, 0, 1, 1, 1).unwrap()) < 1e-12);
}

#[test]
fn conv2d_with_stride_2_on_8_by_5() {
    let (x, w) = (x(&[1, 1, 8, 5]), normal(5, "w", (1, 1, 3, 3), DType::F64));
    assert!(refuses(|x| x.conv2d(&w, 1, 2, 1, 1), &x), "{FIXED}");
    let window = wick_kernels::Window::square(2, 1, 1);
    let errors = gradient_errors(|t| wick_kernels::conv2d(&t[0], &t[1], None, window, 1), &[x, w]);
    assert!(errors.iter().all(|&error| error < 1e-7), "{errors:?}");
}

/// A unique maximum of four gets a quarter of its gradient.
#[test]
fn max_pool_of_a_unique_maximum() {
    wrong_and_right(both(|t| t[0].max_pool2d(2), |t| max_pool2d(&t[0], 2), &[x(&[1, 2, 4, 6])]));
}

/// Four equal pixels get four gradients.
#[test]
fn max_pool_of_ties() {
    let total = |op: &dyn Fn(&Tensor) -> Result<Tensor>| {
        let x = Var::ones((1, 1, 2, 2), DType::F64, &CPU).unwrap();
        let gradients = op(&x).unwrap().sum_all().unwrap().backward().unwrap();
        numbers(gradients.get(&x).unwrap()).iter().sum::<f64>()
    };
    assert!(total(&|x| x.max_pool2d(2)) > 1.5, "{FIXED}");
    assert_eq!(total(&|x| max_pool2d(x, 2)), 1.0);
}

#[test]
fn max_pool_with_a_stride_of_its_own() {
    let x = x(&[1, 2, 7, 7]);
    assert!(refuses(|x| x.max_pool2d_with_stride(3, 2), &x), "{FIXED}");
    let stem = PoolOptions::default().with_stride(2).with_padding(1);
    assert!(gradient_errors(|t| max_pool2d_with(&t[0], 3, stem), &[x])[0] < 1e-7);
}

#[test]
fn average_pool_that_does_not_divide() {
    for (size, k) in [(5, 2), (8, 3), (7, 3)] {
        wrong_and_right(both(|t| t[0].avg_pool2d(k), |t| avg_pool2d(&t[0], k), &[x(&[1, 2, size, size])]));
    }
}

/// The gradient of the other use is overwritten, whichever of the two candle meets last.
#[test]
fn upsampled_beside_another_use() {
    type Op<'a> = &'a dyn Fn(&Tensor) -> Result<Tensor>;
    let worst = |up: Op| {
        let first = |t: &[Tensor]| up(&t[0])?.sum_all()? + t[0].sqr()?.sum_all()?;
        let second = |t: &[Tensor]| t[0].sqr()?.sum_all()? + up(&t[0])?.sum_all()?;
        let x = x(&[1, 1, 2, 3]);
        gradient_errors(first, std::slice::from_ref(&x))[0].max(gradient_errors(second, &[x])[0])
    };
    let candle = worst(&|x| x.upsample_nearest2d(4, 6));
    wrong_and_right([candle, worst(&|x| upsample_nearest2d(x, 4, 6))]);
}

#[test]
fn upsampling_by_other_sizes_and_transposed_conv1d_have_no_backward_pass() {
    assert!(refuses(|x| x.upsample_nearest2d(4, 3), &x(&[1, 1, 2, 3])), "{FIXED}");
    assert!(refuses(|x| x.upsample_bilinear2d(4, 3, false), &x(&[1, 1, 2, 3])), "{FIXED}");
    let w = normal(5, "w", (2, 1, 3), DType::F64);
    assert!(refuses(|x| x.conv_transpose1d(&w, 0, 0, 2, 1, 1), &x(&[1, 2, 4])), "{FIXED}");
    let errors = [
        gradient_errors(|t| upsample_nearest2d(&t[0], 4, 3), &[x(&[1, 1, 2, 3])]),
        gradient_errors(|t| wick_layers::upsample_bilinear2d(&t[0], 4, 3, false), &[x(&[1, 1, 2, 3])]),
        gradient_errors(|t| wick_kernels::conv_transpose1d(&t[0], &w, None, 0, 0, 2, 1, 1), &[x(&[1, 2, 4])]),
    ];
    assert!(errors.iter().flatten().all(|&error| error < 1e-7), "{errors:?}");
}

#[test]
fn scatters_swap_the_gradients_of_what_is_there() {
    let indexes = Tensor::new(&[[0u32, 2], [1, 0]], &CPU).unwrap();
    let inputs = [x(&[2, 3]), normal(5, "source", (2, 2), DType::F64)];
    wrong_and_right(both(
        |t| t[0].scatter(&indexes, &t[1], 1),
        |t| wick_layers::scatter(&t[0], &indexes, &t[1], 1),
        &inputs[..1].iter().chain(&inputs[1..]).cloned().collect::<Vec<_>>(),
    ));
    let square = Tensor::new(&[[0u32, 2, 2], [1, 0, 0]], &CPU).unwrap();
    wrong_and_right(both(
        |t| t[0].scatter_add(&square, &t[1], 1),
        |t| wick_layers::scatter_add(&t[0], &square, &t[1], 1),
        &[x(&[2, 3]), normal(5, "source", (2, 3), DType::F64)],
    ));
}
