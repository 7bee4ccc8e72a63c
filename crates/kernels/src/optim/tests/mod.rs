mod bits;
mod clipping;
mod half;
mod state;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Optimizer, ParamsAdamW};

use crate::optim::adamw::AdamW;
use crate::optim::lion::{Lion, ParamsLion};
use crate::optim::muon::{Muon, ParamsMuon};
use crate::optim::pass::PART;
use crate::optim::schedule_free::{ParamsScheduleFree, ScheduleFree};
use crate::optim::sgd::{ParamsSgd, Sgd};

/// The part of each optimizer that all share. A new optimizer needs a row in
/// [`every_optimizer_steps_its_variables`].
///
/// The first step from 1 with the gradient 2 leads to `expected`, in every part of a large `f32` variable and
/// in `f64`; a variable without a gradient stays; the learning rate can be changed.
fn check<O: Optimizer>(params: O::Config, rate: f64, expected: f64) {
    let ones = |count: usize, dtype| Var::ones(count, dtype, &Device::Cpu).unwrap();
    let (large, wide, idle) = (ones(2 * PART + 5, DType::F32), ones(3, DType::F64), ones(3, DType::F32));
    let mut optimizer = O::new(vec![large.clone(), wide.clone(), idle.clone()], params).unwrap();
    optimizer.set_learning_rate(rate);
    assert_eq!(optimizer.learning_rate(), rate);
    let sum = |var: &Var| var.sqr().unwrap().sum_all().unwrap().to_dtype(DType::F64).unwrap();
    optimizer.backward_step(&(sum(&large) + sum(&wide)).unwrap()).unwrap();
    for var in [&large, &wide] {
        let numbers = var.to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
        assert!(numbers.iter().all(|x| (x - expected).abs() < 1e-6), "{} for {expected}", numbers[0]);
    }
    assert_eq!(idle.to_vec1::<f32>().unwrap(), [1.0; 3]);
}

#[test]
fn every_optimizer_steps_its_variables() {
    check::<AdamW>(ParamsAdamW { weight_decay: 0.0, ..Default::default() }, 0.25, 0.75);
    check::<Sgd>(ParamsSgd::default(), 0.125, 0.75);
    check::<Lion>(ParamsLion { weight_decay: 0.0, ..Default::default() }, 0.25, 0.75);
    check::<Muon>(ParamsMuon { weight_decay: 0.0, ..Default::default() }, 0.25, 0.75);
    check::<ScheduleFree>(ParamsScheduleFree::default(), 0.25, 0.75);
}

mod adamw {
    use super::*;

    /// 200 steps on a quadratic loss equal those of candle's AdamW; in both types.
    #[test]
    fn as_candles_own() {
        for dtype in [DType::F32, DType::F64] {
            let start = Tensor::arange(0f32, 40_000.0, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let start = (start * 1e-4).unwrap().sin().unwrap();
            let params = ParamsAdamW { lr: 0.01, weight_decay: 0.1, ..Default::default() };
            let (ours, theirs) = (Var::from_tensor(&start).unwrap(), Var::from_tensor(&start).unwrap());
            let mut a = AdamW::new(vec![ours.clone()], params.clone()).unwrap();
            let mut b = candle_nn::AdamW::new(vec![theirs.clone()], params).unwrap();
            let loss = |w: &Var| (w.as_tensor() - 0.3).unwrap().sqr().unwrap().sum_all().unwrap();
            for _ in 0..200 {
                a.backward_step(&loss(&ours)).unwrap();
                b.backward_step(&loss(&theirs)).unwrap();
            }
            let difference =
                (ours.as_tensor() - theirs.as_tensor()).unwrap().abs().unwrap().max_all().unwrap();
            let difference = difference.to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap();
            assert!(difference < 2e-6, "{difference}");
            let moved = (ours.as_tensor() - &start).unwrap().abs().unwrap().max_all().unwrap();
            assert!(moved.to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap() > 0.1);
        }
    }

    #[test]
    fn rates_and_missing_gradients() {
        let (w, idle) = (Var::new(&[1f32], &Device::Cpu).unwrap(), Var::new(&[5f32], &Device::Cpu).unwrap());
        let mut adamw = AdamW::new(vec![w.clone(), idle.clone()], ParamsAdamW::default()).unwrap();
        adamw.set_learning_rate(0.5);
        assert_eq!((adamw.learning_rate(), adamw.params().lr), (0.5, 0.5));
        adamw.backward_step(&w.sqr().unwrap().sum_all().unwrap()).unwrap();
        assert_eq!(idle.to_vec1::<f32>().unwrap(), [5.0]);
        assert!((w.to_vec1::<f32>().unwrap()[0] - (0.995 - 0.5)).abs() < 1e-6);
    }
}

mod sgd {
    use super::*;

    /// Five steps on the loss Σ (w - a)⁴/4 from w = (0.5, -1, 2) with a = (0, 1, -1), in both types, equal those of `torch.optim.SGD` (2.15, float64).
    #[test]
    fn as_pytorchs() {
        let cases = [
            (ParamsSgd { lr: 0.01, momentum: 0.0, ..Default::default() }, TORCH[0]),
            (ParamsSgd { lr: 0.01, momentum: 0.9, weight_decay: 0.1, nesterov: false }, TORCH[1]),
            (ParamsSgd { lr: 0.01, momentum: 0.9, weight_decay: 0.1, nesterov: true }, TORCH[2]),
        ];
        for (params, expected) in cases {
            for dtype in [DType::F32, DType::F64] {
                let cpu = Device::Cpu;
                let w = Tensor::new(&[0.5f64, -1.0, 2.0], &cpu).unwrap().to_dtype(dtype).unwrap();
                let a = Tensor::new(&[0f64, 1.0, -1.0], &cpu).unwrap().to_dtype(dtype).unwrap();
                let w = Var::from_tensor(&w).unwrap();
                let mut sgd = Sgd::new(vec![w.clone()], params).unwrap();
                for _ in 0..5 {
                    let loss = (w.as_tensor() - &a).unwrap().powf(4.0).unwrap().sum_all().unwrap();
                    sgd.backward_step(&(loss * 0.25).unwrap()).unwrap();
                }
                let got = w.to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
                let bound = if dtype == DType::F32 { 1e-6 } else { 1e-12 };
                for (got, expected) in got.iter().zip(expected) {
                    assert!((got - expected).abs() < bound, "{params:?} {dtype:?}: {got} {expected}");
                }
            }
        }
    }

    const TORCH: [[f64; 3]; 3] = [
        [0.493842363879013, -0.677327589932282, 1.121_600_381_911_02],
        [0.477448319258739, -0.164790487854848, -0.264749106218739],
        [0.471529165585516, -0.075463696195874, -0.290173821840062],
    ];

    #[test]
    fn every_part_of_a_variable_is_stepped() {
        let n = 2 * PART + 5;
        let w = Var::ones(n, DType::F32, &Device::Cpu).unwrap();
        let idle = Var::ones(3, DType::F32, &Device::Cpu).unwrap();
        let mut sgd = Sgd::new(vec![w.clone(), idle.clone()], ParamsSgd::default()).unwrap();
        sgd.set_learning_rate(0.125);
        assert_eq!((sgd.learning_rate(), sgd.params().lr), (0.125, 0.125));
        sgd.backward_step(&w.sqr().unwrap().sum_all().unwrap()).unwrap();
        assert_eq!(w.to_vec1::<f32>().unwrap(), vec![0.75; n]);
        assert_eq!(idle.to_vec1::<f32>().unwrap(), [1.0; 3]);
    }
}
