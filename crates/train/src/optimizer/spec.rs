//! Optimizers as text: `name` or `name:key=value,…`.

use std::fmt;
use std::str::FromStr;

use candle_nn::ParamsAdamW;
use wick_kernels::{Method, MuonScaling, ParamsLion, ParamsMuon, ParamsScheduleFree, ParamsSgd};
use wick_theory::nearest_names;
use wick_theory::spec::{Pairs, SpecError, name_and_pairs, shortened, spellings, word};

use crate::error::Error;

/// An optimizer with its parameters, which a SPEC names: `adamw:lr=0.003,weight_decay=0.1`.
///
/// | SPEC | parameters and their defaults |
/// |---|---|
/// | `adamw` | `lr` (0.001), `beta1` (0.9), `beta2` (0.999), `eps` (1e-8), `weight_decay` (0.01) |
/// | `sgd` | `lr` (0.01), `momentum` (0.9), `nesterov` (false), `weight_decay` (0) |
/// | `lion` | `lr` (1e-4), `beta1` (0.9), `beta2` (0.99), `weight_decay` (0.001) |
/// | `muon` | `lr` (0.001), `momentum` (0.95), `nesterov` (true), `bias_correction` (false), `scaling` (`original`, or `match_rms_adamw`), `iterations` (5), `eps` (1e-8), `weight_decay` (0.1); of what is no matrix: `adamw_rate` (1, a multiple of `lr`), `beta1` (0.9), `beta2` (0.999), `adamw_eps` (1e-8) |
/// | `schedule_free` | `lr` (0.0025), `beta1` (0.9), `beta2` (0.999), `eps` (1e-8), `weight_decay` (0), `rate_power` (2) |
///
/// The grammar is that of initializers and schedules: names in any case and with `-` for `_`, numbers as
/// formulas.
///
/// ```
/// use wick_train::OptimizerSpec;
///
/// let sgd: OptimizerSpec = "SGD:lr=1/8,nesterov=true".parse()?;
/// assert_eq!(sgd.to_string(), "sgd:lr=0.125,nesterov=true");
/// assert_eq!(sgd.learning_rate(), 0.125);
/// let error = "adam:lr=0.1".parse::<OptimizerSpec>().unwrap_err().to_string();
/// assert!(error.starts_with("unknown optimizer 'adam' (did you mean adamw?)"), "{error}");
/// # Ok::<(), wick_train::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum OptimizerSpec {
    /// [`wick_kernels::AdamW`].
    AdamW(ParamsAdamW),
    /// [`wick_kernels::Sgd`].
    Sgd(ParamsSgd),
    /// [`wick_kernels::Lion`].
    Lion(ParamsLion),
    /// [`wick_kernels::Muon`].
    Muon(ParamsMuon),
    /// [`wick_kernels::ScheduleFree`].
    ScheduleFree(ParamsScheduleFree),
}

impl Default for OptimizerSpec {
    fn default() -> Self {
        Self::AdamW(ParamsAdamW::default())
    }
}

/// The names that are read, with the optimizers at their defaults.
const NAMES: [&str; 5] = ["adamw", "sgd", "lion", "muon", "schedule_free"];

const FLAG: [(&str, bool); 2] = [("true", true), ("false", false)];
const SCALING: [(&str, MuonScaling); 2] =
    [("original", MuonScaling::Original), ("match_rms_adamw", MuonScaling::MatchRmsAdamW)];

/// A parameter, to be read or written.
enum Parameter<'a> {
    Number(&'a mut f64),
    Flag(&'a mut bool),
    Count(&'a mut usize),
    Scaling(&'a mut MuonScaling),
}

impl OptimizerSpec {
    /// Lists all names that can be read as a SPEC.
    ///
    /// ```
    /// assert!(wick_train::OptimizerSpec::names().any(|name| name == "lion"));
    /// ```
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.into_iter()
    }

    /// The name of the SPEC.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AdamW(_) => "adamw",
            Self::Sgd(_) => "sgd",
            Self::Lion(_) => "lion",
            Self::Muon(_) => "muon",
            Self::ScheduleFree(_) => "schedule_free",
        }
    }

    /// The learning rate, which a schedule multiplies.
    pub fn learning_rate(&self) -> f64 {
        match self {
            Self::AdamW(params) => params.lr,
            Self::Sgd(params) => params.lr,
            Self::Lion(params) => params.lr,
            Self::Muon(params) => params.lr,
            Self::ScheduleFree(params) => params.lr,
        }
    }

    /// The same optimizer with another learning rate.
    ///
    /// ```
    /// use wick_train::OptimizerSpec;
    ///
    /// let sgd: OptimizerSpec = "sgd:lr=0.1,momentum=0.5".parse()?;
    /// assert_eq!(sgd.with_learning_rate(0.2).to_string(), "sgd:lr=0.2,momentum=0.5");
    /// # Ok::<(), wick_train::Error>(())
    /// ```
    pub fn with_learning_rate(mut self, rate: f64) -> Self {
        for (key, parameter) in self.parameters() {
            if let (true, Parameter::Number(number)) = (key == "lr", parameter) {
                *number = rate;
            }
        }
        self
    }

    /// Refuses parameters that are out of range.
    ///
    /// # Errors
    /// Names the parameter and its range.
    pub fn check(&self) -> Result<(), Error> {
        let checked = match self {
            Self::AdamW(params) => params.check(),
            Self::Sgd(params) => params.check(),
            Self::Lion(params) => params.check(),
            Self::Muon(params) => params.check(),
            Self::ScheduleFree(params) => params.check(),
        };
        // candle appends a backtrace to its errors.
        checked
            .map_err(|error| Error::Settings(error.to_string().lines().next().unwrap_or_default().to_owned()))
    }

    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "adamw" => Self::AdamW(ParamsAdamW::default()),
            "sgd" => Self::Sgd(ParamsSgd::default()),
            "lion" => Self::Lion(ParamsLion::default()),
            "muon" => Self::Muon(ParamsMuon::default()),
            "schedule_free" => Self::ScheduleFree(ParamsScheduleFree::default()),
            _ => return None,
        })
    }

    /// The parameters with their keys, in the order in which they are written.
    fn parameters(&mut self) -> Vec<(&'static str, Parameter<'_>)> {
        use Parameter::{Count, Flag, Number, Scaling};
        match self {
            Self::AdamW(ParamsAdamW { lr, beta1, beta2, eps, weight_decay }) => vec![
                ("lr", Number(lr)),
                ("beta1", Number(beta1)),
                ("beta2", Number(beta2)),
                ("eps", Number(eps)),
                ("weight_decay", Number(weight_decay)),
            ],
            Self::Sgd(ParamsSgd { lr, momentum, weight_decay, nesterov }) => vec![
                ("lr", Number(lr)),
                ("momentum", Number(momentum)),
                ("nesterov", Flag(nesterov)),
                ("weight_decay", Number(weight_decay)),
            ],
            Self::Lion(ParamsLion { lr, beta1, beta2, weight_decay }) => vec![
                ("lr", Number(lr)),
                ("beta1", Number(beta1)),
                ("beta2", Number(beta2)),
                ("weight_decay", Number(weight_decay)),
            ],
            Self::Muon(params) => vec![
                ("lr", Number(&mut params.lr)),
                ("momentum", Number(&mut params.momentum)),
                ("nesterov", Flag(&mut params.nesterov)),
                ("bias_correction", Flag(&mut params.bias_correction)),
                ("scaling", Scaling(&mut params.scaling)),
                ("iterations", Count(&mut params.iterations)),
                ("eps", Number(&mut params.eps)),
                ("weight_decay", Number(&mut params.weight_decay)),
                ("adamw_rate", Number(&mut params.adamw_rate)),
                ("beta1", Number(&mut params.beta1)),
                ("beta2", Number(&mut params.beta2)),
                ("adamw_eps", Number(&mut params.adamw_eps)),
            ],
            Self::ScheduleFree(params) => vec![
                ("lr", Number(&mut params.lr)),
                ("beta1", Number(&mut params.beta1)),
                ("beta2", Number(&mut params.beta2)),
                ("eps", Number(&mut params.eps)),
                ("weight_decay", Number(&mut params.weight_decay)),
                ("rate_power", Number(&mut params.rate_power)),
            ],
        }
    }

    fn read(&mut self, pairs: &mut Pairs) -> Result<(), SpecError> {
        for (key, parameter) in self.parameters() {
            match parameter {
                Parameter::Number(number) => *number = pairs.number(key)?.unwrap_or(*number),
                Parameter::Count(count) => *count = pairs.count(key)?.unwrap_or(*count),
                Parameter::Flag(flag) => *flag = pairs.one_of(key, &FLAG)?.unwrap_or(*flag),
                Parameter::Scaling(scaling) => *scaling = pairs.one_of(key, &SCALING)?.unwrap_or(*scaling),
            }
        }
        Ok(())
    }
}

impl FromStr for OptimizerSpec {
    type Err = Error;

    fn from_str(spec: &str) -> Result<Self, Error> {
        let (name, rest) = name_and_pairs(spec);
        let Some(mut optimizer) = spellings(name).iter().find_map(|name| Self::named(name)) else {
            let similar = nearest_names(name, NAMES);
            return Err(Error::UnknownOptimizer { name: shortened(name), similar, known: NAMES.join(", ") });
        };
        let unreadable = |reason: String| Error::Spec { what: "optimizer", spec: shortened(spec), reason };
        let mut pairs = Pairs::parse(rest).map_err(|error| unreadable(error.to_string()))?;
        optimizer.read(&mut pairs).map_err(|error| unreadable(error.to_string()))?;
        if let Some(key) = pairs.left_over() {
            return Err(unreadable(pairs.not_taken(name, key)));
        }
        optimizer.check().map_err(|error| unreadable(error.to_string()))?;
        Ok(optimizer)
    }
}

/// Writes the SPEC, without the parameters that have their defaults.
impl fmt::Display for OptimizerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |spec: &Self| -> Vec<(&'static str, String)> {
            let write = |(key, parameter)| {
                let text = match parameter {
                    Parameter::Number(number) => number.to_string(),
                    Parameter::Count(count) => count.to_string(),
                    Parameter::Flag(flag) => flag.to_string(),
                    Parameter::Scaling(scaling) => word(&SCALING, &*scaling).to_owned(),
                };
                (key, text)
            };
            spec.clone().parameters().into_iter().map(write).collect()
        };
        let name = self.name();
        let defaults = Self::named(name).map(|spec| text(&spec)).unwrap_or_default();
        let given = text(self).into_iter().filter(|pair| !defaults.contains(pair));
        let given: Vec<String> = given.map(|(key, value)| format!("{key}={value}")).collect();
        match given.is_empty() {
            true => f.write_str(name),
            false => write!(f, "{name}:{}", given.join(",")),
        }
    }
}
