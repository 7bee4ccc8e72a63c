//! Convolutions, pools, images of another size and indexed ops.

mod faults;
mod quotients;
mod torch;

use candle_core::{Module, Tensor};
use candle_nn::{ModuleT, VarBuilder};
use wick_layers::{Conv1dConfig, Conv2dConfig, ConvTranspose1dConfig, ConvTranspose2dConfig};
use wick_tests::{CPU, normal, numbers};

/// Weights of candle's layers fit, and a layer of each kind computes the same as candle's.
#[test]
fn layers_take_candles_weights_and_give_its_outputs() {
    let weights: std::collections::HashMap<String, Tensor> = [
        ("c2.weight", vec![6, 2, 3, 3]),
        ("c2.bias", vec![6]),
        ("c1.weight", vec![6, 2, 3]),
        ("c1.bias", vec![6]),
        ("t2.weight", vec![4, 5, 3, 3]),
        ("t2.bias", vec![5]),
        ("t1.weight", vec![4, 3, 3]),
        ("t1.bias", vec![6]),
    ]
    .into_iter()
    .map(|(name, shape)| (name.to_owned(), normal(1, name, shape, candle_core::DType::F32)))
    .collect();
    let vb = VarBuilder::from_tensors(weights, candle_core::DType::F32, &CPU);
    let (x2, x1) = (normal(1, "x2", (1, 4, 7, 7), vb.dtype()), normal(1, "x1", (1, 4, 9), vb.dtype()));
    let c2 = Conv2dConfig { padding: 1, stride: 2, groups: 2, ..Default::default() };
    let c1 = Conv1dConfig { padding: 2, stride: 1, dilation: 2, groups: 2, ..Default::default() };
    let t2 = ConvTranspose2dConfig { padding: 1, output_padding: 1, stride: 2, ..Default::default() };
    let t1 = ConvTranspose1dConfig { stride: 3, output_padding: 1, groups: 2, ..Default::default() };
    let ours: [Box<dyn Module>; 4] = [
        Box::new(wick_layers::conv2d(4, 6, 3, c2, vb.pp("c2")).unwrap()),
        Box::new(wick_layers::conv1d(4, 6, 3, c1, vb.pp("c1")).unwrap()),
        Box::new(wick_layers::conv_transpose2d(4, 5, 3, t2, vb.pp("t2")).unwrap()),
        Box::new(wick_layers::conv_transpose1d(4, 6, 3, t1, vb.pp("t1")).unwrap()),
    ];
    let theirs: [Box<dyn Module>; 4] = [
        Box::new(candle_nn::conv2d(4, 6, 3, c2, vb.pp("c2")).unwrap()),
        Box::new(candle_nn::conv1d(4, 6, 3, c1, vb.pp("c1")).unwrap()),
        Box::new(candle_nn::conv_transpose2d(4, 5, 3, t2, vb.pp("t2")).unwrap()),
        Box::new(candle_nn::conv_transpose1d(4, 6, 3, t1, vb.pp("t1")).unwrap()),
    ];
    for (kind, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        let x = if kind % 2 == 0 { &x2 } else { &x1 };
        let (ours, theirs) = (ours.forward(x).unwrap(), theirs.forward(x).unwrap());
        assert_eq!(ours.dims(), theirs.dims(), "{kind}");
        for (a, b) in numbers(&ours).iter().zip(numbers(&theirs)) {
            assert!((a - b).abs() < 1e-5, "{kind}: {a} {b}");
        }
    }
    let error = wick_layers::conv2d(4, 6, 3, Conv2dConfig { groups: 3, ..c2 }, vb.pp("c2")).unwrap_err();
    assert!(error.to_string().contains("4 channels cannot be split into 3 groups"), "{error}");
}

/// A batch norm in evaluation behind a convolution, absorbed.
#[test]
fn a_batch_norm_is_absorbed() {
    let dtype = candle_core::DType::F64;
    let n = |name: &str, shape: &[usize]| normal(1, name, shape, dtype);
    let conv = wick_layers::Conv2d::new(n("w", &[4, 2, 3, 3]), Some(n("b", &[4])), Conv2dConfig::default());
    let variance = n("v", &[4]).sqr().unwrap();
    let norm =
        wick_layers::BatchNorm::new(4, n("m", &[4]), variance, n("gamma", &[4]), n("beta", &[4]), 1e-5)
            .unwrap();
    let x = n("x", &[2, 2, 5, 5]);
    let expected = numbers(&norm.forward_t(&conv.forward(&x).unwrap(), false).unwrap());
    let got = numbers(&conv.absorb_bn(&norm).unwrap().forward(&x).unwrap());
    assert!(got.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-10));
}
