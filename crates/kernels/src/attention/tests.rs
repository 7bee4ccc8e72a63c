use candle_core::{DType, Device, Tensor, Var};
use candle_nn::attention::AttnMask;

use super::backward::Backward;
use super::block::Problem;
use super::composed::composed;
use super::forward::Forward;
use super::view::{Heads, HeadsMut};
use super::{attention, attention_joined, check, mask_of};
use crate::cpu::simd::SimdLevel;

/// Numbers about 0, without a pattern.
fn wave(dims: &[usize], phase: f64) -> Tensor {
    let count = dims.iter().product::<usize>();
    let number = |i: usize| ((i as f64 * 0.731 + phase).sin() * 1.7) + (i as f64 * 1.37 + phase).cos();
    Tensor::from_vec((0..count).map(number).collect::<Vec<f64>>(), dims, &Device::Cpu).unwrap()
}

fn numbers(xs: &Tensor) -> Vec<f64> {
    xs.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The largest difference.
fn apart(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    let differences = numbers(a).into_iter().zip(numbers(b)).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |largest: f64, x| if x.is_nan() { f64::INFINITY } else { largest.max(x) })
}

/// `[batch, heads, kv heads, queries, keys, width, value width]`: sizes about those of a vector, a tile and a block.
const SHAPES: [[usize; 7]; 12] = [
    [1, 1, 1, 1, 1, 1, 1],
    [1, 1, 1, 1, 200, 64, 64],
    [2, 2, 2, 5, 7, 3, 5],
    [1, 2, 1, 16, 17, 16, 16],
    [1, 4, 2, 33, 33, 8, 8],
    [2, 3, 1, 64, 64, 20, 12],
    [1, 1, 1, 65, 63, 17, 31],
    [1, 2, 2, 130, 129, 32, 32],
    [1, 1, 1, 100, 300, 64, 48],
    [1, 2, 2, 300, 100, 8, 8],
    [1, 1, 1, 70, 1100, 16, 16],
    [1, 4, 1, 128, 520, 8, 24],
];

fn inputs([batch, heads, kv_heads, queries, keys, width, value_width]: [usize; 7]) -> [Tensor; 3] {
    [
        wave(&[batch, heads, queries, width], 0.1),
        wave(&[batch, kv_heads, keys, width], 0.7),
        wave(&[batch, kv_heads, keys, value_width], 1.3),
    ]
}

/// The masks of a shape: none, causal at the end and at the start of the keys, added, and kept.
fn masks([batch, heads, _, queries, keys, ..]: [usize; 7]) -> Vec<AttnMask> {
    let added = wave(&[heads, queries, keys], 2.0);
    let kept = wave(&[batch, 1, queries, keys], 3.0).gt(-0.3).unwrap();
    vec![
        AttnMask::None,
        AttnMask::causal(),
        AttnMask::Causal { kv_offset: keys.saturating_sub(queries) },
        AttnMask::Mask(added.to_dtype(DType::F32).unwrap()),
        AttnMask::Mask(kept),
    ]
}

/// The output of an op and the gradients of a sum of it with unequal weights.
fn pass(inputs: &[Tensor; 3], op: impl Fn(&Tensor, &Tensor, &Tensor) -> Tensor) -> Vec<Tensor> {
    let vars = inputs.each_ref().map(|input| Var::from_tensor(input).unwrap());
    let output = op(&vars[0], &vars[1], &vars[2]);
    let weights = wave(output.dims(), 4.0).to_dtype(output.dtype()).unwrap();
    let gradients = (&output * weights).unwrap().sum_all().unwrap().backward().unwrap();
    let of = |var: &Var| gradients.get(var).cloned().unwrap_or_else(|| var.zeros_like().unwrap());
    [output.clone()].into_iter().chain(vars.iter().map(of)).collect()
}

fn by_candle(q: &Tensor, k: &Tensor, v: &Tensor, mask: &AttnMask, scale: f64) -> Tensor {
    let problem = check(q, k, v, mask, scale).unwrap();
    composed(&problem, q, k, v, mask_of(&problem, mask, q).unwrap().as_ref()).unwrap()
}

#[test]
fn outputs_and_gradients_are_those_of_candles_ops() {
    // The gradient of a score is a difference of products up to 60, which f32 rounds by 4e-6.
    for (dtype, bound) in [(DType::F64, 1e-12), (DType::F32, 1e-4)] {
        let mut worst = 0f64;
        for shape in SHAPES {
            for (number, mask) in masks(shape).iter().enumerate() {
                let wide = inputs(shape);
                let typed = wide.each_ref().map(|x| x.to_dtype(dtype).unwrap());
                let ours = pass(&typed, |q, k, v| attention(q, k, v, mask, 0.3).unwrap());
                let wide = typed.each_ref().map(|x| x.to_dtype(DType::F64).unwrap());
                let theirs = pass(&wide, |q, k, v| by_candle(q, k, v, mask, 0.3));
                // Another scale is another result.
                let twin = pass(&wide, |q, k, v| by_candle(q, k, v, mask, 0.303));
                for (which, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
                    let apart = apart(ours, theirs);
                    let size = numbers(theirs).iter().fold(1.0, |size: f64, x| size.max(x.abs()));
                    assert!(apart <= bound * size, "{shape:?} mask {number} {dtype:?} {which}: {apart:e}");
                    worst = worst.max(apart / size);
                }
                let moved = ours.iter().zip(&twin).any(|(a, b)| apart(a, b) > 10.0 * bound);
                // A single key of each query has the weight 1.
                assert!(moved || shape[4] == 1 || shape[3] == 1, "{shape:?} mask {number}: the twin");
            }
        }
        println!("{dtype:?}: {worst:e}");
    }
}

/// The types of 16 bits are computed in `f32` and rounded once.
#[test]
fn half_types_are_rounded_once() {
    for dtype in [DType::BF16, DType::F16] {
        let shape = [1, 2, 1, 40, 50, 16, 8];
        let narrow = inputs(shape).map(|x| x.to_dtype(dtype).unwrap());
        let ours = pass(&narrow, |q, k, v| attention(q, k, v, &AttnMask::None, 0.25).unwrap());
        let wide = narrow.each_ref().map(|x| x.to_dtype(DType::F32).unwrap());
        let exact = attention(&wide[0], &wide[1], &wide[2], &AttnMask::None, 0.25).unwrap();
        assert_eq!(numbers(&ours[0]), numbers(&exact.to_dtype(dtype).unwrap()));
        assert!(ours.iter().all(|x| x.dtype() == dtype));
    }
}

/// A view of another layout, of heads within positions, has the same bits, and the output's heads lie within
/// positions.
#[test]
fn strided_inputs_change_no_bit() {
    let shape = [2, 4, 2, 70, 90, 16, 8];
    let plain = inputs(shape).map(|x| x.to_dtype(DType::F32).unwrap());
    let strided = plain.each_ref().map(|x| x.transpose(1, 2).unwrap().contiguous().unwrap());
    let op = |q: &Tensor, k: &Tensor, v: &Tensor| attention(q, k, v, &AttnMask::causal(), 0.25).unwrap();
    let expected = pass(&plain, op);
    let back = |x: &Tensor| x.transpose(1, 2).unwrap();
    let got = pass(&strided, |q, k, v| op(&back(q), &back(k), &back(v)));
    assert_eq!(numbers(&expected[0]), numbers(&got[0]));
    for (expected, got) in expected[1..].iter().zip(&got[1..]) {
        assert_eq!(numbers(expected), numbers(&back(got)));
    }
    // At other levels candle's ops do the work.
    assert_eq!(expected[0].transpose(1, 2).unwrap().is_contiguous(), SimdLevel::best().is_fast());
    // Rows across the memory are copied.
    let across = plain.each_ref().map(|x| x.transpose(2, 3).unwrap().contiguous().unwrap());
    let rows = |x: &Tensor| x.transpose(2, 3).unwrap();
    let got = pass(&across, |q, k, v| op(&rows(q), &rows(k), &rows(v)));
    assert_eq!(numbers(&expected[0]), numbers(&got[0]));
}

/// One tensor of queries, keys and values side by side gives the bits of the three parts, forward and backward.
#[test]
fn joined_is_the_same() {
    for (dtype, heads, kv_heads) in [(DType::F32, 4, 4), (DType::F64, 4, 2), (DType::BF16, 2, 1)] {
        let (batch, positions, width) = (2, 70, 8);
        let all = (heads + 2 * kv_heads) * width;
        let qkv = Var::from_tensor(&wave(&[batch, positions, all], 0.2).to_dtype(dtype).unwrap()).unwrap();
        let weights = wave(&[batch, positions, heads * width], 0.9).to_dtype(dtype).unwrap();
        let gradient = |output: &Tensor| {
            let gradients = (output * &weights).unwrap().sum_all().unwrap().backward().unwrap();
            numbers(gradients.get(&qkv).unwrap())
        };
        let joined = attention_joined(&qkv, heads, kv_heads, &AttnMask::causal(), 0.35).unwrap();
        let part = |first: usize, count: usize| {
            let part = qkv.narrow(2, first * width, count * width).unwrap();
            part.reshape((batch, positions, count, width)).unwrap().transpose(1, 2).unwrap()
        };
        let (q, k, v) = (part(0, heads), part(heads, kv_heads), part(heads + kv_heads, kv_heads));
        let parts = attention(&q, &k, &v, &AttnMask::causal(), 0.35).unwrap();
        let parts = parts.transpose(1, 2).unwrap().reshape((batch, positions, heads * width)).unwrap();
        assert_eq!(numbers(&joined), numbers(&parts));
        assert_eq!(gradient(&joined), gradient(&parts));
        assert_eq!(joined.dims(), parts.dims());
    }
}

/// A row that is masked whole gives 0 and passes 0 back; the other rows do not notice.
#[test]
fn a_row_without_keys_is_zero() {
    let shape = [1, 2, 2, 70, 130, 8, 8];
    for dtype in [DType::F32, DType::F64] {
        let inputs = inputs(shape).map(|x| x.to_dtype(dtype).unwrap());
        let mut kept = vec![1u8; 70 * 130];
        kept[3 * 130..4 * 130].fill(0);
        kept[69 * 130..].fill(0);
        let kept = Tensor::from_vec(kept, (70, 130), &Device::Cpu).unwrap();
        let added = kept.to_dtype(dtype).unwrap().log().unwrap(); // 0 and -∞
        for mask in [AttnMask::Mask(kept), AttnMask::Mask(added)] {
            let got = pass(&inputs, |q, k, v| attention(q, k, v, &mask, 0.3).unwrap());
            let whole = pass(&inputs, |q, k, v| attention(q, k, v, &AttnMask::None, 0.3).unwrap());
            assert!(got.iter().all(|x| numbers(x).iter().all(|x| x.is_finite())));
            for row in 0..70 {
                let row_of = |x: &Tensor| numbers(&x.narrow(2, row, 1).unwrap());
                let masked = row == 3 || row == 69;
                let expected = if masked { vec![0.0; 16] } else { row_of(&whole[0]) };
                assert_eq!(row_of(&got[0]), expected, "row {row}");
                assert_eq!(row_of(&got[1]).iter().all(|x| *x == 0.0), masked, "gradient of row {row}");
            }
        }
        // The first queries of more than there are keys see none.
        let none = attention(&inputs[0], &inputs[1], &inputs[2], &AttnMask::None, 0.3).unwrap();
        let no_keys = inputs[1].narrow(2, 0, 0).unwrap();
        let empty = attention(&inputs[0], &no_keys, &no_keys, &AttnMask::None, 0.3).unwrap();
        assert_eq!(empty.dims(), none.dims());
        assert!(numbers(&empty).iter().all(|x| *x == 0.0));
    }
}

#[test]
fn nan_is_not_lost() {
    let [q, k, v] = inputs([1, 1, 1, 4, 70, 8, 8]);
    let poison = |x: &Tensor| {
        let mut values = numbers(x);
        values[8] = f64::NAN;
        Tensor::from_vec(values, x.dims(), &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap()
    };
    let [q32, k32, v32] = [&q, &k, &v].map(|x| x.to_dtype(DType::F32).unwrap());
    let of_q = attention(&poison(&q), &k32, &v32, &AttnMask::None, 0.3).unwrap();
    let rows: Vec<bool> = numbers(&of_q).chunks(8).map(|row| row.iter().all(|x| x.is_nan())).collect();
    assert_eq!(rows, [false, true, false, false]);
    let of_k = attention(&q32, &poison(&k), &v32, &AttnMask::None, 0.3).unwrap();
    assert!(numbers(&of_k).iter().all(|x| x.is_nan()));
}

#[test]
fn gradients_that_nobody_wants_are_not_made() {
    let [q, k, v] = inputs([1, 2, 2, 70, 70, 8, 8]);
    let all = pass(&[q.clone(), k.clone(), v.clone()], |q, k, v| {
        attention(q, k, v, &AttnMask::causal(), 0.3).unwrap()
    });
    for wanted in 0..3 {
        let mut given = [q.clone(), k.clone(), v.clone()];
        let var = Var::from_tensor(&given[wanted]).unwrap();
        given[wanted] = var.as_tensor().clone();
        let output = attention(&given[0], &given[1], &given[2], &AttnMask::causal(), 0.3).unwrap();
        let weights = wave(output.dims(), 4.0);
        let gradients = (&output * weights).unwrap().sum_all().unwrap().backward().unwrap();
        assert_eq!(numbers(gradients.get(&var).unwrap()), numbers(&all[wanted + 1]));
    }
    assert!(!attention(&q, &k, &v, &AttnMask::None, 0.3).unwrap().track_op());
}

/// A mask that is a variable gets its gradient, by candle's ops.
#[test]
fn a_mask_can_be_learned() {
    let [q, k, v] = inputs([1, 2, 2, 5, 7, 4, 4]);
    let bias = Var::from_tensor(&wave(&[2, 5, 7], 1.0)).unwrap();
    let mask = AttnMask::Mask(bias.as_tensor().clone());
    let output = attention(&q, &k, &v, &mask, 0.3).unwrap();
    let constant = attention(&q, &k, &v, &AttnMask::Mask(bias.as_detached_tensor()), 0.3).unwrap();
    assert!(apart(&output, &constant) < 1e-14);
    assert!(output.sum_all().unwrap().backward().unwrap().get(&bias).is_some());
}

/// The output, `ln Σ eˢ` and the three gradients of a problem at a level, as bits.
fn bits(problem: Problem, level: SimdLevel) -> Vec<u32> {
    let Problem { batch, heads, kv_heads, queries, keys, width, value_width, .. } = problem;
    let shape = [batch, heads, kv_heads, queries, keys, width, value_width];
    let slices =
        inputs(shape).map(|x| x.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>());
    let [q, k, v] = slices.map(Result::unwrap);
    let dims = |heads: usize, rows: usize, width: usize| [batch, heads, rows, width];
    let strides = |[_, heads, rows, width]: [usize; 4]| [heads * rows * width, rows * width, width];
    let view = |data, dims| Heads::new(data, dims, strides(dims)).unwrap();
    fn fresh(dims: [usize; 4]) -> Vec<f32> {
        vec![f32::NAN; dims.iter().product()]
    }
    // SAFETY: each vector has the elements of its tensor, and is used for nothing else as long as a pass runs.
    let of = |data: &mut Vec<f32>, dims| unsafe { HeadsMut::new(data.as_mut_ptr(), strides(dims)) };
    let [of_q, of_k, of_v, of_out, of_sums] = [
        dims(heads, queries, width),
        dims(kv_heads, keys, width),
        dims(kv_heads, keys, value_width),
        dims(heads, queries, value_width),
        dims(heads, queries, 1),
    ];
    let (mut out, mut sums) = (fresh(of_out), fresh(of_sums));
    let (mut dq, mut dk, mut dv) = (fresh(of_q), fresh(of_k), fresh(of_v));
    let gradient: Vec<f32> = numbers(&wave(&of_out, 4.0)).into_iter().map(|x| x as f32).collect();
    let (q, k, v) = (view(&q, of_q), view(&k, of_k), view(&v, of_v));
    let (output, log_sums) = (of(&mut out, of_out), of(&mut sums, of_sums));
    Forward { problem, q, k, v, mask: None, output, log_sums }.run(level);
    Backward {
        problem,
        q,
        k,
        v,
        mask: None,
        output: view(&out, of_out),
        gradient: view(&gradient, of_out),
        log_sums: view(&sums, of_sums),
        of_q: Some(of(&mut dq, of_q)),
        of_k: Some(of(&mut dk, of_k)),
        of_v: Some(of(&mut dv, of_v)),
    }
    .run(level);
    [out, sums, dq, dk, dv].concat().into_iter().map(f32::to_bits).collect()
}

#[test]
fn threads_and_levels_change_no_bit() {
    for shape in SHAPES {
        for causal in [None, Some(3)] {
            let [batch, heads, kv_heads, queries, keys, width, value_width] = shape;
            let problem =
                Problem { batch, heads, kv_heads, queries, keys, width, value_width, scale: 0.3, causal };
            let run = |threads: usize, level| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| bits(problem, level))
            };
            let expected = run(1, SimdLevel::best());
            assert!(
                expected.iter().all(|bits| !f32::from_bits(*bits).is_nan()),
                "{shape:?}: not all is written"
            );
            for level in SimdLevel::available() {
                assert_eq!(expected, run(2, level), "{shape:?} {causal:?} {level}");
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let f = |dims: &[usize]| wave(dims, 0.0);
    let error = |q: &Tensor, k: &Tensor, v: &Tensor, mask: AttnMask| {
        attention(q, k, v, &mask, 1.0).unwrap_err().to_string()
    };
    let q = f(&[1, 4, 3, 8]);
    let told = error(&q, &f(&[1, 3, 3, 8]), &f(&[1, 3, 3, 8]), AttnMask::None);
    assert!(told.contains("multiple of kv heads") && told.contains("[1, 3, 3, 8]"), "{told}");
    let told = error(&q, &f(&[1, 4, 3, 7]), &f(&[1, 4, 3, 7]), AttnMask::None);
    assert!(told.contains("[1, 4, 3, 7]"), "{told}");
    let told = error(&f(&[4, 3, 8]), &q, &q, AttnMask::None);
    assert!(told.contains("q of 4 dimensions"), "{told}");
    let told = error(&q, &q.to_dtype(DType::F32).unwrap(), &q, AttnMask::None);
    assert!(told.contains("one floating point type"), "{told}");
    let told = error(&q, &q, &q, AttnMask::Mask(f(&[3, 4])));
    assert!(told.contains("cannot be broadcast") && told.contains("[3, 4]"), "{told}");
    let ids = Tensor::zeros((3, 3), DType::U32, &Device::Cpu).unwrap();
    let told = error(&q, &q, &q, AttnMask::Mask(ids));
    assert!(told.contains("u8"), "{told}");
    let told = attention_joined(&f(&[1, 3, 25]), 4, 4, &AttnMask::None, 1.0).unwrap_err().to_string();
    assert!(told.contains("12·width") && told.contains("[1, 3, 25]"), "{told}");
}
