//! How a run ended.

use serde::{Deserialize, Serialize};

use crate::metrics::Evaluation;

/// Why a run stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ended {
    /// All its steps are done.
    Finished,
    /// The validation became no better for as long as [`EarlyStopping`](crate::EarlyStopping) waits.
    EarlyStopping,
    /// It reached what [`Trainer::with_goal`](crate::Trainer::with_goal) asks for.
    GoalReached,
    /// [`Trainer::with_stop`](crate::Trainer::with_stop) asked for it, with this number. The run can go on.
    Stopped(i32),
}

/// A point of the course of a run: at each validation, or at the end of each epoch where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The steps that are done.
    pub step: u64,
    /// The mean of the steps' losses since the point before, each before its step.
    pub loss: f64,
    /// The loss of the validation.
    pub validation_loss: Option<f64>,
    /// The accuracy or `R²` of the validation.
    pub score: Option<f64>,
}

/// The best validation of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The steps that were done.
    pub step: u64,
    /// The validation.
    pub validation: Evaluation,
}

/// What came out of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The steps that are done, over all processes that the run had.
    pub steps: u64,
    /// The steps of this process.
    pub steps_here: u64,
    /// The seconds that they took.
    pub seconds: f64,
    /// The loss of the last step, before it.
    pub loss: Option<f64>,
    /// The last validation.
    pub validation: Option<Evaluation>,
    /// The best validation.
    pub best: Option<Best>,
    /// The course of the run, over all processes that it had.
    pub history: Vec<Point>,
    /// Why the run stopped.
    pub ended: Ended,
    /// What the user should know: variables that were left out, a damaged checkpoint, a model whose steps differ.
    pub notices: Vec<String>,
}
