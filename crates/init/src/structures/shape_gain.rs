//! Gains that go by the shape of a weight.

/// What the gain of an orthogonal weight `[out, in]` is multiplied by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ShapeGain {
    /// 1.
    #[default]
    None,
    /// `√(out/in)`: the spectral norm of muP (Yang et al. 2023, arXiv 2310.17813, condition 1).
    Spectral,
    /// `max(1, √(out/in))`: outputs of the inputs' mean square (Martens et al. 2021, arXiv 2110.01765, section 4.2:
    /// scaled-corrected uniform orthogonal; RWKV-7 too).
    Tall,
}

impl ShapeGain {
    /// The words of a SPEC.
    pub(super) const WORDS: [(&str, Self); 3] =
        [("none", Self::None), ("spectral", Self::Spectral), ("tall", Self::Tall)];

    pub(super) fn of(self, shape: &[usize]) -> f64 {
        let ratio = || {
            let inputs = shape[1..].iter().map(|&side| side as f64).product::<f64>();
            (shape[0] as f64 / inputs.max(1.0)).sqrt()
        };
        match self {
            Self::None => 1.0,
            Self::Spectral => ratio(),
            Self::Tall => ratio().max(1.0),
        }
    }
}
