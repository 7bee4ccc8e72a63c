//! What the dimensions of a weight mean.

use std::fmt;

/// What the dimensions of a weight mean. The shapes are those of candle and PyTorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightLayout {
    /// `[out, in, kernel…]`, a linear layer or a convolution without groups: `fan_in = in · Π kernel`,
    /// `fan_out = out · Π kernel`. PyTorch applies this rule to every weight.
    #[default]
    Plain,
    /// `[out, in/groups, kernel…]`: an input goes into the outputs of its group only.
    Convolution {
        /// The number of groups; a divisor of `out`.
        groups: usize,
    },
    /// `[in, out/groups, kernel…]`, a transposed convolution whose kernels overlap by
    /// `Π kernel / Π stride`: `fan_in = in/groups · Π kernel / stride^dims`.
    Transposed {
        /// The number of groups; a divisor of `in`.
        groups: usize,
        /// The stride in every direction; at least 1.
        stride: usize,
    },
    /// `[vocabulary, dim]`, looked up and not multiplied: one row makes an output, `fan_in = 1`,
    /// `fan_out = dim`.
    Embedding,
    /// `[n·out, in, kernel…]`, `n` projections in one (QKV is 3): the fans of one of them.
    Stacked {
        /// The number of projections; a divisor of the first dimension.
        parts: usize,
    },
    /// `[…, out, in]`, a matrix for each expert, relation or head: the fans of one matrix.
    Batched,
    /// `[…, in, out]`, as [`Batched`](Self::Batched) with the inputs before the outputs: the experts of the hub's
    /// models.
    BatchedInOut,
    /// `[kernel…, in, out]`, the order of JAX, Keras and TensorFlow: `fan_in = in · Π kernel`,
    /// `fan_out = out · Π kernel`.
    InOut,
}

/// Writes the layout with the words of a rules file.
impl fmt::Display for WeightLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("plain"),
            Self::Convolution { groups } => write!(f, "groups={groups}"),
            Self::Transposed { groups, stride } => write!(f, "transposed,groups={groups},stride={stride}"),
            Self::Embedding => f.write_str("embedding"),
            Self::Stacked { parts } => write!(f, "parts={parts}"),
            Self::Batched => f.write_str("batched"),
            Self::BatchedInOut => f.write_str("batched,in_out"),
            Self::InOut => f.write_str("in_out"),
        }
    }
}
