//! The lines of a text, one at a time, so that the text itself need not fit the memory.

use std::io::{self, BufRead};

use super::super::reason::Reason;
use crate::text::size;

/// Reads the lines of a text. A line ends with `\n`, `\r\n` or `\r`.
pub(super) struct Lines<R> {
    text: R,
    /// The longest line that is read.
    most_bytes: usize,
    /// The number of the line that was read last, from 1.
    number: usize,
    after_return: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(text: R, most_bytes: usize) -> Self {
        Self { text, most_bytes, number: 0, after_return: false }
    }

    /// The number of the line that was read last, from 1. Blank lines count.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Reads the next line without its end into `line`; `false` at the end of the text.
    pub(super) fn next_into(&mut self, line: &mut Vec<u8>) -> Result<bool, Reason> {
        line.clear();
        loop {
            let bytes = match self.text.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            if bytes.is_empty() {
                self.number += usize::from(!line.is_empty());
                return Ok(!line.is_empty());
            }
            if std::mem::take(&mut self.after_return) && bytes[0] == b'\n' {
                self.text.consume(1);
                continue;
            }
            let end = bytes.iter().position(|&c| c == b'\n' || c == b'\r');
            line.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
            let taken = end.map_or(bytes.len(), |end| end + 1);
            let is_return = end.is_some_and(|end| bytes[end] == b'\r');
            self.text.consume(taken);
            if line.len() > self.most_bytes {
                let most = size(self.most_bytes as f64);
                return Err(Reason::Text(format!(
                    "line {} is longer than {most}, and its numbers would not fit the memory",
                    self.number + 1
                )));
            }
            if end.is_some() {
                self.after_return = is_return;
                self.number += 1;
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_three_ways() {
        let mut lines = Lines::new(io::BufReader::with_capacity(2, &b"a\r\nbc\r\rd\n\ne"[..]), 9);
        let mut line = Vec::new();
        let mut read = Vec::new();
        while lines.next_into(&mut line).unwrap() {
            read.push((lines.number(), String::from_utf8(line.clone()).unwrap()));
        }
        let expected = [(1, "a"), (2, "bc"), (3, ""), (4, "d"), (5, ""), (6, "e")];
        assert_eq!(read, expected.map(|(number, line)| (number, line.to_owned())));
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut lines = Lines::new(io::BufReader::new(io::repeat(b'1')), 2048);
        let error = lines.next_into(&mut Vec::new()).unwrap_err().to_string();
        assert!(error.starts_with("line 1 is longer than 2.0 KiB"), "{error}");
    }
}
