//! What train prints.

use serde::Serialize;
use wick_bins::data::name_of;
use wick_bins::output::{Cell, Column, Report, Table, csv_of, percent, rows_to_show, short, table_of};
use wick_train::data::{Dataset, Task};
use wick_train::metrics::{Evaluation, Scores};
use wick_train::{Best, Ended, Outcome, Point};

use crate::context::Context;

#[derive(Debug, Serialize)]
pub(crate) struct Train {
    pub(crate) experiment: Experiment,
    pub(crate) runs: Vec<Run>,
}

/// The data, the net and the settings.
#[derive(Debug, Serialize)]
pub(crate) struct Experiment {
    pub(crate) data: String,
    pub(crate) task: Task,
    pub(crate) training_samples: usize,
    pub(crate) validation_samples: usize,
    pub(crate) test_samples: usize,
    pub(crate) features: usize,
    pub(crate) classes: Vec<String>,
    pub(crate) widths: Vec<usize>,
    pub(crate) activation: String,
    pub(crate) optimizer: String,
    pub(crate) schedule: String,
    pub(crate) batch: usize,
    pub(crate) epochs: u64,
    pub(crate) leaves: usize,
    pub(crate) threshold: f64,
    pub(crate) dtype: &'static str,
    pub(crate) device: String,
    pub(crate) seed: u64,
}

/// One start and what became of it.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) init: String,
    pub(crate) steps: u64,
    pub(crate) ended: RunEnded,
    /// What happened to a run that diverged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// The course: a point at each validation, or at the end of each epoch.
    pub(crate) history: Vec<Point>,
    pub(crate) best: Option<Best>,
    pub(crate) test: Option<Evaluation>,
    /// The first steps after which the validation's score was at the threshold or beyond it.
    pub(crate) steps_to_threshold: Option<u64>,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RunEnded {
    Finished,
    EarlyStopping,
    /// A number was not finite.
    Diverged,
    /// A signal stopped it.
    #[serde(untagged)]
    Stopped(i32),
}

impl From<Ended> for RunEnded {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::EarlyStopping => Self::EarlyStopping,
            Ended::Stopped(signal) => Self::Stopped(signal),
            _ => Self::Finished,
        }
    }
}

impl Experiment {
    pub(crate) fn new(context: &Context) -> Self {
        let Context { args, data, config, net, target } = context;
        let samples = |part: &Option<wick_train::data::Part>| part.as_ref().map_or(0, Dataset::len);
        Self {
            data: name_of(&args.data.data),
            task: data.preparation.task(),
            training_samples: data.training.len(),
            validation_samples: samples(&data.validation),
            test_samples: samples(&data.test),
            features: net.features,
            classes: data.preparation.class_names().to_vec(),
            widths: net.widths.clone(),
            activation: net.activation.to_string(),
            optimizer: config.optimizer.to_string(),
            schedule: config.schedule.to_string(),
            batch: config.batch,
            epochs: args.training.epochs,
            leaves: config.leaves,
            threshold: args.training.threshold,
            dtype: target.dtype.as_str(),
            device: target.name.clone(),
            seed: args.common.seed,
        }
    }

    fn is_classification(&self) -> bool {
        self.task == Task::Classify
    }

    /// What the score of a validation is called.
    pub(crate) fn score(&self) -> &'static str {
        if self.is_classification() { "accuracy" } else { "R²" }
    }
}

impl Run {
    pub(crate) fn new(init: &str, outcome: Outcome, test: Option<Evaluation>, context: &Context) -> Self {
        let steps_to_threshold = steps_to_threshold(&outcome.history, context);
        if outcome.steps_here > 0 {
            let Outcome { steps_here, seconds, .. } = outcome;
            eprintln!("{steps_here} steps in {seconds:.1} s");
        }
        Self {
            init: init.to_owned(),
            steps: outcome.steps,
            ended: outcome.ended.into(),
            error: None,
            history: outcome.history,
            best: outcome.best,
            test,
            steps_to_threshold,
        }
    }

    /// A run that ended by a number that is not finite.
    pub(crate) fn diverged(
        init: &str,
        history: Vec<Point>,
        error: &wick_train::Error,
        context: &Context,
    ) -> Self {
        Self {
            init: init.to_owned(),
            steps: history.last().map_or(0, |point| point.step),
            ended: RunEnded::Diverged,
            error: Some(error.to_string()),
            steps_to_threshold: steps_to_threshold(&history, context),
            history,
            best: None,
            test: None,
        }
    }

    /// Whether the course has validations.
    fn is_validated(&self) -> bool {
        self.history.iter().any(|point| point.validation_loss.is_some())
    }
}

fn steps_to_threshold(history: &[Point], context: &Context) -> Option<u64> {
    let threshold = context.args.training.threshold;
    let beyond = |point: &&Point| point.score.is_some_and(|score| score >= threshold);
    history.iter().find(beyond).map(|point| point.step)
}

/// A run and a point of its course.
struct Row<'a> {
    run: &'a Run,
    point: &'a Point,
}

impl Report for Train {
    fn tables(&self) -> Vec<Table> {
        let e = &self.experiment;
        let mut tables = Vec::new();
        if let [run] = &self.runs[..] {
            tables.push(self.course(run));
            tables.extend(run.test.as_ref().and_then(|test| confusion(test, &e.classes)));
        } else {
            tables.push(self.comparison());
        }
        tables
    }

    fn csv(&self) -> Table {
        let columns: [Column<Row>; 5] = [
            Column::for_programs("init", |row| Cell::from(row.run.init.as_str())),
            Column::new("step", "step", |row| Cell::from(row.point.step as usize)),
            Column::new("loss", "loss", |row| Cell::from(row.point.loss)),
            Column::new("validation loss", "validation_loss", |row| Cell::from(row.point.validation_loss)),
            Column::for_programs("validation_score", |row| Cell::from(row.point.score)),
        ];
        csv_of(&columns, self.runs.iter().flat_map(Run::rows))
    }
}

impl Run {
    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.history.iter().map(|point| Row { run: self, point })
    }
}

impl Train {
    fn title(&self) -> String {
        let e = &self.experiment;
        let widths: Vec<String> = e.widths.iter().map(usize::to_string).collect();
        format!(
            "{} samples of {} through {}-{} {}, {}, batch {}, {} epochs, {} on {}, seed {}",
            e.training_samples,
            e.data,
            e.features,
            widths.join("-"),
            e.activation,
            e.optimizer,
            e.batch,
            e.epochs,
            e.dtype,
            e.device,
            e.seed
        )
    }

    /// The course of one run.
    fn course(&self, run: &Run) -> Table {
        /// A heading, and the cell of a point.
        type Column = (&'static str, fn(&Point, bool) -> String);
        let e = &self.experiment;
        let mut columns: Vec<Column> =
            vec![("step", |point, _| point.step.to_string()), ("loss", |point, _| short(point.loss))];
        if run.is_validated() {
            columns.push(("validation loss", |point, _| point.validation_loss.map_or("–".into(), short)));
            columns.push((e.score(), |point, is_fraction| score(point.score, is_fraction)));
        }
        let header = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
        let mut table = Table { title: self.title(), header, ..Table::default() };
        for place in rows_to_show(run.history.len()) {
            let point = &run.history[place];
            table.row(columns.iter().map(|(_, cell)| cell(point, e.is_classification())));
        }
        table.note = self.notes(run).join("\n");
        table
    }

    fn notes(&self, run: &Run) -> Vec<String> {
        let e = &self.experiment;
        let mut notes = Vec::new();
        if run.ended == RunEnded::EarlyStopping {
            notes.push(format!("stopped after step {}: the validation became no better", run.steps));
        }
        if let Some(best) = &run.best {
            notes.push(format!(
                "best validation after step {}: loss {}, {}",
                best.step,
                short(best.validation.loss),
                scores(&best.validation)
            ));
        }
        if let Some(test) = &run.test {
            let which = if run.best.is_some() { "the best" } else { "the last" };
            notes.push(format!("test of {which} weights on {} samples: {}", test.samples, scores(test)));
        }
        if run.is_validated() {
            notes.push(match run.steps_to_threshold {
                Some(step) => format!(
                    "validation {} {} after {step} steps",
                    e.score(),
                    score(Some(e.threshold), e.is_classification())
                ),
                None => format!(
                    "validation {} {} was not reached",
                    e.score(),
                    score(Some(e.threshold), e.is_classification())
                ),
            });
        }
        notes
    }

    /// Several starts, one a row.
    fn comparison(&self) -> Table {
        let e = &self.experiment;
        let is_fraction = e.is_classification();
        let columns: [Column<&Run>; 4] = [
            Column::for_people("init", |run| Cell::from(run.init.as_str())),
            Column::for_people("steps", |run| Cell::from(run.steps as usize)),
            Column::for_people("first loss", |run| Cell::from(run.history.first().map(|point| point.loss))),
            Column::for_people("last loss", |run| Cell::from(run.history.last().map(|point| point.loss))),
        ];
        let mut table = table_of(self.title(), &columns, &self.runs);
        table.header.push(format!("best validation {}", e.score()));
        table.header.push(format!("steps to {}", score(Some(e.threshold), is_fraction)));
        table.header.push(format!("test {}", e.score()));
        for (row, run) in table.rows.iter_mut().zip(&self.runs) {
            let best = run.best.as_ref().and_then(|best| best.validation.score());
            row.push(score(best, is_fraction));
            let never = if run.is_validated() || run.error.is_some() { "never" } else { "–" };
            row.push(run.steps_to_threshold.map_or(never.to_owned(), |step| step.to_string()));
            row.push(score(run.test.as_ref().and_then(Evaluation::score), is_fraction));
        }
        let errors =
            self.runs.iter().filter_map(|run| Some(format!("{}: {}", run.init, run.error.as_ref()?)));
        table.note = errors.collect::<Vec<_>>().join("\n");
        table
    }
}

/// An accuracy as a percentage, or `R²` as a number.
fn score(score: Option<f64>, is_fraction: bool) -> String {
    match score {
        Some(score) if is_fraction => percent(score, 2),
        Some(score) => short(score),
        None => "–".to_owned(),
    }
}

/// The scores of a validation in words.
fn scores(evaluation: &Evaluation) -> String {
    match &evaluation.scores {
        Scores::Classification { accuracy, top5, .. } => {
            let top5 = top5.map(|top5| format!(", top-5 accuracy {}", percent(top5, 2)));
            format!("accuracy {}{}", percent(*accuracy, 2), top5.unwrap_or_default())
        }
        Scores::Regression { mse, mae, r2 } => {
            let r2 = r2.map(|r2| format!(", R² {}", short(r2))).unwrap_or_default();
            format!("mean squared error {}, mean absolute error {}{r2}", short(*mse), short(*mae))
        }
        _ => String::new(),
    }
}

/// The matrix of confusion, for classes that fit a page.
fn confusion(test: &Evaluation, classes: &[String]) -> Option<Table> {
    const MOST: usize = 20;
    let Scores::Classification { confusion: Some(confusion), .. } = &test.scores else { return None };
    if confusion.len() > MOST {
        return None;
    }
    let title = "test samples by their class (row) and the class that the net says (column)".to_owned();
    let header =
        std::iter::once("class").chain(classes.iter().map(String::as_str)).map(str::to_owned).collect();
    let mut table = Table { title, header, ..Table::default() };
    for (class, row) in classes.iter().zip(confusion) {
        table.row(std::iter::once(class.clone()).chain(row.iter().map(u64::to_string)));
    }
    Some(table)
}
