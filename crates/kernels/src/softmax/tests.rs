//! Tests of softmax: against candle's ops, in extremes, and its bits.

use candle_core::{D, DType, Device, Tensor};

use super::{composed, cpu, log_softmax, softmax};
use crate::cpu::checks::{TYPES, apart, fast_levels, in_pool, numbers, passes, wave};
use crate::cpu::simd::SimdLevel;

fn op(log: bool) -> fn(&Tensor) -> candle_core::Result<Tensor> {
    if log { log_softmax } else { softmax }
}

#[test]
fn values_and_gradients_are_those_of_candles_ops_in_f64() {
    for shape in [vec![1], vec![1, 1], vec![3, 5], vec![2, 3, 64], vec![4, 33], vec![7, 1000], vec![2, 5001]]
    {
        for log in [false, true] {
            let x = wave(shape.clone(), 0.0, DType::F64);
            // candle's gradient goes through the largest number too, where what a row's sum rounds adds up, so this is
            // the formula by its ops.
            let (y, g) = (composed::apply(&x, false).unwrap(), wave(shape.clone(), 1.0, DType::F64));
            let factor = if log { g.clone() } else { (&g * &y).unwrap() };
            let part = y.broadcast_mul(&factor.sum_keepdim(D::Minus1).unwrap()).unwrap();
            let expected = [composed::apply(&x, log).unwrap(), (factor - part).unwrap()];
            for (dtype, bound) in TYPES {
                let rounded = x.to_dtype(dtype).unwrap();
                let got = passes(|x| op(log)(&x[0]).unwrap(), &[rounded]);
                // The gradient of one class is 0 up to what the sum of the row rounds.
                let by_candle = if SimdLevel::best().is_fast() { 1.0 } else { 200.0 };
                let few = *shape.last().unwrap() == 1;
                for (what, (got, expected)) in ["value", "gradient"].iter().zip(got.iter().zip(&expected)) {
                    assert_eq!(got.dtype(), dtype);
                    let off = if few {
                        numbers(&(got.to_dtype(DType::F64).unwrap() - expected).unwrap())[0].abs()
                    } else {
                        apart(got, expected)
                    };
                    assert!(off <= 4.0 * bound * by_candle, "{what} {shape:?} {log} {dtype:?}: {off:e}");
                }
            }
        }
    }
}

/// A twin without the sum in the backward pass is far off.
#[test]
fn the_twin_without_the_sum_is_seen() {
    let x = wave((3, 5), 0.0, DType::F64);
    let right = passes(|x| softmax(&x[0]).unwrap(), std::slice::from_ref(&x));
    let twin = passes(
        |x| {
            let top = x[0].max_keepdim(D::Minus1).unwrap();
            let e = x[0].broadcast_sub(&top).unwrap().exp().unwrap();
            e.broadcast_div(&e.sum_keepdim(D::Minus1).unwrap().detach()).unwrap()
        },
        &[x],
    );
    assert!(apart(&twin[0], &right[0]) < 1e-14 && apart(&twin[1], &right[1]) > 0.1);
}

#[test]
fn strides_and_sizes_of_0() {
    let x = wave((6, 4), 0.0, DType::F64);
    for log in [false, true] {
        let got = passes(|x| op(log)(&x[0].t().unwrap()).unwrap(), std::slice::from_ref(&x));
        let expected =
            passes(|x| composed::apply(&x[0].t().unwrap(), log).unwrap(), std::slice::from_ref(&x));
        assert!(got.iter().zip(&expected).all(|(a, b)| apart(a, b) < 1e-14));
        for shape in [(0, 4), (4, 0)] {
            let empty = Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
            assert_eq!(op(log)(&empty).unwrap().dims2().unwrap(), shape);
        }
    }
    let error = softmax(&Tensor::new(1f32, &Device::Cpu).unwrap()).unwrap_err().to_string();
    assert!(error.contains("one dimension or more"), "{error}");
    assert!(softmax(&Tensor::new(&[1u32], &Device::Cpu).unwrap()).is_err());
}

#[test]
fn extreme_logits() {
    let inf = f32::NEG_INFINITY;
    let x =
        Tensor::new(&[[3e38f32, -3e38, 3e38], [inf, 0.0, inf], [-1e4, -1e4, -1e4]], &Device::Cpu).unwrap();
    let y = softmax(&x).unwrap().to_vec2::<f32>().unwrap();
    assert_eq!(y[0], [0.5, 0.0, 0.5]);
    assert_eq!(y[1], [0.0, 1.0, 0.0]);
    assert!(y[2].iter().all(|y| (y - 1.0 / 3.0).abs() < 1e-7));
    let got = passes(|x| log_softmax(&x[0]).unwrap().narrow(1, 1, 1).unwrap(), std::slice::from_ref(&x));
    assert_eq!(numbers(&got[0])[1], 0.0);
    assert_eq!(numbers(&got[1])[3..6], [0.0, 0.0, 0.0]);
    let nothing = softmax(&Tensor::new(&[inf, inf], &Device::Cpu).unwrap()).unwrap();
    assert!(numbers(&nothing).iter().all(|y| y.is_nan()), "{nothing}");
    let nan = softmax(&Tensor::new(&[f32::NAN, 0.0], &Device::Cpu).unwrap()).unwrap();
    assert!(numbers(&nan).iter().all(|y| y.is_nan()), "{nan}");
}

/// Sums of a large row keep their digits: a row of 2²¹ equal numbers.
#[test]
fn a_long_row() {
    let n = 1 << 21;
    let y = softmax(&Tensor::zeros(n, DType::F32, &Device::Cpu).unwrap()).unwrap().to_vec1::<f32>().unwrap();
    assert!(y.iter().all(|y| *y == 1.0 / n as f32));
}

#[test]
fn neither_threads_nor_levels_change_a_bit() {
    for (rows, width) in [(300, 257), (3, 20_000)] {
        let (x, g) = (wave((rows, width), 0.0, DType::F32), wave((rows, width), 2.0, DType::F32));
        for log in [false, true] {
            let (x, g) = (
                x.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
                g.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
            );
            let run = |level| {
                let y = cpu::values(level, &x, width, log);
                let dx = cpu::gradients(level, &y, &g, width, log);
                y.into_iter().chain(dx).map(f32::to_bits).collect::<Vec<_>>()
            };
            let levels = fast_levels();
            let Some(&first) = levels.first() else { return };
            let expected = in_pool(1, || run(first));
            for level in levels {
                assert!(in_pool(2, || run(level)) == expected, "{rows}×{width} {log} {level}");
            }
        }
    }
}
