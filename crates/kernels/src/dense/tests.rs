use super::*;
use crate::activation::activate;
use crate::dense::observer::{ObservedGradient, ObservedOutput};
use crate::stats::partial::Summary;
use crate::stats::summary::{fraction_outside, summarize};
use candle_core::{DType, Device, Shape};
use candle_core::{Var, backprop::GradStore};
use std::sync::Mutex;

pub(super) fn wave(shape: impl Into<Shape>, dtype: DType, seed: f64) -> Var {
    let shape = shape.into();
    let values: Vec<f64> =
        (0..shape.elem_count()).map(|i| (i as f64 * 1.7 + seed).sin() * 0.8 + 0.05).collect();
    Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap())
        .unwrap()
}

pub(super) fn numbers(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn near(a: &Tensor, b: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(a.dims(), b.dims(), "{what}");
    for (a, b) in numbers(a).into_iter().zip(numbers(b)) {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{what}: {a} {b}");
    }
}

/// The same loss of the same layer, by the op of this crate and by candle's ops.
fn both(xs: &Tensor, w: &Tensor, b: Option<&Tensor>, activation: Activation) -> [(Tensor, GradStore); 2] {
    let loss = |h: Tensor| {
        let weights = wave(h.shape(), h.dtype(), 0.3);
        let gradients = (&h * weights.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
        (h, gradients)
    };
    [loss(dense(xs, w, b, activation, None).unwrap()), loss(composed(xs, w, b, activation, None).unwrap())]
}

#[test]
fn forward_and_backward_are_those_of_candles_ops() {
    for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 3e-5)] {
        for (samples, inputs, outputs) in [(1, 3, 2), (5, 1, 4), (33, 50, 60), (300, 70, 40), (0, 3, 2)] {
            for activation in Activation::ALL {
                let x = wave((samples, inputs), dtype, 1.0);
                let w = wave((outputs, inputs), dtype, 2.0);
                let b = wave(outputs, dtype, 3.0);
                for bias in [None, Some(b.as_tensor())] {
                    if samples == 0 && bias.is_some() {
                        continue; // candle cannot sum zero rows.
                    }
                    let what = format!("{activation} {dtype:?} {samples}×{inputs}→{outputs}");
                    let [(ours, our_grads), (theirs, their_grads)] = both(&x, &w, bias, activation);
                    near(&ours, &theirs, tolerance, &what);
                    for var in [Some(x.as_tensor()), Some(w.as_tensor()), bias].into_iter().flatten() {
                        let [ours, theirs] = [&our_grads, &their_grads].map(|grads| grads.get(var).unwrap());
                        near(ours, theirs, tolerance * samples.max(1) as f64, &format!("{what}: gradient"));
                    }
                }
            }
        }
    }
}

/// In `f64`, gradients are compared with the slope of the loss itself.
#[test]
fn gradients_are_central_differences() {
    for activation in [Activation::Tanh, Activation::Gelu, Activation::Mish, Activation::Sigmoid] {
        let (x, w, b) =
            (wave((7, 5), DType::F64, 1.0), wave((6, 5), DType::F64, 2.0), wave(6, DType::F64, 3.0));
        let weights = wave((7, 6), DType::F64, 4.0);
        let loss = || {
            let h = dense(&x, &w, Some(&b), activation, None).unwrap();
            (h * weights.as_tensor()).unwrap().sum_all().unwrap()
        };
        let gradients = loss().backward().unwrap();
        for var in [&x, &w, &b] {
            let gradient = numbers(gradients.get(var).unwrap());
            let start = numbers(var);
            for place in [0, start.len() / 2, start.len() - 1] {
                let at = |step: f64| {
                    let mut moved = start.clone();
                    moved[place] += step;
                    var.set(&Tensor::from_vec(moved, var.shape(), &Device::Cpu).unwrap()).unwrap();
                    loss().to_scalar::<f64>().unwrap()
                };
                let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
                at(0.0);
                assert!((gradient[place] - slope).abs() < 1e-8, "{activation}: {} {slope}", gradient[place]);
            }
        }
    }
}

#[test]
fn any_layout_and_rank() {
    let x = wave((4, 6, 5), DType::F32, 1.0);
    let w = wave((5, 7), DType::F32, 2.0);
    let (turned_x, turned_w) = (x.transpose(0, 1).unwrap(), w.t().unwrap());
    let [(ours, our_grads), (theirs, their_grads)] = both(&turned_x, &turned_w, None, Activation::Tanh);
    assert_eq!(ours.dims(), [6, 4, 7]);
    near(&ours, &theirs, 1e-6, "forward");
    for var in [&x, &w] {
        near(our_grads.get(var).unwrap(), their_grads.get(var).unwrap(), 1e-5, "backward");
    }
    // All rows are the same memory.
    let row = wave(5, DType::F32, 1.0).broadcast_left(3).unwrap();
    let [(ours, _), (theirs, _)] = both(&row, &turned_w, None, Activation::Relu);
    near(&ours, &theirs, 1e-6, "broadcast");
}

#[test]
fn an_input_without_variables_gets_no_gradient() {
    let (x, w) = (wave((3, 4), DType::F32, 1.0), wave((2, 4), DType::F32, 2.0));
    let h = dense(&x.detach(), &w, None, Activation::Tanh, None).unwrap();
    let gradients = h.sum_all().unwrap().backward().unwrap();
    assert!(gradients.get(&x).is_none() && gradients.get(&x.detach()).is_none());
    assert!(gradients.get(&w).is_some());
}

/// Records the statistics: with the fraction of saturated pre-activations forward, with `None` backward.
#[derive(Default)]
pub(super) struct Recorder(pub(super) Mutex<Vec<(Summary, Option<f64>)>>);

impl Observer for Recorder {
    fn bins(&self) -> usize {
        30
    }

    fn forward(&self, output: ObservedOutput) -> Result<u64> {
        assert!(output.pre_activation.is_none(), "a pre-activation that the observer does not want");
        self.0.lock().unwrap().push((output.summary, Some(output.saturated)));
        Ok(0)
    }

    fn backward(&self, gradient: ObservedGradient) -> Result<()> {
        self.0.lock().unwrap().push((gradient.summary, None));
        Ok(())
    }
}

fn observed(activation: Activation, dtype: DType, threads: usize) -> Vec<(Summary, Option<f64>)> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let (x, w, b) = (wave((700, 90), dtype, 1.0), wave((110, 90), dtype, 2.0), wave(110, dtype, 3.0));
        let recorder = Arc::new(Recorder::default());
        let h = dense(&x, &w, Some(&b), activation, Some(recorder.clone())).unwrap();
        h.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let observed = recorder.0.lock().unwrap();
        observed.clone()
    })
}

#[test]
fn an_observer_gets_the_summaries_of_the_tensors() {
    for dtype in [DType::F32, DType::F64] {
        for activation in [Activation::Tanh, Activation::Relu, Activation::Gelu] {
            let (x, w, b) = (wave((700, 90), dtype, 1.0), wave((110, 90), dtype, 2.0), wave(110, dtype, 3.0));
            let z = dense(&x, &w, Some(&b), Activation::Identity, None).unwrap();
            let h = dense(&x, &w, Some(&b), activation, None).unwrap();
            let gradient = (&h * 2.0).unwrap();
            let observed = observed(activation, dtype, 2);
            let (low, high) = activation.saturation_thresholds();
            assert_eq!(observed[0].1, Some(fraction_outside(&z, low, high).unwrap()), "{activation}");
            let expected = [summarize(&h, activation.range(), 30), summarize(&gradient, None, 30)];
            for ((observed, _), expected) in observed.iter().zip(expected) {
                let expected = expected.unwrap();
                assert_eq!(
                    (observed.count, observed.min, observed.max),
                    (expected.count, expected.min, expected.max)
                );
                assert_eq!(observed.histogram, expected.histogram, "{activation} {dtype:?}");
                assert!(
                    (observed.mean - expected.mean).abs() < 1e-12
                        && (observed.std - expected.std).abs() < 1e-12
                );
            }
        }
    }
}

#[test]
fn threads_change_no_bit() {
    for activation in [Activation::Tanh, Activation::Silu] {
        assert_eq!(observed(activation, DType::F32, 1), observed(activation, DType::F32, 2));
    }
}

#[test]
fn the_composed_layer_has_an_observer_too() {
    let (x, w) = (wave((40, 9), DType::F32, 1.0), wave((11, 9), DType::F32, 2.0));
    let recorders = [Arc::new(Recorder::default()), Arc::new(Recorder::default())];
    dense(&x, &w, None, Activation::Tanh, Some(recorders[0].clone()))
        .unwrap()
        .sum_all()
        .unwrap()
        .backward()
        .unwrap();
    let observation = Observation::start(Some(recorders[1].clone()));
    let h = composed(&x, &w, None, Activation::Tanh, observation).unwrap();
    h.sum_all().unwrap().backward().unwrap();
    let [ours, theirs] = recorders.map(|recorder| recorder.0.lock().unwrap().clone());
    assert_eq!((ours.len(), theirs.len()), (2, 2));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!((ours.0.std - theirs.0.std).abs() < 1e-6 && ours.1 == theirs.1, "{ours:?} {theirs:?}");
    }
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let (x, w) = (wave((3, 4), DType::F32, 1.0), wave((2, 5), DType::F32, 2.0));
    let error = dense(&x, &w, None, Activation::Tanh, None).unwrap_err().to_string();
    assert!(error.contains("[2, 5]") && error.contains("[3, 4]"), "{error}");
    let (w, b) = (wave((2, 4), DType::F32, 1.0), wave(3, DType::F32, 2.0));
    assert!(dense(&x, &w, Some(&b), Activation::Tanh, None).is_err());
    assert!(dense(&x, &wave((2, 4), DType::F64, 1.0), None, Activation::Tanh, None).is_err());
}

mod shapes {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        /// For any sizes, with 0 and 1, and for inputs that are contiguous, transposed, every second row of a
        /// larger matrix, or one broadcast row, the layer equals candle's own ops, forward and backward.
        #[test]
        fn as_candles_ops(
            samples in 0usize..150,
            inputs in 1usize..80,
            outputs in 1usize..80,
            layout in 0usize..4,
            with_bias: bool,
            index in 0usize..Activation::ALL.len(),
        ) {
            let activation = Activation::ALL[index];
            let x = match layout {
                0 => wave((samples, inputs), DType::F64, 1.0),
                1 => wave((inputs, samples), DType::F64, 1.0),
                2 => wave((2 * samples, inputs), DType::F64, 1.0),
                _ => wave((1, inputs), DType::F64, 1.0),
            };
            let input = match layout {
                0 => x.as_tensor().clone(),
                1 => x.t().unwrap(),
                2 if samples > 0 => x.reshape((samples, 2, inputs)).unwrap().narrow(1, 1, 1).unwrap().squeeze(1).unwrap(),
                2 => x.as_tensor().clone(),
                _ => x.broadcast_as((samples, inputs)).unwrap(),
            };
            // candle cannot sum zero rows.
            let bias = (with_bias && samples > 0).then(|| wave(outputs, DType::F64, 3.0));
            let w = wave((outputs, inputs), DType::F64, 2.0);
            let [(ours, our_grads), (theirs, their_grads)] =
                both(&input, &w, bias.as_ref().map(Var::as_tensor), activation);
            near(&ours, &theirs, 1e-12, "output");
            let wanted: Vec<&Var> = if samples > 0 { [Some(&x), Some(&w), bias.as_ref()].into_iter().flatten().collect() } else { vec![&w] };
            for var in wanted {
                let [ours, theirs] = [&our_grads, &their_grads].map(|grads| grads.get(var).unwrap());
                near(ours, theirs, 1e-10, "gradient");
            }
        }

        /// Activations of `f32` of any layout equal those of the same contiguous numbers.
        #[test]
        fn activations_of_any_layout(
            rows in 0usize..60,
            columns in 0usize..60,
            layout in 0usize..3,
            index in 0usize..Activation::ALL.len(),
        ) {
            let activation = Activation::ALL[index];
            let x = match layout {
                0 => wave((rows, columns), DType::F32, 0.5).as_tensor().clone(),
                1 => wave((columns, rows), DType::F32, 0.5).t().unwrap(),
                _ => wave((1, columns), DType::F32, 0.5).broadcast_as((rows, columns)).unwrap(),
            };
            let got = numbers(&activate(activation, &x).unwrap());
            let xs = numbers(&x);
            prop_assert_eq!(got.len(), xs.len());
            for (got, x) in got.iter().zip(xs) {
                let expected = activation.value(x);
                prop_assert!((got - expected).abs() <= 3e-7 * expected.abs().max(1e-30), "{} of {}: {}", activation, x, got);
            }
        }
    }
}
