//! The options that say how data are read.

use clap::{Args, ValueEnum};
use wick_train::data::{Delimiter, TableOptions};

use crate::memory;

/// How the text of a CSV is read, and which of the columns are features.
#[derive(Debug, Clone, Args)]
pub struct DataOptions {
    /// Whether the first line of a CSV names the columns; auto: if it holds a name, or no number
    #[arg(long, value_name = "WHETHER", default_value = "auto", requires = "data", ignore_case = true)]
    pub header: Header,
    /// What separates the columns of a CSV: a character, or tab [default: a comma, in .tsv files a tab, and a
    /// semicolon with --decimal-comma]
    #[arg(long, value_name = "CHAR", requires = "data")]
    pub delimiter: Option<Delimiter>,
    /// The numbers of a CSV have a decimal comma: 1,5 is 1.5
    #[arg(long, requires = "data")]
    pub decimal_comma: bool,
    /// The column with the labels, which is no feature: its name, or its number (1 is the first, -1 the
    /// last; column:4 or name:4 where both are possible); none if there is none [default: the first or last
    /// column if its name is label, target, class, …]
    #[arg(long, value_name = "COLUMN", requires = "data", allow_hyphen_values = true)]
    pub label: Option<String>,
    /// Columns that are no features, by their names or numbers
    #[arg(
        long,
        value_name = "COLUMN,…",
        value_delimiter = ',',
        requires = "data",
        allow_hyphen_values = true
    )]
    pub drop: Vec<String>,
}

impl Default for DataOptions {
    fn default() -> Self {
        Self { header: Header::Auto, delimiter: None, decimal_comma: false, label: None, drop: Vec::new() }
    }
}

impl DataOptions {
    /// The first of the options that the user gave.
    pub fn first_given(&self) -> Option<&'static str> {
        let given = [
            (self.label.is_some(), "--label"),
            (!self.drop.is_empty(), "--drop"),
            (self.header != Header::Auto, "--header"),
            (self.delimiter.is_some(), "--delimiter"),
            (self.decimal_comma, "--decimal-comma"),
        ];
        given.into_iter().find_map(|(is_given, option)| is_given.then_some(option))
    }

    /// The options as the readers take them.
    pub(super) fn table(&self, rows: Option<usize>) -> TableOptions {
        TableOptions {
            header: self.header.into(),
            delimiter: self.delimiter,
            decimal_comma: self.decimal_comma,
            label: self.label.clone(),
            drop: self.drop.clone(),
            rows,
            memory: memory::free(),
            ..TableOptions::default()
        }
    }
}

/// The options for the digits that ship with Wick, whose text is known.
pub(super) fn for_digits(options: TableOptions) -> TableOptions {
    TableOptions {
        header: wick_train::data::Header::Yes,
        delimiter: None,
        decimal_comma: false,
        label: options.label.or(Some("digit".into())),
        ..options
    }
}

/// Whether the first line of a CSV names the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Header {
    /// If it holds a name, or no number
    Auto,
    /// It does
    Yes,
    /// It is a sample
    No,
}

impl From<Header> for wick_train::data::Header {
    fn from(header: Header) -> Self {
        match header {
            Header::Auto => Self::Auto,
            Header::Yes => Self::Yes,
            Header::No => Self::No,
        }
    }
}
