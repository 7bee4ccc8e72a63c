//! Data from CSV files.

mod cell;
mod first_line;
mod lines;
#[cfg(test)]
mod tests;

use std::io::BufRead;

use super::cells::Cells;
use super::columns::{LeftOut, place_of};
use super::foreign;
use super::options::{Missing, TableOptions};
use super::reason::Reason;
use super::source::Source;
use crate::text::size;
use lines::Lines;

/// The bytes that a number takes while the table grows, which doubles its room. A byte of a line takes fewer.
const BYTES: u64 = 16;

/// What is read beside the features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Nothing.
    Features,
    /// The column of the labels, if there is one.
    Labels,
}

/// Reads a text with this character between the columns, and no more of the text than the rows that are wanted.
pub(super) fn read(
    text: impl BufRead,
    delimiter: u8,
    options: &TableOptions,
    wanted: Wanted,
) -> Result<Source, Reason> {
    let free = options.memory.unwrap_or(u64::MAX);
    let most_numbers = usize::try_from(free / BYTES).unwrap_or(usize::MAX);
    let mut lines = Lines::new(text, most_numbers);
    let mut source = Source::default();
    let mut bytes = Vec::new();
    let mut record = csv::StringRecord::new();
    let mut is_feature: Option<Vec<bool>> = None;
    while source.matrix.rows < options.most() && lines.next_into(&mut bytes)? {
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
        split(line, delimiter, &mut record).map_err(|error| format!("line {number}: {error}"))?;
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
                if wanted == Wanted::Labels {
                    source.labels = source.left_out.label.map(|_| Cells::default());
                }
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
            return Err(
                format!("line {number}: {width} columns where the first line has {columns}{hint}").into()
            );
        }
        if source.matrix.values.len().saturating_add(columns) > most_numbers {
            let (rows, free) = (source.matrix.rows, size(free as f64));
            return Err(format!(
                "line {number}: the numbers take more memory than the {free} that are free; take {rows} --samples at most"
            )
            .into());
        }
        if let (Some(labels), Some(column)) = (&mut source.labels, source.left_out.label) {
            let label = cells().nth(column).unwrap_or_default();
            check_label(label, number, column, &source.names)?;
            labels.push(label);
        }
        let mut is_empty = true;
        let features = cells().zip(is_feature).enumerate().filter(|(_, (_, is_feature))| **is_feature);
        for (column, (cell, _)) in features {
            let at = || format!("line {number}, column {}: {}", column + 1, cell::quoted(cell));
            let place = || place_of(column, &source.names);
            let x = match cell::number(cell, options.decimal_comma) {
                Some(x) => x,
                None if options.missing == Missing::Mean && cell::is_missing(cell) => f64::NAN,
                None => {
                    let hint = cell::hint(cell, &place(), line, delimiter, options.decimal_comma);
                    let text = format!("{} is not a number{hint}", at());
                    return Err(if cell::is_missing(cell) { Reason::Missing(text) } else { text.into() });
                }
            };
            if !x.is_finite() && (options.missing == Missing::Refuse || !x.is_nan()) {
                let text = format!("{} is not a finite number", at());
                return Err(if x.is_nan() { Reason::Missing(text) } else { text.into() });
            }
            is_empty &= x.is_nan();
            source.matrix.push(x, cell::lack(cell, x));
        }
        if is_empty {
            return Err(format!("line {number}: all numbers are missing; remove the line").into());
        }
        source.matrix.rows += 1;
    }
    Ok(source)
}

/// Refuses a label that is missing.
fn check_label(label: &str, line: usize, column: usize, names: &[String]) -> Result<(), Reason> {
    if label.contains('\u{fffd}') {
        let text =
            format!("line {line}, column {}: the label is no UTF-8; save the file as UTF-8", column + 1);
        return Err(text.into());
    }
    if !cell::is_no_label(label) {
        return Ok(());
    }
    let (label, number) = (cell::quoted(label), column + 1);
    let named = names.get(column).map(|name| format!(" ({})", cell::quoted(name))).unwrap_or_default();
    Err(format!(
        "line {line}, column {number}{named}: {label} is no label; fill in what is missing, or remove the line"
    )
    .into())
}

/// Reads the cells of a text of one column, each line a label.
pub(super) fn read_labels(
    text: impl BufRead,
    delimiter: u8,
    options: &TableOptions,
) -> Result<Cells, Reason> {
    let free = options.memory.unwrap_or(u64::MAX);
    let most = usize::try_from(free / BYTES).unwrap_or(usize::MAX);
    let mut lines = Lines::new(text, most);
    let (mut bytes, mut cells) = (Vec::new(), Cells::default());
    let mut record = csv::StringRecord::new();
    while lines.next_into(&mut bytes)? {
        let number = lines.number();
        if number == 1 {
            check_text(&bytes)?;
        }
        let line = String::from_utf8_lossy(&bytes);
        let line = if number == 1 { line.trim_start_matches('\u{feff}') } else { &line };
        if line.trim().is_empty() {
            continue;
        }
        split(line, delimiter, &mut record).map_err(|error| format!("line {number}: {error}"))?;
        match record.iter().collect::<Vec<_>>()[..] {
            [label] => {
                check_label(label, number, 0, &[])?;
                cells.push(label);
            }
            ref more => {
                let columns = more.len();
                return Err(format!("line {number}: {columns} columns where one of labels is needed").into());
            }
        }
        if cells.len() > most {
            return Err(format!("line {number}: the labels take more memory than is free").into());
        }
    }
    Ok(cells)
}

/// Refuses what is no text, by its first line.
fn check_text(line: &[u8]) -> Result<(), Reason> {
    if line.starts_with(b"\xff\xfe") || line.starts_with(b"\xfe\xff") {
        return Err("the text is UTF-16; save it as UTF-8".into());
    }
    foreign::check(line)
}

/// Whether a first line is the one in which Excel names the delimiter, `sep=;`.
fn is_of_excel(line: &str, delimiter: u8) -> Result<bool, Reason> {
    let named = line.trim().to_ascii_lowercase();
    let Some(&[named]) = named.strip_prefix("sep=").map(str::as_bytes) else { return Ok(false) };
    if named != delimiter {
        let delimiter = if named == b'\t' { "tab".into() } else { format!("'{}'", char::from(named)) };
        return Err(format!("line 1 names what separates the columns: use --delimiter {delimiter}").into());
    }
    Ok(true)
}

/// Splits a line into its cells, without the blanks around them.
fn split(line: &str, delimiter: u8, record: &mut csv::StringRecord) -> Result<(), Reason> {
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
            .read_record(record)
            .map_err(|error| error.to_string())?;
        if let Some(cell) = record.iter().find(|cell| cell.contains('\n')) {
            let cell = cell::quoted(cell.trim());
            return Err(Reason::Text(format!(
                "a quote is open at the end of the line, before {cell}: close it; a cell has no line breaks"
            )));
        }
    }
    record.trim();
    Ok(())
}

/// Learns from the first line how many columns there are, their names and which are features. Returns whether
/// the line is a header.
fn read_first(cells: &[&str], options: &TableOptions, source: &mut Source) -> Result<bool, Reason> {
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
