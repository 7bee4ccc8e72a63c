//! Whether the best learning rate moves with the width, with Adam: in muP (Yang et al. 2022, arXiv 2203.03466) it stays, in
//! the standard parametrization it falls like one over the width.
//!
//! Tanh nets 64-n-n-n-n-10 without biases on the digits. Adam's first steps change a pre-activation of a hidden layer by about
//! the rate times its fan_in, whatever the gradient's size: a tanh net saturates where that is above 1. In few steps the best
//! rate is the largest that a net bears. After 150 steps, tried before with other seeds, the standard one moved by half a decade.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use candle_core::{DType, Tensor};
use candle_nn::{Optimizer, ParamsAdamW};
use wick_init::{InitMap, Initializer, KeyedV1, LearningRate, Rule, presets};
use wick_kernels::{AdamW, Named};
use wick_model::loss::Loss;
use wick_model::{Activation, Mlp, MlpConfig};
use wick_tests::{CPU, digits};
use wick_train::Order;

const WIDTHS: [usize; 4] = [64, 256, 1024, 2048];
const HIDDEN: usize = 4;
const STEPS: u64 = 50;
const BATCH: usize = 64;
/// The last steps, whose mean loss judges a rate.
const LAST: u64 = 10;

/// The mean loss of the last steps of a net 64-n-n-n-n-10; the largest number if it is lost.
fn train(rules: &[Rule], width: usize, rate: f64, seed: u64, (xs, ys): &(Tensor, Tensor)) -> f64 {
    let map = InitMap::new(seed).with_rules(rules.to_vec());
    let widths: Vec<usize> = std::iter::repeat_n(width, HIDDEN).chain([10]).collect();
    let config =
        MlpConfig::new(xs.dims()[1], widths, Activation::Tanh).with_output_activation(Activation::Identity);
    let mlp = Mlp::new(&config.with_bias(false), map.var_builder(DType::F32, &CPU)).unwrap();
    let rates = map.learning_rates().unwrap();
    let named = map.named_vars().into_iter().zip(rates);
    let vars = named.map(|((name, var), (_, factor))| Named::new(&name, var).with_rate(factor)).collect();
    let params = ParamsAdamW { lr: rate, weight_decay: 0.0, ..Default::default() };
    let mut optimizer = AdamW::named(vars, params).unwrap();
    let order = Order::new(ys.elem_count(), KeyedV1::new(seed).key("order")).unwrap();
    let mut sum = 0.0;
    for step in 0..STEPS {
        let indices: Vec<u32> =
            order.position(step, BATCH).unwrap().indices.into_iter().map(|i| i as u32).collect();
        let indices = Tensor::new(indices, &CPU).unwrap();
        let (batch, classes) = (xs.index_select(&indices, 0).unwrap(), ys.index_select(&indices, 0).unwrap());
        let tape = mlp.tape(&batch, |_| None).unwrap();
        let (loss, gradient) = Loss::CrossEntropy.with_gradient(tape.output(), &classes).unwrap();
        let loss = f64::from(loss.to_scalar::<f32>().unwrap());
        if !loss.is_finite() {
            return f64::MAX;
        }
        if step + LAST >= STEPS {
            sum += loss / LAST as f64;
        }
        optimizer.step(&tape.backward_from(&gradient).unwrap()).unwrap();
    }
    sum
}

/// The index of the best rate for each width. Of the narrowest nets all rates are tried; of the others those about the best one
/// of the width before, down to where both neighbours of the best are worse.
fn best_rates(name: &str, rules: &[Rule], rates: &[f64], data: &(Tensor, Tensor)) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    for width in WIDTHS {
        let seeds = if width <= 256 { 4 } else { 2 };
        let mut losses: Vec<Option<f64>> = vec![None; rates.len()];
        let loss = |rate: usize| {
            let losses = (11..=10 + seeds).map(|seed| train(rules, width, rates[rate], seed, data));
            losses.sum::<f64>() / seeds as f64
        };
        let mut wanted: Vec<usize> = match found.last() {
            None => (0..rates.len()).collect(),
            Some(last) => vec![*last],
        };
        let best = loop {
            wanted.iter().for_each(|&rate| losses[rate] = Some(loss(rate)));
            let of = |rate: &usize| losses[*rate].unwrap_or(f64::INFINITY);
            let best = (0..rates.len()).min_by(|a, b| of(a).total_cmp(&of(b))).unwrap();
            let neighbours = [best.checked_sub(1), Some(best + 1).filter(|next| *next < rates.len())];
            wanted = neighbours.into_iter().flatten().filter(|rate| losses[*rate].is_none()).collect();
            if wanted.is_empty() {
                break best;
            }
        };
        let tried: Vec<String> = rates
            .iter()
            .zip(losses)
            .filter_map(|(rate, loss)| Some(format!("{rate:.1e}: {:.4}", loss?)))
            .collect();
        println!("{name}, width {width}: best rate {:.1e}; losses {}", rates[best], tried.join(", "));
        found.push(best);
    }
    found
}

#[test]
#[ignore = "takes minutes"]
fn the_best_rate_stays_in_mup_and_falls_with_the_width_without() {
    let (pixels, classes) = digits();
    let data = (pixels.affine(0.125, -1.0).unwrap(), classes);
    let rates: Vec<f64> = (-9..=-2).map(|half| 10f64.powf(f64::from(half) / 2.0)).collect();
    let standard = [Rule::draw("**", Initializer::lecun_normal()).unwrap()];
    let head = Rule::draw(&format!("layer_{HIDDEN}.weight"), Initializer::zeros()).unwrap();
    let head = head.with_learning_rate(LearningRate::InverseFanIn { base: 64.0 });
    let mup: Vec<Rule> = [head].into_iter().chain(presets::mup(64.0).unwrap()).collect();
    let mup = best_rates("muP", &mup, &rates, &data);
    let plain = best_rates("standard", &standard, &rates, &data);
    let last = WIDTHS.len() - 1;
    assert!(mup[0].abs_diff(mup[last]) <= 1, "{mup:?}");
    // Two steps of √10.
    assert!(plain[0] >= plain[last] + 2, "{plain:?}");
}
