//! Times each kernel: `cargo bench -p wick-kernels`, or `-- NAME` for some. `benches/run.py` compares whole
//! jobs with other libraries.

#![allow(missing_docs, clippy::unwrap_used)] // A benchmark has no users.

use std::hint::black_box;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Optimizer, ParamsAdamW};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wick_kernels::gemm::{Matrix, matmul};
use wick_kernels::qr::orthonormal_rows;
use wick_kernels::{
    AdamW, DensePass, Histogram, Moments, ParamsSgd, Sgd, SimdLevel, activate, activation_gradient, summarize,
};
use wick_theory::Activation;

/// Numbers in [-3, 3].
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919) % 6007) as f32 / 1001.0 - 3.0).collect()
}

fn tensor(rows: usize, columns: usize) -> Tensor {
    Tensor::from_vec(numbers(rows * columns), (rows, columns), &Device::Cpu).unwrap()
}

fn activations(c: &mut Criterion) {
    let (x, g) = (tensor(2000, 750), tensor(2000, 750));
    let mut group = c.benchmark_group("activation");
    group.throughput(Throughput::Elements(1_500_000));
    for activation in Activation::ALL {
        let name = activation.name();
        group.bench_function(BenchmarkId::new("forward", name), |b| {
            b.iter(|| activate(activation, &x).unwrap());
        });
        group.bench_function(BenchmarkId::new("backward", name), |b| {
            b.iter(|| activation_gradient(activation, &x, &g).unwrap());
        });
    }
}

fn products(c: &mut Criterion) {
    let mut group = c.benchmark_group("product");
    for (m, k, n) in [(1, 800, 750), (32, 800, 750), (2000, 800, 750)] {
        let (a, b) = (numbers(m * k), numbers(k * n));
        let (a, b) = (Matrix::new(&a, m, k).unwrap(), Matrix::new(&b, n, k).unwrap().t());
        group.throughput(Throughput::Elements(2 * (m * k * n) as u64)); // elem/s are FLOP/s here
        group.bench_function(format!("{m}x{k}x{n}"), |bencher| {
            bencher.iter(|| matmul(SimdLevel::best(), a, b));
        });
    }
    group.throughput(Throughput::Elements(8 * 800u64.pow(3) / 3));
    let rows: Vec<f64> = numbers(800 * 800).into_iter().map(f64::from).collect();
    group.bench_function("orthonormal 800x800", |b| {
        b.iter(|| orthonormal_rows(SimdLevel::best(), rows.clone(), 800));
    });
}

fn layers(c: &mut Criterion) {
    let (x, w, g) = (tensor(2000, 800), tensor(750, 800), tensor(2000, 750));
    let forward = || DensePass::forward(&x, &w, None, Activation::Tanh, None).unwrap();
    c.bench_function("dense/forward", |b| b.iter(forward));
    let pass = forward();
    c.bench_function("dense/backward", |b| b.iter(|| pass.backward(&g, true).unwrap()));
}

fn statistics(c: &mut Criterion) {
    let xs = numbers(1 << 20);
    let mut group = c.benchmark_group("statistics");
    group.throughput(Throughput::Elements(1 << 20));
    group.bench_function("moments", |b| {
        b.iter(|| xs.chunks(4096).map(Moments::of).fold(0, |n, m| n + m.count()));
    });
    let mut histogram = Histogram::new(-3.0, 3.0, 30);
    group.bench_function("histogram", |b| b.iter(|| histogram.add(black_box(&xs))));
    let tensor = Tensor::from_vec(xs.clone(), 1 << 20, &Device::Cpu).unwrap();
    group.bench_function("summary", |b| b.iter(|| summarize(&tensor, None, 30).unwrap()));
}

fn optimizers(c: &mut Criterion) {
    let w = Var::zeros((2000, 1600), DType::F32, &Device::Cpu).unwrap();
    let loss = (w.as_tensor() * tensor(2000, 1600)).unwrap().sum_all().unwrap();
    let gradients = loss.backward().unwrap();
    let mut group = c.benchmark_group("optimizer");
    group.throughput(Throughput::Elements(3_200_000));
    let mut adamw = AdamW::new(vec![w.clone()], ParamsAdamW::default()).unwrap();
    group.bench_function("adamw", |b| b.iter(|| adamw.step(&gradients).unwrap()));
    let mut sgd = Sgd::new(vec![w.clone()], ParamsSgd::default()).unwrap();
    group.bench_function("sgd", |b| b.iter(|| sgd.step(&gradients).unwrap()));
}

criterion_group!(kernels, activations, products, layers, statistics, optimizers);
criterion_main!(kernels);
