use proptest::prelude::*;

use super::*;
use crate::error::Error;

fn warmup() -> impl Strategy<Value = Warmup> {
    prop_oneof![
        Just(Warmup::NONE),
        (1u64..5000).prop_map(Warmup::new),
        (0u64..50, -0.1..1.1).prop_map(|(steps, start)| Warmup { steps, start }),
    ]
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let fraction = || prop_oneof![Just(0.0), Just(1.0), -0.1..1.1, Just(1.0 / 3.0), Just(f64::NAN)];
    let steps = || prop_oneof![1 => 0u64..4, 8 => 1u64..10_000, 1 => any::<u64>()];
    let curve = || prop::sample::select(Curve::WORDS.map(|(_, curve)| curve).to_vec());
    prop_oneof![
        warmup().prop_map(|warmup| Schedule::Constant { warmup }),
        (steps(), warmup(), fraction()).prop_map(|(steps, warmup, floor)| Schedule::Linear {
            steps,
            warmup,
            floor
        }),
        (steps(), warmup(), fraction()).prop_map(|(steps, warmup, floor)| Schedule::Cosine {
            steps,
            warmup,
            floor
        }),
        (steps(), warmup(), 0u64..500, curve(), fraction()).prop_map(
            |(steps, warmup, decay, curve, floor)| {
                Schedule::WarmupStableDecay { steps, warmup, decay, curve, floor }
            }
        ),
        (steps(), fraction(), 0.5..50.0, 0.5..1e6, curve()).prop_map(
            |(steps, rise, div, final_div, curve)| {
                Schedule::OneCycle { steps, rise, div, final_div, curve }
            }
        ),
        (steps(), fraction()).prop_map(|(every, factor)| Schedule::Step { every, factor }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// What is accepted reads back as it was and has factors from 0 to 1 at every step; what is refused is
    /// refused as text too.
    #[test]
    fn every_schedule_reads_back_and_stays_in_its_range(
        schedule in schedule(),
        steps in prop::collection::vec(prop_oneof![0u64..12_000, any::<u64>()], 20),
    ) {
        let text = schedule.to_string();
        let read = text.parse::<Schedule>();
        if schedule.check().is_ok() {
            prop_assert_eq!(read.map_err(|error| TestCaseError::fail(error.to_string()))?, schedule.clone());
            let near = schedule.steps().map_or(0, |steps| steps - 1);
            for step in steps.into_iter().chain([0, near, near.saturating_add(1), u64::MAX]) {
                let factor = schedule.at(step);
                prop_assert!((0.0..=1.0).contains(&factor), "{} at {}: {}", text, step, factor);
            }
        } else {
            prop_assert!(read.is_err(), "{}", text);
        }
    }
}

#[test]
fn the_ends_are_where_they_should_be() {
    let at = |spec: &str, step: u64| spec.parse::<Schedule>().unwrap().at(step);
    for (spec, step, factor) in [
        ("constant", u64::MAX, 1.0),
        ("linear:steps=10", 0, 1.0),
        ("linear:steps=10", 5, 0.5),
        ("linear:steps=10", 10, 0.0),
        ("linear:steps=10,floor=0.25", 11, 0.25),
        ("linear:steps=10,warmup=4", 3, 0.8),
        ("linear:steps=10,warmup=4,start=0", 0, 0.0),
        ("linear:steps=10,warmup=4", 4, 1.0),
        ("cosine:steps=10,warmup=4", 10, 0.0),
        ("wsd:steps=10,decay=4", 6, 1.0),
        ("wsd:steps=10,decay=4", 8, 0.5),
        ("wsd:steps=10,decay=4,curve=sqrt", 7, 0.5),
        ("wsd:steps=10,decay=4", 10, 0.0),
        ("one_cycle:steps=100", 0, 0.04),
        ("one_cycle:steps=100", 29, 1.0),
        ("one_cycle:steps=100,curve=linear", 99, 0.04 / 1e4),
        ("one_cycle:steps=100,curve=linear", 1000, 0.04 / 1e4),
        ("step:every=3,factor=0.5", 2, 1.0),
        ("step:every=3,factor=0.5", 9, 0.125),
        ("step:every=1,factor=0.5", u64::MAX, 0.0),
    ] {
        assert!((at(spec, step) - factor).abs() < 1e-15, "{spec} at {step}: {}", at(spec, step));
    }
}

/// The bits are fixed, whatever mathematics library the system has.
#[test]
fn bits_are_fixed() {
    let at = |spec: &str, step: u64| spec.parse::<Schedule>().unwrap().at(step).to_bits();
    assert_eq!(at("cosine:steps=1000,warmup=100,floor=0.1", 321), BITS[0]);
    assert_eq!(at("one_cycle:steps=1000", 321), BITS[1]);
    assert_eq!(at("wsd:steps=1000,decay=900,curve=sqrt", 321), BITS[2]);
    assert_eq!(at("step:every=7,factor=0.9", 321), BITS[3]);
}

const BITS: [u64; 4] =
    [0x3feb_ec6b_54e3_67f5, 0x3fef_ec0d_0482_968b, 0x3fe0_2492_7920_30f8, 0x3f81_dff7_70af_5797];

#[test]
fn names_are_read_in_other_spellings() {
    for (one, other) in [
        ("Cosine:Steps=5", "cosine:steps=5"),
        ("OneCycle:steps=50", "one_cycle:steps=50"),
        ("one-cycle:steps=50,rise=3/10", "one_cycle:steps=50"),
        ("WarmupStableDecay:steps=9,decay=2", "wsd:steps=9,decay=2"),
        ("constant:warmup=3,start=1/4", "constant:warmup=3"),
    ] {
        assert_eq!(one.parse::<Schedule>().unwrap(), other.parse().unwrap(), "{one}");
    }
}

#[test]
fn an_error_says_why_a_spec_cannot_be_read() {
    for (spec, part) in [
        ("cosin", "unknown schedule 'cosin' (did you mean cosine?); known: constant, linear, cosine, wsd"),
        ("exponential", "unknown schedule 'exponential'; known: constant"),
        ("", "unknown schedule ''; known"),
        ("cosine", "cannot read schedule 'cosine': it takes steps="),
        ("cosine:steps=0", "steps=0 is not a whole number above 0"),
        ("cosine:steps=1e3", "steps=1e3 is not a whole number above 0"),
        ("cosine:steps=10,flor=0.1", "cosine takes no flor= (did you mean floor?): it takes steps=, warmup="),
        ("cosine:steps=10,floor=2", "floor = 2 is out of range: it must be 0 to 1"),
        ("cosine:steps=10,floor=nan", "floor=nan is not a finite number"),
        ("cosine:steps=10,warmup=10", "a warm-up of 10 steps leaves none of 10"),
        ("linear:steps=10,start=0.5", "start= is that of a warm-up: it needs warmup="),
        ("linear:steps=10,warmup=2,start=-1", "start = -1 is out of range"),
        ("wsd:steps=10", "it takes decay="),
        ("wsd:steps=10,warmup=6,decay=5", "a warm-up of 6 steps and a decay of 5 are longer than all 10"),
        ("wsd:steps=10,decay=5,curve=cubic", "curve= is linear, cosine or sqrt"),
        ("one_cycle:steps=3", "rise = 0.3 of 3 steps is no more than one step"),
        ("one_cycle:steps=30,rise=1", "rise = 1 is out of range: it must be between 0 and 1"),
        ("one_cycle:steps=30,div=0", "div = 0 is out of range: it must be at least 1"),
        ("step:every=10", "it takes factor="),
        ("step:factor=0.1", "it takes every="),
        ("step:every=10,factor=2", "factor = 2 is out of range: it must be above 0 and at most 1"),
        ("step:every=10,factor", "'factor' is not of the form key=value"),
        ("step:every=10,every=2,factor=1", "every= is given twice"),
    ] {
        let error = spec.parse::<Schedule>().unwrap_err().to_string();
        assert!(error.contains(part), "{spec}: {error}");
        assert!(!error.contains('\n'), "{spec}: {error}");
    }
    let error = Schedule::Step { every: 0, factor: 0.5 }.check();
    assert!(matches!(error, Err(Error::Schedule(_))));
    assert_eq!(Schedule::Step { every: 0, factor: 0.5 }.at(2), 0.25);
}

#[test]
fn a_closure_is_a_schedule() {
    let schedule = Schedule::from_fn("noam", |step| (step as f64 + 1.0).powf(-0.5));
    assert_eq!((schedule.at(3), schedule.steps()), (0.5, None));
    assert_eq!(schedule, schedule.clone());
    assert_ne!(schedule, Schedule::from_fn("noam", |step| (step as f64 + 1.0).powf(-0.5)));
    assert!(schedule.check().is_ok() && format!("{schedule:?}").contains("noam"));
}
