//! Nets for images.

use candle_nn::VarBuilder;
use candle_transformers::models::{convnext, dinov2, efficientnet, resnet, vit};
use wick_init::presets;

use super::Is::{Between, Std, Value};
use super::{check, listed};

fn small_vit() -> vit::Config {
    vit::Config {
        hidden_size: 64,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        intermediate_size: 128,
        image_size: 32,
        patch_size: 4,
        ..vit::Config::vit_base_patch16_224()
    }
}

/// timm's `vision_transformer.py`: `init_weights`, `init_weights_vit_timm`, `_jax` and `_moco`, on candle's ViT (the
/// hub's names) and on timm's names.
#[test]
fn vision_transformers() {
    let hub = |vb: &VarBuilder| drop(vit::Model::new(&small_vit(), 10, vb.clone()).unwrap());
    let tensors: [(&str, &[usize]); 16] = [
        ("cls_token", &[1, 1, 64]),
        ("pos_embed", &[1, 65, 64]),
        ("patch_embed.proj.weight", &[64, 3, 4, 4]),
        ("patch_embed.proj.bias", &[64]),
        ("blocks.0.norm1.weight", &[64]),
        ("blocks.0.norm1.bias", &[64]),
        ("blocks.0.attn.qkv.weight", &[192, 64]),
        ("blocks.0.attn.qkv.bias", &[192]),
        ("blocks.0.attn.proj.weight", &[64, 64]),
        ("blocks.0.attn.proj.bias", &[64]),
        ("blocks.0.mlp.fc1.weight", &[128, 64]),
        ("blocks.0.mlp.fc1.bias", &[128]),
        ("blocks.0.mlp.fc2.weight", &[64, 128]),
        ("blocks.0.mlp.fc2.bias", &[64]),
        ("head.weight", &[10, 64]),
        ("head.bias", &[10]),
    ];
    let timm = listed(&tensors);
    let is_norm = |name: &str| name.contains("norm") && name.ends_with("weight");
    let common = move |name: &str, shape: &[usize]| match shape {
        _ if name.ends_with("cls_token") => Some(Std(1e-6)),
        _ if name.contains("pos_embed") || name.contains("position_embeddings") => Some(Std(0.02)),
        [64, 3, 4, 4] => Some(Between(-48f64.sqrt().recip(), 48f64.sqrt().recip())),
        [_] if name.contains("patch_embed") => Some(Between(-48f64.sqrt().recip(), 48f64.sqrt().recip())),
        [_] => Some(Value(f64::from(u8::from(is_norm(name))))),
        _ => None,
    };
    let xavier = |shape: &[usize]| {
        let bound = (6.0 / (shape[0] + shape[1]) as f64).sqrt();
        Between(-bound, bound)
    };
    let by_timm = |name: &str, shape: &[usize]| common(name, shape).unwrap_or(Std(0.02));
    let by_jax = |name: &str, shape: &[usize]| match shape {
        [_, _] if name.contains("head") || name.contains("classifier") => Value(0.0),
        [_] if name.contains("head") || name.contains("classifier") => Value(-(10f64.ln())),
        [64, 3, 4, 4] => Std(48f64.sqrt().recip()),
        [_] if name.contains("patch_embed") => Value(0.0),
        [_] if name.ends_with("bias")
            && (name.contains("mlp")
                || name.contains("intermediate")
                || name.contains("0.output.dense")
                || name.contains("1.output.dense")) =>
        {
            Std(1e-6)
        }
        _ => common(name, shape).unwrap_or_else(|| xavier(shape)),
    };
    let by_moco = |name: &str, shape: &[usize]| match shape {
        [192, 64] => xavier(&[64, 64]),
        _ => common(name, shape).unwrap_or_else(|| xavier(shape)),
    };
    let head_bias = -(10f64.ln());
    check("vit-timm, hub", presets::vit_timm(), hub, by_timm);
    check("vit-timm", presets::vit_timm(), &timm, by_timm);
    check("vit-jax, hub", presets::vit_jax(head_bias), hub, by_jax);
    check("vit-jax", presets::vit_jax(head_bias), &timm, by_jax);
    check("vit-moco, hub", presets::vit_moco(), hub, by_moco);
    check("vit-moco", presets::vit_moco(), &timm, by_moco);

    // facebookresearch/dinov2: layerscale 1e-5; eval/linear.py: the head of 0.01.
    let dino = |vb: &VarBuilder| drop(dinov2::DinoVisionTransformer::new(vb.clone(), 2, 64, 4).unwrap());
    check("dinov2", presets::dinov2(), dino, |name, shape| match shape {
        [_] if name.ends_with("gamma") => Value(1e-5),
        [_] if name.contains("patch_embed") => Between(-588f64.sqrt().recip(), 588f64.sqrt().recip()),
        [_, _, _, _] => Between(-588f64.sqrt().recip(), 588f64.sqrt().recip()),
        [1000, _] => Std(0.01),
        _ => by_timm(name, shape),
    });
}

/// timm's `convnext.py`, `resnet.py` and `_efficientnet_builder.py` on candle's models.
#[test]
fn convolutional_nets() {
    let statistic = |name: &str| f64::from(u8::from(name.ends_with("running_var")));
    // candle asks for the scale of version 1 and for the response norm of version 2 of every ConvNeXt.
    let build =
        |vb: &VarBuilder| drop(convnext::convnext(&convnext::Config::atto(), 10, vb.clone()).unwrap());
    check("convnext", presets::convnext(), build, |name, shape| match shape {
        [_] if name.ends_with("gamma") => Value(1e-6),
        [_] if name.contains("grn") || name.ends_with("bias") => Value(0.0),
        [_] => Value(1.0),
        _ => Std(0.02),
    });

    let fc = |inputs: f64| Between(-inputs.sqrt().recip(), inputs.sqrt().recip());
    let by_timm = |last: &'static str, inputs: f64| {
        move |name: &str, shape: &[usize]| match *shape {
            [out, _, k, _] => Std((2.0 / (out * k * k) as f64).sqrt()),
            _ if name.starts_with("fc.") => fc(inputs),
            _ if name.contains(".running_") => Value(statistic(name)),
            _ if name.ends_with("bias") => Value(0.0),
            _ => Value(f64::from(u8::from(!name.ends_with(last)))),
        }
    };
    let resnet18 = |vb: &VarBuilder| drop(resnet::resnet18(10, vb.clone()).unwrap());
    check("resnet-basic", presets::resnet(false), resnet18, by_timm("bn2.weight", 512.0));
    let resnet50 = |vb: &VarBuilder| drop(resnet::resnet50(10, vb.clone()).unwrap());
    check("resnet", presets::resnet(true), resnet50, by_timm("bn3.weight", 2048.0));

    let b0 = efficientnet::MBConvConfig::b0();
    let build = |vb: &VarBuilder| drop(efficientnet::EfficientNet::new(vb.clone(), b0.clone(), 10).unwrap());
    check("efficientnet", presets::efficientnet(), build, |name, shape| match *shape {
        // A depthwise convolution has as many groups as outputs.
        [_, 1, k, _] => Std((2.0 / (k * k) as f64).sqrt()),
        [out, _, k, _] => Std((2.0 / (out * k * k) as f64).sqrt()),
        [_, _] => fc(10.0),
        _ if name.contains(".running_") => Value(statistic(name)),
        _ => Value(f64::from(u8::from(name.ends_with("weight")))),
    });
}

/// hongyi-zhang/Fixup's `fixup_resnet_imagenet.py`, and majumderb/rezero's `resweight`.
#[test]
fn branches_that_start_at_zero() {
    let tensors: [(&str, &[usize]); 9] = [
        ("conv1.weight", &[16, 3, 7, 7]),
        ("bias1", &[1]),
        ("layer1.0.conv1.weight", &[16, 16, 3, 3]),
        ("layer1.0.conv2.weight", &[16, 16, 3, 3]),
        ("layer1.0.bias1a", &[1]),
        ("layer1.0.scale", &[1]),
        ("layer2.0.downsample.weight", &[32, 16, 1, 1]),
        ("fc.weight", &[10, 32]),
        ("fc.bias", &[10]),
    ];
    let first = 147f64.sqrt().recip();
    check("fixup-basic", presets::fixup(8, false), listed(&tensors), |name, _| match name {
        "conv1.weight" => Between(-first, first),
        "layer1.0.conv1.weight" => Std((2.0 / 144.0f64 / 8.0).sqrt()),
        "layer2.0.downsample.weight" => Std(0.25),
        "layer1.0.scale" => Value(1.0),
        _ => Value(0.0),
    });
    let tensors: [(&str, &[usize]); 3] = [
        ("layer1.0.conv1.weight", &[16, 64, 1, 1]),
        ("layer1.0.conv2.weight", &[16, 16, 3, 3]),
        ("layer1.0.conv3.weight", &[64, 16, 1, 1]),
    ];
    check("fixup", presets::fixup(16, true), listed(&tensors), |name, shape| match name {
        "layer1.0.conv3.weight" => Value(0.0),
        // 16^(-1/4)
        _ => Std(0.5 * (2.0 / (shape[0] * shape[2] * shape[3]) as f64).sqrt()),
    });
    let tensors: [(&str, &[usize]); 3] = [
        ("layers.0.resweight", &[1]),
        ("layers.0.linear1.weight", &[64, 32]),
        ("layers.0.linear1.bias", &[64]),
    ];
    let bound = 32f64.sqrt().recip();
    check("rezero", presets::rezero(), listed(&tensors), |name, _| match name {
        "layers.0.resweight" => Value(0.0),
        _ => Between(-bound, bound),
    });
}
