//! Nets for images by the libraries that train them.

use super::common::{OneRule, Rules, biases, vectors};
use super::libraries::torch_defaults;
use crate::conventions::{jax, timm, torch};
use crate::fans::FanMode;
use crate::initializer::Initializer;
use crate::initializer::distribution::Distribution;
use crate::layout::WeightLayout;
use crate::map::rules::Rule;

/// The tokens and positions of a Vision Transformer, and the biases of its patches.
fn tokens() -> [OneRule; 4] {
    [
        Rule::draw("**.cls_token | **.reg_token | **.register_tokens", Initializer::normal(1e-6)),
        Rule::draw("**.mask_token", Initializer::zeros()),
        Rule::draw("**.pos_embed [*, ..] | **.position_embeddings [*, ..]", timm::trunc_normal(0.02)),
        Rule::torch_bias("**.patch_embed.**.bias [*] | **.patch_embeddings.**.bias [*]"),
    ]
}

/// The convolution of the patches, as PyTorch has it.
fn patches() -> OneRule {
    Rule::draw("[*, *, *, *, ..]", torch::linear_default())
}

/// A Vision Transformer as timm starts it (`vision_transformer.py`, `init_weights_vit_timm`): linear layers N(0, 0.02²),
/// positions the same, class and register tokens N(0, 1e-6²), biases 0; the convolution of the patches as PyTorch's
/// default; norms 1, scales of layers (`ls1.gamma`) 1e-5. The names are timm's and the hub's.
pub fn vit_timm() -> Rules {
    tokens()
        .into_iter()
        .chain(biases())
        .chain([patches(), Rule::draw("[*, *]", timm::trunc_normal(0.02))])
        .chain(vectors())
        .collect()
}

/// A Vision Transformer as the original in JAX starts (timm, `init_weights_vit_jax`): linear layers Xavier uniform, the
/// biases of the feed-forward nets N(0, 1e-6²), the patches LeCun normal (cut and corrected); the head (`head`,
/// `classifier`) 0 with the bias `head_bias`: 0, or `-ln C` for `C` classes, timm's `jax_nlhb`. The rest is that of
/// [`vit_timm`].
///
/// ```
/// use candle_core::{DType, Device};
/// use wick_init::{InitMap, presets};
///
/// let map = InitMap::new(1).with_rules(presets::vit_jax(-(10f64.ln()))?);
/// let head = candle_nn::linear(8, 10, map.var_builder(DType::F32, &Device::Cpu).pp("head"))?;
/// assert_eq!(head.bias().unwrap().to_vec1::<f32>()?, [-(10f64.ln()) as f32; 10]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn vit_jax(head_bias: f64) -> Rules {
    let mlp = "**.mlp.**.bias [*] | **.intermediate.dense.bias [*] | **.layer.*.output.dense.bias [*]";
    let [class, mask, positions, _] = tokens();
    [
        Rule::draw("**.head.weight [*, *] | **.classifier.weight [*, *]", Initializer::zeros()),
        Rule::draw("**.head.bias [*] | **.classifier.bias [*]", Initializer::Constant(head_bias)),
        Rule::draw(mlp, Initializer::normal(1e-6)),
        class,
        mask,
        positions,
    ]
    .into_iter()
    .chain(biases())
    .chain([
        Rule::draw("[*, *, *, *, ..]", jax::lecun_normal()),
        Rule::draw("[*, *]", Initializer::xavier_uniform()),
    ])
    .chain(vectors())
    .collect()
}

/// A Vision Transformer as MoCo v3 starts it (timm, `init_weights_vit_moco`): linear layers Xavier uniform, where `qkv`
/// `[3d, in]` counts as three weights, U(±√(6/(d + in))). The rest is that of [`vit_timm`]. (MoCo v3 itself keeps the
/// patches fixed.)
pub fn vit_moco() -> Rules {
    let qkv = Rule::draw("**.*qkv*.weight [*, *]", Initializer::xavier_uniform());
    tokens()
        .into_iter()
        .chain(biases())
        .chain([
            patches(),
            qkv.map(|rule| rule.with_layout(WeightLayout::Stacked { parts: 3 })),
            Rule::draw("[*, *]", Initializer::xavier_uniform()),
        ])
        .chain(vectors())
        .collect()
}

/// DINOv2 (facebookresearch/dinov2, `vision_transformer.py`, `layerscale: 1e-5`): as [`vit_timm`], and the head of the
/// linear evaluation N(0, 0.01²) (`eval/linear.py`).
pub fn dinov2() -> Rules {
    let mut rules = vit_timm()?;
    rules.insert(
        0,
        Rule::draw("head.weight [*, *] | **.linear_head.weight [*, *]", Initializer::normal(0.01))?,
    );
    Ok(rules)
}

/// ConvNeXt (timm, `convnext.py`): convolutions and linear layers N(0, 0.02²), cut at ±2, biases 0; norms 1, the scale
/// of each block (`gamma`) 1e-6, the global response norms of version 2 (`grn`) 0. timm's `head_init_scale` is 1.
pub fn convnext() -> Rules {
    let scale = Rule::draw("**.blocks.*.gamma [*]", Initializer::Constant(1e-6));
    [scale.map(|rule| rule.with_essential("the scales of the blocks (gamma)"))]
        .into_iter()
        .chain(biases())
        .chain([
            Rule::draw("**.grn.weight", Initializer::zeros()),
            Rule::draw("[*, *, ..]", timm::trunc_normal(0.02)),
        ])
        .chain(vectors())
        .collect()
}

/// A ResNet (timm, `resnet.py`, `zero_init_last`; He et al. 2015, Goyal et al. 2017, section 5.1): convolutions
/// N(0, 2/fan_out); the last batch norm of each block 0, so that the block starts as the identity; the other norms 1; the
/// classifier as PyTorch's default. The last norm is `bn3` with `bottleneck` (ResNet-50 and deeper), else `bn2`
/// (ResNet-18 and 34).
pub fn resnet(bottleneck: bool) -> Rules {
    let (last, purpose) = match bottleneck {
        true => {
            ("**.bn3.weight [*]", "the last norms of the blocks (bn3; without bottlenecks, resnet-basic)")
        }
        false => ("**.bn2.weight [*]", "the last norms of the blocks (bn2)"),
    };
    let convolution = Initializer::kaiming_normal().with_mode(FanMode::FanOut);
    let mut rules = vec![
        Rule::draw(last, Initializer::zeros())?.with_essential(purpose),
        Rule::draw("[*, *, *, *]", convolution)?,
    ];
    rules.extend(torch_defaults()?);
    Ok(rules)
}

/// An EfficientNet or MobileNet (timm, `_efficientnet_builder.py`, `_init_weight_goog`; TensorFlow's TPU models):
/// convolutions N(0, 2/fan_out), where the fan_out of a depthwise one is its kernel; linear layers U(±1/√out); biases 0,
/// batch norms 1. Convolutions with more than one input for each of several groups need a rule in front.
pub fn efficientnet() -> Rules {
    let uniform = Initializer::VarianceScaling {
        scale: 1.0 / 3.0,
        mode: FanMode::FanOut,
        distribution: Distribution::Uniform,
    };
    biases()
        .chain([
            Rule::draw("[*, 1, *, *]", Initializer::kaiming_normal()),
            Rule::draw("[*, *, *, *]", Initializer::kaiming_normal().with_mode(FanMode::FanOut)),
            Rule::draw("[*, *]", uniform),
        ])
        .chain(vectors())
        .collect()
}

/// Fixup for a ResNet without norms (Zhang et al. 2019, arXiv 1901.09321, section 3; hongyi-zhang/Fixup) of `blocks`
/// residual blocks (L): the last convolution of each block 0, the others `N(0, 2/fan_out)` times `L^{-1/(2m-2)}` for the
/// `m` convolutions of a block: 3 with `bottleneck` (`conv3` is last), else 2 (`conv2` is last); shortcuts
/// N(0, 2/fan_out); the classifier (`fc`) 0; the scalar biases (`bias1a`, …) 0 and scales 1; the first convolution as
/// PyTorch's default.
pub fn fixup(blocks: usize, bottleneck: bool) -> Rules {
    let length = blocks.max(1) as f64;
    let normal = |scale| Initializer::kaiming_normal().with_mode(FanMode::FanOut).with_gain(f64::sqrt(scale));
    let (first, last, factor) = match bottleneck {
        true => (
            "**.layer*.*.conv1.weight | **.layer*.*.conv2.weight",
            "**.layer*.*.conv3.weight",
            length.powf(-0.5),
        ),
        false => ("**.layer*.*.conv1.weight", "**.layer*.*.conv2.weight", length.recip()),
    };
    [
        Rule::draw(last, Initializer::zeros())
            .map(|rule| rule.with_essential("the last convolutions of the blocks (layer1.0.conv3 or conv2)")),
        Rule::draw(first, normal(2.0 * factor)),
        Rule::draw("**.downsample.**.weight [*, *, ..]", normal(2.0)),
        Rule::draw("**.fc.weight [*, *] | **.fc.bias [*]", Initializer::zeros()),
        Rule::draw("**.bias* [1]", Initializer::zeros()),
        patches(),
    ]
    .into_iter()
    .chain(biases())
    .chain(vectors())
    .collect()
}

/// ReZero and SkipInit (Bachlechner et al. 2020, arXiv 2003.04887; De and Smith 2020, arXiv 2002.10444): the weight of
/// each branch (`resweight`, `skipinit_gain`, `rezero_alpha`) 0, so that the net starts as the identity; all else as
/// PyTorch's defaults.
pub fn rezero() -> Rules {
    let gates = Rule::draw("**.resweight* | **.skipinit_gain | **.rezero_alpha", Initializer::zeros())?;
    let mut rules = vec![gates.with_essential("the weights of the branches (resweight or skipinit_gain)")];
    rules.extend(torch_defaults()?);
    Ok(rules)
}
