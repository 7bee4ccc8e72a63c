//! Tables of text.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, TableStyle};

/// A table of text.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// The line above the table.
    pub title: String,
    /// The names of the columns.
    pub header: Vec<String>,
    /// The rows, each as long as the header. A column of numbers is aligned to the right.
    pub rows: Vec<Vec<String>>,
    /// The lines below the table.
    pub note: String,
}

impl Table {
    /// A table without rows.
    pub fn new<const N: usize>(title: impl Into<String>, header: [&str; N]) -> Self {
        Self { title: title.into(), header: header.map(str::to_owned).to_vec(), ..Self::default() }
    }

    /// Adds a row.
    pub fn row(&mut self, row: impl IntoIterator<Item = String>) {
        self.rows.push(row.into_iter().collect());
    }
}

/// The rows of `count` that a table of about ten rows shows: every 1st, 2nd, 5th, 10th, …, and the last.
///
/// ```
/// use wick_bins::output::rows_to_show;
///
/// assert_eq!(rows_to_show(4), [0, 1, 2, 3]);
/// assert_eq!(rows_to_show(38), [0, 5, 10, 15, 20, 25, 30, 35, 37]);
/// ```
pub fn rows_to_show(count: usize) -> Vec<usize> {
    const ABOUT: usize = 12;
    let steps = (0..).flat_map(|power| [1, 2, 5].map(|digit| digit * 10usize.pow(power)));
    let step = steps.into_iter().find(|step| count <= step * ABOUT).unwrap_or(1);
    let mut rows: Vec<usize> = (0..count).step_by(step).collect();
    rows.extend(count.checked_sub(1).filter(|last| last % step != 0));
    rows
}

/// A rule under the header and no other lines.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// Returns the table as lines of text.
pub(super) fn render(table: &Table) -> String {
    let mut text = String::new();
    if !table.title.is_empty() {
        text += &format!("{}\n", table.title);
    }
    if !table.header.is_empty() {
        let mut grid = comfy_table::Table::new();
        grid.load_style(STYLE)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(&table.header)
            .add_rows(&table.rows);
        for (index, column) in grid.column_iter_mut().enumerate() {
            let numeric = table.rows.iter().all(|row| row.get(index).is_some_and(|cell| looks_numeric(cell)));
            if numeric {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        // Trailing blanks are of no use in a pipe.
        for line in grid.to_string().lines() {
            text += line.trim_end();
            text.push('\n');
        }
    }
    if !table.note.is_empty() {
        text += &format!("{}\n", table.note);
    }
    text
}

fn looks_numeric(cell: &str) -> bool {
    // A cell with several numbers is aligned to the left.
    !cell.contains("  ") && cell.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '–' || c == '.')
        || cell == "NaN"
        || cell == "inf"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_for_people() {
        let mut table = Table::new("title", ["name", "std"]);
        table.row(["layer_0".into(), "0.5".into()]);
        table.row(["layer_10".into(), "12.25".into()]);
        table.note = "note".into();
        insta::assert_snapshot!(render(&table), @r"
        title
         name         std
        ──────────────────
         layer_0      0.5
         layer_10   12.25
        note
        ");
    }
}
