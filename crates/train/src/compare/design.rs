//! What is run: which starts of which nets, at which learning rates, with which seeds.

use rand::Rng;
use serde::{Deserialize, Serialize};
use wick_init::KeyedV1;

use super::race::{Course, CourseEnd};

/// An experiment on the starts of nets. Each start of each net, a *case*, is trained at each learning rate with some
/// seeds, which is the same budget for all; then at the rate that was best with seeds that were not used before.
///
/// ```
/// use wick_train::compare::{Design, Part};
///
/// let design = Design {
///     nets: vec!["64x3".into()],
///     starts: vec!["xavier_normal".into(), "zeros".into()],
///     rates: vec![0.001, 0.01],
///     tuning_runs: 2,
///     runs: 5,
///     seed: 42,
/// };
/// assert_eq!(design.cases(), [[0, 0], [0, 1]]);
/// assert_eq!((design.tuning(Part::WHOLE).len(), design.count(Part::WHOLE)), (8, 18));
/// assert_eq!(design.count(Part { index: 1, of: 2 }), 9);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Design {
    /// What the nets are called.
    pub nets: Vec<String>,
    /// What the starts are called. The seeds of a case go by these names.
    pub starts: Vec<String>,
    /// The learning rates, rising; a single one is not tuned.
    pub rates: Vec<f64>,
    /// The runs of each case at each rate by which the rate is chosen.
    pub tuning_runs: usize,
    /// The runs of each case at its rate.
    pub runs: usize,
    /// The seed of all.
    pub seed: u64,
}

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// To choose the learning rate.
    Tuning,
    /// To compare.
    Final,
}

/// One run, by the numbers of what it has in its [`Design`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Trial {
    /// The net.
    pub net: usize,
    /// The start.
    pub start: usize,
    /// What the run is for.
    pub stage: Stage,
    /// The learning rate.
    pub rate: usize,
    /// The number of the run among those of its case and rate.
    pub run: usize,
}

/// One of several parts of a design, which different processes run: every `of`-th unit from the one of this index on. A
/// unit is a case, or a run where no rate is tuned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The index, from 0.
    pub index: usize,
    /// The number of parts.
    pub of: usize,
}

impl Part {
    /// All of a design.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    fn has(self, unit: usize) -> bool {
        unit % self.of == self.index
    }
}

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The run.
    pub trial: Trial,
    /// What became of it.
    pub course: Course,
}

impl Design {
    /// All cases, each a net and a start by their numbers.
    pub fn cases(&self) -> Vec<[usize; 2]> {
        (0..self.nets.len()).flat_map(|net| (0..self.starts.len()).map(move |start| [net, start])).collect()
    }

    /// Whether the learning rate is tuned.
    pub fn is_tuned(&self) -> bool {
        self.rates.len() > 1
    }

    /// The number of units that parts divide among them.
    pub fn units(&self) -> usize {
        self.cases().len() * if self.is_tuned() { 1 } else { self.runs }
    }

    /// The runs of a part that choose learning rates.
    pub fn tuning(&self, part: Part) -> Vec<Trial> {
        if !self.is_tuned() {
            return Vec::new();
        }
        let cases = self.cases().into_iter().enumerate().filter(|(unit, _)| part.has(*unit));
        let of_case = |[net, start]: [usize; 2]| {
            (0..self.rates.len()).flat_map(move |rate| {
                (0..self.tuning_runs).map(move |run| Trial { net, start, stage: Stage::Tuning, rate, run })
            })
        };
        cases.flat_map(|(_, case)| of_case(case)).collect()
    }

    /// The runs of a part that are compared, where `rate` gives the rate of a case.
    pub fn finals(&self, part: Part, rate: impl Fn([usize; 2]) -> usize) -> Vec<Trial> {
        let mut trials = Vec::new();
        for (number, [net, start]) in self.cases().into_iter().enumerate() {
            for run in 0..self.runs {
                let unit = if self.is_tuned() { number } else { number * self.runs + run };
                if part.has(unit) {
                    trials.push(Trial { net, start, stage: Stage::Final, rate: rate([net, start]), run });
                }
            }
        }
        trials
    }

    /// The number of runs of a part.
    pub fn count(&self, part: Part) -> usize {
        self.tuning(part).len() + self.finals(part, |_| 0).len()
    }

    /// The seed of a run. The runs of different starts have different seeds, so that they are independent and can be
    /// permuted; the runs of one case at different rates that choose among them have the same ones.
    pub fn seed_of(&self, trial: &Trial) -> u64 {
        let stage = match trial.stage {
            Stage::Tuning => "tuning",
            Stage::Final => "final",
        };
        let (net, start) = (&self.nets[trial.net], &self.starts[trial.start]);
        KeyedV1::new(self.seed).key(&format!("compare/{stage}/{}/{net}/{start}", trial.run)).rng().next_u64()
    }

    /// The rate of a case by its runs: the one at which most runs reached the threshold and did not diverge later; of several
    /// the one with the fewest steps until then; of these the one with the lowest mean loss at the end, where a run that
    /// diverged counts as infinite; and of these the one nearest to the middle. `None` if a run is missing.
    pub fn best_rate(&self, case: [usize; 2], records: &[Record]) -> Option<usize> {
        if !self.is_tuned() {
            return Some(0);
        }
        let middle = (self.rates.len() - 1) / 2;
        let mut best: Option<(usize, [f64; 4])> = None;
        for rate in 0..self.rates.len() {
            let of_rate = records.iter().filter(|Record { trial, .. }| {
                trial.stage == Stage::Tuning && [trial.net, trial.start] == case && trial.rate == rate
            });
            let courses: Vec<&Course> = of_rate.map(|record| &record.course).collect();
            if courses.len() < self.tuning_runs {
                return None;
            }
            let stable = courses.iter().filter(|course| course.ended != CourseEnd::Diverged);
            let reached = stable.filter_map(|course| course.reached);
            let cost = [
                -(reached.clone().count() as f64),
                reached.sum::<u64>() as f64,
                courses.iter().map(|course| course.last_loss().unwrap_or(f64::INFINITY)).sum(),
                rate.abs_diff(middle) as f64,
            ];
            // Costs are not NaN: losses are finite or infinite.
            if best
                .as_ref()
                .is_none_or(|(_, least)| cost.partial_cmp(least).is_some_and(std::cmp::Ordering::is_lt))
            {
                best = Some((rate, cost));
            }
        }
        best.map(|(rate, _)| rate)
    }
}
