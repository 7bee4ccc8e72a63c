//! Trains a multilayer perceptron on handwritten digits; saves it, loads it again and tests it.
//!
//! `cargo run --example train_digits [-- --data FILE.csv]`: a header line, then a row for each image
//! with the class in the last column.

use anyhow::{Context, Result};
use candle_core::{D, DType, Device, Tensor};
use candle_nn::{Module, Optimizer, ParamsAdamW};
use wick::{Activation, AdamW, InitMap, Initializer, KeyedV1, Loss, Mlp, MlpConfig, fit_with};

fn load(path: &str) -> Result<Tensor> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{path}: give --data FILE.csv"))?;
    let row = |line: &str| line.split(',').map(|cell| Ok(cell.parse()?)).collect::<Result<Vec<f32>>>();
    Ok(Tensor::new(text.lines().skip(1).map(row).collect::<Result<Vec<_>>>()?, &Device::Cpu)?)
}

/// The images, scaled to at most 1, and their classes.
fn split(rows: &Tensor) -> Result<(Tensor, Tensor)> {
    let features = rows.dim(1)? - 1;
    let (xs, classes) = (rows.narrow(1, 0, features)?, rows.narrow(1, features, 1)?.squeeze(1)?);
    Ok((xs.broadcast_div(&xs.max_all()?)?, classes.to_dtype(DType::U32)?))
}

fn accuracy(mlp: &Mlp, (xs, classes): &(Tensor, Tensor)) -> Result<f32> {
    let predicted = mlp.forward(xs)?.argmax(D::Minus1)?;
    Ok(predicted.eq(classes)?.to_dtype(DType::F32)?.mean_all()?.to_scalar()?)
}

fn main() -> Result<()> {
    wick::limit_idle_spinning();
    wick::retain_freed_memory();
    let path = std::env::args().skip_while(|argument| argument != "--data").nth(1);
    let table = load(path.as_deref().unwrap_or("assets/digits/digits.csv"))?;
    // A seeded permutation; four fifths of the rows are for training, the rest for the test.
    let (n, key) = (table.dim(0)?, KeyedV1::new(42).key("permutation"));
    let order = Initializer::uniform(1.0).tensor(key, n, DType::F32, &Device::Cpu)?;
    let table = table.index_select(&order.arg_sort_last_dim(true)?, 0)?;
    let (train, test) =
        (split(&table.narrow(0, 0, n * 4 / 5)?)?, split(&table.narrow(0, n * 4 / 5, n.div_ceil(5))?)?);

    let config = MlpConfig::new(train.0.dim(1)?, [64, 10], Activation::Relu).with_bias(true);
    let config = config.with_output_activation(Activation::Identity);
    let map = InitMap::new(42).with_default_init(Initializer::kaiming_normal());
    let mlp = Mlp::new(&config, map.var_builder(DType::F32, &Device::Cpu))?;
    let mut optimizer = AdamW::new(map.vars(), ParamsAdamW { lr: 0.01, ..ParamsAdamW::default() })?;
    let gradients = |_step| {
        let tape = mlp.tape(&train.0, |_layer| None)?; // None: no observer
        let (loss, gradient) = Loss::CrossEntropy.with_gradient(tape.output(), &train.1)?;
        Ok((loss, tape.backward_from(&gradient)?))
    };
    println!("initial weights: test accuracy {:.3}", accuracy(&mlp, &test)?);
    fit_with(&mut optimizer, 100, gradients, |step, loss| {
        (step % 20 == 0).then(|| println!("step {step:3}: cross entropy {loss:.4}"));
        Ok(())
    })?;
    let file = std::env::temp_dir().join("digits.safetensors");
    map.save(&file)?;
    let loaded = InitMap::new(0).with_file(&file)?; // tensors of the file are loaded, not drawn
    let mlp = Mlp::new(&config, loaded.var_builder(DType::F32, &Device::Cpu))?;
    println!("saved and loaded: test accuracy {:.3}", accuracy(&mlp, &test)?);
    Ok(())
}
