//! The state, saved and loaded.

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Optimizer, ParamsAdamW};

use super::bits::{steps, variables, weights};
use crate::optim::clip::LossScale;
use crate::optim::ema::Ema;
use crate::optim::lion::ParamsLion;
use crate::optim::method::Method;
use crate::optim::muon::ParamsMuon;
use crate::optim::schedule_free::ParamsScheduleFree;
use crate::optim::sgd::ParamsSgd;
use crate::optim::slot::Named;
use crate::optim::stepper::Stepper;

fn make<P: Method>(dtype: DType, params: &P) -> Stepper<P> {
    let mut optimizer = Stepper::named(variables(dtype), params.clone()).unwrap();
    if dtype == DType::F16 {
        optimizer.set_loss_scale(Some(LossScale::dynamic(128.0, 3))).unwrap();
    }
    optimizer
}

/// After 5 steps, a save and a load, 50 more steps equal those of the run that went on; they do not if one
/// tensor of the state is forgotten.
fn check<P: Method>(params: &P) {
    for dtype in [DType::F32, DType::F64, DType::BF16, DType::F16] {
        let mut whole = make(dtype, params);
        steps(&mut whole, 0..5);
        let (state, scalars) = (whole.state().unwrap(), whole.scalars());
        let at_five: Vec<Tensor> = whole.slots.iter().map(|slot| slot.named.var.copy().unwrap()).collect();
        steps(&mut whole, 5..55);
        let resumed = |forget: Option<usize>| {
            let mut optimizer = make(dtype, params);
            for (slot, weights) in optimizer.slots.iter().zip(&at_five) {
                slot.named.var.set(weights).unwrap();
            }
            let mut state = state.clone();
            if let Some(index) = forget {
                state[index].1 = state[index].1.zeros_like().unwrap();
            }
            optimizer.load_state(&state, &scalars).unwrap();
            steps(&mut optimizer, 5..55);
            (weights(&optimizer), optimizer.scalars())
        };
        let expected = (weights(&whole), whole.scalars());
        assert!(resumed(None) == expected, "{params:?} {dtype:?}");
        let moment = state.iter().position(|(name, _)| !name.starts_with("masters/"));
        assert!(moment.is_some() && resumed(moment) != expected, "{params:?} {dtype:?}: the twin");
    }
}

#[test]
fn a_loaded_optimizer_goes_on_to_the_bit() {
    check(&ParamsAdamW::default());
    check(&ParamsSgd::default());
    check(&ParamsLion { lr: 0.01, ..Default::default() });
    check(&ParamsMuon::default());
    check(&ParamsScheduleFree::default());
}

#[test]
fn the_average_goes_on_to_the_bit() {
    for dtype in [DType::F32, DType::F64, DType::BF16] {
        let var = Var::from_tensor(&super::bits::wave(&[40_001], 0.5, dtype)).unwrap();
        let make = || Ema::new(vec![("w".to_owned(), var.clone())], 0.9).unwrap();
        let start = var.copy().unwrap();
        let update = |ema: &mut Ema, steps: std::ops::Range<usize>| {
            for step in steps {
                var.set(&super::bits::wave(&[40_001], step as f64, dtype)).unwrap();
                ema.update().unwrap();
            }
            let average = ema.state().unwrap()[0].1.to_dtype(DType::F64).unwrap();
            (average.to_vec1::<f64>().unwrap(), ema.scalars())
        };
        let mut whole = make();
        update(&mut whole, 0..5);
        let (state, scalars) = (whole.state().unwrap(), whole.scalars());
        let expected = update(&mut whole, 5..55);
        var.set(&start).unwrap();
        let mut resumed = make();
        resumed.load_state(&state, &scalars).unwrap();
        assert!(update(&mut resumed, 5..55) == expected, "{dtype:?}");
        var.set(&start).unwrap();
        assert!(update(&mut make(), 5..55) != expected, "{dtype:?}: the twin");
        let mut other = Ema::new(vec![("w".to_owned(), var.clone())], 0.8).unwrap();
        let error = other.load_state(&state, &scalars).unwrap_err().to_string();
        assert!(error.contains("decay 0.9, and these 0.8"), "{error}");
    }
}

/// What does not fit is named, and the optimizer stays as it is.
#[test]
fn a_state_that_does_not_fit_is_refused() {
    let mut optimizer = make(DType::F32, &ParamsAdamW::default());
    steps(&mut optimizer, 0..2);
    let (state, scalars) = (optimizer.state().unwrap(), optimizer.scalars());
    let names: Vec<&str> = state.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[..2], ["adamw.first_moment/wide", "adamw.second_moment/wide"]);
    let with = |index: usize, name: &str, tensor: Tensor| {
        let mut state = state.clone();
        state[index] = (name.to_owned(), tensor);
        state
    };
    let same = || state[5].1.clone();
    let cases = [
        (state[1..].to_vec(), scalars.clone(), "no `adamw.first_moment/wide`"),
        (with(5, names[5], same().narrow(0, 0, 3).unwrap()), scalars.clone(), "[3], and the optimizer needs"),
        (with(5, names[5], same().to_dtype(DType::F64).unwrap()), scalars.clone(), "is F64"),
        (with(5, "lion.momentum/bias", same()), scalars.clone(), "no `adamw.second_moment/bias`"),
        (with(5, names[4], same()), scalars.clone(), "`adamw.first_moment/bias` twice"),
        ([state.clone(), vec![("x".to_owned(), same())]].concat(), scalars.clone(), "has `x`"),
        (state.clone(), vec![], "no `steps`"),
        (state.clone(), vec![("steps".to_owned(), 1.5)], "1.5 as `steps`"),
        (state.clone(), vec![("steps".to_owned(), f64::NAN)], "NaN as `steps`"),
        (state.clone(), [scalars.clone(), vec![("weight_sum".to_owned(), 1.0)]].concat(), "has `weight_sum`"),
    ];
    for (tensors, scalars, expected) in cases {
        let error = optimizer.load_state(&tensors, &scalars).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} instead of {expected}");
    }
    assert_eq!(optimizer.scalars(), scalars);
    for ((_, before), (_, after)) in state.iter().zip(optimizer.state().unwrap()) {
        let numbers = |xs: &Tensor| xs.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(numbers(before), numbers(&after));
    }
}

#[test]
fn variables_and_parameters_out_of_range_are_refused() {
    let var = Var::ones(2, DType::F32, &Device::Cpu).unwrap();
    let whole = Var::from_tensor(&Tensor::new(&[1u32], &Device::Cpu).unwrap()).unwrap();
    let named = |name: &str, var: &Var| Named::new(name, var.clone());
    let other = Var::ones(2, DType::F32, &Device::Cpu).unwrap();
    let cases = [
        (vec![named("n", &whole)], "`n` is U32"),
        (vec![named("w", &var), named("w", &other)], "two variables have the name `w`"),
        (vec![named("w", &var), named("v", &var)], "`v` is a variable that has another name too"),
        (vec![named("w", &var).with_rate(-1.0)], "learning rate of `w` is -1"),
        (vec![named("w", &var).with_decay(f64::NAN)], "weight decay of `w` is NaN"),
    ];
    for (vars, expected) in cases {
        let error = Stepper::named(vars, ParamsAdamW::default()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let mut adamw = Stepper::named(vec![named("w", &var)], ParamsAdamW::default()).unwrap();
    adamw.set_learning_rate(f64::NAN);
    let error = adamw.backward_step(&var.sum_all().unwrap()).unwrap_err().to_string();
    assert!(error.contains("AdamW's learning rate is NaN"), "{error}");
    assert_eq!((adamw.steps(), var.to_vec1::<f32>().unwrap()), (0, vec![1.0, 1.0]));
    assert!(Stepper::named(vec![], ParamsScheduleFree { beta1: 0.0, ..Default::default() }).is_err());
}
