//! What compare prints.

use serde::Serialize;
use wick_bins::output::{Report, Table, exact, percent, short};
use wick_theory::write_number;
use wick_train::compare::{Interval, Mean, Record, Threshold};

use crate::analysis::{Case, Comparison, Figure, comparisons, enough_runs};
use crate::experiment::Experiment;
use crate::net::Norm;
use crate::predict::Prediction;

#[derive(Debug, Serialize)]
pub(crate) struct Compare {
    pub(crate) experiment: Experiment,
    pub(crate) alpha: f64,
    pub(crate) cases: Vec<Case>,
    pub(crate) comparisons: Vec<Comparison>,
    pub(crate) runs: Vec<Record>,
}

impl Compare {
    pub(crate) fn new(
        experiment: Experiment,
        predictions: Vec<Prediction>,
        runs: Vec<Record>,
        alpha: f64,
    ) -> Self {
        let cases = experiment.design.cases().into_iter().zip(predictions);
        let cases =
            cases.map(|(case, prediction)| Case::new(&experiment, case, &runs, prediction, alpha)).collect();
        let comparisons = comparisons(&experiment, &runs, alpha);
        Self { experiment, alpha, cases, comparisons, runs }
    }

    pub(crate) fn net(&self, net: usize) -> &str {
        &self.experiment.design.nets[net]
    }

    pub(crate) fn start(&self, start: usize) -> &str {
        &self.experiment.design.starts[start]
    }

    /// The threshold in words: `90 %`, `R² 0.9`, `loss 0.01`.
    pub(crate) fn threshold(&self) -> String {
        match self.experiment.threshold {
            Threshold::Score(score) if self.experiment.is_classification() => percent(score, 0),
            Threshold::Score(score) => format!("R² {}", write_number(score)),
            Threshold::Loss(loss) => format!("loss {}", write_number(loss)),
        }
    }

    fn title(&self) -> String {
        let e = &self.experiment;
        let rates = match &e.design.rates[..] {
            [rate] => format!("learning rate {}", short(*rate)),
            [low, .., high] => format!(
                "{} learning rates from {} to {}, {} runs each{}",
                e.design.rates.len(),
                short(*low),
                short(*high),
                e.design.tuning_runs,
                if e.design.is_nested() { " for each compared run" } else { "" }
            ),
            [] => String::new(),
        };
        format!(
            "{} samples of {}, {}{}{}, {}, batch {}, {} steps; {rates}; then {} runs; {}, seed {}",
            e.training_samples,
            e.data,
            e.activation,
            if e.norm == Norm::Batch { " behind batch norm" } else { "" },
            match (e.bias, e.bias_std > 0.0) {
                (false, _) => " without biases".to_owned(),
                (true, false) => String::new(),
                (true, true) => format!(" with biases of std {}", write_number(e.bias_std)),
            },
            e.optimizer,
            e.batch,
            e.steps,
            e.design.runs,
            e.dtype,
            e.design.seed
        )
    }

    /// Each start of each net, one a row.
    fn table_of_cases(&self) -> Table {
        /// A heading, and the cell of a case.
        type Column<'a> = (String, Box<dyn Fn(&Case) -> String + 'a>);
        let is_fraction = self.experiment.is_classification();
        let (score, threshold) = (self.experiment.score(), self.threshold());
        let of = move |x: f64| fraction(x, is_fraction);
        let rate = |case: &Case| {
            let rate = match case.learning_rates {
                None => "–".to_owned(),
                Some([low, high]) if low == high => short(low),
                Some([low, high]) => format!("{} to {}", short(low), short(high)),
            };
            if case.at_edge { format!("{rate} *") } else { rate }
        };
        let reached = |case: &Case| match case.diverged {
            0 => format!("{} of {}", case.reached, case.runs),
            diverged => format!("{} of {}, {diverged} diverged", case.reached, case.runs),
        };
        let mut columns: Vec<Column> = vec![
            ("start".to_owned(), Box::new(|case| self.start(case.start).to_owned())),
            ("rate".to_owned(), Box::new(rate)),
            (format!("reach {threshold}"), Box::new(reached)),
            (format!("steps to {threshold}"), Box::new(steps)),
        ];
        if self.experiment.design.nets.len() > 1 {
            columns.insert(0, ("net".to_owned(), Box::new(|case| self.net(case.net).to_owned())));
        }
        match self.experiment.threshold {
            Threshold::Loss(_) => {
                columns.push(("training loss".to_owned(), Box::new(|case| mean(case.training_loss, short))));
                columns.push(("test loss".to_owned(), Box::new(|case| mean(case.test_loss, short))));
            }
            Threshold::Score(_) => {
                let training = move |case: &Case| case.training_score.map_or("–".to_owned(), |x| of(x.mean));
                columns.push((format!("training {score}"), Box::new(training)));
                columns.push((format!("test {score}"), Box::new(move |case| mean(case.test_score, of))));
                let gap = move |case: &Case| case.gap.map_or("–".to_owned(), |x| of(x.mean));
                columns.push(("gap".to_owned(), Box::new(gap)));
            }
        }
        columns.push(("predicted".to_owned(), Box::new(|case| case.prediction.words())));
        let whether =
            |case: &Case| case.came_true.map_or("–", |is_true| if is_true { "yes" } else { "no" }).to_owned();
        columns.push(("came true".to_owned(), Box::new(whether)));
        let header = columns.iter().map(|(heading, _)| heading.clone()).collect();
        let mut table = Table { title: self.title(), header, ..Table::default() };
        for case in &self.cases {
            table.row(columns.iter().map(|(_, cell)| cell(case)));
        }
        let mut notes = vec![format!(
            "steps: the median, in which a run that never arrives counts as never, and its interval at a nominal {}; figures \
             of the last weights at the rate that was chosen for the threshold: mean and interval, the same",
            level(self.alpha)
        )];
        if self.cases.iter().any(|case| case.at_edge) {
            notes.push(
                "* at the edge of the learning rates that were tried: a better one may lie beyond, take more --rates"
                    .to_owned(),
            );
        }
        let judged = self.cases.iter().filter_map(|case| case.came_true);
        let (all, right) = (judged.clone().count(), judged.filter(|is_true| *is_true).count());
        if all > 0 {
            notes.push(format!(
                "{right} of {all} predictions came true (trains: half of the runs or more reach {})",
                self.threshold()
            ));
        }
        table.note = notes.join("\n");
        table
    }

    /// What theory and a batch said before.
    fn table_of_predictions(&self) -> Table {
        let header = ["net", "start", "σ_w", "χ₁", "ξ_c", "ξ_∇", "first batch"];
        let mut table = Table::new("before the training", header);
        let known = |x: Option<f64>| x.map_or("–".to_owned(), short);
        for case in &self.cases {
            let Prediction { sigma_w, chi_1, xi_c, xi_grad, verdicts, .. } = &case.prediction;
            // A scale without a number is infinite where there is a law.
            let scale =
                |x: Option<f64>| if x.is_none() && chi_1.is_some() { "∞".to_owned() } else { known(x) };
            let worst = verdicts.iter().find(|said| said.is_harmful).or(verdicts.first());
            table.row([
                self.net(case.net).to_owned(),
                self.start(case.start).to_owned(),
                known(*sigma_w),
                known(*chi_1),
                scale(*xi_c),
                scale(*xi_grad),
                worst.map_or("healthy".to_owned(), |said| said.text.clone()),
            ]);
        }
        table
    }

    /// The differences between starts.
    fn table_of_differences(&self) -> Option<Table> {
        if self.comparisons.is_empty() {
            return None;
        }
        let header = ["net", "figure", "", "rates", "p", "corrected p"];
        let mut table = Table::new("which differences are real", header);
        for comparison in &self.comparisons {
            let Comparison { net, figure, starts, learning_rates, p, corrected_p, least_p, differs } =
                comparison;
            let [first, second] = starts.map(|start| self.start(start));
            let said = match (figure, differs) {
                (_, false) if *least_p > self.alpha => format!("{first} and {second}: too few runs"),
                (_, false) => format!("no difference between {first} and {second}"),
                (Figure::Steps, true) => format!("{first} is sooner than {second}"),
                (Figure::TestScore, true) => format!("{first} is better than {second}"),
            };
            let figure = match figure {
                Figure::Steps => format!("steps to {}", self.threshold()),
                Figure::TestScore => format!("test {}", self.experiment.score()),
            };
            let rates = learning_rates.map(|rate| rate.map_or("–".to_owned(), short)).join(", ");
            let [p, corrected] = [*p, *corrected_p].map(probability);
            table.row([self.net(*net).to_owned(), figure, said, rates, p, corrected]);
        }
        let count = self.comparisons.iter().filter(|comparison| comparison.figure == Figure::Steps).count();
        let mut notes = vec![format!(
            "permutation tests of the sum of ranks, in which a run that never arrives is the last, or, of test scores, one \
             that diverged, at the level {}, corrected for {count} {} each (Holm)",
            write_number(self.alpha),
            if count == 1 { "comparison" } else { "comparisons" }
        )];
        let design = &self.experiment.design;
        if design.is_nested() {
            notes.push(format!(
                "each run is at the rate that {} tuning runs of its own chose: two copies of one start are called different \
                 with a probability of {} at most; rates: the medians",
                design.tuning_runs * design.rates.len(),
                write_number(self.alpha)
            ));
        } else if design.is_tuned() {
            notes.push(format!(
                "given the rates that {} tuning runs each chose: starts at different rates may differ by these alone (--nested)",
                design.tuning_runs
            ));
        }
        if self.comparisons.iter().any(|comparison| comparison.least_p > self.alpha) {
            let runs = self.cases.iter().map(|case| case.runs).filter(|runs| *runs > 0).min().unwrap_or(0);
            notes.push(match enough_runs(count, self.alpha) {
                Some(enough) => format!(
                    "too few runs: with {runs} runs each no difference can be found at this level: take --seeds {enough}"
                ),
                None => "too few runs: no number of them can find a difference at this level: compare fewer starts or \
                         nets, or take a larger --alpha"
                    .to_owned(),
            });
        }
        table.note = notes.join("\n");
        Some(table)
    }
}

/// The median of the steps with its interval.
fn steps(case: &Case) -> String {
    if case.runs == 0 {
        return "–".to_owned();
    }
    let end = |end: Option<u64>| end.map_or("never".to_owned(), |steps| steps.to_string());
    let Interval { low, high } = case.steps_interval;
    match case.median_steps {
        None if low.is_none() => "never".to_owned(),
        median if low == high => end(median),
        median => format!("{} ({} to {})", end(median), end(low), end(high)),
    }
}

fn mean(mean: Option<Mean>, text: impl Fn(f64) -> String) -> String {
    match mean {
        None => "–".to_owned(),
        Some(Mean { mean, low, high }) if low == high => text(mean),
        Some(Mean { mean, low, high }) => format!("{} ({} to {})", text(mean), text(low), text(high)),
    }
}

/// The level of an interval, with the decimals that it needs: `95 %`, `99.9 %`.
fn level(alpha: f64) -> String {
    let is_whole = |x: f64| (x - x.round()).abs() < 1e-6;
    let decimals = (0..6).find(|decimals| is_whole(alpha * 100.0 * 10f64.powi(*decimals))).unwrap_or(6);
    percent(1.0 - alpha, decimals as usize)
}

fn fraction(x: f64, is_fraction: bool) -> String {
    if is_fraction { percent(x, 1) } else { short(x) }
}

fn probability(p: f64) -> String {
    if p < 1e-3 { format!("{p:.0e}") } else { format!("{p:.3}") }
}

impl Report for Compare {
    fn tables(&self) -> Vec<Table> {
        let mut tables = vec![self.table_of_cases(), self.table_of_predictions()];
        tables.extend(self.table_of_differences());
        tables
    }

    fn csv(&self) -> Table {
        let header = [
            "net",
            "start",
            "learning_rate",
            "runs",
            "reached",
            "diverged",
            "median_steps",
            "steps_low",
            "steps_high",
            "training_loss",
            "training_score",
            "test_loss",
            "test_score",
            "test_score_low",
            "test_score_high",
            "gap",
            "predicted_chi_1",
            "predicted_xi_c",
            "predicted_xi_grad",
            "predicted_trains",
            "trains",
            "came_true",
        ];
        let mut table = Table::new("", header);
        let number = |x: Option<f64>| x.map(exact).unwrap_or_default();
        let count = |x: Option<u64>| x.map(|x| x.to_string()).unwrap_or_default();
        let middle = |x: Option<Mean>| number(x.map(|x| x.mean));
        let whether = |x: Option<bool>| x.map(|x| x.to_string()).unwrap_or_default();
        for case in &self.cases {
            table.row([
                self.net(case.net).to_owned(),
                self.start(case.start).to_owned(),
                number(case.learning_rate),
                case.runs.to_string(),
                case.reached.to_string(),
                case.diverged.to_string(),
                count(case.median_steps),
                count(case.steps_interval.low),
                count(case.steps_interval.high),
                middle(case.training_loss),
                middle(case.training_score),
                middle(case.test_loss),
                middle(case.test_score),
                number(case.test_score.map(|x| x.low)),
                number(case.test_score.map(|x| x.high)),
                middle(case.gap),
                number(case.prediction.chi_1),
                number(case.prediction.xi_c),
                number(case.prediction.xi_grad),
                case.prediction.trains.to_string(),
                whether(case.trains),
                whether(case.came_true),
            ]);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_the_decimals_that_they_need() {
        let levels = [0.05, 0.01, 0.005, 0.025, 0.001, 0.2].map(level);
        assert_eq!(levels, ["95 %", "99 %", "99.5 %", "97.5 %", "99.9 %", "80 %"]);
    }

    /// Of 3 comparisons with 4 runs each, the least probability is 3 · 2/70 = .086, and with 5 it is 3 · 2/252 = .024.
    #[test]
    fn the_runs_that_can_find_a_difference() {
        assert_eq!(
            (enough_runs(3, 0.05), enough_runs(1, 0.05), enough_runs(1, 0.5)),
            (Some(5), Some(4), Some(2))
        );
        assert_eq!((enough_runs(1000, 0.05), enough_runs(1001, 0.05)), (Some(9), None));
    }
}
