//! Whole nets: the records of a probe, and training.

use std::cell::RefCell;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Module, Optimizer, ParamsAdamW};
use wick_init::{InitMap, Initializer};
use wick_kernels::{AdamW, CudaGraph, ParamsSgd, Sgd, summarize};
use wick_model::{Activation, Mlp, MlpConfig};
use wick_probe::{Probe, Record};

use super::Test;
use super::numbers::{CPU, flat, normal};

pub(crate) const TESTS: &[Test] = &[
    ("probes_record_the_same", probes_record_the_same),
    ("taps_record_the_same", taps_record_the_same),
    ("training", training),
    ("a_training_step_as_a_graph", a_training_step_as_a_graph),
    ("a_forward_pass_as_a_graph", a_forward_pass_as_a_graph),
    ("a_recorded_steps_learning_rate", a_recorded_steps_learning_rate),
    ("what_cannot_be_recorded", what_cannot_be_recorded),
    ("a_recording_that_frees_what_it_has_not_made", a_recording_that_frees_what_it_has_not_made),
];

const DEPTH: usize = 6;

fn net(activation: Activation, dtype: DType, device: &Device) -> (InitMap, Mlp, Tensor) {
    let map = InitMap::new(3).with_default_init(Initializer::lecun_normal());
    let config = MlpConfig::new(20, [33; DEPTH], activation).with_bias(true);
    let mlp = Mlp::new(&config, map.var_builder(dtype, device)).unwrap();
    (map, mlp, normal("input", (50, 20), dtype).to_device(device).unwrap())
}

/// Returns the records of a forward and a backward pass, by `Mlp::tape` or through candle's graph.
fn records_of(activation: Activation, by_tape: bool, device: &Device) -> Vec<Record> {
    let (_, mlp, xs) = net(activation, DType::F64, device);
    let probe = Probe::new();
    if by_tape {
        let pass = mlp.tape(&xs, |name| Some(probe.observer(name))).unwrap();
        pass.backward(&pass.output().sqr().unwrap().sum_all().unwrap()).unwrap();
    } else {
        // The first layer has no observer, so that the backward pass ends at the second.
        let output =
            mlp.forward_observed(&xs, |name| (name != "layer_0").then(|| probe.observer(name))).unwrap();
        output.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    }
    probe.records()
}

fn probes_record_the_same(gpu: &Device) {
    for by_tape in [true, false] {
        for activation in [Activation::Tanh, Activation::Gelu] {
            let (got, expected) =
                (records_of(activation, by_tape, gpu), records_of(activation, by_tape, &CPU));
            assert_eq!(expected.len(), if by_tape { DEPTH } else { DEPTH - 1 });
            assert_eq!(got.len(), expected.len());
            for (got, expected) in got.iter().zip(&expected) {
                assert_eq!(got.name, expected.name);
                let numbers = |record: &Record| {
                    let (forward, backward) = (record.forward.clone(), record.backward.clone().unwrap());
                    [forward.mean, forward.std, forward.max, backward.rms, backward.std, backward.min]
                };
                for (got, expected) in numbers(got).into_iter().zip(numbers(expected)) {
                    assert!(
                        (got - expected).abs() <= 1e-12 * expected.abs().max(1e-3),
                        "{got} for {expected}"
                    );
                }
            }
        }
    }
}

/// Taps in a net of candle's own ops, with every option of a probe or with summaries alone, and with a bad
/// number.
fn taps_record_the_same(gpu: &Device) {
    let seen = |closely: bool, device: &Device| {
        let (_, mlp, xs) = net(Activation::Tanh, DType::F64, device);
        let probe = if closely { Probe::new().with_units().with_totals() } else { Probe::new() };
        let output = mlp.layers().enumerate().try_fold(xs, |h, (index, layer)| {
            probe.tap(&format!("layer_{index}"), &layer.forward(&h)?.tanh()?)
        });
        let output = output.unwrap();
        output.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let below_zero = output.sqr().unwrap().neg().unwrap().log().unwrap();
        assert!(probe.first_bad().is_none());
        probe.tap("ln", &below_zero).unwrap();
        let bad = probe.first_bad().unwrap();
        assert_eq!((bad.name.as_str(), bad.sample), ("ln", Some(0)));
        probe.records()
    };
    for closely in [false, true] {
        let (got, expected) = (seen(closely, gpu), seen(closely, &CPU));
        assert_eq!((got.len(), expected.len()), (DEPTH + 1, DEPTH + 1));
        for (got, expected) in got.iter().zip(&expected).take(DEPTH) {
            assert_eq!(got.units.is_some(), closely);
            let numbers = |record: &Record| {
                let backward = record.backward.as_ref().unwrap();
                [record.forward.mean, record.forward.std, record.forward.min, backward.rms, backward.max]
            };
            for (got, expected) in numbers(got).into_iter().zip(numbers(expected)) {
                assert!((got - expected).abs() <= 1e-12 * expected.abs().max(1e-3), "{got} for {expected}");
            }
        }
    }
}

/// Returns the losses of 30 steps.
fn losses(rate: f64, device: &Device) -> Vec<f64> {
    let (map, mlp, xs) = net(Activation::Tanh, DType::F32, device);
    let ys = normal("target", (50, 33), DType::F32).to_device(device).unwrap();
    let mut adamw = AdamW::new(map.vars(), ParamsAdamW { lr: rate, ..ParamsAdamW::default() }).unwrap();
    let step = |adamw: &mut AdamW| {
        let pass = mlp.tape(&xs, |_| None).unwrap();
        let loss = (pass.output() - &ys).unwrap().sqr().unwrap().mean_all().unwrap();
        adamw.step(&pass.backward(&loss).unwrap()).unwrap();
        f64::from(loss.to_scalar::<f32>().unwrap())
    };
    (0..30).map(|_| step(&mut adamw)).collect()
}

/// The losses agree up to the size that rounding errors reach in 30 steps.
fn training(gpu: &Device) {
    let expected = losses(0.01, &CPU);
    assert!(expected[29] < 0.9 * expected[0], "it learns: {} to {}", expected[0], expected[29]);
    let apart = |got: &[f64]| got.iter().zip(&expected).map(|(g, e)| (g / e - 1.0).abs()).fold(0.0, f64::max);
    let distance = apart(&losses(0.01, gpu));
    assert!(distance < 1e-4, "{distance}");
    assert!(apart(&losses(0.0102, gpu)) > 1e-4, "the twin");
}

/// Every loss of the graph is that of separate steps, to the bit.
fn a_training_step_as_a_graph(gpu: &Device) {
    let (map, mlp, xs) = net(Activation::Tanh, DType::F32, gpu);
    let ys = normal("target", (50, 33), DType::F32).to_device(gpu).unwrap();
    let mut adamw = AdamW::new(map.vars(), ParamsAdamW { lr: 0.01, ..ParamsAdamW::default() }).unwrap();
    let mut step = CudaGraph::new(gpu, || {
        let pass = mlp.tape(&xs, |_| None)?;
        let loss = (pass.output() - &ys)?.sqr()?.mean_all()?;
        adamw.step(&pass.backward(&loss)?)?;
        Ok(loss)
    })
    .unwrap();
    let mut got = Vec::new();
    for _ in 0..30 {
        got.push(f64::from(step.output().to_scalar::<f32>().unwrap()));
        step.replay().unwrap();
    }
    assert_eq!(got, losses(0.01, gpu));
    assert!(got[29] < 0.9 * got[0]);
}

/// A replayed pass reads the current values of its input.
fn a_forward_pass_as_a_graph(gpu: &Device) {
    let (_, mlp, xs) = net(Activation::Gelu, DType::F32, gpu);
    let mut pass = CudaGraph::new(gpu, || mlp.forward(&xs)).unwrap();
    let first = pass.output().copy().unwrap();
    let other = normal("other", (50, 20), DType::F32).to_device(gpu).unwrap();
    xs.slice_set(&other, 0, 0).unwrap();
    pass.replay().unwrap();
    assert_eq!(flat(pass.output()), flat(&mlp.forward(&other).unwrap()));
    assert_ne!(flat(pass.output()), flat(&first), "the twin");
}

/// A new learning rate holds from the next replay on, as it does from the next step on.
fn a_recorded_steps_learning_rate(gpu: &Device) {
    fn weights<O: Optimizer>(
        make: &dyn Fn(Vec<Var>) -> O,
        change: bool,
        recorded: bool,
        gpu: &Device,
    ) -> Vec<f64> {
        let w = Var::from_tensor(&normal("w", 1000, DType::F32).to_device(gpu).unwrap()).unwrap();
        let optimizer = RefCell::new(make(vec![w.clone()]));
        let work = || {
            let loss = w.sqr()?.sum_all()?;
            optimizer.borrow_mut().backward_step(&loss)?;
            Ok(loss)
        };
        // On a device without graphs, each replay is a step.
        let mut step = CudaGraph::new(if recorded { gpu } else { &CPU }, work).unwrap();
        for launch in 0..8 {
            if change && launch == 3 {
                optimizer.borrow_mut().set_learning_rate(0.1);
            }
            step.replay().unwrap();
        }
        flat(&w)
    }
    let adamw = |vars| AdamW::new(vars, ParamsAdamW { lr: 0.01, ..ParamsAdamW::default() }).unwrap();
    let sgd = |vars| Sgd::new(vars, ParamsSgd { lr: 0.01, momentum: 0.9, ..ParamsSgd::default() }).unwrap();
    assert_eq!(weights(&adamw, true, true, gpu), weights(&adamw, true, false, gpu));
    assert_eq!(weights(&sgd, true, true, gpu), weights(&sgd, true, false, gpu));
    assert_ne!(weights(&adamw, true, true, gpu), weights(&adamw, false, true, gpu), "the twin");
}

/// The driver refuses the graph. cudarc keeps that error for the next call, which must not get it.
fn a_recording_that_frees_what_it_has_not_made(gpu: &Device) {
    let xs = normal("x", 100, DType::F32).to_device(gpu).unwrap();
    let (mut made, mut times) = (None::<Tensor>, 0);
    let recorded = CudaGraph::new(gpu, || {
        times += 1;
        made = match made.take() {
            None => Some((&xs * 2.0)?),
            Some(_) => None,
        };
        &xs + 1.0
    });
    assert!(recorded.is_err());
    assert_eq!(times, 2);
    assert!(summarize(&xs, None, 5).is_ok());
    let again = CudaGraph::new(gpu, || &xs + 1.0).unwrap();
    assert_eq!(flat(again.output()), flat(&(&xs + 1.0).unwrap()));
}

fn what_cannot_be_recorded(gpu: &Device) {
    let xs = normal("x", 100, DType::F32).to_device(gpu).unwrap();
    let mut times = 0;
    let recorded = CudaGraph::new(gpu, || {
        times += 1;
        // The first run is not captured, so it succeeds.
        Tensor::new(&[summarize(&xs, None, 5)?.mean as f32], gpu)
    });
    assert!(recorded.is_err());
    assert_eq!(times, 2);
    // The device still works.
    assert!(summarize(&xs, None, 5).is_ok());
}
