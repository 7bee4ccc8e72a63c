//! Fans: how many inputs and outputs a weight joins.

use crate::Error;

/// The fans of a weight, by its shape `[out, in, kernel…]` (the layout of candle and PyTorch):
/// `fan_in = in · Π kernel`, `fan_out = out · Π kernel`.
///
/// ```
/// use wick_init::Fans;
///
/// assert_eq!(Fans::of(&[750, 800])?, Fans { fan_in: 800, fan_out: 750 });
/// assert_eq!(Fans::of(&[64, 3, 7, 7])?, Fans { fan_in: 147, fan_out: 3136 });
/// assert!(Fans::of(&[750]).is_err());
/// # Ok::<(), wick_init::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fans {
    /// Terms in the sum that makes one output.
    pub fan_in: usize,
    /// Outputs that one input goes into.
    pub fan_out: usize,
}

impl Fans {
    /// The fans of a weight of this shape.
    ///
    /// # Errors
    /// [`Error::NoFans`] for fewer than two dimensions.
    pub fn of(shape: &[usize]) -> Result<Self, Error> {
        match shape {
            [out, inputs, kernel @ ..] => {
                let field: usize = kernel.iter().product();
                Ok(Self { fan_in: inputs * field, fan_out: out * field })
            }
            _ => Err(Error::NoFans { shape: shape.to_vec(), scheme: "a scheme that scales by fans".into() }),
        }
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
        let (fan_in, fan_out) = (fans.fan_in as f64, fans.fan_out as f64);
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
    fn every_mode_on_a_convolution() {
        let fans = Fans { fan_in: 4, fan_out: 9 };
        let of = FanMode::ALL.map(|mode| mode.of(fans));
        assert_eq!(of, [4.0, 9.0, 6.5, 6.0]);
    }

    #[test]
    fn what_has_no_fans_is_named() {
        for shape in [&[][..], &[7]] {
            let message = Fans::of(shape).unwrap_err().to_string();
            assert!(message.contains(&format!("{shape:?}")), "{message}");
        }
    }
}
