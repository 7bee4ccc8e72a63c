//! Data from CSV files.

mod cell;
mod first_line;
#[cfg(test)]
mod tests;

use anyhow::{Context, Result, bail};

use super::columns::LeftOut;
use super::options::DataOptions;
use super::source::Source;

/// Reads at most `most` rows of a text with this character between the columns.
pub(super) fn read(text: &[u8], most: usize, delimiter: u8, options: &DataOptions) -> Result<Source> {
    if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
        bail!("the text is UTF-16; save it as UTF-8");
    }
    // Numbers are ASCII in every other encoding; a name may be garbled.
    let text = String::from_utf8_lossy(text);
    let text = text.as_bytes();
    let mut source = Source::default();
    let mut reader = csv::ReaderBuilder::new();
    reader.has_headers(false).flexible(true).trim(csv::Trim::All).delimiter(delimiter);
    let mut reader = reader.from_reader(text);
    let mut record = csv::StringRecord::new();
    let mut is_feature: Option<Vec<bool>> = None;
    while source.matrix.rows < most && reader.read_record(&mut record)? {
        // Blanks align the columns that they separate.
        let cells = || record.iter().filter(|cell| delimiter != b' ' || !cell.is_empty());
        let width = cells().count();
        if width == 0 {
            continue;
        }
        // Lines are counted only for an error: to count them for every record would take quadratic time.
        let line = || record.position().map_or(0, |position| line_of(text, position.byte() as usize));
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
            let hint = cell::delimiter_hint(record.as_slice(), delimiter);
            bail!("line {}: {width} columns where the first line has {columns}{hint}", line());
        }
        let features = cells().zip(is_feature).enumerate().filter(|(_, (_, is_feature))| **is_feature);
        for (column, (cell, _)) in features {
            let number = cell::number(cell, options.decimal_comma).with_context(|| {
                let hint = cell::hint(cell, column + 1, delimiter, options.decimal_comma);
                let cell = cell::quoted(cell);
                format!("line {}, column {}: {cell} is not a number{hint}", line(), column + 1)
            })?;
            if !number.is_finite() {
                bail!("line {}, column {}: {cell} is not a finite number", line(), column + 1);
            }
            source.matrix.values.push(number);
        }
        source.matrix.rows += 1;
    }
    Ok(source)
}

/// Learns from the first line how many columns there are, their names and which are features. Returns whether
/// the line is a header.
fn read_first(cells: &[&str], options: &DataOptions, source: &mut Source) -> Result<bool> {
    let (is_header, notice) = first_line::is_header(cells, options);
    source.notices.extend(notice.map(str::to_owned));
    if is_header {
        source.names = cells.iter().map(|&cell| cell.to_owned()).collect();
    }
    source.left_out = LeftOut::of(options, &source.names, cells.len())?;
    source.matrix.columns = cells.len() - source.left_out.columns.len();
    // pandas and R leave the column of the row numbers without a name.
    let is_nameless = |name: &&str| name.is_empty() || name.starts_with("Unnamed: ");
    if is_header
        && cells.len() > 1
        && cells.first().is_some_and(is_nameless)
        && !source.left_out.columns.contains(&0)
    {
        let notice = "column 1 has no name: if it has the numbers of the rows, leave it out with --drop 1";
        source.notices.push(notice.into());
    }
    Ok(is_header)
}

/// Returns the number of the line with the record at or after this byte. Blank lines count.
fn line_of(text: &[u8], byte: usize) -> usize {
    let blank = text[byte..].iter().take_while(|&&c| c == b'\n' || c == b'\r').count();
    text[..byte + blank].iter().filter(|&&c| c == b'\n').count() + 1
}
