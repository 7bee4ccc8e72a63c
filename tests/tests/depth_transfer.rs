//! CompleteP over depths (Dey et al. 2025, *Don't be lazy: CompleteP enables compute-efficient deep transformers*, arXiv
//! 2505.01618, table 1): residual perceptrons `h ← h + L^-α W₂ φ(W₁ norm(h))` of L blocks, with Adam.
//!
//! In CompleteP α = 1, the learning rates of the weights in the blocks have the factor `L^(α-1)`, here 1, and their `ε` has
//! `L^-α`. Then no change in a few steps grows or fades with the depth. In the standard parametrization α = 0: each block adds its
//! change to the stream, and the stream's changes grow with the depth. With α = ½ and the rate of CompleteP they grow like
//! L^½ of a stream that does not.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use candle_core::{DType, Result, Tensor};
use candle_nn::{Linear, Module, linear_no_bias};
use wick_init::{InitMap, Initializer};
use wick_kernels::Named;
use wick_layers::{LayerNorm, layer_norm_no_bias};
use wick_tests::{CPU, normal};
use wick_train::{CoordinateCheck, CoordinateTable, Error, Subject};

const WIDTH: usize = 64;
const DEPTHS: [usize; 5] = [4, 8, 16, 32, 64];

/// A way to parametrize the depth.
#[derive(Debug, Clone, Copy)]
struct Rule {
    /// Branches are multiplied by `L^-alpha`.
    alpha: f64,
    /// The learning rates of the blocks' weights are multiplied by `L^rate`.
    rate: f64,
    /// Their `ε` by `L^eps`.
    eps: f64,
}

const COMPLETE_P: Rule = Rule { alpha: 1.0, rate: 0.0, eps: -1.0 };
const STANDARD: Rule = Rule { alpha: 0.0, rate: 0.0, eps: 0.0 };
const ROOT: Rule = Rule { alpha: 0.5, rate: 0.0, eps: 0.0 };

struct Block {
    norm: LayerNorm,
    first: Linear,
    second: Linear,
}

impl Block {
    fn branch(&self, h: &Tensor) -> Result<Tensor> {
        self.second.forward(&self.first.forward(&self.norm.forward(h)?)?.relu()?)
    }
}

fn net(
    rule: Rule,
    depth: usize,
    seed: u64,
) -> std::result::Result<Subject<impl FnMut(u64) -> Result<Tensor>>, Error> {
    let map = InitMap::new(seed).with_default_init(Initializer::kaiming_normal());
    let vb = map.var_builder(DType::F32, &CPU);
    let stem = linear_no_bias(10, WIDTH, vb.pp("stem"))?;
    let block = |number: usize| {
        let vb = vb.pp(format!("blocks.{number}"));
        Ok(Block {
            norm: layer_norm_no_bias(WIDTH, 1e-5, vb.pp("norm"))?,
            first: linear_no_bias(WIDTH, WIDTH, vb.pp("first"))?,
            second: linear_no_bias(WIDTH, WIDTH, vb.pp("second"))?,
        })
    };
    let blocks = (0..depth).map(block).collect::<Result<Vec<_>>>()?;
    let head = linear_no_bias(WIDTH, 1, vb.pp("head"))?;
    let power = |exponent: f64| (depth as f64).powf(exponent);
    let named = |(name, var): (String, _)| {
        let is_of_block = name.starts_with("blocks.");
        let named = Named::new(&name, var);
        if is_of_block { named.with_rate(power(rule.rate)).with_eps(power(rule.eps)) } else { named }
    };
    let vars = map.named_vars().into_iter().map(named).collect();
    let (xs, ys) = (normal(1, "xs", (16, 10), DType::F32), normal(1, "ys", (16, 1), DType::F32));
    let factor = power(-rule.alpha);
    // The gradient of this loss does not depend on the outputs: their luck at a depth is left out.
    let loss = move |_| {
        let stream =
            blocks.iter().try_fold(stem.forward(&xs)?, |h, block| (block.branch(&h)? * factor)? + h)?;
        (head.forward(&stream)? * &ys)?.mean_all()
    };
    Ok(Subject { vars, loss })
}

fn check(rule: Rule) -> CoordinateTable {
    let check = CoordinateCheck::new("adamw:lr=0.001,eps=1e-6,weight_decay=0".parse().unwrap()).over_depths();
    let table = check.run(&DEPTHS, &[1, 2, 3, 4, 5], |depth, seed| net(rule, depth, seed)).unwrap();
    println!("{rule:?}\n{table}");
    table
}

fn change(table: &CoordinateTable, layer: &str) -> f64 {
    let layer = table.layers.iter().find(|found| found.layer == layer).unwrap();
    layer.change.unwrap().exponent
}

#[test]
fn in_completep_no_change_depends_on_the_depth() {
    let complete = check(COMPLETE_P);
    assert!(complete.is_independent(0.1), "{complete}");
    // The twins.
    let standard = check(STANDARD);
    assert!(!standard.is_independent(0.1), "{standard}");
    let root = check(ROOT);
    assert!(!root.is_independent(0.1), "{root}");
    assert!(change(&standard, "head") > 0.5, "{standard}");
    assert!(change(&root, "head") > 0.25, "{root}");
}
