use super::*;
use crate::deferred::DeferredStats;
use crate::summary::{fraction_outside, summarize};
use candle_core::{Var, backprop::GradStore};
use std::sync::atomic::{AtomicUsize, Ordering};

fn wave(shape: impl Into<Shape>, dtype: DType, seed: f64) -> Var {
    let shape = shape.into();
    let values: Vec<f64> =
        (0..shape.elem_count()).map(|i| (i as f64 * 1.7 + seed).sin() * 0.8 + 0.05).collect();
    Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap())
        .unwrap()
}

fn numbers(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn near(a: &Tensor, b: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(a.dims(), b.dims(), "{what}");
    for (a, b) in numbers(a).into_iter().zip(numbers(b)) {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{what}: {a} {b}");
    }
}

/// The same loss of the same layer, by our op and by candle's ops.
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
                        continue; // candle cannot sum no rows.
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

/// In `f64`, against the slope of the loss itself.
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
    // Rows that are one and the same in memory.
    let row = wave(5, DType::F32, 1.0).broadcast_left(3).unwrap();
    let [(ours, _), (theirs, _)] = both(&row, &turned_w, None, Activation::Relu);
    near(&ours, &theirs, 1e-6, "broadcast");
}

#[test]
fn what_wants_no_gradient_gets_none() {
    let (x, w) = (wave((3, 4), DType::F32, 1.0), wave((2, 4), DType::F32, 2.0));
    let h = dense(&x.detach(), &w, None, Activation::Tanh, None).unwrap();
    let gradients = h.sum_all().unwrap().backward().unwrap();
    assert!(gradients.get(&x).is_none() && gradients.get(&x.detach()).is_none());
    assert!(gradients.get(&w).is_some());
}

#[derive(Default)]
struct Ear(Mutex<Vec<(Summary, Option<f64>)>>);

impl Observer for Ear {
    fn bins(&self) -> usize {
        30
    }

    fn forward(&self, output: ObservedOutput) -> Result<()> {
        assert!(output.pre_activation.is_none(), "a pre-activation that the observer does not want");
        self.0.lock().unwrap().push((output.summary, Some(output.saturated)));
        Ok(())
    }

    fn backward(&self, gradient: ObservedGradient) -> Result<()> {
        self.0.lock().unwrap().push((gradient.summary, None));
        Ok(())
    }
}

fn heard(activation: Activation, dtype: DType, threads: usize) -> Vec<(Summary, Option<f64>)> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let (x, w, b) = (wave((700, 90), dtype, 1.0), wave((110, 90), dtype, 2.0), wave(110, dtype, 3.0));
        let ear = Arc::new(Ear::default());
        let h = dense(&x, &w, Some(&b), activation, Some(ear.clone())).unwrap();
        h.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let heard = ear.0.lock().unwrap();
        heard.clone()
    })
}

#[test]
fn a_listener_hears_what_summaries_of_the_tensors_say() {
    for dtype in [DType::F32, DType::F64] {
        for activation in [Activation::Tanh, Activation::Relu, Activation::Gelu] {
            let (x, w, b) = (wave((700, 90), dtype, 1.0), wave((110, 90), dtype, 2.0), wave(110, dtype, 3.0));
            let z = dense(&x, &w, Some(&b), Activation::Identity, None).unwrap();
            let h = dense(&x, &w, Some(&b), activation, None).unwrap();
            let gradient = (&h * 2.0).unwrap();
            let heard = heard(activation, dtype, 2);
            let (low, high) = activation.saturation_thresholds();
            assert_eq!(heard[0].1, Some(fraction_outside(&z, low, high).unwrap()), "{activation}");
            let expected = [summarize(&h, activation.range(), 30), summarize(&gradient, None, 30)];
            for ((heard, _), expected) in heard.iter().zip(expected) {
                let expected = expected.unwrap();
                assert_eq!((heard.count, heard.min, heard.max), (expected.count, expected.min, expected.max));
                assert_eq!(heard.histogram, expected.histogram, "{activation} {dtype:?}");
                assert!(
                    (heard.mean - expected.mean).abs() < 1e-12 && (heard.std - expected.std).abs() < 1e-12
                );
            }
        }
    }
}

#[test]
fn threads_change_no_bit() {
    for activation in [Activation::Tanh, Activation::Silu] {
        assert_eq!(heard(activation, DType::F32, 1), heard(activation, DType::F32, 2));
    }
}

#[test]
fn the_composed_layer_is_heard_too() {
    let (x, w) = (wave((40, 9), DType::F32, 1.0), wave((11, 9), DType::F32, 2.0));
    let ears = [Arc::new(Ear::default()), Arc::new(Ear::default())];
    dense(&x, &w, None, Activation::Tanh, Some(ears[0].clone()))
        .unwrap()
        .sum_all()
        .unwrap()
        .backward()
        .unwrap();
    let observation = Observation::start(Some(ears[1].clone()));
    let h = composed(&x, &w, None, Activation::Tanh, observation).unwrap();
    h.sum_all().unwrap().backward().unwrap();
    let [ours, theirs] = ears.map(|ear| ear.0.lock().unwrap().clone());
    assert_eq!((ours.len(), theirs.len()), (2, 2));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!((ours.0.std - theirs.0.std).abs() < 1e-6 && ours.1 == theirs.1, "{ours:?} {theirs:?}");
    }
}

/// Keeps all that it is handed: the pre-activation, the output and the gradient, with their statistics.
#[derive(Default)]
struct Keeper {
    asleep: bool,
    fails: bool,
    bins_asked: AtomicUsize,
    outputs: Mutex<Vec<(Summary, f64, Tensor, Tensor)>>,
    gradients: Mutex<Vec<(Summary, Tensor)>>,
}

impl Observer for Keeper {
    fn bins(&self) -> usize {
        self.bins_asked.fetch_add(1, Ordering::Relaxed);
        30
    }

    fn is_active(&self) -> bool {
        !self.asleep
    }

    fn wants_tensors(&self) -> bool {
        true
    }

    fn wants_pre_activation(&self) -> bool {
        true
    }

    fn forward(&self, output: ObservedOutput) -> Result<()> {
        let (zs, hs) = (output.pre_activation.unwrap(), output.output.unwrap());
        assert_eq!(output.dtype, hs.dtype());
        assert!(!zs.track_op() && !hs.track_op(), "tensors in the graph");
        let kept = (output.summary, output.saturated, zs.clone(), hs.clone());
        self.outputs.lock().unwrap().push(kept);
        Ok(())
    }

    fn backward(&self, gradient: ObservedGradient) -> Result<()> {
        if self.fails {
            bail!("an observer that fails");
        }
        self.gradients.lock().unwrap().push((gradient.summary, gradient.gradient.unwrap().clone()));
        Ok(())
    }
}

/// The ways in which a layer goes forward and backward.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Fused,
    Composed,
    Detached,
}

const WAYS: [Way; 3] = [Way::Fused, Way::Composed, Way::Detached];

/// The output, and the gradient of the weight, of a layer that goes back from `gradient`.
fn go(
    way: Way,
    [x, w, b]: [&Var; 3],
    activation: Activation,
    gradient: &Tensor,
    observer: Option<Arc<dyn Observer>>,
) -> Result<(Tensor, Tensor)> {
    let graph = |output: Tensor| {
        let gradients = (&output * gradient)?.sum_all()?.backward()?;
        Ok((output, gradients.get(w).unwrap().clone()))
    };
    match way {
        Way::Fused => graph(dense(x, w, Some(b), activation, observer)?),
        Way::Composed => graph(composed(x, w, Some(b), activation, Observation::start(observer))?),
        Way::Detached => {
            let pass = DensePass::forward(x, w, Some(b), activation, observer)?;
            Ok((pass.output().clone(), pass.backward(gradient, true)?.weight))
        }
    }
}

/// The tensors that an observer gets are those of the product and the activation by themselves, to the bit, and their
/// statistics are what it gets without asking for tensors.
#[test]
fn an_observer_that_wants_tensors_gets_them() {
    for dtype in [DType::F32, DType::F64] {
        for activation in Activation::ALL {
            let (x, w, b) = (wave((70, 9), dtype, 1.0), wave((11, 9), dtype, 2.0), wave(11, dtype, 3.0));
            let gradient = wave((70, 11), dtype, 4.0).detach();
            for way in WAYS {
                let what = format!("{activation} {dtype:?} {way:?}");
                let parts = [&x, &w, &b];
                let keeper = Arc::new(Keeper::default());
                let (output, of_w) = go(way, parts, activation, &gradient, Some(keeper.clone())).unwrap();
                let ear = Arc::new(Ear::default());
                let plain = go(way, parts, activation, &gradient, Some(ear.clone())).unwrap();
                assert_eq!(
                    (numbers(&output), numbers(&of_w)),
                    (numbers(&plain.0), numbers(&plain.1)),
                    "{what}"
                );

                let zs = go(way, parts, Activation::Identity, &gradient, None).unwrap().0;
                let outputs = keeper.outputs.lock().unwrap();
                let [(summary, saturated, kept_zs, kept_output)] = outputs.as_slice() else {
                    panic!("{what}")
                };
                assert_eq!((kept_zs.shape(), kept_output.shape()), (zs.shape(), zs.shape()), "{what}");
                assert_eq!(numbers(kept_zs), numbers(&zs), "{what}");
                let activated = activate(activation, &zs).unwrap();
                assert_eq!(numbers(kept_output), numbers(&activated), "{what}");
                let gradients = keeper.gradients.lock().unwrap();
                let [(gradient_summary, kept_gradient)] = gradients.as_slice() else { panic!("{what}") };
                assert_eq!(numbers(kept_gradient), numbers(&gradient), "{what}");
                let without = ear.0.lock().unwrap();
                assert_eq!(without[0], (summary.clone(), Some(*saturated)), "{what}");
                assert_eq!(without[1], (gradient_summary.clone(), None), "{what}");
            }
        }
    }
}

/// An observer that is not active is not called, is not asked for its bins, and changes nothing.
#[test]
fn an_observer_that_is_not_active_gets_nothing() {
    let (x, w, b) =
        (wave((70, 9), DType::F32, 1.0), wave((11, 9), DType::F32, 2.0), wave(11, DType::F32, 3.0));
    let gradient = wave((70, 11), DType::F32, 4.0).detach();
    for way in WAYS {
        let keeper = Arc::new(Keeper { asleep: true, ..Keeper::default() });
        let observer = DeferredStats::default().observer(keeper.clone(), true);
        let got = go(way, [&x, &w, &b], Activation::Gelu, &gradient, Some(observer)).unwrap();
        let plain = go(way, [&x, &w, &b], Activation::Gelu, &gradient, None).unwrap();
        assert_eq!((numbers(&got.0), numbers(&got.1)), (numbers(&plain.0), numbers(&plain.1)), "{way:?}");
        assert!(keeper.outputs.lock().unwrap().is_empty() && keeper.gradients.lock().unwrap().is_empty());
        assert_eq!(keeper.bins_asked.load(Ordering::Relaxed), 0, "{way:?}");
    }
}

#[test]
fn the_error_of_an_observer_ends_the_pass() {
    let (x, w, b) = (wave((3, 4), DType::F32, 1.0), wave((2, 4), DType::F32, 2.0), wave(2, DType::F32, 3.0));
    let gradient = wave((3, 2), DType::F32, 4.0).detach();
    for way in WAYS {
        let keeper = Arc::new(Keeper { fails: true, ..Keeper::default() });
        let error = go(way, [&x, &w, &b], Activation::Tanh, &gradient, Some(keeper)).unwrap_err().to_string();
        assert!(error.contains("an observer that fails"), "{way:?}: {error}");
    }
}

#[test]
fn what_does_not_fit_is_named() {
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

        /// Any sizes, 0 and 1 among them; inputs that lie row by row, turned, as every second row of more, or one row seen
        /// many times: as candle's own ops, forward and backward.
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
            let seen = match layout {
                0 => x.as_tensor().clone(),
                1 => x.t().unwrap(),
                2 if samples > 0 => x.reshape((samples, 2, inputs)).unwrap().narrow(1, 1, 1).unwrap().squeeze(1).unwrap(),
                2 => x.as_tensor().clone(),
                _ => x.broadcast_as((samples, inputs)).unwrap(),
            };
            // candle cannot sum no rows.
            let bias = (with_bias && samples > 0).then(|| wave(outputs, DType::F64, 3.0));
            let w = wave((outputs, inputs), DType::F64, 2.0);
            let [(ours, our_grads), (theirs, their_grads)] =
                both(&seen, &w, bias.as_ref().map(Var::as_tensor), activation);
            near(&ours, &theirs, 1e-12, "output");
            let wanted: Vec<&Var> = if samples > 0 { [Some(&x), Some(&w), bias.as_ref()].into_iter().flatten().collect() } else { vec![&w] };
            for var in wanted {
                let [ours, theirs] = [&our_grads, &their_grads].map(|grads| grads.get(var).unwrap());
                near(ours, theirs, 1e-10, "gradient");
            }
        }

        /// Activations of any layout, on f32, as on the same numbers row by row.
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
