//! Advice, carried out: what a verdict advises is done to the net or to its training, which starts again.

use std::collections::BTreeMap;

use candle_core::{DType, Result, Tensor};
use wick_init::{Initializer, KeyedV1};
use wick_probe::{Probe, Verdict};
use wick_tests::CPU;

use super::case::{Case, Fault, Setting, State};
use super::data::Data;
use super::nets::Net;
use super::run::{ALL, Found, SPIKE, Training, run, silent, start};
use super::tables::{Rate, harms, is_as_good};

/// What is done to a weight.
#[derive(Debug, Clone)]
enum Weight {
    /// Multiplied.
    Times(f64),
    /// Drawn again as the layer's weights are usual, with or without biases of 0.
    Drawn { zero_bias: bool },
    /// All weights of hidden layers are drawn with this variance times fan_in.
    Law(f64),
}

/// What advice changes.
#[derive(Debug, Clone)]
pub(crate) struct Changes {
    weight: Option<(String, Weight)>,
    /// A fault that is looked for and found: it is gone.
    fixed: Option<Fault>,
    input: f64,
    pub(crate) standardizes: bool,
    /// What the learning rate is multiplied by.
    pub(crate) rate: f64,
    /// What the weight decay is multiplied by.
    pub(crate) decay: f64,
}

impl Default for Changes {
    fn default() -> Self {
        Self { weight: None, fixed: None, input: 1.0, standardizes: false, rate: 1.0, decay: 1.0 }
    }
}

impl Changes {
    /// The net of a setting at its start, changed.
    pub(crate) fn net(&self, setting: &Setting, data: &Data) -> Result<Net> {
        let mut setting = setting.clone();
        if self.fixed == Some(setting.fault) {
            setting.fault = Fault::Nothing;
        }
        let few = data.xs.narrow(0, 0, 2)?;
        let started = |setting: Setting| -> Result<Net> {
            let mut net = Net::new(setting);
            net.input = self.input;
            // Nothing of the first pass, which makes the variables, stays but them.
            net.step.set(None);
            net.forward(&few, &Probe::new())?;
            net.step.set(Some(0));
            Ok(net)
        };
        let net = started(setting.clone())?;
        let Some((layer, change)) = &self.weight else { return Ok(net) };
        let vars = net.vars();
        let var = |name: &str| vars.iter().find(|(known, _)| known == name).map(|(_, var)| var);
        let weight = format!("{layer}.weight");
        match change {
            Weight::Times(by) => {
                if let Some(var) = var(&weight) {
                    var.set(&(var.as_tensor() * *by)?)?;
                }
            }
            Weight::Drawn { zero_bias } => {
                let other = Setting { fault: Fault::Nothing, seed: setting.seed + 7_000_000, ..setting };
                let drawn = started(other)?.vars();
                let drawn = drawn.iter().find(|(known, _)| *known == weight).map(|(_, var)| var);
                if let (Some(var), Some(drawn)) = (var(&weight), drawn) {
                    var.set(&drawn.as_tensor().copy()?)?;
                }
                if let Some(bias) = var(&format!("{layer}.bias")).filter(|_| *zero_bias) {
                    bias.set(&bias.zeros_like()?)?;
                }
            }
            Weight::Law(variance) => {
                let is_hidden = |name: &str| name.ends_with(".weight") && !name.starts_with("out");
                for (name, var) in vars.iter().filter(|(name, _)| is_hidden(name)) {
                    let fan_in = var.elem_count() / var.dim(0)?;
                    let std = (variance / fan_in as f64).sqrt();
                    let key = KeyedV1::new(setting.seed + 7_000_000).key(name);
                    let drawn: Tensor =
                        Initializer::normal(std).tensor(key, var.dims(), DType::F32, &CPU).unwrap();
                    var.set(&drawn)?;
                }
            }
        }
        Ok(net)
    }
}

/// How a learning rate and a weight decay are searched: the powers of ten, in the order in which they are tried.
#[derive(Debug, Clone, Copy)]
struct Search {
    rate: &'static [i32],
    decay: &'static [i32],
}

const SMALLER: &[i32] = &[-1, -2, -3, -4];
const LARGER: &[i32] = &[1, 2, 3, 4, 5, 6, 7];

/// The kinds of advice by which a fault is looked for, and nothing is changed.
const LOOKS: [&str; 5] = [
    "apply the activation",
    "look for detach",
    "look at what the layer computes (NaN)",
    "frozen, not in the optimizer, or cut",
    "look at the step of a jump of the loss",
];

/// What a verdict advises, by kind, as changes or as a search.
fn read(verdict: &Verdict, case: &Case) -> Option<(&'static str, Changes, Option<Search>)> {
    let (remedy, setting) = (verdict.remedy.as_str(), &case.setting);
    let layer = match verdict.layer.strip_suffix(".weight").unwrap_or(&verdict.layer) {
        step if step.starts_with("h.") => "recurrence",
        layer => layer,
    };
    let number = |words: &str| -> Option<f64> {
        let rest = remedy.split_once(words)?.1;
        rest.split([' ', ',', ';', '/']).next()?.parse().ok()
    };
    let none = Changes::default;
    let weight = |change: Weight| Changes { weight: Some((layer.to_owned(), change)), ..none() };
    // Who looks at the layer of the fault finds it.
    let is_there = verdict.layer == setting.layer || layer == setting.layer;
    let found = |fault: Fault| Changes { fixed: Some(fault).filter(|_| is_there), ..none() };
    let search = |rate: &'static [i32], decay: &'static [i32]| Some(Search { rate, decay });
    // The weights are those of the start.
    let was_so = case.state == State::Start;
    Some(if let Some(by) = number("multiply its weights by ").or(number("multiply them by ")) {
        let changes = if was_so { weight(Weight::Times(by)) } else { none() };
        ("multiply the weights of a layer by …", changes, None)
    } else if let Some(by) = number("multiply it by ") {
        ("multiply the input by …", Changes { input: by, ..none() }, None)
    } else if let Some(by) = number("weights ×") {
        ("weights ×… as large as the law says", weight(Weight::Times(1.0 / by)), None)
    } else if let Some(variance) = number("Var W = ") {
        ("weights of Var W = …/fan_in", weight(Weight::Law(variance)), None)
    } else if remedy.starts_with("apply the activation") {
        (LOOKS[0], found(Fault::NoActivation), None)
    } else if remedy.starts_with("draw its weights independently") {
        ("draw the weights independently at random", weight(Weight::Drawn { zero_bias: false }), None)
    } else if remedy.starts_with("draw its weights at random, with") {
        ("draw the weights at random, biases of 0", weight(Weight::Drawn { zero_bias: true }), None)
    } else if remedy.starts_with("look for detach") {
        (LOOKS[1], found(Fault::Detach), None)
    } else if remedy.starts_with("look at what this layer") || remedy.starts_with("find the first NaN") {
        (LOOKS[2], found(Fault::Nan), None)
    } else if remedy.starts_with("it is frozen") {
        (LOOKS[3], found(setting.fault).only(&[Fault::Frozen, Fault::Detach]), None)
    } else if remedy.starts_with("subtract each column") {
        ("shift and scale the columns of the input", Changes { standardizes: true, ..none() }, None)
    } else if let Some(step) = number("the batch of step ") {
        // Who looks at the steps of the spike finds it.
        let at = |fault: &Fault| *fault == Fault::Spike && SPIKE.contains(&(step as usize).saturating_sub(1));
        let fixed = Some(setting.fault).filter(at);
        (LOOKS[4], Changes { fixed, ..none() }, None)
    } else if remedy.contains("smaller learning rate or less weight decay") {
        ("a smaller learning rate or less weight decay", none(), search(SMALLER, SMALLER))
    } else if remedy.contains("other learning rates") {
        ("other learning rates", none(), search(&[-1, 1, -2, 2, -3, 3, 4, 5, 6, 7], &[]))
    } else if remedy.contains("less weight decay") {
        ("less weight decay", none(), search(&[], SMALLER))
    } else if remedy.contains("smaller learning rate") {
        ("a smaller learning rate", none(), search(SMALLER, &[]))
    } else if remedy.contains("larger learning rate") {
        ("a larger learning rate", none(), search(LARGER, &[]))
    } else {
        return None;
    })
}

impl Changes {
    /// Without a fault that is not among those.
    fn only(self, faults: &[Fault]) -> Self {
        Self { fixed: self.fixed.filter(|fault| faults.contains(fault)), ..self }
    }

    fn with_powers(&self, rate: i32, decay: i32) -> Self {
        Self { rate: 10f64.powi(rate), decay: 10f64.powi(decay), ..self.clone() }
    }
}

/// The mean of the last ten losses of 40 steps, of 100 with a spike: how far a loss falls.
fn fall(case: &Case, changes: &Changes) -> Result<f64> {
    let (net, data) = start(case, changes)?;
    let mut training = Training::new(&net, &data, changes)?;
    let silent = silent();
    // The steps in which the fault is are among them.
    let steps = if case.setting.fault == Fault::Spike { SPIKE.end + 37 } else { 40 };
    for _ in 0..steps {
        training.step(&silent)?;
    }
    let mean = training.losses[steps - 10..].iter().sum::<f64>() / 10.0;
    Ok(if mean.is_finite() { mean } else { f64::INFINITY })
}

/// The powers of ten with the lowest loss, in each direction until two in a row are no better.
fn searched(case: &Case, changes: &Changes, search: Search) -> Result<Changes> {
    let mut best = (fall(case, changes)?, changes.clone());
    let ups =
        |powers: &[i32], up: bool| powers.iter().copied().filter(|p| (*p > 0) == up).collect::<Vec<_>>();
    let mut ways: Vec<Vec<(i32, i32)>> = Vec::new();
    for up in [false, true] {
        ways.push(ups(search.rate, up).into_iter().map(|power| (power, 0)).collect());
        ways.push(ups(search.decay, up).into_iter().map(|power| (0, power)).collect());
    }
    for way in ways {
        let mut waited = 0;
        for (rate, decay) in way {
            let tried = changes.with_powers(rate, decay);
            let loss = fall(case, &tried)?;
            waited += 1;
            if loss < best.0 {
                (best, waited) = ((loss, tried), 0);
            }
            if waited == 3 {
                break;
            }
        }
    }
    Ok(best.1)
}

/// What became of a net whose advice was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    AsGood,
    Better,
    NoChange,
    Worse,
}

/// Carries out the advice of the first verdict with one, and trains again. `None` without advice. Prints where the net
/// is not as good as its twin, of nets that may be looked at.
pub(crate) fn carry_out(
    case: &Case,
    found: &Found,
    twin: &Found,
    prints: bool,
) -> Result<Option<(&'static str, After)>> {
    let Some(verdict) = found.said[ALL].iter().find(|verdict| !verdict.remedy.is_empty()) else {
        return Ok(None);
    };
    let Some((kind, changes, search)) = read(verdict, case) else {
        println!("advice that cannot be carried out: {verdict}");
        return Ok(None);
    };
    let changes = match search {
        Some(search) => searched(case, &changes, search)?,
        None => changes,
    };
    let again = run(case, true, &changes)?;
    let after = if is_as_good(case, &again, twin) {
        After::AsGood
    } else if again.score.is_nan() && found.score.is_nan() {
        After::NoChange
    } else if harms(case, &again, found) {
        After::Worse
    } else if harms(case, found, &again) {
        After::Better
    } else {
        After::NoChange
    };
    if prints && after != After::AsGood {
        println!(
            "{}: {after:?} by {verdict}; loss {:.3}, {:.3} before, {:.3} of the twin; score {:.2}, {:.2}, {:.2}",
            case.name(),
            again.loss,
            found.loss,
            twin.loss,
            again.score,
            found.score,
            twin.score
        );
    }
    Ok(Some((kind, after)))
}

/// What became of nets by kind of advice, with Wilson's interval of those that are as good as their twins.
#[derive(Debug, Default)]
pub(crate) struct Tried(BTreeMap<&'static str, [u32; 4]>);

impl Tried {
    pub(crate) fn add(&mut self, kind: &'static str, after: After) {
        self.0.entry(kind).or_default()[after as usize] += 1;
    }

    /// The counts of all kinds together, or of those that change something.
    fn sum(&self, without_looks: bool) -> [u32; 4] {
        let kinds = self.0.iter().filter(|(kind, _)| !(without_looks && LOOKS.contains(*kind)));
        kinds.fold([0; 4], |sum, (_, counts)| std::array::from_fn(|after| sum[after] + counts[after]))
    }

    pub(crate) fn print(&self) {
        println!(
            "| advice | tried | as good as the twin | better | no change | worse |\n|---|---|---|---|---|---|"
        );
        self.0.iter().for_each(|(kind, counts)| row(kind, *counts));
        row("all", self.sum(false));
        row("all that look for nothing", self.sum(true));
    }
}

/// A sum without the kinds that look for a fault counts the others: those of the table in `docs/verdicts.md`.
#[test]
fn advice_that_looks_for_nothing_is_summed() {
    let page = include_str!("../../../../docs/verdicts.md");
    let table = page.split_once("| advice | tried |").unwrap().1.split_once("\n\n").unwrap().0;
    let (mut tried, mut sums) = (Tried::default(), BTreeMap::new());
    for line in table.lines().skip(2) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let first = |cell: &str| cell.split(' ').next().unwrap().parse::<u32>().unwrap();
        let counts: [u32; 4] = std::array::from_fn(|after| first(cells[3 + after]));
        assert_eq!(first(cells[2]), counts.iter().sum::<u32>(), "{line}");
        if cells[1].starts_with("all") { &mut sums } else { &mut tried.0 }.insert(cells[1], counts);
    }
    assert!(LOOKS.iter().all(|kind| tried.0.contains_key(kind)));
    assert_eq!(sums["all"], tried.sum(false));
    assert_eq!(sums["all that look for nothing"], tried.sum(true));
}

fn row(kind: &str, [good, better, same, worse]: [u32; 4]) {
    let all = good + better + same + worse;
    println!("| {kind} | {all} | {} | {better} | {same} | {worse} |", Rate { found: good, all }.text());
}
