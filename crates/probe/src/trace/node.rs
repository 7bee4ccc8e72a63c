//! A tensor of the graph.

use candle_core::Tensor;

/// What a tensor of the graph is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A variable with a name.
    Parameter,
    /// A variable without a name, as of an input.
    Input,
    /// A view of a named variable's numbers.
    View,
    /// Made of weights alone in the forward pass: `1 + w`, a cast, `w + b·a`.
    Derived,
    /// Made of weights before the [`Mark`], which no step of an optimizer changes any more.
    Stale,
    /// Everything else.
    Activation,
}

/// A tensor of the graph.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) tensor: Tensor,
    /// Numbers rise in the order in which tensors are made.
    pub(super) number: usize,
    /// The address of the storage. Views have that of what they show.
    pub(super) address: usize,
    pub(super) role: Role,
    /// The parameters that a tensor of weights alone is made of.
    pub(super) parameters: Vec<usize>,
}

impl Node {
    /// Whether the tensor is made of weights alone.
    pub(super) fn is_weight(&self) -> bool {
        !matches!(self.role, Role::Activation | Role::Input)
    }
}
