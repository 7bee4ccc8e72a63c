//! Trains a multilayer perceptron on handwritten digits; saves it, loads it again and tests it.
//!
//! `cargo run -p candle-wick --example train_digits [-- --data FILE.csv]`: a header line, then a row for each image with
//! the class in the last column.

use anyhow::{Context, Result};
use candle_core::{D, DType, Device, Tensor};
use candle_nn::{Module, ParamsAdamW};
use wick::{Activation, AdamW, InitMap, Initializer, KeyedV1, Loss, Mlp, MlpConfig, fit_with};

/// The images and their classes, in the order of a seeded permutation.
fn load(path: &str) -> Result<(Tensor, Tensor)> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {path}: give --data FILE.csv"))?;
    let row = |line: &str| line.split(',').map(|cell| Ok(cell.parse()?)).collect::<Result<Vec<f32>>>();
    let table = Tensor::new(text.lines().skip(1).map(row).collect::<Result<Vec<_>>>()?, &Device::Cpu)?;
    let (n, columns) = table.dims2()?;
    let key = KeyedV1::new(42).key("permutation");
    let order =
        Initializer::uniform(1.0).tensor(key, n, DType::F32, &Device::Cpu)?.arg_sort_last_dim(true)?;
    let table = table.index_select(&order, 0)?;
    let (xs, classes) = (table.narrow(1, 0, columns - 1)?, table.narrow(1, columns - 1, 1)?.squeeze(1)?);
    Ok((xs.broadcast_div(&xs.max_all()?)?, classes.to_dtype(DType::U32)?))
}

fn accuracy(mlp: &Mlp, xs: &Tensor, classes: &Tensor) -> Result<f32> {
    let predicted = mlp.forward(xs)?.argmax(D::Minus1)?;
    Ok(predicted.eq(classes)?.to_dtype(DType::F32)?.mean_all()?.to_scalar()?)
}

fn main() -> Result<()> {
    let path = std::env::args().skip_while(|argument| argument != "--data").nth(1);
    let (xs, classes) = load(path.as_deref().unwrap_or("assets/digits/digits.csv"))?;
    let (n, train) = (xs.dim(0)?, xs.dim(0)? * 4 / 5);
    let (train_xs, train_classes) = (xs.narrow(0, 0, train)?, classes.narrow(0, 0, train)?);
    let (test_xs, test_classes) = (xs.narrow(0, train, n - train)?, classes.narrow(0, train, n - train)?);

    let config = MlpConfig::new(xs.dim(1)?, [64, 10], Activation::Relu).with_bias(true);
    let config = config.with_output_activation(Activation::Identity);
    let map = InitMap::new(42).with_default_init(Initializer::kaiming_normal());
    let mlp = Mlp::new(&config, map.var_builder(DType::F32, &Device::Cpu))?;
    println!("test accuracy of the initial weights: {:.3}", accuracy(&mlp, &test_xs, &test_classes)?);

    let mut optimizer = AdamW::new(map.vars(), ParamsAdamW { lr: 0.01, ..ParamsAdamW::default() })?;
    let gradients = |_step| {
        let tape = mlp.tape(&train_xs, |_layer| None)?; // None: no observer
        let loss = Loss::CrossEntropy.forward(tape.output(), &train_classes)?;
        Ok((loss.clone(), tape.backward(&loss)?))
    };
    fit_with(&mut optimizer, 100, gradients, |step, loss| {
        (step % 20 == 0).then(|| println!("step {step:3}: cross entropy {loss:.4}"));
        Ok(())
    })?;

    let file = std::env::temp_dir().join("wick-digits.safetensors");
    map.save(&file)?;
    let loaded = InitMap::new(0).with_file(&file)?; // tensors of the file are loaded, not drawn
    let mlp = Mlp::new(&config, loaded.var_builder(DType::F32, &Device::Cpu))?;
    println!(
        "test accuracy of the trained weights, saved and loaded: {:.3}",
        accuracy(&mlp, &test_xs, &test_classes)?
    );
    Ok(())
}
