//! What a loop over an activation needs to know of it.

/// A function of one number, and its derivative, without branches.
///
/// All methods are `#[inline(always)]`, so that a loop over them is compiled for the vector unit in use.
pub trait Function: Copy + Sync + Send {
    /// `φ(x)`, computed in `f64` and as exact as `f32` needs it.
    fn value(self, x: f64) -> f64;

    /// `φ'(x)`, computed in `f64` and as exact as `f32` needs it.
    fn derivative(self, x: f64) -> f64;

    /// `φ(x)` rounded to `f32`.
    #[inline(always)]
    fn value_f32(self, x: f32) -> f32 {
        self.value(f64::from(x)) as f32
    }

    /// `φ'(x)·g` rounded to `f32`.
    #[inline(always)]
    fn gradient_f32(self, x: f32, g: f32) -> f32 {
        (self.derivative(f64::from(x)) * f64::from(g)) as f32
    }

    /// The magnitude of `x` beyond which the methods lose digits, so that the elements there are computed by
    /// [`Activation::value`](wick_theory::Activation::value) and its derivative.
    const LIMIT: f64 = f64::INFINITY;

    /// Whether a backward pass computes the derivative from the output of the activation, as PyTorch does:
    /// for tanh, `1 - h²`.
    const OF_OUTPUT: OfOutput = OfOutput::No;

    /// `φ'(x)·g` from `h = φ(x)` alone, where [`OF_OUTPUT`](Self::OF_OUTPUT) allows it.
    #[inline(always)]
    fn gradient_of_output_f32(self, _: f32, g: f32) -> f32 {
        g
    }
}

/// Whether the derivative of an activation can be computed from its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfOutput {
    /// The derivative needs the input.
    No,
    /// The digits of an `f32` suffice, but too little is left of `1 - h²` in a narrower type.
    InF32,
    /// The derivative is the same in any type.
    Exactly,
}
