//! Tests of the convolutions: against sums by candle's ops, over random settings, at every level.

use candle_core::{DType, Device, Shape, Tensor, Var};

use super::geometry::{Geometry, Window};
use super::{composed, conv_transpose1d, conv1d, conv2d, cpu};
use crate::cpu::simd::SimdLevel;

fn wave(shape: impl Into<Shape>, dtype: DType, seed: f64) -> Tensor {
    let shape = shape.into();
    let values: Vec<f64> =
        (0..shape.elem_count()).map(|i| (i as f64 * 1.7 + seed).sin() * 0.8 + 0.05).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(1e-300, |largest: f64, b| largest.max(b.abs()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs() / largest).fold(0.0, f64::max)
}

/// A number below `count`, from a seed that moves on.
fn choose(seed: &mut u64, count: usize) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) as usize % count
}

/// Sizes and settings of every kind: several groups, channels that are groups of their own, unequal strides.
fn random(seed: &mut u64) -> Geometry {
    loop {
        let groups = [1, 1, 1, 2, 3][choose(seed, 5)];
        let depthwise = choose(seed, 4) == 0;
        let (inputs, outputs) =
            if depthwise { (1, 1 + choose(seed, 2)) } else { (1 + choose(seed, 5), 1 + choose(seed, 20)) };
        let groups = if depthwise { 2 + choose(seed, 4) } else { groups };
        let pair = |seed: &mut u64, from: usize, count: usize| {
            [from + choose(seed, count), from + choose(seed, count)]
        };
        let window =
            Window { stride: pair(seed, 1, 3), padding: pair(seed, 0, 3), dilation: pair(seed, 1, 2) };
        let (image, kernel) = (pair(seed, 1, 13), pair(seed, 1, 4));
        let x = (1 + choose(seed, 3), groups * inputs, image);
        if let Ok(geometry) = Geometry::new("test", x, (groups * outputs, inputs, kernel), window, groups) {
            return geometry;
        }
    }
}

/// What the three passes give at a level, in the order output, gradient of the input, of the weight.
fn passes(level: SimdLevel, g: &Geometry, dtype: DType) -> [Vec<f64>; 3] {
    let [x, w, b, dy] = [g.input_len(), g.weight_len(), g.out(), g.output_len()];
    let of = |len: usize, seed: f64| wave(len, dtype, seed);
    let (x, w, b, dy) = (of(x, 0.1), of(w, 0.2), of(b, 0.3), of(dy, 0.4));
    fn all<T: crate::Number>(level: SimdLevel, g: &Geometry, tensors: [&Tensor; 4]) -> [Vec<f64>; 3] {
        let [x, w, b, dy] = tensors.map(|tensor| tensor.to_vec1::<T>().unwrap());
        let wide = |values: Vec<T>| values.into_iter().map(Into::into).collect();
        [
            wide(cpu::forward(level, g, &x, &w, Some(&b))),
            wide(cpu::of_input(level, g, &dy, &w)),
            wide(cpu::of_weight(level, g, &x, &dy)),
        ]
    }
    match dtype {
        DType::F32 => all::<f32>(level, g, [&x, &w, &b, &dy]),
        _ => all::<f64>(level, g, [&x, &w, &b, &dy]),
    }
}

/// The same by candle's ops, in `f64`.
fn by_candle(g: &Geometry) -> [Vec<f64>; 3] {
    let x = wave((g.batch, g.channels(), g.image[0], g.image[1]), DType::F64, 0.1);
    let w = wave((g.out(), g.inputs, g.kernel[0], g.kernel[1]), DType::F64, 0.2);
    let (x, w) = (Var::from_tensor(&x).unwrap(), Var::from_tensor(&w).unwrap());
    let y = composed::convolution(g, &x, &w, Some(&wave(g.out(), DType::F64, 0.3))).unwrap();
    let dy = wave(y.shape(), DType::F64, 0.4);
    let gradients = (&y * dy).unwrap().sum_all().unwrap().backward().unwrap();
    [numbers(&y), numbers(gradients.get(&x).unwrap()), numbers(gradients.get(&w).unwrap())]
}

/// In `f32` a sum of up to 500 products is off by at most 500·2⁻²⁴ = 3·10⁻⁵ of its largest terms.
#[test]
fn random_settings_are_sums_by_candles_ops() {
    let mut seed = 7;
    for case in 0..300 {
        let g = random(&mut seed);
        let expected = by_candle(&g);
        for (dtype, bound) in [(DType::F64, 1e-13), (DType::F32, 3e-5)] {
            for (what, (got, expected)) in
                passes(SimdLevel::best(), &g, dtype).iter().zip(&expected).enumerate()
            {
                let off = largest_difference(got, expected);
                assert!(off < bound, "{case}: pass {what} of {g:?} in {dtype:?}: {off}");
            }
        }
    }
}

/// The comparison can fail: another dilation is another convolution, forward and backward.
#[test]
fn another_dilation_differs() {
    let new = |dilation, padding| {
        let window = Window { padding: [padding, 1], ..Window::square(1, 1, dilation) };
        Geometry::new("test", (2, 3, [6, 7]), (4, 3, [3, 3]), window, 1).unwrap()
    };
    let (plain, dilated) = (new(1, 1), Geometry { places: [6, 5], ..new(2, 2) });
    let plain = Geometry { places: [6, 5], ..plain };
    for (one, other) in by_candle(&plain).iter().zip(passes(SimdLevel::best(), &dilated, DType::F64)) {
        assert!(largest_difference(&other, one) > 1e-3);
    }
}

/// A geometry with enough outputs for several blocks, panels across images, and sums of more than one block.
fn large() -> Vec<Geometry> {
    let new = |x, w, window, groups| Geometry::new("test", x, w, window, groups).unwrap();
    vec![
        new((9, 24, [14, 13]), (30, 24, [5, 5]), Window::square(1, 2, 1), 1),
        new((33, 6, [9, 9]), (40, 3, [3, 3]), Window::square(2, 1, 1), 2),
        new((5, 8, [20, 20]), (8, 1, [3, 3]), Window::square(1, 1, 1), 8),
        new((5, 8, [20, 20]), (16, 1, [3, 3]), Window::square(2, 1, 1), 8),
        new((17, 50, [7, 7]), (30, 50, [1, 1]), Window::square(1, 0, 1), 1),
        new((70, 1, [12, 12]), (20, 1, [5, 5]), Window::default(), 1),
    ]
}

#[test]
fn threads_and_levels_change_no_bit() {
    for g in large() {
        for dtype in [DType::F32, DType::F64] {
            let run = |threads, level| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| passes(level, &g, dtype))
            };
            let first = run(1, SimdLevel::best());
            for level in SimdLevel::available() {
                for threads in [1, 2] {
                    assert!(run(threads, level) == first, "{g:?} {dtype:?} {level}, {threads} threads");
                }
            }
        }
        for (got, expected) in passes(SimdLevel::best(), &g, DType::F64).iter().zip(&by_candle(&g)) {
            assert!(largest_difference(got, expected) < 1e-12, "{g:?}");
        }
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let (x, w) = (wave((1, 4, 5, 5), DType::F32, 0.0), wave((6, 2, 3, 3), DType::F32, 0.0));
    let fail = |x: &Tensor, w: &Tensor, b: Option<&Tensor>, window, groups| {
        conv2d(x, w, b, window, groups).unwrap_err().to_string()
    };
    let plain = Window::default();
    for (error, part) in [
        (fail(&x, &w, None, plain, 1), "a weight for 2 input channels a group, but x has 4 in 1 groups"),
        (fail(&x, &w, None, plain, 3), "4 and 6 channels cannot be split into 3 groups"),
        (fail(&x, &w, None, plain, 0), "into 0 groups"),
        (fail(&x, &w, None, Window::square(0, 0, 1), 2), "have to be at least 1"),
        (fail(&x, &w, None, Window::square(1, 0, 3), 2), "does not fit into an image of [5, 5]"),
        (fail(&x, &w, None, Window::square(1, usize::MAX, 1), 2), "are at most 2³⁰"),
        (
            fail(&x, &w, Some(&wave(5, DType::F32, 0.0)), plain, 2),
            "a bias of shape [5] for 6 output channels",
        ),
        (fail(&x, &wave((6, 2, 3, 3), DType::F64, 0.0), None, plain, 2), "the weight or the bias is F64"),
        (fail(&wave((4, 5, 5), DType::F32, 0.0), &w, None, plain, 2), "does not have four dimensions"),
        (
            fail(&x.to_dtype(DType::U8).unwrap(), &w.to_dtype(DType::U8).unwrap(), None, plain, 2),
            "convert them to f32",
        ),
    ] {
        assert!(error.contains(part), "{error}");
    }
}

/// The sizes of a sequence are those that its user gave, not those of an image of one row.
#[test]
fn what_does_not_fit_into_a_sequence_is_named() {
    let (x, w) = (wave((1, 4, 5), DType::F32, 0.0), wave((6, 4, 3), DType::F32, 0.0));
    let line =
        |error: candle_core::Error| error.to_string().lines().next().map(str::to_owned).unwrap_or_default();
    let fail = |padding, stride, dilation| {
        line(conv1d(&x, &w, None, padding, stride, dilation, 1).map(|_| ()).unwrap_err())
    };
    assert_eq!(fail(0, 0, 1), "conv1d: stride 0 and dilation 1 have to be at least 1");
    assert_eq!(
        fail(0, 1, 3),
        "conv1d: a kernel of 3 with dilation 3 does not fit into a sequence of 5 with padding 0"
    );
    let transposed = conv_transpose1d(&x, &wave((4, 6, 3), DType::F32, 0.0), None, 0, 2, 2, 1, 1);
    assert_eq!(
        line(transposed.map(|_| ()).unwrap_err()),
        "conv_transpose1d: an output padding of 2 is not below stride 2 or dilation 1"
    );
}

#[test]
fn no_images_have_no_outputs_and_a_gradient_of_zeros() {
    let (x, w) = (
        wave((0, 2, 5, 5), DType::F32, 0.0),
        Var::from_tensor(&wave((3, 2, 3, 3), DType::F32, 0.0)).unwrap(),
    );
    let x = Var::from_tensor(&x).unwrap();
    let y = conv2d(&x, &w, None, Window::default(), 1).unwrap();
    assert_eq!(y.dims(), [0, 3, 3, 3]);
    let gradients = y.sum_all().unwrap().backward().unwrap();
    assert!(numbers(gradients.get(&w).unwrap()).iter().all(|g| *g == 0.0));
}

/// No channels and sizes beyond the machine's are refused: no output would be set.
#[test]
fn what_has_no_entries_or_too_many_is_refused() {
    let of = |x: (usize, usize, usize, usize), w: (usize, usize, usize, usize), window: Window| {
        let zeros = |shape| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        conv2d(&zeros(x), &zeros(w), None, window, 1).map(|_| ()).unwrap_err().to_string()
    };
    assert!(of((1, 0, 4, 4), (3, 0, 2, 2), Window::default()).contains("no entries"));
    assert!(of((1, 2, 4, 4), (0, 2, 2, 2), Window::default()).contains("no entries"));
    let wide = Window::square(1, (1 << 30) - 1, 1);
    let error = of((4, 1, 2, 2), (1, 1, 1, 1), wide);
    assert!(error.contains("too large for this machine"), "{error}");
}

/// A gradient that nobody wants is not computed.
#[test]
fn constants_get_no_gradient() {
    let (x, w) = (
        wave((2, 2, 5, 5), DType::F32, 0.0),
        Var::from_tensor(&wave((3, 2, 3, 3), DType::F32, 0.0)).unwrap(),
    );
    let gradients =
        conv2d(&x, &w, None, Window::default(), 1).unwrap().sum_all().unwrap().backward().unwrap();
    assert!(gradients.get(&x).is_none() && gradients.get(&w).is_some());
}
