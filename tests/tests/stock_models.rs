//! Models that know nothing of Wick get their weights from its `VarBuilder`.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Conv2dConfig, Module, VarBuilder};
use candle_transformers::models::{bert, llama, marian, resnet, t5, vit};
use wick_init::{InitMap, Initializer, Rule, presets};

const CPU: Device = Device::Cpu;

fn std(tensor: &Tensor) -> f64 {
    wick_probe::summarize(tensor, None, 1).unwrap().std
}

fn bits(map: &InitMap) -> BTreeMap<String, Vec<u32>> {
    let bits =
        |t: &Tensor| t.flatten_all()?.to_vec1::<f32>().map(|v| v.iter().map(|x| x.to_bits()).collect());
    map.named_vars().into_iter().map(|(name, var)| (name, bits(&var).unwrap())).collect()
}

/// The map's variables are the model's own weights: a step taken in the map is seen by the model.
fn assert_shared(map: &InitMap, forward: impl Fn() -> Result<Tensor>) {
    let before = std(&forward().unwrap());
    for var in map.vars() {
        var.set(&(var.as_tensor() * 0.5).unwrap()).unwrap();
    }
    assert_ne!(std(&forward().unwrap()), before);
}

#[test]
fn layers_of_candle_nn() -> Result<()> {
    let map = InitMap::new(42).with_default_init(Initializer::xavier_normal());
    let vb = map.var_builder(DType::F32, &CPU);
    let embedding = candle_nn::embedding(100, 64, vb.pp("embedding"))?;
    let conv = candle_nn::conv2d(1, 16, 3, Conv2dConfig { padding: 1, ..Default::default() }, vb.pp("conv"))?;
    let norm = candle_nn::layer_norm(64, 1e-5, vb.pp("norm"))?;
    let linear = candle_nn::linear(64, 32, vb.pp("linear"))?;

    let ids = Tensor::new(&[[1u32, 5, 99], [0, 2, 7]], &CPU)?;
    let images = embedding.forward(&ids)?.unsqueeze(1)?; // [2, 1, 3, 64]
    // candle's fused layer norm has no backward pass: it stands before the loss, beside what is trained.
    let mixed = conv.forward(&images)?.mean(1)?; // [2, 3, 64]
    assert_eq!(norm.forward(&mixed)?.dims(), [2, 3, 64]);
    let output = linear.forward(&mixed)?;
    let gradients = output.sqr()?.sum_all()?.backward()?;
    for (name, var) in map.named_vars() {
        let size = gradients.get(&var).map(|gradient| wick_probe::summarize(gradient, None, 1).unwrap().rms);
        assert_eq!(size.is_some_and(|rms| rms > 0.0), !name.starts_with("norm"), "{name}: {size:?}");
    }

    let expected = [
        ("conv.bias", 0.0),
        ("conv.weight", (2.0f64 / (9.0 + 144.0)).sqrt()),
        ("embedding.weight", (2.0f64 / 164.0).sqrt()),
        ("linear.bias", 0.0),
        ("linear.weight", (2.0f64 / 96.0).sqrt()),
        ("norm.bias", 0.0),
        ("norm.weight", 0.0),
    ];
    let vars = map.named_vars();
    assert_eq!(vars.len(), expected.len());
    for ((name, var), (expected_name, expected_std)) in vars.iter().zip(expected) {
        assert_eq!(name, expected_name);
        if name.ends_with("weight") && expected_std > 0.0 {
            // n ≥ 144 elements: the relative error of a std is 1/√(2n) = 6 % at one sigma.
            assert!(
                (std(var) / expected_std - 1.0).abs() < 4.0 / (2.0 * var.elem_count() as f64).sqrt(),
                "{name}"
            );
        }
    }
    assert_eq!(norm.weight().to_vec1::<f32>()?, [1.0; 64]);
    assert!(map.named_vars().iter().any(|(name, var)| name == "linear.bias" && std(var) > 0.0));
    Ok(())
}

fn small_bert(vb: VarBuilder) -> Result<bert::BertModel> {
    let config = bert::Config {
        vocab_size: 50,
        hidden_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        intermediate_size: 64,
        max_position_embeddings: 16,
        ..Default::default()
    };
    bert::BertModel::load(vb, &config)
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
            assert!((std(&var) / 0.02 - 1.0).abs() < 4.0 / (2.0 * var.elem_count() as f64).sqrt(), "{name}");
        }
    }
    assert_shared(&map, || model.forward(&ids, &ids.zeros_like()?, None));
    Ok(())
}

#[test]
fn a_convolutional_net_draws_what_its_layers_hint_at() -> Result<()> {
    let map = InitMap::new(42);
    let model = resnet::resnet18(10, map.var_builder(DType::F32, &CPU));
    // Without an initializer named, the hints of its layers are all there is; batch norms hint at constants.
    assert!(model.is_ok(), "{:?}", model.err());
    let output = model?.forward(&Tensor::ones((1, 3, 32, 32), DType::F32, &CPU)?)?;
    assert_eq!(output.dims(), [1, 10]);
    Ok(())
}

type Baseline = fn() -> std::result::Result<Vec<Rule>, wick_init::PatternError>;

/// What is drawn by a preset is what it says, tensor by tensor: `meant` is the std by the name, the shape, and the fans of the
/// weight (for a bias, of the one beside it). What comes out has it, within 4.1 standard errors (alpha = 4e-5 a tensor).
fn check_preset(
    (label, preset): (&str, Baseline),
    build: impl Fn(VarBuilder),
    meant: impl Fn(&str, &[usize], wick_init::Fans) -> f64,
) {
    let map = InitMap::new(42).with_rules(preset().unwrap()).strict();
    build(map.var_builder(DType::F32, &CPU));
    let tensors = map.manifest().unwrap().tensors;
    let fans = |name: &str| {
        let weight = tensors.iter().find(|tensor| tensor.name == name && tensor.shape.len() >= 2);
        weight.map_or(wick_init::Fans { fan_in: f64::NAN, fan_out: f64::NAN }, |weight| {
            wick_init::Fans::of(&weight.shape).unwrap()
        })
    };
    for tensor in &tensors {
        let (layer, _) = tensor.name.rsplit_once('.').unwrap();
        let expected = meant(&tensor.name, &tensor.shape, fans(&format!("{layer}.weight")));
        let got = tensor.expected_std.unwrap();
        assert!((got - expected).abs() <= 1e-12, "{label}, {}: {got}, and {expected} is meant", tensor.name);
        let elements: usize = tensor.shape.iter().product();
        let bound = 4.1 * expected / (2.0 * elements as f64).sqrt();
        let drawn = tensor.std.unwrap();
        assert!(elements < 500 || (drawn - expected).abs() <= bound, "{label}, {}: {drawn}", tensor.name);
    }
}

/// Norms by any name (LayerNorm, bn1, downsample.1), biases beside them and beside linear layers, embeddings.
#[test]
fn stock_models_by_the_presets() {
    let bert = |vb: VarBuilder| drop(small_bert(vb).unwrap());
    let resnet = |vb: VarBuilder| drop(resnet::resnet18(10, vb).unwrap());
    let is_embedding = |name: &str| name.contains("_embeddings.weight");
    let torch = |name: &str, shape: &[usize], fans: wick_init::Fans| match shape.len() {
        _ if is_embedding(name) => 1.0,
        // A norm's bias stands beside a vector.
        1 if name.ends_with("bias") && fans.fan_in > 0.0 => (3.0 * fans.fan_in).sqrt().recip(),
        1 => 0.0,
        _ => (3.0 * fans.fan_in).sqrt().recip(),
    };
    let keras = |name: &str, shape: &[usize], fans: wick_init::Fans| match shape.len() {
        _ if is_embedding(name) => 0.05 / 3f64.sqrt(),
        1 => 0.0,
        _ => (2.0 / (fans.fan_in + fans.fan_out)).sqrt(),
    };
    let gpt2 = |_: &str, shape: &[usize], _: wick_init::Fans| if shape.len() == 1 { 0.0 } else { 0.02 };
    // torchvision's own ResNet, whose convolutions keep the variance backward.
    let kaiming: Baseline = || {
        let scheme = Initializer::kaiming_normal().with_mode(wick_init::FanMode::FanOut);
        let mut rules = presets::torch_defaults()?;
        rules.insert(0, Rule::draw("[*, *, *, *]", scheme)?);
        Ok(rules)
    };
    let fan_out = |name: &str, shape: &[usize], fans: wick_init::Fans| match shape.len() {
        4 => (2.0 / fans.fan_out).sqrt(),
        _ => torch(name, shape, fans),
    };
    check_preset(("torch, BERT", presets::torch_defaults), bert, torch);
    check_preset(("keras, BERT", presets::keras_defaults), bert, keras);
    check_preset(("gpt2, BERT", || presets::gpt2(2)), bert, gpt2);
    check_preset(("torch, ResNet", presets::torch_defaults), resnet, torch);
    check_preset(("keras, ResNet", presets::keras_defaults), resnet, keras);
    check_preset(("gpt2, ResNet", || presets::gpt2(2)), resnet, gpt2);
    check_preset(("Kaiming, ResNet", kaiming), resnet, fan_out);
}

/// What batch norms count starts at a mean of 0 and a variance of 1.
#[test]
fn a_batch_norm_passes_on_what_it_is_given() -> Result<()> {
    let map = InitMap::new(42).with_rules(presets::torch_defaults()?).strict();
    resnet::resnet18(10, map.var_builder(DType::F32, &CPU))?;
    let all = |end: &str, value: f64| {
        let vars: Vec<_> = map.named_vars().into_iter().filter(|(name, _)| name.ends_with(end)).collect();
        assert!(vars.len() >= 8, "{end}");
        for (name, var) in vars {
            let off = (var.as_tensor() - value).unwrap().abs().unwrap().max_all().unwrap();
            assert_eq!(off.to_scalar::<f32>().unwrap(), 0.0, "{name}");
        }
    };
    all("running_mean", 0.0);
    all("running_var", 1.0);
    all("bn1.weight", 1.0);
    Ok(())
}

/// Half a model, or the model after another one, has the same weights.
#[test]
fn what_else_is_built_changes_no_bit() -> Result<()> {
    let alone = InitMap::new(7).with_default_init(Initializer::normal(0.02));
    small_bert(alone.var_builder(DType::F32, &CPU).pp("a"))?;

    let among = InitMap::new(7).with_default_init(Initializer::normal(0.02));
    let vb = among.var_builder(DType::F32, &CPU);
    candle_nn::linear(9, 9, vb.pp("z"))?;
    small_bert(vb.pp("b"))?;
    small_bert(vb.pp("a"))?;

    let (alone, among) = (bits(&alone), bits(&among));
    assert!(alone.iter().all(|(name, bits)| &among[name] == bits));
    let a = |name: &str| among[&format!("a.{name}")].clone();
    assert_ne!(a("encoder.layer.0.output.dense.weight"), a("encoder.layer.1.output.dense.weight"));
    Ok(())
}

fn small_llama() -> llama::Config {
    llama::Config {
        hidden_size: 64,
        intermediate_size: 96,
        vocab_size: 100,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        use_flash_attn: false,
        rms_norm_eps: 1e-5,
        rope_theta: 1e4,
        bos_token_id: None,
        eos_token_id: None,
        rope_scaling: None,
        max_position_embeddings: 32,
        tie_word_embeddings: false,
    }
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
    // Each residual projection is narrower by √(2(l+1)), cut at 3 std (.98658 of it is left).
    for tensor in map.manifest().unwrap().tensors {
        let meant = match tensor.name.split('.').collect::<Vec<_>>()[..] {
            ["model", "layers", l, _, "o_proj" | "down_proj", "weight"] => {
                0.02 * 0.98658 / (2.0 * (l.parse::<f64>().unwrap() + 1.0)).sqrt()
            }
            _ if tensor.shape.len() == 2 => 0.02 * 0.98658,
            _ => 0.0,
        };
        assert!((tensor.expected_std.unwrap() - meant).abs() < 1e-6, "{}", tensor.name);
        let elements: usize = tensor.shape.iter().product();
        assert!(
            (tensor.std.unwrap() - meant).abs() <= meant * 4.0 / (2.0 * elements as f64).sqrt(),
            "{}",
            tensor.name
        );
    }
    // Only the rules of layers beyond, of biases and of other norms wait for a tensor.
    let unmet = [
        "**.layers.*.self_attn.o_proj.weight",
        "**.layers.*.mlp.down_proj.weight",
        "**.bias",
        "**.gamma [*]",
        "**.beta [*]",
        "**.running_mean [*]",
        "**.running_var [*]",
        "**.num_batches_tracked",
    ];
    assert_eq!(map.unmatched_rules(), unmet);
    Ok(())
}

/// muP on a Llama: hidden matrices learn at `base/fan_in`, the embedding and the norms at the base rate; the head starts
/// at 0, so that every width starts with the same outputs.
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

/// T-Fixup on Marian, an encoder and a decoder: 0.67 N^-¼ and (9N)^-¼ times Xavier where it says so, and nowhere else.
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
        let meant = match parts[..] {
            ["model", "shared", "weight"] => decoder / 32f64.sqrt(),
            ["model", "encoder", .., "v_proj" | "out_proj" | "fc1" | "fc2", "weight"] => encoder * xavier,
            ["model", "decoder", .., "v_proj" | "out_proj" | "fc1" | "fc2", "weight"] => decoder * xavier,
            [.., "q_proj" | "k_proj", "weight"] => xavier,
            _ => 0.0,
        };
        scaled += usize::from(meant > 0.0 && meant < xavier);
        assert!((tensor.expected_std.unwrap() - meant).abs() < 1e-12, "{}: {meant}", tensor.name);
    }
    // Four of an encoder layer, six of a decoder layer (with its second attention), and the embedding.
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
    // Without a rule, the class token is a tensor of three dimensions that nobody says how to start.
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

/// T5 asks for the scales of its norms without a hint: candle's own map would make a net that puts out zeros.
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
