//! What init-weights prints.

use serde::Serialize;
use wick_bins::output::{Report, Table, short};
use wick_init::Manifest;

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct InitWeights {
    pub(crate) manifest: Manifest,
}

fn shape_text(shape: &[usize]) -> String {
    if shape.is_empty() {
        "scalar".into()
    } else {
        shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×")
    }
}

impl Report for InitWeights {
    fn tables(&self) -> Vec<Table> {
        let or_none = |x: Option<f64>| x.map_or_else(|| "–".into(), short);
        let header = [
            "tensor",
            "shape",
            "type",
            "rule",
            "initializer",
            "fan_in",
            "fan_out",
            "std meant",
            "std",
            "learning rate",
            "key",
        ];
        let mut table = Table::new(format!("Stream: {}", self.manifest.stream), header);
        for t in &self.manifest.tensors {
            table.row([
                t.name.clone(),
                shape_text(&t.shape),
                t.dtype.to_owned(),
                t.rule.clone(),
                t.init.clone(),
                or_none(t.fan_in),
                or_none(t.fan_out),
                or_none(t.expected_std),
                or_none(t.std),
                format!("×{}", short(t.learning_rate)),
                t.key.clone().unwrap_or_else(|| "–".into()),
            ]);
        }
        let numbers: usize = self.manifest.tensors.iter().map(|t| t.shape.iter().product::<usize>()).sum();
        table.note = format!("{} tensors, {numbers} numbers", self.manifest.tensors.len());
        vec![table]
    }

    fn csv(&self) -> Table {
        let header = [
            "name",
            "shape",
            "dtype",
            "origin",
            "rule",
            "init",
            "fan_in",
            "fan_out",
            "expected_std",
            "std",
            "learning_rate",
            "key",
        ];
        let mut table = Table::new("", header);
        let or_empty = |x: Option<f64>| x.map_or_else(String::new, |x| x.to_string());
        for t in &self.manifest.tensors {
            table.row([
                t.name.clone(),
                shape_text(&t.shape),
                t.dtype.to_owned(),
                t.origin.to_string(),
                t.rule.clone(),
                t.init.clone(),
                or_empty(t.fan_in),
                or_empty(t.fan_out),
                or_empty(t.expected_std),
                or_empty(t.std),
                t.learning_rate.to_string(),
                t.key.clone().unwrap_or_default(),
            ]);
        }
        table
    }
}
