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
///     nested: false,
///     seed: 42,
/// };
/// assert_eq!(design.cases(), [[0, 0], [0, 1]]);
/// assert_eq!((design.tuning(Part::WHOLE).len(), design.count(Part::WHOLE)), (8, 18));
/// assert_eq!(design.count(Part { index: 1, of: 2 }), 9);
/// let nested = Design { nested: true, ..design };
/// assert_eq!((nested.tuning(Part::WHOLE).len(), nested.count(Part::WHOLE)), (40, 50));
/// ```
///
/// Where the rate is tuned once for each case, a difference between two starts is given these rates: two copies of one start
/// may land on different rates, and differ by them alone. In a *nested* design each compared run has a tuning of its own, with
/// seeds of its own, so that the tuning is a part of what is repeated. The runs of two copies of one start, each with its
/// tuning, are then independent draws from one law, and a permutation test of them is exact: it calls them different with a
/// probability of its level at most (for given data). It takes `runs` times as many tuning runs.
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
    /// Whether the rate is tuned anew for each compared run, by `tuning_runs` runs at each rate that no other has.
    pub nested: bool,
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
    /// The number of the run among those of its case and rate. In a nested design, the runs that tune the rate of compared
    /// run `r` are `r · tuning_runs` and the following.
    pub run: usize,
}

/// One of several parts of a design, which different processes run: every `of`-th unit from the one of this index on. A
/// unit is a case, or a compared run where no rate is tuned or each run has its own tuning.
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

    /// Whether each compared run has its own tuning.
    pub fn is_nested(&self) -> bool {
        self.nested && self.is_tuned()
    }

    /// Whether a case is tuned once, and cannot be parted.
    fn is_whole(&self) -> bool {
        self.is_tuned() && !self.nested
    }

    /// The number of units that parts divide among them.
    pub fn units(&self) -> usize {
        self.cases().len() * if self.is_whole() { 1 } else { self.runs }
    }

    /// The unit of a compared run of a case.
    fn unit(&self, case: usize, run: usize) -> usize {
        if self.is_whole() { case } else { case * self.runs + run }
    }

    /// The runs of a part that choose learning rates.
    pub fn tuning(&self, part: Part) -> Vec<Trial> {
        let mut trials = Vec::new();
        // A case that is tuned once is tuned for all of its runs.
        let tunings = match (self.is_tuned(), self.nested) {
            (false, _) => 0,
            (true, false) => self.runs.min(1),
            (true, true) => self.runs,
        };
        for (case, [net, start]) in self.cases().into_iter().enumerate() {
            for tuning in (0..tunings).filter(|tuning| part.has(self.unit(case, *tuning))) {
                let runs = tuning * self.tuning_runs..(tuning + 1) * self.tuning_runs;
                for rate in 0..self.rates.len() {
                    let of_run = |run| Trial { net, start, stage: Stage::Tuning, rate, run };
                    trials.extend(runs.clone().map(of_run));
                }
            }
        }
        trials
    }

    /// The runs of a part that are compared, where `rate` gives the rate of a case and of the number of its run.
    pub fn finals(&self, part: Part, rate: impl Fn([usize; 2], usize) -> usize) -> Vec<Trial> {
        let mut trials = Vec::new();
        for (case, [net, start]) in self.cases().into_iter().enumerate() {
            for run in (0..self.runs).filter(|run| part.has(self.unit(case, *run))) {
                trials.push(Trial { net, start, stage: Stage::Final, rate: rate([net, start], run), run });
            }
        }
        trials
    }

    /// The number of runs of a part.
    pub fn count(&self, part: Part) -> usize {
        self.tuning(part).len() + self.finals(part, |_, _| 0).len()
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

    /// The rate of a compared run of a case by the runs that tune it: the one at which most runs reached the threshold and did not diverge later; of several
    /// the one with the fewest steps until then; of these the one with the lowest mean loss at the end, where a run that
    /// diverged counts as infinite; and of these the one nearest to the middle. `None` if a run is missing.
    pub fn best_rate(&self, case: [usize; 2], run: usize, records: &[Record]) -> Option<usize> {
        if !self.is_tuned() {
            return Some(0);
        }
        let middle = (self.rates.len() - 1) / 2;
        let first = if self.nested { run * self.tuning_runs } else { 0 };
        let runs = first..first + self.tuning_runs;
        let mut best: Option<(usize, [f64; 4])> = None;
        for rate in 0..self.rates.len() {
            let of_rate = records.iter().filter(|Record { trial, .. }| {
                let is_of_case = trial.stage == Stage::Tuning && [trial.net, trial.start] == case;
                is_of_case && trial.rate == rate && runs.contains(&trial.run)
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
