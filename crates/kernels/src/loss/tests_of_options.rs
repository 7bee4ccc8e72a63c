//! Tests of the losses with options: against candle's ops, in extremes, and their bits.

use candle_core::{DType, Device, Tensor, Var};

use crate::cpu::checks::{apart, fast_levels, in_pool, numbers, wave};
use crate::cpu::simd::SimdLevel;
use crate::loss::binary::{self, binary_cross_entropy};
use crate::loss::classes::{self, CrossEntropy};
use crate::loss::kept::KeptGradient;

fn classes_of(rows: usize, width: usize) -> Tensor {
    let classes: Vec<i64> =
        (0..rows as i64).map(|row| if row % 5 == 3 { -100 } else { row * 7 % width as i64 }).collect();
    Tensor::from_vec(classes, rows, &Device::Cpu).unwrap()
}

/// Each option alone and all together.
fn options(width: usize) -> Vec<CrossEntropy> {
    let weights = (wave(width, 3.0, DType::F64).sqr().unwrap() + 0.1).unwrap();
    let plain = CrossEntropy { ignored: Some(-100), ..CrossEntropy::default() };
    vec![
        plain.clone(),
        CrossEntropy { label_smoothing: 0.2, ..plain.clone() },
        CrossEntropy { weights: Some(weights.clone()), ..plain.clone() },
        CrossEntropy { label_smoothing: 0.2, weights: Some(weights), ..plain },
    ]
}

#[test]
fn loss_and_gradients_are_those_of_candles_ops_in_f64() {
    for (rows, width) in [(1, 1), (4, 10), (40, 1000), (5000, 3), (3, 5001)] {
        let (logits, classes) = (wave((rows, width), 0.0, DType::F64), classes_of(rows, width));
        for (which, options) in options(width).into_iter().enumerate() {
            let var = Var::from_tensor(&logits).unwrap();
            let expected = classes::composed_for_tests(&options, &var, &classes);
            let of_logits = expected.backward().unwrap().get(&var).unwrap().clone();
            for (dtype, bound) in [(DType::F64, 1e-12), (DType::F32, 4e-6), (DType::BF16, 2e-2)] {
                let var = Var::from_tensor(&logits.to_dtype(dtype).unwrap()).unwrap();
                let loss = (options.forward(&var, &classes).unwrap() * 2.0).unwrap();
                let gradient = (loss.backward().unwrap().get(&var).unwrap() / 2.0).unwrap();
                let off = (numbers(&loss)[0] / 2.0 - numbers(&expected)[0]).abs();
                let scale = numbers(&expected)[0].abs().max(1.0);
                assert!(off < bound * scale, "{rows}×{width} {which} {dtype:?}: {off:e}");
                // Of one class, the gradient is 0.
                // candle's own gradient goes through the largest number, where what a row's sum rounds adds up.
                let bound = bound * (width as f64 / 1000.0).max(1.0);
                let off = if width == 1 { numbers(&gradient)[0].abs() } else { apart(&gradient, &of_logits) };
                assert!(off < bound, "{rows}×{width} {which} {dtype:?}: {off:e}");
            }
        }
    }
}

#[test]
fn without_any_class_the_loss_is_0() {
    let logits = Var::from_tensor(&wave((2, 3), 0.0, DType::F32)).unwrap();
    let classes = Tensor::new(&[7u32, 7], &Device::Cpu).unwrap();
    let options = CrossEntropy { ignored: Some(7), ..CrossEntropy::default() };
    let loss = options.forward(&logits, &classes).unwrap();
    assert_eq!(numbers(&loss), [0.0]);
    assert_eq!(numbers(loss.backward().unwrap().get(&logits).unwrap()), [0.0; 6]);
}

/// Logits of ±3e38 and a masked logit of -∞ have the loss and the gradient of the limit.
#[test]
fn extreme_logits() {
    let logits = [[1e38f32, -1e38], [f32::NEG_INFINITY, 0.0]];
    let logits = Var::from_tensor(&Tensor::new(&logits, &Device::Cpu).unwrap()).unwrap();
    let classes = Tensor::new(&[0u32, 1], &Device::Cpu).unwrap();
    let loss = CrossEntropy::default().forward(&logits, &classes).unwrap();
    assert_eq!(numbers(&loss), [0.0]);
    assert_eq!(numbers(loss.backward().unwrap().get(&logits).unwrap()), [0.0; 4]);
}

#[test]
fn targets_and_options_that_do_not_fit_are_named() {
    let logits = wave((2, 3), 0.0, DType::F32);
    let with = |options: CrossEntropy, classes: &[i64]| {
        let classes = Tensor::new(classes, &Device::Cpu).unwrap();
        options.forward(&logits, &classes).unwrap_err().to_string()
    };
    let plain = CrossEntropy::default;
    let error = with(plain(), &[0, 3]);
    assert!(error.contains("sample 1 is of class 3, but there are only 3 outputs"), "{error}");
    assert!(with(plain(), &[0, -100]).contains("sample 1 is of class -100,"));
    assert!(with(plain(), &[0, (1 << 32) + 1]).contains("sample 1 is of class 4294967297,"));
    assert!(with(plain(), &[0]).contains("not F32 [2, 3] and"));
    let error = with(CrossEntropy { label_smoothing: 1.5, ..plain() }, &[0, 1]);
    assert!(error.contains("in [0, 1], not 1.5"), "{error}");
    let error = with(CrossEntropy { weights: Some(wave(2, 0.0, DType::F32)), ..plain() }, &[0, 1]);
    assert!(error.contains("3 classes take weights [3], not [2]"), "{error}");
    let error = binary_cross_entropy(&logits, &wave((2, 2), 0.0, DType::F32), None).unwrap_err().to_string();
    assert!(error.contains("of one shape"), "{error}");
    let weights = Var::from_tensor(&wave(3, 0.0, DType::F32)).unwrap();
    let error = with(CrossEntropy { weights: Some(weights.as_tensor().clone()), ..plain() }, &[0, 1]);
    assert!(error.contains("no gradient with respect to the weights"), "{error}");
    let error = binary_cross_entropy(&logits, &logits, Some(weights.as_tensor())).unwrap_err().to_string();
    assert!(error.contains("no gradient with respect to pos_weight"), "{error}");
    let weight = wave(2, 0.0, DType::F32);
    let error = binary_cross_entropy(&logits, &logits, Some(&weight)).unwrap_err().to_string();
    assert!(error.contains("take a pos_weight [3] or a scalar, not [2]"), "{error}");
}

#[test]
fn binary_losses_and_gradients_are_those_of_candles_ops_in_f64() {
    for shape in [vec![1], vec![3, 7], vec![2, 5, 16], vec![9000, 5]] {
        let logits = (wave(shape.clone(), 0.0, DType::F64) * 4.0).unwrap();
        let targets = (wave(shape.clone(), 1.0, DType::F64).affine(0.25, 0.4)).unwrap();
        let weight = (wave(*shape.last().unwrap(), 2.0, DType::F64).sqr().unwrap() + 0.1).unwrap();
        for weight in [None, Some(&weight)] {
            let var = Var::from_tensor(&logits).unwrap();
            let expected = binary::composed_for_tests(&var, &targets, weight);
            let of_logits = expected.backward().unwrap().get(&var).unwrap().clone();
            for (dtype, bound) in [(DType::F64, 1e-14), (DType::F32, 1e-6), (DType::BF16, 2e-2)] {
                let var = Var::from_tensor(&logits.to_dtype(dtype).unwrap()).unwrap();
                let loss = binary_cross_entropy(&var, &targets.to_dtype(dtype).unwrap(), weight).unwrap();
                let gradient = loss.backward().unwrap().get(&var).unwrap().clone();
                assert!(
                    apart(&loss, &expected) < bound,
                    "{shape:?} {dtype:?}: {:e}",
                    apart(&loss, &expected)
                );
                assert!(apart(&gradient, &of_logits) < bound, "{shape:?} {dtype:?}");
            }
        }
    }
}

/// Targets that are variables leave the loss as it is to the bit, and get `(p softplus(-x) - softplus(x))/n`: at `x = 0`,
/// `(p - 1) ln 2/n`. So do those of half precision, and targets of logits that are constants.
#[test]
fn binary_targets_have_gradients() {
    for dtype in [DType::F64, DType::F32, DType::BF16] {
        let logits = Tensor::zeros((2, 2), dtype, &Device::Cpu).unwrap();
        let targets = Var::from_tensor(&Tensor::full(0.25f32, (2, 2), &Device::Cpu).unwrap()).unwrap();
        let targets = Var::from_tensor(&targets.to_dtype(dtype).unwrap().detach()).unwrap();
        let weight = Tensor::new(&[1f32, 3.0], &Device::Cpu).unwrap();
        let loss = binary_cross_entropy(&logits, &targets, Some(&weight)).unwrap();
        let constant = binary_cross_entropy(&logits, &targets.detach(), Some(&weight)).unwrap();
        assert_eq!(numbers(&loss), numbers(&constant));
        let gradient = numbers(loss.backward().unwrap().get(&targets).unwrap());
        let half = std::f64::consts::LN_2 / 2.0;
        let mut off = gradient.iter().zip([0.0, half, 0.0, half]).map(|(a, b)| (a - b).abs());
        let bound = if dtype == DType::BF16 { 2e-3 } else { 1e-6 };
        assert!(off.all(|off| off < bound), "{dtype:?}: {gradient:?}");
    }
}

/// Rows without columns, whose mean is 0/0.
#[test]
fn binary_logits_without_columns() {
    let (empty, weight) = (wave((3, 0), 0.0, DType::F32), wave(0, 0.0, DType::F32));
    let loss = binary_cross_entropy(&empty, &empty, Some(&weight)).unwrap();
    assert!(numbers(&loss)[0].is_nan());
}

/// `ln(1 + e⁻⁴⁰) = e⁻⁴⁰` to 17 digits; a logit of ±3e38 costs itself.
#[test]
fn extreme_binary_logits() {
    if !SimdLevel::best().is_fast() {
        return; // candle's ops lose the digits of ln(1 + t).
    }
    let loss = |x: f64, y: f64| {
        let x = Var::new(&[x], &Device::Cpu).unwrap();
        let loss = binary_cross_entropy(&x, &Tensor::new(&[y], &Device::Cpu).unwrap(), None).unwrap();
        (numbers(&loss)[0], numbers(loss.backward().unwrap().get(&x).unwrap())[0])
    };
    for (x, y) in [(-40.0, 0.0), (40.0, 1.0)] {
        let (value, gradient) = loss(x, y);
        assert!((value / (-40f64).exp() - 1.0).abs() < 1e-15, "{value:e}");
        assert!((gradient.abs() / (-40f64).exp() - 1.0).abs() < 1e-15, "{gradient:e}");
    }
    assert_eq!(loss(-3e38, 1.0), (3e38, -1.0));
    assert_eq!(loss(3e38, 0.0), (3e38, 1.0));
    assert_eq!(loss(0.0, 1.0), (std::f64::consts::LN_2, -0.5));
}

#[test]
fn neither_threads_nor_levels_change_a_bit() {
    let levels = fast_levels();
    let Some(&first) = levels.first() else { return };
    let logits = wave((3000, 30), 0.0, DType::F32);
    let classes = classes_of(3000, 30);
    let targets = wave((3000, 30), 1.0, DType::F32).affine(0.25, 0.4).unwrap();
    let bits = |loss: Tensor, gradient: &KeptGradient| {
        let gradient = gradient.times(&Tensor::new(1f64, &Device::Cpu).unwrap()).unwrap();
        numbers(&loss).into_iter().chain(numbers(&gradient)).map(f64::to_bits).collect::<Vec<_>>()
    };
    for options in options(30) {
        let run = |level| {
            let op = classes::op_for_tests(&options, 30, &classes, level);
            let loss = logits.apply_op1_no_bwd(&op).unwrap();
            bits(loss, op.gradient())
        };
        let expected = in_pool(1, || run(first));
        assert!(levels.iter().all(|level| in_pool(2, || run(*level)) == expected));
    }
    let run = |level| {
        let op = binary::op_for_tests(vec![2.0], level);
        let loss = logits.apply_op2_no_bwd(&targets, &op).unwrap();
        bits(loss, op.gradient())
    };
    let expected = in_pool(1, || run(first));
    assert!(levels.iter().all(|level| in_pool(2, || run(*level)) == expected));
}
