//! Tests of the losses.

use candle_core::{DType, Device, Tensor, Var};

use super::{Loss, l2_penalty};

#[test]
fn gradients_are_those_of_the_backward_pass() {
    let o = Var::new(&[[0.3f64, -1.0, 2.0], [50.0, 0.1, -0.2]], &Device::Cpu).unwrap();
    let y = Tensor::new(&[[0.2f64, 0.5, 0.3], [0.0, 1.0, 0.0]], &Device::Cpu).unwrap();
    for loss in Loss::ALL {
        let gradients = loss.forward(&o, &y).unwrap().backward().unwrap();
        let difference = (gradients.get(&o).unwrap() - loss.gradient(&o, &y).unwrap()).unwrap();
        let largest = difference.abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
        assert!(largest < 1e-15, "{loss}: {largest}");
    }
}

/// Class indices give the same loss as one-hot rows, and the gradient of the backward pass.
#[test]
fn classes_are_one_hot_rows() {
    let o = Var::new(&[[0.3f64, -1.0, 2.0], [5.0, 0.1, -0.2]], &Device::Cpu).unwrap();
    let rows = Tensor::new(&[[0.0f64, 0.0, 1.0], [0.0, 1.0, 0.0]], &Device::Cpu).unwrap();
    let classes = Tensor::new(&[2u32, 1], &Device::Cpu).unwrap();
    let loss = |targets| Loss::CrossEntropy.forward(&o, targets).unwrap();
    assert_eq!(loss(&classes).to_scalar::<f64>().unwrap(), loss(&rows).to_scalar::<f64>().unwrap());
    let formula = Loss::CrossEntropy.gradient(&o, &classes).unwrap();
    for other in [
        loss(&classes).backward().unwrap().get(&o).unwrap().clone(),
        Loss::CrossEntropy.gradient(&o, &rows).unwrap(),
    ] {
        let difference = (&formula - other).unwrap().abs().unwrap().max_all().unwrap();
        assert!(difference.to_scalar::<f64>().unwrap() < 1e-15);
    }
    let beyond = Tensor::new(&[2u32, 3], &Device::Cpu).unwrap();
    assert!(Loss::CrossEntropy.forward(&o, &beyond).is_err());
    let three = Tensor::new(&[2u32, 1, 0], &Device::Cpu).unwrap();
    let error = Loss::CrossEntropy.forward(&o, &three).unwrap_err().to_string();
    assert!(error.contains("not [2, 3] and [3]"), "{error}");
}

/// The 2000 terms are equal; a sum in bf16 would stop growing at 256.
#[test]
fn half_types_are_summed_in_f32() {
    let o = Var::from_tensor(&Tensor::ones((2000, 1), DType::BF16, &Device::Cpu).unwrap()).unwrap();
    let loss = Loss::Squared.forward(&o, &o.zeros_like().unwrap()).unwrap();
    assert_eq!(loss.to_scalar::<f32>().unwrap(), 0.5);
    let penalty = l2_penalty([o.as_tensor()], 1.0).unwrap();
    assert_eq!(penalty.to_scalar::<f32>().unwrap(), 1000.0);
    let gradients = penalty.backward().unwrap();
    assert_eq!(gradients.get(&o).unwrap().dtype(), DType::BF16);
}

#[test]
fn shapes_that_differ_are_named() {
    let (o, y) =
        (Tensor::new(&[[1.0f64]], &Device::Cpu).unwrap(), Tensor::new(&[1.0f64], &Device::Cpu).unwrap());
    let error = Loss::Squared.forward(&o, &y).unwrap_err().to_string();
    assert!(error.contains("not [1, 1] and [1]"), "{error}");
}
