//! The architectures that take images. Those that candle builds from a name alone read timm's configs, which have
//! the name as `architecture`.

use candle_core::{Result, Tensor};
use candle_nn::{Module, ModuleT, VarBuilder};
use candle_transformers::models::{convmixer, convnext, efficientnet, repvgg, resnet, vgg, vit};
use serde::Deserialize;
use serde_json::Value;

use crate::architecture::{Architecture, Takes};

/// What timm's configs have, of which a model of candle needs the name and the classes.
#[derive(Debug, Deserialize)]
struct Timm {
    architecture: String,
    num_classes: usize,
}

/// A vision transformer, with the classes of its head.
#[derive(Debug, Deserialize)]
struct Vit {
    #[serde(flatten)]
    config: vit::Config,
    num_labels: Option<usize>,
    #[serde(default)]
    id2label: serde_json::Map<String, Value>,
}

/// The rows. A row has the name, what configs call it, a small config, and how a model is built and run.
pub(crate) fn rows() -> Vec<Architecture> {
    vec![
        Architecture::new(
            "vit",
            &["vit"],
            r#"{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
                "hidden_act": "gelu", "layer_norm_eps": 1e-6, "image_size": 16, "patch_size": 8,
                "num_channels": 3, "qkv_bias": true, "num_labels": 10}"#,
            |config| Takes::Images {
                channels: config["num_channels"].as_u64().unwrap_or(3) as usize,
                size: config["image_size"].as_u64().unwrap_or(224) as usize,
                is_fixed: true,
            },
            |config: &Vit, vb| {
                // transformers' models have two classes where the config names none.
                let of_names = Some(config.id2label.len()).filter(|labels| *labels > 0);
                vit::Model::new(&config.config, config.num_labels.or(of_names).unwrap_or(2), vb)
            },
            |vit, images| vit.forward(images),
        )
        .with_batch(3),
        named(
            "resnet18",
            &["resnet18"],
            r#"{"architecture": "resnet18", "num_classes": 10,
            "pretrained_cfg": {"input_size": [3, 64, 64]}}"#,
            |_, classes, vb| resnet::resnet18(classes, vb),
        ),
        named(
            "resnet50",
            &["resnet50"],
            r#"{"architecture": "resnet50", "num_classes": 10,
            "pretrained_cfg": {"input_size": [3, 64, 64]}}"#,
            |_, classes, vb| resnet::resnet50(classes, vb),
        ),
        named(
            "efficientnet-b0",
            &["efficientnet_b0", "tf_efficientnet_b0"],
            r#"{"architecture": "efficientnet_b0", "num_classes": 10,
                "pretrained_cfg": {"input_size": [3, 64, 64]}}"#,
            |_, classes, vb| efficientnet::EfficientNet::new(vb, efficientnet::MBConvConfig::b0(), classes),
        ),
        named(
            "convnext",
            &[
                "convnext_atto",
                "convnext_femto",
                "convnext_pico",
                "convnext_nano",
                "convnext_tiny",
                "convnext_small",
                "convnext_base",
                "convnext_large",
                "convnext_xlarge",
            ],
            r#"{"architecture": "convnext_atto", "num_classes": 10,
                "pretrained_cfg": {"input_size": [3, 64, 64]}}"#,
            |name, classes, vb| {
                let config = match name {
                    "convnext_femto" => convnext::Config::femto(),
                    "convnext_pico" => convnext::Config::pico(),
                    "convnext_nano" => convnext::Config::nano(),
                    "convnext_tiny" => convnext::Config::tiny(),
                    "convnext_small" => convnext::Config::small(),
                    "convnext_base" => convnext::Config::base(),
                    "convnext_large" => convnext::Config::large(),
                    "convnext_xlarge" => convnext::Config::xlarge(),
                    _ => convnext::Config::atto(),
                };
                convnext::convnext(&config, classes, vb)
            },
        )
        .with_batch(1),
        named(
            "convmixer",
            &["convmixer_1024_20_ks9_p14", "convmixer_1536_20"],
            r#"{"architecture": "convmixer_1024_20_ks9_p14", "num_classes": 10,
                "pretrained_cfg": {"input_size": [3, 28, 28]}}"#,
            |name, classes, vb| match name {
                "convmixer_1536_20" => convmixer::c1536_20(classes, vb),
                _ => convmixer::c1024_20(classes, vb),
            },
        )
        .with_batch(1),
        named(
            "repvgg",
            &[
                "repvgg_a0",
                "repvgg_a1",
                "repvgg_a2",
                "repvgg_b0",
                "repvgg_b1",
                "repvgg_b2",
                "repvgg_b3",
                "repvgg_b1g4",
                "repvgg_b2g4",
                "repvgg_b3g4",
            ],
            r#"{"architecture": "repvgg_a0", "num_classes": 10,
                "pretrained_cfg": {"input_size": [3, 32, 32]}}"#,
            |name, classes, vb| {
                let config = match name {
                    "repvgg_a1" => repvgg::Config::a1(),
                    "repvgg_a2" => repvgg::Config::a2(),
                    "repvgg_b0" => repvgg::Config::b0(),
                    "repvgg_b1" => repvgg::Config::b1(),
                    "repvgg_b2" => repvgg::Config::b2(),
                    "repvgg_b3" => repvgg::Config::b3(),
                    "repvgg_b1g4" => repvgg::Config::b1g4(),
                    "repvgg_b2g4" => repvgg::Config::b2g4(),
                    "repvgg_b3g4" => repvgg::Config::b3g4(),
                    _ => repvgg::Config::a0(),
                };
                repvgg::repvgg(&config, classes, vb)
            },
        )
        .with_batch(1),
        // candle's has one size and 1000 classes, and takes one image at a time.
        Architecture::new(
            "vgg",
            &["vgg13", "vgg16", "vgg19"],
            r#"{"architecture": "vgg13", "num_classes": 1000}"#,
            |_| Takes::Images { channels: 3, size: 224, is_fixed: true },
            |config: &Timm, vb: VarBuilder<'static>| {
                let model = match config.architecture.as_str() {
                    "vgg16" => vgg::Models::Vgg16,
                    "vgg19" => vgg::Models::Vgg19,
                    _ => vgg::Models::Vgg13,
                };
                if config.num_classes != 1000 {
                    candle_core::bail!(
                        "candle's vgg has 1000 classes, and the config {}",
                        config.num_classes
                    );
                }
                let net = vgg::Vgg::new(vb.clone(), model)?;
                // The model asks for its head in each forward pass.
                candle_nn::linear(4096, config.num_classes, vb.pp("head.fc"))?;
                Ok(net)
            },
            |vgg, images| {
                let outputs = (0..images.dim(0)?).map(|index| vgg.forward_t(&images.get(index)?, false));
                Tensor::cat(&outputs.collect::<Result<Vec<_>>>()?, 0)
            },
        )
        .with_batch(1),
    ]
}

/// A row of a model that is built from its name and the number of classes.
fn named<M: Module + 'static>(
    name: &'static str,
    types: &'static [&'static str],
    small: &'static str,
    build: fn(&str, usize, VarBuilder<'static>) -> Result<M>,
) -> Architecture {
    let build = move |config: &Timm, vb: VarBuilder<'static>| {
        build(config.architecture.as_str(), config.num_classes, vb)
    };
    Architecture::new(name, types, small, images, build, |model: &mut M, images| model.forward(images))
}

/// What timm's config says of the input.
fn images(config: &Value) -> Takes {
    let size = config["pretrained_cfg"]["input_size"][1].as_u64().unwrap_or(224) as usize;
    Takes::Images { channels: 3, size, is_fixed: false }
}
