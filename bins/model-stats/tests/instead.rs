//! What model-stats says to use instead of an operation that cuts the graph: each exists, gives what the fused one
//! gives, and has the whole gradient, which the fused one has not.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::kv_cache::{ConcatKvCache, KvCache};
use candle_nn::{LayerNorm, Module, RmsNorm, ops, rotary_emb};
use wick_probe::check_gradient;

fn drawn(name: &str, shape: &[usize]) -> Var {
    let key = wick_init::KeyedV1::new(5).key(name);
    let drawn = wick_init::Initializer::normal(1.0).tensor(key, shape, DType::F32, &Device::Cpu).unwrap();
    Var::from_tensor(&drawn).unwrap()
}

/// A loss in which every output has a weight of its own.
fn loss(outputs: &Tensor) -> Result<Tensor> {
    let weights = Tensor::arange(1f32, outputs.elem_count() as f32 + 1.0, &Device::Cpu)?;
    (outputs.flatten_all()? * weights.cos()?)?.sum_all()
}

/// Compares an operation with what is to be used instead, as functions of one variable.
fn check(
    name: &str,
    shape: &[usize],
    fused: impl Fn(&Tensor) -> Result<Tensor>,
    instead: impl Fn(&Tensor) -> Result<Tensor>,
) {
    let x = drawn(name, shape);
    let vars = [("x".to_owned(), x.clone())];
    let difference = (fused(&x).unwrap() - instead(&x).unwrap()).unwrap().abs().unwrap().max_all().unwrap();
    assert!(difference.to_scalar::<f32>().unwrap() < 1e-5, "{name}: {difference}");
    let has_gradient = |run: &dyn Fn(&Tensor) -> Result<Tensor>| {
        let loss = run(&x).and_then(|outputs| loss(&outputs)).unwrap();
        loss.backward().unwrap().get(x.as_tensor()).is_some()
    };
    assert!(!has_gradient(&fused), "{name}: the fused one has a gradient");
    assert!(has_gradient(&instead), "{name}: no gradient");
    let check = check_gradient(&vars, || loss(&instead(&x)?)).unwrap();
    assert!(check.is_whole(), "{name}: {check:?}");
    // The twin: what is cut off in part has another gradient than the loss.
    let half = check_gradient(&vars, || {
        loss(&(fused(&x)? + x.as_tensor().narrow(D::Minus1, 0, 1)?.broadcast_as(fused(&x)?.shape())?)?)
    });
    assert!(!half.unwrap().is_whole(), "{name}: a partial gradient is taken for a whole one");
}

#[test]
fn norms_and_softmax() {
    let (gain, bias) = (drawn("gain", &[6]), drawn("bias", &[6]));
    let gain = gain.as_detached_tensor();
    let bias = bias.as_detached_tensor();
    check(
        "LayerNorm",
        &[3, 6],
        |xs| LayerNorm::new(gain.clone(), bias.clone(), 1e-5).forward(xs),
        |xs| ops::layer_norm_slow(xs, &gain, &bias, 1e-5),
    );
    let norm = RmsNorm::new(gain.clone(), 1e-5);
    check("RmsNorm", &[3, 6], |xs| norm.forward(xs), |xs| norm.forward_diff(xs));
    check("rms_norm", &[3, 6], |xs| norm.forward(xs), |xs| ops::rms_norm_slow(xs, &gain, 1e-5));
    check("softmax", &[3, 6], ops::softmax_last_dim, |xs| ops::softmax(xs, D::Minus1));
}

#[test]
fn positions_and_caches() {
    let angles = drawn("angles", &[5, 4]);
    let (cos, sin) = (angles.cos().unwrap().detach(), angles.sin().unwrap().detach());
    let shape = [2, 3, 5, 8];
    check("rope", &shape, |xs| rotary_emb::rope(xs, &cos, &sin), |xs| rotary_emb::rope_slow(xs, &cos, &sin));
    check(
        "KvCache",
        &shape,
        |xs| Ok(KvCache::new(2, 16).append(&xs.contiguous()?, &xs.contiguous()?)?.0),
        |xs| Tensor::cat(&[xs.narrow(2, 0, 2)?, xs.narrow(2, 2, 3)?], 2),
    );
    // The cache that concatenates is no way out: it detaches what it is given.
    let x = drawn("cache", &shape);
    let (keys, _) = ConcatKvCache::new(2).append(&x, &x).unwrap();
    assert!(loss(&keys).unwrap().backward().unwrap().get(x.as_tensor()).is_none());
}

/// The largest of shifted slices has the values of a max-pool and a whole gradient. candle's max-pool is an error in
/// the backward pass if its kernel is not its stride, and else has a quarter of the gradient for a kernel of 2. An
/// average pool whose stride is its kernel has the whole one.
#[test]
fn pools() {
    let x = drawn("pool", &[2, 3, 6, 6]);
    let vars = [("x".to_owned(), x.clone())];
    let pooled = x.max_pool2d_with_stride(3, 1).unwrap();
    assert!(pooled.sum_all().unwrap().backward().unwrap_err().to_string().contains("maxpool2d"));
    let slices = || -> Result<Tensor> {
        let mut largest = x.narrow(2, 0, 4)?.narrow(3, 0, 4)?;
        for (i, j) in (0..3).flat_map(|i| (0..3).map(move |j| (i, j))).skip(1) {
            largest = largest.maximum(&x.narrow(2, i, 4)?.narrow(3, j, 4)?)?;
        }
        Ok(largest)
    };
    let difference = (slices().unwrap() - pooled).unwrap().abs().unwrap().max_all().unwrap();
    assert_eq!(difference.to_scalar::<f32>().unwrap(), 0.0);
    assert!(check_gradient(&vars, || loss(&slices()?)).unwrap().is_whole());
    assert!(check_gradient(&vars, || loss(&x.avg_pool2d(2)?)).unwrap().is_whole());
    let check = check_gradient(&vars, || loss(&x.max_pool2d(2)?)).unwrap();
    assert!((check.quotients[1] - 4.0).abs() < 0.1 && !check.is_whole(), "{check:?}");
}
