use candle_core::{DType, Device, Tensor, Var};
use wick_kernels::dense;
use wick_theory::Activation;

use crate::diagnose::fault::Fault;
use crate::diagnose::judge;
use crate::observe::late::MOST_KEPT;
use crate::observe::probe::Probe;
use crate::observe::units::{Units, slope_square};

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

/// Numbers of a wave, of which every seventh unit is constant.
fn wave(shape: (usize, usize), dtype: DType) -> Tensor {
    let number = |i: usize| if i % shape.1 % 7 == 3 { 0.25 } else { (i as f32 * 0.37).sin() };
    let numbers: Vec<f32> = (0..shape.0 * shape.1).map(number).collect();
    Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}

/// What is measured when it is asked for equals what the whole tensor gives at once, for tensors that are copied
/// and tensors that are kept (of more than 65536 numbers), also where they lie transposed. A number that is another makes another record.
#[test]
fn late_measurements_are_those_of_the_tensors() {
    for (shape, dtype) in [(64, 32), (300, 40), (900, 90)]
        .into_iter()
        .flat_map(|shape| [DType::F32, DType::F64, DType::BF16].map(|dtype| (shape, dtype)))
    {
        let x = Var::from_tensor(&wave(shape, dtype)).unwrap();
        for xs in [x.as_tensor().clone(), x.t().unwrap()] {
            let gradient = (wave((xs.dims()[0], xs.dims()[1]), dtype) * 0.5).unwrap();
            let probe = Probe::new().with_units();
            let h = probe.tap_activation("h", Activation::Gelu, &xs, &xs).unwrap();
            // A report in between leaves the rest to measure.
            assert_eq!(probe.layer_reports()[0].gradients, None);
            (&h * &gradient).unwrap().sum_all().unwrap().backward().unwrap();
            let report = &probe.layer_reports()[0];
            let record = &probe.records()[0];
            let summary = |xs: &Tensor| wick_kernels::summarize(xs, None, 30).unwrap();
            assert_eq!(record.forward, summary(&xs), "{shape:?} {dtype:?}");
            assert_eq!(record.backward, Some(summary(&gradient)), "{shape:?} {dtype:?}");
            let units = Units::of(&xs).unwrap();
            assert_eq!(record.units, units);
            assert_eq!(record.gradient_units, Units::of(&gradient).unwrap());
            assert_eq!(record.constant_in_all, units.map(|units| units.constant));
            assert_eq!(record.slope_square, slope_square(Activation::Gelu, &xs, None).unwrap());
            assert_eq!((report.rms, report.slope_square), (record.forward.rms, record.slope_square));
            assert_ne!(record.forward, summary(&(&xs * 1.01).unwrap()));
            assert_ne!(record.units, Units::of(&(&xs * 1.01).unwrap()).unwrap());
        }
    }
}

/// A variable that changes after its tap, as by an optimizer's step, is recorded as it was.
#[test]
fn a_record_is_of_the_time_of_its_tap() {
    for shape in [(4, 8), (900, 90)] {
        let before = wave(shape, DType::F32);
        let x = Var::from_tensor(&before).unwrap();
        let probe = Probe::new().with_units();
        probe.tap_activation("x", Activation::Tanh, &x, &x).unwrap();
        x.set(&(&before * 3.0).unwrap()).unwrap();
        let record = &probe.records()[0];
        let range = Activation::Tanh.range();
        assert_eq!(record.forward, wick_kernels::summarize(&before, range, 30).unwrap());
        assert_ne!(record.forward, wick_kernels::summarize(&x, range, 30).unwrap());
        assert_eq!(record.units, Units::of(&before).unwrap());
        assert_eq!(record.slope_square, slope_square(Activation::Tanh, &before, None).unwrap());
    }
}

/// A probe whose steps never end keeps no more than its limit, and records all the same.
#[test]
fn what_is_kept_has_a_limit() {
    let xs = wave((1024, 1000), DType::F32);
    let expected = wick_kernels::summarize(&xs, None, 30).unwrap();
    let probe = Probe::new().with_units();
    let taps = MOST_KEPT / (4 * 1024 * 1000) + 3;
    for _ in 0..taps {
        probe.tap("x", &xs).unwrap();
    }
    let kept = probe.lock().kept();
    assert!(kept <= MOST_KEPT && kept + 4 * 1024 * 1000 > MOST_KEPT, "{kept} bytes");
    let records = probe.records();
    assert!(records.len() == taps && records.iter().all(|record| record.forward == expected));
    assert!(records.iter().all(|record| record.units == records[0].units && record.units.is_some()));
    assert_eq!(probe.lock().kept(), 0);
    probe.tap("x", &xs).unwrap();
    assert!(probe.lock().kept() > 0);
    probe.next_step();
    assert_eq!(probe.lock().kept(), 0);
}

/// An expert to which no token went has nothing to judge, and NaN in another one is named still.
#[test]
fn an_empty_tensor_has_no_verdict() {
    let values: Vec<f32> = (0..64).map(|i| (i as f32 * 0.7).sin()).collect();
    let input = wick_theory::BatchGeometry::of(&values, 4);
    let w = Var::new(
        &[[0.5f32, -0.3, 0.8, 0.1], [0.2, 0.9, -0.4, 0.6], [-0.7, 0.3, 0.5, 0.4], [0.6, 0.1, 0.2, -0.8]],
        &Device::Cpu,
    )
    .unwrap();
    let x = Tensor::from_vec(values, (16, 4), &Device::Cpu).unwrap();
    let verdicts = |factor: f64| {
        let probe = Probe::new().with_units().with_totals();
        let router = probe.tap("router", &x.matmul(&w).unwrap()).unwrap();
        let nobody = router.narrow(0, 0, 0).unwrap();
        let idle = probe.tap_activation("idle", Activation::Tanh, &nobody, &nobody.tanh().unwrap()).unwrap();
        let busy = probe.tap("busy", &router.affine(factor, 0.0).unwrap().tanh().unwrap()).unwrap();
        (busy.sum_all().unwrap() + idle.sum_all().unwrap()).unwrap().backward().unwrap();
        assert_eq!(probe.records()[1].forward.count, 0);
        (judge(&probe.layer_reports(), &input), probe.first_bad().map(|bad| bad.name))
    };
    assert_eq!(verdicts(1.0), (vec![], None));
    let (found, bad) = verdicts(f64::NAN);
    assert_eq!(
        (found[0].fault, found[0].layer.as_str(), bad.as_deref()),
        (Fault::NonFinite, "busy", Some("busy"))
    );
    let idle = crate::LayerReport { numbers: Some(0), ..crate::LayerReport::new("idle", f64::NAN, f64::NAN) };
    assert_eq!(judge(&[idle], &input), []);
}

/// One column, seen four times without a copy, is one unit and three copies.
#[test]
fn units_of_a_broadcast_view_are_copies() {
    let xs = Tensor::arange(0f32, 24.0, &Device::Cpu).unwrap().reshape((6, 4)).unwrap();
    // Numbers follow behind those of the view.
    let view = xs.narrow(0, 0, 5).unwrap().narrow(1, 1, 1).unwrap().broadcast_as((5, 4)).unwrap();
    assert_eq!(view.layout().stride(), [4, 0]);
    for xs in [view.contiguous().unwrap(), view] {
        let units = Units::of(&xs).unwrap().unwrap();
        assert_eq!((units.count, units.copies, units.constant), (4, 0.75, 0.0));
    }
}
