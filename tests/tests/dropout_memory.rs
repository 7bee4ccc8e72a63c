//! Dropout keeps a key and no mask.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

#[path = "../../bins/tests/fuzz/memory.rs"]
mod memory;

use candle_core::{DType, Result, Tensor, Var};
use memory::peak_of_all_threads;
use wick_layers::Dropout;
use wick_tests::CPU;

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
