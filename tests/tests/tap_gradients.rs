//! The gradients that taps receive, against finite differences: in f64, in three kinds of nets.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use candle_core::{DType, Result, Tensor};
use candle_nn::{Conv2dConfig, Module, VarBuilder, conv2d, layer_norm_no_bias, linear, linear_no_bias};
use wick_init::InitMap;
use wick_model::{Activation, activate};
use wick_tests::CPU;

fn normal(name: &str, shape: impl Into<candle_core::Shape>) -> Tensor {
    wick_tests::normal(4, name, shape, DType::F64)
}

/// A function of the tensor at a named place, whose result replaces the tensor.
type At<'a> = &'a dyn Fn(&str, Tensor) -> Result<Tensor>;
/// A net that calls a function at each of its named places, and returns its loss.
type Net = fn(VarBuilder, At) -> Result<Tensor>;

fn mlp(vb: VarBuilder, at: At) -> Result<Tensor> {
    let mut h = normal("mlp", (7, 12));
    for (layer, phi) in [Activation::Tanh, Activation::Gelu, Activation::Silu].into_iter().enumerate() {
        let z = linear(12, 12, vb.pp(layer))?.forward(&h)?;
        h = at(&format!("mlp.{layer}"), activate(phi, &at(&format!("mlp.{layer}.pre"), z)?)?)?;
    }
    h.sqr()?.mean_all()
}

fn convolutional(vb: VarBuilder, at: At) -> Result<Tensor> {
    let config = Conv2dConfig { padding: 1, ..Conv2dConfig::default() };
    let x = normal("image", (2, 3, 8, 8));
    let h = at("conv.0", conv2d(3, 4, 3, config, vb.pp("0"))?.forward(&x)?.tanh()?)?;
    let h = at("pool", h.avg_pool2d(2)?)?;
    // Two branches begin at the pool.
    let a = at("conv.1", conv2d(4, 4, 3, config, vb.pp("1"))?.forward(&h)?.silu()?)?;
    let h = at("sum", (a + &h)?)?;
    at("flat", h.flatten_from(1)?)?.sin()?.sum_all()
}

/// Attention over five tokens with two heads, and a feed-forward layer, each after a norm and in parallel to
/// a residual path.
fn transformer(vb: VarBuilder, at: At) -> Result<Tensor> {
    const WIDTH: usize = 8;
    let x = normal("tokens", (2, 5, WIDTH));
    let norm = layer_norm_no_bias(WIDTH, 1e-5, vb.pp("norm"))?;
    // The norm is composed of candle's ops: the fused one has no backward pass.
    let normed = |x: &Tensor, norm: &candle_nn::LayerNorm| -> Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(2)?)?;
        let scale = (centred.sqr()?.mean_keepdim(2)? + 1e-5)?.sqrt()?;
        centred.broadcast_div(&scale)?.broadcast_mul(norm.weight())
    };
    let heads = |x: Tensor| x.reshape((2, 5, 2, WIDTH / 2))?.transpose(1, 2)?.contiguous();
    let projected = |name: &str, x: &Tensor| linear_no_bias(WIDTH, WIDTH, vb.pp(name))?.forward(x);
    let h = at("norm", normed(&x, &norm)?)?;
    let (q, k, v) = (heads(projected("q", &h)?)?, heads(projected("k", &h)?)?, heads(projected("v", &h)?)?);
    let scores = at("scores", (q.matmul(&k.t()?.contiguous()?)? * 0.5)?)?;
    let scores = scores.exp()?;
    let weights = at("attention", scores.broadcast_div(&scores.sum_keepdim(3)?)?)?;
    let mixed = weights.matmul(&v)?.transpose(1, 2)?.contiguous()?.reshape((2, 5, WIDTH))?;
    let x = at("residual", (x + projected("o", &mixed)?)?)?;
    let wide = linear(WIDTH, 16, vb.pp("up"))?.forward(&normed(&x, &norm)?)?;
    let wide = at("gelu", activate(Activation::Gelu, &wide)?)?;
    let x = at("out", (x + linear(16, WIDTH, vb.pp("down"))?.forward(&wide)?)?)?;
    x.sqr()?.sum_all()
}

#[test]
fn taps_receive_the_slope_of_the_loss() {
    for (net, places) in [(mlp as Net, 6), (convolutional, 5), (transformer, 6)] {
        let map = InitMap::new(1);
        let vb = || map.var_builder(DType::F64, &CPU);
        let received: Arc<Mutex<BTreeMap<String, Tensor>>> = Arc::default();
        let loss = net(vb(), &|name, h| {
            let (received, name) = (received.clone(), name.to_owned());
            wick_probe::tap(&h, move |gradient| {
                received.lock().unwrap().insert(name.clone(), gradient.clone());
                Ok(())
            })
        })
        .unwrap();
        loss.backward().unwrap();
        let received = received.lock().unwrap();
        assert_eq!(received.len(), places, "{:?}", received.keys());

        for (place, gradient) in received.iter() {
            for direction in ["a", "b", "c"] {
                let v = normal(&format!("{place}/{direction}"), gradient.shape());
                let loss_at = |step: f64| {
                    let moved = |name: &str, h: Tensor| if name == place { h + (&v * step)? } else { Ok(h) };
                    net(vb(), &moved).unwrap().to_scalar::<f64>().unwrap()
                };
                // The difference is of fourth order: its error is step⁴.
                let step = 1e-3;
                let far = (loss_at(2.0 * step) - loss_at(-2.0 * step)) / (4.0 * step);
                let near = (loss_at(step) - loss_at(-step)) / (2.0 * step);
                let expected = (4.0 * near - far) / 3.0;
                let got = (gradient * &v).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
                let scale = gradient.sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap().sqrt();
                assert!(
                    (got - expected).abs() < 1e-7 * scale.max(got.abs()),
                    "{place}: {got} is not {expected}"
                );
                // The twin is the slope at a point that is a hundredth away.
                let wrong = (loss_at(0.01 + step) - loss_at(0.01 - step)) / (2.0 * step);
                assert!((got - wrong).abs() > 1e-7 * scale, "{place}: the twin that must fail");
            }
        }
    }
}
