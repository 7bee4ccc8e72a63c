//! Initializers as text: `name` or `name:key=value,…`.

mod plain;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use wick_theory::{nearest_names, write_number};

use super::Initializer;
use super::distribution::Distribution;
use super::parameters::{Parameters, Reader, Row, word};
use crate::conventions::{jax, keras, timm, torch};
use crate::error::{Error, shortened};
use crate::layout::WeightLayout;
use crate::structures;

/// All names that can be read, with their readers, in groups.
const GROUPS: [(&str, &[Row]); 6] = [
    ("", plain::ROWS),
    ("structures: ", structures::ROWS),
    ("PyTorch's: ", torch::ROWS),
    ("JAX's: ", jax::ROWS),
    ("Keras': ", keras::ROWS),
    ("timm's: ", timm::ROWS),
];

fn rows() -> impl Iterator<Item = &'static Row> {
    GROUPS.into_iter().flat_map(|(_, rows)| rows)
}

fn find(name: &str) -> Result<Reader, Error> {
    let spellings = [name.to_owned(), name.to_ascii_lowercase().replace('-', "_"), snake_case(name)];
    let row = spellings.iter().find_map(|name| rows().find(|(known, _)| known == name));
    row.map(|(_, read)| *read).ok_or_else(|| {
        let names = |rows: &[Row]| rows.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let known = GROUPS.map(|(group, rows)| format!("{group}{}", names(rows))).join("; ");
        let similar = nearest_names(&in_library(name), Initializer::names());
        Error::UnknownInitializer { name: shortened(name), similar, known }
    })
}

/// The name of a class, `keras.HeNormal`, as that of a function, `keras.he_normal`.
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

/// A name as its library has it, `torch.nn.init.trunc_normal_`, with the library's short name and without the
/// underscore at its end.
fn in_library(name: &str) -> String {
    const PATHS: [(&str, &str); 6] = [
        ("torch.nn.init.", "torch."),
        ("nn.init.", "torch."),
        ("init.", "torch."),
        ("jax.nn.initializers.", "jax."),
        ("tf.keras.initializers.", "keras."),
        ("keras.initializers.", "keras."),
    ];
    let lower = name.to_ascii_lowercase();
    let of_library =
        PATHS.iter().find_map(|(path, short)| Some(format!("{short}{}", lower.strip_prefix(path)?)));
    of_library.unwrap_or(lower).trim_end_matches('_').to_owned()
}

impl Initializer {
    /// Lists all names that can be read as a SPEC, in the order of the catalogue's libraries.
    pub fn names() -> impl Iterator<Item = &'static str> {
        rows().map(|(name, _)| *name)
    }
}

/// Reads a SPEC, `name` or `name:key=value,…`. A structured initializer has its name and its parameters with
/// its constructor; the others are:
///
/// | name | parameters |
/// |---|---|
/// | `zeros`, `ones` | |
/// | `constant` | `value` |
/// | `normal` | `std` or `variance`; `mean` (0) |
/// | `uniform` | `bound`, or `low` and `high` |
/// | `xavier_normal`, `xavier_uniform` (or `glorot_…`) | `gain` (1), `mode` (`fan_avg`) |
/// | `kaiming_normal`, `kaiming_uniform` (or `he_…`) | `gain` (√2), `mode` (`fan_in`) |
/// | `lecun_normal`, `lecun_uniform` | `gain` (1), `mode` (`fan_in`) |
/// | `variance_scaling` | `scale` (1), `mode` (`fan_in`), `distribution` (`normal`, `truncated_normal`, `truncated_normal_3` or `uniform`) |
/// | `truncated_normal` | `std` (before the cut); `mean` (0), `low` and `high` (±2 std around the mean) |
/// | `siren_first`, `siren_hidden` | `omega` (30) for the second |
/// | `recurrent` | `gates` (1) |
/// | `torch.linear` | |
/// | `torch.uniform`, `torch.normal` | `a` (0), `b` (1); `mean` (0), `std` (1) |
/// | `torch.trunc_normal`, `timm.trunc_normal` | `mean` (0), `std` (1), `a` (-2), `b` (2) |
/// | `torch.xavier_uniform`, `torch.xavier_normal` | `gain` (1) |
/// | `torch.kaiming_uniform`, `torch.kaiming_normal` | `a` (0), `mode` (`fan_in`), `nonlinearity` (`leaky_relu`) |
/// | `jax.uniform` | `scale` (0.01): U(0, scale) |
/// | `jax.normal` | `stddev` (0.01) |
/// | `jax.truncated_normal` | `stddev` (0.01), `lower` (-2) and `upper` (2) in units of it |
/// | `jax.delta_orthogonal` | `scale` (1) |
/// | `jax.variance_scaling` | `distribution`; `scale` (1), `mode` (`fan_in`) |
/// | `jax.glorot_…`, `jax.he_…`, `jax.lecun_…`, each `normal` or `uniform`; the same with `keras.` | `gain`, `mode` |
/// | `keras.random_normal`, `keras.truncated_normal` | `mean` (0), `stddev` (0.05) |
/// | `keras.random_uniform` | `minval` (-0.05), `maxval` (0.05) |
/// | `keras.variance_scaling` | `scale` (1), `mode` (`fan_in`), `distribution` (`truncated_normal`; `normal` is the same, `untruncated_normal` not) |
/// | `timm.trunc_normal_tf` | `mean` (0), `std` (1), `a` (-2) and `b` (2) in units of the std |
/// | `timm.variance_scaling` | `scale` (1), `mode` (`fan_in`), `distribution` (`normal`) |
/// | `timm.lecun_normal` | `gain`, `mode` |
///
/// A number can be a formula of numbers, `pi`, `+ - * / ^`, `sqrt` and parentheses: `gain=sqrt(2)`,
/// `std=1/sqrt(512)`. `gain` is a number, the name of an activation, whose gain is computed, or `torch.` and
/// the name of an activation of PyTorch's table of gains. Names are read in any case, with `-` for `_` too,
/// and as the names of classes (`HeNormal`). The [catalogue](crate::catalogue) has a section on each
/// initializer.
///
/// ```
/// use wick_init::{FanMode, Initializer};
///
/// assert_eq!("normal:std=0.01".parse::<Initializer>()?, Initializer::normal(0.01));
/// assert_eq!("normal:variance=0.01".parse::<Initializer>()?, Initializer::normal(0.1));
/// let initializer: Initializer = "kaiming_normal:gain=tanh,mode=fan_out".parse()?;
/// let by_hand = Initializer::kaiming_normal()
///     .with_gain(wick_theory::Activation::Tanh.gain())
///     .with_mode(FanMode::FanOut);
/// assert_eq!(initializer, by_hand);
/// # Ok::<(), wick_init::Error>(())
/// ```
impl FromStr for Initializer {
    type Err = Error;

    fn from_str(spec: &str) -> Result<Self, Error> {
        let (name, rest) = match spec.split_once(':') {
            Some((name, rest)) => (name.trim(), Some(rest)),
            None => (spec.trim(), None),
        };
        let read = find(name)?;
        let mut parameters = Parameters::parse(spec, rest, find)?;
        let initializer = read(&mut parameters).map_err(|error| match (error, parameters.misspelled()) {
            (Error::Spec { .. }, Some(key)) => parameters.error(&parameters.not_taken(name, key)),
            (error, _) => error,
        })?;
        if let Some(key) = parameters.left_over() {
            return Err(parameters.error(&parameters.not_taken(name, key)));
        }
        // Parameters that are wrong for every shape (crossed bounds, a negative std) are refused here.
        match initializer.plan(&[1, 1], WeightLayout::Plain) {
            Ok(_) | Err(Error::NoFans { .. } | Error::Shape { .. }) => Ok(initializer),
            Err(error) => Err(error),
        }
    }
}

type Constructor = fn() -> Initializer;

/// The names that are written without parameters.
const NAMED: [(&str, Constructor); 11] = [
    ("zeros", Initializer::zeros),
    ("ones", Initializer::ones),
    ("xavier_normal", Initializer::xavier_normal),
    ("xavier_uniform", Initializer::xavier_uniform),
    ("kaiming_normal", Initializer::kaiming_normal),
    ("kaiming_uniform", Initializer::kaiming_uniform),
    ("lecun_normal", Initializer::lecun_normal),
    ("lecun_uniform", Initializer::lecun_uniform),
    ("jax.glorot_normal", jax::glorot_normal),
    ("jax.he_normal", jax::he_normal),
    ("jax.lecun_normal", jax::lecun_normal),
];

/// Writes a SPEC that reads back as the same initializer.
impl fmt::Display for Initializer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, _)) = NAMED.into_iter().find(|(_, make)| make() == *self) {
            return f.write_str(name);
        }
        let number = |x: &f64| write_number(*x);
        match self {
            Self::Constant(value) => write!(f, "constant:value={}", number(value)),
            Self::Normal { mean, std } if *mean == 0.0 => write!(f, "normal:std={}", number(std)),
            Self::Normal { mean, std } => write!(f, "normal:mean={},std={}", number(mean), number(std)),
            Self::Uniform { low, high } => write!(f, "uniform:low={},high={}", number(low), number(high)),
            Self::TruncatedNormal { mean, std, low, high } => {
                let [mean, std, low, high] = [mean, std, low, high].map(number);
                write!(f, "truncated_normal:mean={mean},std={std},low={low},high={high}")
            }
            Self::VarianceScaling { scale, mode, distribution } => {
                let distribution = word(&Distribution::WORDS, distribution);
                let scale = number(scale);
                write!(f, "variance_scaling:scale={scale},mode={},distribution={distribution}", mode.name())
            }
            Self::SirenFirst => f.write_str("siren_first"),
            Self::SirenHidden { omega } => write!(f, "siren_hidden:omega={}", number(omega)),
            Self::Recurrent { gates } => write!(f, "recurrent:gates={gates}"),
            Self::Structured(structured) => structured.fmt(f),
        }
    }
}
