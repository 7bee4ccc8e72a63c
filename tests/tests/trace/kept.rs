//! Gradients of activations out of the graph that candle keeps where it is told to, to the bit.

use candle_core::{DType, Result, Tensor};
use candle_nn::{Conv2dConfig, Module};
use wick_init::{InitMap, Initializer};
use wick_probe::{GradientBy, Probe, Trace};
use wick_tests::{CPU, bits, normal};

/// candle reads the variable once for each thread, so that it has to be there from the start: the test runs in a
/// process of its own.
#[test]
fn gradients_are_those_of_taps() {
    for (value, expected) in [("1", true), ("0", false)] {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kept::with_the_variable", "--ignored"])
            .env("CANDLE_GRAD_DO_NOT_DETACH", value)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.success(), expected, "CANDLE_GRAD_DO_NOT_DETACH={value}");
    }
}

/// Two convolutions and three linear layers, each behind an activation, for more rows than least squares takes.
#[test]
#[ignore = "run by the test above"]
fn with_the_variable() -> Result<()> {
    let map = InitMap::new(3).with_default_init(Initializer::kaiming_normal());
    let vb = map.var_builder(DType::F32, &CPU);
    let config = Conv2dConfig { padding: 1, stride: 2, ..Default::default() };
    let convolutions =
        [candle_nn::conv2d(2, 6, 3, config, vb.pp("a"))?, candle_nn::conv2d(6, 8, 3, config, vb.pp("b"))?];
    let linear = [
        candle_nn::linear(32, 32, vb.pp("c"))?,
        candle_nn::linear(32, 32, vb.pp("d"))?,
        candle_nn::linear(32, 4, vb.pp("e"))?,
    ];
    let images = normal(1, "images", (32, 2 * 64), DType::F32).reshape((32, 2, 8, 8))?;
    let probe = Probe::new();
    let forward = |probe: Option<&Probe>| -> Result<Tensor> {
        let tap = |name: &str, xs: &Tensor| probe.map_or(Ok(xs.clone()), |probe| probe.tap(name, xs));
        let mut xs = images.clone();
        for (name, layer) in ["a", "b"].iter().zip(&convolutions) {
            xs = tap(name, &layer.forward(&xs)?.relu()?)?;
        }
        xs = xs.flatten_from(1)?;
        for (name, layer) in ["c", "d"].iter().zip(&linear) {
            xs = tap(name, &layer.forward(&xs)?.tanh()?)?;
        }
        let targets = Tensor::from_vec((0..32u32).map(|i| i % 4).collect(), 32, &CPU)?;
        candle_nn::loss::cross_entropy(&tap("e", &linear[2].forward(&xs)?)?, &targets)
    };
    forward(Some(&probe))?.backward()?;
    let mut trace = Trace::run(&map.named_vars(), || forward(None))?;
    trace.add_gradients(&trace.loss().backward()?, &[&images])?;
    for (layer, record) in trace.layers().iter().zip(probe.records()) {
        let Some((by, gradient)) = layer.gradient.as_ref() else { panic!("{} has no gradient", layer.name) };
        assert_eq!((layer.name.as_str(), *by), (record.name.as_str(), GradientBy::KeptGraph));
        let rms = wick_probe::summarize(gradient, None, 1)?.rms;
        assert_eq!(
            Some(rms.to_bits()),
            record.backward.map(|gradient| gradient.rms.to_bits()),
            "{}",
            layer.name
        );
        assert_eq!(bits(&layer.output).len(), gradient.elem_count());
    }
    Ok(())
}
