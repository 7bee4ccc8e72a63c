//! The same bits with any number of threads and at every SIMD level with a fused multiply-add, and the same
//! numbers by candle's ops.

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Optimizer, ParamsAdamW};

use crate::cpu::simd::SimdLevel;
use crate::optim::clip::{Clip, ClipRule};
use crate::optim::lion::ParamsLion;
use crate::optim::method::Method;
use crate::optim::muon::ParamsMuon;
use crate::optim::schedule_free::ParamsScheduleFree;
use crate::optim::sgd::ParamsSgd;
use crate::optim::slot::{Named, Slot};
use crate::optim::stepper::Stepper;

/// A tensor of numbers that differ with `seed`.
pub(super) fn wave(shape: &[usize], seed: f64, dtype: DType) -> Tensor {
    let values: Vec<f64> = (0..shape.iter().product()).map(|i| (i as f64 * 0.7 + seed).sin()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}

/// A wide and a tall matrix, and a vector of several parts.
pub(super) fn variables(dtype: DType) -> Vec<Named> {
    let var = |shape: &[usize], seed| Var::from_tensor(&wave(shape, seed, dtype)).unwrap();
    vec![
        Named::new("wide", var(&[70, 300], 0.1)),
        Named::new("tall", var(&[130, 20], 0.2)).with_rate(0.5).with_decay(0.3),
        Named::new("bias", var(&[40_001], 0.3)).with_decay(0.0),
    ]
}

/// Steps with gradients that depend on the weights and on the number of the step.
pub(super) fn steps<P: Method>(optimizer: &mut Stepper<P>, steps: std::ops::Range<usize>) {
    for step in steps {
        let term = |slot: &Slot| {
            let var = &slot.named.var;
            let noise = wave(var.dims(), step as f64, var.dtype());
            let gradient = (var.as_detached_tensor() * 0.1).unwrap().add(&noise).unwrap();
            (var.as_tensor() * gradient).unwrap().sum_all().unwrap().to_dtype(DType::F64).unwrap()
        };
        let terms: Vec<Tensor> = optimizer.slots.iter().map(term).collect();
        let loss = (Tensor::stack(&terms, 0).unwrap().sum_all().unwrap() * optimizer.loss_scale()).unwrap();
        optimizer.backward_step(&loss).unwrap();
    }
}

pub(super) fn weights<P: Method>(optimizer: &Stepper<P>) -> Vec<f64> {
    let numbers = |slot: &Slot| {
        let flat = slot.named.var.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
        flat.to_vec1::<f64>().unwrap()
    };
    optimizer.slots.iter().flat_map(numbers).collect()
}

fn check<P: Method>(params: &P) {
    for dtype in [DType::F32, DType::F64, DType::BF16] {
        let run = |threads, level| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut optimizer = Stepper::named(variables(dtype), params.clone()).unwrap();
                optimizer.level = level;
                optimizer.set_clip(Some(Clip { norm: 50.0, rule: ClipRule::Torch })).unwrap();
                steps(&mut optimizer, 0..3);
                (weights(&optimizer), optimizer.gradient_norm())
            })
        };
        let expected = run(1, SimdLevel::best());
        assert!(expected.1.is_some_and(|norm| norm > 50.0));
        assert!(run(2, SimdLevel::best()) == expected, "{params:?} {dtype:?}: threads");
        for level in SimdLevel::available().filter(|level| level.is_fast()) {
            assert!(run(2, level) == expected, "{params:?} {dtype:?}: {level}");
        }
    }
}

#[test]
fn threads_and_levels_change_no_bit() {
    check(&ParamsAdamW::default());
    check(&ParamsSgd { nesterov: true, ..Default::default() });
    check(&ParamsLion::default());
    check(&ParamsMuon::default());
    check(&ParamsScheduleFree::default());
}

/// What runs on a device without a kernel gives the same numbers within a rounding error of each step.
fn check_composed<P: Method>(params: &P) {
    for (dtype, bound) in [(DType::F32, 2e-5), (DType::F64, 1e-12), (DType::BF16, 0.02)] {
        let run = |composed| {
            let mut optimizer = Stepper::named(variables(dtype), params.clone()).unwrap();
            if composed {
                for slot in &mut optimizer.slots {
                    *slot = Slot::composed(slot.named.clone(), slot.names).unwrap();
                }
            }
            optimizer.set_learning_rate(0.01);
            steps(&mut optimizer, 0..20);
            weights(&optimizer)
        };
        let (own, composed) = (run(false), run(true));
        let apart = own.iter().zip(&composed).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(apart < bound, "{params:?} {dtype:?}: {apart:e}");
    }
}

#[test]
fn candles_ops_give_the_same_numbers() {
    check_composed(&ParamsAdamW::default());
    check_composed(&ParamsSgd { nesterov: true, ..Default::default() });
    check_composed(&ParamsLion::default());
    check_composed(&ParamsMuon::default());
    check_composed(&ParamsScheduleFree::default());
}
