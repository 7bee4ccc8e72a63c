//! Initializers as text: `name` or `name:key=value,…`.

use std::fmt;
use std::str::FromStr;

use wick_theory::Activation;

use crate::error::check;
use crate::{Error, Family, FanMode, Initializer, Layout, SparseBy, jax, keras, timm, torch};

type Make = fn(&mut Parameters) -> Result<Initializer, Error>;

/// Every name that can be read, with the parameters it takes. A new scheme is a row here.
const SCHEMES: [(&str, Make); 61] = [
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
    ("identity", |p| Ok(Initializer::Identity { gain: p.gain()?.unwrap_or(1.0) })),
    ("dirac", |p| Ok(Initializer::Dirac { groups: p.count("groups")?.unwrap_or(1) })),
    ("orthogonal", |p| Ok(Initializer::Orthogonal { gain: p.gain()?.unwrap_or(1.0) })),
    ("delta_orthogonal", |p| Ok(Initializer::DeltaOrthogonal { gain: p.gain()?.unwrap_or(1.0) })),
    ("sparse", sparse),
    ("bilinear", |_| Ok(Initializer::Bilinear)),
    ("icnr", icnr),
    ("zero", |_| Ok(Initializer::Zero)),
    ("forget_gate", |p| Ok(Initializer::ForgetGate { value: p.number("value")?.unwrap_or(1.0) })),
    ("torch.linear", |_| Ok(torch::linear_default())),
    ("torch.uniform", |p| Ok(Initializer::Uniform { low: p.or("a", 0.0)?, high: p.or("b", 1.0)? })),
    ("torch.normal", |p| Ok(Initializer::Normal { mean: p.or("mean", 0.0)?, std: p.or("std", 1.0)? })),
    ("torch.trunc_normal", torch_trunc_normal),
    ("torch.xavier_uniform", |p| p.scaled(Initializer::xavier_uniform())),
    ("torch.xavier_normal", |p| p.scaled(Initializer::xavier_normal())),
    ("torch.kaiming_uniform", |p| p.torch_kaiming(Initializer::kaiming_uniform())),
    ("torch.kaiming_normal", |p| p.torch_kaiming(Initializer::kaiming_normal())),
    ("jax.uniform", |p| Ok(jax::uniform(p.or("scale", 0.01)?))),
    ("jax.normal", |p| Ok(jax::normal(p.or("stddev", 0.01)?))),
    ("jax.truncated_normal", |p| Ok(jax::truncated_normal(p.or("stddev", 0.01)?))),
    ("jax.variance_scaling", |p| p.library_variance_scaling(None)),
    ("jax.glorot_uniform", |p| p.scaled(Initializer::xavier_uniform())),
    ("jax.glorot_normal", |p| p.scaled(jax::glorot_normal())),
    ("jax.he_uniform", |p| p.scaled(Initializer::kaiming_uniform())),
    ("jax.he_normal", |p| p.scaled(jax::he_normal())),
    ("jax.lecun_uniform", |p| p.scaled(Initializer::lecun_uniform())),
    ("jax.lecun_normal", |p| p.scaled(jax::lecun_normal())),
    ("keras.random_normal", |p| {
        Ok(Initializer::Normal { mean: p.or("mean", 0.0)?, std: p.or("stddev", 0.05)? })
    }),
    ("keras.random_uniform", |p| {
        Ok(Initializer::Uniform { low: p.or("minval", -0.05)?, high: p.or("maxval", 0.05)? })
    }),
    ("keras.truncated_normal", |p| p.cut("mean", "stddev", 0.05)),
    ("keras.variance_scaling", |p| p.library_variance_scaling(Some(Family::TruncatedNormal))),
    ("keras.glorot_uniform", |p| p.scaled(Initializer::xavier_uniform())),
    ("keras.glorot_normal", |p| p.scaled(keras::glorot_normal())),
    ("keras.he_uniform", |p| p.scaled(Initializer::kaiming_uniform())),
    ("keras.he_normal", |p| p.scaled(keras::he_normal())),
    ("keras.lecun_uniform", |p| p.scaled(Initializer::lecun_uniform())),
    ("keras.lecun_normal", |p| p.scaled(keras::lecun_normal())),
    ("timm.trunc_normal", torch_trunc_normal),
    ("timm.trunc_normal_tf", |p| p.cut("mean", "std", 1.0)),
    ("timm.variance_scaling", |p| p.library_variance_scaling(Some(Family::Normal))),
    ("timm.lecun_normal", |p| p.scaled(timm::lecun_normal())),
];

fn find(name: &str) -> Result<Make, Error> {
    let row = SCHEMES.iter().find(|(known, _)| *known == name);
    row.map(|(_, make)| *make).ok_or_else(|| {
        let known = Initializer::names().collect::<Vec<_>>().join(", ");
        Error::UnknownInitializer { name: name.to_owned(), known }
    })
}

fn truncated_normal(parameters: &mut Parameters) -> Result<Initializer, Error> {
    let std = parameters.required("std")?;
    let mean = parameters.number("mean")?.unwrap_or(0.0);
    let low = parameters.number("low")?.unwrap_or(mean - 2.0 * std);
    let high = parameters.number("high")?.unwrap_or(mean + 2.0 * std);
    Ok(Initializer::TruncatedNormal { mean, std, low, high })
}

fn torch_trunc_normal(parameters: &mut Parameters) -> Result<Initializer, Error> {
    let (mean, std) = (parameters.or("mean", 0.0)?, parameters.or("std", 1.0)?);
    Ok(torch::trunc_normal(mean, std, parameters.or("a", -2.0)?, parameters.or("b", 2.0)?))
}

fn sparse(parameters: &mut Parameters) -> Result<Initializer, Error> {
    let by = match parameters.take("by") {
        None | Some("column") => SparseBy::Column,
        Some("row") => SparseBy::Row,
        Some(_) => return Err(parameters.error("by= is column or row")),
    };
    let std = parameters.number("std")?.unwrap_or(0.01);
    Ok(Initializer::Sparse { sparsity: parameters.required("sparsity")?, std, by })
}

fn icnr(parameters: &mut Parameters) -> Result<Initializer, Error> {
    let factor =
        parameters.count("factor")?.ok_or_else(|| parameters.error("it takes factor=, a whole number"))?;
    // What is left is the base's.
    let base = match parameters.take("base") {
        None => Initializer::kaiming_normal(),
        Some(name) => find(name)?(parameters)?,
    };
    Ok(Initializer::Icnr { factor, base: Box::new(base) })
}

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

fn variance_scaling(parameters: &mut Parameters) -> Result<Initializer, Error> {
    let family = parameters.family("family")?.unwrap_or(Family::Normal);
    let scale = parameters.or("scale", 1.0)?;
    let mode = parameters.mode()?.unwrap_or_default();
    Ok(Initializer::VarianceScaling { scale, mode, family })
}

/// The `key=value` pairs behind a name, taken out one by one; what is left over is an error.
struct Parameters<'a> {
    spec: &'a str,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Parameters<'a> {
    fn parse(spec: &'a str, text: Option<&'a str>) -> Result<Self, Error> {
        let mut parameters = Self { spec, pairs: Vec::new() };
        for pair in text.into_iter().flat_map(|text| text.split(',')) {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| parameters.error(&format!("'{pair}' is not of the form key=value")))?;
            if parameters.pairs.iter().any(|(known, _)| *known == key) {
                return Err(parameters.error(&format!("{key}= is given twice")));
            }
            parameters.pairs.push((key, value));
        }
        Ok(parameters)
    }

    fn error(&self, reason: &str) -> Error {
        Error::Spec { spec: self.spec.to_owned(), reason: reason.to_owned() }
    }

    fn take(&mut self, key: &str) -> Option<&'a str> {
        let place = self.pairs.iter().position(|(known, _)| *known == key)?;
        Some(self.pairs.remove(place).1)
    }

    fn number(&mut self, key: &str) -> Result<Option<f64>, Error> {
        let Some(text) = self.take(key) else { return Ok(None) };
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some(number)),
            _ => Err(self.error(&format!("{key}={text} is not a finite number"))),
        }
    }

    fn or(&mut self, key: &str, default: f64) -> Result<f64, Error> {
        Ok(self.number(key)?.unwrap_or(default))
    }

    fn required(&mut self, key: &str) -> Result<f64, Error> {
        self.number(key)?.ok_or_else(|| self.error(&format!("it takes {key}=")))
    }

    fn family(&mut self, key: &str) -> Result<Option<Family>, Error> {
        match self.take(key) {
            None => Ok(None),
            Some("normal") => Ok(Some(Family::Normal)),
            Some("truncated_normal") => Ok(Some(Family::TruncatedNormal)),
            Some("uniform") => Ok(Some(Family::Uniform)),
            Some(_) => Err(self.error(&format!("{key}= is normal, truncated_normal or uniform"))),
        }
    }

    /// A normal cut off at two standard deviations before the cut.
    fn cut(&mut self, mean: &str, std: &str, default: f64) -> Result<Initializer, Error> {
        let (mean, std) = (self.or(mean, 0.0)?, self.or(std, default)?);
        Ok(Initializer::TruncatedNormal { mean, std, low: mean - 2.0 * std, high: mean + 2.0 * std })
    }

    /// `variance_scaling` by the names that libraries have for its parameters.
    fn library_variance_scaling(&mut self, family: Option<Family>) -> Result<Initializer, Error> {
        let family = match self.family("distribution")?.or(family) {
            Some(family) => family,
            None => return Err(self.error("it takes distribution=normal, truncated_normal or uniform")),
        };
        let (scale, mode) = (self.or("scale", 1.0)?, self.mode()?.unwrap_or_default());
        Ok(Initializer::VarianceScaling { scale, mode, family })
    }

    /// PyTorch's Kaiming: the gain is that of its table, of a leaky ReLU of slope `a` if nothing else is said.
    fn torch_kaiming(&mut self, scheme: Initializer) -> Result<Initializer, Error> {
        let slope = self.number("a")?;
        let activation = match (self.take("nonlinearity"), slope) {
            (None, slope) => Activation::LeakyRelu { slope: slope.unwrap_or(0.0) },
            (Some(name), None) => self.activation("nonlinearity", name)?,
            (Some("leaky_relu"), Some(slope)) => Activation::LeakyRelu { slope },
            (Some(_), Some(_)) => return Err(self.error("a= is the slope of nonlinearity=leaky_relu")),
        };
        let scheme = scheme.with_gain(self.torch_gain(activation)?);
        Ok(self.mode()?.map_or(scheme.clone(), |mode| scheme.with_mode(mode)))
    }

    fn torch_gain(&self, activation: Activation) -> Result<f64, Error> {
        torch::calculate_gain(activation)
            .ok_or_else(|| self.error(&format!("PyTorch's table has no gain for {activation}")))
    }

    fn activation(&self, key: &str, name: &str) -> Result<Activation, Error> {
        name.parse().map_err(|error| self.error(&format!("{key}= is an activation: {error}")))
    }

    fn mode(&mut self) -> Result<Option<FanMode>, Error> {
        let Some(text) = self.take("mode") else { return Ok(None) };
        let known = FanMode::ALL.into_iter().find(|mode| mode.name() == text);
        known
            .map(Some)
            .ok_or_else(|| self.error(&format!("mode= is {}", FanMode::ALL.map(FanMode::name).join(", "))))
    }

    fn count(&mut self, key: &str) -> Result<Option<usize>, Error> {
        let Some(text) = self.take(key) else { return Ok(None) };
        let count = text.parse().ok().filter(|count| *count > 0);
        count.map(Some).ok_or_else(|| self.error(&format!("{key}={text} is not a whole number above 0")))
    }

    /// `gain=`: a number, an activation whose gain is computed, or `torch.` and one whose gain PyTorch has in its table.
    fn gain(&mut self) -> Result<Option<f64>, Error> {
        let Some(text) = self.take("gain") else { return Ok(None) };
        if let Some(name) = text.strip_prefix("torch.") {
            return self.torch_gain(self.activation("gain", name)?).map(Some);
        }
        match text.parse::<f64>() {
            Ok(gain) => check("gain", gain, gain >= 0.0, "finite and not negative").map(Some),
            Err(_) => match text.parse::<Activation>() {
                Ok(activation) => Ok(Some(activation.gain())),
                Err(error) => Err(self.error(&format!("gain= is a number or an activation: {error}"))),
            },
        }
    }

    /// Applies `gain=` and `mode=` to a scheme.
    fn scaled(&mut self, mut scheme: Initializer) -> Result<Initializer, Error> {
        if let Some(gain) = self.gain()? {
            scheme = scheme.with_gain(gain);
        }
        if let Some(mode) = self.mode()? {
            scheme = scheme.with_mode(mode);
        }
        Ok(scheme)
    }
}

impl Initializer {
    /// Every name that can be read as a SPEC, in the order of the table in the docs.
    pub fn names() -> impl Iterator<Item = &'static str> {
        SCHEMES.iter().map(|(name, _)| *name)
    }
}

/// Reads a SPEC:
///
/// | name | parameters |
/// |---|---|
/// | `zeros`, `ones` | |
/// | `constant` | `value` |
/// | `normal` | `std` or `variance`; `mean` (0) |
/// | `uniform` | `bound`, or `low` and `high` |
/// | `xavier_normal`, `xavier_uniform` (or `glorot_…`) | `gain` (1), `mode` (`fan_avg`) |
/// | `kaiming_normal`, `kaiming_uniform` (or `he_…`) | `gain` (√2), `mode` (`fan_in`) |
/// | `lecun_normal`, `lecun_uniform` | `gain` (1), `mode` (`fan_in`) |
/// | `variance_scaling` | `scale` (1), `mode` (`fan_in`), `family` (`normal`, `truncated_normal` or `uniform`) |
/// | `truncated_normal` | `std` (before the cut); `mean` (0), `low` and `high` (±2 std around the mean) |
/// | `siren_first`, `siren_hidden` | `omega` (30) for the second |
/// | `recurrent` | `gates` (1) |
/// | `identity`, `orthogonal`, `delta_orthogonal` | `gain` (1) |
/// | `dirac` | `groups` (1) |
/// | `sparse` | `sparsity`; `std` (0.01), `by` (`column` or `row`) |
/// | `icnr` | `factor`; `base` (`kaiming_normal`) and the base's own |
/// | `bilinear`, `zero` | |
/// | `forget_gate` | `value` (1) |
/// | `torch.linear` | |
/// | `torch.uniform`, `torch.normal` | `a` (0), `b` (1); `mean` (0), `std` (1) |
/// | `torch.trunc_normal`, `timm.trunc_normal` | `mean` (0), `std` (1), `a` (-2), `b` (2) |
/// | `torch.xavier_uniform`, `torch.xavier_normal` | `gain` (1) |
/// | `torch.kaiming_uniform`, `torch.kaiming_normal` | `a` (0), `mode` (`fan_in`), `nonlinearity` (`leaky_relu`) |
/// | `jax.uniform` | `scale` (0.01): U(0, scale) |
/// | `jax.normal`, `jax.truncated_normal` | `stddev` (0.01) |
/// | `jax.variance_scaling` | `distribution`; `scale` (1), `mode` (`fan_in`) |
/// | `jax.glorot_…`, `jax.he_…`, `jax.lecun_…`, each `normal` or `uniform`; the same with `keras.` | `gain`, `mode` |
/// | `keras.random_normal`, `keras.truncated_normal` | `mean` (0), `stddev` (0.05) |
/// | `keras.random_uniform` | `minval` (-0.05), `maxval` (0.05) |
/// | `keras.variance_scaling` | `scale` (1), `mode` (`fan_in`), `distribution` (`truncated_normal`) |
/// | `timm.trunc_normal_tf` | `mean` (0), `std` (1) |
/// | `timm.variance_scaling` | `scale` (1), `mode` (`fan_in`), `distribution` (`normal`) |
/// | `timm.lecun_normal` | `gain`, `mode` |
///
/// `gain` is a number, the name of an activation, whose computed gain it then is, or `torch.` and the name of one whose
/// gain PyTorch has in its table. The [catalogue](crate::catalogue) has a section on each.
///
/// ```
/// use wick_init::{FanMode, Initializer};
///
/// assert_eq!("normal:std=0.01".parse::<Initializer>()?, Initializer::normal(0.01));
/// assert_eq!("normal:variance=0.01".parse::<Initializer>()?, Initializer::normal(0.1));
/// let scheme: Initializer = "kaiming_normal:gain=tanh,mode=fan_out".parse()?;
/// let by_hand = Initializer::kaiming_normal()
///     .with_gain(wick_theory::Activation::Tanh.gain())
///     .with_mode(FanMode::FanOut);
/// assert_eq!(scheme, by_hand);
/// # Ok::<(), wick_init::Error>(())
/// ```
impl FromStr for Initializer {
    type Err = Error;

    fn from_str(spec: &str) -> Result<Self, Error> {
        let (name, rest) = match spec.split_once(':') {
            Some((name, rest)) => (name, Some(rest)),
            None => (spec, None),
        };
        let make = find(name)?;
        let mut parameters = Parameters::parse(spec, rest)?;
        let scheme = make(&mut parameters)?;
        if let Some((key, _)) = parameters.pairs.first() {
            return Err(parameters.error(&format!("{name} takes no {key}=")));
        }
        // What needs no shape to be seen wrong is wrong now: bounds crossed, a negative std.
        match scheme.plan(&[1, 1], Layout::Plain) {
            Ok(_) | Err(Error::NoFans { .. } | Error::Shape { .. }) => Ok(scheme),
            Err(error) => Err(error),
        }
    }
}

/// Writes a SPEC that reads back as the same scheme.
impl fmt::Display for Initializer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMED: [&str; 11] = [
            "zeros",
            "ones",
            "xavier_normal",
            "xavier_uniform",
            "kaiming_normal",
            "kaiming_uniform",
            "lecun_normal",
            "lecun_uniform",
            "jax.glorot_normal",
            "jax.he_normal",
            "jax.lecun_normal",
        ];
        let is_self = |name: &str| {
            let mut nothing = Parameters { spec: name, pairs: Vec::new() };
            find(name).and_then(|make| make(&mut nothing)).is_ok_and(|scheme| scheme == *self)
        };
        if let Some(name) = NAMED.into_iter().find(|name| is_self(name)) {
            return f.write_str(name);
        }
        match self {
            Self::Constant(value) => write!(f, "constant:value={value}"),
            Self::Normal { mean, std } if *mean == 0.0 => write!(f, "normal:std={std}"),
            Self::Normal { mean, std } => write!(f, "normal:mean={mean},std={std}"),
            Self::Uniform { low, high } => write!(f, "uniform:low={low},high={high}"),
            Self::TruncatedNormal { mean, std, low, high } => {
                write!(f, "truncated_normal:mean={mean},std={std},low={low},high={high}")
            }
            Self::VarianceScaling { scale, mode, family } => {
                let family = match family {
                    Family::Normal => "normal",
                    Family::TruncatedNormal => "truncated_normal",
                    Family::Uniform => "uniform",
                };
                write!(f, "variance_scaling:scale={scale},mode={},family={family}", mode.name())
            }
            Self::SirenFirst => f.write_str("siren_first"),
            Self::SirenHidden { omega } => write!(f, "siren_hidden:omega={omega}"),
            Self::Recurrent { gates } => write!(f, "recurrent:gates={gates}"),
            Self::ForgetGate { value } => write!(f, "forget_gate:value={value}"),
            Self::Identity { gain } => write!(f, "identity:gain={gain}"),
            Self::Dirac { groups } => write!(f, "dirac:groups={groups}"),
            Self::Orthogonal { gain } => write!(f, "orthogonal:gain={gain}"),
            Self::DeltaOrthogonal { gain } => write!(f, "delta_orthogonal:gain={gain}"),
            Self::Sparse { sparsity, std, by } => {
                let by = match by {
                    SparseBy::Column => "column",
                    SparseBy::Row => "row",
                };
                write!(f, "sparse:sparsity={sparsity},std={std},by={by}")
            }
            Self::Bilinear => f.write_str("bilinear"),
            Self::Icnr { factor, base } => {
                let base = base.to_string().replacen(':', ",", 1);
                write!(f, "icnr:factor={factor},base={base}")
            }
            Self::Zero => f.write_str("zero"),
        }
    }
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
