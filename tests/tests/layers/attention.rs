//! Attention, rotary positions, embeddings, linear layers and caches.

mod faults;
mod golden;
mod llama;

use candle_core::{DType, Module, Result, Tensor};
use candle_nn::attention::AttnMask;
use wick_kernels::RopeLayout;
use wick_layers::attention::{attention, attention_joined, flash_attn, sdpa};
use wick_layers::rotary_emb::{rope, rope_i, rope_thd};
use wick_layers::{Embedding, Linear};
use wick_tests::{CPU, choose, choose_index, gradient_errors, log_uniform, normal, numbers, uniform};

const F64: DType = DType::F64;

/// The largest error of the gradients of an op.
fn worst(op: impl Fn(&[Tensor]) -> Result<Tensor>, inputs: &[Tensor]) -> f64 {
    gradient_errors(op, inputs).into_iter().fold(0.0, f64::max)
}

/// The output plus the sum of all inputs: where a query sees a single key, the gradients of both are 0, and a rounding
/// error relative to 0 says nothing.
fn beside(output: Tensor, inputs: &[Tensor]) -> Result<Tensor> {
    inputs.iter().try_fold(output, |output, input| output.broadcast_add(&input.sum_all()?))
}

/// The inputs of attention: q, k and v.
fn inputs(seed: u64, [batch, heads, kv_heads, queries, keys, width, value_width]: [usize; 7]) -> [Tensor; 3] {
    [
        normal(seed, "q", (batch, heads, queries, width), F64),
        normal(seed, "k", (batch, kv_heads, keys, width), F64),
        normal(seed, "v", (batch, kv_heads, keys, value_width), F64),
    ]
}

/// One mask of each kind.
fn mask(seed: u64, kind: usize, [batch, heads, _, queries, keys, ..]: [usize; 7]) -> AttnMask {
    let kept = || normal(seed, "kept", (batch, 1, queries, keys), F64).gt(-0.5).unwrap();
    match kind {
        0 => AttnMask::None,
        1 => AttnMask::causal_with_offset(keys.saturating_sub(queries)),
        2 => AttnMask::causal(),
        3 => AttnMask::Mask(normal(seed, "added", (heads, queries, keys), F64)),
        4 => AttnMask::Mask(kept()),
        _ => AttnMask::Mask(kept().to_dtype(F64).unwrap().log().unwrap()),
    }
}

#[test]
fn gradients_of_a_table_of_shapes() {
    let mut largest = 0f64;
    for shape in [
        [1, 1, 1, 1, 1, 1, 1],
        [2, 2, 2, 3, 4, 5, 3],
        [1, 4, 2, 2, 3, 4, 4],
        [1, 3, 1, 5, 2, 2, 2],
        [1, 1, 1, 3, 70, 2, 1],
        [1, 1, 1, 66, 2, 1, 2],
    ] {
        for kind in 0..6 {
            let mask = mask(1, kind, shape);
            let error = worst(|x| beside(attention(&x[0], &x[1], &x[2], &mask, 0.7)?, x), &inputs(1, shape));
            assert!(error <= 1e-7, "{shape:?}, mask {kind}: {error:e}");
            largest = largest.max(error);
        }
    }
    println!("attention: {largest:e}");
}

/// 120 random settings of attention: sizes, heads in groups, masks, scales, layouts in memory.
#[test]
fn gradients_of_random_settings() {
    let mut largest = 0f64;
    for seed in 0..120 {
        let size = |name: &str, most: usize| 1 + choose_index(seed, name, most);
        let (kv_heads, group) = (size("kv_heads", 2), size("group", 2));
        let shape = [
            1,
            kv_heads * group,
            kv_heads,
            size("queries", 4),
            size("keys", 5),
            size("width", 3),
            size("value_width", 3),
        ];
        let mask = mask(seed, choose_index(seed, "mask", 6), shape);
        let scale = log_uniform(seed, "scale", 0.1, 2.0);
        let across = uniform(seed, "layout") < 0.5;
        let op = |x: &[Tensor]| {
            let laid = |t: &Tensor| match across {
                true => t.transpose(1, 2)?.contiguous()?.transpose(1, 2),
                false => Ok(t.clone()),
            };
            beside(attention(&laid(&x[0])?, &laid(&x[1])?, &laid(&x[2])?, &mask, scale)?, x)
        };
        let error = worst(op, &inputs(seed, shape));
        assert!(error <= 1e-7, "seed {seed}, {shape:?}: {error:e}");
        largest = largest.max(error);
    }
    println!("attention at random: {largest:e}");
}

#[test]
fn gradients_of_joined_attention() {
    for (heads, kv_heads, width) in [(1, 1, 1), (2, 2, 3), (4, 2, 2)] {
        let qkv = normal(2, "qkv", (2, 4, (heads + 2 * kv_heads) * width), F64);
        let op = |x: &[Tensor]| attention_joined(&x[0], heads, kv_heads, &AttnMask::causal(), 0.6);
        let error = worst(op, &[qkv]);
        assert!(error <= 1e-7, "{heads} {kv_heads} {width}: {error:e}");
    }
}

#[test]
fn gradients_of_rotary_positions_at_random() {
    let mut largest = 0f64;
    for seed in 0..100 {
        let size = |name: &str, most: usize| 1 + choose_index(seed, name, most);
        let (batch, second, third, half) =
            (size("batch", 2), size("second", 3), size("third", 3), size("half", 3));
        let layout = choose(
            seed,
            "layout",
            &[RopeLayout::Halves, RopeLayout::Interleaved, RopeLayout::HalvesOfPositions],
        );
        let positions = if layout == RopeLayout::HalvesOfPositions { second } else { third };
        let dims = match uniform(seed, "own") < 0.5 {
            true => vec![batch, positions, half],
            false => vec![positions + choose_index(seed, "spare", 3), half],
        };
        let (cos, sin) = (normal(seed, "cos", dims.clone(), F64), normal(seed, "sin", dims, F64));
        let op = |x: &[Tensor]| match layout {
            RopeLayout::Halves => rope(&x[0], &cos, &sin),
            RopeLayout::Interleaved => rope_i(&x[0], &cos, &sin),
            RopeLayout::HalvesOfPositions => rope_thd(&x[0], &cos, &sin),
        };
        let error = worst(op, &[normal(seed, "x", (batch, second, third, 2 * half), F64)]);
        assert!(error <= 1e-7, "seed {seed}, {layout:?}: {error:e}");
        largest = largest.max(error);
    }
    println!("rope at random: {largest:e}");
}

#[test]
fn gradients_of_embeddings_and_linear_layers_at_random() {
    for seed in 0..100 {
        let size = |name: &str, most: usize| 1 + choose_index(seed, name, most);
        let (rows, width, count) = (size("rows", 5), size("width", 4), choose_index(seed, "count", 9));
        let ids: Vec<u32> = (0..count).map(|i| choose_index(seed, &format!("id {i}"), rows) as u32).collect();
        let ids = Tensor::from_vec(ids, count, &CPU).unwrap();
        let op = |x: &[Tensor]| Embedding::new(x[0].clone(), width).forward(&ids);
        // Without ids there is no loss to differentiate.
        if count > 0 {
            let error = worst(op, &[normal(seed, "table", (rows, width), F64)]);
            assert!(error <= 1e-7, "seed {seed}: {error:e}");
        }
        let op = |x: &[Tensor]| Linear::new(x[1].clone(), Some(x[2].clone())).forward(&x[0]);
        let given = [
            normal(seed, "x", (2, count + 1, width), F64),
            normal(seed, "weight", (rows, width), F64),
            normal(seed, "bias", rows, F64),
        ];
        let error = worst(op, &given);
        assert!(error <= 1e-7, "seed {seed}: {error:e}");
    }
}

/// candle's other names for attention are the same op.
#[test]
fn sdpa_and_flash_attn_are_attention() {
    let shape = [2, 4, 2, 5, 7, 8, 8];
    let [q, k, v] = inputs(3, shape).map(|x| x.to_dtype(DType::F32).unwrap());
    let same = |ours: Tensor, mask: AttnMask| {
        assert_eq!(numbers(&ours), numbers(&attention(&q, &k, &v, &mask, f64::from(0.3f32)).unwrap()));
    };
    let added = normal(3, "added", (4, 5, 7), DType::F32);
    same(sdpa(&q, &k, &v, None, false, 0.3, 1.0).unwrap(), AttnMask::None);
    same(sdpa(&q, &k, &v, None, true, 0.3, 1.0).unwrap(), AttnMask::causal_with_offset(2));
    same(sdpa(&q, &k, &v, Some(&added), false, 0.3, 1.0).unwrap(), AttnMask::Mask(added.clone()));
    let seen = (0..5).flat_map(|i| (0..7).map(move |j| if j <= i + 2 { 0f32 } else { f32::NEG_INFINITY }));
    let both = Tensor::from_iter(seen, &CPU).unwrap().reshape((5, 7)).unwrap().broadcast_add(&added).unwrap();
    same(sdpa(&q, &k, &v, Some(&added), true, 0.3, 1.0).unwrap(), AttnMask::Mask(both));
    let [qt, kt, vt] = [&q, &k, &v].map(|x| x.transpose(1, 2).unwrap());
    same(flash_attn::<f32>(&qt, &kt, &vt, 0.3, AttnMask::causal(), None, None).unwrap(), AttnMask::causal());
    assert!(sdpa(&q, &k, &v, None, false, 0.3, 2.0).unwrap_err().to_string().contains("softcapping"));
    let refused = flash_attn::<f32>(&qt, &kt, &vt, 0.3, AttnMask::None, Some(8.0), None);
    assert!(refused.unwrap_err().to_string().contains("max_bias"));
}
