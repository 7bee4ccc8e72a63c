use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{DType, Var, bail};

use super::*;
use crate::activation::activate;
use crate::dense::composed::composed;
use crate::dense::dense;
use crate::dense::detached::DensePass;
use crate::dense::tests::{Recorder, numbers, wave};

/// Keeps the pre-activation, the output and the gradient that it gets, with their statistics.
#[derive(Default)]
struct Keeper {
    inactive: bool,
    fails_forward: bool,
    fails_backward: bool,
    active_asked: AtomicUsize,
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
        self.active_asked.fetch_add(1, Ordering::Relaxed);
        !self.inactive
    }

    fn wants_tensors(&self) -> bool {
        true
    }

    fn wants_pre_activation(&self) -> bool {
        true
    }

    fn forward(&self, output: ObservedOutput) -> Result<u64> {
        if self.fails_forward {
            bail!("an observer that fails");
        }
        let (zs, hs) = (output.pre_activation.unwrap(), output.output.unwrap());
        assert_eq!(output.dtype, hs.dtype());
        assert!(!zs.track_op() && !hs.track_op(), "tensors in the graph");
        let kept = (output.summary, output.saturated, zs.clone(), hs.clone());
        self.outputs.lock().unwrap().push(kept);
        Ok(0)
    }

    fn backward(&self, gradient: ObservedGradient) -> Result<()> {
        if self.fails_backward {
            bail!("an observer that fails");
        }
        self.gradients.lock().unwrap().push((gradient.summary, gradient.gradient.unwrap().clone()));
        Ok(())
    }
}

/// The paths on which a layer goes forward and backward.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Path {
    Fused,
    Composed,
    Detached,
}

const PATHS: [Path; 3] = [Path::Fused, Path::Composed, Path::Detached];

/// The output and the gradient of the weight of a layer, for a gradient of the output.
fn run(
    path: Path,
    [x, w, b]: [&Var; 3],
    activation: Activation,
    gradient: &Tensor,
    observer: Option<Arc<dyn Observer>>,
) -> Result<(Tensor, Tensor)> {
    let graph = |output: Tensor| {
        let gradients = (&output * gradient)?.sum_all()?.backward()?;
        Ok((output, gradients.get(w).unwrap().clone()))
    };
    match path {
        Path::Fused => graph(dense(x, w, Some(b), activation, observer)?),
        Path::Composed => graph(composed(x, w, Some(b), activation, Observation::start(observer))?),
        Path::Detached => {
            let pass = DensePass::forward(x, w, Some(b), activation, observer)?;
            Ok((pass.output().clone(), pass.backward(gradient, true)?.weight))
        }
    }
}

/// An observer gets, to the bit, the tensors that the product and the activation by themselves compute, with
/// the same statistics as an observer that does not want tensors.
#[test]
fn an_observer_that_wants_tensors_gets_them() {
    for dtype in [DType::F32, DType::F64] {
        for activation in Activation::ALL {
            let (x, w, b) = (wave((70, 9), dtype, 1.0), wave((11, 9), dtype, 2.0), wave(11, dtype, 3.0));
            let gradient = wave((70, 11), dtype, 4.0).detach();
            for path in PATHS {
                let what = format!("{activation} {dtype:?} {path:?}");
                let parts = [&x, &w, &b];
                let keeper = Arc::new(Keeper::default());
                let (output, of_w) = run(path, parts, activation, &gradient, Some(keeper.clone())).unwrap();
                let recorder = Arc::new(Recorder::default());
                let plain = run(path, parts, activation, &gradient, Some(recorder.clone())).unwrap();
                assert_eq!(
                    (numbers(&output), numbers(&of_w)),
                    (numbers(&plain.0), numbers(&plain.1)),
                    "{what}"
                );

                let zs = run(path, parts, Activation::Identity, &gradient, None).unwrap().0;
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
                let without = recorder.0.lock().unwrap();
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
    for path in PATHS {
        let keeper = Arc::new(Keeper { inactive: true, ..Keeper::default() });
        let observer = DeferredStats::default().observer(keeper.clone(), true);
        let got = run(path, [&x, &w, &b], Activation::Gelu, &gradient, Some(observer)).unwrap();
        let plain = run(path, [&x, &w, &b], Activation::Gelu, &gradient, None).unwrap();
        assert_eq!((numbers(&got.0), numbers(&got.1)), (numbers(&plain.0), numbers(&plain.1)), "{path:?}");
        assert!(keeper.outputs.lock().unwrap().is_empty() && keeper.gradients.lock().unwrap().is_empty());
        assert_eq!(keeper.active_asked.load(Ordering::Relaxed), 1, "{path:?}");
        assert_eq!(keeper.bins_asked.load(Ordering::Relaxed), 0, "{path:?}");
    }
}

#[test]
fn the_error_of_an_observer_ends_the_pass() {
    let (x, w, b) = (wave((3, 4), DType::F32, 1.0), wave((2, 4), DType::F32, 2.0), wave(2, DType::F32, 3.0));
    let gradient = wave((3, 2), DType::F32, 4.0).detach();
    for path in PATHS {
        for fails_forward in [true, false] {
            let keeper = Keeper { fails_forward, fails_backward: !fails_forward, ..Keeper::default() };
            let got = run(path, [&x, &w, &b], Activation::Tanh, &gradient, Some(Arc::new(keeper)));
            let error = got.unwrap_err().to_string();
            assert!(error.contains("an observer that fails"), "{path:?}: {error}");
        }
    }
}
