//! Trains a convolutional net of candle-nn, which knows nothing of Wick, on handwritten digits.
//!
//! `cargo run --example train-cnn`

mod digits;

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Module, Tensor};
use candle_nn::{Conv2dConfig, conv2d, linear, loss::cross_entropy};
use wick::train::{Config, Length, evaluate, metrics::Metrics};
use wick::{InitMap, Initializer, Trainer};

fn main() -> Result<()> {
    let [training, test] = digits::parts(&[1, 8, 8])?;

    let map = InitMap::new(42).with_default_init(Initializer::kaiming_normal());
    let vb = map.var_builder(DType::F32, &Device::Cpu);
    let padded = Conv2dConfig { padding: 1, ..Conv2dConfig::default() };
    let first = conv2d(1, 16, 3, padded, vb.pp("first"))?;
    let second = conv2d(16, 32, 3, padded, vb.pp("second"))?;
    let head = linear(32 * 2 * 2, 10, vb.pp("head"))?;
    let logits = |images: &Tensor| {
        let hidden = first.forward(images)?.relu()?.max_pool2d(2)?; // [batch, 16, 4, 4]
        let hidden = second.forward(&hidden)?.relu()?.max_pool2d(2)?; // [batch, 32, 2, 2]
        head.forward(&hidden.flatten_from(1)?)
    };

    let config =
        Config { length: Length::Epochs(15), optimizer: "adamw:lr=0.003".parse()?, ..Config::default() };
    let outcome = Trainer::new(&map, config)?
        .fit(&training, |step| cross_entropy(&logits(step.input())?, step.targets()?))?;

    let tested = evaluate(&test, Metrics::Classification, |batch| logits(&batch.input))?;
    let accuracy = tested.score().context("no accuracy")?;
    let loss = outcome.loss.context("no step")?;
    println!(
        "{} steps in {:.1} s, loss {loss:.4}, test accuracy {accuracy:.4}",
        outcome.steps, outcome.seconds
    );
    ensure!(accuracy >= 0.97, "the test accuracy is {accuracy:.4}, and this net reaches 0.98");
    Ok(())
}
