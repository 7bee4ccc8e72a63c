//! Stock transformers: BERT, Llama, Marian, ViT, T5.

use candle_core::{DType, Result, Tensor};
use candle_transformers::models::{llama, marian, t5, vit};
use wick_init::{InitMap, Initializer, Rule, presets};
use wick_tests::{CPU, std_error};

use crate::models::{small_bert, small_llama, std};

/// Asserts that the map's variables are the model's own weights: a change in the map changes the model's
/// output.
fn assert_shared(map: &InitMap, forward: impl Fn() -> Result<Tensor>) {
    let before = std(&forward().unwrap());
    for var in map.vars() {
        var.set(&(var.as_tensor() * 0.5).unwrap()).unwrap();
    }
    assert_ne!(std(&forward().unwrap()), before);
}

#[test]
fn bert() -> Result<()> {
    let map = InitMap::new(42).with_default_init(Initializer::normal(0.02));
    let model = small_bert(map.var_builder(DType::F32, &CPU))?;
    let ids = Tensor::new(&[[1u32, 5, 49, 3]], &CPU)?;
    let output = model.forward(&ids, &ids.zeros_like()?, None)?;
    assert_eq!(output.dims(), [1, 4, 32]);
    for (name, var) in map.named_vars() {
        if var.rank() >= 2 && var.elem_count() >= 500 {
            assert!((std(&var) / 0.02 - 1.0).abs() < 4.0 * std_error(var.elem_count()), "{name}");
        }
    }
    assert_shared(&map, || model.forward(&ids, &ids.zeros_like()?, None));
    Ok(())
}

#[test]
fn a_llama_by_its_preset() -> Result<()> {
    let config = small_llama();
    let map = InitMap::new(42).with_rules(presets::llama(3).unwrap()).strict();
    let model = llama::Llama::load(map.var_builder(DType::F32, &CPU), &config)?;
    let mut cache = llama::Cache::new(false, DType::F32, &config, &CPU)?;
    let logits = model.forward(&Tensor::new(&[[1u32, 5, 99]], &CPU)?, 0, &mut cache)?;
    assert_eq!(logits.dims(), [1, 100]);
    assert!(std(&logits) > 0.0);
    // The std of each residual projection, and of the up projection, is smaller by √(2(l+1)); the cut at 3 std leaves .98658 of it.
    for tensor in map.manifest().unwrap().tensors {
        let expected = match tensor.name.split('.').collect::<Vec<_>>()[..] {
            ["model", "embed_tokens", _] => 1.0,
            ["lm_head", _] => 0.98658 / 8.0,
            ["model", "layers", l, _, "o_proj" | "down_proj" | "up_proj", "weight"] => {
                0.02 * 0.98658 / (2.0 * (l.parse::<f64>().unwrap() + 1.0)).sqrt()
            }
            _ if tensor.shape.len() == 2 => 0.02 * 0.98658,
            _ => 0.0,
        };
        assert!(
            (tensor.expected_std.unwrap() - expected).abs() < 1e-5 * expected.max(0.02),
            "{}",
            tensor.name
        );
        let elements: usize = tensor.shape.iter().product();
        assert!(
            (tensor.std.unwrap() - expected).abs() <= expected * 4.0 * std_error(elements),
            "{}",
            tensor.name
        );
    }
    // The rules without a tensor are those of further layers, of biases and of other norms.
    let unmatched = [
        "**.layers.*.self_attn.o_proj.weight",
        "**.layers.*.mlp.down_proj.weight",
        "**.layers.*.mlp.up_proj.weight",
        "**.bias",
        "**.scale [1, 1, ..]",
        "**.emb.weight [*, *]",
        "**.*_emb.weight [*, *]",
        "**.emb_*.weight [*, *]",
        "**.wte.weight [*, *]",
        "**.wpe.weight [*, *]",
        "**.shared.weight [*, *]",
        "**.relative_attention_bias.weight [*, *]",
        "**.ls1.gamma [*]",
        "**.stages.*.blocks.*.gamma [*]",
        "**.gamma [*]",
        "**.beta [*]",
        "**.running_mean [*]",
        "**.running_var [*]",
        "**.num_batches_tracked",
    ];
    assert_eq!(map.unmatched_rules(), unmatched);
    Ok(())
}

/// muP on a Llama: hidden matrices learn at `base/fan_in`, the embedding and the norms at the base rate. The
/// head starts at 0, so that the initial outputs do not depend on the width.
#[test]
fn a_llama_by_mup() -> Result<()> {
    let config = small_llama();
    let map = InitMap::new(42).with_rules(presets::mup(16.0).unwrap()).strict();
    let model = llama::Llama::load(map.var_builder(DType::F32, &CPU), &config)?;
    let mut cache = llama::Cache::new(false, DType::F32, &config, &CPU)?;
    let logits = model.forward(&Tensor::new(&[[1u32, 5, 99]], &CPU)?, 0, &mut cache)?;
    assert_eq!(logits.to_vec2::<f32>()?, [[0.0; 100]]);
    for tensor in map.manifest().unwrap().tensors {
        let hidden = tensor.name.contains("layers") && tensor.shape.len() == 2;
        let (std, rate) = match tensor.name.as_str() {
            "lm_head.weight" => (0.0, 16.0 / 64.0),
            "model.embed_tokens.weight" => (1.0, 1.0),
            _ if hidden => (1.0 / tensor.fan_in.unwrap().sqrt(), 16.0 / tensor.fan_in.unwrap()),
            _ => (0.0, 1.0),
        };
        assert_eq!((tensor.expected_std, tensor.learning_rate), (Some(std), rate), "{}", tensor.name);
    }
    Ok(())
}

/// T-Fixup on Marian, an encoder and a decoder: the weights that it names are 0.67 N^-¼ and (9N)^-¼ times
/// Xavier's, and no others.
#[test]
fn a_translator_by_t_fixup() -> Result<()> {
    let config = marian::Config {
        vocab_size: 40,
        decoder_vocab_size: None,
        max_position_embeddings: 16,
        encoder_layers: 2,
        encoder_ffn_dim: 48,
        encoder_attention_heads: 4,
        decoder_layers: 2,
        decoder_ffn_dim: 48,
        decoder_attention_heads: 4,
        d_model: 32,
        ..marian::Config::opus_mt_tc_big_fr_en()
    };
    let map = InitMap::new(42).with_rules(presets::t_fixup(2).unwrap()).strict();
    marian::MTModel::new(&config, map.var_builder(DType::F32, &CPU))?;
    let (encoder, decoder) = (0.67 * 2f64.powf(-0.25), 18f64.powf(-0.25));
    let mut scaled = 0;
    for tensor in map.manifest().unwrap().tensors {
        let parts: Vec<&str> = tensor.name.split('.').collect();
        let xavier = (2.0 / (tensor.fan_in.unwrap_or(0.0) + tensor.fan_out.unwrap_or(0.0))).sqrt();
        let expected = match parts[..] {
            ["model", "shared", "weight"] => decoder / 32f64.sqrt(),
            ["model", "encoder", .., "v_proj" | "out_proj" | "fc1" | "fc2", "weight"] => encoder * xavier,
            ["model", "decoder", .., "v_proj" | "out_proj" | "fc1" | "fc2", "weight"] => decoder * xavier,
            [.., "q_proj" | "k_proj", "weight"] => xavier,
            _ => 0.0,
        };
        scaled += usize::from(expected > 0.0 && expected < xavier);
        assert!((tensor.expected_std.unwrap() - expected).abs() < 1e-12, "{}: {expected}", tensor.name);
    }
    // These are four of an encoder layer, six of a decoder layer (with its second attention), and the
    // embedding.
    assert_eq!(scaled, 2 * 4 + 2 * 6 + 1);
    Ok(())
}

#[test]
fn a_vision_transformer_by_rules() -> Result<()> {
    let config = vit::Config {
        hidden_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        intermediate_size: 64,
        hidden_act: candle_nn::Activation::Gelu,
        layer_norm_eps: 1e-6,
        image_size: 16,
        patch_size: 8,
        num_channels: 3,
        qkv_bias: true,
    };
    // Without a rule, the class token is a tensor of three dimensions without an initializer.
    let error = vit::Model::new(&config, 10, InitMap::new(42).var_builder(DType::F32, &CPU)).err().unwrap();
    assert!(error.to_string().contains("cls_token"), "{error}");

    let map = InitMap::new(42)
        .with_rules([Rule::draw("**.cls_token", Initializer::zeros()).unwrap()])
        .with_default_init(wick_init::timm::trunc_normal(0.02));
    let model = vit::Model::new(&config, 10, map.var_builder(DType::F32, &CPU).pp("vit"))?;
    let logits = model.forward(&Tensor::ones((2, 3, 16, 16), DType::F32, &CPU)?)?;
    assert_eq!(logits.dims(), [2, 10]);
    let vars = map.named_vars();
    let of = |end: &str| std(&vars.iter().find(|(name, _)| name.ends_with(end)).unwrap().1);
    assert_eq!(of("cls_token"), 0.0);
    assert!((of("position_embeddings") / 0.02 - 1.0).abs() < 0.25);
    Ok(())
}

/// T5 requests the scales of its norms without a hint: candle's own map would give zeros, and the net's
/// output would be zero.
#[test]
fn a_net_that_would_be_dead_is_an_error() -> Result<()> {
    let config = t5::Config {
        vocab_size: 20,
        d_model: 16,
        d_kv: 4,
        d_ff: 32,
        num_layers: 1,
        num_heads: 4,
        ..Default::default()
    };
    let load = |map: &InitMap| t5::T5EncoderModel::load(map.var_builder(DType::F32, &CPU), &config);
    let error =
        load(&InitMap::new(1).with_default_init(Initializer::lecun_normal())).err().unwrap().to_string();
    assert!(error.contains("layer_norm.weight' [16]"), "{error}");
    let ones = Rule::draw("**.weight [*]", Initializer::ones()).unwrap();
    let map = InitMap::new(1).with_default_init(Initializer::lecun_normal()).with_rules([ones]);
    let output = load(&map)?.forward(&Tensor::new(&[[3u32, 7]], &CPU)?)?;
    assert!(std(&output) > 0.1);
    Ok(())
}
