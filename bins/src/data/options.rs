//! The options that say how data are read.

use std::str::FromStr;

use clap::{Args, ValueEnum};

/// How the text of a CSV is read, and which of the columns are features.
#[derive(Debug, Clone, Args)]
pub struct DataOptions {
    /// Whether the first line of a CSV names the columns; auto: if it holds a name, or no number
    #[arg(long, value_name = "WHETHER", default_value = "auto", requires = "data", ignore_case = true)]
    pub header: Header,
    /// What separates the columns of a CSV: a character, or tab [default: a comma, in .tsv files a tab, and a
    /// semicolon with --decimal-comma]
    #[arg(long, value_name = "CHAR", requires = "data")]
    pub delimiter: Option<Delimiter>,
    /// The numbers of a CSV have a decimal comma: 1,5 is 1.5
    #[arg(long, requires = "data")]
    pub decimal_comma: bool,
    /// The column with the labels, which is no feature: its name, or its number (1 is the first, -1 the
    /// last; column:4 or name:4 where both are possible); none if there is none [default: the first or last
    /// column if its name is label, target, class, …]
    #[arg(long, value_name = "COLUMN", requires = "data", allow_hyphen_values = true)]
    pub label: Option<String>,
    /// Columns that are no features, by their names or numbers
    #[arg(
        long,
        value_name = "COLUMN,…",
        value_delimiter = ',',
        requires = "data",
        allow_hyphen_values = true
    )]
    pub drop: Vec<String>,
}

impl Default for DataOptions {
    fn default() -> Self {
        Self { header: Header::Auto, delimiter: None, decimal_comma: false, label: None, drop: Vec::new() }
    }
}

impl DataOptions {
    /// The first of the options that the user gave.
    pub fn first_given(&self) -> Option<&'static str> {
        let given = [
            (self.label.is_some(), "--label"),
            (!self.drop.is_empty(), "--drop"),
            (self.header != Header::Auto, "--header"),
            (self.delimiter.is_some(), "--delimiter"),
            (self.decimal_comma, "--decimal-comma"),
        ];
        given.into_iter().find_map(|(is_given, option)| is_given.then_some(option))
    }

    /// The options for the digits that ship with Wick, whose text is known.
    pub(super) fn for_digits(&self) -> Self {
        let (label, drop) = (self.label.clone(), self.drop.clone());
        Self { header: Header::Yes, label: label.or(Some("digit".into())), drop, ..Self::default() }
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

/// Whether the first line of a CSV names the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Header {
    /// If it holds a name, or no number
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
        let options = |decimal_comma| DataOptions { decimal_comma, ..DataOptions::default() };
        assert_eq!(["csv", "tsv"].map(|extension| options(false).delimiter_of(extension)), *b",\t");
        assert_eq!(["csv", "tsv"].map(|extension| options(true).delimiter_of(extension)), *b";\t");
        let given = DataOptions { delimiter: "|".parse().ok(), ..options(true) };
        assert_eq!(given.delimiter_of("tsv"), b'|');
    }
}
