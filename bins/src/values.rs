//! The values of options: numbers as people write them.

use std::fmt::Display;

use wick_theory::{read_number, write_number};

/// Reads a number or a formula, as in a SPEC: `0.5`, `1/3`, `sqrt(2)`. It can be infinite or NaN, which the
/// program refuses with the range that it takes.
///
/// # Errors
/// If the text is neither, with examples of both.
///
/// ```
/// use wick_bins::values::number;
///
/// assert_eq!(number("1/sqrt(4)"), Ok(0.5));
/// assert!(number("wide").is_err());
/// ```
pub fn number(text: &str) -> Result<f64, String> {
    read_number(text).ok_or_else(|| "write a number as 0.5, or a formula as 1/sqrt(2)".into())
}

/// Writes a SPEC with exponents in place of many zeros: numbers beyond 1e±15, as [`write_number`] writes them.
///
/// ```
/// use wick_bins::values::spec;
///
/// assert_eq!(spec("sgd:lr=1000000000000000000,nesterov=true"), "sgd:lr=1e18,nesterov=true");
/// assert_eq!(spec("adamw:lr=0.01"), "adamw:lr=0.01");
/// assert_eq!(spec("lion"), "lion");
/// ```
pub fn spec(spec: impl Display) -> String {
    let text = spec.to_string();
    let Some((name, pairs)) = text.split_once(':') else { return text };
    let written = |pair: &str| {
        let number = pair.split_once('=').and_then(|(key, value)| Some((key, value.parse::<f64>().ok()?)));
        number.map_or(pair.to_owned(), |(key, value)| format!("{key}={}", write_number(value)))
    };
    format!("{name}:{}", pairs.split(',').map(written).collect::<Vec<_>>().join(","))
}

/// Reads a whole number from 0 on, also as `1e3` or `2^10`.
///
/// # Errors
/// If the text is none, or if the number is beyond the largest one of the type.
///
/// ```
/// use wick_bins::values::whole;
///
/// assert_eq!(whole::<usize>("1e3"), Ok(1000));
/// assert!(whole::<usize>("-1").is_err() && whole::<usize>("0.5").is_err());
/// assert!(whole::<u16>("65536").is_err());
/// ```
pub fn whole<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let wrong = "write a whole number from 0 on, as 1000";
    let exact = text.trim().parse::<u64>().ok();
    let number = || read_number(text).filter(|x| x.fract() == 0.0 && *x >= 0.0).ok_or(wrong);
    let whole = match exact {
        Some(whole) => whole,
        // A larger one would be rounded.
        None => match number()? {
            x if x < 2f64.powi(53) => x as u64,
            _ => return Err("the number is too large".into()),
        },
    };
    T::try_from(whole).map_err(|_| "the number is too large".into())
}

/// Reads a whole number in a range, as [`whole`] does.
///
/// # Errors
/// If the text is none, with the range.
///
/// ```
/// use wick_bins::values::within;
///
/// assert_eq!(within(1, 1000)("30"), Ok(30));
/// assert_eq!(within(1, 1000)("0"), Err("write a whole number from 1 to 1000".to_owned()));
/// ```
pub fn within(low: u16, high: u16) -> impl Fn(&str) -> Result<u16, String> + Clone + Send + Sync {
    move |text| {
        let number = whole(text).ok().filter(|number| (low..=high).contains(number));
        number.ok_or_else(|| format!("write a whole number from {low} to {high}"))
    }
}
