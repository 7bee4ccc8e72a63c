use candle_core::{DType, Device, Tensor};

use super::*;

fn numbers(count: usize, dtype: DType, factor: usize) -> Tensor {
    let numbers: Vec<f64> = (0..count).map(|k| (k * factor % 1009) as f64 / 97.0 - 5.0).collect();
    Tensor::from_vec(numbers, count, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}

fn bits(xs: &Tensor) -> Vec<u64> {
    xs.to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap().into_iter().map(f64::to_bits).collect()
}

/// The bits are those of candle's ops one after another, at sizes around those of vectors and tasks; weights the other
/// way round give others.
#[test]
fn candles_ops_give_the_same_bits() {
    for dtype in [DType::F32, DType::F64, DType::BF16] {
        for count in [1, 7, 33, PART, 2 * PART + 5] {
            let (x, y) = (numbers(count, dtype, 37), numbers(count, dtype, 91));
            let sum = weighted_sum((0.3, &x), (0.7, &y)).unwrap();
            let composed = (x.affine(0.3, 0.0).unwrap() + y.affine(0.7, 0.0).unwrap()).unwrap();
            assert_eq!(bits(&sum), bits(&composed), "{dtype:?}, {count}");
            let turned = weighted_sum((0.7, &x), (0.3, &y)).unwrap();
            assert!(count == 1 || bits(&turned) != bits(&sum));
        }
    }
}

#[test]
fn parts_of_tensors_are_added() {
    let (x, y) = (numbers(12, DType::F32, 37).reshape((3, 4)).unwrap(), numbers(12, DType::F32, 91));
    let y = y.reshape((4, 3)).unwrap().t().unwrap();
    let sum = weighted_sum((1.0, &x.narrow(0, 1, 2).unwrap()), (1.0, &y.narrow(0, 1, 2).unwrap())).unwrap();
    let composed = (x + y).unwrap().narrow(0, 1, 2).unwrap();
    assert_eq!(sum.to_vec2::<f32>().unwrap(), composed.to_vec2::<f32>().unwrap());
}

#[test]
fn tensors_that_differ_are_refused() {
    let error =
        weighted_sum((1.0, &numbers(2, DType::F32, 1)), (1.0, &numbers(3, DType::F32, 1))).unwrap_err();
    let text = "a weighted sum takes two tensors of one shape, type and device, not F32 [2] and F32 [3]";
    assert!(error.to_string().starts_with(text), "{error}");
}
