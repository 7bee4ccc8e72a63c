//! Rates of verdicts and their tables.

use std::collections::BTreeMap;

use super::advice::Tried;
use super::case::{Case, Kind, State};
use super::run::{ALL, Found, WAYS};

/// A count of what was found among all, with Wilson's 95 % interval.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) found: u32,
    pub(crate) all: u32,
}

impl Rate {
    pub(crate) fn add(&mut self, found: bool) {
        self.found += u32::from(found);
        self.all += 1;
    }

    pub(crate) fn value(self) -> f64 {
        f64::from(self.found) / f64::from(self.all.max(1))
    }

    pub(crate) fn text(self) -> String {
        const Z: f64 = 1.96;
        let (n, p) = (f64::from(self.all.max(1)), self.value());
        let square = Z * Z / n;
        let middle = (p + square / 2.0) / (1.0 + square);
        let spread = Z * (p * (1.0 - p) / n + square / (4.0 * n)).sqrt() / (1.0 + square);
        let (low, high) = ((middle - spread).max(0.0), (middle + spread).min(1.0));
        format!("{} of {}: {p:.2} ({low:.2}–{high:.2})", self.found, self.all)
    }
}

/// A fault does harm if the net learns worse than its healthy twin: a mean loss 1.25 times as large for faults at
/// the start, or a score .02 worse, or no number.
pub(crate) fn harms(case: &Case, found: &Found, twin: &Found) -> bool {
    let slower = case.state == State::Start
        && found.loss.partial_cmp(&(1.25 * twin.loss)) != Some(std::cmp::Ordering::Less);
    slower || found.score.is_nan() || found.score < twin.score - 0.02
}

/// Whether a net is as good as its twin: no harm, but for the noise of scores. An accuracy `p` of 397 samples has a
/// standard error of `√(p (1 - p) / 397)`, and two of them differ by twice `√2` of these by chance; an `R²` is taken to
/// differ by .05 between draws of the weights.
pub(crate) fn is_as_good(case: &Case, found: &Found, twin: &Found) -> bool {
    let noise = match case.setting.kind {
        Kind::Autoencoder | Kind::SharedWeights | Kind::OneOutput => 0.05,
        _ => 2.0 * (2.0 * twin.score * (1.0 - twin.score) / 397.0).sqrt(),
    };
    let score = if found.score < twin.score { twin.score.min(found.score + noise) } else { found.score };
    !harms(case, &Found { score, ..found.clone() }, twin)
}

/// The rates of one way to judge.
#[derive(Debug, Default)]
pub(crate) struct Score {
    healthy: BTreeMap<Kind, Rate>,
    named: BTreeMap<Kind, Rate>,
    by_fault: BTreeMap<String, Rate>,
    pub(crate) alarms: Rate,
    by_state: BTreeMap<State, Rate>,
    later_alarms: Rate,
    any: Rate,
    harmful_any: Rate,
    pub(crate) harmful: Rate,
    later: Rate,
    untold: Rate,
    harmless: Rate,
    looks: Rate,
}

impl Score {
    fn add(&mut self, case: &Case, found: &Found, way: usize, harms: bool) {
        let kind = case.setting.kind;
        let verdicts = &found.said[way];
        let said = !verdicts.is_empty();
        if case.is_healthy() {
            self.healthy.entry(kind).or_default().add(said);
            self.by_state.entry(case.state).or_default().add(said);
            self.alarms.add(said);
            if case.is_later() {
                self.later_alarms.add(said);
            }
            found.looks.iter().for_each(|look| self.looks.add(!look[way].is_empty()));
            return;
        }
        let named = verdicts.iter().any(|verdict| case.names(verdict.fault, &verdict.layer));
        self.any.add(said);
        if !harms {
            self.harmless.add(named);
            return;
        }
        self.named.entry(kind).or_default().add(named);
        self.by_fault.entry(format!("{:?}", case.setting.fault)).or_default().add(named);
        self.harmful_any.add(said);
        self.harmful.add(named);
        if case.is_later() {
            self.later.add(named);
        }
        if !case.setting.told || case.state == State::Trained {
            self.untold.add(named);
        }
    }

    fn precision(&self) -> Rate {
        Rate { found: self.any.found, all: self.any.found + self.alarms.found }
    }

    fn rows(&self) -> Vec<(String, Rate)> {
        let of_state = |state| self.by_state.get(&state).copied().unwrap_or_default();
        [
            ("alarms on healthy nets", self.alarms),
            ("alarms, at the start", of_state(State::Start)),
            ("alarms, trained", of_state(State::Trained)),
            ("alarms, later kinds", self.later_alarms),
            ("alarms in mid-training", self.looks),
            ("precision", self.precision()),
            ("recall, anything said", self.any),
            ("recall, anything said, harmful faults", self.harmful_any),
            ("recall, named, harmful faults", self.harmful),
            ("recall, named, harmful faults, untold", self.untold),
            ("recall, named, harmful faults, later list", self.later),
            ("named, harmless faults", self.harmless),
        ]
        .map(|(what, rate)| (what.to_owned(), rate))
        .to_vec()
    }
}

/// What was found in cases, by each way to judge.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) scores: [Score; 6],
    pub(crate) thrown_out: u32,
    cases: usize,
    advice: Tried,
}

impl Report {
    pub(crate) fn add(&mut self, case: &Case, found: &Found, harms: bool) {
        self.cases += 1;
        for (way, score) in self.scores.iter_mut().enumerate() {
            score.add(case, found, way, harms);
        }
        if let Some((kind, after)) = found.advice {
            self.advice.add(kind, after);
        }
    }

    pub(crate) fn print(&self, title: &str) {
        println!("{title}: {} cases, {} healthy ones did not learn\n", self.cases, self.thrown_out);
        let line = |what: &str, cells: Vec<String>| println!("| {what} | {} |", cells.join(" | "));
        let head = |what: &str| {
            line(what, WAYS.map(str::to_owned).to_vec());
            println!("|---|{}", "---|".repeat(WAYS.len()));
        };
        head("");
        let rows: Vec<_> = self.scores.iter().map(Score::rows).collect();
        for (index, (what, _)) in rows[0].iter().enumerate() {
            line(what, rows.iter().map(|rows| rows[index].1.text()).collect());
        }
        println!();
        head("harmful fault: named");
        let short = |rate: Rate| format!("{} of {}", rate.found, rate.all);
        for fault in self.scores[ALL].by_fault.keys() {
            line(fault, self.scores.iter().map(|score| short(score.by_fault[fault])).collect());
        }
        println!(
            "\n| kind of net | healthy: alarms | harmful faults: named | named by `judge` alone |\n|---|---|---|---|"
        );
        let of = |rates: &BTreeMap<Kind, Rate>, kind: &Kind| rates.get(kind).copied().unwrap_or_default();
        for (kind, alarms) in &self.scores[ALL].healthy {
            let named = of(&self.scores[ALL].named, kind);
            let by_judge = of(&self.scores[0].named, kind).found.to_string();
            line(&format!("{kind:?}"), vec![short(*alarms), short(named), by_judge]);
        }
        println!();
        self.advice.print();
        println!();
    }
}
