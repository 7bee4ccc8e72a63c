//! What attention takes beyond its inputs and outputs.

use candle_core::{DType, Tensor, Var};
use candle_nn::attention::AttnMask;
use wick_layers::attention::attention;
use wick_tests::normal;

use crate::memory::peak_of_all_threads;

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
