//! What can be wrong with an initializer or with what it is asked to fill.

use candle_core::DType;

use crate::{PatternError, WeightLayout};

/// An error of this crate. Each variant's text is the condition that does not hold and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The shape has fewer than two dimensions, so fans are not defined for it.
    #[error("shape {shape:?} has no fans: {scheme} needs a weight of two or more dimensions [out, in, …]")]
    NoFans {
        /// The shape asked for.
        shape: Vec<usize>,
        /// The initializer that needed the fans.
        scheme: String,
    },
    /// The shape is none of that layout.
    #[error("shape {shape:?} does not fit the layout {layout}: it needs {needs}")]
    WeightLayout {
        /// The shape asked for.
        shape: Vec<usize>,
        /// What its dimensions were said to mean.
        layout: WeightLayout,
        /// What must divide what, in words.
        needs: &'static str,
    },
    /// The scheme puts a structure into the weight that a weight of this shape cannot have.
    #[error("{scheme} cannot fill shape {shape:?}: it needs {needs}")]
    Shape {
        /// The shape asked for.
        shape: Vec<usize>,
        /// The initializer.
        scheme: String,
        /// What shapes it fills, in words.
        needs: &'static str,
    },
    /// A parameter is NaN, infinite, or outside its range.
    #[error("{parameter} = {value} is out of range: it must be {range}")]
    Parameter {
        /// Its name.
        parameter: &'static str,
        /// What it was.
        value: f64,
        /// What it may be, in words.
        range: &'static str,
    },
    /// The text names no known initializer.
    #[error("unknown initializer '{name}'; known: {known}")]
    UnknownInitializer {
        /// What was read.
        name: String,
        /// Every name there is.
        known: String,
    },
    /// The text names a known initializer with a parameter that it does not have or that cannot be read.
    #[error("cannot read initializer '{spec}': {reason}")]
    Spec {
        /// What was read.
        spec: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A parameter is beyond the largest number of the tensor's type.
    #[error("{value} is beyond the largest {}; weights would be infinite", .dtype.as_str())]
    Overflow {
        /// The parameter.
        value: f64,
        /// The type.
        dtype: DType,
    },
    /// Weights can only be drawn in a floating point type.
    #[error("cannot draw weights of type {}: the types are f64, f32, bf16 and f16", .0.as_str())]
    Type(DType),
    /// The layer gave no hint of how to fill a weight, and no initializer was named for it.
    #[error(
        "no initializer for '{name}' {shape:?}: its layer asks for zeros, which is what candle's \
         VarBuilder::get means by no hint; name one with a rule{}",
        if .shape.len() >= 2 { " or with InitMap::with_default_init" } else { "" }
    )]
    NoInitializer {
        /// The tensor's full name.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// The map is strict, and no rule names the tensor.
    #[error("no rule for '{name}' {shape:?}, and the rules are strict")]
    NoRule {
        /// The tensor's full name.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// The name has a layer's number that is not below the depth that the rule is for.
    #[error("layer {layer} is beyond the {layers} layers that the rule '{pattern}' is for")]
    Depth {
        /// The number in the name, from 0.
        layer: usize,
        /// The model's depth as the rule has it.
        layers: usize,
        /// The rule's pattern.
        pattern: String,
    },
    /// A pattern cannot be read.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A tensor cannot start the way it is meant to.
    #[error("'{name}': {error}")]
    Tensor {
        /// The tensor's full name.
        name: String,
        /// What is wrong.
        error: Box<Error>,
    },
    /// A file cannot be read.
    #[error("cannot read '{}': {reason}", .path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be written.
    #[error("cannot write '{}': {reason}", .path.display())]
    Write {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A tensor was asked for again with another shape, type or device.
    #[error("'{name}' was made {made} and is now asked for {asked}")]
    Mismatch {
        /// The tensor's full name.
        name: String,
        /// Shape, type and device at first.
        made: String,
        /// Shape, type and device now.
        asked: String,
    },
    /// A tensor was asked for by name alone, and none of that name has been made.
    #[error("no tensor '{0}' has been made, and its shape is not known")]
    NoSuchTensor(String),
    /// candle could not make or move a tensor.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
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

/// The parameter, if it is finite and `holds`; the comparison is written so that NaN fails.
pub(crate) fn check(
    parameter: &'static str,
    value: f64,
    holds: bool,
    range: &'static str,
) -> Result<f64, Error> {
    if value.is_finite() && holds { Ok(value) } else { Err(Error::Parameter { parameter, value, range }) }
}
