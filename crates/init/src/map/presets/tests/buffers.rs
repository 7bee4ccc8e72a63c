//! What files have beside weights.

use candle_core::{DType, Device};

use super::super::{self as presets, buffers};
use crate::map::InitMap;

#[test]
fn buffers_of_releases_are_known_and_weights_are_not_taken_for_them() {
    let buffers = buffers().unwrap();
    for (name, shape) in [
        ("rope.freqs", &[64][..]),
        ("model.layers.0.self_attn.rotary_emb.inv_freq", &[64]),
        ("h.0.attn.bias", &[1, 1, 1024, 1024]),
        ("h.0.attn.masked_bias", &[]),
        ("gpt_neox.layers.3.attention.bias", &[1, 1, 2048, 2048]),
        ("encoder.version", &[3]),
        ("encoder.embed_positions._float_tensor", &[1]),
        ("layers.0.blocks.1.attn_mask", &[4, 49, 49]),
    ] {
        assert!(buffers.matches(name, shape), "{name}");
    }
    for (name, shape) in [
        ("h.0.attn.c_attn.bias", &[2304][..]),
        ("h.0.attn.bias", &[8]),
        ("attn.q_proj.bias", &[8]),
        ("gn1/scale", &[8]),
    ] {
        assert!(!buffers.matches(name, shape), "{name}");
    }
}

#[test]
fn names_of_tensorflow_1_are_read_without_their_end() {
    let map = InitMap::new(1)
        .with_rules(presets::torch_defaults().unwrap())
        .strict()
        .with_shapes([("bert/pooler/dense/kernel:0".to_owned(), vec![4, 9])]);
    let vb = map.var_builder(DType::F32, &Device::Cpu);
    vb.get((4, 9), "bert/pooler/dense/kernel:0").unwrap();
    vb.get(9, "bert/pooler/dense/bias:0").unwrap();
    let tensors = map.manifest().unwrap().tensors;
    assert_eq!(tensors[1].fan_in, Some(4.0));
    assert_eq!(tensors[0].init, "uniform:low=-0.5,high=0.5");
    assert!(buffers().unwrap().matches("global_step", &[]));
}
