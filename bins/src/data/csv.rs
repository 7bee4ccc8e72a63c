//! Data from CSV files.

use anyhow::{Context, Result, bail};

use super::matrix::Matrix;

/// Reads at most `most` rows. A first line without a single number is a header.
pub(super) fn read(text: &[u8], most: usize) -> Result<Matrix> {
    let mut matrix = Matrix { rows: 0, columns: 0, values: Vec::new() };
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(text);
    let mut record = csv::StringRecord::new();
    let mut is_first = true;
    while matrix.rows < most && reader.read_record(&mut record)? {
        let is_header =
            std::mem::take(&mut is_first) && record.iter().all(|cell| cell.parse::<f64>().is_err());
        if matrix.columns == 0 {
            matrix.columns = record.len();
        }
        if is_header {
            continue;
        }
        // Lines are counted only for an error: to count them for every record would take quadratic time.
        let line = || record.position().map_or(0, |position| line_of(text, position.byte() as usize));
        if record.len() != matrix.columns {
            bail!("line {}: {} columns where the first line has {}", line(), record.len(), matrix.columns);
        }
        for (column, cell) in record.iter().enumerate() {
            let number: f64 = cell.parse().ok().with_context(|| {
                format!("line {}, column {}: {} is not a number", line(), column + 1, quoted(cell))
            })?;
            if !number.is_finite() {
                bail!("line {}, column {}: {cell} is not a finite number", line(), column + 1);
            }
            matrix.values.push(number);
        }
        matrix.rows += 1;
    }
    Ok(matrix)
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

    #[test]
    fn a_header_is_optional() {
        for text in ["a,b\n1, 2\n3,4\n", "1,2\n3,4"] {
            let matrix = read(text.as_bytes(), 9).unwrap();
            assert_eq!(matrix, Matrix { rows: 2, columns: 2, values: vec![1.0, 2.0, 3.0, 4.0] });
        }
    }

    #[test]
    fn lines_are_counted_with_the_blank_ones() {
        for text in ["1,2\n\n\n3,nope\n", "1,2\r\n\r\n\r\n3,nope\r\n"] {
            let error = read(text.as_bytes(), 9).unwrap_err().to_string();
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
        assert_eq!(read(text.as_bytes(), usize::MAX).unwrap().rows, 100_000);
        // A pass over 2 MB for each line would take minutes.
        assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
        let matrix = read(b"a,b\n1,2\n3,4\nfive,six\n", 2).unwrap();
        assert_eq!((matrix.rows, matrix.values), (2, vec![1.0, 2.0, 3.0, 4.0]));
    }
}
