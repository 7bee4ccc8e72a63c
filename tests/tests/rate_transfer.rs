//! The best learning rate of Adam over widths, in the standard parametrization and in muP.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use candle_core::{DType, Tensor};
use candle_nn::{Module, Optimizer, ParamsAdamW, linear, loss::cross_entropy};
use wick_init::{InitMap, Initializer, KeyedV1, Rule, presets};
use wick_kernels::{AdamW, Named};
use wick_tests::{CPU, digits};
use wick_train::Order;

const STEPS: u64 = 150;
const BATCH: usize = 64;
const WIDTHS: [usize; 3] = [64, 256, 1024];

/// The mean loss of the last 20 steps of a net 64-n-n-10; the loss at the start if it is lost.
fn train(rules: &[Rule], width: usize, rate: f64, (xs, ys): &(Tensor, Tensor)) -> f64 {
    let map = InitMap::new(1).with_rules(rules.to_vec());
    let vb = map.var_builder(DType::F32, &CPU);
    let layers = [
        linear(64, width, vb.pp("input")).unwrap(),
        linear(width, width, vb.pp("hidden")).unwrap(),
        linear(width, 10, vb.pp("head")).unwrap(),
    ];
    let rates = map.learning_rates().unwrap();
    let named = map.named_vars().into_iter().zip(rates);
    let vars = named.map(|((name, var), (_, factor))| Named::new(&name, var).with_rate(factor)).collect();
    let params = ParamsAdamW { lr: rate, weight_decay: 0.0, ..Default::default() };
    let mut optimizer = AdamW::named(vars, params).unwrap();
    let order = Order::new(ys.elem_count(), KeyedV1::new(1).key("order")).unwrap();
    let mut last = Vec::new();
    for step in 0..STEPS {
        let indices: Vec<u32> =
            order.position(step, BATCH).unwrap().indices.into_iter().map(|i| i as u32).collect();
        let indices = Tensor::new(indices, &CPU).unwrap();
        let (batch, classes) = (xs.index_select(&indices, 0).unwrap(), ys.index_select(&indices, 0).unwrap());
        let [input, hidden, head] = &layers;
        let hidden = hidden.forward(&input.forward(&batch).unwrap().relu().unwrap()).unwrap().relu().unwrap();
        let loss = cross_entropy(&head.forward(&hidden).unwrap(), &classes).unwrap();
        let value = f64::from(loss.to_scalar::<f32>().unwrap());
        if !value.is_finite() {
            return f64::MAX;
        }
        if step + 20 >= STEPS {
            last.push(value);
        }
        optimizer.backward_step(&loss).unwrap();
    }
    last.iter().sum::<f64>() / last.len() as f64
}

/// The index of the best rate for each width.
fn best_rates(name: &str, rules: &[Rule], rates: &[f64], data: &(Tensor, Tensor)) -> Vec<usize> {
    let best = |width| {
        let losses: Vec<f64> = rates.iter().map(|&rate| train(rules, width, rate, data)).collect();
        let best = (0..rates.len()).min_by(|&a, &b| losses[a].total_cmp(&losses[b])).unwrap();
        println!("{name}, width {width}: best rate {:.1e}, losses {losses:.3?}", rates[best]);
        best
    };
    WIDTHS.map(best).to_vec()
}

#[test]
#[ignore = "takes minutes"]
fn the_best_rate_stays_in_mup_and_falls_with_the_width_without() {
    let (pixels, classes) = digits();
    let data = (pixels.affine(0.125, -1.0).unwrap(), classes);
    let rates: Vec<f64> = (-9..=-1).map(|half| 10f64.powf(f64::from(half) / 2.0)).collect();
    let standard = [
        Rule::draw("**.bias", Initializer::zeros()).unwrap(),
        Rule::draw("**", Initializer::kaiming_normal()).unwrap(),
    ];
    let mup = best_rates("muP", &presets::mup(64.0).unwrap(), &rates, &data);
    let plain = best_rates("standard", &standard, &rates, &data);
    let (first, last) = (0, WIDTHS.len() - 1);
    assert!(mup[first].abs_diff(mup[last]) <= 1, "{mup:?}");
    // By half a decade in 150 steps.
    assert!(plain[first] > plain[last], "{plain:?}");
}
