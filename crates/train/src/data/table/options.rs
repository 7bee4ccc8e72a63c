//! The options that say how a table is read.

use std::str::FromStr;

/// How the text of a CSV is read, and which columns of a table are features.
///
/// Messages name an option as programs spell it: `--label` is [`label`](Self::label).
///
/// ```
/// use wick_train::data::{Header, Missing, TableOptions};
///
/// let options = TableOptions { label: Some("species".to_owned()), ..TableOptions::default() };
/// assert_eq!((options.header, options.missing, options.rows), (Header::Auto, Missing::Refuse, None));
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TableOptions {
    /// Whether the first line of a CSV names the columns.
    pub header: Header,
    /// What separates the columns of a CSV; `None`: a comma, in `.tsv` files a tab, with decimal commas a
    /// semicolon.
    pub delimiter: Option<Delimiter>,
    /// Whether the numbers of a CSV have a decimal comma: `1,5` is 1.5.
    pub decimal_comma: bool,
    /// The column with the labels, which is no feature, by its name or number: 1 is the first and -1 the last;
    /// `column:4` or `name:4` where both are possible; `none` if there is none. `None`: the first or last
    /// column if its name is one that labels have (`label`, `target`, `class`, …).
    pub label: Option<String>,
    /// Further columns that are no features, by their names or numbers.
    pub drop: Vec<String>,
    /// The names of columns that are no features either, where the table has them.
    pub ignore: Vec<String>,
    /// The most rows that are read, the first ones; `None` for all.
    pub rows: Option<usize>,
    /// What a cell without a number means.
    pub missing: Missing,
    /// The bytes of memory that are free; `None` if that is not known. A file that takes more is refused.
    pub memory: Option<u64>,
}

impl TableOptions {
    /// The rows that are read at most.
    pub(super) fn most(&self) -> usize {
        self.rows.unwrap_or(usize::MAX)
    }

    /// The character between the columns of a file with this extension.
    pub(super) fn delimiter_of(&self, extension: &str) -> u8 {
        let usual = match extension {
            "tsv" | "tab" => Delimiter::TAB,
            _ if self.decimal_comma => Delimiter::SEMICOLON,
            _ => Delimiter::COMMA,
        };
        self.delimiter.unwrap_or(usual).0
    }
}

/// What a cell without a number means: an empty one of a CSV, `NA`, or a NaN.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Missing {
    /// An error, which names the row and the column.
    #[default]
    Refuse,
    /// The mean of the column over the training part.
    Mean,
}

/// Whether the first line of a CSV names the columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Header {
    /// If it holds a name, or no number.
    #[default]
    Auto,
    /// It does.
    Yes,
    /// It is a sample.
    No,
}

/// The character between the columns of a CSV, one that no number has. It is read from text: the character
/// itself, or `tab`, `space`, `comma`, `semicolon`.
///
/// ```
/// use wick_train::data::Delimiter;
///
/// assert_eq!("tab".parse::<Delimiter>(), "\\t".parse());
/// assert!("5".parse::<Delimiter>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delimiter(u8);

impl Delimiter {
    const COMMA: Self = Self(b',');
    const SEMICOLON: Self = Self(b';');
    const TAB: Self = Self(b'\t');
}

impl FromStr for Delimiter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "\\t" => Ok(Self::TAB),
            _ if text.eq_ignore_ascii_case("tab") => Ok(Self::TAB),
            _ if text.eq_ignore_ascii_case("space") => Ok(Self(b' ')),
            _ if text.eq_ignore_ascii_case("comma") => Ok(Self::COMMA),
            _ if text.eq_ignore_ascii_case("semicolon") => Ok(Self::SEMICOLON),
            _ => match text.as_bytes() {
                [c] if (c.is_ascii_punctuation() && !b"\"+-._".contains(c)) || b" \t".contains(c) => {
                    Ok(Self(*c))
                }
                _ => Err("a delimiter is one character that no number has, as ';', or tab, or space"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_are_characters_that_no_number_has() {
        for (text, delimiter) in [(";", b';'), ("tab", b'\t'), ("\\t", b'\t'), ("|", b'|'), ("Space", b' ')] {
            assert_eq!(text.parse(), Ok(Delimiter(delimiter)), "{text}");
        }
        for refused in ["", "5", ".", "-", "é", ";;", "\""] {
            assert!(refused.parse::<Delimiter>().is_err(), "{refused}");
        }
    }

    #[test]
    fn the_usual_delimiter_depends_on_the_file() {
        let options = |decimal_comma| TableOptions { decimal_comma, ..TableOptions::default() };
        assert_eq!(["csv", "tsv"].map(|extension| options(false).delimiter_of(extension)), *b",\t");
        assert_eq!(["csv", "tsv"].map(|extension| options(true).delimiter_of(extension)), *b";\t");
        let given = TableOptions { delimiter: "|".parse().ok(), ..options(true) };
        assert_eq!(given.delimiter_of("tsv"), b'|');
    }
}
