//! Data from CSV files.

mod cell;
mod first_line;
mod lines;
#[cfg(test)]
mod tests;

use std::io::BufRead;

use anyhow::{Context, Result, bail};

use super::columns::{LeftOut, place_of};
use super::foreign;
use super::options::DataOptions;
use super::source::Source;
use crate::memory;
use crate::output::size;
use lines::Lines;

/// Reads at most `most` rows of a text with this character between the columns, and no more of the text than
/// these rows.
pub(super) fn read(text: impl BufRead, most: usize, delimiter: u8, options: &DataOptions) -> Result<Source> {
    read_within(text, most, memory::free().unwrap_or(u64::MAX), delimiter, options)
}

/// As [`read`], if that number of bytes of memory is free.
fn read_within(
    text: impl BufRead,
    most: usize,
    free: u64,
    delimiter: u8,
    options: &DataOptions,
) -> Result<Source> {
    /// The bytes that a number takes while the table grows, which doubles its room. A byte of a line takes
    /// fewer.
    const BYTES: u64 = 16;
    let most_numbers = usize::try_from(free / BYTES).unwrap_or(usize::MAX);
    let mut lines = Lines::new(text, most_numbers);
    let mut source = Source::default();
    let mut bytes = Vec::new();
    let mut record = csv::StringRecord::new();
    let mut is_feature: Option<Vec<bool>> = None;
    while source.matrix.rows < most && lines.next_into(&mut bytes)? {
        let number = lines.number();
        if number == 1 {
            check_text(&bytes)?;
        }
        // Numbers are ASCII in every encoding that is left; a name may be garbled.
        let line = String::from_utf8_lossy(&bytes);
        let line = if number == 1 { line.trim_start_matches('\u{feff}') } else { &line };
        if line.is_empty() || number == 1 && is_of_excel(line, delimiter)? {
            continue;
        }
        split(line, delimiter, &mut record).with_context(|| format!("line {number}"))?;
        // Blanks align the columns that they separate.
        let cells = || record.iter().filter(|cell| delimiter != b' ' || !cell.is_empty());
        let width = cells().count();
        if width == 0 {
            continue;
        }
        let is_feature = match &is_feature {
            Some(is_feature) => is_feature,
            None => {
                let is_header = read_first(&cells().collect::<Vec<_>>(), options, &mut source)?;
                let columns = 0..width;
                let features = columns.map(|column| !source.left_out.columns.contains(&column)).collect();
                let features = is_feature.insert(features);
                if is_header {
                    continue;
                }
                features
            }
        };
        let columns = is_feature.len();
        if width != columns {
            let hint = cell::delimiter_hint(line, delimiter, options.decimal_comma);
            bail!("line {number}: {width} columns where the first line has {columns}{hint}");
        }
        if source.matrix.values.len().saturating_add(columns) > most_numbers {
            let (rows, free) = (source.matrix.rows, size(free as f64));
            bail!(
                "line {number}: the numbers take more memory than the {free} that are free; take {rows} --samples at most"
            );
        }
        let features = cells().zip(is_feature).enumerate().filter(|(_, (_, is_feature))| **is_feature);
        for (column, (cell, _)) in features {
            let at = || format!("line {number}, column {}: {}", column + 1, cell::quoted(cell));
            let Some(x) = cell::number(cell, options.decimal_comma) else {
                let place = place_of(column, &source.names);
                let hint = cell::hint(cell, &place, line, delimiter, options.decimal_comma);
                bail!("{} is not a number{hint}", at());
            };
            if !x.is_finite() {
                bail!("{} is not a finite number", at());
            }
            source.matrix.push(x, cell::lack(cell, x));
        }
        source.matrix.rows += 1;
    }
    Ok(source)
}

/// Refuses what is no text, by its first line.
fn check_text(line: &[u8]) -> Result<()> {
    if line.starts_with(b"\xff\xfe") || line.starts_with(b"\xfe\xff") {
        bail!("the text is UTF-16; save it as UTF-8");
    }
    foreign::check(line)
}

/// Whether a first line is the one in which Excel names the delimiter, `sep=;`.
fn is_of_excel(line: &str, delimiter: u8) -> Result<bool> {
    let named = line.trim().to_ascii_lowercase();
    let Some(&[named]) = named.strip_prefix("sep=").map(str::as_bytes) else { return Ok(false) };
    if named != delimiter {
        let delimiter = if named == b'\t' { "tab".into() } else { format!("'{}'", char::from(named)) };
        bail!("line 1 names what separates the columns: use --delimiter {delimiter}");
    }
    Ok(true)
}

/// Splits a line into its cells, without the blanks around them.
fn split(line: &str, delimiter: u8, record: &mut csv::StringRecord) -> Result<()> {
    record.clear();
    if !line.contains('"') {
        record.extend(line.split(char::from(delimiter)));
    } else {
        // The line break that is added belongs to a cell if a quote is open at the end of the line.
        let text = format!("{line}\n");
        let mut reader = csv::ReaderBuilder::new();
        reader
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .from_reader(text.as_bytes())
            .read_record(record)?;
        if let Some(cell) = record.iter().find(|cell| cell.contains('\n')) {
            let cell = cell::quoted(cell.trim());
            bail!(
                "a quote is open at the end of the line, before {cell}: close it; a cell has no line breaks"
            );
        }
    }
    record.trim();
    Ok(())
}

/// Learns from the first line how many columns there are, their names and which are features. Returns whether
/// the line is a header.
fn read_first(cells: &[&str], options: &DataOptions, source: &mut Source) -> Result<bool> {
    let guess = first_line::is_header(cells, options);
    source.notices.extend(guess.notice.map(str::to_owned));
    if guess.is_header {
        source.names = cells.iter().map(|&cell| cell.to_owned()).collect();
    }
    let maybe: Vec<String> = match guess.may_be_header {
        true => cells.iter().map(|&cell| cell.to_owned()).collect(),
        false => Vec::new(),
    };
    source.left_out = LeftOut::of(options, &source.names, &maybe, cells.len())?;
    source.matrix.columns = cells.len() - source.left_out.columns.len();
    // pandas and R leave the column of the row numbers without a name.
    let is_nameless = |name: &&str| name.is_empty() || name.starts_with("Unnamed: ");
    if guess.is_header
        && cells.len() > 1
        && cells.first().is_some_and(is_nameless)
        && !source.left_out.columns.contains(&0)
    {
        let place = place_of(0, &source.names);
        let notice = format!(
            "column 1 has no name: if it has the numbers of the rows, leave it out with --drop {place}"
        );
        source.notices.push(notice);
    }
    Ok(guess.is_header)
}
