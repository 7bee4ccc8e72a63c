//! A table as it was read: its numbers, and what the user should know of them.

use super::cells::Cells;
use super::columns::{LeftOut, name_of};
use super::matrix::Matrix;
use super::options::TableOptions;
use super::reason::Reason;

/// A table as it was read.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// The features.
    pub(super) matrix: Matrix,
    /// The names of all columns; empty if there is no header.
    pub(super) names: Vec<String>,
    /// The columns that are no features.
    pub(super) left_out: LeftOut,
    /// The labels, if they are wanted and there is a column of them.
    pub(super) labels: Option<Cells>,
    /// What the user should know of guesses.
    pub(super) notices: Vec<String>,
}

impl Source {
    /// The table of a file whose columns have no names.
    pub(super) fn without_names(matrix: Matrix, options: &TableOptions) -> Result<Self, Reason> {
        let left_out = LeftOut::of(options, &[], &[], matrix.columns)?;
        Ok(Self { matrix: matrix.without(&left_out.columns), left_out, ..Self::default() })
    }

    /// The names of the features, or their numbers.
    pub(super) fn features(&self) -> Vec<String> {
        let all = self.matrix.columns + self.left_out.columns.len();
        (0..all)
            .filter(|column| !self.left_out.columns.contains(column))
            .map(|column| name_of(column, &self.names))
            .collect()
    }

    /// What was guessed, each in a sentence.
    pub(super) fn notices(&self) -> Vec<String> {
        let mut notices = self.notices.clone();
        notices.extend(self.left_out.notice(&self.names));
        notices
    }
}
