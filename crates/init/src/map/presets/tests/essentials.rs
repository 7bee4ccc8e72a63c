//! What a preset needs and a model does not have.

use candle_core::{DType, Device};

use super::super::*;
use crate::map::InitMap;

/// What a preset does not meet in a model of these tensors.
fn unmet(rules: Rules, names: &[impl AsRef<str>]) -> Vec<String> {
    let map = InitMap::new(5).with_rules(rules.unwrap());
    for name in names {
        map.var_builder(DType::F32, &Device::Cpu).get((4, 4), name.as_ref()).unwrap();
    }
    map.unmatched_essentials()
}

/// A model with other names than a preset knows is told, group by group.
#[test]
fn a_preset_that_meets_nothing_says_so() {
    let attention =
        "the projections of attention into the residual stream (self_attn.o_proj or attention.wo)";
    let net =
        "the projections of the feed-forward net into the residual stream (mlp.down_proj or feed_forward.w2)";
    assert_eq!(unmet(llama(4), &["blk.0.attn_output.weight"]), [attention, net]);
    assert_eq!(unmet(llama(4), &["layers.0.attention.wo.weight"]), [net]);
    assert_eq!(
        unmet(llama(4), &["layers.0.self_attn.o_proj.weight", "model.layers.0.mlp.down_proj.weight"]),
        [""; 0]
    );
    assert_eq!(unmet(gpt2(4), &["h.0.attn.dense.weight"]).len(), 2);
    // PyTorch's Transformer has the value projections in one matrix with others.
    let names = [
        "encoder.layers.0.self_attn.in_proj_weight",
        "encoder.layers.0.self_attn.out_proj.weight",
        "encoder.layers.0.linear1.weight",
        "encoder.layers.0.linear2.weight",
        "embed.weight",
    ];
    assert_eq!(unmet(t_fixup(4), &names), ["the value projections (v_proj)"]);
    assert_eq!(unmet(mup(64.0), &["fc.weight"]).len(), 2);
    assert_eq!(unmet(mup(64.0), &["wte.weight", "lm_head.weight"]), [""; 0]);
    for rules in [torch_defaults(), keras_defaults()] {
        assert_eq!(unmet(rules, &["fc.weight"]), [""; 0]);
    }
}

/// Of a model of which some layers have other names, the layers are counted.
#[test]
fn a_preset_that_meets_half_of_a_model_says_so() {
    let in_layers = |layers: std::ops::Range<usize>, names: &[&str]| -> Vec<String> {
        layers.flat_map(|layer| names.iter().map(move |name| name.replace('#', &layer.to_string()))).collect()
    };
    let known = ["layers.#.self_attn.o_proj.weight", "layers.#.mlp.down_proj.weight"];
    let foreign = ["layers.1.mlp.experts.0.down_proj.weight", "layers.1.attention.dense.weight"];
    let mut names: Vec<String> = in_layers(0..1, &known);
    names.extend(foreign.map(str::to_owned));
    names.extend(in_layers(2..4, &known));
    let found = unmet(llama(4), &names);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|text| text.ends_with(" in 1 of 4 layers (layer 1)")), "{found:?}");

    let names = ["h.0.attn.c_proj.weight", "h.0.mlp.fc2.weight"];
    let expected = "the projections of the feed-forward net into the residual stream (mlp.c_proj)";
    assert_eq!(unmet(gpt2(1), &names), [expected]);

    // fairseq's names in the encoder, others in the decoder.
    let weights = ["self_attn.v_proj", "self_attn.out_proj", "fc1", "fc2"];
    let encoder = weights.map(|weight| format!("encoder.layers.#.{weight}.weight"));
    let mut names = in_layers(0..2, &encoder.each_ref().map(String::as_str));
    names.push("encoder.embed_tokens.weight".into());
    assert_eq!(unmet(t_fixup(2), &names), [""; 0]);
    names.extend(in_layers(0..2, &["decoder.layers.#.self_attn.value.weight"]));
    let found = unmet(t_fixup(2), &names);
    assert_eq!(found.len(), 4, "{found:?}");
    assert_eq!(found[0], "the value projections (v_proj) in 2 of 4 layers (the first is decoder layer 0)");
}
