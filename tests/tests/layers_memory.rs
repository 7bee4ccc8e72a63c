//! What layers take beyond their inputs and outputs: dropout keeps a key and no mask, attention no matrix of scores. One
//! test at a time, since all allocations of the process are counted.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

#[path = "../../bins/tests/fuzz/memory.rs"]
mod memory;

use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Result, Tensor, Var};
use candle_nn::attention::AttnMask;
use memory::peak_of_all_threads;
use wick_layers::Dropout;
use wick_layers::attention::attention;
use wick_tests::{CPU, normal};

static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

const COUNT: usize = 1 << 20;
const BYTES: usize = COUNT * size_of::<f32>();

/// The most bytes that a forward and a backward pass take at once, and those of the forward pass alone, with its output
/// and its graph still there.
fn peaks(forward: impl Fn(&Tensor) -> Result<Tensor>) -> [usize; 2] {
    let x = Var::ones(COUNT, DType::F32, &CPU).unwrap();
    let backward = || forward(&x).unwrap().backward().unwrap();
    backward(); // What threads keep for later loops is not the op's.
    [peak_of_all_threads(backward).1, peak_of_all_threads(|| forward(&x).unwrap()).1]
}

/// Forward, an output; backward, the ones of the loss, the gradient, and the zeros and the sum that candle makes of it.
/// candle's dropout takes a random number, a comparison and a mask for each number besides.
#[test]
fn no_mask_is_kept() {
    let _alone = alone();
    let dropout = Dropout::new(0.1, 42);
    let [both, forward] = peaks(|x| dropout.forward(x, true));
    let stock = candle_nn::Dropout::new(0.1);
    let [stock_both, stock_forward] = peaks(|x| stock.forward(x, true));
    println!(
        "{BYTES} bytes: ours {forward} forward, {both} in all; candle's {stock_forward} and {stock_both}"
    );
    let slack = 1 << 16;
    assert!(forward <= BYTES + slack, "{forward}");
    assert!(both <= 5 * BYTES + slack, "{both}");
    assert!(stock_forward > 3 * BYTES && stock_both > both + BYTES, "{stock_forward} {stock_both}");
}

const HEADS: usize = 2;
const WIDTH: usize = 32;

/// The bytes beyond the output, and beyond output and gradients, of a forward pass and of one with its backward pass.
fn extra(positions: usize, by: impl Fn(&Tensor, &Tensor, &Tensor) -> Tensor) -> [usize; 2] {
    let [q, k, v] = ["q", "k", "v"].map(|name| normal(1, name, (1, HEADS, positions, WIDTH), DType::F32));
    let tensor = HEADS * positions * WIDTH * size_of::<f32>();
    let forward = peak_of_all_threads(|| by(&q, &k, &v)).1 - tensor;
    let [q, k, v] = [q, k, v].map(|x| Var::from_tensor(&x).unwrap());
    let both = peak_of_all_threads(|| by(&q, &k, &v).sum_all().unwrap().backward().unwrap()).1;
    [forward, both - 4 * tensor]
}

/// Four times as many positions take four times the memory at most, not sixteen times: no matrix of scores is kept.
/// (candle's own ops in the twin keep it. What candle itself makes in a backward pass, zeros and sums for each edge,
/// is some tensors of the inputs' size.)
#[test]
fn attention_keeps_no_matrix_of_scores() {
    let _alone = alone();
    let ours = |q: &Tensor, k: &Tensor, v: &Tensor| attention(q, k, v, &AttnMask::causal(), 0.2).unwrap();
    let stock = |q: &Tensor, k: &Tensor, v: &Tensor| {
        let scores = (q.matmul(&k.t().unwrap()).unwrap() * 0.2).unwrap();
        candle_nn::ops::softmax(&scores, 3).unwrap().matmul(v).unwrap()
    };
    extra(2048, ours); // Buffers that stay with their threads.
    let (short, long, twin) = (extra(512, ours), extra(2048, ours), extra(2048, stock));
    let scores = HEADS * 2048 * 2048 * size_of::<f32>();
    println!(
        "bytes beyond inputs and outputs, forward and with backward: {short:?} at 512, {long:?} at 2048 positions"
    );
    println!("the scores of 2048 positions: {scores} bytes; candle's ops take {twin:?}");
    let tensor = HEADS * 2048 * WIDTH * size_of::<f32>();
    assert!(long[0] <= tensor && long[1] <= 8 * tensor, "{long:?}");
    assert!(twin[0] >= scores && twin[1] >= 2 * scores, "{twin:?}");
}
