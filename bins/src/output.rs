//! Results on stdout: tables for people, JSON and CSV for programs.

use std::io::{self, Write};

use anyhow::{Context, Result};
use clap::ValueEnum;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, TableStyle};
use serde::Serialize;

/// What the result looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables for people
    Table,
    /// One JSON object
    Json,
    /// One CSV table with a header
    Csv,
}

/// A result that can be printed in every [`Format`]. Its JSON is what it serializes to.
pub trait Report: Serialize {
    /// The tables for people, with numbers rounded.
    fn tables(&self) -> Vec<Table>;

    /// The one table for programs, with all digits.
    fn csv(&self) -> Table;
}

/// A table of text.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// A line above it.
    pub title: String,
    /// The names of the columns.
    pub header: Vec<String>,
    /// The rows, each as long as the header. What starts as a number does stands at the right.
    pub rows: Vec<Vec<String>>,
    /// A line below it.
    pub note: String,
}

impl Table {
    /// A table without rows.
    pub fn new<const N: usize>(title: impl Into<String>, header: [&str; N]) -> Self {
        Self { title: title.into(), header: header.map(str::to_owned).to_vec(), ..Self::default() }
    }

    /// Adds a row.
    pub fn row(&mut self, row: impl IntoIterator<Item = String>) {
        self.rows.push(row.into_iter().collect());
    }
}

/// Prints the result on stdout.
///
/// # Errors
/// If stdout cannot be written.
pub fn print(report: &impl Report, format: Format) -> Result<()> {
    write(report, format).context("cannot write the result")
}

fn write(report: &impl Report, format: Format) -> Result<()> {
    let mut out = io::stdout().lock();
    match format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, report)?;
            writeln!(out)?;
        }
        Format::Csv => {
            let table = report.csv();
            let mut writer = csv::Writer::from_writer(&mut out);
            writer.write_record(&table.header)?;
            for row in &table.rows {
                writer.write_record(row)?;
            }
            writer.flush()?;
        }
        Format::Table => {
            for (number, table) in report.tables().iter().enumerate() {
                if number > 0 {
                    writeln!(out)?;
                }
                write!(out, "{}", render(table))?;
            }
        }
    }
    out.flush()?;
    Ok(())
}

/// A rule under the header and no other lines.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

fn render(table: &Table) -> String {
    let mut text = String::new();
    if !table.title.is_empty() {
        text += &format!("{}\n", table.title);
    }
    if !table.header.is_empty() {
        let mut grid = comfy_table::Table::new();
        grid.load_style(STYLE)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(&table.header)
            .add_rows(&table.rows);
        for (index, column) in grid.column_iter_mut().enumerate() {
            let numeric = table.rows.iter().all(|row| row.get(index).is_some_and(|cell| looks_numeric(cell)));
            if numeric {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        // Trailing blanks help nobody who pipes this on.
        for line in grid.to_string().lines() {
            text += line.trim_end();
            text.push('\n');
        }
    }
    if !table.note.is_empty() {
        text += &format!("{}\n", table.note);
    }
    text
}

fn looks_numeric(cell: &str) -> bool {
    // Several numbers in a cell are read from their beginning.
    !cell.contains("  ") && cell.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '–' || c == '.')
        || cell == "NaN"
        || cell == "inf"
}

/// A number for people: four significant digits, in scientific notation where it is far from 1.
///
/// ```
/// use wick_bins::output::short;
///
/// assert_eq!(short(0.26359), "0.2636");
/// assert_eq!(short(-12.3456), "-12.35");
/// assert_eq!(short(4.937e-7), "4.937e-7");
/// assert_eq!(short(0.099_999_99), "0.1000");
/// assert_eq!(short(0.0), "0");
/// ```
pub fn short(x: f64) -> String {
    let scientific = format!("{x:.3e}");
    // The exponent after rounding: 0.99999 is 1.000.
    match scientific.split_once('e').and_then(|(_, exponent)| exponent.parse::<i32>().ok()) {
        _ if x == 0.0 => "0".into(),
        Some(exponent) if (-3..5).contains(&exponent) => {
            let decimals = (3 - exponent).max(0) as usize;
            format!("{x:.decimals$}")
        }
        _ => scientific,
    }
}

/// A number for programs: all its digits, in scientific notation beyond 1e±15; empty where it is not finite, as JSON has null.
///
/// ```
/// use wick_bins::output::exact;
///
/// assert_eq!([0.1, 0.0, 1e15, -2.5e-16].map(exact), ["0.1", "0", "1e15", "-2.5e-16"]);
/// assert_eq!(exact(f64::NAN), "");
/// ```
pub fn exact(x: f64) -> String {
    if !x.is_finite() {
        String::new()
    } else if x == 0.0 || (1e-15..1e15).contains(&x.abs()) {
        x.to_string()
    } else {
        format!("{x:e}")
    }
}

/// Which of `count` things to show in a table of about ten rows: every 1st, 2nd, 5th, 10th, …, and the last.
///
/// ```
/// use wick_bins::output::rows_to_show;
///
/// assert_eq!(rows_to_show(4), [0, 1, 2, 3]);
/// assert_eq!(rows_to_show(38), [0, 5, 10, 15, 20, 25, 30, 35, 37]);
/// ```
pub fn rows_to_show(count: usize) -> Vec<usize> {
    const ABOUT: usize = 12;
    let steps = (0..).flat_map(|power| [1, 2, 5].map(|digit| digit * 10usize.pow(power)));
    let step = steps.into_iter().find(|step| count <= step * ABOUT).unwrap_or(1);
    let mut rows: Vec<usize> = (0..count).step_by(step).collect();
    rows.extend(count.checked_sub(1).filter(|last| last % step != 0));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_for_people() {
        let mut table = Table::new("title", ["name", "std"]);
        table.row(["layer_0".into(), "0.5".into()]);
        table.row(["layer_10".into(), "12.25".into()]);
        table.note = "note".into();
        insta::assert_snapshot!(render(&table), @r"
        title
         name         std
        ──────────────────
         layer_0      0.5
         layer_10   12.25
        note
        ");
    }
}
