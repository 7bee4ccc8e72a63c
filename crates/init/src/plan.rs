//! The one core that turns a scheme and a shape into a distribution or a structure.

use crate::distribution::{Distribution, TRUNCATED_STD};
use crate::error::check;
use crate::structured::{self, Structure};
use crate::{Error, Family, FanMode, Fans, Initializer, WeightLayout};

/// How a tensor is filled, after its shape is known.
pub(crate) enum Plan<'a> {
    /// Every element by itself.
    Independent(Distribution),
    /// All together.
    Structure(Structure<'a>),
}

impl Plan<'_> {
    /// An error if it cannot fill a tensor of this shape.
    pub(crate) fn check_shape(&self, shape: &[usize]) -> Result<(), Error> {
        match self {
            Self::Independent(_) => Ok(()),
            Self::Structure(structure) => structure.check(shape),
        }
    }
}

impl Initializer {
    /// What the scheme does to a tensor of this shape: a distribution for each element by itself, or a
    /// structure. All arithmetic of the schemes is here.
    pub(crate) fn plan(&self, shape: &[usize], layout: WeightLayout) -> Result<Plan<'_>, Error> {
        layout.check(shape)?;
        let fan = |mode: FanMode| -> Result<f64, Error> {
            let fans = Fans::with_layout(shape, layout)
                .map_err(|_| Error::NoFans { shape: shape.to_vec(), scheme: self.to_string() })?;
            let fan = mode.of(fans);
            // A tensor without elements has no fan to divide by, and nothing to draw.
            Ok(if fan > 0.0 { fan } else { 1.0 })
        };
        let symmetric = |bound: f64| Distribution::Uniform { low: -bound, high: bound };
        let structure = |structure| Ok(Plan::Structure(structure));
        let distribution = match *self {
            Self::Constant(value) => Distribution::Constant(check("value", value, true, "finite")?),
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
                Distribution::TruncatedNormal { mean, std, low, high }
            }
            Self::VarianceScaling { scale, mode, family } => {
                check("scale", scale, scale >= 0.0, "finite and not negative")?;
                // `√(scale/fan)`, in the order of operations of PyTorch, whose last bit a golden value shows.
                let std = match mode {
                    FanMode::FanAvg => scale.sqrt() * (1.0 / fan(mode)?).sqrt(),
                    _ => scale.sqrt() / fan(mode)?.sqrt(),
                };
                match family {
                    Family::Normal => Distribution::Normal { mean: 0.0, std },
                    Family::Uniform => symmetric(3f64.sqrt() * std),
                    Family::TruncatedNormal => {
                        let std = std / TRUNCATED_STD;
                        Distribution::TruncatedNormal { mean: 0.0, std, low: -2.0 * std, high: 2.0 * std }
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
                        scheme: self.to_string(),
                        needs: "a first dimension that is a multiple of the gates",
                    });
                }
            },
            Self::Identity { gain } => return structure(Structure::Identity { gain: finite_gain(gain)? }),
            Self::Dirac { groups } => return structure(Structure::Dirac { groups }),
            Self::Orthogonal { gain } => {
                return structure(Structure::Orthogonal { gain: finite_gain(gain)? });
            }
            Self::DeltaOrthogonal { gain, centre } => {
                return structure(Structure::DeltaOrthogonal { gain: finite_gain(gain)?, centre });
            }
            Self::Sparse { sparsity, std, by } => {
                check("sparsity", sparsity, (0.0..=1.0).contains(&sparsity), "in [0, 1]")?;
                normal(0.0, std)?;
                return structure(Structure::Sparse { sparsity, std, by });
            }
            Self::Bilinear => return structure(Structure::Bilinear),
            Self::Icnr { factor, ref base } => {
                let icnr = Structure::Icnr { factor, base };
                if matches!(**base, Self::Icnr { .. }) {
                    let needs = "a base that draws one of each set, which an icnr is not";
                    return Err(Error::Shape { shape: shape.to_vec(), scheme: "icnr".into(), needs });
                }
                // The base's own shape, where there is one.
                match icnr.check(shape).is_ok().then(|| structured::one_of_each(factor, shape)) {
                    Some(one) => base.plan(&one, layout)?.check_shape(&one)?,
                    None => base.plan(shape, layout).map(|_| ())?,
                }
                return structure(icnr);
            }
            Self::ForgetGate { value } => {
                return structure(Structure::ForgetGate { value: check("value", value, true, "finite")? });
            }
            Self::Zero => return structure(Structure::Zero),
            Self::Stft { side, window, scaling, periodic } => {
                return structure(Structure::Stft { side, window, scaling, periodic });
            }
        };
        Ok(Plan::Independent(distribution))
    }
}

fn normal(mean: f64, std: f64) -> Result<Distribution, Error> {
    check("mean", mean, true, "finite")?;
    check("std", std, std >= 0.0, "finite and not negative")?;
    Ok(Distribution::Normal { mean, std })
}

fn uniform(low: f64, high: f64) -> Result<Distribution, Error> {
    check("high", high, true, "finite")?;
    check("low", low, low <= high, "finite and not above high")?;
    Ok(Distribution::Uniform { low, high })
}

fn finite_gain(gain: f64) -> Result<f64, Error> {
    check("gain", gain, true, "finite")
}
