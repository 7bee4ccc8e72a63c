//! What an unknown name may have meant.

/// A longer text is no misspelled name.
const LONGEST: usize = 64;

/// The most names that are suggested.
const MOST: usize = 3;

/// The known names nearest to an unknown one, at most three: those of the smallest edit distance (letters
/// that are inserted, removed, replaced or swapped), up to a third of the letters and three; else those that
/// have the text as a part, or are a part of it. Upper case, and `-` or a blank for `_`, make no difference.
///
/// ```
/// use wick_theory::nearest_names;
///
/// let known = ["zeros", "xavier_normal", "xavier_uniform", "he_normal"];
/// assert_eq!(nearest_names("Xaiver-Normal", known), ["xavier_normal"]);
/// assert_eq!(nearest_names("xavier", known), ["xavier_normal", "xavier_uniform"]);
/// assert_eq!(nearest_names("torch.nn.init.zeros_", known), ["zeros"]);
/// assert!(nearest_names("swoosh", known).is_empty());
/// assert_eq!(nearest_names("X", ["x", "y"]), ["x"]);
/// ```
pub fn nearest_names<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let fold = |name: &str| name.to_ascii_lowercase().replace(['-', ' '], "_");
    let length = text.chars().take(LONGEST + 1).count();
    if !(1..=LONGEST).contains(&length) {
        return Vec::new();
    }
    let text = fold(text);
    // A name of which another is a part is farther than every edit.
    let distance = |name: &str| {
        let name = fold(name);
        let edits = strsim::osa_distance(&text, &name);
        let is_part = length > 2 && name.contains(&text) || name.len() > 3 && text.contains(&name);
        // Every letter is one edit from every other.
        let most = if length == 1 { 0 } else { (length / 3).clamp(1, 3) };
        if edits <= most { Some(edits) } else { is_part.then_some(LONGEST) }
    };
    let near: Vec<(usize, &str)> =
        known.into_iter().filter_map(|name| Some((distance(name)?, name))).collect();
    let least = near.iter().map(|(edits, _)| *edits).min();
    near.into_iter().filter(|(edits, _)| Some(*edits) == least).map(|(_, name)| name).take(MOST).collect()
}

/// A question in parentheses after an unknown name, ` (did you mean a or b?)`; empty without a near name.
///
/// ```
/// use wick_theory::did_you_mean;
///
/// assert_eq!(did_you_mean("rleu", ["relu", "tanh"]), " (did you mean relu?)");
/// assert_eq!(did_you_mean("swoosh", ["relu", "tanh"]), "");
/// ```
pub fn did_you_mean<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match &nearest_names(text, known)[..] {
        [] => String::new(),
        names => format!(" (did you mean {}?)", names.join(" or ")),
    }
}

/// As [`did_you_mean`], for names that have other words: the known name of a word that stands for it, else the
/// nearest names. Case, `-` and `_` make no difference to a word.
///
/// ```
/// use wick_theory::did_you_mean_or;
///
/// let words = [("gpu", "cuda"), ("mps", "metal")];
/// assert_eq!(did_you_mean_or("GPU", &words, ["cpu", "cuda"]), " (did you mean cuda?)");
/// assert_eq!(did_you_mean_or("coda", &words, ["cpu", "cuda"]), " (did you mean cuda?)");
/// ```
pub fn did_you_mean_or<'a>(
    text: &str,
    words: &[(&str, &str)],
    known: impl IntoIterator<Item = &'a str>,
) -> String {
    let meant = words.iter().find(|(word, _)| letters(word) == letters(text));
    match meant {
        Some((_, name)) => format!(" (did you mean {name}?)"),
        None => did_you_mean(text, known),
    }
}

/// The letters and digits of a name in lower case.
pub(crate) fn letters(name: &str) -> String {
    name.replace(['_', '-'], "").to_ascii_lowercase()
}

/// A text with its control characters, line breaks among them, as escapes: a name can be any text, and a message
/// is one line.
///
/// ```
/// assert_eq!(wick_theory::on_one_line("a\nb"), r"a\nb");
/// ```
pub fn on_one_line(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

/// A text on one line, shortened to 200 characters.
///
/// ```
/// assert_eq!(wick_theory::shown(&"x".repeat(1000)).chars().count(), 201); // with an ellipsis
/// ```
pub fn shown(text: &str) -> String {
    const MOST: usize = 200;
    let mut short: String = text.chars().take(MOST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    on_one_line(&short)
}

/// Names with commas between them, the first 20 if there are more.
///
/// ```
/// assert_eq!(wick_theory::listed(["a", "b", ""].into_iter()), "a, b, ''");
/// ```
pub fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const MOST: usize = 20;
    let more = names.len().saturating_sub(MOST);
    let quoted =
        |name: &'a str| if name.trim().is_empty() { format!("'{}'", shown(name)) } else { shown(name) };
    let mut list = names.take(MOST).map(quoted).collect::<Vec<_>>().join(", ");
    if more > 0 {
        list += &format!(" and {more} more");
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_text_make_one_short_line() {
        let long = "é\n\u{1b}".repeat(10_000);
        assert!(shown(&long).len() < 2000 && shown(&long).lines().count() == 1);
        assert_eq!(shown("a'b\\c\td"), "a'b\\c\\td");
        let names: Vec<String> = (0..50).map(|n| n.to_string()).collect();
        assert!(listed(names.iter().map(String::as_str)).ends_with("18, 19 and 30 more"));
        assert_eq!(listed(["a", "b"].into_iter()), "a, b");
        assert_eq!(listed(["", "b", " "].into_iter()), "'', b, ' '");
    }
}
