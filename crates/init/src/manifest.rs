//! What each tensor of a model got, and from where.

use std::fmt;

use candle_core::{DType, Result, Tensor};
use serde::Serialize;

/// What each tensor got: serializes to the JSON of `init-weights`, and is written as a table.
///
/// ```
/// use candle_core::{DType, Device};
/// use wick_init::{InitMap, Initializer};
///
/// let map = InitMap::new(42).with_default_init(Initializer::lecun_normal());
/// map.var_builder(DType::F32, &Device::Cpu).get((2, 4), "fc.weight")?;
/// let table = map.manifest()?.to_string();
/// let first: Vec<&str> = table.lines().nth(1).unwrap_or_default().split_whitespace().take(4).collect();
/// assert_eq!(first, ["fc.weight", "2x4", "f32", "drawn"]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Manifest {
    /// `keyed_v1`, `torch` or `rand`, with the seed where there is one.
    pub stream: String,
    /// In the order of their names.
    pub tensors: Vec<ManifestEntry>,
}

/// What one tensor got.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ManifestEntry {
    /// The full name.
    pub name: String,
    /// The shape.
    pub shape: Vec<usize>,
    /// The type.
    pub dtype: &'static str,
    /// `drawn` or `loaded`.
    pub origin: Origin,
    /// The pattern of the rule that it meets first, or `weights`, or `hint`; empty for what was loaded and meets none.
    pub rule: String,
    /// The initializer, as a SPEC; empty for what was loaded.
    pub init: String,
    /// `None` for what has no fans.
    pub fan_in: Option<f64>,
    /// `None` for what has no fans.
    pub fan_out: Option<f64>,
    /// The standard deviation that the initializer means; `None` for a structure whose elements have none, and for what was
    /// loaded.
    pub expected_std: Option<f64>,
    /// The standard deviation that the elements have now; `None` without elements.
    pub std: Option<f64>,
    /// By what the learning rate is to be multiplied.
    pub learning_rate: f64,
    /// The hash of the name that the keyed stream used, in hexadecimal; `None` for other streams.
    pub key: Option<String>,
}

/// Where a tensor came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// From an initializer.
    Drawn,
    /// From a file.
    Loaded,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drawn => "drawn",
            Self::Loaded => "loaded",
        })
    }
}

/// One line a tensor under a line of headings, in columns.
impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEADER: [&str; 12] = [
            "name",
            "shape",
            "type",
            "origin",
            "rule",
            "init",
            "fan_in",
            "fan_out",
            "std meant",
            "std",
            "learning rate",
            "key",
        ];
        let number = |x: Option<f64>| x.map_or_else(|| "-".to_owned(), |x| format!("{x:.4e}"));
        let row = |t: &ManifestEntry| {
            let shape: Vec<String> = t.shape.iter().map(usize::to_string).collect();
            let fan = |fan: Option<f64>| fan.map_or_else(|| "-".to_owned(), |fan| fan.to_string());
            [
                t.name.clone(),
                if shape.is_empty() { "scalar".to_owned() } else { shape.join("x") },
                t.dtype.to_owned(),
                t.origin.to_string(),
                t.rule.clone(),
                t.init.clone(),
                fan(t.fan_in),
                fan(t.fan_out),
                number(t.expected_std),
                number(t.std),
                t.learning_rate.to_string(),
                t.key.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        };
        let mut rows = vec![HEADER.map(str::to_owned)];
        rows.extend(self.tensors.iter().map(row));
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..HEADER.len()).map(width).collect();
        for row in &rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        write!(f, "stream: {}", self.stream)
    }
}

/// The population standard deviation of the elements; `None` without any.
pub(crate) fn std(tensor: &Tensor) -> Result<Option<f64>> {
    let values = tensor.to_device(&candle_core::Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?;
    let values = values.to_vec1::<f64>()?;
    if values.is_empty() {
        return Ok(None);
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    Ok(Some((values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt()))
}
