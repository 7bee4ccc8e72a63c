use candle_core::{DType, Device};

use super::*;
use crate::conventions::{jax, keras, timm, torch};
use crate::layout::WeightLayout;
use crate::rng::RngSource;
use crate::rng::keyed::KeyedV1;
use crate::rng::law::TRUNCATED_STD;
use crate::structures::convolution::Centre;
use crate::structures::sparse::SparseBy;

/// Initializers of independent elements, compared with their formula for the variance, on a linear layer.
#[test]
fn initializers_have_their_std() {
    let (fan_in, fan_out) = (800f64, 750f64);
    let cut = TRUNCATED_STD * TRUNCATED_STD;
    let cases = [
        (Initializer::xavier_normal(), 2.0 / (fan_in + fan_out)),
        (Initializer::xavier_uniform(), 2.0 / (fan_in + fan_out)),
        (Initializer::kaiming_normal(), 2.0 / fan_in),
        (Initializer::kaiming_uniform(), 2.0 / fan_in),
        (Initializer::kaiming_normal().with_mode(FanMode::FanOut), 2.0 / fan_out),
        (Initializer::lecun_normal(), 1.0 / fan_in),
        (Initializer::lecun_uniform(), 1.0 / fan_in),
        (Initializer::xavier_normal().with_gain(5.0 / 3.0), 25.0 / 9.0 * 2.0 / (fan_in + fan_out)),
        (Initializer::lecun_normal().with_mode(FanMode::FanGeoAvg), 1.0 / (fan_in * fan_out).sqrt()),
        (Initializer::normal(0.3), 0.09),
        (Initializer::uniform(0.3), 0.03),
        (Initializer::ones(), 0.0),
        (Initializer::truncated_normal(0.3), 0.09 * cut),
        (jax::he_normal(), 2.0 / fan_in),
        (keras::truncated_normal(), 0.0025 * cut),
        (timm::trunc_normal(1.0), cut),
        (torch::linear_default(), 1.0 / 3.0 / fan_in),
        (torch::kaiming_normal(0.2, FanMode::FanOut), 2.0 / 1.04 / fan_out),
        (Initializer::SirenFirst, 1.0 / 3.0 / (fan_in * fan_in)),
        (Initializer::SirenHidden { omega: 30.0 }, 2.0 / fan_in / 900.0),
    ];
    for (initializer, variance) in cases {
        let std = initializer.std(&[750, 800]).unwrap().unwrap();
        assert!((std * std - variance).abs() < 1e-14, "{initializer}: {}", std * std);
    }
    // Structured initializers with a standard deviation, compared with the mean square of the elements.
    let sparse = Initializer::sparse(0.31, 0.5, SparseBy::Column);
    let orthogonal = Initializer::orthogonal(2.0);
    let delta = Initializer::delta_orthogonal(3.0, Centre::Upper);
    for (initializer, shape) in [(orthogonal, &[60, 7, 3][..]), (delta, &[80, 60, 3]), (sparse, &[10, 2000])]
    {
        let drawn = initializer.tensor(KeyedV1::new(6).key("w"), shape, DType::F64, &Device::Cpu).unwrap();
        let got = drawn.sqr().unwrap().mean_all().unwrap().to_scalar::<f64>().unwrap().sqrt();
        // The sparse weight has 12,000 random numbers that are not 0, so its bound is 3.1 %; the others are
        // exact.
        let bound = if shape.len() == 2 { 4.1 / 24_000f64.sqrt() } else { 1e-12 };
        let std = initializer.std(shape).unwrap().unwrap();
        assert!((got / std - 1.0).abs() < bound, "{initializer}: {got} {std}");
        assert!((got / (1.05 * std) - 1.0).abs() > bound, "{initializer}: the twin");
    }
    assert_eq!(Initializer::zer_o().std(&[4, 4]).unwrap(), None);
    let convolution = Initializer::kaiming_normal().std(&[64, 3, 7, 7]).unwrap();
    assert_eq!(convolution, Some(2f64.sqrt() / 147f64.sqrt()));
}

#[test]
fn parameters_out_of_range_are_named() {
    let nan = f64::NAN;
    let cut = |std, low, high| Initializer::TruncatedNormal { mean: 0.0, std, low, high };
    let sparse = |sparsity| Initializer::sparse(sparsity, 1.0, SparseBy::Row);
    let cases = [
        (Initializer::normal(-1.0), "std = -1"),
        (Initializer::normal(nan), "std = NaN"),
        (Initializer::Normal { mean: f64::INFINITY, std: 1.0 }, "mean = inf"),
        (Initializer::Uniform { low: 1.0, high: 0.0 }, "low = 1"),
        (Initializer::Uniform { low: nan, high: 0.0 }, "low = NaN"),
        (Initializer::Constant(nan), "value = NaN"),
        (Initializer::xavier_normal().with_gain(-2.0), "scale = -4"),
        (cut(1.0, 2.0, -2.0), "low = 2"),
        (cut(0.01, 2.0, 3.0), "std = 0.01"),
        (sparse(1.5), "sparsity = 1.5"),
        (sparse(nan), "sparsity = NaN"),
        (Initializer::orthogonal(nan), "gain = NaN"),
        (Initializer::SirenHidden { omega: 0.0 }, "omega = 0"),
        (Initializer::forget_gate(nan), "value = NaN"),
        (Initializer::icnr(2, Initializer::normal(-1.0)), "std = -1"),
    ];
    for (initializer, message) in cases {
        let error = initializer.std(&[2, 2]).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
    let error = Initializer::xavier_normal().std(&[5]).unwrap_err().to_string();
    assert_eq!(
        error,
        "shape [5] has no fans: xavier_normal needs a weight of two or more dimensions [out, in, …]"
    );
}

/// Every initializer checks the layout, also one that needs no fans.
#[test]
fn a_layout_that_does_not_fit_is_refused() {
    for initializer in [Initializer::normal(1.0), Initializer::xavier_normal(), Initializer::zeros()] {
        let error =
            initializer.std_with_layout(&[8, 3, 3, 3], WeightLayout::Embedding).unwrap_err().to_string();
        assert!(error.contains("does not fit the layout embedding"), "{initializer}: {error}");
        let error =
            initializer.std_with_layout(&[6, 2], WeightLayout::Stacked { parts: 4 }).unwrap_err().to_string();
        assert!(error.contains("a multiple of the parts"), "{initializer}: {error}");
    }
    // A layout does not apply to the bias of the same layer.
    assert!(Initializer::zeros().std_with_layout(&[6], WeightLayout::Stacked { parts: 4 }).is_ok());
}

#[test]
fn integers_are_refused() {
    let key = KeyedV1::new(0).key("w");
    let error = Initializer::zeros().tensor(key, 3, DType::U32, &Device::Cpu).unwrap_err();
    assert!(error.to_string().contains("u32"), "{error}");
}

#[test]
fn infinite_weights_are_refused() {
    let key = KeyedV1::new(0).key("w");
    let draw = |initializer: Initializer, dtype| initializer.tensor(key, (2, 2), dtype, &Device::Cpu);
    for (initializer, dtype) in [
        (Initializer::normal(1e38), DType::F32),
        (Initializer::normal(7000.0), DType::F16),
        (Initializer::uniform(1e39), DType::BF16),
        (Initializer::Constant(1e5), DType::F16),
        (Initializer::identity(1e39), DType::F32),
        (Initializer::orthogonal(1e6), DType::F16),
        (Initializer::sparse(0.0, 1e5, SparseBy::Row), DType::F16),
    ] {
        let error = draw(initializer, dtype).unwrap_err().to_string();
        assert!(error.contains(&format!("beyond the largest {}", dtype.as_str())), "{error}");
    }
    assert!(draw(Initializer::normal(1e38), DType::F64).is_ok());
    let icnr = Initializer::icnr(2, Initializer::normal(1e38));
    assert!(icnr.tensor(key, (4, 1, 3, 3), DType::F32, &Device::Cpu).is_err());
    // PyTorch refuses a range that its type cannot hold; the keyed stream has no need to.
    let wide = Initializer::uniform(3e38);
    let mut rng = torch::TorchRng::new(0);
    let error = wide.tensor(&mut rng, 5, DType::F32, &Device::Cpu).unwrap_err().to_string();
    assert!(error.starts_with("high = 3"), "{error}");
    let drawn = draw(wide, DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert!(drawn.iter().all(|x| x.is_finite()));
}

/// Every initializer gives a layer without inputs or outputs an empty weight.
#[test]
fn empty_weights_are_drawn() {
    let key = KeyedV1::new(0).key("w");
    for initializer in [Initializer::kaiming_normal(), Initializer::SirenFirst, Initializer::xavier_uniform()]
    {
        for shape in [[5, 0], [0, 5], [0, 0]] {
            let drawn = initializer.tensor(key, &shape, DType::F16, &Device::Cpu).unwrap();
            assert_eq!(drawn.dims(), shape, "{initializer}");
        }
    }
}

/// An initializer that draws from a generator of rand's has the same distribution: n = 200,000, seed 5, alpha
/// 1e-4 for the std (3.9 standard errors, kurtosis at most 3). The twin, a std that is 5 % off, is outside.
#[test]
fn any_generator_will_do() {
    for initializer in
        [Initializer::normal(0.5), Initializer::uniform(2.0), Initializer::truncated_normal(3.0)]
    {
        for dtype in [DType::F32, DType::F64] {
            let mut rng = KeyedV1::new(5).key("any").rng();
            let drawn =
                initializer.tensor(RngSource::from_rng(&mut rng), 200_000, dtype, &Device::Cpu).unwrap();
            let values = drawn.to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
            let std = (values.iter().map(|x| x * x).sum::<f64>() / 200_000.0).sqrt();
            let bound = 3.9 / (2.0f64 * 200_000.0).sqrt();
            let expected = initializer.std(&[200_000]).unwrap().unwrap();
            assert!((std / expected - 1.0).abs() < bound, "{initializer} {dtype:?}: {std}");
            assert!((std / (1.05 * expected) - 1.0).abs() > bound);
        }
    }
}
