//! What files have beside weights.

use super::super::buffers;

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
