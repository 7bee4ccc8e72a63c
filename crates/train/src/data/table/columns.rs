//! Which columns of a table are features.

use wick_theory::did_you_mean;

use super::options::TableOptions;
use super::reason::Reason;

/// The names by which tables call the column of their labels.
const LABELS: [&str; 9] =
    ["label", "labels", "target", "targets", "class", "classes", "digit", "species", "y"];

/// Whether a name is one that tables give to the column of their labels.
pub(super) fn is_label(name: &str) -> bool {
    LABELS.iter().any(|label| label.eq_ignore_ascii_case(name))
}

/// The columns that are no features.
#[derive(Debug, Default, PartialEq)]
pub(super) struct LeftOut {
    /// Their places from 0, rising.
    pub(super) columns: Vec<usize>,
    /// The column of the labels.
    pub(super) label: Option<usize>,
    /// The column of the labels if it was found by its name alone.
    pub(super) guessed: Option<usize>,
}

impl LeftOut {
    /// Finds the columns that `--label` and `--drop` name, and the column of the labels by its name if the
    /// user gave no `--label`. `names` is empty for a table without a header; `maybe` are the cells of a first
    /// line that is read as a sample and looks like a header.
    ///
    /// # Errors
    /// Names the column that the table does not have, or that two columns can be, or says that none is left.
    pub(super) fn of(
        options: &TableOptions,
        names: &[String],
        maybe: &[String],
        columns: usize,
    ) -> Result<Self, Reason> {
        let mut left_out = Self::default();
        let find = |option, text: &String| find(option, text, (names, maybe), columns);
        match &options.label {
            Some(none) if none.trim().eq_ignore_ascii_case("none") => {}
            Some(label) => left_out.label = Some(find("--label", label)?),
            None => {
                left_out.guessed = guess(names);
                left_out.label = left_out.guessed;
            }
        }
        left_out.columns.extend(left_out.label);
        let is_ignored = |column: &usize| options.ignore.contains(&names[*column]);
        left_out.columns.extend((0..names.len()).filter(is_ignored));
        for column in &options.drop {
            left_out.columns.push(find("--drop", column)?);
        }
        left_out.columns.sort_unstable();
        left_out.columns.dedup();
        if left_out.columns.len() == columns && columns > 0 {
            return Err(format!("no feature is left: --label and --drop name all {columns} columns").into());
        }
        Ok(left_out)
    }

    /// What the user should know of a column that was taken for labels.
    pub(super) fn notice(&self, names: &[String]) -> Option<String> {
        self.guessed.map(|label| {
            let (column, number) = (name_of(label, names), label + 1);
            format!("column {number}, '{column}', is taken for labels and left out; --label none keeps it")
        })
    }

    /// What the columns are called: by name, or by number.
    pub(super) fn names(&self, names: &[String]) -> Vec<String> {
        self.columns.iter().map(|&column| name_of(column, names)).collect()
    }
}

/// How messages call a column: by its name if it has one, else by its number.
pub(super) fn name_of(column: usize, names: &[String]) -> String {
    match names.get(column) {
        Some(name) if !name.is_empty() => name.clone(),
        _ => format!("column {}", column + 1),
    }
}

/// The place of the first or last column if its name is that of labels. A last `y` beside an `x` is a
/// coordinate.
fn guess(names: &[String]) -> Option<usize> {
    let last = names.len().checked_sub(1).filter(|last| *last > 0)?;
    let is = |column: usize, name: &str| names[column].eq_ignore_ascii_case(name);
    let has_x = (0..=last).any(|column| is(column, "x"));
    [last, 0].into_iter().find(|&column| {
        let is_y = is(column, "y");
        is_label(&names[column]) && !(is_y && (has_x || column == 0))
    })
}

/// How an option names a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Named<'a> {
    /// By its number, `column:4`.
    Number(i64),
    /// By its name: `name:4`, or a text that is no number.
    Name(&'a str),
    /// By a number that may also be its name.
    Either(i64, &'a str),
}

impl<'a> Named<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let text = text.trim();
        let number = |text: &str| text.trim().parse::<i64>().ok();
        match (text.strip_prefix("column:").and_then(number), text.strip_prefix("name:"), number(text)) {
            (Some(number), ..) => Self::Number(number),
            (_, Some(name), _) => Self::Name(name.trim()),
            (_, _, Some(number)) => Self::Either(number, text),
            _ => Self::Name(text),
        }
    }

    /// The number, if the column may be named by one.
    pub(super) fn number(self) -> Option<i64> {
        match self {
            Self::Number(number) | Self::Either(number, _) => Some(number),
            Self::Name(_) => None,
        }
    }

    fn name(self) -> Option<&'a str> {
        match self {
            Self::Name(name) | Self::Either(_, name) => Some(name),
            Self::Number(_) => None,
        }
    }
}

/// How `--drop` names this column and no other: by its number, or as `column:4` if another column has the
/// number as its name.
pub(super) fn place_of(column: usize, names: &[String]) -> String {
    let number = (column + 1).to_string();
    let is_other = |(at, name): (usize, &String)| at != column && *name == number;
    if names.iter().enumerate().any(is_other) { format!("column:{number}") } else { number }
}

/// The place of the column of this name, or of this number: from 1, or from -1 backwards.
fn find(
    option: &str,
    text: &str,
    (names, maybe): (&[String], &[String]),
    columns: usize,
) -> Result<usize, Reason> {
    let wanted = Named::of(text);
    let text = text.trim();
    let matches = |names: &[String]| -> Vec<usize> {
        let all = |same: fn(&str, &str) -> bool| -> Vec<usize> {
            let name = wanted.name();
            (0..names.len()).filter(|&column| name.is_some_and(|name| same(&names[column], name))).collect()
        };
        let exact = all(|a, b| a == b);
        if exact.is_empty() { all(str::eq_ignore_ascii_case) } else { exact }
    };
    let named = matches(names);
    let place = wanted.number().map(|number| if number < 0 { columns as i64 + number } else { number - 1 });
    let place = place.map(|place| usize::try_from(place).ok().filter(|place| *place < columns));
    match (&named[..], place) {
        ([first, second, ..], _) => Err(format!(
            "{option} {text}: columns {} and {} have this name; use the number of one",
            place_of(*first, names),
            place_of(*second, names)
        )
        .into()),
        // A number that is the name of another column, or may be.
        (_, Some(Some(place)))
            if let Some(other) = named.iter().chain(&matches(maybe)).find(|column| **column != place) =>
        {
            let (place, other) = (place + 1, other + 1);
            Err(format!(
                "{option} {text}: column {place}, or column {other}, whose name it is? write column:{text} or \
                 name:{text}"
            ).into())
        }
        ([column], _) => Ok(*column),
        (_, Some(Some(place))) => Ok(place),
        (_, Some(None)) => {
            Err(format!("{option} {text}: the columns have the numbers 1 to {columns}, or -1 to -{columns}")
                .into())
        }
        _ if names.is_empty() => Err(format!(
            "{option} {text}: the columns have no names here; use the number of one, from 1 to {columns}"
        )
        .into()),
        _ => {
            const MOST: usize = 12;
            let some: Vec<&str> = names.iter().take(MOST).map(String::as_str).collect();
            let more = if names.len() > MOST { ", …" } else { "" };
            let meant = did_you_mean(wanted.name().unwrap_or(text), names.iter().map(String::as_str));
            Err(format!(
                "{option} {text}: no column has this name{meant}; they are {}{more}",
                some.join(", ")
            )
            .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn columns_are_named_or_numbered() {
        let header = names("a,B,64,b");
        for (text, column) in
            [("a", 0), ("A", 0), ("B", 1), ("b", 3), ("64", 2), ("1", 0), ("4", 3), ("-1", 3)]
        {
            assert_eq!(find("--drop", text, (&header, &[]), 4).unwrap(), column, "{text}");
        }
        for (text, header, part) in [
            ("5", "a,b,c,d", "the numbers 1 to 4, or -1 to -4"),
            ("0", "a,b,c,d", "the numbers 1 to 4"),
            ("-5", "a,b,c,d", "the numbers 1 to 4"),
            ("e", "a,b,c,d", "no column has this name; they are a, b, c, d"),
            ("specie", "a,b,c,species", "no column has this name (did you mean species?); they are"),
            ("4", "1,2,4,9", "column 4, or column 3, whose name it is? write column:4 or name:4"),
            ("-1", "-1,b,c,d", "column 4, or column 1, whose name it is? write column:-1 or name:-1"),
            ("e", "", "the columns have no names here"),
            ("a", "a,b,a,d", "columns 1 and 3 have this name"),
            ("A", "a,b,a,d", "columns 1 and 3 have this name"),
        ] {
            let error = find("--drop", text, (&names(header), &[]), 4).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--drop {text}: ")) && error.contains(part), "{error}");
        }
    }

    /// A number that is the place of one column and the name of another, or may be its name, has to say which.
    #[test]
    fn a_number_is_a_place_or_a_name() {
        let counted = names("0,1,2,3,4");
        for (text, column) in
            [("column:4", 3), ("name:4", 4), ("column:-1", 4), (" 5 ", 4), ("5", 4), ("-1", 4)]
        {
            assert_eq!(find("--label", text, (&counted, &[]), 5).unwrap(), column, "{text}");
        }
        for (header, maybe) in [(&counted[..], &[][..]), (&[], &counted)] {
            let error = find("--label", "4", (header, maybe), 5).unwrap_err().to_string();
            assert!(error.ends_with("write column:4 or name:4"), "{error}");
        }
        assert_eq!(find("--label", "4", (&[], &[]), 5).unwrap(), 3);
        assert_eq!([place_of(0, &counted), place_of(4, &counted)], ["column:1", "5"]);
        assert_eq!(place_of(0, &names("1,2")), "1");
    }

    #[test]
    fn labels_are_guessed_by_name_at_the_ends() {
        for (header, guessed) in [
            ("a,b,label", Some(2)),
            ("Label,pixel0,pixel1", Some(0)),
            ("a,b,TARGET", Some(2)),
            ("a,class,b", None),
            ("a,b,y", Some(2)),
            ("x,y", None),
            ("y,a,b", None),
            ("label", None),
            ("", None),
        ] {
            assert_eq!(guess(&names(header)), guessed, "{header}");
        }
    }

    #[test]
    fn what_is_left_out_is_in_order_and_leaves_something() {
        let options = |label: Option<&str>, drop: &str| TableOptions {
            label: label.map(str::to_owned),
            drop: names(drop),
            ..TableOptions::default()
        };
        let header = names("a,b,c,label");
        let left_out = |label, drop| LeftOut::of(&options(label, drop), &header, &[], 4).unwrap();
        assert_eq!(left_out(None, "").columns, [3]);
        assert_eq!(left_out(None, "").guessed, Some(3));
        assert_eq!(left_out(Some("none"), ""), LeftOut::default());
        assert_eq!(left_out(Some("b"), "-1,1").columns, [0, 1, 3]);
        assert_eq!(left_out(Some("b"), "-1,1").names(&header), ["a", "b", "label"]);
        assert_eq!(left_out(Some("b"), "b").columns, [1]);
        let error = LeftOut::of(&options(Some("a"), "2,3,4"), &header, &[], 4).unwrap_err().to_string();
        assert!(error.contains("no feature is left"), "{error}");
    }
}
