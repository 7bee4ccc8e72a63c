//! What init-weights prints.

use serde::Serialize;
use wick_bins::names::on_one_line;
use wick_bins::output::{Report, Table, exact, short};
use wick_init::{Cell, Manifest};

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct InitWeights {
    pub(crate) manifest: Manifest,
}

/// The text of a cell, with numbers formatted by `number`, and `missing` for no value.
fn text(cell: Cell, number: fn(f64) -> String, missing: &str) -> String {
    match cell {
        Cell::Text(text) => text,
        Cell::Shape(shape) if shape.is_empty() => "scalar".into(),
        Cell::Shape(shape) => shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×"),
        Cell::Fan(x) if x.fract() == 0.0 && x < 1e15 => format!("{x}"),
        Cell::Fan(x) | Cell::Std(x) | Cell::Factor(x) => number(x),
        _ => missing.into(),
    }
}

impl Report for InitWeights {
    fn tables(&self) -> Vec<Table> {
        // All tensors are drawn, so their origin is left out.
        let is_shown = |key: &str| key != "origin";
        let header =
            Manifest::COLUMNS.into_iter().filter(|(key, _)| is_shown(key)).map(|(key, heading)| match key {
                "name" => "tensor".into(),
                "init" => "initializer".into(),
                _ => heading.to_owned(),
            });
        let title = format!("Stream: {}", self.manifest.stream);
        let mut table = Table { title, header: header.collect(), ..Table::default() };
        for entry in &self.manifest.tensors {
            let cells =
                Manifest::COLUMNS.into_iter().zip(entry.cells()).filter(|((key, _), _)| is_shown(key));
            table.row(cells.map(|(_, cell)| match cell {
                Cell::Factor(x) => format!("×{}", short(x)),
                Cell::Text(text) => on_one_line(&text),
                cell => text(cell, short, "–"),
            }));
        }
        let numbers: usize = self.manifest.tensors.iter().map(|t| t.shape.iter().product::<usize>()).sum();
        table.note = match self.manifest.tensors.len() {
            1 => format!("1 tensor, {numbers} numbers"),
            count => format!("{count} tensors, {numbers} numbers"),
        };
        vec![table]
    }

    fn csv(&self) -> Table {
        let mut table = Table::new("", Manifest::COLUMNS.map(|(key, _)| key));
        for entry in &self.manifest.tensors {
            table.row(entry.cells().map(|cell| text(cell, exact, "")));
        }
        table
    }
}
