//! The shapes of convolutions and the centres of their kernels.

/// The element of a kernel's even side `k` that is its centre. An odd side has the middle as its centre.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Centre {
    /// `⌊k/2⌋`, PyTorch's choice.
    #[default]
    Upper,
    /// `⌊(k-1)/2⌋`, JAX's choice.
    Lower,
}

impl Centre {
    /// The words of a SPEC.
    pub(crate) const WORDS: [(&str, Self); 2] = [("upper", Self::Upper), ("lower", Self::Lower)];

    /// The offset of the centre in a row-major kernel.
    pub(super) fn offset(self, kernel: &[usize]) -> usize {
        kernel.iter().fold(0, |offset, &side| {
            let middle = match self {
                Self::Upper => side / 2,
                Self::Lower => side.saturating_sub(1) / 2,
            };
            offset * side + middle
        })
    }
}

/// Whether a shape is that of a convolution `[out, in, kernel…]` of 1 to 3 dimensions.
pub(super) fn is_convolution(shape: &[usize]) -> bool {
    (3..=5).contains(&shape.len())
}

/// The places of the kernels' centres in a weight `[out, in, kernel…]`, by output and input.
pub(super) fn centres(shape: &[usize], centre: Centre) -> impl Fn(usize, usize) -> usize {
    let (inputs, field, offset) =
        (shape[1], shape[2..].iter().product::<usize>(), centre.offset(&shape[2..]));
    move |o, i| (o * inputs + i) * field + offset
}
