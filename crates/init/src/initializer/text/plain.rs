//! The names of the initializers of independent elements that belong to no library.

use crate::error::{Error, check};
use crate::initializer::Initializer;
use crate::initializer::distribution::Distribution;
use crate::initializer::parameters::{Parameters, Row};

pub(super) const ROWS: &[Row] = &[
    ("zeros", |_| Ok(Initializer::zeros())),
    ("ones", |_| Ok(Initializer::ones())),
    ("constant", |p| Ok(Initializer::Constant(p.required("value")?))),
    ("normal", normal),
    ("uniform", uniform),
    ("truncated_normal", truncated_normal),
    ("xavier_normal", |p| p.scaled(Initializer::xavier_normal())),
    ("xavier_uniform", |p| p.scaled(Initializer::xavier_uniform())),
    ("glorot_normal", |p| p.scaled(Initializer::xavier_normal())),
    ("glorot_uniform", |p| p.scaled(Initializer::xavier_uniform())),
    ("kaiming_normal", |p| p.scaled(Initializer::kaiming_normal())),
    ("kaiming_uniform", |p| p.scaled(Initializer::kaiming_uniform())),
    ("he_normal", |p| p.scaled(Initializer::kaiming_normal())),
    ("he_uniform", |p| p.scaled(Initializer::kaiming_uniform())),
    ("lecun_normal", |p| p.scaled(Initializer::lecun_normal())),
    ("lecun_uniform", |p| p.scaled(Initializer::lecun_uniform())),
    ("variance_scaling", variance_scaling),
    ("siren_first", |_| Ok(Initializer::SirenFirst)),
    ("siren_hidden", |p| Ok(Initializer::SirenHidden { omega: p.number("omega")?.unwrap_or(30.0) })),
    ("recurrent", |p| Ok(Initializer::Recurrent { gates: p.count("gates")?.unwrap_or(1) })),
];

fn normal(parameters: &mut Parameters) -> Result<Initializer, Error> {
    let mean = parameters.number("mean")?.unwrap_or(0.0);
    let std = match (parameters.number("std")?, parameters.number("variance")?) {
        (Some(std), None) => std,
        (None, Some(variance)) => {
            check("variance", variance, variance >= 0.0, "finite and not negative")?;
            variance.sqrt()
        }
        _ => return Err(parameters.error("it takes std= (standard deviation) or variance=, and one of them")),
    };
    Ok(Initializer::Normal { mean, std })
}

fn uniform(parameters: &mut Parameters) -> Result<Initializer, Error> {
    match (parameters.number("bound")?, parameters.number("low")?, parameters.number("high")?) {
        (Some(bound), None, None) => Ok(Initializer::uniform(bound)),
        (None, Some(low), Some(high)) => Ok(Initializer::Uniform { low, high }),
        _ => Err(parameters.error("it takes bound=, or low= and high=")),
    }
}

fn truncated_normal(parameters: &mut Parameters) -> Result<Initializer, Error> {
    let std = parameters.required("std")?;
    let mean = parameters.number("mean")?.unwrap_or(0.0);
    let low = parameters.number("low")?.unwrap_or(mean - 2.0 * std);
    let high = parameters.number("high")?.unwrap_or(mean + 2.0 * std);
    Ok(Initializer::TruncatedNormal { mean, std, low, high })
}

fn variance_scaling(parameters: &mut Parameters) -> Result<Initializer, Error> {
    let distribution =
        parameters.one_of("distribution", &Distribution::WORDS)?.unwrap_or(Distribution::Normal);
    let scale = parameters.or("scale", 1.0)?;
    let mode = parameters.mode()?.unwrap_or_default();
    Ok(Initializer::VarianceScaling { scale, mode, distribution })
}
