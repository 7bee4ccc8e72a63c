//! Activations as text: `name`, or `name:parameter`.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::kind::Activation;
use crate::formula::{read_number, write_number};
use crate::names::{did_you_mean, letters};

/// Other names that are in use: those of PyTorch, JAX, Keras and Hugging Face.
const ALIASES: [(&str, &str); 14] = [
    ("linear", "identity"),
    ("none", "identity"),
    ("logistic", "sigmoid"),
    ("rectifier", "relu"),
    ("lrelu", "leaky_relu"),
    ("gelu_new", "gelu_tanh"),
    ("gelu_fast", "gelu_tanh"),
    ("gelu_pytorch_tanh", "gelu_tanh"),
    ("gelu_approximate", "gelu_tanh"),
    ("gelu_python", "gelu"),
    ("gelu_none", "gelu"),
    ("swish", "silu"),
    ("h_swish", "hardswish"),
    ("sine", "sin"),
];

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self.parameter() {
            Some(parameter) if parameter.value != parameter.default => {
                write!(f, ":{}", write_number(parameter.value))
            }
            _ => Ok(()),
        }
    }
}

impl Serialize for Activation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The text that was read is no activation: the name is not known, the parameter is missing or not a finite
/// number, or the activation takes no parameter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", reason(.0))]
pub struct UnknownActivation(pub String);

/// Why a text is no activation.
fn reason(text: &str) -> String {
    let named = text.split_once(':').and_then(|(name, _)| by_name(name));
    match named.map(|activation| (activation, activation.parameter())) {
        Some((activation, Some(parameter))) => {
            let (name, parameter, example) = (activation.name(), parameter.name, parameter.example);
            let placeholder = parameter.to_uppercase();
            format!(
                "'{text}': the {parameter} is no finite number; write {name}:{placeholder}, as {name}:{example}"
            )
        }
        Some((activation, None)) => format!("'{text}': {activation} takes no parameter"),
        None => {
            let names = Activation::ALL.map(Activation::name);
            let name = text.split_once(':').map_or(text, |(name, _)| name);
            let meant = did_you_mean(name, names.into_iter().chain(ALIASES.map(|(alias, _)| alias)));
            format!("unknown activation '{text}'{meant}; known: {}", names.join(", "))
        }
    }
}

/// The activation of this name, with its parameter at the default. The name can be in any case, with or
/// without underscores or hyphens, or one of [`ALIASES`]: `leaky_relu`, `LeakyReLU`, `swish`.
fn by_name(name: &str) -> Option<Activation> {
    let name = letters(name.trim());
    let name =
        ALIASES.iter().find(|(alias, _)| letters(alias) == name).map_or(name, |(_, name)| letters(name));
    Activation::ALL.into_iter().find(|activation| letters(activation.name()) == name)
}

impl FromStr for Activation {
    type Err = UnknownActivation;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownActivation(text.to_owned());
        let Some((name, number)) = text.split_once(':') else {
            return by_name(text).ok_or_else(unknown);
        };
        let of =
            by_name(name).and_then(Self::parameter).and_then(|known| number.trim().strip_prefix(known.name));
        let number = of.and_then(|rest| rest.trim_start().strip_prefix('=')).unwrap_or(number);
        let number = read_number(number).filter(|number: &f64| number.is_finite()).ok_or_else(unknown)?;
        let parameter = by_name(name).and_then(Self::parameter).ok_or_else(unknown)?;
        Ok((parameter.with)(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_parameters_are_read_as_people_write_them() {
        for (text, activation) in [
            ("swish", Activation::Silu),
            ("hard_swish", Activation::Hardswish),
            ("h-swish", Activation::Hardswish),
            ("Linear", Activation::Identity),
            ("gelu_new", Activation::GeluTanh),
            ("gelu_pytorch_tanh", Activation::GeluTanh),
            ("lrelu:0.2", Activation::LeakyRelu { slope: 0.2 }),
            ("leaky_relu:1/3", Activation::LeakyRelu { slope: 1.0 / 3.0 }),
            ("ELU:alpha=2", Activation::Elu { alpha: 2.0 }),
            ("elu: 1e300", Activation::Elu { alpha: 1e300 }),
        ] {
            assert_eq!(text.parse(), Ok(activation), "{text}");
            assert_eq!(activation.to_string().parse(), Ok(activation), "{text}");
        }
        for (alias, name) in ALIASES {
            assert_eq!(alias.parse::<Activation>(), name.parse());
        }
        assert_eq!(Activation::Elu { alpha: 1e300 }.to_string(), "elu:1e300");
        let error = "swich".parse::<Activation>().unwrap_err().to_string();
        assert!(error.starts_with("unknown activation 'swich' (did you mean swish?)"), "{error}");
        let error = "leaky_relu:wide".parse::<Activation>().unwrap_err().to_string();
        assert!(error.ends_with("the slope is no finite number; write leaky_relu:SLOPE, as leaky_relu:0.2"));
    }
}
