//! The cells of a CSV.

use crate::data::table::matrix::of_whole;

/// Returns the number of a cell. `true` and `false` are 1 and 0.
pub(super) fn number(cell: &str, decimal_comma: bool) -> Option<f64> {
    if decimal_comma && cell.contains([',', '.']) {
        // A point would separate thousands.
        return if cell.contains('.') { None } else { cell.replacen(',', ".", 1).parse().ok() };
    }
    cell.parse().ok().or_else(|| {
        let is = |word: &str| cell.eq_ignore_ascii_case(word);
        if is("true") { Some(1.0) } else { is("false").then_some(0.0) }
    })
}

/// What the value of a cell lacks of its whole number, which `f64` rounds beyond 2⁵³.
pub(super) fn lack(cell: &str, value: f64) -> f64 {
    if value.abs() < 2f64.powi(53) {
        return 0.0;
    }
    cell.parse().map_or(0.0, |whole| of_whole(whole).1)
}

/// Whether a cell stands for a missing value.
pub(super) fn is_missing(cell: &str) -> bool {
    const MISSING: [&str; 9] = ["", "na", "n/a", "#n/a", "null", "none", "nil", "-", "?"];
    MISSING.contains(&cell.to_ascii_lowercase().as_str())
}

/// Whether a cell of the column of the labels says that there is no label. A class may be called `none`.
pub(super) fn is_no_label(cell: &str) -> bool {
    const MISSING: [&str; 7] = ["", "na", "n/a", "#n/a", "nan", "null", "?"];
    MISSING.contains(&cell.to_ascii_lowercase().as_str())
}

/// What to do about a cell of this column and line that is no number, if they tell.
pub(super) fn hint(cell: &str, column: &str, line: &str, delimiter: u8, decimal_comma: bool) -> String {
    let is_number_with_comma = !decimal_comma && number(cell, true).is_some();
    let delimiter_hint = || delimiter_hint(line, delimiter, decimal_comma);
    let is_grouped = |cell: &str| {
        let digits = cell.replace(['_', '\'', '’', ' ', '\u{a0}', '\u{202f}'], "");
        digits.len() < cell.len() && number(&digits, decimal_comma).is_some()
    };
    match cell {
        _ if is_missing(cell) => {
            format!("; fill in what is missing, or leave the column out with --drop {column}")
        }
        _ if !delimiter_hint().is_empty() => delimiter_hint().into(),
        _ if is_number_with_comma => {
            "; numbers have a decimal point and no commas: if this is a decimal comma, use --decimal-comma"
                .into()
        }
        _ if decimal_comma && cell.contains('.') => "; with --decimal-comma a number has no point".into(),
        _ if cell.contains(',') => "; numbers have a decimal point and no commas".into(),
        _ if delimiter != b' '
            && cell
                .split_ascii_whitespace()
                .filter(|part| number(part, false).is_some())
                .nth(1)
                .is_some() =>
        {
            "; if blanks separate the columns, use --delimiter space".into()
        }
        _ if is_grouped(cell) => "; nothing separates the thousands of a number".into(),
        _ if cell.contains(|c: char| c.is_numeric() && !c.is_ascii()) => {
            "; the digits of a number are 0 to 9".into()
        }
        _ if cell.contains(char::is_alphabetic) => {
            format!("; if the column is no feature, leave it out with --drop {column}")
        }
        _ => String::new(),
    }
}

/// What to do if a line holds what usually separates columns.
pub(super) fn delimiter_hint(line: &str, delimiter: u8, decimal_comma: bool) -> &'static str {
    let has_commas = |separator: char| {
        let has_comma = |cell: &str| cell.contains(',') && number(cell.trim(), true).is_some();
        !decimal_comma && line.split(separator).any(has_comma)
    };
    let is_there = |separator: u8| delimiter != separator && line.contains(char::from(separator));
    match () {
        () if is_there(b';') && has_commas(';') => {
            "; if ';' separates the columns and numbers have decimal commas, use --delimiter ';' --decimal-comma"
        }
        () if is_there(b';') => "; if ';' separates the columns, use --delimiter ';'",
        () if is_there(b'\t') && has_commas('\t') => {
            "; if tabs separate the columns and numbers have decimal commas, use --delimiter tab --decimal-comma"
        }
        () if is_there(b'\t') => "; if tabs separate the columns, use --delimiter tab",
        () if is_there(b'|') => "; if '|' separates the columns, use --delimiter '|'",
        () => "",
    }
}

/// Returns text of a file on one line, shortened for an error message.
pub(super) fn quoted(text: &str) -> String {
    const MOST: usize = 40;
    let mut short: String = text.chars().take(MOST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("'{}'", short.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_numbers() {
        for (cell, point, comma) in [
            ("1.5", Some(1.5), None),
            ("1,5", None, Some(1.5)),
            ("-2", Some(-2.0), Some(-2.0)),
            ("1e3", Some(1e3), Some(1e3)),
            ("True", Some(1.0), Some(1.0)),
            ("FALSE", Some(0.0), Some(0.0)),
            ("1.234,5", None, None),
            ("1,234,5", None, None),
            ("x", None, None),
            ("", None, None),
        ] {
            assert_eq!((number(cell, false), number(cell, true)), (point, comma), "{cell}");
        }
    }

    #[test]
    fn quotes_are_short_and_on_one_line() {
        assert_eq!(quoted(&"é\n\x1b".repeat(40)).lines().count(), 1);
        assert!(quoted(&"x".repeat(5000)).len() < 50);
    }
}
