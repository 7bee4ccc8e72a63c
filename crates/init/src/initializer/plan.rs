//! The arithmetic of the initializers: from an initializer and a shape to a law for each element.

use super::Initializer;
use super::distribution::Distribution;
use crate::error::{Error, check};
use crate::fans::{FanMode, Fans};
use crate::layout::WeightLayout;
use crate::rng::law::{Law, TRUNCATED_STD, TRUNCATED_STD_3};
use crate::structures::structure::Structured;

/// An initializer applied to a shape.
pub(crate) enum Plan<'a> {
    /// Each element is drawn from this law, independently.
    Independent(Law),
    /// The tensor is filled as a whole.
    Structured(&'a Structured),
}

impl Plan<'_> {
    /// Returns an error if it cannot fill a tensor of this shape.
    pub(crate) fn check_shape(&self, shape: &[usize]) -> Result<(), Error> {
        match self {
            Self::Independent(_) => Ok(()),
            Self::Structured(structured) => structured.check_shape(shape),
        }
    }
}

impl Initializer {
    /// Checks the parameters and the layout, and applies the initializer to a shape.
    pub(crate) fn plan(&self, shape: &[usize], layout: WeightLayout) -> Result<Plan<'_>, Error> {
        layout.check(shape)?;
        let fan = |mode: FanMode| -> Result<f64, Error> {
            let fans = Fans::with_layout(shape, layout)
                .map_err(|_| Error::NoFans { shape: shape.to_vec(), initializer: self.to_string() })?;
            let fan = mode.of(fans);
            // A tensor without elements may have a fan of 0, by which nothing can be divided; it draws
            // nothing.
            Ok(if fan > 0.0 { fan } else { 1.0 })
        };
        let symmetric = |bound: f64| Law::Uniform { low: -bound, high: bound };
        let law = match *self {
            Self::Constant(value) => Law::Constant(check("value", value, true, "finite")?),
            Self::Normal { mean, std } => normal(mean, std)?,
            Self::Uniform { low, high } => uniform(low, high)?,
            Self::TruncatedNormal { mean, std, low, high } => {
                normal(mean, std)?;
                uniform(low, high)?;
                let reach = (low - mean).max(mean - high).max(0.0);
                check(
                    "std",
                    std,
                    reach <= 30.0 * std,
                    "large enough for the bounds to hold some of the normal",
                )?;
                Law::TruncatedNormal { mean, std, low, high }
            }
            Self::VarianceScaling { scale, mode, distribution } => {
                check("scale", scale, scale >= 0.0, "finite and not negative")?;
                // `√(scale/fan)`, in PyTorch's order of operations: the golden values depend on the last bit.
                let std = match mode {
                    FanMode::FanAvg => scale.sqrt() * (1.0 / fan(mode)?).sqrt(),
                    _ => scale.sqrt() / fan(mode)?.sqrt(),
                };
                match distribution {
                    Distribution::Normal => Law::Normal { mean: 0.0, std },
                    Distribution::Uniform => symmetric(3f64.sqrt() * std),
                    Distribution::TruncatedNormal => {
                        let std = std / TRUNCATED_STD;
                        Law::TruncatedNormal { mean: 0.0, std, low: -2.0 * std, high: 2.0 * std }
                    }
                    Distribution::TruncatedNormal3 => {
                        let std = std / TRUNCATED_STD_3;
                        Law::TruncatedNormal { mean: 0.0, std, low: -3.0 * std, high: 3.0 * std }
                    }
                }
            }
            Self::SirenFirst => symmetric(1.0 / fan(FanMode::FanIn)?),
            Self::SirenHidden { omega } => {
                check("omega", omega, omega > 0.0, "finite and above 0")?;
                symmetric((6.0 / fan(FanMode::FanIn)?).sqrt() / omega)
            }
            Self::Recurrent { gates } => match shape.first().map(|first| (first.checked_rem(gates), first)) {
                Some((Some(0), first)) if *first > 0 => symmetric(1.0 / ((first / gates) as f64).sqrt()),
                _ => {
                    return Err(Error::Shape {
                        shape: shape.to_vec(),
                        initializer: self.to_string(),
                        needs: "a first dimension that is a multiple of the gates",
                    });
                }
            },
            Self::Structured(ref structured) => {
                structured.structure().check_parameters(shape, layout)?;
                return Ok(Plan::Structured(structured));
            }
        };
        Ok(Plan::Independent(law))
    }
}

fn normal(mean: f64, std: f64) -> Result<Law, Error> {
    check("mean", mean, true, "finite")?;
    check("std", std, std >= 0.0, "finite and not negative")?;
    Ok(Law::Normal { mean, std })
}

fn uniform(low: f64, high: f64) -> Result<Law, Error> {
    check("high", high, true, "finite")?;
    check("low", low, low <= high, "finite and not above high")?;
    Ok(Law::Uniform { low, high })
}
