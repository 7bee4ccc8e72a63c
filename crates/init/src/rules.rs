//! Rules: which tensors start how.

use crate::{Error, Fans, Initializer, Layout, Pattern};

/// What a rule does with its tensors.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// Draws what the layer hints at.
    Hint,
    /// Draws from an initializer, whatever the layer hints at.
    Draw(Initializer),
    /// PyTorch's default for the bias of `Linear` and `Conv`: `U(±1/√fan_in)`, with the fan_in of the tensor
    /// `weight` beside it, whose shape must be known: made before, in the file, or told by
    /// [`InitMap::with_shapes`](crate::InitMap::with_shapes).
    TorchBias,
}

/// By what the learning rate of a tensor is multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum LearningRate {
    /// By 1.
    #[default]
    Base,
    /// By `base/fan_in`: muP's rule for Adam on matrices whose both sides grow with the width.
    InverseFanIn {
        /// The fan_in at which the learning rate was tuned.
        base: f64,
    },
}

/// A rule: a pattern, and what is done with the tensors that it matches.
///
/// ```
/// use wick_init::{Initializer, Layout, Rule};
///
/// let rule = Rule::draw("**.qkv.weight", Initializer::xavier_uniform())?
///     .with_layout(Layout::Stacked { parts: 3 });
/// assert_eq!(rule.pattern.to_string(), "**.qkv.weight");
/// # Ok::<(), wick_init::PatternError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Which tensors.
    pub pattern: Pattern,
    /// How they start.
    pub action: Action,
    /// What their dimensions mean.
    pub layout: Layout,
    /// How fast they learn.
    pub learning_rate: LearningRate,
}

impl Rule {
    /// Draws the tensors that the pattern matches from an initializer.
    ///
    /// # Errors
    /// If the pattern cannot be read.
    pub fn draw(pattern: &str, initializer: Initializer) -> Result<Self, crate::PatternError> {
        Self::new(pattern, Action::Draw(initializer))
    }

    /// Keeps what their layers hint at for the tensors that the pattern matches.
    ///
    /// # Errors
    /// If the pattern cannot be read.
    pub fn hint(pattern: &str) -> Result<Self, crate::PatternError> {
        Self::new(pattern, Action::Hint)
    }

    /// Draws the biases that the pattern matches as PyTorch's layers do, see [`Action::TorchBias`].
    ///
    /// # Errors
    /// If the pattern cannot be read.
    pub fn torch_bias(pattern: &str) -> Result<Self, crate::PatternError> {
        Self::new(pattern, Action::TorchBias)
    }

    fn new(pattern: &str, action: Action) -> Result<Self, crate::PatternError> {
        let (layout, learning_rate) = (Layout::default(), LearningRate::default());
        Ok(Self { pattern: pattern.parse()?, action, layout, learning_rate })
    }

    /// The same for weights of another layout.
    pub fn with_layout(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }

    /// The same with another learning rate.
    pub fn with_learning_rate(self, learning_rate: LearningRate) -> Self {
        Self { learning_rate, ..self }
    }

    /// By what the learning rate of a tensor of this shape is multiplied.
    ///
    /// # Errors
    /// [`Error::NoFans`] where that needs fans and the shape has none.
    pub fn learning_rate_multiplier(&self, shape: &[usize]) -> Result<f64, Error> {
        match self.learning_rate {
            LearningRate::Base => Ok(1.0),
            LearningRate::InverseFanIn { base } => Ok(base / Fans::with_layout(shape, self.layout)?.fan_in),
        }
    }
}
