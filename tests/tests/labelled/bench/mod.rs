//! Nets of nine kinds, at the start and trained, half of them faulty: how often the verdicts are right.

mod case;
mod cost;
mod data;
mod nets;
mod run;

use std::collections::BTreeMap;

use wick_probe::Verdict;

use case::{Case, Fault, Kind, State};
use run::{Found, run};

/// A count of what was found among all, with Wilson's 95 % interval.
#[derive(Debug, Default, Clone, Copy)]
struct Rate {
    found: u32,
    all: u32,
}

impl Rate {
    fn add(&mut self, found: bool) {
        self.found += u32::from(found);
        self.all += 1;
    }

    fn value(self) -> f64 {
        f64::from(self.found) / f64::from(self.all.max(1))
    }

    fn text(self) -> String {
        const Z: f64 = 1.96;
        let (n, p) = (f64::from(self.all.max(1)), self.value());
        let square = Z * Z / n;
        let middle = (p + square / 2.0) / (1.0 + square);
        let spread = Z * (p * (1.0 - p) / n + square / (4.0 * n)).sqrt() / (1.0 + square);
        let (low, high) = ((middle - spread).max(0.0), (middle + spread).min(1.0));
        format!("{:3}/{:3} = {p:.2} ({low:.2} to {high:.2})", self.found, self.all)
    }
}

/// The rates of one way to judge.
#[derive(Debug, Default)]
struct Score {
    healthy: BTreeMap<Kind, Rate>,
    named: BTreeMap<Kind, Rate>,
    by_fault: BTreeMap<String, Rate>,
    alarms: Rate,
    by_state: BTreeMap<State, Rate>,
    any: Rate,
    all_named: Rate,
    harmful: Rate,
    untold: Rate,
    harmless: Rate,
}

impl Score {
    fn add(&mut self, case: &Case, verdicts: &[Verdict], harms: bool) {
        let kind = case.setting.kind;
        let said = !verdicts.is_empty();
        if case.is_healthy() {
            self.healthy.entry(kind).or_default().add(said);
            self.by_state.entry(case.state).or_default().add(said);
            self.alarms.add(said);
            return;
        }
        let named = verdicts.iter().any(|verdict| case.names(verdict.fault, &verdict.layer));
        self.any.add(said);
        self.all_named.add(named);
        if harms {
            self.named.entry(kind).or_default().add(named);
            self.by_fault.entry(format!("{:?}", case.setting.fault)).or_default().add(named);
            self.harmful.add(named);
            if !case.setting.told || case.state == State::Trained {
                self.untold.add(named);
            }
        } else {
            self.harmless.add(named);
        }
    }

    fn precision(&self) -> Rate {
        Rate { found: self.any.found, all: self.any.found + self.alarms.found }
    }

    fn print(&self, title: &str) {
        println!("{title}");
        for (what, rate) in [
            ("alarms on healthy nets", self.alarms),
            ("precision", self.precision()),
            ("recall, anything said", self.any),
            ("recall, named, all plants", self.all_named),
            ("recall, named, harmful plants", self.harmful),
            ("recall, named, harmful plants, untold", self.untold),
            ("named, harmless plants", self.harmless),
        ] {
            println!("  {what:40} {}", rate.text());
        }
        for (state, rate) in &self.by_state {
            println!("  {:40} {}", format!("alarms, {state:?}"), rate.text());
        }
        for (kind, rate) in &self.healthy {
            let named = self.named.get(kind).copied().unwrap_or_default();
            println!(
                "  {:14} alarms {}, named of harmful {}",
                format!("{kind:?}"),
                rate.text(),
                named.text()
            );
        }
        for (fault, rate) in &self.by_fault {
            println!("  {fault:14} named of harmful {}", rate.text());
        }
    }
}

/// A healthy net has learnt: this accuracy, or R².
fn bar(kind: Kind) -> f64 {
    match kind {
        Kind::Autoencoder => 0.4,
        Kind::OneOutput => 0.8,
        _ => 0.85,
    }
}

/// A fault does harm if the net learns worse than its healthy twin: a mean loss 1.25 times as large for faults at
/// the start, or a score .02 worse, or no number.
fn harms(case: &Case, found: &Found, twin: &Found) -> bool {
    let slower = case.state == State::Start
        && found.loss.partial_cmp(&(1.25 * twin.loss)) != Some(std::cmp::Ordering::Less);
    slower || found.score.is_nan() || found.score < twin.score - 0.02
}

/// What was found in each case, and whether its fault does harm, by one thread a core.
fn run_all(cases: &[Case]) -> Vec<(Found, bool)> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let one = |case: &Case| {
        let found = run(case, !case.is_healthy()).unwrap();
        let mut twin = case.clone();
        twin.setting.fault = Fault::Nothing;
        let does_harm = !case.is_healthy() && harms(case, &found, &run(&twin, true).unwrap());
        (found, does_harm)
    };
    let mut found: Vec<(usize, (Found, bool))> = std::thread::scope(|scope| {
        let every = |first: usize| cases.iter().enumerate().skip(first).step_by(threads);
        let workers: Vec<_> = (0..threads)
            .map(|first| {
                scope.spawn(move || every(first).map(|(index, case)| (index, one(case))).collect::<Vec<_>>())
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, found)| found).collect()
}

/// Runs the cases, and prints those that are wrong. The rates of `judge`, of `judge` and `judge_updates`, and of
/// looks in mid-training; and the healthy nets that did not learn, which are not counted.
fn score(cases: &[Case], prints: bool) -> (Score, Score, Rate, u32) {
    let (mut judged, mut all) = (Score::default(), Score::default());
    let (mut looks, mut thrown_out) = (Rate::default(), 0);
    for (case, (found, does_harm)) in cases.iter().zip(run_all(cases)) {
        let setting = &case.setting;
        if case.is_healthy() && case.state == State::Trained {
            if found.score.is_nan() || found.score < bar(setting.kind) {
                thrown_out += 1;
                continue;
            }
            looks.found += found.looks.1;
            looks.all += found.looks.0;
        }
        judged.add(case, &found.judged, does_harm);
        all.add(case, &found.all, does_harm);
        let named = found.all.iter().any(|verdict| case.names(verdict.fault, &verdict.layer));
        let is_right =
            if case.is_healthy() { found.all.is_empty() && found.looks.1 == 0 } else { named || !does_harm };
        if prints && !is_right {
            let texts: Vec<String> =
                found.all.iter().map(|verdict| format!("{:?} {verdict}", verdict.fault)).collect();
            println!("{} of {setting:?}, score {:.2}: {texts:#?}", case.name(), found.score);
        }
    }
    (judged, all, looks, thrown_out)
}

fn report(cases: &[Case], title: &str, prints: bool) -> Score {
    let (judged, all, looks, thrown_out) = score(cases, prints);
    println!("{title}: {} cases, {thrown_out} thrown out", cases.len());
    judged.print("`judge` alone");
    all.print("`judge` and `judge_updates`");
    println!("  {:40} {}", "alarms in mid-training", looks.text());
    all
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
    let all = |case: &Case| run(case, false).unwrap().all;
    let alarms = ten(true).into_iter().filter(|case| !all(case).is_empty()).count();
    let named = ten(false)
        .into_iter()
        .filter(|case| all(case).iter().any(|verdict| case.names(verdict.fault, &verdict.layer)))
        .count();
    assert!(alarms <= 1 && named >= 8, "{alarms} alarms, {named} named");
}

/// The nets that may be looked at: seeds 1 to 3, or those of `WICK_BENCH_SEEDS`.
#[test]
#[ignore = "some minutes"]
fn nets_to_look_at() {
    for seed in seeds() {
        let cases: Vec<Case> = Case::all(seed).into_iter().filter(|case| !case.is_set_aside()).collect();
        report(&cases, &format!("seed {seed}, nets to look at"), true);
    }
}

fn seeds() -> Vec<u64> {
    let seeds = std::env::var("WICK_BENCH_SEEDS").unwrap_or_else(|_| "1,2,3".into());
    seeds.split(',').map(|seed| seed.parse().unwrap()).collect()
}

/// The nets that were set aside.
#[test]
#[ignore = "some minutes"]
fn nets_set_aside() {
    let aside = |seed| Case::all(seed).into_iter().filter(Case::is_set_aside);
    let cases: Vec<Case> = seeds().into_iter().flat_map(aside).collect();
    report(&cases, "nets set aside", false);
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
