//! A probe records the same however it is attached: by a tap, by the observer of a fused layer, or around a
//! module.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{Linear, Module, VarBuilder};
use wick_init::{Initializer, KeyedV1};
use wick_kernels::{DensePass, dense};
use wick_model::{Activation, Mlp, MlpConfig, activate};
use wick_probe::{BadTensor, Probe, Record, Side, Summary, Totals, What};

const CPU: Device = Device::Cpu;
const SAMPLES: usize = 300;
const INPUTS: usize = 20;
const OUTPUTS: usize = 33;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Attached {
    /// A tap behind candle's own ops.
    Tap,
    /// The observer of a layer in candle's graph.
    Dense,
    /// The observer of a layer outside the graph.
    DensePass,
    /// The observer of a layer of a net.
    Tape,
}

/// A layer's input, weight, bias, and the gradient that comes back to its output.
struct Case {
    x: Tensor,
    w: Tensor,
    b: Tensor,
    gradient: Tensor,
    activation: Activation,
}

impl Case {
    fn new(dtype: DType, activation: Activation) -> Self {
        let normal = |name: &str, shape: &[usize]| {
            Initializer::normal(1.0).tensor(KeyedV1::new(3).key(name), shape, dtype, &CPU).unwrap()
        };
        Self {
            x: normal("x", &[SAMPLES, INPUTS]),
            w: (normal("w", &[OUTPUTS, INPUTS]) * 0.3).unwrap(),
            b: normal("b", &[OUTPUTS]),
            gradient: normal("gradient", &[SAMPLES, OUTPUTS]),
            activation,
        }
    }

    /// Goes forward and backward once, with a probe on the output called `layer_0`.
    fn run(&self, attached: Attached, probe: &Probe) -> Result<()> {
        let Self { x, w, b, gradient, activation } = self;
        let name = "layer_0";
        let weight = Var::from_tensor(w)?;
        let observer = || Some(probe.observer(name));
        let backward = |output: &Tensor| (output * gradient)?.sum_all()?.backward();
        match attached {
            Attached::Tap => {
                let z = dense(x, &weight, Some(b), Activation::Identity, None)?;
                let h = activate(*activation, &z)?;
                backward(&probe.tap_activation(name, *activation, &z, &h)?)?;
            }
            Attached::Dense => {
                backward(&dense(x, &weight, Some(b), *activation, observer())?)?;
            }
            Attached::DensePass => {
                DensePass::forward(x, w, Some(b), *activation, observer())?.backward(gradient, false)?;
            }
            Attached::Tape => {
                let tensors = [("layer_0.weight", w), ("layer_0.bias", b)];
                let tensors: HashMap<String, Tensor> =
                    tensors.into_iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
                let config = MlpConfig::new(INPUTS, [OUTPUTS], *activation).with_bias(true);
                let mlp = Mlp::new(&config, VarBuilder::from_tensors(tensors, x.dtype(), &CPU))?;
                let tape = mlp.tape(x, |layer| Some(probe.observer(layer)))?;
                tape.backward(&(tape.output() * gradient)?.sum_all()?)?;
            }
        }
        Ok(())
    }
}

type Recorded = (Vec<Record>, Vec<Totals>, Option<BadTensor>);

/// What a probe records in three steps.
fn recorded(case: &Case, attached: Attached, probe: &Probe) -> Recorded {
    let mut records = Vec::new();
    for _ in 0..3 {
        case.run(attached, probe).unwrap();
        records.extend(probe.records());
        probe.next_step();
    }
    (records, probe.totals(), probe.first_bad())
}

fn probes() -> [Probe; 5] {
    [
        Probe::new(),
        Probe::new().with_units().with_bins(7),
        Probe::new().with_output_units(),
        Probe::new().with_totals().every(2),
        Probe::new().with_units().with_totals(),
    ]
}

/// Fused layers add up numbers in other blocks, so that sums differ by their rounding. All else is equal.
fn assert_same_summary(got: &Summary, expected: &Summary, what: &str) {
    let sums = |summary: &Summary| [summary.mean, summary.std, summary.rms];
    for (got, sum) in sums(got).into_iter().zip(sums(expected)) {
        assert!((got - sum).abs() < 1e-14 * expected.rms, "{what}: {got} {sum}");
    }
    let [mean, std, rms] = sums(expected);
    assert_eq!(&Summary { mean, std, rms, ..got.clone() }, expected, "{what}");
}

fn assert_same(got: &Record, expected: &Record, what: &str) {
    assert_eq!((&got.name, got.call), (&expected.name, expected.call), "{what}");
    assert_same_summary(&got.forward, &expected.forward, what);
    assert_eq!(got.activation, expected.activation, "{what}");
    assert_eq!(got.dtype, expected.dtype, "{what}");
    assert_eq!(got.saturated, expected.saturated, "{what}");
    assert_eq!(got.slope_square, expected.slope_square, "{what}");
    let [Some(got_back), Some(expected_back)] = [&got.backward, &expected.backward] else {
        panic!("{what}: no gradient");
    };
    assert_same_summary(got_back, expected_back, what);
    assert_eq!(got.units, expected.units, "{what}");
    assert_eq!(got.gradient_units, expected.gradient_units, "{what}");
}

#[test]
fn a_tap_and_every_observer_record_the_same() {
    for dtype in [DType::F32, DType::F64] {
        for activation in [Activation::Tanh, Activation::Relu, Activation::Gelu, Activation::Identity] {
            let case = Case::new(dtype, activation);
            let expected = probes().map(|probe| recorded(&case, Attached::Tap, &probe));
            for attached in [Attached::Dense, Attached::DensePass, Attached::Tape] {
                for (index, (probe, expected)) in probes().iter().zip(&expected).enumerate() {
                    let got = recorded(&case, attached, probe);
                    let what = format!("{attached:?}, {activation}, {dtype:?}, probe {index}");
                    assert_eq!(got.0.len(), expected.0.len(), "{what}");
                    for (got, expected) in got.0.iter().zip(&expected.0) {
                        assert_same(got, expected, &what);
                        assert_eq!((got.activation, got.dtype), (Some(activation), dtype), "{what}");
                        assert!(got.saturated.is_some(), "{what}");
                    }
                    assert_eq!(got.1, expected.1, "{what}");
                    assert_eq!(got.2, None, "{what}");
                }
            }
            // What the probes are asked for is in their records.
            let [plain, units, outputs, totals, all] = expected;
            assert_eq!(plain.0[0].units, None);
            assert!(units.0[0].units.is_some() && units.0[0].gradient_units.is_some());
            assert!(units.0[0].slope_square.is_some());
            assert!(outputs.0[0].units.is_some() && outputs.0[0].gradient_units.is_none());
            assert_eq!((totals.0.len(), totals.1.len(), all.1.len()), (2, 1, 1));
            assert_eq!(totals.1[0].backward.count(), 2 * (SAMPLES * OUTPUTS) as u64);
        }
    }
}

/// A watched module records what an observer of the same layer does, but for the activation, which it does
/// not know.
#[test]
fn a_watched_module_records_the_same() {
    for dtype in [DType::F32, DType::F64] {
        let case = Case::new(dtype, Activation::Identity);
        for (watching, observing) in probes().into_iter().zip(probes()) {
            let linear =
                Linear::new(Var::from_tensor(&case.w).unwrap().as_tensor().clone(), Some(case.b.clone()));
            let module = watching.watch("layer_0", Layer(linear));
            let output = module.forward(&case.x).unwrap();
            (output * &case.gradient).unwrap().sum_all().unwrap().backward().unwrap();
            case.run(Attached::Dense, &observing).unwrap();
            let unknown =
                |record: Record| Record { activation: None, saturated: None, slope_square: None, ..record };
            let observed: Vec<Record> = observing.records().into_iter().map(unknown).collect();
            assert_eq!(watching.records().len(), observed.len());
            for (got, expected) in watching.records().iter().zip(&observed) {
                assert_same(got, expected, "watched");
            }
            assert_eq!(watching.totals(), observing.totals());
        }
    }
}

/// A linear layer whose sums are in the order of `dense`.
struct Layer(Linear);

impl Module for Layer {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        dense(xs, self.0.weight(), self.0.bias(), Activation::Identity, None)
    }
}

/// One element of sample 7 is replaced, in the input or in the gradient.
fn spoil(case: &mut Case, side: Side, by: f64) {
    let tensor = if side == Side::Forward { &mut case.x } else { &mut case.gradient };
    let (rows, columns) = tensor.dims2().unwrap();
    let mut values = tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    values[7 * columns + 3] = by;
    *tensor = Tensor::from_vec(values, (rows, columns), &CPU).unwrap().to_dtype(tensor.dtype()).unwrap();
}

#[test]
fn every_observer_finds_the_bad_sample() {
    for dtype in [DType::F32, DType::F64] {
        let near = if dtype == DType::F32 { 3e38 } else { 1e308 };
        for side in [Side::Forward, Side::Backward] {
            for (by, what) in
                [(f64::NAN, What::NonFinite), (f64::INFINITY, What::NonFinite), (near, What::NearLimit)]
            {
                let mut case = Case::new(dtype, Activation::Identity);
                // Outputs and gradients of the other samples are far from the limit, and those of this one
                // below it.
                case.w = case.w.clamp(-0.5, 0.5).unwrap();
                spoil(&mut case, side, by);
                for (index, probe) in probes().into_iter().enumerate() {
                    case.run(Attached::Tap, &probe).unwrap();
                    let expected = probe.first_bad().unwrap();
                    assert_eq!(
                        (expected.side, expected.what, expected.sample),
                        (side, what, Some(7)),
                        "{expected}"
                    );
                    for attached in [Attached::Dense, Attached::DensePass, Attached::Tape] {
                        let probe = probes()[index].clone();
                        case.run(attached, &probe).unwrap();
                        let got = probe.first_bad().unwrap();
                        let is_same = got == expected || (got.value.is_nan() && expected.value.is_nan());
                        assert!(is_same, "{attached:?}: {got:?}, {expected:?}");
                        assert_eq!((got.side, got.what, got.sample), (side, what, Some(7)), "{attached:?}");
                    }
                }
            }
        }
    }
}

/// One observer in a layer that is used twice: each gradient comes to the record of its own pass, and a gradient
/// that comes after its step has ended comes to none.
#[test]
fn a_shared_observer_tells_its_passes_apart() {
    let w = Var::new(&[[2.0f64, 0.0], [0.0, 2.0]], &CPU).unwrap();
    let x = Tensor::new(&[[1.0f64, -2.0]], &CPU).unwrap();
    let probe = Probe::new();
    let observer = probe.observer("shared");
    let layer = |h: &Tensor| dense(h, &w, None, Activation::Identity, Some(observer.clone())).unwrap();
    let late = layer(&x);
    probe.next_step();
    let h = layer(&layer(&x));
    h.sum_all().unwrap().backward().unwrap();
    let gradients = || -> Vec<Option<f64>> {
        probe.records().iter().map(|record| record.backward.as_ref().map(|gradient| gradient.mean)).collect()
    };
    assert_eq!(gradients(), [Some(2.0), Some(1.0)]);
    (late * 7.0).unwrap().sum_all().unwrap().backward().unwrap();
    assert_eq!(gradients(), [Some(2.0), Some(1.0)]);
}
