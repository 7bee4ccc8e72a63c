//! Data from CSV files.

use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use super::matrix::Matrix;

/// How the text of a CSV is read.
#[derive(Debug, Clone, Copy, Args)]
pub struct CsvOptions {
    /// Whether the first line of a CSV names the columns; auto: if it has no number
    #[arg(long, value_name = "WHETHER", default_value = "auto", requires = "data")]
    pub header: Header,
    /// What separates the columns of a CSV: a character, or tab [default: a comma; in .tsv files a tab]
    #[arg(long, value_name = "CHAR", requires = "data")]
    pub delimiter: Option<Delimiter>,
}

/// Whether the first line of a CSV names the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Header {
    /// If it has no number
    Auto,
    /// It does
    Yes,
    /// It is a sample
    No,
}

/// The character between the columns of a CSV.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delimiter(u8);

impl Delimiter {
    const COMMA: Self = Self(b',');
    const TAB: Self = Self(b'\t');
}

impl FromStr for Delimiter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.as_bytes() {
            b"tab" | b"\\t" => Ok(Self::TAB),
            [c] if (c.is_ascii_punctuation() && !b"\"+-._".contains(c)) || b" \t".contains(c) => Ok(Self(*c)),
            _ => Err("a delimiter is one character that no number has, as ';', or tab"),
        }
    }
}

impl CsvOptions {
    /// The options that a file of this extension has, unless the user gave others.
    pub(super) fn for_extension(self, extension: &str) -> Self {
        let usual = if extension == "tsv" { Delimiter::TAB } else { Delimiter::COMMA };
        Self { delimiter: self.delimiter.or(Some(usual)), ..self }
    }
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self { header: Header::Auto, delimiter: None }
    }
}

/// Reads at most `most` rows. The text is what the user should know of a guess about the first line.
pub(super) fn read(text: &[u8], most: usize, options: CsvOptions) -> Result<(Matrix, Option<&'static str>)> {
    let mut matrix = Matrix { rows: 0, columns: 0, values: Vec::new() };
    let Delimiter(delimiter) = options.delimiter.unwrap_or(Delimiter::COMMA);
    let mut reader = csv::ReaderBuilder::new();
    reader.has_headers(false).flexible(true).trim(csv::Trim::All).delimiter(delimiter);
    let mut reader = reader.from_reader(text);
    let mut record = csv::StringRecord::new();
    let (mut is_first, mut notice) = (true, None);
    while matrix.rows < most && reader.read_record(&mut record)? {
        if std::mem::take(&mut is_first) {
            matrix.columns = record.len();
            let is_header;
            (is_header, notice) = first_line(&record, options.header);
            if is_header {
                continue;
            }
        }
        // Lines are counted only for an error: to count them for every record would take quadratic time.
        let line = || record.position().map_or(0, |position| line_of(text, position.byte() as usize));
        if record.len() != matrix.columns {
            bail!("line {}: {} columns where the first line has {}", line(), record.len(), matrix.columns);
        }
        for (column, cell) in record.iter().enumerate() {
            let number: f64 = cell.parse().ok().with_context(|| {
                let hint = hint(cell, delimiter);
                format!("line {}, column {}: {} is not a number{hint}", line(), column + 1, quoted(cell))
            })?;
            if !number.is_finite() {
                bail!("line {}, column {}: {cell} is not a finite number", line(), column + 1);
            }
            matrix.values.push(number);
        }
        matrix.rows += 1;
    }
    Ok((matrix, notice))
}

/// Whether the first line is a header, and what the user should know if that is a guess.
fn first_line(record: &csv::StringRecord, header: Header) -> (bool, Option<&'static str>) {
    const MISSING: [&str; 7] = ["", "na", "n/a", "null", "none", "-", "?"];
    let is_missing = |cell: &str| MISSING.contains(&cell.to_ascii_lowercase().as_str());
    let counts_from =
        |start: usize| record.iter().enumerate().all(|(index, cell)| cell.parse() == Ok(start + index));
    match header {
        Header::Yes => (true, None),
        Header::No => (false, None),
        Header::Auto if record.iter().any(|cell| cell.parse::<f64>().is_ok()) => {
            let looks_numbered = counts_from(0) && record.len() > 1 || counts_from(1) && record.len() > 2;
            let notice = "the first line counts the columns and is read as a sample; if it is a header, use --header yes";
            (false, looks_numbered.then_some(notice))
        }
        Header::Auto => {
            let notice = "the first line has missing values alone and is taken for a header; if it is a sample, remove it";
            (true, record.iter().all(is_missing).then_some(notice))
        }
    }
}

/// What to do about a cell that is no number, if the cell tells.
fn hint(cell: &str, delimiter: u8) -> &'static str {
    match cell {
        _ if delimiter == b',' && cell.contains(';') => "; if ';' separates the columns, use --delimiter ';'",
        _ if delimiter == b',' && cell.contains('\t') => {
            "; if tabs separate the columns, use --delimiter tab"
        }
        // A comma can stand for a decimal point or separate thousands.
        _ if delimiter != b',' && cell.contains(',') => "; numbers have a decimal point and no commas",
        _ => "",
    }
}

/// Returns the number of the line with the record at or after this byte. Blank lines count.
fn line_of(text: &[u8], byte: usize) -> usize {
    let blank = text[byte..].iter().take_while(|&&c| c == b'\n' || c == b'\r').count();
    text[..byte + blank].iter().filter(|&&c| c == b'\n').count() + 1
}

/// Returns text of a file on one line, shortened for an error message.
fn quoted(text: &str) -> String {
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

    fn plain(text: &[u8], most: usize) -> Result<Matrix> {
        Ok(read(text, most, CsvOptions::default())?.0)
    }

    #[test]
    fn a_guess_about_the_first_line_is_told_and_can_be_overruled() {
        let rows = |text: &str, header| {
            let options = CsvOptions { header, ..CsvOptions::default() };
            read(text.as_bytes(), 9, options).map(|(matrix, notice)| (matrix.rows, notice.is_some())).ok()
        };
        let numbered = "0,1,2\n5,6,7\n";
        assert_eq!(rows(numbered, Header::Auto), Some((2, true)));
        assert_eq!(rows(numbered, Header::Yes), Some((1, false)));
        assert_eq!(rows(numbered, Header::No), Some((2, false)));
        let missing = "NA,NA\n5,6\n";
        assert_eq!(rows(missing, Header::Auto), Some((1, true)));
        assert_eq!(rows(missing, Header::No), None);
        assert_eq!(rows("a,b\n5,6\n", Header::Auto), Some((1, false)));
        assert_eq!(rows("4,2\n5,6\n", Header::Auto), Some((2, false)));
    }

    #[test]
    fn columns_have_any_delimiter_and_numbers_a_point() {
        let with = |text: &str, delimiter: &str| {
            let delimiter = Some(delimiter.parse().unwrap());
            read(text.as_bytes(), 9, CsvOptions { delimiter, ..CsvOptions::default() })
                .map(|(matrix, _)| matrix)
        };
        for (text, delimiter) in
            [("1;2\n", ";"), ("1\t2\n", "tab"), ("1\t2\n", "\\t"), ("1|2\n", "|"), ("1 2\n", " ")]
        {
            assert_eq!(with(text, delimiter).unwrap().values, [1.0, 2.0], "{delimiter}");
        }
        for (text, delimiter, hint) in [
            ("1,5;2\n3;4\n", ";", "numbers have a decimal point"),
            ("a\n1;2\n", ",", "use --delimiter ';'"),
            ("a\n1\t2\n", ",", "use --delimiter tab"),
        ] {
            let error = with(text, delimiter).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
        for refused in ["", "5", ".", "-", "é", ";;", "\""] {
            assert!(refused.parse::<Delimiter>().is_err(), "{refused}");
        }
    }

    #[test]
    fn a_header_is_optional() {
        for text in ["a,b\n1, 2\n3,4\n", "1,2\n3,4"] {
            let matrix = plain(text.as_bytes(), 9).unwrap();
            assert_eq!(matrix, Matrix { rows: 2, columns: 2, values: vec![1.0, 2.0, 3.0, 4.0] });
        }
    }

    #[test]
    fn lines_are_counted_with_the_blank_ones() {
        for text in ["1,2\n\n\n3,nope\n", "1,2\r\n\r\n\r\n3,nope\r\n"] {
            let error = plain(text.as_bytes(), 9).unwrap_err().to_string();
            assert_eq!(error, "line 4, column 2: 'nope' is not a number");
        }
        assert_eq!(quoted(&"é\n\x1b".repeat(40)).lines().count(), 1);
        assert!(quoted(&"x".repeat(5000)).len() < 50);
    }

    /// 100,000 lines take the time of some passes over the file, and not of a pass for each line. Lines
    /// beyond the number of rows that the caller wants are not read.
    #[test]
    fn long_files_are_read_once() {
        let text = "1,2,3,4,5,6,7,8,9,10\n".repeat(100_000);
        let begun = std::time::Instant::now();
        assert_eq!(plain(text.as_bytes(), usize::MAX).unwrap().rows, 100_000);
        // A pass over 2 MB for each line would take minutes.
        assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
        let matrix = plain(b"a,b\n1,2\n3,4\nfive,six\n", 2).unwrap();
        assert_eq!((matrix.rows, matrix.values), (2, vec![1.0, 2.0, 3.0, 4.0]));
    }
}
