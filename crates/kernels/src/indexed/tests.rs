//! Tests of the indexed ops: by hand, and of what is refused.

use candle_core::{DType, Device, Tensor, Var};

use super::{gather, scatter, scatter_add};

fn tensor(values: &[f64], shape: (usize, usize)) -> Tensor {
    Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
}

fn indexes(values: &[u32], shape: (usize, usize)) -> Tensor {
    Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
}

fn rows(tensor: &Tensor) -> Vec<Vec<f64>> {
    tensor.to_vec2().unwrap()
}

#[test]
fn values_and_gradients_by_hand() {
    let x = Var::from_tensor(&tensor(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], (2, 3))).unwrap();
    let source = Var::from_tensor(&tensor(&[10.0, 20.0, 30.0, 40.0], (2, 2))).unwrap();
    // The indexes are narrower than both in dimension 0 and name one place twice.
    let at = indexes(&[2, 2], (1, 2));
    let weights = tensor(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], (2, 3));

    let y = scatter(&x, &at, &source, 1).unwrap();
    assert_eq!(rows(&y), [[1.0, 2.0, 20.0], [4.0, 5.0, 6.0]]);
    let gradients = (&y * &weights).unwrap().sum_all().unwrap().backward().unwrap();
    assert_eq!(rows(gradients.get(&x).unwrap()), [[1.0, 2.0, 0.0], [4.0, 5.0, 6.0]]);
    assert_eq!(rows(gradients.get(&source).unwrap()), [[0.0, 3.0], [0.0, 0.0]]);

    let y = scatter_add(&x, &at, &source, 1).unwrap();
    assert_eq!(rows(&y), [[1.0, 2.0, 33.0], [4.0, 5.0, 6.0]]);
    let gradients = (&y * &weights).unwrap().sum_all().unwrap().backward().unwrap();
    assert_eq!(rows(gradients.get(&x).unwrap()), rows(&weights));
    assert_eq!(rows(gradients.get(&source).unwrap()), [[3.0, 3.0], [0.0, 0.0]]);

    let y = gather(&x, &at, 1).unwrap();
    assert_eq!(rows(&y), [[3.0, 3.0]]);
    let gradients = (&y * tensor(&[5.0, 7.0], (1, 2))).unwrap().sum_all().unwrap().backward().unwrap();
    assert_eq!(rows(gradients.get(&x).unwrap()), [[0.0, 0.0, 12.0], [0.0, 0.0, 0.0]]);
}

#[test]
fn a_half_is_summed_in_f32() {
    let x = Tensor::new(&[256f32], &Device::Cpu).unwrap().to_dtype(DType::BF16).unwrap();
    let ones = Tensor::ones(8, DType::BF16, &Device::Cpu).unwrap();
    let at = Tensor::zeros(8, DType::U32, &Device::Cpu).unwrap();
    let sum = scatter_add(&x, &at, &ones, 0).unwrap().to_dtype(DType::F32).unwrap();
    assert_eq!(sum.to_vec1::<f32>().unwrap(), [264.0]); // In bf16, 256 + 1 is 256.
}

#[test]
fn what_does_not_fit_is_named() {
    let x = tensor(&[1.0, 2.0, 3.0, 4.0], (2, 2));
    let error = gather(&x, &indexes(&[0, 2], (1, 2)), 1).unwrap_err().to_string();
    assert!(error.contains("index 2 along dimension 1 of [2, 2], at [0, 1]"), "{error}");
    let error = scatter(&x, &indexes(&[0, 1, 1], (3, 1)), &x, 1).unwrap_err().to_string();
    assert!(error.contains("indexes of shape [3, 1] along dimension 1 do not fit [2, 2]"), "{error}");
    assert!(gather(&x, &x, 0).unwrap_err().to_string().contains("indexes are integers"));
    assert!(scatter_add(&x, &indexes(&[0], (1, 1)), &x.to_dtype(DType::F32).unwrap(), 0).is_err());
}
