//! The distributions that are given by a standard deviation.

/// The distribution of an initializer that is given by its standard deviation `σ`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// `N(0, σ²)`.
    Normal,
    /// `N(0, s²)` cut off at `±2s`, with `s = σ/0.87962566103423978` so that the elements have the standard
    /// deviation `σ`: JAX and Keras draw from this one.
    TruncatedNormal,
    /// `N(0, s²)` cut off at `±3s`, with `s = σ/0.98657839255810862` so that the elements have the standard deviation
    /// `σ`: OLMo and torchtitan cut there (and leave the `σ` uncorrected).
    TruncatedNormal3,
    /// `U(-√3 σ, √3 σ)`.
    Uniform,
}

impl Distribution {
    /// The words of a SPEC.
    pub(crate) const WORDS: [(&str, Self); 4] = [
        ("normal", Self::Normal),
        ("truncated_normal", Self::TruncatedNormal),
        ("truncated_normal_3", Self::TruncatedNormal3),
        ("uniform", Self::Uniform),
    ];

    /// The words of JAX and timm, which have three.
    pub(crate) const OF_LIBRARIES: [(&str, Self); 3] =
        [("normal", Self::Normal), ("truncated_normal", Self::TruncatedNormal), ("uniform", Self::Uniform)];
}
