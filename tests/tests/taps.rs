//! Taps in whole models: they change nothing, and report the outputs and gradients as they are.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use candle_core::{DType, Result, Tensor, Var};
use candle_nn::{Module, VarBuilder};
use wick_init::InitMap;
use wick_model::loss::Loss;
use wick_model::{Activation, Mlp, MlpConfig};
use wick_probe::Probe;
use wick_tests::{CPU, bits};

fn normal(name: &str, shape: (usize, usize)) -> Tensor {
    wick_tests::normal(1, name, shape, DType::F32)
}

fn config() -> MlpConfig {
    MlpConfig::new(20, [30, 25, 10], Activation::Gelu).with_bias(true)
}

#[test]
fn outputs_and_parameter_gradients_keep_their_bits() -> Result<()> {
    let (x, y) = (normal("x", (40, 20)), normal("y", (40, 10)));
    let pass = |probe: Option<&Probe>| -> Result<(Vec<u32>, Vec<Vec<u32>>)> {
        let map = InitMap::new(3);
        let mlp = Mlp::new(&config(), map.var_builder(DType::F32, &CPU))?;
        let output = mlp.forward_with(&x, |signal| match probe {
            Some(probe) => {
                let z = probe.tap(&format!("{}.pre", signal.name), signal.pre_activation)?;
                probe.tap_activation(signal.name, signal.activation, &z, &signal.output)
            }
            None => Ok(signal.output),
        })?;
        let gradients = Loss::Squared.forward(&output, &y)?.backward()?;
        let of = |var: &Var| gradients.get(var).map(bits).unwrap_or_default();
        Ok((bits(&output), map.vars().iter().map(of).collect()))
    };
    let probe = Probe::new();
    let (plain, tapped) = (pass(None)?, pass(Some(&probe))?);
    assert_eq!(plain.0, tapped.0);
    assert_eq!(plain.1, tapped.1);
    assert!(plain.1.iter().all(|gradient| !gradient.is_empty()));
    let with_gradient = probe.records().into_iter().filter(|record| record.backward.is_some());
    assert_eq!(
        with_gradient.map(|record| record.name).collect::<Vec<_>>(),
        ["layer_0", "layer_1", "layer_2"]
    );
    Ok(())
}

/// A tap at a layer's output receives the gradient of a variable of zeros that is added to this output.
#[test]
fn a_tap_receives_the_gradient_of_an_added_variable() -> Result<()> {
    let (x, y) = (normal("x", (40, 20)), normal("y", (40, 10)));
    let mlp = Mlp::new(&config(), InitMap::new(3).var_builder(DType::F32, &CPU))?;
    let probe = Probe::new();
    let output = mlp.forward_with(&x, |signal| probe.tap(signal.name, &signal.output))?;
    Loss::Squared.forward(&output, &y)?.backward()?;

    let zeros: Vec<Var> = [30, 25, 10]
        .map(|width| Var::zeros((40, width), DType::F32, &CPU))
        .into_iter()
        .collect::<Result<_>>()?;
    let mut next = zeros.iter();
    let output = mlp.forward_with(&x, |signal| match next.next() {
        Some(zero) => signal.output + zero.as_tensor(),
        None => Ok(signal.output),
    })?;
    let gradients = Loss::Squared.forward(&output, &y)?.backward()?;
    for (record, zero) in probe.records().iter().zip(&zeros) {
        let expected = wick_probe::summarize(gradients.get(zero).unwrap(), None, 30)?;
        assert_eq!(record.backward.as_ref(), Some(&expected), "{}", record.name);
    }
    Ok(())
}

/// Taps work between stock layers of candle, in a module that wraps a module.
#[test]
fn any_forward_pass() -> Result<()> {
    struct Tapped {
        inner: candle_nn::Linear,
        probe: Probe,
    }
    impl Module for Tapped {
        fn forward(&self, xs: &Tensor) -> Result<Tensor> {
            self.probe.tap("linear", &self.inner.forward(xs)?)
        }
    }
    fn tapped(vb: VarBuilder, probe: &Probe) -> Result<Tapped> {
        Ok(Tapped { inner: candle_nn::linear(20, 20, vb)?, probe: probe.clone() })
    }
    let (map, probe) = (InitMap::new(5), Probe::new());
    let vb = map.var_builder(DType::F32, &CPU);
    let net = candle_nn::seq()
        .add(tapped(vb.pp("a"), &probe)?)
        .add(candle_nn::Activation::Relu)
        .add(tapped(vb.pp("b"), &probe)?);
    let output = net.forward(&normal("x", (8, 20)))?;
    output.sqr()?.mean_all()?.backward()?;
    let records = probe.records();
    assert_eq!(records.iter().map(|r| r.call).collect::<Vec<_>>(), [0, 1]);
    let last = wick_probe::summarize(&output, None, 30)?;
    assert_eq!(records[1].forward, last);
    // dJ/dh = 2h/n
    let gradient = records[1].backward.as_ref().unwrap();
    assert!((gradient.rms / (2.0 * last.rms / 160.0) - 1.0).abs() < 1e-6);
    Ok(())
}
