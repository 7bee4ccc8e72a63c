//! The structured initializers, which fill a weight as a whole: one file each.
//!
//! A file has the parameters, what they allow, the constructor of [`Initializer`](crate::Initializer), the
//! row that reads a SPEC, and the tests. A new structured initializer is a new file, its two lines here, a
//! section in CATALOGUE.md and a line in stability.txt.

mod bilinear;
pub(crate) mod convolution;
mod delta_orthogonal;
mod dirac;
mod forget_gate;
mod icnr;
mod identity;
mod inverse_softplus;
mod log_arange;
mod orthogonal;
pub(crate) mod ramp;
pub(crate) mod shape_gain;
pub(crate) mod sparse;
pub(crate) mod stft;
pub(crate) mod structure;
#[cfg(test)]
mod tests;
pub(crate) mod transpose;
mod zer_o;

use crate::initializer::parameters::Row;

/// The names that can be read, with their readers; `keras.stft` stands with Keras' other names.
pub(crate) const ROWS: &[Row] = &[
    identity::ROW,
    dirac::ROW,
    orthogonal::ROW,
    delta_orthogonal::ROW,
    sparse::ROW,
    bilinear::ROW,
    icnr::ROW,
    zer_o::ROW,
    forget_gate::ROW,
    ramp::ROW,
    log_arange::ROW,
    inverse_softplus::ROW,
];
