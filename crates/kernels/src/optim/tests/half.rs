//! Variables in `bf16` and `f16`.

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Optimizer, ParamsAdamW};

use crate::optim::adamw::AdamW;
use crate::optim::clip::LossScale;
use crate::optim::sgd::{ParamsSgd, Sgd};
use crate::optim::slot::Named;

fn numbers(xs: &Tensor) -> Vec<f32> {
    xs.to_dtype(DType::F32).unwrap().to_vec1().unwrap()
}

/// After one gradient of 1 and a thousand of 0, the second moment has decayed by 0.999¹⁰⁰⁰; that of candle's
/// AdamW has not, so that a step with a gradient of 1 is as small as if the gradients had stayed.
#[test]
fn the_second_moment_of_bf16_decays() {
    let (ours, theirs) = (var(DType::BF16), var(DType::BF16));
    let params = ParamsAdamW { lr: 1.0, weight_decay: 0.0, beta1: 0.0, ..Default::default() };
    let mut adamw = AdamW::new(vec![ours.clone()], params.clone()).unwrap();
    let mut candles = candle_nn::AdamW::new(vec![theirs.clone()], params).unwrap();
    // A product of tensors: candle has no gradient of a product with the number 0.
    let loss = |w: &Var, gradient: f32| {
        let gradient = Tensor::full(half::bf16::from_f32(gradient), 2, &Device::Cpu).unwrap();
        (w.as_tensor() * gradient).unwrap().sum_all().unwrap()
    };
    for step in 0..1000 {
        let gradient = if step == 0 { 1.0 } else { 0.0 };
        adamw.backward_step(&loss(&ours, gradient)).unwrap();
        candles.backward_step(&loss(&theirs, gradient)).unwrap();
    }
    let second = numbers(&adamw.state().unwrap()[2].1)[0];
    assert!((second - 0.001 * 0.999f32.powi(999)).abs() < 1e-7, "{second}");
    let zero = Tensor::zeros(2, DType::BF16, &Device::Cpu).unwrap();
    ours.set(&zero).unwrap();
    theirs.set(&zero).unwrap();
    adamw.backward_step(&loss(&ours, 1e-3)).unwrap();
    candles.backward_step(&loss(&theirs, 1e-3)).unwrap();
    // The step is 10⁻³/√(v/(1 - 0.999¹⁰⁰¹)), with v = 0.001·0.999¹⁰⁰⁰ here and 0.001 there.
    let unbiased = 1.0 - 0.999f32.powi(1001);
    let step = |v: f32| 1e-3 / (v / unbiased).sqrt();
    let (got, candles) = (-numbers(&ours)[0], -numbers(&theirs)[0]);
    assert!((got / step(0.001 * 0.999f32.powi(1000)) - 1.0).abs() < 0.01, "{got}");
    assert!((candles / step(0.001) - 1.0).abs() < 0.02, "{candles}");
}

fn var(dtype: DType) -> Var {
    Var::ones(2, dtype, &Device::Cpu).unwrap()
}

/// A thousand steps of 10⁻⁴, each below half a unit in the last place of `bf16`, move the variable by 0.1; a
/// variable that is set from outside goes on from there.
#[test]
fn small_steps_add_up_and_a_set_variable_is_followed() {
    let w = var(DType::BF16);
    let params = ParamsSgd { lr: 1e-4, momentum: 0.0, ..Default::default() };
    let mut sgd = Sgd::new(vec![w.clone()], params).unwrap();
    for _ in 0..1000 {
        sgd.backward_step(&w.sum_all().unwrap()).unwrap();
    }
    assert_eq!(numbers(&w), [0.8984375; 2]); // 0.9, rounded
    w.set(&Tensor::full(half::bf16::from_f32(2.0), 2, &Device::Cpu).unwrap()).unwrap();
    sgd.backward_step(&w.sum_all().unwrap()).unwrap();
    assert!((numbers(&sgd.state().unwrap()[0].1)[0] - 1.9999).abs() < 1e-6);
}

#[test]
fn f16_takes_a_loss_scale() {
    let w = var(DType::F16);
    let mut sgd =
        Sgd::named(vec![Named::new("w", w.clone())], ParamsSgd { lr: 0.5, ..Default::default() }).unwrap();
    let loss = |scale: f64| (w.sum_all().unwrap() * scale).unwrap();
    let error = sgd.backward_step(&loss(1.0)).unwrap_err().to_string();
    assert!(error.contains("`w` is f16") && error.contains("loss scale"), "{error}");
    sgd.set_loss_scale(Some(LossScale::dynamic(65_536.0 * 2.0, 2))).unwrap();
    sgd.backward_step(&loss(sgd.loss_scale())).unwrap(); // 131072 is infinite in f16
    assert_eq!((sgd.loss_scale(), sgd.steps(), numbers(&w)), (65_536.0, 0, vec![1.0; 2]));
    sgd.set_loss_scale(Some(LossScale::dynamic(1024.0, 2))).unwrap();
    sgd.backward_step(&loss(sgd.loss_scale())).unwrap();
    assert_eq!((sgd.loss_scale(), sgd.steps(), numbers(&w)), (1024.0, 1, vec![0.5; 2]));
    assert!((sgd.gradient_norm().unwrap() - 2f64.sqrt()).abs() < 1e-12);
    sgd.backward_step(&loss(sgd.loss_scale())).unwrap();
    assert_eq!(sgd.loss_scale(), 2048.0);
    sgd.set_loss_scale(Some(LossScale::fixed(1e30))).unwrap();
    let error = sgd.backward_step(&loss(1e30)).unwrap_err().to_string();
    assert!(error.contains("gradient of `w` is not finite at step 3"), "{error}");
}
