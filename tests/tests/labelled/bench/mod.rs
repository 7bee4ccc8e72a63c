//! Nets of sixteen kinds, at the start and trained, half of them faulty: how often the verdicts are right.

mod advice;
mod case;
mod collapse;
mod cost;
mod data;
mod nets;
mod run;
mod shift;
mod tables;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use advice::{After, Changes, carry_out};
use case::{Case, Fault, Kind, State};
use run::{ALL, Found, run};
use tables::{Report, harms};

/// A healthy net has learnt: this accuracy, or R².
fn bar(kind: Kind) -> f64 {
    match kind {
        Kind::Autoencoder | Kind::SharedWeights => 0.4,
        Kind::OneOutput => 0.8,
        _ => 0.85,
    }
}

/// The healthy twins that were run, by their settings.
#[derive(Default)]
struct Twins(Mutex<HashMap<String, Found>>);

impl Twins {
    fn of(&self, case: &Case) -> Found {
        let twin = case.twin();
        let name = format!("{twin:?}");
        if let Some(found) = self.0.lock().unwrap().get(&name) {
            return found.clone();
        }
        let found = run(&twin, true, &Changes::default()).unwrap();
        self.0.lock().unwrap().insert(name, found.clone());
        found
    }
}

/// What was found in a case, and whether its fault does harm. What is advised on a harmful fault is carried out. Twins and
/// advice take most of the time: with `WICK_BENCH_QUICK` they are left out, and every fault counts as harmful; so they are
/// of faults whose first advice has not the words of `WICK_BENCH_ADVICE`.
fn run_one(case: &Case, twins: &Twins) -> (Found, bool) {
    let mut is_quick = std::env::var_os("WICK_BENCH_QUICK").is_some();
    if let Ok(words) = std::env::var("WICK_BENCH_ADVICE")
        && !case.is_healthy()
    {
        let found = run(case, false, &Changes::default()).unwrap();
        let first = found.said[ALL].iter().find(|verdict| !verdict.remedy.is_empty());
        is_quick = !first.is_some_and(|verdict| verdict.remedy.contains(&words));
    }
    let mut found = run(case, !case.is_healthy() && !is_quick, &Changes::default()).unwrap();
    if case.is_healthy() || is_quick {
        return (found, is_quick && !case.is_healthy());
    }
    let twin = twins.of(case);
    let does_harm = harms(case, &found, &twin);
    if does_harm {
        found.advice = carry_out(case, &found, &twin, !case.is_set_aside()).unwrap();
    }
    (found, does_harm)
}

/// Runs the cases, by one thread a core.
fn run_all(cases: &[Case]) -> Vec<(Found, bool)> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (twins, next) = (Twins::default(), AtomicUsize::new(0));
    let mut found: Vec<(usize, (Found, bool))> = std::thread::scope(|scope| {
        let work = || {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(case) = cases.get(index) else { return done };
                done.push((index, run_one(case, &twins)));
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, found)| found).collect()
}

/// Runs the cases and counts what was found, and prints those that are wrong where they may be looked at. Healthy nets that did not learn are
/// not counted.
fn add(report: &mut Report, cases: &[Case], prints: bool) {
    for (case, (found, does_harm)) in cases.iter().zip(run_all(cases)) {
        let setting = &case.setting;
        if case.is_healthy()
            && case.state == State::Trained
            && (found.score.is_nan() || found.score < bar(setting.kind))
        {
            report.thrown_out += 1;
            continue;
        }
        report.add(case, &found, does_harm);
        let verdicts = &found.said[ALL];
        let named = verdicts.iter().any(|verdict| case.names(verdict.fault, &verdict.layer));
        let looks = found.looks.iter().flat_map(|look| &look[ALL]);
        let is_right = match case.is_healthy() {
            true => verdicts.is_empty() && looks.clone().next().is_none(),
            false => named || !does_harm,
        };
        if prints && !is_right {
            let texts: Vec<String> = verdicts
                .iter()
                .chain(looks)
                .map(|verdict| format!("{:?} {verdict}", verdict.fault))
                .collect();
            println!("{} of {setting:?}, score {:.2}: {texts:#?}", case.name(), found.score);
        }
    }
}

/// Ten healthy nets and ten faulty ones of the part that may be looked at: at most one alarm, and at least eight
/// faults named.
#[test]
fn twenty_nets() {
    let cases: Vec<Case> = Case::all(1).into_iter().filter(|case| !case.is_set_aside()).collect();
    let ten = |is_healthy: bool| {
        let those: Vec<&Case> = cases.iter().filter(|case| case.is_healthy() == is_healthy).collect();
        let step = those.len() / 10;
        those.into_iter().step_by(step).take(10).collect::<Vec<_>>()
    };
    let all = |case: &Case| run(case, false, &Changes::default()).unwrap().said[ALL].clone();
    let alarms = ten(true).into_iter().filter(|case| !all(case).is_empty()).count();
    let named = ten(false)
        .into_iter()
        .filter(|case| all(case).iter().any(|verdict| case.names(verdict.fault, &verdict.layer)))
        .count();
    assert!(alarms <= 1 && named >= 8, "{alarms} alarms, {named} named");
}

/// The nets that may be looked at: seeds 1 to 3, or those of `WICK_BENCH_SEEDS`, all or those with `WICK_BENCH_ONLY` in
/// their name.
#[test]
#[ignore = "some minutes"]
fn nets_to_look_at() {
    for seed in seeds() {
        let only = std::env::var("WICK_BENCH_ONLY").unwrap_or_default();
        let is_wanted = |case: &Case| !case.is_set_aside() && case.name().contains(&only);
        let cases: Vec<Case> = Case::all(seed).into_iter().filter(is_wanted).collect();
        let mut report = Report::default();
        add(&mut report, &cases, true);
        report.print(&format!("seed {seed}, nets to look at"));
    }
}

fn seeds() -> Vec<u64> {
    let seeds = std::env::var("WICK_BENCH_SEEDS").unwrap_or_else(|_| "1,2,3".into());
    seeds.split(',').map(|seed| seed.parse().unwrap()).collect()
}

/// The nets that were set aside: the tables behind each seed, of all seeds so far.
#[test]
#[ignore = "some minutes"]
fn nets_set_aside() {
    let mut report = Report::default();
    for seed in seeds() {
        let cases: Vec<Case> = Case::all(seed).into_iter().filter(Case::is_set_aside).collect();
        add(&mut report, &cases, false);
        report.print(&format!("nets set aside, seeds until {seed}"));
    }
}

/// At least 150 healthy and 150 faulty cases a seed, and both parts have about half of them.
#[test]
fn the_bench_is_large_and_split() {
    for seed in 1..=3 {
        let cases = Case::all(seed);
        let healthy = cases.iter().filter(|case| case.is_healthy()).count();
        let aside = cases.iter().filter(|case| case.is_set_aside()).count();
        assert!(healthy >= 150 && cases.len() - healthy >= 150, "{healthy} of {}", cases.len());
        // Half of n, within three standard deviations of √n/2.
        let n = cases.len() as f64;
        assert!((aside as f64 - n / 2.0).abs() < 1.5 * n.sqrt(), "{aside} of {n}");
    }
}

/// Advice on three faults of a perceptron, carried out, makes better nets; carried out the wrong way round, it does not.
#[test]
fn advice_helps() {
    let twins = Twins::default();
    for fault in [Fault::Scale(20.0), Fault::Dead, Fault::RateHigh] {
        let is_one = |case: &&Case| {
            case.setting.kind == Kind::Mlp && case.setting.fault == fault && case.setting.seed == 1010
        };
        let case = Case::all(1).into_iter().find(|case| is_one(&case)).unwrap();
        let found = run(&case, true, &Changes::default()).unwrap();
        let twin = twins.of(&case);
        assert!(harms(&case, &found, &twin), "{fault:?}");
        let after = carry_out(&case, &found, &twin, true).unwrap().map(|(_, after)| after);
        let helps = |after: Option<After>| matches!(after, Some(After::AsGood | After::Better));
        assert!(helps(after), "{fault:?}: {after:?}");
        let mut wrong = found;
        for verdict in &mut wrong.said[ALL] {
            verdict.remedy = match fault {
                Fault::Scale(_) | Fault::Dead => "multiply its weights by 20, or".to_owned(),
                _ => "take a larger learning rate".to_owned(),
            };
        }
        let after = carry_out(&case, &wrong, &twin, false).unwrap().map(|(_, after)| after);
        assert!(!helps(after), "{fault:?}: {after:?}");
    }
}
