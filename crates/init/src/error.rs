//! The errors of this crate.

use std::io;
use std::path::PathBuf;

use candle_core::DType;
use wick_theory::write_number;

use crate::layout::WeightLayout;
use crate::map::pattern::PatternError;

/// An error of this crate. The text of each variant names the condition that does not hold and what to do
/// about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The shape has fewer than two dimensions, so fans are not defined for it.
    #[error(
        "shape {shape:?} has no fans: {initializer} needs a weight of two or more dimensions [out, in, …]"
    )]
    NoFans {
        /// The requested shape.
        shape: Vec<usize>,
        /// The initializer that needed the fans.
        initializer: String,
    },
    /// The shape does not fit the layout.
    #[error("shape {shape:?} does not fit the layout {layout}: it needs {needs}")]
    WeightLayout {
        /// The requested shape.
        shape: Vec<usize>,
        /// The layout that was given for it.
        layout: WeightLayout,
        /// What the layout needs, in words.
        needs: &'static str,
    },
    /// The initializer cannot fill a tensor of this shape.
    #[error("{initializer} cannot fill shape {shape:?}: it needs {needs}")]
    Shape {
        /// The requested shape.
        shape: Vec<usize>,
        /// The initializer.
        initializer: String,
        /// The shapes that it fills, in words.
        needs: &'static str,
    },
    /// A parameter is NaN, infinite, or outside its range.
    #[error("{parameter} = {} is out of range: it must be {range}", write_number(*.value))]
    Parameter {
        /// The parameter's name.
        parameter: &'static str,
        /// The value that was given.
        value: f64,
        /// The allowed range, in words.
        range: &'static str,
    },
    /// The text names no known initializer.
    #[error("unknown initializer '{name}'{}", suggestion_or_all(.similar, .known))]
    UnknownInitializer {
        /// The name that was read.
        name: String,
        /// The nearest of the known names, at most three.
        similar: Vec<&'static str>,
        /// All known names, in groups: those of no library, structures, and each library's.
        known: String,
    },
    /// The text names a known initializer with a parameter that it does not have or that cannot be read.
    #[error("cannot read initializer '{spec}': {reason}")]
    Spec {
        /// The text that was read.
        spec: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The text is no learning rate.
    #[error("cannot read the learning rate '{0}': write a number from 0 on, or BASE/fan_in as 256/fan_in")]
    LearningRate(String),
    /// A parameter is larger than the largest number of the tensor's type.
    #[error("{} is beyond the largest {}; weights would be infinite", write_number(*.value), .dtype.as_str())]
    Overflow {
        /// The parameter.
        value: f64,
        /// The type.
        dtype: DType,
    },
    /// The weights would be rounded to 0 in the type.
    #[error(
        "{} is below the smallest number of type {}: weights would be zero; take a larger one or a wider type",
        write_number(*.value), .dtype.as_str()
    )]
    Underflow {
        /// The size of the weights.
        value: f64,
        /// The type.
        dtype: DType,
    },
    /// Weights can only be drawn in a floating point type.
    #[error("cannot draw weights of type {}: the types are f64, f32, bf16 and f16", .0.as_str())]
    Type(DType),
    /// The tensor has more bytes than can be counted.
    #[error("shape {shape:?} is more than any memory holds: ask for a smaller tensor")]
    TooLarge {
        /// The requested shape.
        shape: Vec<usize>,
    },
    /// The layer gave no hint of how to fill a weight, and no initializer was named for it.
    #[error(
        "no initializer for {} {shape:?}: its layer asks for zeros, which is what candle's \
         VarBuilder::get means by no hint; name one with a rule{}",
        quoted(.name),
        if .shape.len() >= 2 { " or with InitMap::with_default_init" } else { "" }
    )]
    NoInitializer {
        /// The tensor's full name.
        name: String,
        /// The tensor's shape.
        shape: Vec<usize>,
    },
    /// The map is strict, and no rule matches the tensor.
    #[error("no rule for {} {shape:?}, and the rules are strict", quoted(.name))]
    NoRule {
        /// The tensor's full name.
        name: String,
        /// The tensor's shape.
        shape: Vec<usize>,
    },
    /// The layer's number in the tensor's name is not below the depth that the rule is for.
    #[error("layer {layer} is beyond the {layers} layers that the rule '{pattern}' is for")]
    Depth {
        /// The layer's number in the name, from 0.
        layer: usize,
        /// The model's depth according to the rule.
        layers: usize,
        /// The rule's pattern.
        pattern: String,
    },
    /// A pattern cannot be read.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A tensor cannot be initialized.
    #[error("{}: {error}", quoted(.name))]
    Tensor {
        /// The tensor's full name.
        name: String,
        /// The reason.
        #[source]
        error: Box<Error>,
    },
    /// A file cannot be read.
    #[error("cannot read '{}': {reason}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason, in words.
        reason: String,
        /// The error of the operating system, if it is the reason.
        source: Option<io::Error>,
    },
    /// A safetensors file has no tensor of this name.
    #[error("'{}' has no tensor {}", .path.display(), quoted(.name))]
    NotInFile {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A tensor of a safetensors file is of a type that is not read.
    #[error(
        "{} in '{}' is of type {}, which is not read: save it as F32",
        quoted(.name), .path.display(), short(.dtype)
    )]
    StoredType {
        /// The file.
        path: PathBuf,
        /// The tensor's full name.
        name: String,
        /// The type, as the file names it.
        dtype: String,
    },
    /// A tensor has the name of what a safetensors file says about itself.
    #[error(
        "a tensor cannot be called {} in a safetensors file, where this name is the file's own: give it another",
        quoted(.0)
    )]
    ReservedName(String),
    /// A shape whose sizes, those beside a 0 too, multiply to more than memory has addresses for.
    #[error("{} is {shape:?}, which no memory holds", quoted(.name))]
    ImpossibleShape {
        /// The name of the tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// The names of the tensors and the metadata are more than a safetensors file can have.
    #[error(
        "cannot write '{}': the names and metadata take {length} bytes, and safetensors allows {largest}: \
         give the tensors shorter names, or write them to several files",
        .path.display()
    )]
    Header {
        /// The file.
        path: PathBuf,
        /// The length of the header.
        length: u64,
        /// The largest header that the format allows.
        largest: u64,
    },
    /// A file cannot be written.
    #[error("{source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The error of the operating system, whose text names the file.
        source: io::Error,
    },
    /// A tensor was requested again with another shape, type or device.
    #[error("{} is {made}, and {asked} is asked for", quoted(.name))]
    Mismatch {
        /// The tensor's full name.
        name: String,
        /// Shape, type and device of the first request.
        made: String,
        /// Shape, type and device of this request.
        asked: String,
    },
    /// A tensor was requested by name alone, and no tensor of that name has been made.
    #[error("no tensor {} has been made, and its shape is not known", quoted(.0))]
    NoSuchTensor(String),
    /// The jax stream has a key for each parameter of Flax's layers, and this name is of none of them.
    #[error(
        "the jax stream has no key for {}: Flax's parameters end in kernel, weight, embedding, scale or bias; draw \
         another one with JaxKey::of_param, which takes its number",
        quoted(.0)
    )]
    JaxName(String),
    /// candle could not make or move a tensor.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// Returns a name as an error shows it: in quotes, on one line, and not longer than a line can be.
pub(crate) fn quoted(name: &str) -> String {
    format!("'{}'", short(name))
}

/// Returns a text on one line, without control characters, and shortened in its middle.
fn short(text: &str) -> String {
    const MOST: usize = 200;
    let count = text.chars().count();
    if count <= MOST {
        return on_one_line(text);
    }
    let kept = |from: usize| on_one_line(&text.chars().skip(from).take(MOST / 2).collect::<String>());
    format!("{}…{}", kept(0), kept(count - MOST / 2))
}

/// Returns a text with its control characters, line breaks among them, as escapes.
pub(crate) fn on_one_line(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

/// A question in parentheses if there are similar names, else all names.
fn suggestion_or_all(similar: &[&str], known: &str) -> String {
    if similar.is_empty() {
        format!("; known: {known}")
    } else {
        format!(" (did you mean {}?)", similar.join(" or "))
    }
}

/// A text of any length, for an error message.
pub(crate) fn shortened(text: &str) -> String {
    const MOST: usize = 64;
    let mut short: String = text.chars().take(MOST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

impl Error {
    /// Adds the name of the tensor that the error is about.
    pub(crate) fn of_tensor(self, name: &str) -> Self {
        Self::Tensor { name: name.to_owned(), error: Box::new(self) }
    }
}

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(error) => error,
            error => Self::wrap(error),
        }
    }
}

impl From<PatternError> for candle_core::Error {
    fn from(error: PatternError) -> Self {
        Error::from(error).into()
    }
}

/// Returns the parameter if it is finite and `holds`; write the condition so that NaN fails it.
pub(crate) fn check(
    parameter: &'static str,
    value: f64,
    holds: bool,
    range: &'static str,
) -> Result<f64, Error> {
    if value.is_finite() && holds { Ok(value) } else { Err(Error::Parameter { parameter, value, range }) }
}
