//! What the runs say: each start of each net, and the differences.

use serde::Serialize;
use wick_init::{Key, KeyedV1};
use wick_train::compare::{
    Course, CourseEnd, Figures, Interval, KaplanMeier, Mean, Record, Stage, Steps, holm, larger, least_p,
    sooner,
};

use crate::experiment::Experiment;
use crate::predict::Prediction;

/// The draws of a bootstrap.
const RESAMPLES: usize = 2000;

/// A start of a net, and what became of its runs.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Case {
    pub(crate) net: usize,
    pub(crate) start: usize,
    /// The learning rate of its runs, with nested tuning their median; `None` if it is not known yet.
    pub(crate) learning_rate: Option<f64>,
    /// The lowest and the highest learning rate of its runs.
    pub(crate) learning_rates: Option<[f64; 2]>,
    /// Whether the learning rate is the smallest or the largest that was tried: a better one may lie beyond.
    pub(crate) at_edge: bool,
    pub(crate) runs: usize,
    pub(crate) reached: usize,
    pub(crate) diverged: usize,
    /// The median of the steps to the threshold; `None` if fewer than half of the runs reached it.
    pub(crate) median_steps: Option<u64>,
    /// Its bootstrap interval; an end is `None` where it is beyond the budget.
    pub(crate) steps_interval: Interval,
    /// Figures of the last weights, over the runs that did not diverge.
    pub(crate) training_loss: Option<Mean>,
    pub(crate) training_score: Option<Mean>,
    pub(crate) test_loss: Option<Mean>,
    pub(crate) test_score: Option<Mean>,
    /// The training score less the test score.
    pub(crate) gap: Option<Mean>,
    pub(crate) prediction: Prediction,
    /// Whether half of the runs or more reached the threshold; `None` without runs.
    pub(crate) trains: Option<bool>,
    /// Whether that was predicted.
    pub(crate) came_true: Option<bool>,
}

/// A difference between two starts of a net.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Comparison {
    pub(crate) net: usize,
    pub(crate) figure: Figure,
    /// The starts, the better one first.
    pub(crate) starts: [usize; 2],
    /// The learning rates of their runs, which the tuning chose; with nested tuning, the medians.
    pub(crate) learning_rates: [Option<f64>; 2],
    pub(crate) p: f64,
    /// Corrected for the number of comparisons of this figure.
    pub(crate) corrected_p: f64,
    /// The least that `corrected_p` can be with these numbers of runs and of comparisons.
    pub(crate) least_p: f64,
    pub(crate) differs: bool,
}

/// The fewest runs of each start with which one of this number of comparisons can find a difference at a level; `None` if
/// no number of runs is enough.
pub(crate) fn enough_runs(comparisons: usize, alpha: f64) -> Option<usize> {
    // From 9 runs on, the least probability is that of the ways that are drawn.
    (2..=9).find(|runs| comparisons as f64 * least_p(*runs, *runs) <= alpha)
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Figure {
    /// The steps to the threshold.
    Steps,
    /// The test score of the last weights.
    TestScore,
}

/// The compared runs of a case.
pub(crate) fn courses<'a>(records: &'a [Record], net: usize, start: usize) -> Vec<&'a Course> {
    let is_of = |record: &&'a Record| {
        (record.trial.stage, record.trial.net, record.trial.start) == (Stage::Final, net, start)
    };
    records.iter().filter(is_of).map(|record| &record.course).collect()
}

/// The learning rates of the compared runs of a case, rising.
fn rates(records: &[Record], net: usize, start: usize) -> Vec<usize> {
    let is_of = |record: &&Record| {
        (record.trial.stage, record.trial.net, record.trial.start) == (Stage::Final, net, start)
    };
    let mut rates: Vec<usize> = records.iter().filter(is_of).map(|record| record.trial.rate).collect();
    rates.sort_unstable();
    rates
}

/// The median of the learning rates of the compared runs of a case, which without nested tuning are equal; `None` if there
/// are none.
fn rate(records: &[Record], net: usize, start: usize) -> Option<usize> {
    let rates = rates(records, net, start);
    rates.get(rates.len().saturating_sub(1) / 2).copied()
}

/// The steps to the threshold of these runs.
pub(crate) fn steps(experiment: &Experiment, courses: &[&Course]) -> Vec<Steps> {
    courses.iter().map(|course| course.steps(experiment.steps)).collect()
}

impl Case {
    pub(crate) fn new(
        experiment: &Experiment,
        [net, start]: [usize; 2],
        records: &[Record],
        prediction: Prediction,
        alpha: f64,
    ) -> Self {
        let design = &experiment.design;
        let courses = courses(records, net, start);
        let (rate, rates) = (rate(records, net, start), rates(records, net, start));
        let key = |what: &str| key(experiment, &format!("{net}/{start}/{what}"));
        let steps = steps(experiment, &courses);
        let reached = courses.iter().filter(|course| course.reached.is_some()).count();
        let diverged = courses.iter().filter(|course| course.ended == CourseEnd::Diverged).count();
        let mean = |what: &str, of: fn(&Course) -> Option<f64>| {
            let numbers: Vec<f64> = courses.iter().filter_map(|course| of(course)).collect();
            Mean::of(&numbers, alpha, RESAMPLES, key(what))
        };
        let trains = (!courses.is_empty()).then_some(2 * reached >= courses.len());
        Self {
            net,
            start,
            learning_rate: rate.map(|rate| design.rates[rate]),
            learning_rates: rates
                .first()
                .zip(rates.last())
                .map(|(low, high)| [design.rates[*low], design.rates[*high]]),
            at_edge: design.is_tuned()
                && rate.is_some_and(|rate| rate == 0 || rate + 1 == design.rates.len()),
            runs: courses.len(),
            reached,
            diverged,
            median_steps: KaplanMeier::new(&steps).median(),
            steps_interval: KaplanMeier::median_interval(&steps, alpha, RESAMPLES, key("steps")),
            training_loss: mean("training loss", |course| Some(course.training?.loss)),
            training_score: mean("training score", |course| course.training?.score),
            test_loss: mean("test loss", |course| Some(course.test?.loss)),
            test_score: mean("test score", |course| course.test?.score),
            gap: mean("gap", gap),
            came_true: trains.map(|trains| trains == prediction.trains),
            prediction,
            trains,
        }
    }
}

/// The training score less the test score.
fn gap(course: &Course) -> Option<f64> {
    let score = |figures: Option<Figures>| figures?.score;
    Some(score(course.training)? - score(course.test)?)
}

/// Compares the starts of each net with each other, by permutation tests that are corrected for the number of all
/// comparisons of a figure.
pub(crate) fn comparisons(experiment: &Experiment, records: &[Record], alpha: f64) -> Vec<Comparison> {
    let mut all = Vec::new();
    for figure in [Figure::Steps, Figure::TestScore] {
        if figure == Figure::TestScore && (experiment.stop_at_threshold || experiment.test_samples == 0) {
            continue;
        }
        let (mut found, mut least) = (Vec::new(), 1.0f64);
        for net in 0..experiment.design.nets.len() {
            for first in 0..experiment.design.starts.len() {
                for second in first + 1..experiment.design.starts.len() {
                    let both = [first, second].map(|start| courses(records, net, start));
                    if both.iter().any(Vec::is_empty) {
                        continue;
                    }
                    least = least.min(least_p(both[0].len(), both[1].len()));
                    let key = key(experiment, &format!("{net}/{first}/{second}"));
                    let (difference, p) = match figure {
                        Figure::Steps => {
                            let [a, b] = both.map(|courses| steps(experiment, &courses));
                            sooner(&a, &b, key)
                        }
                        Figure::TestScore => {
                            let [a, b] = both.map(|courses| scores(&courses));
                            larger(&a, &b, key)
                        }
                    };
                    let starts = if difference < 0.0 { [second, first] } else { [first, second] };
                    let learning_rates = starts
                        .map(|start| rate(records, net, start).map(|rate| experiment.design.rates[rate]));
                    found.push(Comparison {
                        net,
                        figure,
                        starts,
                        learning_rates,
                        p,
                        corrected_p: p,
                        least_p: p,
                        differs: false,
                    });
                }
            }
        }
        let corrected = holm(&found.iter().map(|comparison| comparison.p).collect::<Vec<_>>());
        // Holm's correction multiplies the smallest probability by the number of all, and none is below it.
        let least = (least * found.len() as f64).min(1.0);
        for (comparison, p) in found.iter_mut().zip(corrected) {
            comparison.corrected_p = p;
            comparison.least_p = least;
            comparison.differs = p <= alpha;
        }
        all.extend(found);
    }
    all
}

/// The test scores. A run that diverged has none, and counts as the worst.
fn scores(courses: &[&Course]) -> Vec<f64> {
    let score = |course: &&Course| course.test.and_then(|test| test.score).unwrap_or(f64::NEG_INFINITY);
    courses.iter().map(score).collect()
}

fn key(experiment: &Experiment, name: &str) -> Key {
    KeyedV1::new(experiment.design.seed).key(&format!("compare/analysis/{name}"))
}
