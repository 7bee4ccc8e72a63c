//! Numbers for the tests that are the same in every run.

use std::cell::Cell;

use candle_core::{Device, Shape, Tensor, Var};
use candle_nn::VarMap;

thread_local! {
    static STATE: Cell<u64> = const { Cell::new(0) };
}

/// The next 53 bits of SplitMix64, between 0 and 1.
fn unit() -> f64 {
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let mut z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

/// Normal numbers of this std, which go on from call to call within a test.
pub(super) fn normal(std: f64, shape: impl Into<Shape>) -> Tensor {
    let shape = shape.into();
    let number = |_| (std * (-2.0 * unit().ln()).sqrt() * (std::f64::consts::TAU * unit()).cos()) as f32;
    let numbers: Vec<f32> = (0..shape.elem_count()).map(number).collect();
    Tensor::from_vec(numbers, shape, &Device::Cpu).expect("memory")
}

/// The variables of a map by name. Weights have a variance of `1/fan_in`, biases a std of .1; norms are left alone.
pub(super) fn vars_of(map: &VarMap) -> Vec<(String, Var)> {
    let data = map.data().lock().expect("no panic");
    let mut vars: Vec<(String, Var)> = data.iter().map(|(name, var)| (name.clone(), var.clone())).collect();
    vars.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, var) in &vars {
        let fan_in = var.elem_count() / var.dims()[0];
        let std = if var.rank() > 1 { (fan_in as f64).powf(-0.5) } else { 0.1 };
        if !name.starts_with("norm") && !name.starts_with("gain") {
            var.set(&normal(std, var.shape())).expect("the same shape");
        }
    }
    vars
}
