//! Names of tensors in lines that people read: a name can be any text.

/// Returns a text with its control characters, line breaks among them, as escapes.
pub fn on_one_line(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

/// Returns a text on one line, and shortened if it is long.
pub fn shown(text: &str) -> String {
    const MOST: usize = 200;
    let mut short: String = text.chars().take(MOST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    on_one_line(&short)
}

/// Returns names with commas between them, the first of them if they are many.
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
