//! Results on stdout: tables for people, JSON and CSV for programs.

mod column;
mod numbers;
mod table;

use std::io::{self, Write};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;

pub use column::{Cell, Column, csv_of, table_of};
pub use numbers::{apart, exact, shape, short, size, sizes, times};
pub use table::{Table, rows_to_show};
pub use wick_probe::text::percent;

use table::render;

/// The format of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables for people
    Table,
    /// One JSON object
    Json,
    /// One CSV table with a header
    Csv,
}

/// A result that can be printed in every [`Format`]. Its JSON is its serialization.
pub trait Report: Serialize {
    /// The tables for people, with numbers rounded.
    fn tables(&self) -> Vec<Table>;

    /// The one table for programs, with all digits.
    fn csv(&self) -> Table;
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
