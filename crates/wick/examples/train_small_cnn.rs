//! Trains a net of two convolutions, of the layers whose gradients are right, on handwritten digits in seconds; with
//! `--data fashion-mnist` on the 60,000 images of Debian's package `dataset-fashion-mnist` in minutes.
//!
//! `cargo run --example train_small_cnn [-- --data fashion-mnist]`

mod digits;

use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Device, Module, Tensor};
use candle_nn::{Linear, VarBuilder, linear};
use wick::kernels::{activate, dense};
use wick::layers::{Conv2d, Conv2dConfig, conv2d, max_pool2d};
use wick::train::data::{Augmented, Classes, Dataset, InMemory, Standardization, Targets, read_idx};
use wick::train::{Config, Length, evaluate, metrics::Metrics};
use wick::{Activation, InitMap, Initializer, Loss, Trainer};

const FASHION_MNIST: &str = "/usr/share/datasets/fashion-mnist";

/// Two convolutions with pools, a hidden layer, and the logits of ten classes.
struct Cnn {
    convolutions: [Conv2d; 2],
    hidden: Linear,
    head: Linear,
}

impl Cnn {
    /// For images of `[1, size, size]`.
    fn new(size: usize, hidden: usize, vb: VarBuilder) -> Result<Self> {
        let padded = Conv2dConfig { padding: 1, ..Conv2dConfig::default() };
        Ok(Self {
            convolutions: [
                conv2d(1, 32, 3, padded, vb.pp("first"))?,
                conv2d(32, 64, 3, padded, vb.pp("second"))?,
            ],
            hidden: linear(64 * (size / 4) * (size / 4), hidden, vb.pp("hidden"))?,
            head: linear(hidden, 10, vb.pp("head"))?,
        })
    }

    fn logits(&self, images: &Tensor) -> candle_core::Result<Tensor> {
        let mut h = images.clone();
        for convolution in &self.convolutions {
            // The ReLU of the maximum is the maximum of the ReLUs, on a quarter of the numbers.
            h = activate(Activation::Relu, &max_pool2d(&convolution.forward(&h)?, 2)?)?;
        }
        let (hidden, head) = (&self.hidden, &self.head);
        let h = dense(&h.flatten_from(1)?, hidden.weight(), hidden.bias(), Activation::Relu, None)?;
        dense(&h, head.weight(), head.bias(), Activation::Identity, None)
    }
}

/// A part of Fashion-MNIST, `train` or `t10k`, with pixels from 0 to 1.
fn fashion_mnist(part: &str) -> Result<InMemory> {
    let read = |kind: &str| {
        let path = format!("{FASHION_MNIST}/{part}-{kind}-ubyte.gz");
        read_idx(&path).context(format!("{path}: install Debian's package dataset-fashion-mnist"))
    };
    let (images, labels) = (read("images-idx3")?.unsqueeze(1)?, read("labels-idx1")?);
    let pixels = images.elem_count() / images.dim(0)?;
    Ok(InMemory::new(&images)?
        .with_targets(Targets::Classes(Classes::new(&labels)?))?
        .with_standardization(Standardization::uniform(pixels, 0.0, 255.0)?)?)
}

fn train(
    training: &impl Dataset,
    test: &impl Dataset,
    cnn: &Cnn,
    map: &InitMap,
    config: Config,
) -> Result<f64> {
    let outcome = Trainer::new(map, config)?
        .fit(training, |step| Loss::CrossEntropy.forward(&cnn.logits(step.input())?, step.targets()?))?;
    let tested = evaluate(test, Metrics::Classification, |batch| cnn.logits(&batch.input))?;
    let accuracy = tested.score().context("no accuracy")?;
    let loss = outcome.loss.context("no step")?;
    println!(
        "{} steps in {:.1} s, loss {loss:.4}, test accuracy {accuracy:.4}",
        outcome.steps, outcome.seconds
    );
    Ok(accuracy)
}

fn main() -> Result<()> {
    wick::limit_idle_spinning();
    wick::retain_freed_memory();
    let data = std::env::args().skip_while(|argument| argument != "--data").nth(1);
    let map = InitMap::new(42).with_default_init(Initializer::kaiming_normal());
    let vb = map.var_builder(DType::F32, &Device::Cpu);
    let config = Config { optimizer: "adamw:lr=0.002,weight_decay=0.05".parse()?, ..Config::default() };
    match data.as_deref().unwrap_or("digits") {
        "digits" => {
            let [training, test] = digits::parts(&[1, 8, 8])?;
            let config = Config { length: Length::Epochs(10), ..config };
            let accuracy = train(&training, &test, &Cnn::new(8, 64, vb)?, &map, config)?;
            ensure!(accuracy >= 0.97, "the test accuracy is {accuracy:.4}, and this net reaches 0.98");
        }
        "fashion-mnist" => {
            let (training, test) = (fashion_mnist("train")?, fashion_mnist("t10k")?);
            let (epochs, batch) = (10, 128);
            let steps = epochs * training.len().div_ceil(batch) as u64;
            let schedule = format!("cosine:steps={steps},warmup=200,floor=0").parse()?;
            let config = Config { length: Length::Epochs(epochs), batch, schedule, ..config };
            // Every other image of an epoch is a mirror image.
            let mirrored = Augmented::new(training, 42, |image: Tensor, key| {
                let coin = Initializer::uniform(1.0).tensor(key, 1, DType::F32, &Device::Cpu);
                let coin = coin.map_err(candle_core::Error::wrap)?.to_vec1::<f32>()?;
                Ok(if coin[0] < 0.0 { image.flip(&[2])? } else { image })
            });
            let accuracy = train(&mirrored, &test, &Cnn::new(28, 256, vb)?, &map, config)?;
            ensure!(
                accuracy >= 0.916,
                "the test accuracy is {accuracy:.4}, below the 0.916 of two convolutions"
            );
        }
        other => bail!("--data is digits or fashion-mnist, not '{other}'"),
    }
    Ok(())
}
