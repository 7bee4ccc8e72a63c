//! The ops of layers: values and gradients of all inputs.

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::attention::AttnMask;
use wick_kernels::{self as ops, RopeLayout, Window};

use super::Test;
use super::numbers::{CPU, apart, assert_near, normal};

pub(crate) const TESTS: &[Test] = &[
    ("norms_and_softmax", |gpu| compare_all(gpu, &norms())),
    ("convolutions", |gpu| compare_all(gpu, &convolutions())),
    ("pools_and_sizes", |gpu| compare_all(gpu, &pools())),
    ("attention_and_rope", |gpu| compare_all(gpu, &attention())),
    ("lookups", |gpu| compare_all(gpu, &lookups())),
    ("losses_of_layers", |gpu| compare_all(gpu, &losses())),
    ("dropout_has_the_same_mask", dropout_has_the_same_mask),
];

/// A name, the shapes of the inputs that get a gradient, and the op.
type Op = (&'static str, Vec<Vec<usize>>, Box<dyn Fn(&[Tensor]) -> Result<Tensor>>);

fn op(name: &'static str, shapes: &[&[usize]], call: impl Fn(&[Tensor]) -> Result<Tensor> + 'static) -> Op {
    (name, shapes.iter().map(|shape| shape.to_vec()).collect(), Box::new(call))
}

fn norms() -> Vec<Op> {
    let (rows, row, image): (&[_], &[_], &[_]) = (&[5, 33], &[33], &[3, 6, 5, 2]);
    vec![
        op("layer norm", &[rows, row, row], |x| ops::layer_norm(&x[0], &x[1], Some(&x[2]), 1e-3)),
        op("RMS norm", &[rows, row], |x| ops::rms_norm(&x[0], &x[1], 1e-3)),
        op("group norm", &[image, &[6], &[6]], |x| ops::group_norm(&x[0], 3, &x[1], &x[2], 1e-3)),
        op("batch norm", &[image, &[6], &[6]], |x| Ok(ops::batch_norm(&x[0], Some((&x[1], &x[2])), 1e-3)?.0)),
        op("softmax", &[rows], |x| ops::softmax(&x[0])),
        op("log-softmax", &[rows], |x| ops::log_softmax(&x[0])),
    ]
}

fn convolutions() -> Vec<Op> {
    let strided = Window { stride: [2, 1], padding: [1, 2], dilation: [1, 2] };
    let (image, sequence): (&[_], &[_]) = (&[2, 4, 7, 6], &[2, 4, 9]);
    vec![
        op("conv2d", &[image, &[6, 2, 3, 2], &[6]], move |x| {
            ops::conv2d(&x[0], &x[1], Some(&x[2]), strided, 2)
        }),
        op("depthwise conv2d", &[image, &[4, 1, 3, 3], &[4]], |x| {
            ops::conv2d(&x[0], &x[1], Some(&x[2]), Window::square(1, 1, 1), 4)
        }),
        op("conv1d", &[sequence, &[3, 4, 3], &[3]], |x| ops::conv1d(&x[0], &x[1], Some(&x[2]), 1, 2, 1, 1)),
        op("conv_transpose2d", &[image, &[4, 3, 3, 2], &[6]], move |x| {
            ops::conv_transpose2d(&x[0], &x[1], Some(&x[2]), strided, [1, 0], 2)
        }),
        op("conv_transpose1d", &[sequence, &[4, 3, 3], &[3]], |x| {
            ops::conv_transpose1d(&x[0], &x[1], Some(&x[2]), 1, 0, 2, 1, 1)
        }),
    ]
}

fn pools() -> Vec<Op> {
    let image: &[_] = &[2, 3, 7, 6];
    let window = Window { stride: [2, 3], padding: [1, 1], dilation: [1, 1] };
    vec![
        op("max pool", &[image], move |x| ops::max_pool2d(&x[0], [3, 2], window)),
        op("average pool", &[image], move |x| ops::avg_pool2d(&x[0], [3, 2], window, false)),
        op("nearest", &[image], |x| ops::upsample_nearest2d(&x[0], 10, 13)),
        op("bilinear", &[image], |x| ops::upsample_bilinear2d(&x[0], 10, 4, true)),
    ]
}

fn attention() -> Vec<Op> {
    let heads: &[_] = &[2, 4, 5, 8];
    vec![
        op("attention", &[heads, heads, heads], |x| {
            ops::attention(&x[0], &x[1], &x[2], &AttnMask::None, 0.3)
        }),
        op("causal attention of grouped heads", &[heads, &[2, 2, 7, 8], &[2, 2, 7, 8]], |x| {
            ops::attention(&x[0], &x[1], &x[2], &AttnMask::causal_with_offset(2), 0.3)
        }),
        op("rope", &[heads, &[5, 4], &[5, 4]], |x| {
            ops::rope(&x[0], &x[1].detach(), &x[2].detach(), RopeLayout::Halves)
        }),
    ]
}

fn lookups() -> Vec<Op> {
    let numbers =
        |of: &Tensor, values: &[u32], shape: &[usize]| Tensor::from_slice(values, shape, of.device());
    vec![
        op("embedding", &[&[7, 5]], move |x| ops::embedding(&x[0], &numbers(&x[0], &[3, 0, 3, 6], &[2, 2])?)),
        op("gather", &[&[3, 4]], move |x| {
            ops::gather(&x[0], &numbers(&x[0], &[0, 0, 3, 1, 2, 2], &[3, 2])?, 1)
        }),
        op("scatter", &[&[3, 4], &[3, 2]], move |x| {
            ops::scatter(&x[0], &numbers(&x[0], &[0, 3, 3, 1, 2, 0], &[3, 2])?, &x[1], 1)
        }),
        op("scatter_add", &[&[3, 4], &[3, 2]], move |x| {
            ops::scatter_add(&x[0], &numbers(&x[0], &[0, 0, 3, 1, 2, 2], &[3, 2])?, &x[1], 1)
        }),
    ]
}

fn losses() -> Vec<Op> {
    vec![
        op("cross entropy", &[&[4, 6]], |x| {
            let classes = Tensor::new(&[5u32, 0, 2, 2], x[0].device())?;
            ops::CrossEntropy::default().forward(&x[0], &classes)
        }),
        op("binary cross entropy", &[&[9]], |x| {
            let targets = Tensor::new(&[0f32, 1.0, 1.0, 0.0, 0.5, 1.0, 0.0, 0.0, 1.0], x[0].device())?;
            ops::binary_cross_entropy(&(&x[0] * 20.0)?, &targets, None)
        }),
    ]
}

/// The output, and the gradients of the inputs that get one, of the sum of the outputs with weights.
fn results((name, shapes, call): &Op, device: &Device) -> Vec<Option<Tensor>> {
    let input = |(which, shape): (usize, &Vec<usize>)| {
        let values = normal(&format!("{name}/{which}"), shape.clone(), DType::F32);
        Var::from_tensor(&values.to_device(device).unwrap()).unwrap()
    };
    let inputs: Vec<Var> = shapes.iter().enumerate().map(input).collect();
    let tensors: Vec<Tensor> = inputs.iter().map(|var| var.as_tensor().clone()).collect();
    let output = call(&tensors).unwrap();
    let weights = normal(&format!("{name}/weights"), output.shape(), DType::F32).to_device(device).unwrap();
    // (candle's sum of a scalar is an error on a GPU.)
    let products = (&output * weights).unwrap().flatten_all().unwrap();
    let gradients = products.sum_all().unwrap().backward().unwrap();
    let of_inputs = inputs.iter().map(|var| gradients.get(var).cloned());
    std::iter::once(Some(output)).chain(of_inputs).collect()
}

fn compare_all(gpu: &Device, all: &[Op]) {
    for of in all {
        let (got, expected) = (results(of, gpu), results(of, &CPU));
        for (which, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let name = format!("{}, {}", of.0, if which == 0 { "the output" } else { "a gradient" });
            let (Some(got), Some(expected)) = (got, expected) else {
                assert_eq!(got.is_some(), expected.is_some(), "{name}");
                continue;
            };
            assert_near(&name, got, expected, 2e-5, 2e-5);
            let moved = (got * 1.01).unwrap();
            assert!(apart(&moved, expected, 2e-5, 2e-5) > 1.0, "{name}: the twin");
        }
    }
}

fn dropout_has_the_same_mask(gpu: &Device) {
    let xs = normal("dropped", (33, 65), DType::F32);
    let on = |device: &Device, mask| {
        let xs = xs.to_device(device).unwrap();
        ops::dropout(&xs, 0.3, 42.into(), mask).unwrap()
    };
    let (got, expected) = (on(gpu, 7), on(&CPU, 7));
    assert_eq!(apart(&got, &expected, 1e-6, 0.0).max(1.0), 1.0);
    assert!(apart(&on(gpu, 8), &expected, 1e-6, 1e-6) > 1.0, "the twin");
}
