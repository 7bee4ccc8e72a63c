//! The `key=value` pairs of a SPEC.

use std::str::FromStr;

use crate::formula::read_number;
use crate::names::did_you_mean;

/// Why a SPEC cannot be read, in words that follow the SPEC's own text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SpecError(String);

impl SpecError {
    /// Makes an error of a reason.
    ///
    /// ```
    /// assert_eq!(wick_theory::spec::SpecError::new("it takes steps=").to_string(), "it takes steps=");
    /// ```
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// The `key=value` pairs that follow the name in a SPEC. A reader takes the pairs that it knows; a pair that
/// is left over is an error of the text. Keys are read in any case.
///
/// ```
/// use wick_theory::spec::Pairs;
///
/// let mut pairs = Pairs::parse(Some("steps=10,warmpu=2"))?;
/// assert_eq!(pairs.count("steps")?, Some(10));
/// assert_eq!(pairs.count::<u64>("warmup")?, None);
/// let key = pairs.left_over().unwrap();
/// assert_eq!(
///     pairs.not_taken("cosine", key),
///     "cosine takes no warmpu= (did you mean warmup?): it takes steps=, warmup="
/// );
/// # Ok::<(), wick_theory::spec::SpecError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Pairs<'a> {
    pairs: Vec<(&'a str, &'a str)>,
    /// The keys that readers have looked for.
    taken: Vec<String>,
}

impl<'a> Pairs<'a> {
    /// Reads pairs that commas part; no text is no pair.
    ///
    /// # Errors
    /// Names the pair without a `=`, or the key that is given twice.
    pub fn parse(text: Option<&'a str>) -> Result<Self, SpecError> {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for pair in text.into_iter().flat_map(|text| text.split(',')) {
            let (key, value) = pair
                .split_once('=')
                .map(|(key, value)| (key.trim(), value.trim()))
                .ok_or_else(|| SpecError(format!("'{pair}' is not of the form key=value")))?;
            if pairs.iter().any(|(known, _)| known.eq_ignore_ascii_case(key)) {
                return Err(SpecError(format!("{key}= is given twice")));
            }
            pairs.push((key, value));
        }
        Ok(Self { pairs, taken: Vec::new() })
    }

    /// The key of a pair that is left over.
    pub fn left_over(&self) -> Option<&'a str> {
        self.pairs.first().map(|(key, _)| *key)
    }

    /// Why a key is left over: what `name` takes, and what may have been meant.
    pub fn not_taken(&self, name: &str, key: &str) -> String {
        let keys = || self.taken.iter().map(String::as_str);
        let meant = did_you_mean(key, keys());
        let taken: Vec<String> = keys().map(|key| format!("{key}=")).collect();
        let taken = if taken.is_empty() { "nothing".to_owned() } else { taken.join(", ") };
        format!("{name} takes no {key}={meant}: it takes {taken}")
    }

    /// Removes a pair and returns its value.
    pub fn take(&mut self, key: &str) -> Option<&'a str> {
        if !self.taken.iter().any(|known| known == key) {
            self.taken.push(key.to_owned());
        }
        let place = self.pairs.iter().position(|(known, _)| known.eq_ignore_ascii_case(key))?;
        Some(self.pairs.remove(place).1)
    }

    /// Takes a number, or a formula of numbers ([`read_number`](crate::read_number)).
    ///
    /// # Errors
    /// The value is no finite number.
    pub fn number(&mut self, key: &str) -> Result<Option<f64>, SpecError> {
        let Some(text) = self.take(key) else { return Ok(None) };
        match read_number(text) {
            Some(number) if number.is_finite() => Ok(Some(number)),
            _ => Err(SpecError(format!("{key}={text} is not a finite number"))),
        }
    }

    /// Takes a whole number above 0, of the type that the caller names.
    ///
    /// # Errors
    /// The value is no whole number, 0, or too large for the type.
    pub fn count<T: FromStr + PartialOrd + Default>(&mut self, key: &str) -> Result<Option<T>, SpecError> {
        let Some(text) = self.take(key) else { return Ok(None) };
        let count = text.parse().ok().filter(|count| *count > T::default());
        count.map(Some).ok_or_else(|| SpecError(format!("{key}={text} is not a whole number above 0")))
    }

    /// Takes one of some words, in any case.
    ///
    /// # Errors
    /// Lists the words if the value is none of them.
    pub fn one_of<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Result<Option<T>, SpecError> {
        let Some(text) = self.take(key) else { return Ok(None) };
        match words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)) {
            Some((_, value)) => Ok(Some(*value)),
            None => {
                let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                let (last, others) = known.split_last().unwrap_or((&"", &[]));
                Err(SpecError(format!("{key}= is {} or {last}", others.join(", "))))
            }
        }
    }
}
