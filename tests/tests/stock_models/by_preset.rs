//! Stock models with weights by the presets: every tensor has the std that the preset states.

use candle_core::{DType, Result};
use candle_nn::VarBuilder;
use candle_transformers::models::resnet;
use wick_init::{FanMode, Fans, InitMap, Initializer, PatternError, Rule, presets};
use wick_tests::{CPU, std_error};

use crate::models::small_bert;

type Preset = fn() -> std::result::Result<Vec<Rule>, PatternError>;

/// Checks every tensor of a model that is drawn by a preset. `expected` is the std by the name, the shape,
/// and the fans of the weight (for a bias, of the weight beside it). The std of the drawn tensor is within
/// 4.1 standard errors of it (alpha = 4e-5 a tensor).
fn check_preset(
    (label, preset): (&str, Preset),
    build: impl Fn(VarBuilder),
    expected: impl Fn(&str, &[usize], Fans) -> f64,
) {
    let map = InitMap::new(42).with_rules(preset().unwrap()).strict();
    build(map.var_builder(DType::F32, &CPU));
    let tensors = map.manifest().unwrap().tensors;
    let fans = |name: &str| {
        let weight = tensors.iter().find(|tensor| tensor.name == name && tensor.shape.len() >= 2);
        weight.map_or(Fans { fan_in: f64::NAN, fan_out: f64::NAN }, |weight| Fans::of(&weight.shape).unwrap())
    };
    for tensor in &tensors {
        let (layer, _) = tensor.name.rsplit_once('.').unwrap();
        let expected = expected(&tensor.name, &tensor.shape, fans(&format!("{layer}.weight")));
        let got = tensor.expected_std.unwrap();
        assert!((got - expected).abs() <= 1e-12, "{label}, {}: {got}, not {expected}", tensor.name);
        let elements: usize = tensor.shape.iter().product();
        let bound = 4.1 * expected * std_error(elements);
        let drawn = tensor.std.unwrap();
        assert!(elements < 500 || (drawn - expected).abs() <= bound, "{label}, {}: {drawn}", tensor.name);
    }
}

/// The models have norms of any name (LayerNorm, bn1, downsample.1), biases beside them and beside linear
/// layers, and embeddings.
#[test]
fn stock_models_by_the_presets() {
    let bert = |vb: VarBuilder| drop(small_bert(vb).unwrap());
    let resnet = |vb: VarBuilder| drop(resnet::resnet18(10, vb).unwrap());
    let is_embedding = |name: &str| name.contains("_embeddings.weight");
    let torch = |name: &str, shape: &[usize], fans: Fans| match shape.len() {
        _ if is_embedding(name) => 1.0,
        // The fans are those of the weight; the weight beside a norm's bias is a vector and has none.
        1 if name.ends_with("bias") && fans.fan_in > 0.0 => (3.0 * fans.fan_in).sqrt().recip(),
        1 => 0.0,
        _ => (3.0 * fans.fan_in).sqrt().recip(),
    };
    let keras = |name: &str, shape: &[usize], fans: Fans| match shape.len() {
        _ if is_embedding(name) => 0.05 / 3f64.sqrt(),
        1 => 0.0,
        _ => (2.0 / (fans.fan_in + fans.fan_out)).sqrt(),
    };
    let gpt2 = |_: &str, shape: &[usize], _: Fans| if shape.len() == 1 { 0.0 } else { 0.02 };
    // torchvision's own ResNet has convolutions that preserve the gradient's variance.
    let kaiming: Preset = || {
        let initializer = Initializer::kaiming_normal().with_mode(FanMode::FanOut);
        let mut rules = presets::torch_defaults()?;
        rules.insert(0, Rule::draw("[*, *, *, *]", initializer)?);
        Ok(rules)
    };
    let fan_out = |name: &str, shape: &[usize], fans: Fans| match shape.len() {
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

/// The running statistics of batch norms start at a mean of 0 and a variance of 1.
#[test]
fn a_batch_norm_starts_as_the_identity() -> Result<()> {
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
