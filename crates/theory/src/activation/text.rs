//! Activations as text: `name`, or `name:parameter`.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::kind::Activation;
use crate::names::did_you_mean;

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self.parameter() {
            Some(parameter) if parameter.value != parameter.default => write!(f, ":{}", parameter.value),
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
            let meant = did_you_mean(name, names);
            format!("unknown activation '{text}'{meant}; known: {}", names.join(", "))
        }
    }
}

/// The activation of this name, with its parameter at the default. The name can be in any case, with or
/// without underscores or hyphens: `leaky_relu`, `LeakyReLU`.
fn by_name(name: &str) -> Option<Activation> {
    let letters = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
    let name = letters(name);
    Activation::ALL.into_iter().find(|activation| letters(activation.name()) == name)
}

impl FromStr for Activation {
    type Err = UnknownActivation;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownActivation(text.to_owned());
        let Some((name, number)) = text.split_once(':') else {
            return by_name(text).ok_or_else(unknown);
        };
        let number = number.parse().ok().filter(|number: &f64| number.is_finite()).ok_or_else(unknown)?;
        let parameter = by_name(name).and_then(Self::parameter).ok_or_else(unknown)?;
        Ok((parameter.with)(number))
    }
}
