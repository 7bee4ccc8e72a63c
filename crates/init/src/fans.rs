//! Fans: how many inputs and outputs a weight connects.

use crate::error::Error;
use crate::layout::WeightLayout;

/// The number of terms that make one output of a weight, and the number of outputs that one input goes into.
/// Fans can be fractions: a stride divides them.
///
/// ```
/// use wick_init::{Fans, WeightLayout};
///
/// assert_eq!(Fans::of(&[750, 800])?, Fans { fan_in: 800.0, fan_out: 750.0 });
/// assert_eq!(Fans::of(&[64, 3, 7, 7])?, Fans { fan_in: 147.0, fan_out: 3136.0 });
/// // A depthwise convolution: each input channel goes into one output channel, not into all 64.
/// let depthwise = Fans::with_layout(&[64, 1, 3, 3], WeightLayout::Convolution { groups: 64 })?;
/// assert_eq!(depthwise, Fans { fan_in: 9.0, fan_out: 9.0 });
/// assert!(Fans::of(&[750]).is_err());
/// # Ok::<(), wick_init::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fans {
    /// Terms in the sum that makes one output.
    pub fan_in: f64,
    /// Outputs that one input goes into.
    pub fan_out: f64,
}

impl WeightLayout {
    /// Returns an error if a weight of this shape, of two or more dimensions, does not fit this layout. A
    /// vector (a bias, say) fits every layout.
    pub(crate) fn check(self, shape: &[usize]) -> Result<(), Error> {
        let [first, _, kernel @ ..] = shape else { return Ok(()) };
        let divides = |count: usize| first.checked_rem(count) == Some(0);
        let (holds, needs) = match self {
            Self::Plain | Self::InOut | Self::Batched | Self::BatchedInOut => return Ok(()),
            Self::Convolution { groups } | Self::Transposed { groups, stride: 1.. } => (
                divides(groups),
                "a first dimension that is a multiple of the groups, and one or more groups",
            ),
            Self::Transposed { stride: 0, .. } => (false, "a stride of 1 or more"),
            Self::Embedding => (kernel.is_empty(), "two dimensions [vocabulary, dim]"),
            Self::Stacked { parts } => {
                (divides(parts), "a first dimension that is a multiple of the parts, and one or more parts")
            }
        };
        if holds { Ok(()) } else { Err(Error::WeightLayout { shape: shape.to_vec(), layout: self, needs }) }
    }
}

impl Fans {
    /// The fans of a [`WeightLayout::Plain`] weight.
    ///
    /// # Errors
    /// [`Error::NoFans`] for fewer than two dimensions.
    pub fn of(shape: &[usize]) -> Result<Self, Error> {
        Self::with_layout(shape, WeightLayout::Plain)
    }

    /// The fans of a weight of this layout.
    ///
    /// # Errors
    /// [`Error::NoFans`] for fewer than two dimensions, [`Error::WeightLayout`] for groups, parts or strides
    /// that do not divide the first dimension, and for an embedding of more than two dimensions.
    pub fn with_layout(shape: &[usize], layout: WeightLayout) -> Result<Self, Error> {
        let [first, second, kernel @ ..] = shape else {
            return Err(Error::NoFans {
                shape: shape.to_vec(),
                initializer: "an initializer that scales by fans".into(),
            });
        };
        layout.check(shape)?;
        let field: f64 = kernel.iter().map(|&side| side as f64).product();
        let (first, second) = (*first as f64, *second as f64);
        let (fan_in, fan_out) = match layout {
            WeightLayout::Plain => (second * field, first * field),
            WeightLayout::Convolution { groups } => (second * field, first / groups as f64 * field),
            WeightLayout::Transposed { groups, stride } => {
                // On average, kernel/stride kernels reach an output in each direction.
                let steps = (stride as f64).powi(kernel.len() as i32);
                (first / groups as f64 * field / steps, second * field)
            }
            WeightLayout::Embedding => (1.0, second),
            WeightLayout::Stacked { parts } => (second * field, first / parts as f64 * field),
            WeightLayout::Batched | WeightLayout::BatchedInOut => {
                let [outputs, inputs] =
                    [shape[shape.len() - 2], shape[shape.len() - 1]].map(|side| side as f64);
                match layout {
                    WeightLayout::Batched => (inputs, outputs),
                    _ => (outputs, inputs),
                }
            }
            WeightLayout::InOut => {
                let side = |from_the_end: usize| shape[shape.len() - from_the_end] as f64;
                let field: f64 = shape[..shape.len() - 2].iter().map(|&side| side as f64).product();
                (side(2) * field, side(1) * field)
            }
        };
        Ok(Self { fan_in, fan_out })
    }
}

/// The fan that an initializer divides the variance by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FanMode {
    /// `fan_in`: keeps the variance forward.
    #[default]
    FanIn,
    /// `fan_out`: keeps the variance backward.
    FanOut,
    /// `(fan_in + fan_out)/2`: the compromise of Glorot and Bengio 2010.
    FanAvg,
    /// `√(fan_in · fan_out)`.
    FanGeoAvg,
}

impl FanMode {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::FanIn, Self::FanOut, Self::FanAvg, Self::FanGeoAvg];

    /// The mode's name in a SPEC: `fan_in`, `fan_out`, `fan_avg` or `fan_geo_avg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::FanIn => "fan_in",
            Self::FanOut => "fan_out",
            Self::FanAvg => "fan_avg",
            Self::FanGeoAvg => "fan_geo_avg",
        }
    }

    /// The fan that this mode selects.
    pub fn of(self, fans: Fans) -> f64 {
        let Fans { fan_in, fan_out } = fans;
        match self {
            Self::FanIn => fan_in,
            Self::FanOut => fan_out,
            Self::FanAvg => 0.5 * (fan_in + fan_out),
            Self::FanGeoAvg => (fan_in * fan_out).sqrt(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode() {
        let of = FanMode::ALL.map(|mode| mode.of(Fans { fan_in: 4.0, fan_out: 9.0 }));
        assert_eq!(of, [4.0, 9.0, 6.5, 6.0]);
    }

    #[test]
    fn every_layout() {
        let fans = |shape: &[usize], layout| {
            let fans = Fans::with_layout(shape, layout).unwrap();
            (fans.fan_in, fans.fan_out)
        };
        assert_eq!(fans(&[8, 6, 3, 3], WeightLayout::Plain), (54.0, 72.0));
        assert_eq!(fans(&[8, 3, 3, 3], WeightLayout::Convolution { groups: 2 }), (27.0, 36.0));
        assert_eq!(fans(&[6, 8, 4, 4], WeightLayout::Transposed { groups: 1, stride: 2 }), (24.0, 128.0));
        assert_eq!(fans(&[6, 8, 3, 3], WeightLayout::Transposed { groups: 3, stride: 2 }), (4.5, 72.0));
        assert_eq!(fans(&[1000, 64], WeightLayout::Embedding), (1.0, 64.0));
        assert_eq!(fans(&[192, 64], WeightLayout::Stacked { parts: 3 }), (64.0, 64.0));
        assert_eq!(fans(&[5, 3, 6, 8], WeightLayout::InOut), (90.0, 120.0));
        assert_eq!(fans(&[6, 8], WeightLayout::InOut), (6.0, 8.0));
        // Eight experts; read as a convolution, the fan_in would be 6 · 4.
        assert_eq!(fans(&[8, 6, 4], WeightLayout::Batched), (4.0, 6.0));
        assert_eq!(fans(&[8, 4, 6], WeightLayout::BatchedInOut), (4.0, 6.0));
        assert_ne!(fans(&[8, 6, 4], WeightLayout::Plain), (4.0, 6.0));
    }

    #[test]
    fn a_shape_without_fans_is_named() {
        for (shape, layout) in [(&[][..], WeightLayout::Plain), (&[7], WeightLayout::Embedding)] {
            let message = Fans::with_layout(shape, layout).unwrap_err().to_string();
            assert!(message.contains(&format!("shape {shape:?} has no fans")), "{message}");
        }
    }

    #[test]
    fn a_layout_that_does_not_fit_names_the_divisor() {
        for (shape, layout, message) in [
            (
                &[6, 2, 3, 3][..],
                WeightLayout::Convolution { groups: 4 },
                "groups=4: it needs a first dimension that is",
            ),
            (
                &[8, 3],
                WeightLayout::Convolution { groups: 0 },
                "groups=0: it needs a first dimension that is",
            ),
            (&[8, 3, 3], WeightLayout::Transposed { groups: 3, stride: 2 }, "a multiple of the groups"),
            (
                &[8, 3, 3],
                WeightLayout::Transposed { groups: 1, stride: 0 },
                "stride=0: it needs a stride of 1 or more",
            ),
            (
                &[8, 3],
                WeightLayout::Stacked { parts: 5 },
                "parts=5: it needs a first dimension that is a multiple of the parts",
            ),
            (&[8, 3], WeightLayout::Stacked { parts: 0 }, "parts=0"),
            (&[8, 3, 3, 3], WeightLayout::Embedding, "embedding: it needs two dimensions"),
        ] {
            let error = Fans::with_layout(shape, layout).unwrap_err().to_string();
            let whole = error.starts_with(&format!("shape {shape:?} does not fit the layout"));
            assert!(whole && error.contains(message), "{error}");
        }
    }

    #[test]
    fn absurd_kernels_do_not_overflow() {
        let fans = Fans::of(&[1, 2, usize::MAX, usize::MAX]).unwrap();
        assert_eq!(fans.fan_in, 2.0 * (usize::MAX as f64).powi(2));
        let qkv = Fans::with_layout(&[12, 4, 3, 3], WeightLayout::Stacked { parts: 3 }).unwrap();
        assert_eq!((qkv.fan_in, qkv.fan_out), (36.0, 36.0));
    }
}
