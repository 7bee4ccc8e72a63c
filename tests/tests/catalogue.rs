//! The whole catalogue: the weights have the distribution that is stated, and the fans are those of candle's
//! ops.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use candle_core::{DType, Tensor};
use statrs::distribution::{ContinuousCDF, Normal};
use wick_init::{Centre, Initializer, KeyedV1, WeightLayout};
use wick_tests::{CPU, has_std, kolmogorov_smirnov, normal, numbers, std};

type Cdf = Box<dyn Fn(f64) -> f64>;

/// The table has a row for each initializer of independent elements: its SPEC, and its exact distribution on
/// a weight [500, 400]. That is normal, uniform, or normal cut at two numbers; each is given by its standard
/// deviation before the cut.
fn catalogue() -> Vec<(&'static str, Cdf)> {
    let normal = |std: f64| -> Cdf { Box::new(move |x| Normal::new(0.0, std).unwrap().cdf(x)) };
    let uniform =
        |low: f64, high: f64| -> Cdf { Box::new(move |x| ((x - low) / (high - low)).clamp(0.0, 1.0)) };
    let cut = |mean: f64, std: f64, low: f64, high: f64| -> Cdf {
        let normal = Normal::new(mean, std).unwrap();
        let (p, q) = (normal.cdf(low), normal.cdf(high));
        Box::new(move |x| ((normal.cdf(x) - p) / (q - p)).clamp(0.0, 1.0))
    };
    let corrected = |variance: f64| {
        let std = variance.sqrt() / 0.879_625_661_034_239_8;
        cut(0.0, std, -2.0 * std, 2.0 * std)
    };
    let bound = |variance: f64| uniform(-(3.0 * variance).sqrt(), (3.0 * variance).sqrt());
    let (fan_in, fan_out) = (400.0f64, 500.0f64);
    let both = fan_in + fan_out;
    vec![
        ("normal:std=0.3", normal(0.3)),
        ("uniform:low=-1,high=3", uniform(-1.0, 3.0)),
        ("truncated_normal:std=0.5", cut(0.0, 0.5, -1.0, 1.0)),
        ("truncated_normal:mean=1,std=1,low=0.5,high=6", cut(1.0, 1.0, 0.5, 6.0)),
        ("truncated_normal:std=1,low=5,high=9", cut(0.0, 1.0, 5.0, 9.0)),
        ("xavier_normal", normal((2.0 / both).sqrt())),
        ("xavier_uniform:gain=2", bound(8.0 / both)),
        ("kaiming_normal", normal((2.0 / fan_in).sqrt())),
        ("kaiming_uniform:mode=fan_out", bound(2.0 / fan_out)),
        ("lecun_normal", normal((1.0 / fan_in).sqrt())),
        ("lecun_uniform", bound(1.0 / fan_in)),
        (
            "variance_scaling:scale=3,mode=fan_geo_avg,distribution=truncated_normal",
            corrected(3.0 / (fan_in * fan_out).sqrt()),
        ),
        ("siren_first", uniform(-1.0 / fan_in, 1.0 / fan_in)),
        ("siren_hidden", uniform(-(6.0 / fan_in).sqrt() / 30.0, (6.0 / fan_in).sqrt() / 30.0)),
        ("recurrent:gates=4", uniform(-1.0 / 125f64.sqrt(), 1.0 / 125f64.sqrt())),
        ("torch.linear", uniform(-1.0 / fan_in.sqrt(), 1.0 / fan_in.sqrt())),
        ("torch.trunc_normal", cut(0.0, 1.0, -2.0, 2.0)),
        ("jax.glorot_normal", corrected(2.0 / both)),
        ("jax.he_normal", corrected(2.0 / fan_in)),
        ("jax.lecun_normal", corrected(1.0 / fan_in)),
        ("keras.random_normal", normal(0.05)),
        ("keras.truncated_normal", cut(0.0, 0.05, -0.1, 0.1)),
        ("timm.trunc_normal:std=0.02", normal(0.02)),
        ("glorot_normal", normal((2.0 / both).sqrt())),
        ("glorot_uniform", bound(2.0 / both)),
        ("he_normal", normal((2.0 / fan_in).sqrt())),
        ("he_uniform", bound(2.0 / fan_in)),
        ("torch.uniform", uniform(0.0, 1.0)),
        ("torch.normal", normal(1.0)),
        ("torch.xavier_uniform", bound(2.0 / both)),
        ("torch.xavier_normal:gain=torch.tanh", normal(5.0 / 3.0 * (2.0 / both).sqrt())),
        ("torch.kaiming_uniform:a=1", bound(1.0 / fan_in)),
        ("torch.kaiming_normal:nonlinearity=selu", normal(0.75 / fan_in.sqrt())),
        ("torch.kaiming_normal:nonlinearity=leaky_relu", normal((2.0 / fan_in).sqrt())),
        ("torch.kaiming_normal:nonlinearity=linear", normal((1.0 / fan_in).sqrt())),
        ("jax.uniform:scale=2", uniform(0.0, 2.0)),
        ("jax.normal", normal(0.01)),
        ("jax.truncated_normal", cut(0.0, 0.01, -0.02, 0.02)),
        ("jax.truncated_normal:stddev=0.1,lower=-1,upper=3", cut(0.0, 0.1, -0.1, 0.3)),
        ("jax.variance_scaling:distribution=uniform,mode=fan_avg", bound(2.0 / both)),
        ("jax.glorot_uniform", bound(2.0 / both)),
        ("jax.he_uniform", bound(2.0 / fan_in)),
        ("jax.lecun_uniform", bound(1.0 / fan_in)),
        ("keras.random_uniform", uniform(-0.05, 0.05)),
        ("keras.variance_scaling", corrected(1.0 / fan_in)),
        ("keras.variance_scaling:distribution=normal", corrected(1.0 / fan_in)),
        ("keras.variance_scaling:distribution=untruncated_normal", normal(fan_in.sqrt().recip())),
        ("keras.glorot_uniform", bound(2.0 / both)),
        ("keras.glorot_normal", corrected(2.0 / both)),
        ("keras.he_uniform", bound(2.0 / fan_in)),
        ("keras.he_normal", corrected(2.0 / fan_in)),
        ("keras.lecun_uniform", bound(1.0 / fan_in)),
        ("keras.lecun_normal", corrected(1.0 / fan_in)),
        ("timm.trunc_normal_tf:std=0.5", cut(0.0, 0.5, -1.0, 1.0)),
        ("timm.trunc_normal_tf:mean=1,std=0.5,a=-1,b=1", cut(1.0, 0.5, 0.5, 1.5)),
        ("timm.variance_scaling", normal(fan_in.sqrt().recip())),
        ("timm.lecun_normal", corrected(1.0 / fan_in)),
    ]
}

/// Each initializer and type draws n = 200,000 elements of seed 3. The Kolmogorov–Smirnov test has alpha =
/// 2e-5 and the test of the std 4e-5; there are 114 of each, so the chance of a false alarm is .7 %. The
/// twins are the same values 10 % wider, and a std 2 % wider. The narrow types are drawn in f32 and rounded:
/// their steps, up to 2⁻⁹ of a value, would show in the distribution, so the rounding is tested instead.
#[test]
fn distributions_are_those_that_are_stated() {
    for (spec, cdf) in catalogue() {
        let initializer: Initializer = spec.parse().unwrap();
        let key = KeyedV1::new(3).key(spec);
        let draw = |dtype| initializer.tensor(key, (500, 400), dtype, &CPU).unwrap();
        for dtype in [DType::F32, DType::F64] {
            let values = numbers(&draw(dtype));
            let distance = kolmogorov_smirnov(&values, &cdf);
            assert!(distance < 2.4, "{spec} {dtype:?}: {distance}");
            let wider: Vec<f64> = values.iter().map(|x| 1.1 * x).collect();
            assert!(kolmogorov_smirnov(&wider, &cdf) > 2.4, "{spec}: the twin");
            let expected = initializer.std(&[500, 400]).unwrap().unwrap();
            assert!(has_std(&values, expected), "{spec} {dtype:?}");
            assert!(!has_std(&values, 1.02 * expected), "{spec}: the twin");
        }
        for dtype in [DType::BF16, DType::F16] {
            let rounded = draw(DType::F32).to_dtype(dtype).unwrap();
            assert!(numbers(&draw(dtype)) == numbers(&rounded), "{spec} {dtype:?}");
        }
    }
}

/// A normal and a uniform distribution, n = 1,000,000, seed 2024, alpha = 0.001. The twins are a normal 1 %
/// too wide and a uniform 1 % too narrow.
#[test]
fn a_million_numbers() {
    let draw = |initializer: Initializer| {
        let key = KeyedV1::new(2024).key("layer.weight");
        numbers(&initializer.tensor(key, 1_000_000, DType::F32, &CPU).unwrap())
    };
    let values = draw(Initializer::normal(1.0));
    let (unit, wide) = (Normal::new(0.0, 1.0).unwrap(), Normal::new(0.0, 1.01).unwrap());
    assert!(kolmogorov_smirnov(&values, |x| unit.cdf(x)) < 1.95);
    assert!(kolmogorov_smirnov(&values, |x| wide.cdf(x)) > 1.95, "the twin");

    let values = draw(Initializer::Uniform { low: -1.0, high: 1.0 });
    assert!(kolmogorov_smirnov(&values, |x| 0.5 + 0.5 * x) < 1.95);
    assert!(kolmogorov_smirnov(&values, |x| (0.5 + 0.505 * x).clamp(0.0, 1.0)) > 1.95, "the twin");
}

/// Every name that can be read is in the table above, or is that of a structured initializer or a constant,
/// which have tests of their own. The table of stability has a SPEC for each name.
#[test]
fn no_name_is_forgotten() {
    let catalogue = catalogue();
    let name = |spec: &'static str| spec.split(':').next().unwrap();
    let stability = include_str!("../../crates/init/src/stability.txt");
    let specs: Vec<&str> = stability.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    for known in Initializer::names() {
        let tested = catalogue.iter().any(|(spec, _)| name(spec) == known);
        let spec = specs.iter().find(|spec| name(spec) == known).unwrap_or_else(|| panic!("{known}"));
        let initializer: Initializer = spec.parse().unwrap();
        let elsewhere = matches!(initializer, Initializer::Structured(_) | Initializer::Constant(_));
        assert!(tested != elsewhere, "{known}");
    }
}

/// Weights of `Var W = 1/fan_in` and inputs from N(0, 1) give outputs of variance 1 in candle's own op, in
/// the mean over weights and samples within 2 %. The twin is PyTorch's rule for the fans where it differs.
#[test]
fn fans_are_those_of_the_ops() {
    let lecun = Initializer::lecun_normal();
    let draw = |name: &str, shape: &[usize]| normal(9, name, shape, DType::F32);
    let variance =
        |shape: &[usize], layout: WeightLayout, forward: &dyn Fn(&Tensor) -> candle_core::Result<Tensor>| {
            let key = KeyedV1::new(9).key("weight");
            let weight = lecun.tensor_with_layout(key, shape, layout, DType::F32, &CPU).unwrap();
            std(&numbers(&forward(&weight).unwrap())).powi(2)
        };
    let near = |got: f64| (got - 1.0).abs() < 0.02;

    let x = draw("linear", &[500, 300]);
    assert!(near(variance(&[400, 300], WeightLayout::Plain, &|w| x.matmul(&w.t()?))));

    // No padding, so that every output sees a whole kernel.
    let images = draw("images", &[16, 64, 24, 24]);
    assert!(near(variance(&[128, 64, 3, 3], WeightLayout::Plain, &|w| images.conv2d(w, 0, 1, 1, 1))));
    let grouped = WeightLayout::Convolution { groups: 4 };
    assert!(near(variance(&[256, 16, 3, 3], grouped, &|w| images.conv2d(w, 0, 1, 1, 4))));
    let many = draw("many", &[16, 512, 24, 24]);
    let depthwise = WeightLayout::Convolution { groups: 512 };
    assert!(near(variance(&[512, 1, 5, 5], depthwise, &|w| many.conv2d(w, 0, 1, 1, 512))));

    // The inside of a transposed convolution is taken: fewer kernels reach its border.
    let inside = |y: Tensor| y.narrow(2, 6, 30)?.narrow(3, 6, 30);
    let transposed = |w: &Tensor| inside(images.conv_transpose2d(w, 0, 0, 2, 1)?);
    assert!(near(variance(&[64, 96, 4, 4], WeightLayout::Transposed { groups: 1, stride: 2 }, &transposed)));
    assert!(near(variance(&[64, 96, 3, 3], WeightLayout::Transposed { groups: 1, stride: 2 }, &transposed)));
    assert!(!near(variance(&[64, 96, 4, 4], WeightLayout::Plain, &transposed)), "the twin: PyTorch's rule");

    // candle has the transposed convolution in groups in one dimension.
    let signals = draw("signals", &[64, 64, 200]);
    let groups = WeightLayout::Transposed { groups: 4, stride: 2 };
    let in_groups = |w: &Tensor| signals.conv_transpose1d(w, 0, 0, 2, 1, 4)?.narrow(2, 6, 380);
    assert!(near(variance(&[64, 48, 5], groups, &in_groups)));
    assert!(!near(variance(&[64, 48, 5], WeightLayout::Plain, &in_groups)), "the twin: PyTorch's rule");

    // The output of an embedding is one of its rows.
    let ids = Tensor::arange(0u32, 1000, &CPU).unwrap();
    assert!(near(variance(&[1000, 300], WeightLayout::Embedding, &|w| w.index_select(&ids, 0))));
    assert!(!near(variance(&[1000, 300], WeightLayout::Plain, &|w| w.index_select(&ids, 0))));

    // The backward pass of a convolution in groups: an input reaches the outputs of its group only.
    let initializer = Initializer::lecun_normal().with_mode(wick_init::FanMode::FanOut);
    let back = |layout| {
        let key = KeyedV1::new(9).key("grouped");
        let w = initializer.tensor_with_layout(key, (256, 16, 3, 3), layout, DType::F32, &CPU).unwrap();
        let x = candle_core::Var::zeros((8, 64, 26, 26), DType::F32, &CPU).unwrap();
        let y = x.conv2d(&w, 0, 1, 1, 4).unwrap();
        let loss = (&y * draw("through", y.dims())).unwrap().sum_all().unwrap();
        let gradient = loss.backward().unwrap().remove(&x).unwrap();
        // Fewer kernels reach the border, which is left out.
        std(&numbers(&gradient.narrow(2, 2, 22).unwrap().narrow(3, 2, 22).unwrap())).powi(2)
    };
    assert!(near(back(grouped)), "{}", back(grouped));
    assert!(!near(back(WeightLayout::Plain)), "the twin: PyTorch's rule");

    // The backward pass of three stacked projections: Var W = 1/fan_out preserves the gradient's variance
    // through one.
    let g = draw("gradient", &[500, 400]);
    let backward = Initializer::lecun_normal().with_mode(wick_init::FanMode::FanOut);
    let back = |layout| {
        let key = KeyedV1::new(9).key("qkv");
        let w = backward.tensor_with_layout(key, (1200, 300), layout, DType::F32, &CPU).unwrap();
        std(&numbers(&g.matmul(&w.narrow(0, 400, 400).unwrap()).unwrap())).powi(2)
    };
    assert!(near(back(WeightLayout::Stacked { parts: 3 })));
    assert!(!near(back(WeightLayout::Plain)));
}

/// A Dirac convolution preserves a signal to the bit, and a delta-orthogonal one preserves its norm.
#[test]
fn identities_keep_a_signal() {
    let key = KeyedV1::new(9).key("w");
    let x = normal(9, "w", (2, 6, 9, 9), DType::F32);
    let dirac = Initializer::dirac(2).tensor(key, (6, 3, 3, 3), DType::F32, &CPU).unwrap();
    assert_eq!(numbers(&x.conv2d(&dirac, 1, 1, 1, 2).unwrap()), numbers(&x));
    let norm = |t: &Tensor| numbers(t).iter().map(|x| x * x).sum::<f64>().sqrt();
    for centre in [Centre::Upper, Centre::Lower] {
        let delta = Initializer::delta_orthogonal(1.0, centre);
        // One side is even; the padding is as wide as the reach of the kernel.
        for side in [3, 4] {
            let delta = delta.tensor(key, (10, 6, side, side), DType::F32, &CPU).unwrap();
            let ratio = norm(&x.conv2d(&delta, side - 1, 1, 1, 1).unwrap()) / norm(&x);
            assert!((ratio - 1.0).abs() < 1e-6, "{centre:?} {side}: {ratio}");
        }
    }
    let gaussian = Initializer::lecun_normal().tensor(key, (10, 6, 3, 3), DType::F32, &CPU).unwrap();
    assert!((norm(&x.conv2d(&gaussian, 1, 1, 1, 1).unwrap()) / norm(&x) - 1.0).abs() > 1e-3, "the twin");
}

/// `QᵀQ = I` holds to 1e-6 in f32, at the size of a real layer.
#[test]
fn orthogonal_to_a_millionth() {
    let initializer = Initializer::orthogonal(1.0);
    let q = initializer.tensor(KeyedV1::new(4).key("q"), (300, 200), DType::F32, &CPU).unwrap();
    let q = q.to_dtype(DType::F64).unwrap();
    let gram = q.t().unwrap().matmul(&q).unwrap();
    let error = (gram - Tensor::eye(200, DType::F64, &CPU).unwrap()).unwrap().abs().unwrap();
    let worst = numbers(&error).into_iter().fold(0.0, f64::max);
    assert!(worst < 1e-6, "{worst}");
}
