//! What candle 0.11 gets wrong, and the layers here right. When candle is right, the test says so.

use candle_core::{DType, Result, Tensor, Var};
use candle_nn::attention::AttnMask;
use candle_nn::rotary_emb as stock;
use wick_layers::attention::attention;
use wick_layers::kv_cache::KvCache;
use wick_layers::rotary_emb::{rope, rope_i, rope_thd};
use wick_tests::{gradient_errors, largest, normal, numbers};

/// Whether the output of an op has a gradient with respect to its input.
fn passes(x: &Var, op: impl Fn(&Tensor) -> Result<Tensor>) -> bool {
    let loss = op(x).unwrap().sqr().unwrap().sum_all().unwrap();
    loss.backward().unwrap().get(x).is_some()
}

#[test]
fn rotary_positions_pass_gradients_and_candles_do_not() {
    let x = Var::from_tensor(&normal(1, "x", (1, 3, 3, 4), DType::F64)).unwrap();
    let (cos, sin) = (normal(1, "cos", (3, 2), DType::F64), normal(1, "sin", (3, 2), DType::F64));
    type Rope = fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>;
    let pairs: [(Rope, Rope); 3] =
        [(rope, stock::rope), (rope_i, stock::rope_i), (rope_thd, stock::rope_thd)];
    for (ours, theirs) in pairs {
        assert_eq!(numbers(&ours(&x, &cos, &sin).unwrap()), numbers(&theirs(&x, &cos, &sin).unwrap()));
        assert!(passes(&x, |x| ours(x, &cos, &sin)));
        assert!(!passes(&x, |x| theirs(x, &cos, &sin)), "candle's rope passes gradients now");
        // Beside another way for the gradient, candle's is not missing but wrong.
        let beside = |rope: Rope| {
            gradient_errors(|x| x[0].clone() + rope(&x[0], &cos, &sin)?, &[x.as_detached_tensor()])[0]
        };
        assert!(beside(ours) < 1e-7);
        assert!(beside(theirs) > 0.1, "candle's rope beside another use is right now");
    }
}

#[test]
fn attention_passes_gradients_and_candles_do_not() {
    let [q, k, v] = ["q", "k", "v"].map(|name| normal(2, name, (1, 2, 5, 8), DType::F32));
    let q = Var::from_tensor(&q).unwrap();
    assert!(passes(&q, |q| attention(q, &k, &v, &AttnMask::causal(), 0.3)));
    let by_softmax = |q: &Tensor| candle_nn::ops::softmax_last_dim(&q.matmul(&k.t()?)?)?.matmul(&v);
    assert!(!passes(&q, by_softmax), "candle's softmax_last_dim passes gradients now");
    let by_flash = |q: &Tensor| {
        let [q, k, v] = [q, &k, &v].map(|x| x.transpose(1, 2).unwrap().contiguous().unwrap());
        candle_nn::attention::flash_attn::<f32>(&q, &k, &v, 0.3, AttnMask::causal(), None, None)
    };
    let ours = attention(&q, &k, &v, &AttnMask::causal(), 0.3).unwrap();
    let apart =
        |a: &Tensor, b: &Tensor| largest(numbers(a).iter().zip(numbers(b)).map(|(a, b)| (a - b).abs()));
    assert!(apart(&ours, &by_flash(&q).unwrap()) < 1e-5);
    assert!(!passes(&q, by_flash), "candle's flash_attn passes gradients now");
    let sdpa = candle_nn::ops::sdpa(&q, &k, &v, None, true, 0.3, 1.0);
    assert!(sdpa.is_err(), "candle's sdpa runs on a CPU now");
}

/// A row that is masked whole: 0 here, NaN by candle's softmax.
#[test]
fn a_row_without_keys_is_zero_and_candles_is_nan() {
    let [q, k, v] = ["q", "k", "v"].map(|name| normal(3, name, (1, 1, 2, 4), DType::F32));
    let added = Tensor::new(&[[0f32, 0.0], [f32::NEG_INFINITY, f32::NEG_INFINITY]], q.device()).unwrap();
    let theirs = q.matmul(&k.t().unwrap()).unwrap().broadcast_add(&added).unwrap();
    let theirs = candle_nn::ops::softmax(&theirs, 3).unwrap().matmul(&v).unwrap();
    assert!(numbers(&theirs)[4..].iter().all(|x| x.is_nan()), "candle's softmax is no NaN now");
    let ours = attention(&q, &k, &v, &AttnMask::Mask(added), 1.0).unwrap();
    assert_eq!(numbers(&ours)[4..], [0.0; 4]);
    assert!(numbers(&ours)[..4].iter().all(|x| x.is_finite()));
}

#[test]
fn a_cache_passes_gradients_and_candles_does_not() {
    let x = Var::from_tensor(&normal(4, "x", (1, 1, 3, 2), DType::F64)).unwrap();
    let ours = |x: &Tensor| {
        let mut cache = KvCache::new(2, 8);
        cache.append(&x.narrow(2, 0, 1)?, &x.narrow(2, 0, 1)?)?;
        let (k, v) = cache.append(&x.narrow(2, 1, 2)?, &x.narrow(2, 1, 2)?)?;
        k * v
    };
    let theirs = |x: &Tensor| {
        let mut cache = candle_nn::kv_cache::KvCache::new(2, 8);
        cache.append(&x.narrow(2, 0, 1)?, &x.narrow(2, 0, 1)?)?;
        let (k, v) = cache.append(&x.narrow(2, 1, 2)?, &x.narrow(2, 1, 2)?)?;
        k * v
    };
    assert_eq!(numbers(&ours(&x).unwrap()), numbers(&theirs(&x).unwrap()));
    assert!(gradient_errors(|x| ours(&x[0]), &[x.as_detached_tensor()])[0] < 1e-7);
    assert!(!passes(&x, theirs), "candle's KvCache passes gradients now");
}
