//! What candle 0.11 gets wrong, and ours beside it. Where candle's is right one day, the test says so.

use candle_core::{DType, Module, Tensor, Var};
use candle_nn::{loss, ops as stock};
use wick_layers::{LayerNorm, RmsNorm, ops};
use wick_tests::{CPU, gradient_errors, normal, numbers};

const FIXED: &str = "candle has fixed this: strike it from the README and the pages that name the fault";

fn tensor(name: &str, shape: &[usize], dtype: DType) -> Tensor {
    normal(3, name, shape, dtype)
}

/// The gradient of the first input of an op, if it has one.
fn gradient(op: impl Fn(&Tensor) -> candle_core::Result<Tensor>) -> Option<Tensor> {
    let x = Var::from_tensor(&tensor("x", &[3, 5], DType::F32)).unwrap();
    op(&x).unwrap().sqr().unwrap().sum_all().unwrap().backward().unwrap().get(&x).cloned()
}

fn close(ours: Option<Tensor>, expected: Option<Tensor>) {
    let (ours, expected) = (numbers(&ours.unwrap()), numbers(&expected.unwrap()));
    assert!(ours.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{ours:?} {expected:?}");
}

#[test]
fn layer_norm_ends_the_gradient() {
    let [w, b] = ["w", "b"].map(|name| tensor(name, &[5], DType::F32));
    let theirs = candle_nn::LayerNorm::new(w.clone(), b.clone(), 1e-5);
    assert!(gradient(|x| theirs.forward(x)).is_none(), "LayerNorm: {FIXED}");
    let ours = LayerNorm::new(w.clone(), b.clone(), 1e-5);
    close(gradient(|x| ours.forward(x)), gradient(|x| stock::layer_norm_slow(x, &w, &b, 1e-5)));
}

#[test]
fn rms_norm_ends_the_gradient() {
    let w = tensor("w", &[5], DType::F32);
    let theirs = candle_nn::RmsNorm::new(w.clone(), 1e-5);
    assert!(gradient(|x| theirs.forward(x)).is_none(), "RmsNorm: {FIXED}");
    let ours = RmsNorm::new(w.clone(), 1e-5);
    close(gradient(|x| ours.forward(x)), gradient(|x| stock::rms_norm_slow(x, &w, 1e-5)));
}

#[test]
fn softmax_ends_the_gradient() {
    assert!(gradient(stock::softmax_last_dim).is_none(), "softmax_last_dim: {FIXED}");
    close(gradient(ops::softmax_last_dim), gradient(|x| stock::softmax(x, 1)));
}

/// Beside a residual stream, the gradient is there and wrong.
#[test]
fn beside_a_residual_stream_the_gradient_is_wrong() {
    let w = tensor("w", &[5], DType::F64);
    let x = tensor("x", &[3, 5], DType::F64);
    let block = |norm: fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>| {
        gradient_errors(|t: &[Tensor]| &t[0] + norm(&t[0], &w)?, std::slice::from_ref(&x))[0]
    };
    // candle's fused op takes no f64: in f32 and back, as a model would.
    let theirs = block(|x, w| {
        stock::rms_norm(&x.to_dtype(DType::F32)?, &w.to_dtype(DType::F32)?, 1e-2)?.to_dtype(DType::F64)
    });
    assert!(theirs > 0.05, "RmsNorm beside a residual stream, {theirs:e}: {FIXED}");
    let ours = block(|x, w| RmsNorm::new(w.clone(), 1e-2).forward(x));
    assert!(ours < 1e-9, "{ours:e}");
}

#[test]
fn fused_norms_take_no_f64() {
    let (x, w) = (tensor("x", &[3, 5], DType::F64), tensor("w", &[5], DType::F64));
    assert!(stock::layer_norm(&x, &w, &w, 1e-5).is_err(), "layer_norm of f64: {FIXED}");
    assert!(stock::rms_norm(&x, &w, 1e-5).is_err(), "rms_norm of f64: {FIXED}");
    assert!(ops::layer_norm(&x, &w, &w, 1e-5).is_ok() && ops::rms_norm(&x, &w, 1e-5).is_ok());
}

#[test]
fn binary_cross_entropy_of_large_logits() {
    let x = Var::new(&[[20f32, 20.0, -20.0, 200.0]], &CPU).unwrap();
    let y = Tensor::new(&[[1f32, 0.0, 1.0, 0.0]], &CPU).unwrap();
    let theirs = loss::binary_cross_entropy_with_logit(&x, &y).unwrap();
    assert!(!numbers(&theirs)[0].is_finite(), "binary_cross_entropy_with_logit: {FIXED}");
    let gradients = theirs.backward().unwrap();
    let broken = numbers(gradients.get(&x).unwrap()).iter().any(|g| !g.is_finite());
    assert!(broken, "the gradient of binary_cross_entropy_with_logit: {FIXED}");
    let ours = wick_layers::loss::binary_cross_entropy_with_logit(&x, &y).unwrap();
    assert!((numbers(&ours)[0] - 60.0).abs() < 1e-5, "{ours}");
    let gradient = numbers(ours.backward().unwrap().get(&x).unwrap());
    let expected = [-(-20f64).exp() / 4.0, 0.25, -0.25, 0.25];
    assert!(gradient.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-8), "{gradient:?}");
}

/// On a CPU, candle's random numbers have no seed, and so its dropout has none.
#[test]
fn dropout_has_no_seed() {
    assert!(CPU.set_seed(1).is_err(), "Device::set_seed on a CPU: {FIXED}");
    let x = Tensor::ones(1000, DType::F32, &CPU).unwrap();
    let masked = |key: u64| numbers(&wick_layers::Dropout::new(0.5, key).forward(&x, true).unwrap());
    assert!(masked(1) == masked(1) && masked(1) != masked(2));
}
