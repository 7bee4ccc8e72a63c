//! The manifest: what each tensor of a model was initialized from.

use std::fmt;

use candle_core::Tensor;
use serde::Serialize;

use super::{Drawn, Entry, InitMap};
use crate::error::{Error, on_one_line};
use crate::fans::Fans;

/// A record of what each tensor was initialized from. It serializes to the JSON of `init-weights`, and
/// `Display` writes it as a table.
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
    /// `keyed_v1`, `torch`, `jax` or `rand`, with the seed where there is one.
    pub stream: String,
    /// The tensors in the order of their names.
    pub tensors: Vec<ManifestEntry>,
}

/// What one tensor was initialized from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ManifestEntry {
    /// The full name.
    pub name: String,
    /// The shape.
    pub shape: Vec<usize>,
    /// The type.
    pub dtype: &'static str,
    /// Whether the tensor was drawn, loaded or adapted.
    pub origin: Origin,
    /// The pattern of the first rule that matches (of patterns with ` | ` between them, the one that does), or
    /// `default` (the map's default initializer), or `hint`;
    /// empty for a loaded tensor that no rule matches.
    pub rule: String,
    /// The initializer, as a SPEC; empty for a loaded tensor, and in words what was done to an adapted one.
    pub init: String,
    /// The fan_in; `None` if the shape has no fans.
    pub fan_in: Option<f64>,
    /// The fan_out; `None` if the shape has no fans.
    pub fan_out: Option<f64>,
    /// The standard deviation that the initializer gives; `None` for a loaded tensor, and for a structured
    /// initializer whose elements have none.
    pub expected_std: Option<f64>,
    /// The standard deviation of the elements as they are now; `None` without elements.
    pub std: Option<f64>,
    /// The factor for the learning rate.
    pub learning_rate: f64,
    /// The hash of the name that the keyed stream used, in hexadecimal; `None` for other streams and loaded
    /// tensors.
    pub key: Option<String>,
}

/// Whether a tensor was drawn or loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Drawn from an initializer.
    Drawn,
    /// Loaded from a file.
    Loaded,
    /// Loaded from a file and adapted to another shape by its rule.
    Adapted,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drawn => "drawn",
            Self::Loaded => "loaded",
            Self::Adapted => "adapted",
        })
    }
}

/// A cell of the manifest as a table; a printer formats each kind in its own way.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Cell {
    /// A text.
    Text(String),
    /// The shape of a tensor.
    Shape(Vec<usize>),
    /// A fan.
    Fan(f64),
    /// A standard deviation.
    Std(f64),
    /// The factor for a learning rate.
    Factor(f64),
    /// No value.
    Missing,
}

impl Manifest {
    /// The columns of the manifest as a table: each one's key in JSON and CSV, and its heading.
    pub const COLUMNS: [(&'static str, &'static str); 12] = [
        ("name", "name"),
        ("shape", "shape"),
        ("dtype", "type"),
        ("origin", "origin"),
        ("rule", "rule"),
        ("init", "init"),
        ("fan_in", "fan_in"),
        ("fan_out", "fan_out"),
        ("expected_std", "expected std"),
        ("std", "std"),
        ("learning_rate", "learning rate"),
        ("key", "key"),
    ];
}

impl ManifestEntry {
    /// The entry's cells, in the order of [`Manifest::COLUMNS`].
    pub fn cells(&self) -> [Cell; 12] {
        let text = |text: &str| Cell::Text(text.to_owned());
        let number = |x: Option<f64>, cell: fn(f64) -> Cell| x.map_or(Cell::Missing, cell);
        [
            text(&self.name),
            Cell::Shape(self.shape.clone()),
            text(self.dtype),
            Cell::Text(self.origin.to_string()),
            text(&self.rule),
            text(&self.init),
            number(self.fan_in, Cell::Fan),
            number(self.fan_out, Cell::Fan),
            number(self.expected_std, Cell::Std),
            number(self.std, Cell::Std),
            Cell::Factor(self.learning_rate),
            self.key.as_deref().map_or(Cell::Missing, text),
        ]
    }
}

/// Writes a line of headings, a line for each tensor, in columns, and the stream.
impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |cell: Cell| match cell {
            Cell::Text(text) => on_one_line(&text),
            Cell::Shape(shape) if shape.is_empty() => "scalar".to_owned(),
            Cell::Shape(shape) => shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x"),
            Cell::Fan(x) | Cell::Factor(x) => x.to_string(),
            Cell::Std(x) => format!("{x:.4e}"),
            Cell::Missing => "-".to_owned(),
        };
        let mut rows = vec![Self::COLUMNS.map(|(_, heading)| heading.to_owned())];
        rows.extend(self.tensors.iter().map(|entry| entry.cells().map(text)));
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..Self::COLUMNS.len()).map(width).collect();
        for row in &rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        write!(f, "stream: {}", self.stream)
    }
}

impl InitMap {
    /// Records what each variable was initialized from.
    ///
    /// # Errors
    /// [`Error::Candle`] if the device cannot hand over the values, and the errors of
    /// [`learning_rates`](Self::learning_rates).
    pub fn manifest(&self) -> Result<Manifest, Error> {
        let stream = self.lock_rng().to_string();
        let vars = self.lock();
        let tensors = vars
            .iter()
            .map(|(name, Entry { var, rule, drawn })| self.manifest_entry(name, var, *rule, drawn.as_ref()));
        Ok(Manifest { stream, tensors: tensors.collect::<Result<_, _>>()? })
    }

    pub(super) fn manifest_entry(
        &self,
        name: &str,
        tensor: &Tensor,
        rule: Option<usize>,
        drawn: Option<&Drawn>,
    ) -> Result<ManifestEntry, Error> {
        let (shape, layout) = (tensor.dims(), self.layout(rule));
        let fans = Fans::with_layout(shape, layout).ok();
        let adapted = drawn.is_none().then(|| self.adaptation_text(rule, name, shape)).flatten();
        let key = drawn.and_then(|_| self.lock_rng().key_of(name));
        Ok(ManifestEntry {
            name: name.to_owned(),
            shape: shape.to_vec(),
            dtype: tensor.dtype().as_str(),
            origin: match (drawn, &adapted) {
                (Some(_), _) => Origin::Drawn,
                (None, Some(_)) => Origin::Adapted,
                (None, None) => Origin::Loaded,
            },
            rule: match (rule, drawn) {
                (Some(index), _) => {
                    let pattern = &self.settings.rules[index].pattern;
                    pattern.matched(name, shape).unwrap_or(pattern.first()).to_owned()
                }
                (None, Some(drawn)) => drawn.source.to_owned(),
                (None, None) => String::new(),
            },
            init: drawn.map(|drawn| drawn.initializer.to_string()).or(adapted).unwrap_or_default(),
            fan_in: fans.map(|fans| fans.fan_in),
            fan_out: fans.map(|fans| fans.fan_out),
            expected_std: match drawn {
                Some(drawn) => drawn.initializer.std_with_layout(shape, layout)?,
                None => None,
            },
            std: std(tensor)?,
            learning_rate: self.learning_rate(name, shape, rule)?,
            key: key.map(|key| format!("{:016x}", key.name_hash())),
        })
    }
}

/// The population standard deviation of the elements; `None` without any.
fn std(tensor: &Tensor) -> Result<Option<f64>, Error> {
    Ok((tensor.elem_count() > 0).then_some(wick_kernels::moments(tensor)?.std()))
}
