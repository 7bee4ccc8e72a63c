//! Gradients of activations out of the graph that candle keeps where it is told to, to the bit.

use candle_core::{D, DType, Result, Tensor};
use candle_nn::{Conv2dConfig, Linear, Module, VarBuilder};
use wick_init::{InitMap, Initializer, Rule};
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

/// Biases as large as the outputs give the gradients of taps to the bit, for more rows than least squares takes, in two
/// dimensions and in three, and through a layer norm that is written out; least squares are right to rounding only.
#[test]
fn gradients_by_wide_biases_are_those_of_taps() -> Result<()> {
    for rows in [vec![96], vec![6, 16], vec![2, 3]] {
        let map = InitMap::new(4).with_default_init(Initializer::kaiming_normal());
        let map = map.with_rules([Rule::draw("**.bias", Initializer::normal(0.2)).unwrap()]);
        let names = ["a", "b", "c", "d"];
        let build = |vb: VarBuilder<'static>| -> Result<Vec<Linear>> {
            let sizes = [(24, 32), (32, 32), (32, 32), (32, 5)];
            names.iter().zip(sizes).map(|(name, (i, o))| candle_nn::linear(i, o, vb.pp(*name))).collect()
        };
        let layers = build(map.var_builder(DType::F32, &CPU))?;
        let xs = normal(1, "rows", [&rows[..], &[24]].concat(), DType::F32);
        let forward = |layers: &[Linear], probe: Option<&Probe>| -> Result<Tensor> {
            let mut xs = xs.clone();
            for (index, (name, layer)) in names.iter().zip(layers).enumerate() {
                let made = layer.forward(&xs)?;
                let made = match index {
                    0 => made.gelu_erf()?,
                    1 => made.tanh()?,
                    _ => made,
                };
                xs = probe.map_or(Ok(made.clone()), |probe| probe.tap(name, &made))?;
                if index == 2 {
                    let centered = xs.broadcast_sub(&xs.mean_keepdim(D::Minus1)?)?;
                    let size = (centered.sqr()?.mean_keepdim(D::Minus1)? + 1e-5)?.sqrt()?;
                    xs = centered.broadcast_div(&size)?;
                }
            }
            xs.sqr()?.mean_all()
        };
        let probe = Probe::new();
        forward(&layers, Some(&probe))?.backward()?;
        let mut trace = Trace::run(&map.named_vars(), || forward(&layers, None))?;
        let biases = trace.wide_biases()?;
        assert_eq!(biases.len(), 4);
        let wide = forward(&build(biases.var_builder(map.clone(), DType::F32, &CPU))?, None)?;
        assert_eq!(bits(&wide), bits(trace.loss()), "{rows:?}");
        trace.add_wide_gradients(&biases, &wide.backward()?)?;
        let gradient = |trace: &Trace, index: usize| {
            let gradient =
                trace.layers()[index].gradient.as_ref().map(|(by, gradient)| (*by, gradient.clone()));
            gradient.unwrap_or_else(|| panic!("{rows:?}: {} has no gradient", names[index]))
        };
        let records = probe.records();
        for (index, record) in records.iter().enumerate() {
            let (by, gradient) = gradient(&trace, index);
            assert_eq!(by, GradientBy::WideBias);
            let summary = wick_probe::summarize(&gradient, None, record.forward.histogram.counts.len())?;
            assert_eq!(Some(&summary), record.backward.as_ref(), "{rows:?}: {}", names[index]);
        }
        // The twin: least squares, where there are few rows.
        trace.add_gradients(&trace.loss().backward()?, &[&xs])?;
        if rows == [2, 3] {
            let (by, gradient) = gradient(&trace, 2);
            assert_eq!(by, GradientBy::LeastSquares);
            let found = wick_probe::summarize(&gradient, None, 1)?.rms;
            let expected = records[2].backward.as_ref().map_or(f64::NAN, |summary| summary.rms);
            assert!(found != expected && (found / expected - 1.0).abs() < 1e-6, "{found} {expected}");
        }
    }
    Ok(())
}
