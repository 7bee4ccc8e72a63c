//! Samples that look alike at the start: where it harms, and where a net learns all the same.

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{DType, Result, Tensor};
use wick_init::{InitMap, presets};
use wick_model::loss::Loss;
use wick_model::{Activation, Mlp, MlpConfig};
use wick_probe::{Fault as Found, Level, Probe, Units, Verdict, judge, notes};
use wick_tests::{CPU, normal};

use super::advice::Changes;
use super::case::{Kind, Setting};
use super::data::Pixels;
use super::nets::Net;
use super::run::{STEPS, Training, data, score, silent};

/// The mean loss of the bench's steps, and the score behind them and behind three times as many.
pub(crate) fn course(setting: &Setting) -> Result<[f64; 3]> {
    let (net, data) = (Net::new(setting.clone()), data(setting)?);
    let changes = Changes::default();
    let mut training = Training::new(&net, &data, &changes)?;
    let silent = silent();
    let mut scores = [0.0; 2];
    for (score_then, steps) in scores.iter_mut().zip([STEPS, 3 * STEPS]) {
        while training.losses.len() < steps {
            training.step(&silent)?;
        }
        *score_then = score(&net, &data)?;
    }
    let loss = training.losses[..STEPS].iter().sum::<f64>() / STEPS as f64;
    Ok([loss, scores[0], scores[1]])
}

/// The spread of the last hidden layer at the start, the factor of the gradients from the last layer to the first, and
/// what is said.
fn start(setting: &Setting) -> Result<(f64, f64, String)> {
    let (net, data) = (Net::new(setting.clone()), data(setting)?);
    let changes = Changes::default();
    let probe = Probe::new().with_units();
    let (xs, _) = Training::new(&net, &data, &changes)?.step(&probe)?;
    let (reports, input) = (probe.layer_reports(), Units::of(&xs)?.unwrap().batch);
    let verdicts = judge(&reports, &input);
    let mut said: Vec<String> =
        verdicts.iter().map(|verdict| format!("{:?} ({:?})", verdict.fault, verdict.level)).collect();
    if notes(&reports, &input).iter().any(|note| note.contains("gradient descent")) {
        said.push("a note".to_owned());
    }
    let gradient = |index: usize| reports[index].gradient_rms.unwrap_or(f64::NAN);
    let last = reports.len() - 1;
    Ok((reports[last - 1].spread.unwrap_or(f64::NAN), gradient(0) / gradient(last), said.join(", ")))
}

/// The setting of a perceptron with PyTorch's default start, or of its twin, whose weights keep the signals.
fn setting(phi: Activation, depth: usize, pixels: Pixels, seed: u64, is_twin: bool) -> Setting {
    let mut setting = Setting::new(Kind::Mlp, 0, seed);
    (setting.phi, setting.depth, setting.pixels) = (phi, depth, pixels);
    (setting.width, setting.batch, setting.told, setting.zero_init) = (128, 64, false, false);
    (setting.torch_biases, setting.torch_weights) = (!is_twin, !is_twin);
    setting
}

/// One row of the table.
fn row((pixels, phi, depth, seed): (Pixels, Activation, usize, u64)) -> Result<String> {
    let of = |is_twin| setting(phi, depth, pixels, seed, is_twin);
    let (spread, gradient, said) = start(&of(false))?;
    let mut row = format!("| {pixels:?} | {phi} | {depth} | {spread:.0e} | {gradient:.0e} | {said} |");
    let is_quick = std::env::var_os("WICK_BENCH_QUICK").is_some();
    for kind in [Kind::Mlp, Kind::Momentum].into_iter().filter(|_| !is_quick) {
        let [mine, twin] = [false, true].map(|is_twin| course(&Setting { kind, ..of(is_twin) }).unwrap());
        let cells = (mine[0] / twin[0], mine[1], twin[1], mine[2], twin[2]);
        row +=
            &format!(" {:.2} | {:.2}, {:.2} | {:.2}, {:.2} |", cells.0, cells.1, cells.2, cells.3, cells.4);
    }
    Ok(row)
}

/// Perceptrons with PyTorch's default start beside twins whose weights keep the signals, by activation and depth:
/// what is said, and whether they learn worse, by Adam and by gradient descent with momentum. `WICK_BENCH_QUICK` leaves the training out.
#[test]
#[ignore = "some minutes"]
fn which_collapses_harm() {
    println!(
        "| data | activation | hidden layers | spread | gradient | said | Adam: loss / twin's | score, twin's | after 480 steps | SGD: loss / twin's | score, twin's | after 480 steps |"
    );
    println!("|{}", "---|".repeat(12));
    let mut rows = Vec::new();
    for pixels in [Pixels::Standardized, Pixels::Teacher] {
        for depth in [3, 5, 6, 8, 12, 20, 30] {
            for phi in
                [Activation::Gelu, Activation::Silu, Activation::Mish, Activation::Relu, Activation::Tanh]
            {
                rows.push((pixels, phi, depth, 1));
            }
        }
    }
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(one) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
            println!("{}", row(*one).unwrap());
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
}

/// Where samples that look alike at the start come apart again: the spread of the last hidden layer and the verdicts.
#[test]
#[ignore = "a minute"]
fn how_collapses_end() {
    for (phi, depth) in [
        (Activation::Gelu, 5),
        (Activation::Silu, 5),
        (Activation::Silu, 6),
        (Activation::Mish, 7),
        (Activation::Gelu, 8),
        (Activation::Silu, 12),
        (Activation::Silu, 20),
    ] {
        let setting = setting(phi, depth, Pixels::Standardized, 1, false);
        let (net, data) = (Net::new(setting.clone()), data(&setting).unwrap());
        let changes = Changes::default();
        let mut training = Training::new(&net, &data, &changes).unwrap();
        let (silent, probe) = (silent(), Probe::new().with_units());
        for step in 0..=STEPS {
            if ![0, 1, 2, 5, 10, 20, 40, 80, 160].contains(&step) {
                training.step(&silent).unwrap();
                continue;
            }
            let (xs, _) = training.step(&probe).unwrap();
            let reports = probe.layer_reports();
            let verdicts = judge(&reports, &Units::of(&xs).unwrap().unwrap().batch);
            let said: Vec<String> =
                verdicts.iter().map(|v| format!("{:?} {:?} {}", v.fault, v.level, v.layer)).collect();
            println!(
                "{phi} {depth} step {step}: loss {:.2}, spreads {}: {}",
                training.losses.last().unwrap(),
                reports
                    .iter()
                    .rev()
                    .take(3)
                    .filter_map(|l| Some(format!("{:.0e}", l.spread?)))
                    .collect::<Vec<_>>()
                    .join(" "),
                said.join(", ")
            );
            probe.next_step();
        }
    }
}

/// What is said of one of Wick's perceptrons with PyTorch's default start, on normal numbers.
fn said_of_default(phi: Activation, hidden: usize, width: usize, outputs: u32, seed: u64) -> Vec<Verdict> {
    let x = normal(seed, "x", (128, 64), DType::F32);
    let classes: Vec<u32> = (0..128).map(|index| index % outputs).collect();
    let y = Tensor::from_vec(classes, 128, &CPU).unwrap();
    let config =
        MlpConfig::new(64, [vec![width; hidden], vec![outputs as usize]].concat(), phi).with_bias(true);
    let map = InitMap::new(seed).with_rules(presets::torch_defaults().unwrap());
    let mlp = Mlp::new(&config, map.var_builder(DType::F32, &CPU)).unwrap();
    let probe = Probe::new().with_units();
    let out = mlp.forward_observed(&x, |layer| Some(probe.observer(layer))).unwrap();
    Loss::CrossEntropy.forward(&out, &y).unwrap().backward().unwrap();
    judge(&probe.layer_reports(), &Units::of(&x).unwrap().unwrap().batch)
}

/// PyTorch's default start of four and five layers of 64 to 256 units learns, and has no verdict in any of 30 seeds. Of
/// 30 layers it does not learn, and each of them is named.
#[test]
fn default_starts_are_named_where_they_harm() {
    for phi in [Activation::Gelu, Activation::Silu, Activation::Mish] {
        for seed in 0..30 {
            let (hidden, width) = ([4, 5][seed as usize % 2], [64, 128, 256][seed as usize % 3]);
            let outputs = 5 + seed as u32 % 6;
            let found = said_of_default(phi, hidden, width, outputs, seed);
            assert!(found.is_empty(), "{phi}, {hidden} layers of {width}, seed {seed}: {found:?}");
        }
        for seed in 0..3 {
            let found = said_of_default(phi, 30, 64, 10, seed);
            let is_named = found
                .iter()
                .any(|verdict| (verdict.fault, verdict.level) == (Found::RankCollapse, Level::Faulty));
            assert!(is_named, "{phi}, seed {seed}: {found:?}");
        }
    }
}
