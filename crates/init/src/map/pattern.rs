//! Patterns on the names and shapes of tensors.

use std::fmt;
use std::str::FromStr;

/// A pattern of tensors: on their full names, on their shapes, or on both.
///
/// A name is matched by the parts between its dots: `*` stands for any characters of one part, also none, and
/// `**` for any number of whole parts, also none. A shape pattern is in brackets: a number stands for itself,
/// `*` for any number, `>` and `<` for one above and one below the number before it, and `..` at the end for any
/// number of further dimensions. A pattern can be several, with ` | ` between them, of which one has to match.
///
/// The names of TensorFlow and JAX have slashes where others have dots. A name with slashes is matched as it
/// is, and as if its slashes were dots. A name that ends in `:0`, as those of Keras and TensorFlow 1, is also matched
/// without this end.
///
/// | pattern | matches |
/// |---|---|
/// | `encoder.layers.*.attn.*.weight` | the weights of every projection of every layer |
/// | `**.bias` | every bias, `bias` alone too, and `bert/pooler/dense/bias` |
/// | `**` | everything |
/// | `[*, *, ..]` | everything of two or more dimensions |
/// | `**.weight [*, 3, *, *]` | the weights of 2-d convolutions of three channels |
/// | `**.c_fc.weight [*, >]` | the weights of these layers that are wider than high |
/// | `**.wo.weight \| **.w2.weight` | the weights of these two layers |
///
/// ```
/// use wick_init::Pattern;
///
/// let pattern: Pattern = "encoder.**.weight [*, *]".parse()?;
/// assert!(pattern.matches("encoder.layers.0.fc.weight", &[4, 3]));
/// assert!(!pattern.matches("encoder.layers.0.norm.weight", &[4]));
/// assert!(!pattern.matches("decoder.fc.weight", &[4, 3]));
/// # Ok::<(), wick_init::PatternError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// At least one.
    alternatives: Vec<Alternative>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Alternative {
    text: String,
    /// `None` matches any name.
    name: Option<NamePattern>,
    shape: Option<ShapePattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct NamePattern {
    /// The parts between dots.
    parts: Vec<String>,
    /// The parts between dots and slashes.
    finer: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ShapePattern {
    dims: Vec<Dim>,
    /// Whether further dimensions may follow.
    open: bool,
}

/// A pattern of one dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dim {
    Any,
    Size(usize),
    /// More than the dimension before.
    Above,
    /// Less than the dimension before.
    Below,
}

/// A pattern that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the pattern '{pattern}': {reason}")]
pub struct PatternError {
    pattern: String,
    reason: String,
}

/// The end of the names that TensorFlow 1 and Keras give to the first output of a variable.
pub(crate) const OUTPUT: &str = ":0";

/// What stands between two patterns.
const OR: &str = " | ";

impl Pattern {
    /// Whether the pattern matches a tensor of this full name and shape.
    pub fn matches(&self, name: &str, shape: &[usize]) -> bool {
        self.matched(name, shape).is_some()
    }

    /// The pattern that matches a tensor, of those with ` | ` between them.
    pub(crate) fn matched(&self, name: &str, shape: &[usize]) -> Option<&str> {
        let matching = |alternative: &&Alternative| {
            alternative.shape.as_ref().is_none_or(|pattern| pattern.matches(shape))
                && alternative.name.as_ref().is_none_or(|pattern| pattern.matches(name))
        };
        self.alternatives.iter().find(matching).map(|alternative| alternative.text.as_str())
    }

    /// The first of the patterns with ` | ` between them.
    pub(crate) fn first(&self) -> &str {
        self.text.split(OR).next().unwrap_or_default().trim()
    }
}

impl NamePattern {
    fn matches(&self, name: &str) -> bool {
        self.matches_as_it_is(name)
            || name.strip_suffix(OUTPUT).is_some_and(|name| self.matches_as_it_is(name))
    }

    fn matches_as_it_is(&self, name: &str) -> bool {
        let parts: Vec<&str> = name.split('.').collect();
        parts_match(&self.parts, &parts)
            || name.contains('/') && parts_match(&self.finer, &parts_of(name).collect::<Vec<_>>())
    }
}

/// The parts of a name between its dots and slashes.
pub(crate) fn parts_of(name: &str) -> impl Iterator<Item = &str> {
    name.split(['.', '/'])
}

/// Matches the parts of a name. `**` is the wildcard.
fn parts_match(pattern: &[String], parts: &[&str]) -> bool {
    wildcard_match(pattern, parts, |p| p == "**", |p, part| glob(p.as_bytes(), part.as_bytes()))
}

/// Matches the characters of a part. `*` is the wildcard.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    wildcard_match(pattern, text, |p| *p == b'*', |p, t| p == t)
}

/// Whether a pattern matches a text, where a wildcard stands for any number of items of the text, also none,
/// and every other item of the pattern for one item.
///
/// On a mismatch, only the last wildcard takes one item more: an earlier one need not, because the items
/// between the two are matched as early in the text as they can be. So this makes at most `pattern.len() ·
/// text.len()` comparisons.
fn wildcard_match<P, T>(
    pattern: &[P],
    text: &[T],
    is_wildcard: impl Fn(&P) -> bool,
    matches: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut p, mut t) = (0, 0);
    // The place behind the last wildcard, and the place in the text where that wildcard ends.
    let mut retry = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(item) if is_wildcard(item) => {
                p += 1;
                retry = Some((p, t));
            }
            Some(item) if matches(item, &text[t]) => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((behind, end)) = retry else { return false };
                (p, t) = (behind, end + 1);
                retry = Some((p, t));
            }
        }
    }
    pattern[p..].iter().all(is_wildcard)
}

impl ShapePattern {
    fn matches(&self, shape: &[usize]) -> bool {
        let long_enough =
            if self.open { shape.len() >= self.dims.len() } else { shape.len() == self.dims.len() };
        let before = [None].into_iter().chain(shape.iter().copied().map(Some));
        let mut dims = self.dims.iter().zip(shape).zip(before);
        long_enough && dims.all(|((dim, size), before)| dim.matches(*size, before))
    }
}

impl Dim {
    fn matches(self, size: usize, before: Option<usize>) -> bool {
        match self {
            Self::Any => true,
            Self::Size(this) => size == this,
            Self::Above => before.is_some_and(|before| size > before),
            Self::Below => before.is_some_and(|before| size < before),
        }
    }

    /// Reads the dimension at an index; an error is the reason.
    fn read((index, text): (usize, &str)) -> Result<Self, String> {
        match text {
            "*" => Ok(Self::Any),
            ">" | "<" if index == 0 => {
                Err(format!("`{text}` compares with the dimension before, and the first has none"))
            }
            ">" => Ok(Self::Above),
            "<" => Ok(Self::Below),
            size => size
                .parse()
                .map(Self::Size)
                .map_err(|_| format!("'{size}' is neither a size, `*`, `>`, `<`, nor `..` at the end")),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let text = text.trim();
        let alternatives = text.split(OR).map(Alternative::read).collect::<Result<_, _>>();
        let alternatives =
            alternatives.map_err(|reason| PatternError { pattern: text.to_owned(), reason })?;
        Ok(Self { text: text.to_owned(), alternatives })
    }
}

impl Alternative {
    fn read(text: &str) -> Result<Self, String> {
        let error = |reason: &str| reason.to_owned();
        let trimmed = text.trim();
        let (name, shape) = match trimmed.split_once('[') {
            Some((name, rest)) => {
                let inside =
                    rest.strip_suffix(']').ok_or_else(|| error("the bracket is not closed at the end"))?;
                (name.trim(), Some(inside))
            }
            None => (trimmed, None),
        };
        if name.is_empty() && shape.is_none() {
            return Err(error("it is empty; `**` matches everything"));
        }
        let parts: Vec<String> = name.split('.').map(str::to_owned).collect();
        if !name.is_empty() && parts.iter().any(String::is_empty) {
            return Err(error("a part is empty: before the first dot, after the last one, or between two"));
        }
        let finer: Vec<String> = parts_of(name).map(str::to_owned).collect();
        if finer.iter().any(|part| part.len() > 2 && part.contains("**")) {
            return Err(error("`**` stands for whole parts between dots, `*` for characters of one part"));
        }
        let shape = shape.map(|inside| -> Result<ShapePattern, String> {
            // `[]` matches a scalar.
            let mut dims: Vec<&str> = match inside.trim() {
                "" => Vec::new(),
                inside => inside.split(',').map(str::trim).collect(),
            };
            let open = dims.last() == Some(&"..");
            if open {
                dims.pop();
            }
            let dims = dims.into_iter().enumerate().map(Dim::read);
            Ok(ShapePattern { dims: dims.collect::<Result<_, _>>()?, open })
        });
        Ok(Self {
            text: trimmed.to_owned(),
            name: (!name.is_empty()).then_some(NamePattern { parts, finer }),
            shape: shape.transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (pattern, name, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
            ("a.*.c", "a.b.c", true),
            ("a.*.c", "a.c", false),
            ("a.*.c", "a.b.b.c", false),
            ("a.**.c", "a.b.b.c", true),
            ("a.**.c", "a.c", true),
            ("**.bias", "bias", true),
            ("**.bias", "fc.bias", true),
            ("**.bias", "fc.unbias", false),
            ("**.*bias", "fc.unbias", true),
            ("**", "x", true),
            ("**.layer_*.w*t", "net.layer_12.weight", true),
            ("**.layer_*.w*t", "net.layer.weight", false),
            ("**.bias", "bert/pooler/dense/bias", true),
            ("bert.*.dense.bias", "bert/pooler/dense/bias", true),
            ("bert/*/bias", "bert/pooler/dense/bias", true),
            ("bert/**/bias", "bert/pooler/dense/bias", true),
            ("*.weight", "layers/fc.weight", true),
            ("*.bias", "bert/pooler/dense/bias", false),
            ("a/b", "a.b", false),
            ("a.b | c.*", "c.d", true),
            ("a.b | c.*", "a.b", true),
            ("a.b | c.*", "b.a", false),
            ("a|b", "a|b", true),
        ] {
            let pattern: Pattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(name, &[1]), expected, "{pattern} on {name}");
        }
    }

    /// The definition, which backtracks and takes exponential time.
    fn defined(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|n| defined(rest, &text[n..])),
            ([p, rest @ ..], [t, more @ ..]) => p == t && defined(rest, more),
            _ => false,
        }
    }

    /// All patterns of up to six characters from `a`, `b` and `*`, on all texts of up to six from `a` and
    /// `b`.
    #[test]
    fn wildcards_match_what_is_defined() {
        let all = |letters: &[u8]| -> Vec<Vec<u8>> {
            let (mut all, mut longest) = (vec![Vec::new()], vec![Vec::new()]);
            for _ in 0..6 {
                longest = longest
                    .iter()
                    .flat_map(|word| letters.iter().map(|l| [&word[..], &[*l]].concat()))
                    .collect();
                all.extend(longest.clone());
            }
            all
        };
        let texts = all(b"ab");
        for pattern in all(b"ab*") {
            for text in &texts {
                assert_eq!(glob(&pattern, text), defined(&pattern, text), "{pattern:?} on {text:?}");
            }
        }
    }

    /// With backtracking, each of these takes longer than the age of the universe.
    #[test]
    fn many_wildcards_take_no_time() {
        let stars: Pattern = format!("{}b", "*a".repeat(40)).parse().unwrap();
        assert!(!stars.matches(&"a".repeat(1000), &[]));
        assert!(stars.matches(&format!("{}b", "a".repeat(1000)), &[]));
        let parts: Pattern = format!("{}b", "**.*a*.".repeat(40)).parse().unwrap();
        assert!(!parts.matches(&vec!["aaa"; 1000].join("."), &[]));
        assert!(parts.matches(&format!("{}.b", vec!["aaa"; 1000].join(".")), &[]));
    }

    #[test]
    fn shapes() {
        for (pattern, shape, expected) in [
            ("[*, *]", &[3, 4][..], true),
            ("[*, *]", &[3], false),
            ("[*, *]", &[3, 4, 5], false),
            ("[*, *, ..]", &[3, 4, 5], true),
            ("[..]", &[], true),
            ("[ ]", &[], true),
            ("[]", &[1], false),
            ("[3, ..]", &[3], true),
            ("[3, ..]", &[4], false),
            ("x [3]", &[3], false),
            ("x [3] | [4]", &[4], true),
            ("x [3] | [4]", &[3], false),
            ("[*, >]", &[3, 4], true),
            ("[*, >]", &[4, 4], false),
            ("[*, <]", &[4, 3], true),
            ("[*, <, ..]", &[3, 4, 5], false),
            ("[*, >, <]", &[3, 4, 3], true),
        ] {
            let pattern: Pattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches("y", shape), expected, "{pattern} on {shape:?}");
        }
    }

    #[test]
    fn an_error_says_why_a_pattern_cannot_be_read() {
        for (pattern, part) in [
            ("", "it is empty"),
            ("a..b", "a part is empty"),
            ("a.", "a part is empty: before the first dot, after the last one, or between two"),
            ("a**", "`**` stands for whole parts"),
            ("[3", "not closed"),
            ("[3] x", "not closed at the end"),
            ("[three]", "'three' is neither a size"),
            ("[.., 3]", "'..' is neither a size"),
            ("[*,,*]", "'' is neither a size"),
            ("[*, ]", "'' is neither a size"),
            ("[>, *]", "`>` compares with the dimension before, and the first has none"),
            ("a |  | b", "it is empty"),
            ("a | b..c", "a part is empty"),
        ] {
            let error = pattern.parse::<Pattern>().unwrap_err().to_string();
            assert!(error.contains(part), "{pattern}: {error}");
        }
    }
}
