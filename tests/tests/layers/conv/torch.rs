//! Values and gradients are PyTorch's: `assets/reference/conv.py` made them.

use std::collections::HashMap;

use candle_core::{DType, Result, Tensor, Var};
use wick_kernels::{
    Window, avg_pool2d, conv_transpose1d, conv_transpose2d, conv1d, conv2d, gather, max_pool2d, scatter,
    scatter_add, upsample_bilinear2d, upsample_nearest2d,
};
use wick_tests::{CPU, numbers};

fn golden() -> HashMap<String, Tensor> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/reference/conv.safetensors");
    candle_core::safetensors::load(path, &CPU).unwrap()
}

/// The largest difference of the output and of the gradients from PyTorch's, relative to the largest of each.
fn apart(golden: &HashMap<String, Tensor>, case: &str, op: impl Fn(&[Tensor]) -> Result<Tensor>) -> f64 {
    let get = |name: &str| golden.get(&format!("{case}/{name}"));
    let vars: Vec<Var> =
        ["x", "w", "b"].iter().filter_map(|name| get(name)).map(|t| Var::from_tensor(t).unwrap()).collect();
    let inputs: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let y = op(&inputs).unwrap();
    let gradients = (&y * get("g").unwrap()).unwrap().sum_all().unwrap().backward().unwrap();
    let mut pairs = vec![(y, get("y").unwrap())];
    for (input, name) in inputs.iter().zip(["dx", "dw", "db"]) {
        pairs.push((gradients.get(input).unwrap().clone(), get(name).unwrap()));
    }
    let mut worst = 0f64;
    for (got, expected) in pairs {
        assert_eq!(got.dims(), expected.dims(), "{case}");
        assert_eq!(got.dtype(), expected.dtype(), "{case}");
        let (got, expected) = (numbers(&got), numbers(expected));
        let largest = expected.iter().fold(f64::MIN_POSITIVE, |largest, x| largest.max(x.abs()));
        for (a, b) in got.iter().zip(&expected) {
            worst = if a.is_nan() { f64::INFINITY } else { worst.max((a - b).abs() / largest) };
        }
    }
    worst
}

/// Checks a case in both types; the twin, which is a little wrong, has to be apart.
fn check(case: &str, op: impl Fn(&[Tensor]) -> Result<Tensor>, twin: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let golden = golden();
    for (dtype, name, bound) in [(DType::F64, "f64", 1e-13), (DType::F32, "f32", 2e-6)] {
        let case = format!("{case}/{name}");
        let own = apart(&golden, &case, &op);
        println!("{case}: {own:e}");
        assert!(own <= bound, "{case}: {own:e} in {dtype:?}");
        let other = apart(&golden, &case, &twin);
        assert!(other > 1e-3, "{case}: the twin {other:e}");
    }
}

fn window(stride: [usize; 2], padding: [usize; 2], dilation: [usize; 2]) -> Window {
    Window { stride, padding, dilation }
}

#[test]
fn conv2d_as_pytorchs() {
    for (case, window, groups) in [
        ("plain", Window::default(), 1),
        ("strided", Window::square(2, 1, 1), 1),
        ("unequal", window([3, 1], [2, 0], [1, 2]), 1),
        ("grouped", Window::square(1, 1, 1), 2),
        ("depthwise", Window::square(2, 1, 1), 3),
        ("pointwise", Window::default(), 1),
    ] {
        check(
            &format!("conv2d.{case}"),
            |t| conv2d(&t[0], &t[1], Some(&t[2]), window, groups),
            // The kernel is flipped, or its output channels are another's.
            |t| conv2d(&t[0], &t[1].flip(&[0, 2, 3])?, Some(&t[2]), window, groups),
        );
    }
}

#[test]
fn conv1d_as_pytorchs() {
    check(
        "conv1d",
        |t| conv1d(&t[0], &t[1], Some(&t[2]), 3, 2, 2, 1),
        |t| conv1d(&t[0], &t[1].flip(&[2])?, Some(&t[2]), 3, 2, 2, 1),
    );
}

#[test]
fn transposed_convolutions_as_pytorchs() {
    check(
        "conv_transpose2d",
        |t| conv_transpose2d(&t[0], &t[1], Some(&t[2]), Window::square(2, 1, 1), [1, 1], 1),
        |t| conv_transpose2d(&t[0], &t[1].flip(&[3])?, Some(&t[2]), Window::square(2, 1, 1), [1, 1], 1),
    );
    let unequal = window([2, 3], [1, 0], [1, 2]);
    check(
        "conv_transpose2d.grouped",
        |t| conv_transpose2d(&t[0], &t[1], Some(&t[2]), unequal, [1, 2], 2),
        |t| conv_transpose2d(&t[0], &t[1], Some(&t[2].flip(&[0])?), unequal, [1, 2], 2),
    );
    check(
        "conv_transpose1d",
        |t| conv_transpose1d(&t[0], &t[1], Some(&t[2]), 1, 2, 3, 1, 1),
        |t| conv_transpose1d(&t[0], &t[1].flip(&[2])?, Some(&t[2]), 1, 2, 3, 1, 1),
    );
}

/// With ties, which go to the first; the twin takes the last, from images and outputs turned round.
#[test]
fn max_pools_as_pytorchs() {
    check(
        "max_pool2d",
        |t| max_pool2d(&t[0], [3, 3], Window::square(2, 1, 1)),
        |t| max_pool2d(&t[0].pad_with_zeros(3, 1, 1)?, [3, 3], window([2, 2], [1, 0], [1, 1])),
    );
    let dilated = window([2, 1], [1, 0], [2, 2]);
    check(
        "max_pool2d.dilated",
        |t| max_pool2d(&t[0], [2, 3], dilated),
        |t| max_pool2d(&t[0].flip(&[3])?, [2, 3], dilated)?.flip(&[3]),
    );
}

#[test]
fn average_pools_as_pytorchs() {
    let (square, unequal) = (Window::square(2, 1, 1), window([2, 3], [1, 1], [1, 1]));
    check(
        "avg_pool2d",
        |t| avg_pool2d(&t[0], [3, 3], square, true),
        |t| avg_pool2d(&t[0], [3, 3], square, false),
    );
    check(
        "avg_pool2d.inside",
        |t| avg_pool2d(&t[0], [3, 2], unequal, false),
        |t| avg_pool2d(&t[0], [3, 2], unequal, true),
    );
}

#[test]
fn images_of_another_size_as_pytorchs() {
    let bilinear = |aligned: bool| move |t: &[Tensor]| upsample_bilinear2d(&t[0], 5, 3, aligned);
    check("nearest", |t| upsample_nearest2d(&t[0], 5, 3), bilinear(false));
    check("bilinear", bilinear(false), bilinear(true));
    check(
        "bilinear.aligned",
        |t| upsample_bilinear2d(&t[0], 4, 9, true),
        |t| upsample_bilinear2d(&t[0], 4, 9, false),
    );
}

#[test]
fn indexed_ops_as_pytorchs() {
    let repeated = Tensor::new(&[[[3u32, 0], [1, 1]]], &CPU).unwrap();
    let single = Tensor::new(&[[[3u32, 0], [1, 2]]], &CPU).unwrap();
    check("gather", |t| gather(&t[0], &repeated, 2), |t| gather(&t[0], &single, 2));
    check(
        "scatter_add",
        |t| scatter_add(&t[0], &repeated, &t[1], 2),
        |t| scatter(&t[0], &repeated, &t[1], 2),
    );
    check("scatter", |t| scatter(&t[0], &single, &t[1], 2), |t| scatter_add(&t[0], &single, &t[1], 2));
}
