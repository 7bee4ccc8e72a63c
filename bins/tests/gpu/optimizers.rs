//! Steps of the optimizers.

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Optimizer, ParamsAdamW};
use wick_kernels::{AdamW, ParamsSgd, Sgd};

use super::Test;
use super::numbers::{CPU, flat, normal};

pub(crate) const TESTS: &[Test] = &[("adamw", adamw), ("sgd", sgd)];

/// Returns more variables than one launch takes, of all sizes around that of a block, and one in `f64`.
fn variables(device: &Device) -> Vec<Var> {
    let sizes = [1, 3, 1023, 1024, 1025, 5000];
    let var = |index: usize| {
        let dtype = if index == 7 { DType::F64 } else { DType::F32 };
        let start = normal(&format!("w{index}"), sizes[index % sizes.len()], dtype);
        Var::from_tensor(&start.to_device(device).unwrap()).unwrap()
    };
    (0..130).map(var).collect()
}

/// Returns the variables after 12 steps towards 0.3, with another learning rate from the fifth on. In every
/// third step every second variable has no gradient.
fn after<O: Optimizer>(device: &Device, rate: f64, make: impl Fn(Vec<Var>) -> O) -> Vec<f64> {
    let vars = variables(device);
    let mut optimizer = make(vars.clone());
    for step in 0..12 {
        if step == 5 {
            optimizer.set_learning_rate(rate);
            assert_eq!(optimizer.learning_rate(), rate);
        }
        let loss = |w: &Var| (w.as_tensor() - 0.3).unwrap().sqr().unwrap().sum_all().unwrap();
        let some = vars.iter().enumerate().filter(|(index, _)| step % 3 != 0 || index % 2 == 0);
        let losses: Vec<Tensor> = some.map(|(_, w)| loss(w).to_dtype(DType::F64).unwrap()).collect();
        let loss = Tensor::stack(&losses, 0).unwrap().sum_all().unwrap();
        optimizer.backward_step(&loss).unwrap();
    }
    vars.iter().flat_map(|var| flat(var)).collect()
}

/// Returns the largest difference.
fn apart(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn adamw(gpu: &Device) {
    let params = ParamsAdamW { lr: 0.02, weight_decay: 0.1, ..ParamsAdamW::default() };
    let run = |device: &Device, rate| after(device, rate, |vars| AdamW::new(vars, params.clone()).unwrap());
    let expected = run(&CPU, 0.01);
    let apart_by = apart(&run(gpu, 0.01), &expected);
    // A GPU fuses multiplications and additions. A step has the size of the learning rate for any gradient,
    // so that the rounding error of a gradient near zero is visible.
    assert!(apart_by < 5e-6, "{apart_by}");
    assert!(apart(&run(gpu, 0.0101), &expected) > 1e-4, "the twin");
}

fn sgd(gpu: &Device) {
    for nesterov in [false, true] {
        let params = ParamsSgd { lr: 0.02, momentum: 0.9, weight_decay: 0.01, nesterov };
        let run = |device: &Device, rate| after(device, rate, |vars| Sgd::new(vars, params).unwrap());
        let expected = run(&CPU, 0.01);
        let apart_by = apart(&run(gpu, 0.01), &expected);
        assert!(apart_by < 2e-6, "{apart_by}");
        assert!(apart(&run(gpu, 0.0101), &expected) > 1e-4, "the twin");
    }
}
