//! A table as it was read: its features, and what the user should know of them.

use anyhow::Result;

use super::columns::{LeftOut, name_of};
use super::matrix::Matrix;
use super::options::DataOptions;
use crate::warning::warn;

/// A table as it was read.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// The features.
    pub(super) matrix: Matrix,
    /// The names of all columns; empty if there is no header.
    pub(super) names: Vec<String>,
    /// The columns that are no features.
    pub(super) left_out: LeftOut,
    /// What the user should know of guesses.
    pub(super) notices: Vec<String>,
}

impl Source {
    /// The table of a file whose columns have no names.
    pub(super) fn without_names(matrix: Matrix, options: &DataOptions) -> Result<Self> {
        let left_out = LeftOut::of(options, &[], &[], matrix.columns)?;
        Ok(Self { matrix: matrix.without(&left_out.columns), left_out, ..Self::default() })
    }

    /// Says on stderr what was guessed.
    pub(super) fn tell(&self, name: &str) {
        for notice in &self.notices {
            warn(&format!("'{name}': {notice}"));
        }
        if let Some(label) = self.left_out.guessed {
            let (column, number) = (name_of(label, &self.names), label + 1);
            warn(&format!(
                "'{name}': column {number}, '{column}', is taken for labels and left out; --label none keeps it"
            ));
        }
    }

    /// The names of the features, or their numbers.
    pub(super) fn features(&self) -> Vec<String> {
        let all = self.matrix.columns + self.left_out.columns.len();
        (0..all)
            .filter(|column| !self.left_out.columns.contains(column))
            .map(|column| name_of(column, &self.names))
            .collect()
    }
}
