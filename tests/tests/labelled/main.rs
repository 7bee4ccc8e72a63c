//! Healthy nets and faulty ones, with labels: the faults that are found, by Wick's rules and by those of
//! other tools.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod bench;
mod case;
mod score;

use wick_model::Activation;
use wick_probe::{Fault, Units, Verdict, judge};

use case::{Case, Plant};

/// The rules were tuned on 120 nets (seeds 0 to 119); 200 nets (1000 to 1199) were set aside until the rules
/// were done. Nine of twenty nets are healthy.
#[test]
fn faults_are_found_and_named() {
    for seeds in [0..120, 1000..1200] {
        let [ours, others @ ..] = score::run(seeds);
        let all = ours.right + ours.missed;
        assert!(ours.precision() >= 0.98 && ours.recall() >= 0.98, "{ours:?}");
        assert!(f64::from(ours.named) >= 0.97 * f64::from(all), "{ours:?}");
        for other in others {
            assert!(ours.named > 2 * other.named, "{other:?}");
        }
    }
}

/// Nets of 30 to 50 layers of 256 units with right weights get no verdict, with and without the layers' laws
/// and the statistics of units. (SiLU's gain lets its signals grow by 1.18 a layer, which is too much from
/// about 40 layers on.) The twins have weights 1.5 times as large in a layer in the middle.
#[test]
fn deep_nets_are_healthy() {
    for (phi, depth) in [
        (Activation::Gelu, 30),
        (Activation::Gelu, 50),
        (Activation::Silu, 30),
        (Activation::Silu, 36),
        (Activation::Relu, 50),
        (Activation::Tanh, 50),
    ] {
        for seed in 2000..2002 {
            let widths = [vec![256; depth], vec![10]].concat();
            let net =
                |plant| Case { seed, plant, widths: widths.clone(), phi, bias: false, cross_entropy: false };
            let verdicts = |plant, units, laws| {
                let (reports, input) = net(plant).reports(units, laws).unwrap();
                judge(&reports, &Units::of(&input).unwrap().unwrap().batch)
            };
            for (units, laws) in [(true, true), (true, false), (false, true), (false, false)] {
                let found = verdicts(Plant::Nothing, units, laws);
                assert!(found.is_empty(), "{phi}, {depth}, {seed}, {units} {laws}: {found:?}");
            }
            let found = verdicts(Plant::HalfAgain(depth / 2), true, true);
            let first = found.first().map(|verdict| (verdict.fault, verdict.layer.clone()));
            assert_eq!(first, Some((Fault::OutsideBand, Case::name(depth / 2))), "{phi}, {depth}, {seed}");
        }
    }
}

/// A scale of the loss by a power of two, which changes no rounding, changes none of Wick's verdicts, and
/// some of the baselines'.
#[test]
fn verdicts_do_not_depend_on_the_units_of_the_loss() {
    let mut changed = 0;
    for seed in 0..40 {
        let case = Case::new(seed);
        let summary = |verdicts: &[Verdict]| -> Vec<(Fault, String)> {
            verdicts.iter().map(|verdict| (verdict.fault, verdict.layer.clone())).collect()
        };
        let [ours, others @ ..] = case.verdicts(1.0).unwrap();
        for scale in [2f64.powi(-20), 2f64.powi(20)] {
            let [again, others_again @ ..] = case.verdicts(scale).unwrap();
            assert_eq!(summary(&again), summary(&ours), "{case:?} × {scale}");
            changed += others.iter().zip(&others_again).filter(|(a, b)| summary(a) != summary(b)).count();
        }
    }
    assert!(changed > 10, "{changed}");
}
