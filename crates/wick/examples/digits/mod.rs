//! The handwritten digits as data sets, for the examples that train.

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use wick::KeyedV1;
use wick::train::data::{Classes, InMemory, Parts, Split, Standardization, Subset, Targets};

const PATH: &str = "assets/digits/digits.csv";

/// A training and a test part of images of a shape of 64 numbers, from 0 to 1.
pub(crate) fn parts(shape: &[usize]) -> Result<[Subset<InMemory>; 2]> {
    let text = std::fs::read_to_string(PATH).context(format!("{PATH}: run the example in the repository"))?;
    let row = |line: &str| line.split(',').map(|cell| Ok(cell.parse()?)).collect::<Result<Vec<u8>>>();
    let table = Tensor::new(text.lines().skip(1).map(row).collect::<Result<Vec<_>>>()?, &Device::Cpu)?;
    let (samples, columns) = table.dims2()?;
    let images = table.narrow(1, 0, columns - 1)?.contiguous()?.reshape([&[samples], shape].concat())?;
    let classes = Classes::new(&table.get_on_dim(1, columns - 1)?.contiguous()?)?;
    let split = Split::stratified(&classes.labels(), Parts::new(0.0, 0.2)?, KeyedV1::new(42).key("split"))?;
    let data = InMemory::new(&images)?
        .with_targets(Targets::Classes(classes))?
        .with_standardization(Standardization::uniform(columns - 1, 0.0, 16.0)?)?;
    Ok([Subset::new(data.clone(), split.training)?, Subset::new(data, split.test)?])
}
