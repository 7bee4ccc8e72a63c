//! A SPEC, `name` or `name:key=value,…`: the text by which programs name an initializer or a schedule, and
//! its numbers, which can be formulas.
//!
//! ```
//! use wick_theory::spec::{Pairs, name_and_pairs};
//!
//! let (name, rest) = name_and_pairs("cosine:steps=1000,floor=1/8");
//! let mut pairs = Pairs::parse(rest)?;
//! assert_eq!((name, pairs.count("steps")?, pairs.number("floor")?), ("cosine", Some(1000), Some(0.125)));
//! assert_eq!(pairs.left_over(), None);
//! # Ok::<(), wick_theory::spec::SpecError>(())
//! ```

mod pairs;

pub use pairs::{Pairs, SpecError};

/// Splits a SPEC at its first colon into the name and the text of its pairs, `None` without a colon.
///
/// ```
/// use wick_theory::spec::name_and_pairs;
///
/// assert_eq!(name_and_pairs("normal:std=1"), ("normal", Some("std=1")));
/// assert_eq!(name_and_pairs("zeros"), ("zeros", None));
/// ```
pub fn name_and_pairs(spec: &str) -> (&str, Option<&str>) {
    match spec.split_once(':') {
        Some((name, rest)) => (name, Some(rest)),
        None => (spec, None),
    }
}

/// The spellings by which a name is looked up: as it is, in lower case with `_` for `-`, and the name of a
/// class as that of a function (`keras.HeNormal` as `keras.he_normal`).
///
/// ```
/// use wick_theory::spec::spellings;
///
/// assert!(spellings("One-Cycle").contains(&"one_cycle".to_owned()));
/// assert!(spellings("OneCycle").contains(&"one_cycle".to_owned()));
/// ```
pub fn spellings(name: &str) -> [String; 3] {
    [name.to_owned(), name.to_ascii_lowercase().replace('-', "_"), snake_case(name)]
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && snake.ends_with(|before: char| before.is_ascii_alphanumeric()) {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// Cuts a text for an error message, which may be any file's, to 64 characters and `…`.
///
/// ```
/// assert_eq!(wick_theory::spec::shortened("zeros"), "zeros");
/// assert_eq!(wick_theory::spec::shortened(&"z".repeat(100)).chars().count(), 65);
/// ```
pub fn shortened(text: &str) -> String {
    const MOST: usize = 64;
    let mut short: String = text.chars().take(MOST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// The word that stands for a value in a table of words; empty if none does.
///
/// ```
/// use wick_theory::spec::word;
///
/// assert_eq!(word(&[("linear", 0), ("cosine", 1)], &1), "cosine");
/// ```
pub fn word<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> &'static str {
    words.iter().find(|(_, known)| known == value).map_or("", |(word, _)| word)
}
