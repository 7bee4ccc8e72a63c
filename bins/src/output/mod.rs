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

/// The reader of stdout has closed it, as in `program | head -1`: there is no one to print to, and no failure.
#[derive(Debug, thiserror::Error)]
#[error("the reader of stdout has closed it")]
pub struct ReaderGone;

/// Prints the result on stdout.
///
/// # Errors
/// [`ReaderGone`], or if stdout cannot be written.
pub fn print(report: &impl Report, format: Format) -> Result<()> {
    on_stdout(|out| write(report, format, out)).context("cannot write the result")
}

/// Prints the result on stderr, where stdout has something else. A stderr that cannot be written is no failure.
pub fn print_on_stderr(report: &impl Report, format: Format) {
    let _ = write(report, format, &mut io::stderr().lock());
}

/// Writes to stdout, and flushes it.
///
/// # Errors
/// [`ReaderGone`] if stdout is a pipe that no one reads any longer, or the error of `write`.
pub fn on_stdout(write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let mut out = io::stdout().lock();
    let written = write(&mut out).and_then(|()| Ok(out.flush()?));
    written.map_err(|error| if is_broken_pipe(&error) { ReaderGone.into() } else { error })
}

/// Whether the error is a pipe whose reader has closed it.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let direct = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let csv = cause.downcast_ref::<csv::Error>().and_then(|error| match error.kind() {
            csv::ErrorKind::Io(error) => Some(error.kind()),
            _ => None,
        });
        let json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        direct.or(csv).or(json) == Some(io::ErrorKind::BrokenPipe)
    })
}

fn write(report: &impl Report, format: Format, out: &mut dyn Write) -> Result<()> {
    match format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, report)?;
            writeln!(out)?;
        }
        Format::Csv => {
            let table = report.csv();
            let mut writer = csv::Writer::from_writer(out);
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
    Ok(())
}
