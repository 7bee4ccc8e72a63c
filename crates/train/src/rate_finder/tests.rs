use candle_core::{DType, Device, Tensor, Var, bail};
use candle_nn::{Module, Sequential, linear, loss::mse, seq};
use wick_init::{InitMap, Initializer, KeyedV1};

use super::{RateFinder, RateTest, RateTrial};
use crate::Error;

const CPU: Device = Device::Cpu;

fn batch(name: &str, columns: usize) -> Tensor {
    let key = KeyedV1::new(3).key(name);
    Initializer::normal(1.0).tensor(key, (64, columns), DType::F32, &CPU).unwrap()
}

fn model() -> (InitMap, Sequential) {
    let map = InitMap::new(5);
    let vb = map.var_builder(DType::F32, &CPU);
    let model = seq()
        .add(linear(8, 32, vb.pp("a")).unwrap())
        .add(candle_nn::Activation::Relu)
        .add(linear(32, 1, vb.pp("b")).unwrap());
    (map, model)
}

fn bits(vars: &[(String, Var)]) -> Vec<u32> {
    let of = |var: &Var| var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    vars.iter().flat_map(|(_, var)| of(var)).map(f32::to_bits).collect()
}

/// A bowl of curvature `c`, on which gradient descent diverges from the rate `2 / c` on.
fn bowl(curvature: f64) -> RateTest {
    let w = Var::new(&[1.0f64, -2.0], &CPU).unwrap();
    let vars = [("w".to_owned(), w.clone())];
    let finder = RateFinder::new("sgd:momentum=0".parse().unwrap())
        .with_range(1e-6 / curvature, 1e3 / curvature)
        .with_steps(400);
    let found = finder.run(&vars, |_| w.sqr()?.sum_all()?.affine(curvature / 2.0, 1e-3 * curvature)).unwrap();
    assert_eq!(w.to_vec1::<f64>().unwrap(), [1.0, -2.0]);
    found
}

#[test]
fn rates_follow_the_curvature_and_end_behind_the_one_that_diverges() {
    for curvature in [0.01, 1.0, 100.0] {
        let found = bowl(curvature);
        let (best, limit) = (found.suggestion().unwrap() * curvature, found.limit.unwrap() * curvature);
        assert!((0.7..1.4).contains(&best), "{curvature}: {best}");
        // The average lags behind: the best is beyond the first six rates.
        assert_eq!(found.trials.len(), 8);
        // The loss has to come back from almost nothing.
        assert!((2.0..40.0).contains(&limit), "{curvature}: {limit}");
        assert!(
            found.points.iter().all(|point| point.loss.is_finite() && point.rate <= found.limit.unwrap())
        );
    }
}

/// Noise that a low rate follows least, and a plateau that only a high one leaves within 400 steps: up to the hundredth
/// the low one is better.
#[test]
fn a_trial_that_can_compete_goes_on_until_the_plateau_is_left() {
    let noise = |step: u64| if step.is_multiple_of(2) { 0.3 } else { -0.3 };
    let start = [3.0, -4.5];
    let w = Var::new(&start, &CPU).unwrap();
    let loss = |step| {
        let (near, far) = (w.get(0)?, w.get(1)?);
        let bowl = ((near - noise(step))?.sqr()? * 0.5)?;
        bowl + (far.exp()? + 1.0)?.recip()?
    };
    let vars = [("w".to_owned(), w.clone())];
    let found = RateFinder::new("sgd:momentum=0".parse().unwrap()).run(&vars, loss).unwrap();
    let after = |steps: u64, rate: f64| {
        let [mut near, mut far] = start;
        let mut losses = Vec::new();
        for step in 0..steps {
            losses.push(0.5 * (near - noise(step)).powi(2) + 1.0 / (1.0 + f64::exp(far)));
            near -= rate * (near - noise(step));
            far += rate * far.exp() / (1.0 + far.exp()).powi(2);
        }
        losses[losses.len() * 4 / 5..].iter().sum::<f64>() * 5.0 / steps as f64
    };
    for trial in &found.trials {
        assert!((trial.loss - after(trial.steps, trial.rate)).abs() < 1e-9, "{trial:?}");
    }
    let early = found.trials.iter().min_by(|a, b| after(100, a.rate).total_cmp(&after(100, b.rate))).unwrap();
    let suggestion = found.suggestion().unwrap();
    assert!(suggestion > 3.0 * early.rate, "{suggestion} beside {early:?}");
    assert!(found.trials.iter().any(|trial| trial.steps < 400));
}

/// A first batch whose loss is far above the others': a fall from it would be done at the lowest rates.
#[test]
fn easy_batches_are_no_fall() {
    let hardness = |step: u64| if step == 0 { 50.0 } else { 1.0 };
    let w = Var::new(&[1f64, -2.0], &CPU).unwrap();
    let vars = [("w".to_owned(), w.clone())];
    let finder = RateFinder::new("sgd:momentum=0".parse().unwrap());
    let found = finder.run(&vars, |step| (w.sqr()?.sum_all()? * 0.5)? + hardness(step)).unwrap();
    assert!((0.01..1.0).contains(&found.fallen().unwrap()), "{:?}", found.fallen());
    assert!(found.is_bracketed() && (0.1..2.0).contains(&found.suggestion().unwrap()));
    // The twin that looks at the losses alone.
    let first = found.points[0].smoothed;
    let lowest = found.points.iter().map(|point| point.smoothed).fold(f64::INFINITY, f64::min);
    let fallen = found.points.iter().find(|point| point.smoothed <= first + 0.75 * (lowest - first)).unwrap();
    assert!(fallen.rate < 1e-4, "{fallen:?}");
}

#[test]
fn no_rate_outside_the_range_is_tried() {
    let w = Var::new(&[1f64, -2.0], &CPU).unwrap();
    let vars = [("w".to_owned(), w.clone())];
    let finder = RateFinder::new("sgd:momentum=0".parse().unwrap()).with_range(1e-4, 0.2);
    let found = finder.run(&vars, |_| w.sqr()?.sum_all()? * 0.5).unwrap();
    assert!(found.trials.iter().all(|trial| (1e-4..=0.2).contains(&trial.rate)), "{:?}", found.trials);
    assert!(!found.is_bracketed(), "the best rate is 1: {:?}", found.trials);
}

#[test]
fn every_variable_has_its_bits_again_after_an_error_too() {
    let (map, model) = model();
    let (xs, targets) = (batch("xs", 8), batch("ys", 1));
    let (vars, finder) = (map.named_vars(), RateFinder::new("adamw".parse().unwrap()));
    let before = bits(&vars);
    let (mut moved, mut passes) = (0, 0);
    let found = finder
        .run(&vars, |_| {
            moved += usize::from(bits(&vars) != before);
            passes += 1;
            mse(&model.forward(&xs)?, &targets)
        })
        .unwrap();
    // The passes over the start's own losses, and the first one of the rise and of each trial, see the start.
    let trials = found.trials.len();
    assert!((6..=12).contains(&trials) && found.trials.is_sorted_by(|a, b| a.rate < b.rate), "{trials}");
    assert_eq!((bits(&vars), passes - moved), (before.clone(), 150 + 1 + trials));
    let best = found.trials.iter().map(|trial| trial.loss).fold(f64::INFINITY, f64::min);
    let suggested = found.trials.iter().find(|trial| Some(trial.rate) == found.suggestion()).unwrap();
    assert!(suggested.steps == 400 && suggested.loss <= 1.02 * best && suggested.loss.is_finite());
    assert!(found.points[0].rate == 1e-6 && found.points[0].loss == found.points[0].smoothed);
    let failing = |step| if step < 20 { mse(&model.forward(&xs)?, &targets) } else { bail!("no more data") };
    assert!(finder.run(&vars, failing).unwrap_err().to_string().contains("no more data"));
    assert_eq!(bits(&vars), before);
}

#[test]
fn a_loss_that_never_falls_has_no_suggestion_and_settings_are_checked() {
    let w = Var::new(&[1f32], &CPU).unwrap();
    let vars = [("w".to_owned(), w.clone())];
    let finder = RateFinder::new("sgd".parse().unwrap());
    let flat = finder.run(&vars, |_| (w.as_tensor() - w.detach())?.sum_all()? + 1.0).unwrap();
    assert_eq!((flat.suggestion(), flat.limit, flat.points.len()), (None, None, 150));
    let error = finder.run(&vars, |_| w.sum_all()? * f64::NAN).unwrap_err().to_string();
    assert_eq!(error, "the loss is NaN before any step: check the batch and the start");
    for vars in [&vars[..0], &[("b".to_owned(), Var::new(&[1f32], &CPU).unwrap())]] {
        let error = finder.run(vars, |_| w.sum_all()).unwrap_err().to_string();
        let expected = format!("the loss depends on none of the {} variables: pass the model's", vars.len());
        assert_eq!(error, expected);
    }
    for wrong in [
        finder.clone().with_range(0.0, 1.0),
        finder.clone().with_range(1.0, 1.0),
        finder.clone().with_range(1.0, f64::INFINITY),
        finder.clone().with_steps(9),
        finder.clone().with_trial_steps(4),
        finder.with_trial_steps(u64::MAX),
    ] {
        assert!(matches!(wrong.run(&vars, |_| w.sum_all()), Err(Error::Parameter { .. })));
    }
}

#[test]
fn of_trials_with_the_same_end_the_fastest_is_suggested_and_of_those_that_blew_up_none() {
    let suggested = |trials: [(u64, f64, f64); 3]| {
        let trial =
            |(index, (steps, loss, mean))| RateTrial { rate: 10f64.powi(index as i32), steps, loss, mean };
        let trials = trials.into_iter().enumerate().map(trial).collect();
        RateTest { points: Vec::new(), limit: None, trials }.suggestion()
    };
    let infinite = (30, f64::INFINITY, f64::INFINITY);
    assert_eq!(suggested([infinite; 3]), None);
    assert_eq!(suggested([(400, 1.0, 3.0), (400, 1.01, 2.0), infinite]), Some(10.0));
    assert_eq!(suggested([(400, 1.0, 2.0), (400, 0.99, 3.0), infinite]), Some(1.0));
    assert_eq!(suggested([(400, 1.0, 3.0), (400, 1.03, 2.0), infinite]), Some(1.0));
    assert_eq!(suggested([(200, 0.5, 0.6), (400, 1.0, 3.0), infinite]), Some(10.0));
}
