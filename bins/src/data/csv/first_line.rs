//! Whether the first line of a CSV names the columns.

use super::cell;
use crate::data::columns::is_label;
use crate::data::options::{DataOptions, Header};

/// Whether the first line is a header, and what the user should know if that is a guess.
pub(super) fn is_header(cells: &[&str], options: &DataOptions) -> (bool, Option<&'static str>) {
    match options.header {
        Header::Yes => return (true, None),
        Header::No => return (false, None),
        // Who names a column knows that the columns have names.
        Header::Auto if names_a_column(options) => return (true, None),
        Header::Auto => {}
    }
    let features = || features(cells, options);
    let number = |cell: &str| cell::number(cell, options.decimal_comma);
    let has_numbers = features().any(|cell| number(cell).is_some());
    let has_names = features().any(|cell| is_name(cell) && number(cell).is_none());
    if !has_numbers {
        let notice =
            "the first line has missing values alone and is taken for a header; if it is a sample, remove it";
        return (true, features().all(cell::is_missing).then_some(notice));
    }
    if has_names || cells.iter().any(|cell| is_label(cell)) {
        let notice = "the first line has numbers and names and is taken for a header; if it is a sample, use --header no";
        return (true, Some(notice));
    }
    // pandas leaves the name of the row numbers empty.
    if let Some(("", rest)) = cells.split_first().map(|(first, rest)| (*first, rest))
        && counts(rest)
    {
        let notice =
            "the first line counts the columns and is taken for a header; if it is a sample, use --header no";
        return (true, Some(notice));
    }
    let notice =
        "the first line counts the columns and is read as a sample; if it is a header, use --header yes";
    (false, counts(cells).then_some(notice))
}

/// The cells of the columns that the options do not leave out by number.
fn features<'a>(cells: &'a [&'a str], options: &'a DataOptions) -> impl Iterator<Item = &'a str> {
    let count = cells.len() as i64;
    let left_out = move |column: usize| {
        let column = column as i64;
        let is_it = |text: &String| text.parse() == Ok(column + 1) || text.parse() == Ok(column - count);
        options.label.iter().chain(&options.drop).any(is_it)
    };
    cells.iter().enumerate().filter(move |(column, _)| !left_out(*column)).map(|(_, cell)| *cell)
}

/// Whether `--label` or `--drop` has a name and no number.
fn names_a_column(options: &DataOptions) -> bool {
    let label = options.label.iter().filter(|label| !label.eq_ignore_ascii_case("none"));
    label.chain(&options.drop).any(|text| text.parse::<i64>().is_err())
}

/// Whether a cell is the name of a column or of a class.
fn is_name(cell: &str) -> bool {
    cell.contains(char::is_alphabetic) && !cell::is_missing(cell)
}

/// Whether cells are consecutive whole numbers, at least two from 0 or three from another number.
fn counts(cells: &[&str]) -> bool {
    let numbers: Option<Vec<i64>> = cells.iter().map(|cell| cell.parse().ok()).collect();
    numbers.is_some_and(|numbers| {
        let least = if numbers.first() == Some(&0) { 2 } else { 3 };
        numbers.len() >= least && numbers.windows(2).all(|pair| pair[0].checked_add(1) == Some(pair[1]))
    })
}
