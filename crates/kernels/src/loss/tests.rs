//! Tests of the losses: against candle's ops, and in extremes.

use candle_core::{DType, Device, Tensor, Var};

use super::{LossFunction, composed, loss, loss_and_gradient};
use crate::cpu::checks::worst;
use crate::cpu::simd::SimdLevel;

fn wave(rows: usize, columns: usize, phase: f64) -> Tensor {
    let values: Vec<f64> = (0..rows * columns).map(|i| (i as f64 * 0.7 + phase).sin() * 4.0).collect();
    Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
}

fn numbers(xs: &Tensor) -> Vec<f64> {
    xs.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (numbers(a), numbers(b));
    assert_eq!(a.len(), b.len());
    worst(a.iter().zip(&b).map(|(a, b)| (a - b).abs()))
}

/// Each function with targets for it: numbers, rows that are not normalised, classes.
fn cases(rows: usize, columns: usize) -> Vec<(LossFunction, Tensor)> {
    let classes: Vec<i64> = (0..rows as i64).map(|row| row * 7 % columns as i64).collect();
    vec![
        (LossFunction::SquaredError, wave(rows, columns, 1.0)),
        (LossFunction::CrossEntropy, wave(rows, columns, 2.0).sqr().unwrap()),
        (LossFunction::CrossEntropy, Tensor::from_vec(classes, rows, &Device::Cpu).unwrap()),
    ]
}

#[test]
fn loss_and_gradients_are_those_of_candles_ops_in_f64() {
    for (rows, columns) in [(1, 1), (3, 10), (40, 1000), (5000, 10)] {
        let outputs = wave(rows, columns, 0.0);
        for (function, targets) in cases(rows, columns) {
            let expected = composed::loss(function, &outputs, &targets).unwrap();
            let of_outputs = composed::gradient(function, &outputs, &targets).unwrap();
            for (dtype, bound) in [(DType::F64, 1e-14), (DType::F32, 5e-7)] {
                let outputs = Var::from_tensor(&outputs.to_dtype(dtype).unwrap()).unwrap();
                let targets = match targets.dtype() {
                    DType::F64 => targets.to_dtype(dtype).unwrap(),
                    _ => targets.clone(),
                };
                let (value, gradient) = loss_and_gradient(function, &outputs, &targets).unwrap();
                let scale = numbers(&expected)[0].abs().max(1.0);
                let off = largest_difference(&value, &expected) / scale;
                assert!(off < bound, "{function:?} {rows}×{columns} {dtype:?}: {off}");
                // Of one output, softmax is 1 and the gradient 0.
                let scale = numbers(&of_outputs).iter().fold(f64::MIN_POSITIVE, |a, x| a.max(x.abs()));
                let off = largest_difference(&gradient, &of_outputs) / scale;
                assert!(off < bound, "{function:?} {rows}×{columns} {dtype:?}: {off}");
                // In the graph: twice the loss has twice the gradient.
                let in_graph = (loss(function, &outputs, &targets).unwrap() * 2.0).unwrap();
                assert_eq!(numbers(&in_graph)[0], 2.0 * numbers(&value)[0]);
                let gradients = in_graph.backward().unwrap();
                let off = largest_difference(gradients.get(&outputs).unwrap(), &(gradient * 2.0).unwrap());
                // Without a fused multiply-add candle's ops do the work, and their gradients round more.
                let allowed = if SimdLevel::best().is_fast() { 0.0 } else { 1e3 * bound * scale.max(1.0) };
                assert!(off <= allowed, "{function:?} {rows}×{columns} {dtype:?}: {off}");
            }
        }
    }
}

#[test]
fn threads_change_no_bit() {
    let outputs = wave(30_000, 10, 0.0);
    for (function, targets) in cases(30_000, 10) {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (loss, gradient) = pool.install(|| loss_and_gradient(function, &outputs, &targets)).unwrap();
            (numbers(&loss)[0].to_bits(), numbers(&gradient))
        };
        assert!(run(1) == run(2), "{function:?}");
    }
}

/// Logits of ±1e300 and a masked logit of -∞ have the loss and the gradient of the limit.
#[test]
fn extreme_logits() {
    let logits = Tensor::new(&[[1e300, -1e300], [f64::NEG_INFINITY, 0.0]], &Device::Cpu).unwrap();
    let rows = Tensor::new(&[[1.0, 0.0], [0.0, 1.0]], &Device::Cpu).unwrap();
    let classes = Tensor::new(&[0u32, 1], &Device::Cpu).unwrap();
    for targets in [rows, classes] {
        let (loss, gradient) = loss_and_gradient(LossFunction::CrossEntropy, &logits, &targets).unwrap();
        assert!(numbers(&loss)[0].abs() < 1e-300, "{loss}");
        assert!(numbers(&gradient).iter().all(|g| *g == 0.0), "{gradient}");
    }
    // Large outputs that are equal.
    let equal = Tensor::new(&[[1e17, 1e17]], &Device::Cpu).unwrap();
    let class = Tensor::new(&[0u32], &Device::Cpu).unwrap();
    let (loss, _) = loss_and_gradient(LossFunction::CrossEntropy, &equal, &class).unwrap();
    assert!((numbers(&loss)[0] - std::f64::consts::LN_2).abs() < 1e-15);
    // By candle's ops.
    let masked =
        Tensor::new(&[[f32::NEG_INFINITY, 0.0]], &Device::Cpu).unwrap().to_dtype(DType::BF16).unwrap();
    let row = Tensor::new(&[[0f32, 1.0]], &Device::Cpu).unwrap().to_dtype(DType::BF16).unwrap();
    let (loss, _) = loss_and_gradient(LossFunction::CrossEntropy, &masked, &row).unwrap();
    assert_eq!(numbers(&loss), [0.0]);
    let (loss, gradient) = loss_and_gradient(
        LossFunction::CrossEntropy,
        &Tensor::new(&[[f32::NAN, 0.0]], &Device::Cpu).unwrap(),
        &Tensor::new(&[1u32], &Device::Cpu).unwrap(),
    )
    .unwrap();
    assert!(numbers(&loss)[0].is_nan() && numbers(&gradient).iter().all(|g| g.is_nan()));
}

#[test]
fn targets_that_do_not_fit_are_named() {
    let outputs = wave(2, 3, 0.0);
    let fail =
        |targets: Tensor| loss(LossFunction::CrossEntropy, &outputs, &targets).unwrap_err().to_string();
    let error = fail(Tensor::new(&[2u32, 3], &Device::Cpu).unwrap());
    assert!(error.contains("sample 1 is of class 3, but there are only 3 outputs"), "{error}");
    for class in [-1i64, 1 << 32, (1 << 32) + 1, -(1 << 32)] {
        let error = fail(Tensor::new(&[0i64, class], &Device::Cpu).unwrap());
        assert!(error.contains(&format!("sample 1 is of class {class},")), "{error}");
    }
    let error = fail(Tensor::new(&[0u32], &Device::Cpu).unwrap());
    assert!(error.contains("not [2, 3] and [1]"), "{error}");
    let error = fail(wave(2, 2, 0.0));
    assert!(error.contains("not [2, 3] and [2, 2]"), "{error}");
}
