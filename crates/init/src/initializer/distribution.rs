//! The distributions that are given by a standard deviation.

/// The distribution of an initializer that is given by its standard deviation `σ`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// `N(0, σ²)`.
    Normal,
    /// `N(0, s²)` cut off at `±2s`, with `s = σ/0.87962566103423978` so that the elements have the standard
    /// deviation `σ`: JAX and Keras draw from this one.
    TruncatedNormal,
    /// `U(-√3 σ, √3 σ)`.
    Uniform,
}

impl Distribution {
    /// The words of a SPEC.
    pub(crate) const WORDS: [(&str, Self); 3] =
        [("normal", Self::Normal), ("truncated_normal", Self::TruncatedNormal), ("uniform", Self::Uniform)];
}
