use candle_core::{DType, Device, Tensor, Var};
use wick_kernels::dense;
use wick_theory::Activation;

use crate::observe::probe::Probe;

#[test]
fn a_layer_used_twice_has_two_records() {
    let x = Var::new(&[1.0f64, -2.0], &Device::Cpu).unwrap();
    let probe = Probe::new().with_bins(7);
    let layer = |h: &Tensor| probe.tap("layer", &h.affine(2.0, 0.0)?);
    let h = layer(&layer(&x).unwrap()).unwrap();
    h.sum_all().unwrap().backward().unwrap();
    let records = probe.records();
    let calls: Vec<_> = records.iter().map(|r| (r.call, r.forward.mean)).collect();
    assert_eq!(calls, [(0, -1.0), (1, -2.0)]);
    let gradients: Vec<_> = records.iter().map(|r| r.backward.as_ref().unwrap().mean).collect();
    assert_eq!(gradients, [2.0, 1.0]);
    assert_eq!(records[0].forward.histogram.counts.len(), 7);
    probe.clear();
    assert!(probe.records().is_empty());
}

#[test]
fn a_late_gradient_finds_its_own_record_or_none() {
    let x = Var::new(&[1.0f64], &Device::Cpu).unwrap();
    let probe = Probe::new();
    let old = probe.tap("x", &x).unwrap();
    probe.clear();
    probe.tap("x", &x).unwrap();
    old.sum_all().unwrap().backward().unwrap();
    let records = probe.records();
    assert_eq!((records.len(), records[0].call), (1, 0));
    assert_eq!(records[0].backward, None);
}

/// Of six steps, the first and the fourth are recorded.
#[test]
fn observers_record_the_steps_that_taps_record() {
    let x = Tensor::new(&[[1.0f32]], &Device::Cpu).unwrap();
    let w = Var::new(&[[0.5f32]], &Device::Cpu).unwrap();
    let probe = Probe::new().every(3);
    let observer = probe.observer("layer");
    let mut kept = Vec::new();
    for _ in 0..6 {
        let h = dense(&x, &w, None, Activation::Tanh, Some(observer.clone())).unwrap();
        h.sum_all().unwrap().backward().unwrap();
        kept.push(probe.records().len());
        probe.next_step();
    }
    assert_eq!(kept, [1, 0, 0, 1, 0, 0]);
}

/// A comparison with NaN is false, so that NaN would count as not saturated.
#[test]
fn the_saturated_fraction_of_nan_is_not_known() {
    let z = Tensor::new(&[f32::NAN, 0.0], &Device::Cpu).unwrap();
    let probe = Probe::new();
    probe.tap_activation("x", Activation::Tanh, &z, &z.tanh().unwrap()).unwrap();
    assert_eq!(probe.records()[0].saturated, None);
    assert_eq!(probe.records()[0].dtype, DType::F32);
}

#[test]
fn before_a_backward_pass_there_is_no_gradient() {
    let x = Tensor::new(&[1.0f64], &Device::Cpu).unwrap();
    let probe = Probe::default();
    probe.tap("x", &x).unwrap().sum_all().unwrap().backward().unwrap();
    assert_eq!(probe.records()[0].backward, None);
    assert_eq!(probe.records()[0].saturated, None);
}
