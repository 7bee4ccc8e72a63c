//! Cuts that are planted in nets of many kinds, and what a trace costs.

use std::time::Instant;

use candle_core::{D, DType, Result, Tensor};
use candle_nn::{Conv1dConfig, Module, layer_norm, rms_norm};
use wick_init::{InitMap, Initializer};
use wick_probe::{Mark, Trace};
use wick_tests::{CPU, choose, choose_index, normal};

use crate::MODELS;

/// What ends the graph.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cut {
    None,
    Detach,
    LayerNorm,
    RmsNorm,
    Softmax,
    Round,
}

/// A net of dense layers or convolutions, plain or residual, with a cut before one of its layers; the name of that
/// layer, and the trace.
fn net(seed: u64, cut: Cut) -> (String, Trace) {
    let depth = 3 + choose_index(seed, "depth", 4);
    let is_residual = choose_index(seed, "residual", 2) == 0;
    let is_convolutional = choose_index(seed, "convolutional", 3) == 0;
    let width = choose(seed, "width", &[8, 16, 24]);
    let at = 1 + choose_index(seed, "at", depth - 1);
    let map = InitMap::new(seed).with_default_init(Initializer::lecun_normal());
    let vb = map.var_builder(DType::F32, &CPU);
    let config = Conv1dConfig { padding: 1, ..Default::default() };
    let layers: Vec<Box<dyn Module>> = (0..depth)
        .map(|index| -> Box<dyn Module> {
            let (inputs, vb) = (if index == 0 { 5 } else { width }, vb.pp(format!("layer{index}")));
            match is_convolutional {
                true => Box::new(candle_nn::conv1d(inputs, width, 3, config, vb).unwrap()),
                false => Box::new(candle_nn::linear(inputs, width, vb).unwrap()),
            }
        })
        .collect();
    let norms =
        (layer_norm(width, 1e-5, vb.pp("ln")).unwrap(), rms_norm(width, 1e-5, vb.pp("norm")).unwrap());
    let vars: Vec<_> = map
        .named_vars()
        .into_iter()
        .filter(|(name, _)| match cut {
            Cut::LayerNorm => !name.starts_with("norm"),
            Cut::RmsNorm => !name.starts_with("ln"),
            _ => name.starts_with("layer"),
        })
        .collect();
    let of_units = |xs: &Tensor, norm: &dyn Module| match is_convolutional {
        true => norm.forward(&xs.transpose(1, 2)?.contiguous()?)?.transpose(1, 2)?.contiguous(),
        false => norm.forward(xs),
    };
    let forward = || -> Result<Tensor> {
        let shape = if is_convolutional { vec![6, 5, 7] } else { vec![6, 5] };
        let mut xs = normal(seed, "input", shape, DType::F32);
        for (index, layer) in layers.iter().enumerate() {
            let input = match cut {
                _ if index != at => xs.clone(),
                Cut::None => xs.clone(),
                Cut::Detach => xs.detach(),
                Cut::LayerNorm => of_units(&xs, &norms.0)?,
                Cut::RmsNorm => of_units(&xs, &norms.1)?,
                Cut::Softmax => candle_nn::ops::softmax_last_dim(&xs.contiguous()?)?,
                Cut::Round => xs.round()?,
            };
            let made = layer.forward(&input)?.tanh()?;
            xs = if is_residual && index > 0 { (xs + made)? } else { made };
        }
        xs.mean(D::Minus1)?.sqr()?.mean_all()
    };
    (format!("layer{at}"), Trace::run(&vars, forward).unwrap())
}

/// Fifty cuts, ten of each kind: each is named by the layer behind it, and none is named in the same nets without one.
#[test]
fn fifty_cuts_are_found() {
    for (kind, cut) in
        [Cut::Detach, Cut::LayerNorm, Cut::RmsNorm, Cut::Softmax, Cut::Round].into_iter().enumerate()
    {
        for seed in 10 * kind as u64..10 * (kind as u64 + 1) {
            let (behind, trace) = net(seed, cut);
            let found: Vec<&str> = trace.reach().cuts.iter().map(|cut| cut.at.as_str()).collect();
            assert_eq!(found, [behind.as_str()], "{cut:?}, seed {seed}: {}", trace.reach());
            let (_, whole) = net(seed, Cut::None);
            assert!(whole.reach().is_complete(), "seed {seed}: {}", whole.reach());
        }
    }
}

/// Medians of five: the passes of each model, and what the trace takes beside them.
#[test]
#[ignore = "a benchmark"]
fn the_cost_of_a_trace() {
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    for expected in &MODELS {
        let mut model = (expected.model)();
        let vars = model.map.named_vars();
        let (mut forward, mut backward, mut trace) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..5 {
            let mut since = Instant::now();
            let mut lap = |times: &mut Vec<f64>| {
                times.push(since.elapsed().as_secs_f64() * 1e3);
                since = Instant::now();
            };
            let mark = Mark::new().unwrap();
            let loss = (model.forward)().unwrap();
            lap(&mut forward);
            Trace::of(Some(&mark), &loss, &vars).unwrap();
            lap(&mut trace);
            let _ = loss.backward();
            lap(&mut backward);
        }
        let [forward, backward, trace] = [forward, backward, trace].map(median);
        let of_both = 100.0 * trace / (forward + backward);
        let name = model.name;
        println!(
            "{name}: forward {forward:.1} ms, backward {backward:.1} ms, trace {trace:.2} ms, {of_both:.1} %"
        );
    }
}
