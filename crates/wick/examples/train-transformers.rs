//! Trains an EfficientNet of candle-transformers, as it is, on handwritten digits.
//!
//! `cargo run --example train-transformers`

mod digits;

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Module, Tensor};
use candle_nn::loss::cross_entropy;
use candle_transformers::models::efficientnet::{EfficientNet, MBConvConfig};
use wick::train::{Config, Length, evaluate, metrics::Metrics};
use wick::{InitMap, Initializer, Trainer};

fn main() -> Result<()> {
    let [training, test] = digits::parts(&[1, 8, 8])?;

    let map = InitMap::new(42).with_default_init(Initializer::kaiming_normal());
    let stages = MBConvConfig::b0()[..1].to_vec(); // the first of seven: the images are small
    let net = EfficientNet::new(map.var_builder(DType::F32, &Device::Cpu), stages, 10)?;
    let logits = |images: &Tensor| net.forward(&images.repeat((1, 3, 1, 1))?); // the net takes colours
    let loss = |images: &Tensor, classes: &Tensor| cross_entropy(&logits(images)?, classes);

    let config =
        Config { length: Length::Epochs(8), optimizer: "adamw:lr=0.03".parse()?, ..Config::default() };
    let before = evaluate(&test, Metrics::Classification, |batch| logits(&batch.input))?;
    let outcome = Trainer::new(&map, config)?.fit(&training, |step| loss(step.input(), step.targets()?))?;
    let after = evaluate(&test, Metrics::Classification, |batch| logits(&batch.input))?;

    let accuracy = after.score().context("no accuracy")?;
    println!("{} steps in {:.1} s", outcome.steps, outcome.seconds);
    println!("test loss {:.4}, then {:.4}; test accuracy {accuracy:.4}", before.loss, after.loss);
    ensure!(after.loss < before.loss / 4.0, "the test loss was {}, and is {}", before.loss, after.loss);
    ensure!(accuracy >= 0.88, "the test accuracy is {accuracy:.4}, and this net reaches 0.94");
    Ok(())
}
