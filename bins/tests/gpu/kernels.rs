//! Activations and dense layers.

use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Tensor, Var};
use wick_kernels::{
    DeferredStats, DensePass, ObservedGradient, ObservedOutput, Observer, Summary, activate,
    activation_gradient, dense, fraction_outside, summarize,
};
use wick_theory::Activation;

use super::Test;
use super::numbers::{CPU, TYPES, apart, assert_near, epsilon, flat, normal};

pub(crate) const TESTS: &[Test] = &[
    ("activations", activations),
    ("gradients_of_activations", gradients_of_activations),
    ("activations_in_a_graph", activations_in_a_graph),
    ("dense_layers", dense_layers),
    ("dense_layers_observed", dense_layers_observed),
    ("dense_layers_of_every_type_are_one_op", dense_layers_of_every_type_are_one_op),
    ("more_bins_than_are_counted_on_the_way", more_bins_than_are_counted_on_the_way),
    ("a_dense_layer_of_many_outputs", a_dense_layer_of_many_outputs),
    ("observers_of_dense_layers_get_tensors", observers_of_dense_layers_get_tensors),
    ("dense_layers_refuse", dense_layers_refuse),
];

/// Returns all activations, and some with other parameters.
fn all() -> Vec<Activation> {
    let others = [Activation::LeakyRelu { slope: -0.3 }, Activation::Elu { alpha: 2.5 }];
    Activation::ALL.into_iter().chain(others).collect()
}

/// Inputs over the whole range, with the edges and NaN. Their number is not a multiple of four.
fn everywhere(dtype: DType) -> Tensor {
    let mut xs: Vec<f64> = (0..1999).map(|i| (f64::from(i) - 999.0) * 0.0313).collect();
    xs.extend([0.0, -0.0, 1.0, -1.0, 3.0, -3.0, 1e-8, -1e-8, 90.0, -90.0, 300.0, -300.0, 6e4, -6e4]);
    xs.extend([f64::INFINITY, f64::NEG_INFINITY, f64::NAN]);
    Tensor::new(xs, &CPU).unwrap().to_dtype(dtype).unwrap()
}

/// Layouts of a tensor: contiguous, shifted by one element so that no four elements can be read at once, and
/// transposed.
fn views(xs: &Tensor) -> [Tensor; 3] {
    let count = xs.elem_count() / 2 * 2;
    let even = xs.narrow(0, 0, count).unwrap().reshape((count / 2, 2)).unwrap();
    [xs.clone(), xs.narrow(0, 1, xs.elem_count() - 1).unwrap(), even.t().unwrap()]
}

/// The tolerance: 8 units in the last place of the value and of 1. The GPU computes every type but `f64` in
/// `f32`.
fn bounds(dtype: DType) -> (f64, f64) {
    let fine = if dtype == DType::F64 { f64::EPSILON } else { f32::EPSILON.into() };
    (8.0 * epsilon(dtype).max(fine), 4.0 * fine)
}

fn activations(gpu: &Device) {
    for dtype in TYPES {
        let (relative, absolute) = bounds(dtype);
        for activation in all() {
            for (here, there) in
                views(&everywhere(dtype)).iter().zip(views(&everywhere(dtype).to_device(gpu).unwrap()))
            {
                let expected = activate(activation, here).unwrap();
                let got = activate(activation, &there).unwrap();
                assert!(got.device().is_cuda());
                assert_near(&format!("{activation} of {dtype:?}"), &got, &expected, relative, absolute);
            }
        }
        // The twin: tanh is not erf, nor one slope another.
        let xs = everywhere(dtype);
        let got = activate(Activation::Tanh, &xs.to_device(gpu).unwrap()).unwrap();
        assert!(apart(&got, &activate(Activation::Erf, &xs).unwrap(), relative, absolute) > 1.0);
        let got = activate(Activation::LeakyRelu { slope: 0.1 }, &xs.to_device(gpu).unwrap()).unwrap();
        let other = activate(Activation::LeakyRelu { slope: 0.2 }, &xs).unwrap();
        assert!(apart(&got, &other, relative, absolute) > 1.0);
    }
}

fn gradients_of_activations(gpu: &Device) {
    for dtype in TYPES {
        let (relative, absolute) = bounds(dtype);
        let xs = everywhere(dtype);
        let gs = normal("g", xs.elem_count(), dtype);
        for activation in all() {
            let expected = activation_gradient(activation, &xs, &gs).unwrap();
            let (xs, gs) = (xs.to_device(gpu).unwrap(), gs.to_device(gpu).unwrap());
            let got = activation_gradient(activation, &xs, &gs).unwrap();
            assert_near(&format!("{activation}' of {dtype:?}"), &got, &expected, relative, 4.0 * absolute);
        }
        let got =
            activation_gradient(Activation::Silu, &xs.to_device(gpu).unwrap(), &gs.to_device(gpu).unwrap());
        let other = activation_gradient(Activation::Gelu, &xs, &gs).unwrap();
        assert!(apart(&got.unwrap(), &other, relative, 4.0 * absolute) > 1.0, "the twin");
    }
}

fn activations_in_a_graph(gpu: &Device) {
    let gradient = |device: &Device| {
        let xs = Var::from_tensor(&normal("x", (7, 9), DType::F64).to_device(device).unwrap()).unwrap();
        let ys = activate(Activation::Mish, &xs.t().unwrap()).unwrap();
        let loss = ys.mul(&ys).unwrap().sum_all().unwrap();
        loss.backward().unwrap().get(&xs).unwrap().contiguous().unwrap()
    };
    assert_near("mish² backward", &gradient(gpu), &gradient(&CPU), 1e-13, 1e-15);
}

/// Returns a layer's input, weight and bias, and the gradient of its output.
fn layer(samples: usize, inputs: usize, outputs: usize, dtype: DType) -> [Tensor; 4] {
    let weight = (normal("w", (outputs, inputs), dtype) * (1.0 / (inputs as f64).sqrt())).unwrap();
    [
        normal("x", (samples, inputs), dtype),
        weight,
        normal("b", outputs, dtype),
        normal("g", (samples, outputs), dtype),
    ]
}

/// Returns the output, and the gradients of input, weight and bias.
fn passed(
    [xs, weight, bias, of_output]: &[Tensor; 4],
    with_bias: bool,
    activation: Activation,
    observer: Option<Arc<dyn Observer>>,
    device: &Device,
) -> Vec<Tensor> {
    let there = |t: &Tensor| Var::from_tensor(&t.to_device(device).unwrap()).unwrap();
    let (xs, weight, bias) = (there(xs), there(weight), there(bias));
    let output = dense(&xs, &weight, with_bias.then_some(bias.as_tensor()), activation, observer).unwrap();
    let loss = (&output * of_output.to_device(device).unwrap()).unwrap().sum_all().unwrap();
    let gradients = loss.backward().unwrap();
    let mut all = vec![output, gradients.get(&xs).unwrap().clone(), gradients.get(&weight).unwrap().clone()];
    all.extend(with_bias.then(|| gradients.get(&bias).unwrap().clone()));
    all
}

const SHAPES: [(usize, usize, usize); 5] = [(1, 1, 1), (3, 5, 7), (64, 33, 32), (257, 40, 130), (1000, 4, 3)];

/// The rounding error of a sum of `n` products of size 1 is at most `n ε`. Narrow types are summed in `f32`,
/// from numbers that were rounded independently, so that the error is `√n ε`.
fn dense_layers(gpu: &Device) {
    for dtype in TYPES {
        for (samples, inputs, outputs) in SHAPES {
            for (index, activation) in all().into_iter().enumerate() {
                let with_bias = index % 3 != 0;
                // A narrow type's rounding may put a pre-activation on the other side of a kink.
                let is_narrow = matches!(dtype, DType::BF16 | DType::F16);
                if is_narrow && matches!(activation, Activation::Hardtanh | Activation::Hardswish) {
                    continue;
                }
                let parts = layer(samples, inputs, outputs, dtype);
                let expected = passed(&parts, with_bias, activation, None, &CPU);
                let got = passed(&parts, with_bias, activation, None, gpu);
                let terms = [inputs, outputs, samples, samples];
                for ((got, expected), terms) in got.iter().zip(&expected).zip(terms) {
                    let grown = if is_narrow { (terms as f64).sqrt() } else { terms as f64 };
                    let bound = epsilon(dtype) * (20.0 + 4.0 * grown);
                    assert_near(
                        &format!("{activation} {samples}×{inputs}×{outputs} {dtype:?}"),
                        got,
                        expected,
                        bound,
                        bound,
                    );
                }
            }
        }
        let parts = layer(64, 33, 32, dtype);
        let expected = passed(&parts, true, Activation::Tanh, None, &CPU);
        let got = passed(&parts, true, Activation::Softsign, None, gpu);
        let bound = 40.0 * epsilon(dtype).max(1e-5);
        assert!(got.iter().zip(&expected).all(|(g, e)| apart(g, e, bound, bound) > 1.0), "the twin");
    }
}

/// Records what the observer gets, forward and backward.
#[derive(Default)]
struct Recorder {
    /// 30 if this is 0.
    bins: usize,
    output: Mutex<Option<(Summary, f64)>>,
    gradient: Mutex<Option<Summary>>,
}

impl Observer for Recorder {
    fn bins(&self) -> usize {
        if self.bins == 0 { 30 } else { self.bins }
    }

    fn forward(&self, output: ObservedOutput) -> candle_core::Result<u64> {
        *self.output.lock().unwrap() = Some((output.summary, output.saturated));
        Ok(0)
    }

    fn backward(&self, gradient: ObservedGradient) -> candle_core::Result<()> {
        *self.gradient.lock().unwrap() = Some(gradient.summary);
        Ok(())
    }
}

/// The statistics that an observer gets are those of the layer's output, with the same histogram counts, both
/// at once and deferred.
fn dense_layers_observed(gpu: &Device) {
    for dtype in TYPES {
        for (samples, inputs, outputs) in SHAPES {
            // One activation has a bounded range, one has not, and one never saturates.
            for activation in [Activation::Tanh, Activation::Relu, Activation::Identity] {
                for is_deferred in [false, true] {
                    let parts = layer(samples, inputs, outputs, dtype);
                    let (recorder, deferred) = (Arc::new(Recorder::default()), DeferredStats::default());
                    let observer: Arc<dyn Observer> = if is_deferred {
                        deferred.observer(recorder.clone(), true)
                    } else {
                        recorder.clone()
                    };
                    let output = &passed(&parts, true, activation, Some(observer), gpu)[0];
                    let (of_output, saturated) = recorder.output.lock().unwrap().clone().unwrap();
                    let of_gradient = recorder.gradient.lock().unwrap().clone().unwrap();
                    let what = format!("{activation} {samples}×{inputs}×{outputs} {dtype:?}");

                    let output = output.to_device(&CPU).unwrap();
                    assert_alike(&what, &of_output, &summarize(&output, activation.range(), 30).unwrap());
                    assert_alike(&what, &of_gradient, &summarize(&parts[3], None, 30).unwrap());

                    let [xs, weight, bias, _] = parts.each_ref().map(|part| part.to_device(gpu).unwrap());
                    let zs = dense(&xs, &weight, Some(&bias), Activation::Identity, None).unwrap();
                    let (low, high) = activation.saturation_thresholds();
                    let expected = fraction_outside(&zs.to_device(&CPU).unwrap(), low, high).unwrap();
                    assert_eq!(saturated, expected, "{what}");
                }
            }
        }
    }
}

/// The statistics of the op's kernels stay on the device until they are delivered. A layer of candle's own
/// ops would report them at once.
fn dense_layers_of_every_type_are_one_op(gpu: &Device) {
    for dtype in TYPES {
        for by_pass in [false, true] {
            let [xs, weight, bias, _] = layer(9, 5, 8, dtype).map(|part| part.to_device(gpu).unwrap());
            let (recorder, deferred) = (Arc::new(Recorder::default()), DeferredStats::default());
            let observer = Some(deferred.observer(recorder.clone(), true));
            if by_pass {
                DensePass::forward(&xs, &weight, Some(&bias), Activation::Tanh, observer).unwrap();
            } else {
                dense(&xs, &weight, Some(&bias), Activation::Tanh, observer).unwrap();
            }
            assert!(recorder.output.lock().unwrap().is_none(), "{dtype:?}");
            deferred.deliver().unwrap();
            assert_eq!(recorder.output.lock().unwrap().as_ref().unwrap().0.count, 72);
        }
    }
}

/// With more bins than the fused kernels count, the statistics are taken from the tensors, and nothing else
/// changes.
fn more_bins_than_are_counted_on_the_way(gpu: &Device) {
    for activation in [Activation::Tanh, Activation::Gelu, Activation::Identity] {
        let parts = layer(60, 9, 50, DType::F32);
        let plain = passed(&parts, true, activation, None, gpu);
        for bins in [4096, 4097, 20_000] {
            let recorder = Arc::new(Recorder { bins, ..Recorder::default() });
            let got = passed(&parts, true, activation, Some(recorder.clone()), gpu);
            for (got, plain) in got.iter().zip(&plain) {
                assert_eq!(flat(got), flat(plain));
            }
            let what = format!("{activation} in {bins} bins");
            let (output, saturated) = recorder.output.lock().unwrap().clone().unwrap();
            let expected = got[0].to_device(&CPU).unwrap();
            assert_alike(&what, &output, &summarize(&expected, activation.range(), bins).unwrap());
            let gradient = recorder.gradient.lock().unwrap().clone().unwrap();
            assert_alike(&what, &gradient, &summarize(&parts[3], None, bins).unwrap());
            assert!(saturated < 0.5, "{what}: {saturated}");
        }
    }
}

/// Counts and edges agree to the bit, and sums up to rounding.
pub(crate) fn assert_alike(what: &str, got: &Summary, expected: &Summary) {
    assert_eq!((got.count, got.min, got.max), (expected.count, expected.min, expected.max), "{what}");
    assert_eq!(got.histogram, expected.histogram, "{what}");
    let scale = expected.rms + f64::MIN_POSITIVE;
    for (got, expected) in [(got.mean, expected.mean), (got.std, expected.std), (got.rms, expected.rms)] {
        assert!((got - expected).abs() <= 1e-12 * scale, "{what}: {got} for {expected}");
    }
}

/// A vocabulary has more columns than other launches have blocks.
fn a_dense_layer_of_many_outputs(gpu: &Device) {
    let parts = layer(3, 2, 40_001, DType::F32);
    let recorder = Arc::new(Recorder::default());
    let expected = passed(&parts, true, Activation::Tanh, None, &CPU);
    let got = passed(&parts, true, Activation::Tanh, Some(recorder.clone()), gpu);
    for (got, expected) in got.iter().zip(&expected) {
        // The input's gradient is a sum over all outputs, so its error is larger.
        assert_near("40001 outputs", got, expected, 1e-4, 1e-3);
    }
    let gradient = recorder.gradient.lock().unwrap().clone().unwrap();
    assert_alike("40001 outputs", &gradient, &summarize(&parts[3], None, 30).unwrap());
}

fn dense_layers_refuse(gpu: &Device) {
    let [xs, weight, bias, _] = layer(3, 5, 7, DType::F32).map(|part| part.to_device(gpu).unwrap());
    let error =
        dense(&xs, &weight, Some(&bias.narrow(0, 0, 6).unwrap()), Activation::Tanh, None).unwrap_err();
    assert!(error.to_string().contains("weight [7, 5] and bias Some([6])"), "{error}");
    let error = dense(&xs, &weight.to_device(&CPU).unwrap(), None, Activation::Tanh, None);
    assert!(error.is_err(), "a weight that lies elsewhere");
}

/// An observer that wants the tensors too, and keeps the pre-activation, the output and the gradient.
struct Keeper {
    bins: usize,
    tensors: Mutex<Vec<Tensor>>,
    summaries: Mutex<Vec<Summary>>,
}

impl Observer for Keeper {
    fn bins(&self) -> usize {
        self.bins
    }

    fn wants_tensors(&self) -> bool {
        true
    }

    fn wants_pre_activation(&self) -> bool {
        true
    }

    fn forward(&self, output: ObservedOutput) -> candle_core::Result<u64> {
        let (zs, hs) = (output.pre_activation.unwrap(), output.output.unwrap());
        self.tensors.lock().unwrap().extend([zs.clone(), hs.clone()]);
        self.summaries.lock().unwrap().push(output.summary);
        Ok(0)
    }

    fn backward(&self, gradient: ObservedGradient) -> candle_core::Result<()> {
        self.tensors.lock().unwrap().push(gradient.gradient.unwrap().clone());
        self.summaries.lock().unwrap().push(gradient.summary);
        Ok(())
    }
}

/// The observer gets the layer's own tensors to the bit, at once even if statistics are deferred, and nothing else changes.
/// More bins than 4096 are counted from the tensors.
fn observers_of_dense_layers_get_tensors(gpu: &Device) {
    for dtype in TYPES {
        for activation in [Activation::Tanh, Activation::Gelu, Activation::Identity] {
            for (bins, deferred) in [(30, false), (30, true), (5000, true)] {
                let what = format!("{activation} {dtype:?}, {bins} bins, deferred: {deferred}");
                let parts = layer(64, 33, 32, dtype);
                let plain = passed(&parts, true, activation, None, gpu);
                let zs = passed(&parts, true, Activation::Identity, None, gpu).remove(0);
                let keeper =
                    Arc::new(Keeper { bins, tensors: Mutex::default(), summaries: Mutex::default() });
                let later = DeferredStats::default();
                let observer: Arc<dyn Observer> =
                    if deferred { later.observer(keeper.clone(), false) } else { keeper.clone() };
                let got = passed(&parts, true, activation, Some(observer), gpu);
                for (got, plain) in got.iter().zip(&plain) {
                    assert_eq!(flat(got), flat(plain), "{what}");
                }
                let tensors = keeper.tensors.lock().unwrap();
                let expected = [&zs, &plain[0], &parts[3]];
                assert_eq!(tensors.len(), expected.len(), "{what}");
                for (tensor, expected) in tensors.iter().zip(expected) {
                    assert_eq!((tensor.dims(), flat(tensor)), (expected.dims(), flat(expected)), "{what}");
                }
                let summaries = keeper.summaries.lock().unwrap();
                let output = plain[0].to_device(&CPU).unwrap();
                assert_alike(&what, &summaries[0], &summarize(&output, activation.range(), bins).unwrap());
                assert_alike(&what, &summaries[1], &summarize(&parts[3], None, bins).unwrap());
            }
        }
    }
}
