//! Columns: one list of them makes the table for people and the CSV.

use wick_probe::text::percent;

use super::numbers::{exact, short};
use super::table::Table;

/// A value of a row, which the table for people rounds and the CSV gives in full.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Text, the same in both.
    Text(String),
    /// A count.
    Count(usize),
    /// A number: four digits for people.
    Number(f64),
    /// A fraction of 1: a percentage for people, 0 or 100 only if it is that, and a dash if it is not finite.
    Fraction(f64),
    /// An unknown value: a dash for people, empty in the CSV.
    Unknown,
}

impl Cell {
    fn for_people(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Count(count) => count.to_string(),
            Self::Number(x) => short(x),
            Self::Fraction(x) if x.is_finite() => percent(x, 1),
            Self::Fraction(_) | Self::Unknown => "–".into(),
        }
    }

    fn for_programs(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Count(count) => count.to_string(),
            Self::Number(x) | Self::Fraction(x) => exact(x),
            Self::Unknown => String::new(),
        }
    }
}

impl From<f64> for Cell {
    fn from(x: f64) -> Self {
        Self::Number(x)
    }
}

impl From<Option<f64>> for Cell {
    fn from(x: Option<f64>) -> Self {
        x.map_or(Self::Unknown, Self::Number)
    }
}

impl From<usize> for Cell {
    fn from(count: usize) -> Self {
        Self::Count(count)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// A column of a result's rows.
#[derive(Debug)]
pub struct Column<R> {
    heading: Option<&'static str>,
    key: Option<&'static str>,
    cell: fn(&R) -> Cell,
}

impl<R> Column<R> {
    /// A column under `heading` in the table for people, and under `key` in the CSV.
    pub const fn new(heading: &'static str, key: &'static str, cell: fn(&R) -> Cell) -> Self {
        Self { heading: Some(heading), key: Some(key), cell }
    }

    /// A column of the table for people alone.
    pub const fn for_people(heading: &'static str, cell: fn(&R) -> Cell) -> Self {
        Self { heading: Some(heading), key: None, cell }
    }

    /// A column of the CSV alone.
    pub const fn for_programs(key: &'static str, cell: fn(&R) -> Cell) -> Self {
        Self { heading: None, key: Some(key), cell }
    }
}

/// The table for people of these rows.
pub fn table_of<R>(
    title: impl Into<String>,
    columns: &[Column<R>],
    rows: impl IntoIterator<Item = R>,
) -> Table {
    tabulate(title.into(), columns, rows, |column| column.heading, Cell::for_people)
}

/// The CSV of these rows.
pub fn csv_of<R>(columns: &[Column<R>], rows: impl IntoIterator<Item = R>) -> Table {
    tabulate(String::new(), columns, rows, |column| column.key, Cell::for_programs)
}

fn tabulate<R>(
    title: String,
    columns: &[Column<R>],
    rows: impl IntoIterator<Item = R>,
    name: fn(&Column<R>) -> Option<&'static str>,
    text: fn(Cell) -> String,
) -> Table {
    let named = || columns.iter().filter(|column| name(column).is_some());
    let header = named().filter_map(name).map(str::to_owned).collect();
    let row = |row: R| named().map(|column| text((column.cell)(&row))).collect();
    Table { title, header, rows: rows.into_iter().map(row).collect(), note: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_list_makes_both_tables() {
        let columns: [Column<f64>; 4] = [
            Column::new("x", "x_value", |x| Cell::from(*x)),
            Column::for_people("of 1", |x| Cell::Fraction(*x)),
            Column::for_programs("half", |x| Cell::from(x / 2.0)),
            Column::new("inverse", "inverse", |x| Cell::from((*x > 0.0).then(|| 1.0 / x))),
        ];
        let rows = [0.123_456, 0.0, f64::NAN, 0.999_97];
        let people = table_of("title", &columns, rows);
        assert_eq!(people.header, ["x", "of 1", "inverse"]);
        let expected = [
            ["0.1235", "12.3 %", "8.100"],
            ["0", "0.0 %", "–"],
            ["NaN", "–", "–"],
            ["1.000", "99.997 %", "1.000"],
        ];
        assert_eq!(people.rows, expected);
        let csv = csv_of(&columns, rows);
        assert_eq!(csv.header, ["x_value", "half", "inverse"]);
        assert_eq!(csv.rows[1..3], [["0", "0", ""], ["", "", ""]]);
        assert_eq!(csv.rows[0][..2], ["0.123456", "0.061728"]);
    }
}
