//! Copies of weights that models make when they are built, in what candle-transformers builds alike; and a UNet, whose
//! gradients are partly cut.

use std::collections::BTreeSet;

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Func, Init, Module, VarBuilder};
use candle_transformers::models::stable_diffusion::unet_2d::{
    BlockConfig, UNet2DConditionModel, UNet2DConditionModelConfig,
};
use candle_transformers::models::{dac, encodec, fastvit, mobileone, rwkv_v7};
use wick_init::{InitMap, Initializer, Rule};
use wick_probe::{Trace, check_each_gradient};
use wick_tests::{CPU, normal};

use crate::models::{self, Model};

fn map() -> InitMap {
    map_with_biases(0.01)
}

fn map_with_biases(std: f64) -> InitMap {
    let rules = [
        Rule::draw("**.weight [*]", Initializer::ones()).unwrap(),
        Rule::draw("**.bias", Initializer::normal(std)).unwrap(),
        Rule::draw("**.alpha", Initializer::ones()).unwrap(),
    ];
    InitMap::new(7).with_rules(rules).with_default_init(Initializer::lecun_normal())
}

/// A model of a `VarBuilder`, on an input.
fn model<M>(
    name: &'static str,
    map: InitMap,
    build: impl FnOnce(VarBuilder<'static>) -> Result<M>,
    forward: impl Fn(&M) -> Result<Tensor> + 'static,
) -> Model
where
    M: 'static,
{
    let model = build(map.var_builder(DType::F32, &CPU)).unwrap();
    Model { name, map, forward: Box::new(move || forward(&model)?.sqr()?.mean_all()) }
}

/// EnCodec with two of its four strides: each convolution of the decoder is a weight norm that is merged once.
fn encodec() -> Model {
    let config = encodec::Config {
        target_bandwidths: vec![30.0],
        hidden_size: 8,
        num_filters: 4,
        upsampling_ratios: vec![4, 2],
        codebook_size: 16,
        ..encodec::Config::default()
    };
    let codes = Tensor::new(&[[[3u32, 9, 1, 14]]], &CPU).unwrap();
    model("encodec", map(), move |vb| encodec::Model::new(&config, vb), move |net| net.decode(&codes))
}

fn dac() -> Model {
    let latent = normal(1, "latent", (1, 8, 5), DType::F32);
    model(
        "dac",
        map(),
        |vb| dac::Decoder::new(8, 16, &[2, 2], 1, vb),
        move |decoder| decoder.forward(&latent),
    )
}

/// A map that has no tensors for some of the branches that a model takes where its checkpoint has them.
struct Without(InitMap, &'static [&'static str]);

impl SimpleBackend for Without {
    fn get(&self, shape: Shape, name: &str, init: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        if !self.contains_tensor(name) {
            candle_core::bail!("no tensor {name}");
        }
        SimpleBackend::get(&self.0, shape, name, init, dtype, device)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        SimpleBackend::get_unchecked(&self.0, name, dtype, device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        !self.1.iter().any(|branch| name.contains(branch))
    }
}

fn without(
    name: &'static str,
    branches: &'static [&'static str],
    image: Tensor,
    build: impl FnOnce(VarBuilder<'static>) -> Result<Func<'static>>,
) -> Model {
    let map = map();
    let vb = VarBuilder::from_backend(Box::new(Without(map.clone(), branches)), DType::F32, CPU);
    let net = build(vb).unwrap();
    Model { name, map, forward: Box::new(move || net.forward(&image)?.sqr()?.mean_all()) }
}

fn mobileone() -> Model {
    let config = mobileone::Config::s1();
    without("mobileone", &[".attn."], models::images(1, 3, 32), |vb| mobileone::mobileone(&config, 10, vb))
}

fn fastvit() -> Model {
    let (branches, config) =
        (&["conv_scale", "identity", ".se.", "stages.0.downsample", "pos_emb"], fastvit::Config::t8());
    without("fastvit", branches, models::images(1, 3, 64), |vb| fastvit::fastvit(&config, 10, vb))
}

/// RWKV 7, whose seven matrices of each block and head are transposed and copied once.
fn rwkv() -> Model {
    let config = rwkv_v7::Config {
        version: rwkv_v7::ModelVersion::V7,
        vocab_size: 20,
        hidden_size: 16,
        num_hidden_layers: 2,
        head_size: 8,
        intermediate_size: Some(32),
        rescale_every: 0,
    };
    let shapes = ["w1", "a1", "v1", "g1"].map(|name| (format!("blocks.0.att.{name}"), vec![16, 4]));
    let build_config = config.clone();
    model(
        "rwkv7",
        map().with_shapes(shapes),
        move |vb| rwkv_v7::Model::new(&build_config, vb),
        move |net| net.forward_seq(&[3, 11, 7], &mut rwkv_v7::State::new(&config, &CPU)?),
    )
}

/// A mixture of two experts, packed when it is built as `FusedMoe` packs its own, which runs on CUDA alone: gate and up
/// side by side, and the experts on top of each other. Every token takes both.
fn packed_experts() -> Model {
    let build = |vb: VarBuilder<'static>| {
        let router = candle_nn::linear_no_bias(8, 2, vb.pp("gate"))?;
        let (mut gate_up, mut down) = (Vec::new(), Vec::new());
        for expert in 0..2 {
            let vb = vb.pp(format!("experts.{expert}"));
            let of = |name: &str, dims: (usize, usize)| vb.pp(name).get(dims, "weight");
            gate_up.push(Tensor::cat(&[of("gate_proj", (6, 8))?, of("up_proj", (6, 8))?], 0)?);
            down.push(of("down_proj", (8, 6))?);
        }
        Ok((router, Tensor::stack(&gate_up, 0)?, Tensor::stack(&down, 0)?))
    };
    let tokens = normal(2, "tokens", (5, 8), DType::F32);
    model("packed experts", map(), build, move |(router, gate_up, down)| {
        let routed = candle_nn::ops::softmax(&router.forward(&tokens)?, 1)?;
        let mut sum = tokens.zeros_like()?;
        for expert in 0..2 {
            let both = tokens.matmul(&gate_up.get(expert)?.t()?)?;
            let made =
                (both.narrow(1, 0, 6)?.silu()? * both.narrow(1, 6, 6)?)?.matmul(&down.get(expert)?.t()?)?;
            sum = (sum + made.broadcast_mul(&routed.narrow(1, expert, 1)?)?)?;
        }
        Ok(sum)
    })
}

/// Sets each variable that is reached alone: those of stale copies change no bit of the output, and all others do. The
/// number that are stale, and that are reached.
fn set_each(mut model: Model) -> (usize, usize) {
    let vars = model.map.named_vars();
    let trace = Trace::run(&vars, || (model.forward)()).unwrap();
    let (reach, name) = (trace.reach(), model.name);
    let bits = |loss: &Tensor| loss.to_scalar::<f32>().unwrap().to_bits();
    let before = bits(trace.loss());
    let stale: BTreeSet<&String> = reach.stale.iter().collect();
    let mut reached = 0;
    for (parameter, var) in vars.iter().filter(|(parameter, _)| !reach.unreached.contains(parameter)) {
        reached += 1;
        let copy = var.as_tensor().copy().unwrap();
        let mut changes = |scale: f64, shift: f64| {
            var.set(&copy.affine(scale, shift).unwrap()).unwrap();
            let after = bits(&(model.forward)().unwrap());
            var.set(&copy).unwrap();
            after != before
        };
        // What is live may need a large change until the loss has another digit.
        let is_live =
            changes(1.5, 0.25) || (!stale.contains(parameter) && (changes(-9.0, 3.0) || changes(99.0, 9.0)));
        // Statistics of a batch norm that is not merged are not in the graph.
        let is_statistic = parameter.contains("running_") && !stale.contains(parameter);
        assert!(is_statistic || is_live != stale.contains(parameter), "{name}: {parameter}");
    }
    println!("{name}: {} of {reached} that are reached are stale, of {}", stale.len(), vars.len());
    (stale.len(), reached)
}

#[test]
fn copies_of_codecs_and_recurrent_nets() {
    // Two for each of ten convolutions.
    assert_eq!(set_each(encodec()).0, 20);
    // 2 blocks of a transposed convolution and three units of two, and two more.
    assert_eq!(set_each(dac()).0, 2 * (2 * (1 + 3 * 2) + 2));
    // Four matrices of the time mix and two of the channel mix in each block, and the head.
    assert_eq!(set_each(rwkv()).0, 2 * 6 + 1);
    assert_eq!(set_each(packed_experts()), (6, 7));
}

/// All that a block merges, statistics included: everything but the head.
#[test]
#[ignore = "some minutes: a forward pass for each of 463 variables"]
fn copies_of_mobileone() {
    assert_eq!(set_each(mobileone()), (461, 463));
}

/// What a block merges; scales of layers, convolutions of perceptrons and the head are their own.
#[test]
#[ignore = "some minutes: a forward pass for each of its variables"]
fn copies_of_fastvit() {
    let (stale, reached) = set_each(fastvit());
    assert!(stale > 100 && stale < reached, "{stale} of {reached}");
}

/// In the nets that merge nothing, nothing is stale.
#[test]
fn nothing_is_stale_in_the_others() {
    for name in ["vit", "t5", "gemma", "gemma3", "llama", "mistral", "qwen2", "phi", "mamba", "bert"] {
        let mut model = models::small(name);
        let vars = model.map.named_vars();
        let trace = Trace::run(&vars, || (model.forward)()).unwrap();
        assert!(trace.reach().stale.is_empty(), "{name}");
    }
}

/// The UNet of Stable Diffusion with two blocks, the first one with cross attention.
fn unet() -> Model {
    let block =
        |out_channels, use_cross_attn| BlockConfig { out_channels, use_cross_attn, attention_head_dim: 4 };
    let config = UNet2DConditionModelConfig {
        blocks: vec![block(32, Some(1)), block(64, None)],
        layers_per_block: 1,
        norm_num_groups: 8,
        cross_attention_dim: 16,
        ..UNet2DConditionModelConfig::default()
    };
    let (noise, text) =
        (normal(1, "noise", (1, 4, 16, 16), DType::F32), normal(1, "text", (1, 5, 16), DType::F32));
    model(
        "unet",
        // Biases that are large enough for the loss's digits.
        map_with_biases(0.5),
        move |vb| UNet2DConditionModel::new(vb, 4, 4, false, config),
        move |net| net.forward(&noise, 7.0, &text),
    )
}

/// What a loss of the UNet reaches, and how many of the gradients that come are not whole.
#[test]
#[ignore = "a minute: four forward passes for each of 200 variables"]
fn partial_gradients_of_a_unet() {
    let mut model = unet();
    let vars = model.map.named_vars();
    let trace = Trace::run(&vars, || (model.forward)()).unwrap();
    let reach = trace.reach();
    println!(
        "unet: {} of {} reached, {} layers, {reach}",
        reach.parameters - reach.unreached.len(),
        reach.parameters,
        trace.layers().len()
    );
    let checks = check_each_gradient(&vars, || (model.forward)()).unwrap();
    let wrong: Vec<&String> =
        checks.iter().filter(|(_, check)| !check.is_whole()).map(|(name, _)| name).collect();
    println!("{} of {} are not whole: {wrong:?}", wrong.len(), checks.len());
    assert!(reach.stale.is_empty() && !reach.cuts.is_empty());
    // What is behind the last attention is whole.
    assert!(
        wrong.iter().all(|name| !name.starts_with("conv_out") && !name.starts_with("conv_norm_out")),
        "{wrong:?}"
    );
    assert!(wrong.len() > 40, "{}", wrong.len());
}
