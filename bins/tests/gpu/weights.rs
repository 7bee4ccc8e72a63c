//! The keyed stream on the device has the CPU's bits.

use candle_core::{DType, Device, Tensor};
use wick_init::{InitMap, Initializer, KeyedV1};
use wick_model::{Activation, Mlp, MlpConfig};

use super::Test;
use super::numbers::{CPU, TYPES, flat};

pub(crate) const TESTS: &[Test] = &[
    ("keyed_weights_to_the_bit", keyed_weights_to_the_bit),
    ("a_model_starts_with_the_cpus_weights", a_model),
];

/// Returns the bits in `f64`, which holds every number of the other types and distinguishes -0 from 0.
fn bits(xs: &Tensor) -> Vec<u64> {
    flat(xs).into_iter().map(f64::to_bits).collect()
}

fn keyed_weights_to_the_bit(gpu: &Device) {
    let initializers = [
        Initializer::normal(1.0),
        Initializer::Normal { mean: 0.3, std: 0.017 },
        Initializer::uniform(1.0),
        Initializer::Uniform { low: -0.123, high: 2.5 },
        Initializer::truncated_normal(0.02),
        // Intervals near the mean and away from it, in both tails, and wide ones.
        Initializer::TruncatedNormal { mean: 0.1, std: 0.5, low: -0.2, high: 1.9 },
        Initializer::TruncatedNormal { mean: 0.0, std: 1.0, low: 3.0, high: 9.0 },
        Initializer::TruncatedNormal { mean: 0.0, std: 1.0, low: -30.0, high: -5.5 },
        Initializer::TruncatedNormal { mean: 0.0, std: 1.0, low: -20.0, high: 20.0 },
        Initializer::Constant(0.7),
    ];
    for dtype in TYPES {
        for initializer in &initializers {
            for count in [1, 15, 16, 17, 63, 64, 65, 1000, 100_003] {
                for seed in [0, 42, u64::MAX] {
                    let key = || KeyedV1::new(seed).key("layer.weight");
                    let expected = initializer.tensor(key(), count, dtype, &CPU).unwrap();
                    let got = initializer.tensor(key(), count, dtype, gpu).unwrap();
                    assert!(got.device().is_cuda());
                    assert!(bits(&got) == bits(&expected), "{initializer:?} {dtype:?} {count} {seed}");
                }
            }
            if !matches!(initializer, Initializer::Constant(_)) {
                let draw = |name: &str, device: &Device| {
                    bits(&initializer.tensor(KeyedV1::new(1).key(name), 64, dtype, device).unwrap())
                };
                assert_ne!(draw("a", gpu), draw("b", &CPU), "the twin");
            }
        }
    }
}

fn a_model(gpu: &Device) {
    let config = MlpConfig::new(30, [50, 20], Activation::Relu).with_bias(true);
    let weights = |device: &Device| {
        let map = InitMap::new(9).with_default_init(Initializer::kaiming_normal());
        Mlp::new(&config, map.var_builder(DType::F32, device)).unwrap();
        map.vars().iter().flat_map(|var| bits(var)).collect::<Vec<u64>>()
    };
    assert_eq!(weights(gpu), weights(&CPU));
    assert_eq!(weights(gpu).len(), config.parameters());
}
