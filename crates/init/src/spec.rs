//! Initializers as text: `name` or `name:key=value,…`.

mod parameters;

use std::fmt;
use std::str::FromStr;

use crate::error::check;
use crate::stft::{Scaling, Side, Window};
use crate::{Centre, Error, Family, Initializer, SparseBy, WeightLayout, jax, keras, timm, torch};
use parameters::Parameters;

type Make = fn(&mut Parameters) -> Result<Initializer, Error>;

/// Every name that can be read, with the parameters it takes. A new scheme is a row here.
const SCHEMES: [(&str, Make); 63] = [
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
    ("delta_orthogonal", |p| {
        let (gain, centre) = (p.gain()?.unwrap_or(1.0), p.one_of("centre", &CENTRES)?.unwrap_or_default());
        Ok(Initializer::DeltaOrthogonal { gain, centre })
    }),
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
    ("jax.truncated_normal", |p| {
        let std = p.or("stddev", 0.01)?;
        p.cut((0.0, std), "lower", "upper")
    }),
    ("jax.variance_scaling", |p| p.library_variance_scaling(&FAMILIES, None)),
    ("jax.glorot_uniform", |p| p.scaled(Initializer::xavier_uniform())),
    ("jax.glorot_normal", |p| p.scaled(jax::glorot_normal())),
    ("jax.he_uniform", |p| p.scaled(Initializer::kaiming_uniform())),
    ("jax.he_normal", |p| p.scaled(jax::he_normal())),
    ("jax.lecun_uniform", |p| p.scaled(Initializer::lecun_uniform())),
    ("jax.lecun_normal", |p| p.scaled(jax::lecun_normal())),
    ("jax.delta_orthogonal", |p| Ok(jax::delta_orthogonal(p.or("scale", 1.0)?))),
    ("keras.random_normal", |p| {
        Ok(Initializer::Normal { mean: p.or("mean", 0.0)?, std: p.or("stddev", 0.05)? })
    }),
    ("keras.random_uniform", |p| {
        Ok(Initializer::Uniform { low: p.or("minval", -0.05)?, high: p.or("maxval", 0.05)? })
    }),
    ("keras.truncated_normal", |p| {
        let (mean, std) = (p.or("mean", 0.0)?, p.or("stddev", 0.05)?);
        Ok(Initializer::TruncatedNormal { mean, std, low: mean - 2.0 * std, high: mean + 2.0 * std })
    }),
    ("keras.variance_scaling", |p| {
        p.library_variance_scaling(&KERAS_FAMILIES, Some(Family::TruncatedNormal))
    }),
    ("keras.glorot_uniform", |p| p.scaled(Initializer::xavier_uniform())),
    ("keras.glorot_normal", |p| p.scaled(keras::glorot_normal())),
    ("keras.he_uniform", |p| p.scaled(Initializer::kaiming_uniform())),
    ("keras.he_normal", |p| p.scaled(keras::he_normal())),
    ("keras.lecun_uniform", |p| p.scaled(Initializer::lecun_uniform())),
    ("keras.lecun_normal", |p| p.scaled(keras::lecun_normal())),
    ("keras.stft", stft),
    ("timm.trunc_normal", torch_trunc_normal),
    ("timm.trunc_normal_tf", |p| {
        let centre = (p.or("mean", 0.0)?, p.or("std", 1.0)?);
        p.cut(centre, "a", "b")
    }),
    ("timm.variance_scaling", |p| p.library_variance_scaling(&FAMILIES, Some(Family::Normal))),
    ("timm.lecun_normal", |p| p.scaled(timm::lecun_normal())),
];

const FAMILIES: [(&str, Family); 3] =
    [("normal", Family::Normal), ("truncated_normal", Family::TruncatedNormal), ("uniform", Family::Uniform)];

/// Keras' `normal` is the truncated one.
const KERAS_FAMILIES: [(&str, Family); 4] = [
    ("normal", Family::TruncatedNormal),
    ("truncated_normal", Family::TruncatedNormal),
    ("untruncated_normal", Family::Normal),
    ("uniform", Family::Uniform),
];

const CENTRES: [(&str, Centre); 2] = [("upper", Centre::Upper), ("lower", Centre::Lower)];

const LINES: [(&str, SparseBy); 2] = [("column", SparseBy::Column), ("row", SparseBy::Row)];

/// The word for one of them.
fn word<T: PartialEq>(words: &[(&'static str, T)], meant: &T) -> &'static str {
    words.iter().find(|(_, known)| known == meant).map_or("", |(word, _)| word)
}

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
    let by = parameters.one_of("by", &LINES)?.unwrap_or(SparseBy::Column);
    let std = parameters.number("std")?.unwrap_or(0.01);
    Ok(Initializer::Sparse { sparsity: parameters.required("sparsity")?, std, by })
}

fn stft(parameters: &mut Parameters) -> Result<Initializer, Error> {
    Ok(Initializer::Stft {
        side: parameters.one_of("side", &Side::WORDS)?.unwrap_or_default(),
        window: parameters.one_of("window", &Window::WORDS)?.unwrap_or_default(),
        scaling: parameters.one_of("scaling", &Scaling::WORDS)?.unwrap_or_default(),
        periodic: parameters.one_of("periodic", &[("true", true), ("false", false)])?.unwrap_or(false),
    })
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
    let family = parameters.one_of("family", &FAMILIES)?.unwrap_or(Family::Normal);
    let scale = parameters.or("scale", 1.0)?;
    let mode = parameters.mode()?.unwrap_or_default();
    Ok(Initializer::VarianceScaling { scale, mode, family })
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
/// | `identity`, `orthogonal` | `gain` (1) |
/// | `delta_orthogonal` | `gain` (1), `centre` (`upper`, or `lower`) of an even side |
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
/// | `jax.normal` | `stddev` (0.01) |
/// | `jax.truncated_normal` | `stddev` (0.01), `lower` (-2) and `upper` (2) in units of it |
/// | `jax.delta_orthogonal` | `scale` (1) |
/// | `jax.variance_scaling` | `distribution`; `scale` (1), `mode` (`fan_in`) |
/// | `jax.glorot_…`, `jax.he_…`, `jax.lecun_…`, each `normal` or `uniform`; the same with `keras.` | `gain`, `mode` |
/// | `keras.random_normal`, `keras.truncated_normal` | `mean` (0), `stddev` (0.05) |
/// | `keras.random_uniform` | `minval` (-0.05), `maxval` (0.05) |
/// | `keras.variance_scaling` | `scale` (1), `mode` (`fan_in`), `distribution` (`truncated_normal`; `normal` is the same, `untruncated_normal` not) |
/// | `keras.stft` | `side` (`real`, or `imag`), `window` (`hann`, `hamming` or `none`), `scaling` (`density`, `spectrum` or `none`), `periodic` (`false`) |
/// | `timm.trunc_normal_tf` | `mean` (0), `std` (1), `a` (-2) and `b` (2) in units of the std |
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
        match scheme.plan(&[1, 1], WeightLayout::Plain) {
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
                let family = word(&FAMILIES, family);
                write!(f, "variance_scaling:scale={scale},mode={},family={family}", mode.name())
            }
            Self::SirenFirst => f.write_str("siren_first"),
            Self::SirenHidden { omega } => write!(f, "siren_hidden:omega={omega}"),
            Self::Recurrent { gates } => write!(f, "recurrent:gates={gates}"),
            Self::ForgetGate { value } => write!(f, "forget_gate:value={value}"),
            Self::Identity { gain } => write!(f, "identity:gain={gain}"),
            Self::Dirac { groups } => write!(f, "dirac:groups={groups}"),
            Self::Orthogonal { gain } => write!(f, "orthogonal:gain={gain}"),
            Self::DeltaOrthogonal { gain, centre: Centre::Upper } => {
                write!(f, "delta_orthogonal:gain={gain}")
            }
            Self::DeltaOrthogonal { gain, centre } => {
                write!(f, "delta_orthogonal:gain={gain},centre={}", word(&CENTRES, centre))
            }
            Self::Sparse { sparsity, std, by } => {
                write!(f, "sparse:sparsity={sparsity},std={std},by={}", word(&LINES, by))
            }
            Self::Bilinear => f.write_str("bilinear"),
            Self::Icnr { factor, base } => {
                let base = base.to_string().replacen(':', ",", 1);
                write!(f, "icnr:factor={factor},base={base}")
            }
            Self::Zero => f.write_str("zero"),
            Self::Stft { side, window, scaling, periodic } => {
                let (side, window) = (word(&Side::WORDS, side), word(&Window::WORDS, window));
                let scaling = word(&Scaling::WORDS, scaling);
                write!(f, "keras.stft:side={side},window={window},scaling={scaling},periodic={periodic}")
            }
        }
    }
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
