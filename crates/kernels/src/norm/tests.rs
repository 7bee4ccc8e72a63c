//! Tests of the norms: against candle's ops, in extremes, and their bits.

use candle_core::{DType, Device, Tensor, Var};

use super::composed;
use super::cpu_channels::{self, Channels, Plan};
use super::cpu_rows::{self, Rows};
use super::gradients::Wanted;
use crate::cpu::checks::{TYPES, apart, fast_levels, in_pool, numbers, passes, wave};
use crate::cpu::simd::SimdLevel;
use crate::{BatchStatistics, batch_norm, batch_norm_with, group_norm, layer_norm, rms_norm};

const EPS: f64 = 1e-5;

type Op = Box<dyn Fn(&[Tensor]) -> Tensor>;

/// Ours and candle's of the norms of a shape `[batch, channels, n]`, with the size of the parameters and their number.
fn ops(shape: [usize; 3]) -> Vec<(&'static str, usize, usize, Op, Op)> {
    let [_, channels, width] = shape;
    let mut all: Vec<(&'static str, usize, usize, Op, Op)> = vec![
        (
            "layer norm",
            width,
            2,
            Box::new(|x| layer_norm(&x[0], &x[1], Some(&x[2]), EPS).unwrap()),
            Box::new(|x| composed::rows(&x[0], &x[1], Some(&x[2]), EPS, true).unwrap()),
        ),
        (
            "layer norm without a bias",
            width,
            1,
            Box::new(|x| layer_norm(&x[0], &x[1], None, EPS).unwrap()),
            Box::new(|x| composed::rows(&x[0], &x[1], None, EPS, true).unwrap()),
        ),
        (
            "RMS norm",
            width,
            1,
            Box::new(|x| rms_norm(&x[0], &x[1], EPS).unwrap()),
            Box::new(|x| composed::rows(&x[0], &x[1], None, EPS, false).unwrap()),
        ),
        (
            "batch norm",
            channels,
            2,
            Box::new(|x| batch_norm(&x[0], Some((&x[1], &x[2])), EPS).unwrap().0),
            Box::new(|x| composed::batch(&x[0], &x[1], &x[2], EPS).unwrap().0),
        ),
        (
            "batch norm with statistics",
            channels,
            2,
            Box::new(move |x| {
                let statistics = given(channels, x[0].dtype());
                batch_norm_with(&x[0], &statistics, Some((&x[1], &x[2])), EPS).unwrap()
            }),
            Box::new(move |x| {
                let statistics = given(channels, x[0].dtype());
                composed::given(&x[0], [&statistics.mean, &statistics.variance], &x[1], &x[2], EPS).unwrap()
            }),
        ),
    ];
    for groups in [1, 2, 4].into_iter().filter(|groups| channels.is_multiple_of(*groups)) {
        all.push((
            "group norm",
            channels,
            2,
            Box::new(move |x| group_norm(&x[0], groups, &x[1], &x[2], EPS).unwrap()),
            Box::new(move |x| composed::groups(&x[0], groups, &x[1], &x[2], EPS).unwrap()),
        ));
    }
    all
}

fn given(channels: usize, dtype: DType) -> BatchStatistics {
    let mean = wave(channels, 3.0, DType::F64).to_dtype(dtype).unwrap();
    let variance = (wave(channels, 4.0, DType::F64).sqr().unwrap() + 0.5).unwrap().to_dtype(dtype).unwrap();
    BatchStatistics { mean, variance }
}

#[test]
fn values_and_gradients_are_those_of_candles_ops_in_f64() {
    for shape in [[3, 4, 5], [1, 2, 64], [5, 8, 33], [40, 4, 7], [2, 1, 5001], [100, 2, 3]] {
        for (name, size, count, ours, theirs) in ops(shape) {
            let mut inputs = vec![wave(shape.to_vec(), 0.0, DType::F64)];
            inputs.extend((0..count).map(|i| wave(size, 5.0 + i as f64, DType::F64)));
            for (dtype, bound) in TYPES {
                let rounded: Vec<Tensor> = inputs.iter().map(|x| x.to_dtype(dtype).unwrap()).collect();
                let wide: Vec<Tensor> = rounded.iter().map(|x| x.to_dtype(DType::F64).unwrap()).collect();
                let (got, expected) = (passes(&ours, &rounded), passes(&theirs, &wide));
                for (which, (got, expected)) in got.iter().zip(&expected).enumerate() {
                    assert_eq!(got.dtype(), dtype);
                    let off = apart(got, expected);
                    assert!(off <= 4.0 * bound, "{name} {shape:?} {dtype:?} {which}: {off:e}");
                }
            }
        }
    }
}

/// A bias in the wrong place, and a variance divided by n - 1, are far off.
#[test]
fn wrong_twins_are_seen() {
    let x = [wave((3, 4, 5), 0.0, DType::F64), wave(5, 5.0, DType::F64), wave(5, 6.0, DType::F64)];
    let right = passes(|x| layer_norm(&x[0], &x[1], Some(&x[2]), EPS).unwrap(), &x);
    let twin = passes(
        |x| {
            let off = x[0].broadcast_sub(&x[0].mean_keepdim(2).unwrap()).unwrap();
            let variance = (off.sqr().unwrap().sum_keepdim(2).unwrap() / 4.0).unwrap();
            let normed = off.broadcast_div(&(variance + EPS).unwrap().sqrt().unwrap()).unwrap();
            normed.broadcast_mul(&x[1]).unwrap().broadcast_add(&x[2]).unwrap()
        },
        &x,
    );
    assert!(apart(&twin[0], &right[0]) > 0.01 && apart(&twin[1], &right[1]) > 0.01);
}

/// The parts of [3, 4, 5] that are not next to each other in memory, and tensors without elements.
#[test]
fn strides_and_sizes_of_0() {
    let x = wave((5, 4, 3), 0.0, DType::F64);
    let (w, b) = (wave(5, 5.0, DType::F64), wave(5, 6.0, DType::F64));
    let all = [x, w, b];
    let got = passes(|x| layer_norm(&x[0].transpose(0, 2).unwrap(), &x[1], Some(&x[2]), EPS).unwrap(), &all);
    let expected = passes(
        |x| composed::rows(&x[0].transpose(0, 2).unwrap(), &x[1], Some(&x[2]), EPS, true).unwrap(),
        &all,
    );
    assert!(got.iter().zip(&expected).all(|(a, b)| apart(a, b) < 1e-12));
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let ones = |n: usize| Tensor::ones(n, DType::F32, &Device::Cpu).unwrap();
    for (shape, n) in [([0, 4], 4), ([4, 0], 0)] {
        assert_eq!(layer_norm(&zeros(&shape), &ones(n), None, EPS).unwrap().dims(), shape);
        assert_eq!(rms_norm(&zeros(&shape), &ones(n), EPS).unwrap().dims(), shape);
    }
    for shape in [[0, 4, 2], [2, 4, 0]] {
        assert_eq!(group_norm(&zeros(&shape), 2, &ones(4), &ones(4), EPS).unwrap().dims(), shape);
        assert_eq!(batch_norm(&zeros(&shape), None, EPS).unwrap().0.dims(), shape);
    }
    // One number is its mean.
    assert_eq!(
        numbers(&layer_norm(&ones(1), &ones(1), Some(&(ones(1) * 3.0).unwrap()), EPS).unwrap()),
        [3.0]
    );
}

/// Rows whose mean is 10⁵ times their standard deviation keep the digits that `f32` has of them.
#[test]
fn a_mean_far_from_0() {
    if !SimdLevel::best().is_fast() {
        return; // candle's ops have one pass.
    }
    let off = wave(1000, 0.0, DType::F32);
    let far = (&off + 131_072.0).unwrap();
    let exact = layer_norm(
        &far.to_dtype(DType::F64).unwrap(),
        &Tensor::ones(1000, DType::F64, &Device::Cpu).unwrap(),
        None,
        0.0,
    )
    .unwrap();
    let got = layer_norm(&far, &Tensor::ones(1000, DType::F32, &Device::Cpu).unwrap(), None, 0.0).unwrap();
    assert!(apart(&got, &exact) < 1e-6, "{:e}", apart(&got, &exact));
    // E[x²] - E[x]² in f32 has no digit left.
    let naive = (far.sqr().unwrap().mean_all().unwrap() - far.mean_all().unwrap().sqr().unwrap()).unwrap();
    let variance = numbers(&off.to_dtype(DType::F64).unwrap().var(0).unwrap())[0];
    assert!((numbers(&naive)[0] / variance - 1.0).abs() > 0.1, "the twin that must fail: {naive}");
}

/// What nothing asks for is not computed: constants have no gradient, and the others are as before.
#[test]
fn gradients_that_nothing_asks_for() {
    let [x, w, b] = [wave((3, 4), 0.0, DType::F64), wave(4, 1.0, DType::F64), wave(4, 2.0, DType::F64)];
    let all =
        passes(|x| layer_norm(&x[0], &x[1], Some(&x[2]), EPS).unwrap(), &[x.clone(), w.clone(), b.clone()]);
    let only_x = passes(|x| layer_norm(&x[0], &w, Some(&b), EPS).unwrap(), std::slice::from_ref(&x));
    let only_b = passes(|p| layer_norm(&x, &w, Some(&p[0]), EPS).unwrap(), std::slice::from_ref(&b));
    assert!(numbers(&all[1]) == numbers(&only_x[1]) && numbers(&all[3]) == numbers(&only_b[1]));
    let var = Var::from_tensor(&b).unwrap();
    let store = layer_norm(&x, &w, Some(&var), EPS).unwrap().sum_all().unwrap().backward().unwrap();
    assert!(store.get(&x).is_none() && store.get(&w).is_none() && store.get(&var).is_some());
}

#[test]
fn neither_threads_nor_levels_change_a_bit() {
    let levels = fast_levels();
    let Some(&first) = levels.first() else { return };
    let bits = |values: Vec<f32>, sums: [Vec<f64>; 2]| {
        let sums = sums.into_iter().flatten().map(f64::to_bits);
        values.into_iter().map(|x| u64::from(x.to_bits())).chain(sums).collect::<Vec<_>>()
    };
    let wanted = Wanted { input: true, parameters: true };
    for (count, width) in [(700, 130), (5000, 8), (2, 10_001)] {
        let flat = |phase, n: usize| wave(n, phase, DType::F32).to_vec1::<f32>().unwrap();
        let (xs, gs, weight, bias) =
            (flat(0.0, count * width), flat(1.0, count * width), flat(2.0, width), flat(3.0, width));
        for centred in [true, false] {
            let run = |level| {
                let rows = Rows { xs: &xs, weight: &weight, centred };
                let (mut values, scales) = cpu_rows::forward(level, rows, &bias, EPS);
                let gradients = cpu_rows::backward(level, rows, &scales, &gs, wanted);
                values.extend(gradients.input);
                bits(values, [gradients.weight, gradients.bias])
            };
            let expected = in_pool(1, || run(first));
            for &level in &levels {
                assert!(in_pool(2, || run(level)) == expected, "{count}×{width} {centred} {level}");
            }
        }
    }
    for (batch, channels, n, groups) in
        [(20, 8, 333, Some(2)), (20, 8, 333, None), (3, 64, 1, None), (1, 2, 9000, Some(1))]
    {
        let plan = Plan { batch, channels, n, groups };
        let flat = |phase, n: usize| wave(n, phase, DType::F32).to_vec1::<f32>().unwrap();
        let count = batch * channels * n;
        let (xs, gs, weight, bias) =
            (flat(0.0, count), flat(1.0, count), flat(2.0, channels), flat(3.0, channels));
        let run = |level| {
            let of = Channels { plan, xs: &xs, weight: &weight };
            let statistics = cpu_channels::statistics(level, plan, &xs);
            let scales: Vec<_> =
                statistics.iter().map(|(mean, var)| [*mean, 1.0 / (var + EPS).sqrt()]).collect();
            let mut values = cpu_channels::forward(level, of, &bias, &scales);
            let gradients = cpu_channels::backward(level, of, &scales, &gs, wanted, false);
            values.extend(gradients.input);
            bits(values, [gradients.weight, gradients.bias])
        };
        let expected = in_pool(1, || run(first));
        for &level in &levels {
            assert!(in_pool(2, || run(level)) == expected, "{plan:?} {level}");
        }
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let (x, w) = (wave((2, 4), 0.0, DType::F32), wave(3, 0.0, DType::F32));
    let error = layer_norm(&x, &w, None, EPS).unwrap_err().to_string();
    assert!(error.contains("a layer norm of [2, 4] takes a weight of shape [4], not [3]"), "{error}");
    let error = rms_norm(&x, &wave(4, 0.0, DType::F64), EPS).unwrap_err().to_string();
    assert!(error.contains("takes a weight of that type, not F64"), "{error}");
    let error = rms_norm(&x, &wave(4, 0.0, DType::F32), -1.0).unwrap_err().to_string();
    assert!(error.contains("0 or above, not -1"), "{error}");
    let w = wave(4, 0.0, DType::F32);
    let error = group_norm(&x, 3, &w, &w, EPS).unwrap_err().to_string();
    assert!(error.contains("of 3 groups takes channels that they divide, not 4"), "{error}");
    let error = batch_norm(&w, None, EPS).unwrap_err().to_string();
    assert!(error.contains("[batch, channels, …], not F32 [4]"), "{error}");
}
