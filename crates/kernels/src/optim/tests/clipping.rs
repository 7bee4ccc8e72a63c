//! Clipping, frozen variables and evaluation.

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::Optimizer;

use crate::optim::clip::{Clip, ClipRule};
use crate::optim::muon::{Muon, MuonScaling, ParamsMuon};
use crate::optim::schedule_free::{ParamsScheduleFree, ScheduleFree};
use crate::optim::sgd::{ParamsSgd, Sgd};
use crate::optim::slot::Named;

/// The gradient (6, 8) is divided by ten times its norm of 10 over 1; that of the frozen variable, which is
/// not finite, does not count.
#[test]
fn the_norm_is_that_of_the_variables_that_are_stepped() {
    for (rule, factor) in [(ClipRule::Torch, 1.0 / (10.0 + 1e-6)), (ClipRule::Optax, 0.1)] {
        let (w, idle) = (var(&[3.0, 4.0]), var(&[0.0]));
        let vars = vec![Named::new("w", w.clone()), Named::new("idle", idle.clone()).frozen()];
        let params = ParamsSgd { lr: 1.0, momentum: 0.0, ..Default::default() };
        let mut sgd = Sgd::named(vars, params).unwrap();
        sgd.set_clip(Some(Clip { norm: 1.0, rule })).unwrap();
        let loss = w.sqr().unwrap().sum_all().unwrap() + idle.recip().unwrap().sum_all().unwrap();
        sgd.backward_step(&loss.unwrap()).unwrap();
        assert_eq!((sgd.gradient_norm(), idle.to_vec1::<f64>().unwrap()), (Some(10.0), vec![0.0]));
        let got = w.to_vec1::<f64>().unwrap();
        assert!(
            (got[0] - (3.0 - 6.0 * factor)).abs() < 1e-15 && (got[1] - (4.0 - 8.0 * factor)).abs() < 1e-15
        );
        assert_eq!(sgd.state().unwrap().len(), 1);
        w.set(&Tensor::new(&[f64::INFINITY, 0.0], &Device::Cpu).unwrap()).unwrap();
        let error = sgd.backward_step(&w.sqr().unwrap().sum_all().unwrap()).unwrap_err().to_string();
        assert!(error.contains("gradient of `w` is not finite at step 2"), "{error}");
        assert_eq!(sgd.steps(), 1);
    }
    let mut sgd = Sgd::new(vec![], ParamsSgd::default()).unwrap();
    assert!(sgd.set_clip(Some(Clip { norm: 0.0, rule: ClipRule::Torch })).is_err());
    assert!("l2".parse::<ClipRule>().unwrap_err().to_string().contains("use torch or optax"));
    assert!("rms".parse::<MuonScaling>().unwrap_err().to_string().contains("original or match_rms_adamw"));
}

fn var(numbers: &[f64]) -> Var {
    Var::new(numbers, &Device::Cpu).unwrap()
}

/// Muon leaves vectors and the matrices that are named elementwise to AdamW.
#[test]
fn muon_steps_matrices() {
    let matrix = || Var::ones((2, 3), DType::F32, &Device::Cpu).unwrap();
    let vars = vec![
        Named::new("hidden", matrix()),
        Named::new("head", matrix()).elementwise(),
        Named::new("bias", var(&[1.0])),
    ];
    let muon = Muon::named(vars, ParamsMuon::default()).unwrap();
    let names: Vec<String> = muon.state().unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "muon.momentum/hidden",
            "adamw.first_moment/head",
            "adamw.second_moment/head",
            "adamw.first_moment/bias",
            "adamw.second_moment/bias",
        ]
    );
}

/// Evaluation and back changes no bit of the weights, and neither a step nor a save happens in between.
#[test]
fn evaluation_is_no_step() {
    for dtype in [DType::F32, DType::BF16] {
        let w = Var::from_tensor(&var(&[0.3, -0.7]).to_dtype(dtype).unwrap()).unwrap();
        let mut optimizer =
            ScheduleFree::new(vec![w.clone()], ParamsScheduleFree { lr: 0.1, ..Default::default() });
        let optimizer = optimizer.as_mut().unwrap();
        optimizer.eval().unwrap(); // before the first step the average is the weights
        optimizer.train().unwrap();
        let numbers = || w.to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
        assert!((numbers()[0] - 0.3).abs() < 0.01);
        for _ in 0..10 {
            optimizer.backward_step(&w.sqr().unwrap().sum_all().unwrap()).unwrap();
        }
        let (before, masters) = (numbers(), optimizer.slots[0].weights().unwrap());
        optimizer.eval().unwrap();
        optimizer.eval().unwrap();
        assert_ne!(numbers(), before);
        for error in
            [optimizer.backward_step(&w.sum_all().unwrap()).unwrap_err(), optimizer.state().unwrap_err()]
        {
            assert!(error.to_string().contains("call `train` before"), "{error}");
        }
        optimizer.train().unwrap();
        assert_eq!(numbers(), before);
        let after = optimizer.slots[0].weights().unwrap();
        assert_eq!(masters.to_vec1::<f32>().unwrap(), after.to_vec1::<f32>().unwrap());
    }
}
