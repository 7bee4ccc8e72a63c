//! Gradients against difference quotients in `f64`, for random settings.

use candle_core::{DType, Result, Tensor};
use wick_kernels::{
    Window, avg_pool2d, conv_transpose1d, conv_transpose2d, conv1d, conv2d, gather, max_pool2d, scatter,
    scatter_add, upsample_bilinear2d, upsample_nearest1d, upsample_nearest2d,
};
use wick_tests::{CPU, choose_index, gradient_errors, normal};

const BOUND: f64 = 1e-7;

/// Keyed choices of sizes.
struct Sizes {
    name: String,
    count: usize,
}

impl Sizes {
    fn new(op: &str, case: usize) -> Self {
        Self { name: format!("{op}.{case}"), count: 0 }
    }

    /// A number from `low` to `high`.
    fn of(&mut self, low: usize, high: usize) -> usize {
        self.count += 1;
        low + choose_index(3, &format!("{}.{}", self.name, self.count), high - low + 1)
    }

    fn pair(&mut self, low: usize, high: usize) -> [usize; 2] {
        [self.of(low, high), self.of(low, high)]
    }

    fn window(&mut self, kernel: [usize; 2]) -> Window {
        let padding = kernel.map(|size| self.of(0, size / 2));
        Window { stride: self.pair(1, 3), padding, dilation: self.pair(1, 2) }
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Tensor {
        normal(3, &format!("{}.{name}", self.name), shape, DType::F64)
    }
}

fn check(what: &str, op: impl Fn(&[Tensor]) -> Result<Tensor>, inputs: &[Tensor]) {
    let errors = gradient_errors(op, inputs);
    assert!(errors.iter().all(|&error| error <= BOUND), "{what}: {errors:?}");
}

/// Runs cases until `wanted` of them fit.
fn cases(op: &str, wanted: usize, mut case: impl FnMut(&mut Sizes) -> bool) {
    let mut done = 0;
    for number in 0.. {
        done += usize::from(case(&mut Sizes::new(op, number)));
        if done == wanted {
            return;
        }
    }
}

#[test]
fn conv2d_and_its_transpose_of_random_settings() {
    cases("conv2d", 120, |sizes| {
        let (groups, depthwise) = (sizes.of(1, 3), sizes.of(0, 3) == 0);
        let inputs = if depthwise { 1 } else { sizes.of(1, 3) };
        let (outputs, kernel, image) = (sizes.of(1, 3), sizes.pair(1, 3), sizes.pair(1, 6));
        let window = sizes.window(kernel);
        let batch = sizes.of(1, 2);
        let x = sizes.tensor("x", &[batch, groups * inputs, image[0], image[1]]);
        let w = sizes.tensor("w", &[groups * outputs, inputs, kernel[0], kernel[1]]);
        let b = sizes.tensor("b", &[groups * outputs]);
        let op = |t: &[Tensor]| conv2d(&t[0], &t[1], t.get(2), window, groups);
        let Ok(y) = op(&[x.clone(), w.clone(), b.clone()]) else { return false };
        let what = format!("{:?} {:?} {window:?} {groups}", x.dims(), w.dims());
        check(&what, op, &[x.clone(), w.clone(), b]);
        // The transpose, without a bias, from the output's shape.
        let extra = [0, 1].map(|axis| sizes.of(0, window.stride[axis].max(window.dilation[axis]) - 1));
        let g = sizes.tensor("g", y.dims());
        let op = |t: &[Tensor]| conv_transpose2d(&t[0], &t[1], t.get(2), window, extra, groups);
        if op(&[g.clone(), w.clone()]).is_ok() {
            check(&format!("transposed {what} {extra:?}"), op, &[g, w]);
        }
        true
    });
}

#[test]
fn conv1d_and_its_transpose_of_random_settings() {
    cases("conv1d", 100, |sizes| {
        let (groups, inputs, outputs, k) = (sizes.of(1, 2), sizes.of(1, 3), sizes.of(1, 3), sizes.of(1, 4));
        let (padding, stride, dilation) = (sizes.of(0, 2), sizes.of(1, 3), sizes.of(1, 2));
        let length = sizes.of(1, 9);
        let x = sizes.tensor("x", &[2, groups * inputs, length]);
        let w = sizes.tensor("w", &[groups * outputs, inputs, k]);
        let b = sizes.tensor("b", &[groups * outputs]);
        let op = |t: &[Tensor]| conv1d(&t[0], &t[1], t.get(2), padding, stride, dilation, groups);
        let Ok(y) = op(&[x.clone(), w.clone()]) else { return false };
        let what = format!("{:?} {:?} {padding} {stride} {dilation} {groups}", x.dims(), w.dims());
        check(&what, op, &[x, w.clone(), b]);
        let g = sizes.tensor("g", y.dims());
        let b = sizes.tensor("b", &[groups * inputs]);
        let op =
            |t: &[Tensor]| conv_transpose1d(&t[0], &t[1], t.get(2), padding, 0, stride, dilation, groups);
        if op(&[g.clone(), w.clone()]).is_ok() {
            check(&format!("transposed {what}"), op, &[g, w, b]);
        }
        true
    });
}

/// Distinct numbers, further apart than the steps of the quotients.
fn distinct(shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<f64> = (0..count).map(|i| ((i * 7919) % 1009) as f64 / 100.0 - 5.0).collect();
    Tensor::from_vec(values, shape, &CPU).unwrap()
}

#[test]
fn pools_of_random_settings() {
    cases("pool", 100, |sizes| {
        let (kernel, image) = (sizes.pair(1, 4), sizes.pair(1, 8));
        let window = sizes.window(kernel);
        let x = distinct(&[1, 2, image[0], image[1]]);
        if max_pool2d(&x, kernel, window).is_err() {
            return false;
        }
        let what = format!("{kernel:?} {image:?} {window:?}");
        check(&what, |t| max_pool2d(&t[0], kernel, window), std::slice::from_ref(&x));
        for include in [false, true] {
            check(&what, |t| avg_pool2d(&t[0], kernel, window, include), std::slice::from_ref(&x));
        }
        true
    });
}

#[test]
fn images_of_random_sizes() {
    cases("resize", 100, |sizes| {
        let (old, new) = (sizes.pair(1, 6), sizes.pair(1, 8));
        let x = sizes.tensor("x", &[1, 2, old[0], old[1]]);
        let what = format!("{old:?} {new:?}");
        // Another use of x keeps its gradient.
        check(
            &what,
            |t| upsample_nearest2d(&t[0], new[0], new[1])?.sum_all() + t[0].sqr()?.sum_all()?,
            std::slice::from_ref(&x),
        );
        check(&what, |t| upsample_nearest2d(&t[0], new[0], new[1]), std::slice::from_ref(&x));
        check(
            &what,
            |t| upsample_nearest1d(&t[0].squeeze(0)?.unsqueeze(0)?.flatten(1, 2)?, new[0]),
            std::slice::from_ref(&x),
        );
        for aligned in [false, true] {
            check(&what, |t| upsample_bilinear2d(&t[0], new[0], new[1], aligned), std::slice::from_ref(&x));
        }
        true
    });
}

#[test]
fn indexed_ops_of_random_shapes() {
    cases("indexed", 100, |sizes| {
        let dims = [sizes.of(1, 3), sizes.of(1, 4), sizes.of(1, 3)];
        let dim = sizes.of(0, 2);
        let narrow: Vec<usize> =
            (0..3).map(|axis| sizes.of(1, dims[axis] + usize::from(axis == dim))).collect();
        let wide: Vec<usize> = narrow.iter().map(|size| size + sizes.of(0, 1)).collect();
        let count: usize = narrow.iter().product();
        let indexes: Vec<u32> = (0..count).map(|_| sizes.of(0, dims[dim] - 1) as u32).collect();
        let indexes = Tensor::from_vec(indexes, narrow.as_slice(), &CPU).unwrap();
        let (x, source) = (sizes.tensor("x", &dims), sizes.tensor("s", &wide));
        let what = format!("{dims:?} {narrow:?} {wide:?} {dim}");
        check(&what, |t| gather(&t[0], &indexes, dim), std::slice::from_ref(&x));
        check(&what, |t| scatter(&t[0], &indexes, &t[1], dim), &[x.clone(), source.clone()]);
        check(&what, |t| scatter_add(&t[0], &indexes, &t[1], dim), &[x, source]);
        true
    });
}

/// The comparison can fail: a pool that spreads its gradient, a convolution whose weight is cut off.
#[test]
fn wrong_gradients_are_found() {
    let x = distinct(&[1, 1, 4, 4]);
    let spread = |t: &[Tensor]| {
        let mean = avg_pool2d(&t[0], [2, 2], Window::square(2, 0, 1), true)?;
        let value = max_pool2d(&t[0], [2, 2], Window::square(2, 0, 1))?.detach();
        (&mean - mean.detach())? + value
    };
    assert!(gradient_errors(spread, std::slice::from_ref(&x))[0] > 0.1);
    let w = distinct(&[1, 1, 2, 2]);
    let errors = gradient_errors(|t| conv2d(&t[0], &t[1].detach(), None, Window::default(), 1), &[x, w]);
    assert!(errors[0] <= BOUND && errors[1] == f64::INFINITY, "{errors:?}");
}
