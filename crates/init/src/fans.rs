//! Fans: how many inputs and outputs a weight joins.

use crate::Error;

/// How many terms make one output of a weight, and into how many outputs one input goes. They may be fractions,
/// where a stride makes them so.
///
/// ```
/// use wick_init::{Fans, Layout};
///
/// assert_eq!(Fans::of(&[750, 800])?, Fans { fan_in: 800.0, fan_out: 750.0 });
/// assert_eq!(Fans::of(&[64, 3, 7, 7])?, Fans { fan_in: 147.0, fan_out: 3136.0 });
/// // A depthwise convolution: each input channel goes into one output channel, not into all 64.
/// let depthwise = Fans::with_layout(&[64, 1, 3, 3], Layout::Convolution { groups: 64 })?;
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

/// What the dimensions of a weight mean. The shapes are those of candle and PyTorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// `[out, in, kernel…]`, a linear layer or a convolution without groups: `fan_in = in · Π kernel`,
    /// `fan_out = out · Π kernel`. This is also the rule that PyTorch applies to every weight, whatever it is.
    #[default]
    Plain,
    /// `[out, in/groups, kernel…]`: an input goes into the outputs of its group only.
    Convolution {
        /// How many groups; a divisor of `out`.
        groups: usize,
    },
    /// `[in, out/groups, kernel…]`, a transposed convolution whose kernels overlap by
    /// `Π kernel / Π stride`: `fan_in = in/groups · Π kernel / stride^dims`.
    Transposed {
        /// How many groups; a divisor of `in`.
        groups: usize,
        /// The stride in every direction.
        stride: usize,
    },
    /// `[vocabulary, dim]`, looked up and not multiplied: one row makes an output, `fan_in = 1`,
    /// `fan_out = dim`.
    Embedding,
    /// `[n·out, in]`, `n` projections in one matrix (QKV is 3): the fans of one of them.
    Stacked {
        /// How many; a divisor of the first dimension.
        parts: usize,
    },
}

impl Fans {
    /// The fans of a [`Layout::Plain`] weight.
    ///
    /// # Errors
    /// [`Error::NoFans`] for fewer than two dimensions.
    pub fn of(shape: &[usize]) -> Result<Self, Error> {
        Self::with_layout(shape, Layout::Plain)
    }

    /// The fans of a weight of this layout.
    ///
    /// # Errors
    /// [`Error::NoFans`] for fewer than two dimensions, or groups, parts or strides that do not divide what
    /// they are to divide.
    pub fn with_layout(shape: &[usize], layout: Layout) -> Result<Self, Error> {
        let none = || Error::NoFans { shape: shape.to_vec(), scheme: "a scheme that scales by fans".into() };
        let [first, second, kernel @ ..] = shape else { return Err(none()) };
        let field = kernel.iter().product::<usize>() as f64;
        let (first, second) = (*first, *second as f64);
        let part = |parts: usize| match first.checked_rem(parts) {
            Some(0) => Ok((first / parts) as f64),
            _ => Err(none()),
        };
        let (fan_in, fan_out) = match layout {
            Layout::Plain => (second * field, first as f64 * field),
            Layout::Convolution { groups } => (second * field, part(groups)? * field),
            Layout::Transposed { stride: 0, .. } => return Err(none()),
            Layout::Transposed { groups, stride } => {
                // An output is under kernel/stride kernels in the mean, in each direction.
                let steps = (stride as f64).powi(kernel.len() as i32);
                (part(groups)? * field / steps, second * field)
            }
            Layout::Embedding => (1.0, second),
            Layout::Stacked { parts } => (second * field, part(parts)? * field),
        };
        Ok(Self { fan_in, fan_out })
    }
}

/// Which fan a scheme divides the variance by.
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

    /// The name in a SPEC: `fan_in`, `fan_out`, `fan_avg` or `fan_geo_avg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::FanIn => "fan_in",
            Self::FanOut => "fan_out",
            Self::FanAvg => "fan_avg",
            Self::FanGeoAvg => "fan_geo_avg",
        }
    }

    /// The fan that this mode means.
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
        assert_eq!(fans(&[8, 6, 3, 3], Layout::Plain), (54.0, 72.0));
        assert_eq!(fans(&[8, 3, 3, 3], Layout::Convolution { groups: 2 }), (27.0, 36.0));
        assert_eq!(fans(&[6, 8, 4, 4], Layout::Transposed { groups: 1, stride: 2 }), (24.0, 128.0));
        assert_eq!(fans(&[6, 8, 3, 3], Layout::Transposed { groups: 3, stride: 2 }), (4.5, 72.0));
        assert_eq!(fans(&[1000, 64], Layout::Embedding), (1.0, 64.0));
        assert_eq!(fans(&[192, 64], Layout::Stacked { parts: 3 }), (64.0, 64.0));
    }

    #[test]
    fn what_has_no_fans_is_named() {
        for (shape, layout) in [
            (&[][..], Layout::Plain),
            (&[7], Layout::Embedding),
            (&[8, 3], Layout::Convolution { groups: 3 }),
            (&[8, 3], Layout::Convolution { groups: 0 }),
            (&[8, 3, 3], Layout::Transposed { groups: 1, stride: 0 }),
            (&[8, 3], Layout::Stacked { parts: 5 }),
        ] {
            let message = Fans::with_layout(shape, layout).unwrap_err().to_string();
            assert!(message.contains(&format!("{shape:?}")), "{message}");
        }
    }
}
