//! A layer of a traced model.

use candle_core::Tensor;
use wick_theory::Activation;

/// Where the gradient of an activation is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GradientBy {
    /// candle kept the graph of the gradients: the numbers are its own, to the bit.
    KeptGraph,
    /// Least squares from the gradient of the weight and its input, in `f64`.
    LeastSquares,
    /// A bias as large as the output, in a model that was built again: the numbers are candle's own, to the bit.
    WideBias,
}

/// What a layer does, by the shape of its weight and by what it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A product with a matrix.
    Linear,
    /// A convolution of one or two dimensions, with groups or transposed too.
    Conv,
    /// Rows of a table.
    Embedding,
    /// Gains, or gains and biases, of a norm.
    Norm,
    /// A parameter of another kind: a position, a class token, a scale, a bias of its own.
    Other,
}

/// One call of a layer, found by [`Trace`](super::traced::Trace).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TracedLayer {
    /// The name of the parameters without `.weight` and `.bias`. Slices of a matrix that are used apart have their
    /// first row in brackets.
    pub name: String,
    /// How many calls of the same name came before.
    pub call: usize,
    /// What the layer does.
    pub kind: Kind,
    /// The names of the parameters that enter here.
    pub parameters: Vec<String>,
    /// The output, before an activation: the model's own tensor, not a copy.
    pub output: Tensor,
    /// The activation that follows, and what it makes.
    pub activation: Option<(Activation, Tensor)>,
    /// The gradient of the loss behind the activation, or of the output where there is none, once it was
    /// [added](super::traced::Trace::add_gradients), with where it is from.
    pub gradient: Option<(GradientBy, Tensor)>,
    /// An estimate of the gradient's error, the rms of its elements' errors over theirs: 0 where its numbers are candle's
    /// own, by least squares what the rounding of the weight's gradient makes of it.
    pub gradient_error: Option<f64>,
    /// The axis of the units, where it is known.
    pub axis: Option<usize>,
    /// Whether the layer's weight is a copy that was made before the pass, so that no step changes what the layer
    /// does.
    pub is_stale: bool,
    /// The tensors that are made with the weight, and the weight of each: one, or a slice for each group.
    pub(super) uses: Vec<(usize, usize)>,
    /// What is made with the second parameter, as with a bias, and that parameter.
    pub(super) shift: Option<(usize, usize)>,
    /// Whether the layer has running statistics.
    pub(super) has_statistics: bool,
}
