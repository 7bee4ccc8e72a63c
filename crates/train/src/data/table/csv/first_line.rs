//! Whether the first line of a CSV names the columns.

use super::cell;
use crate::data::table::columns::{Named, is_label};
use crate::data::table::options::{Header, TableOptions};

/// What the first line is.
#[derive(Debug, Default)]
pub(super) struct Guess {
    pub(super) is_header: bool,
    /// Whether the line is read as a sample, and looks like a header.
    pub(super) may_be_header: bool,
    /// What the user should know.
    pub(super) notice: Option<&'static str>,
}

impl Guess {
    fn header(notice: Option<&'static str>) -> Self {
        Self { is_header: true, notice, ..Self::default() }
    }
}

/// Tells whether the first line is a header.
pub(super) fn is_header(cells: &[&str], options: &TableOptions) -> Guess {
    match options.header {
        Header::Yes => return Guess::header(None),
        Header::No => return Guess::default(),
        // Who names a column knows that the columns have names.
        Header::Auto if names_a_column(options) => return Guess::header(None),
        Header::Auto => {}
    }
    let features = || features(cells, options);
    let number = |cell: &str| cell::number(cell, options.decimal_comma);
    let has_numbers = features().any(|cell| number(cell).is_some());
    let has_names = features().any(|cell| is_name(cell) && number(cell).is_none());
    if !has_numbers {
        let notice =
            "the first line has missing values alone and is taken for a header; if it is a sample, remove it";
        return Guess::header(features().all(cell::is_missing).then_some(notice));
    }
    if has_names || cells.iter().any(|cell| is_label(cell)) {
        let notice = "the first line has numbers and names and is taken for a header; if it is a sample, use --header no";
        return Guess::header(Some(notice));
    }
    // pandas leaves the name of the row numbers empty, and a name may stand in a column that is left out.
    let without_name = cells.strip_prefix(&[""]);
    let has_other_names = cells.iter().any(|cell| is_name(cell) && number(cell).is_none());
    if without_name.is_some_and(counts) || has_other_names && counts(&features().collect::<Vec<_>>()) {
        let notice =
            "the first line counts the columns and is taken for a header; if it is a sample, use --header no";
        return Guess::header(Some(notice));
    }
    let notice =
        "the first line counts the columns and is read as a sample; if it is a header, use --header yes";
    let may_be_header = counts(cells);
    Guess { may_be_header, notice: may_be_header.then_some(notice), ..Guess::default() }
}

/// The cells of the columns that the options do not leave out by number.
fn features<'a>(cells: &'a [&'a str], options: &'a TableOptions) -> impl Iterator<Item = &'a str> {
    let count = cells.len() as i64;
    let left_out = move |column: usize| {
        let column = column as i64;
        let is_it = |number: i64| number == column + 1 || number == column - count;
        options.label.iter().chain(&options.drop).any(|text| Named::of(text).number().is_some_and(is_it))
    };
    cells.iter().enumerate().filter(move |(column, _)| !left_out(*column)).map(|(_, cell)| *cell)
}

/// Whether `--label` or `--drop` has a name and no number.
fn names_a_column(options: &TableOptions) -> bool {
    let label = options.label.iter().filter(|label| !label.eq_ignore_ascii_case("none"));
    label.chain(&options.drop).any(|text| Named::of(text).number().is_none())
}

/// Whether a cell is the name of a column or of a class.
fn is_name(cell: &str) -> bool {
    cell.contains(char::is_alphabetic) && !cell::is_missing(cell)
}

/// Whether cells are consecutive whole numbers, at least two from 0 or three from another number.
fn counts(cells: &[&str]) -> bool {
    let numbers: Option<Vec<f64>> = cells.iter().map(|cell| cell.parse().ok()).collect();
    numbers.is_some_and(|numbers| {
        let least = if numbers.first() == Some(&0.0) { 2 } else { 3 };
        let is_next = |pair: &[f64]| pair[0].fract() == 0.0 && pair[0] + 1.0 == pair[1];
        numbers.len() >= least && numbers.windows(2).all(is_next)
    })
}
