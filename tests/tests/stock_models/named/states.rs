//! Models whose layers have a state.

use candle_nn::VarBuilder;
use candle_transformers::models::{mamba, rwkv_v7};
use wick_init::{InitMap, presets};

use super::Is::{Between, Ramp, Std, Value};
use super::{check, layer, wrong};

/// state-spaces/mamba's `mamba_simple.py` and `mixer_seq_simple.py` on candle's Mamba.
#[test]
fn mamba() {
    let config = mamba::Config { d_model: 64, n_layer: 3, vocab_size: 200, pad_vocab_size_multiple: 8 };
    let build = |vb: &VarBuilder| drop(mamba::Model::new(&config, vb.clone()).unwrap());
    let bound = |fan_in: f64| Between(-fan_in.sqrt().recip(), fan_in.sqrt().recip());
    let softplus_inverse = |dt: f64| dt + (-(-dt).exp_m1()).ln();
    check("mamba", presets::mamba(3), build, |name, shape| match name.rsplit("mixer.").next().unwrap() {
        "A_log" => Ramp(Box::new(|n| (n + 1.0).ln())),
        "D" => Value(1.0),
        "conv1d.weight" | "conv1d.bias" => bound(4.0),
        "dt_proj.bias" => {
            // The logarithm is uniform: half of the bias is below that of a step of 0.01.
            let (low, high) = (softplus_inverse(0.001), softplus_inverse(0.1));
            let middle = softplus_inverse(0.01);
            assert!((low..middle).contains(&softplus_inverse(0.005)) && middle < high);
            Between(low - 1e-3, high + 1e-3)
        }
        "out_proj.weight" => bound(3.0 * shape[1] as f64),
        _ if name.contains("norm") => Value(1.0),
        _ if name.contains("embedding") => Std(0.02),
        _ => bound(shape[1] as f64),
    });
}

/// BlinkDL/RWKV-LM's `RWKV-v7/train_temp/src/model.py` on candle's RWKV-7.
#[test]
fn rwkv_7() {
    let config = rwkv_v7::Config {
        version: rwkv_v7::ModelVersion::V7,
        vocab_size: 200,
        hidden_size: 128,
        num_hidden_layers: 3,
        head_size: 64,
        intermediate_size: None,
        rescale_every: 0,
    };
    let (c, n, depth) = (128.0, 64.0, 3.0);
    // The model asks for these without a shape.
    let ranks = [("w1", 32), ("a1", 32), ("v1", 32), ("g1", 64)];
    let shapes = ranks.map(|(map, rank)| (format!("blocks.0.att.{map}"), vec![128, rank]));
    let build = |vb: &VarBuilder| drop(rwkv_v7::Model::new(&config, vb.clone()).unwrap());
    let zigzag = move |i: f64| {
        let z = ((i % n) - (n - 1.0) / 2.0) / ((n - 1.0) / 2.0);
        z * z.abs()
    };
    let expected = |name: &str, shape: &[usize]| {
        let l = layer(name);
        let (to_one, to_zero) = (l / (depth - 1.0), 1.0 - l / depth);
        let linear = move |i: f64| i / (c - 1.0) - 0.5;
        let mix = |power: f64| Ramp(Box::new(move |i| 1.0 - (i / c).powf(power)));
        let part = name.split_once("blocks.").map_or(name, |(_, rest)| rest.split_once('.').unwrap().1);
        match part {
            "att.x_r" | "att.x_g" => mix(0.2 * to_zero),
            "att.x_w" | "att.x_a" => mix(0.9 * to_zero),
            "att.x_k" | "att.x_v" => mix(0.7 * to_zero),
            "ffn.x_k" => mix(to_zero.powi(4)),
            "att.w0" => Ramp(Box::new(move |i| {
                -6.0 + 6.0 * (i / (c - 1.0)).powf(1.0 + to_one.powf(0.3)) + 0.5 + 2.5 * zigzag(i)
            })),
            "att.a0" => Ramp(Box::new(move |i| -0.19 + 0.3 * zigzag(i) + 0.4 * linear(i))),
            "att.v0" => Ramp(Box::new(move |i| 0.73 - 0.4 * linear(i))),
            "att.k_k" => Ramp(Box::new(move |i| 0.71 - 0.1 * linear(i))),
            "att.k_a" => Value(1.02),
            "att.r_k" => Value(-0.04),
            "att.ln_x.weight" => Value(((1.0 + l) / depth).powf(0.7)),
            "att.w1" | "att.a1" | "att.v1" | "att.g1" | "att.output.weight" | "ffn.value.weight" => {
                Value(0.0)
            }
            // Orthogonal rows or columns: the mean square is gain²/max(rows, columns).
            "att.w2" | "att.a2" | "att.v2" | "att.g2" => Std(0.1 / c.sqrt()),
            "att.key.weight" => Std(0.1 / c.sqrt()),
            "att.receptance.weight" | "att.value.weight" => Std(1.0 / c.sqrt()),
            "ffn.key.weight" => Std(1.0 / (shape[0] as f64).sqrt()),
            "emb.weight" => Between(-1e-4, 1e-4),
            "head.weight" => Std(0.5 * (200.0 / c).sqrt() / 200f64.sqrt()),
            _ if name.ends_with("bias") => Value(0.0),
            _ => Value(1.0),
        }
    };
    let map = InitMap::new(42).with_rules(presets::rwkv7(3).unwrap()).strict().with_shapes(shapes.clone());
    let found = wrong(&map, &build, &expected);
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(map.unmatched_essentials(), [""; 0]);
    // The twin is a model of four layers, whose vectors go by another depth.
    let map = InitMap::new(42).with_rules(presets::rwkv7(4).unwrap()).strict().with_shapes(shapes);
    assert!(wrong(&map, &build, &expected).len() > 10);
}
