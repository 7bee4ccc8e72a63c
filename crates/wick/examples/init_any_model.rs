//! Initializes a model that knows nothing of Wick, by rules on the names of its tensors, and prints what each
//! tensor got.
//!
//! `cargo run --example init_any_model`

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use candle_nn::{Conv2d, Conv2dConfig, Linear, Module, VarBuilder, conv2d, linear};
use wick::{InitMap, Initializer, Rule};

/// An ordinary candle model.
struct Digits {
    conv: Conv2d,
    hidden: Linear,
    head: Linear,
}

impl Digits {
    fn new(vb: VarBuilder) -> candle_core::Result<Self> {
        let config = Conv2dConfig { padding: 1, ..Conv2dConfig::default() };
        Ok(Self {
            conv: conv2d(1, 8, 3, config, vb.pp("conv"))?,
            hidden: linear(8 * 8 * 8, 32, vb.pp("classifier.hidden"))?,
            head: linear(32, 10, vb.pp("classifier.head"))?,
        })
    }
}

impl Module for Digits {
    fn forward(&self, images: &Tensor) -> candle_core::Result<Tensor> {
        let features = self.conv.forward(images)?.relu()?.flatten_from(1)?;
        self.head.forward(&self.hidden.forward(&features)?.relu()?)
    }
}

fn main() -> Result<()> {
    // The first rule that matches a tensor holds. `*` is one part of a dotted name, `**` any number of parts.
    let rules = [
        Rule::draw("*.head.weight", Initializer::zeros())?,
        Rule::draw("**.weight [*, *]", "orthogonal:gain=relu".parse()?)?,
        Rule::draw("**.weight", Initializer::kaiming_normal())?,
        Rule::draw("**.bias", Initializer::zeros())?,
    ];
    let map = InitMap::new(42).with_rules(rules).strict(); // strict: a tensor without a rule is an error
    let model = Digits::new(map.var_builder(DType::F32, &Device::Cpu))?;

    println!("{}", map.manifest()?);
    for pattern in map.unmatched_rules() {
        println!("no tensor matched the rule {pattern}");
    }
    let logits = model.forward(&Tensor::ones((2, 1, 8, 8), DType::F32, &Device::Cpu)?)?;
    println!("\nThe head starts at 0, and so do the logits: {:?}", logits.get(0)?.to_vec1::<f32>()?);
    Ok(())
}
