//! Training on images of bytes takes their bytes, and no copy of them in another type.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

#[path = "../../bins/tests/fuzz/memory.rs"]
mod memory;

use std::path::Path;

use candle_core::{DType, Tensor};
use memory::peak_of_all_threads;
use wick_init::{InitMap, Initializer};
use wick_model::loss::Loss;
use wick_model::{Activation, Mlp, MlpConfig};
use wick_tests::CPU;
use wick_train::data::{Classes, InMemory, Standardization, Targets, read_idx};
use wick_train::{Config, Length, Trainer};

const FEATURES: usize = 784;
const BATCH: usize = 128;

/// Writes images and labels as the IDX files that Fashion-MNIST comes in.
fn write_idx(folder: &Path, samples: usize) {
    let dims = |dims: &[usize]| dims.iter().flat_map(|dim| (*dim as u32).to_be_bytes()).collect::<Vec<u8>>();
    let pixels = (0..samples * FEATURES).map(|place| (place * 7919 % 251) as u8);
    let images = [&[0, 0, 8, 3][..], &dims(&[samples, 28, 28]), &pixels.collect::<Vec<u8>>()].concat();
    std::fs::write(folder.join("images"), images).unwrap();
    let labels = (0..samples).map(|sample| (sample % 10) as u8);
    let labels = [&[0, 0, 8, 1][..], &dims(&[samples]), &labels.collect::<Vec<u8>>()].concat();
    std::fs::write(folder.join("labels"), labels).unwrap();
}

/// The most bytes that reading and four steps of training take at once.
fn peak(samples: usize, hold: impl Fn(Tensor) -> Tensor) -> usize {
    let folder = tempfile::tempdir().unwrap();
    write_idx(folder.path(), samples);
    peak_of_all_threads(|| train(folder.path(), samples, hold)).1
}

/// Reads the images and trains on them.
fn train(folder: &Path, samples: usize, hold: impl Fn(Tensor) -> Tensor) {
    let images = hold(read_idx(folder.join("images")).unwrap().flatten_from(1).unwrap());
    let all: Vec<usize> = (0..samples).collect();
    let standardization = Standardization::learn(&images, &all).unwrap();
    drop(all);
    let classes = Classes::new(&read_idx(folder.join("labels")).unwrap()).unwrap();
    let data = InMemory::new(&images).unwrap().with_targets(Targets::Classes(classes)).unwrap();
    let data = data.with_standardization(standardization).unwrap();
    drop(images);

    let map = InitMap::new(42).with_default_init(Initializer::kaiming_normal());
    let config = MlpConfig::new(FEATURES, [512, 256, 10], Activation::Relu)
        .with_bias(true)
        .with_output_activation(Activation::Identity);
    let mlp = Mlp::new(&config, map.var_builder(DType::F32, &CPU)).unwrap();
    let config = Config { batch: BATCH, length: Length::Steps(4), ..Config::default() };
    let outcome = Trainer::new(&map, config).unwrap().fit_gradients(&data, |step| {
        let tape = mlp.tape(step.input(), |_| None)?;
        let (loss, gradient) = Loss::CrossEntropy.with_gradient(tape.output(), step.targets()?)?;
        Ok((loss, tape.backward_from(&gradient)?))
    });
    assert_eq!(outcome.unwrap().steps, 4);
}

/// 60,000 images take their bytes, those of their labels, and at most two batches beyond what the same net takes on
/// two batches alone. Images that are held as `f32` take more.
#[test]
fn images_of_bytes_stay_bytes() {
    let samples = 60_000;
    let as_they_are = |images| images;
    peak(2 * BATCH, as_they_are); // What threads keep for later loops is not the data's.
    let of_two_batches = peak(2 * BATCH, as_they_are);
    let most = of_two_batches + samples * (FEATURES + 1) + 2 * BATCH * FEATURES * size_of::<f32>();
    let of_bytes = peak(samples, as_they_are);
    assert!(of_bytes <= most, "{of_bytes} bytes, {most} at most, {of_two_batches} for two batches");
    let of_floats = peak(samples, |images| images.to_dtype(DType::F32).unwrap());
    assert!(of_floats > most, "{of_floats} bytes, {most} at most");
    println!("{of_bytes} bytes, {most} at most; {of_two_batches} for two batches; {of_floats} as f32");
}
