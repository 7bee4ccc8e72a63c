//! Configs as the hub has them, and what is wrong with one.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// A config that a model cannot be built from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The config is of another architecture.
    #[error("it is the config of '{found}', and not of {model}")]
    Other {
        /// The architecture that the config names.
        found: String,
        /// The architecture that was asked for.
        model: &'static str,
    },
    /// A field is missing.
    #[error("it lacks the field '{field}', which {model} needs")]
    Missing {
        /// The field.
        field: String,
        /// The architecture.
        model: &'static str,
    },
    /// A field has a value of another kind.
    #[error("its field '{field}' is not what {model} takes: {reason}")]
    Field {
        /// The field.
        field: String,
        /// The architecture.
        model: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The config is no JSON object.
    #[error("it is no JSON object, as the hub's config.json is one")]
    NoObject,
}

/// Reads what a model takes from its config.
pub(crate) fn read<C: DeserializeOwned>(config: &Value, model: &'static str) -> Result<C, ConfigError> {
    if !config.is_object() {
        return Err(ConfigError::NoObject);
    }
    serde_json::from_value(config.clone()).map_err(|error| {
        cause(
            config,
            &error.to_string(),
            |without| serde_json::from_value::<C>(without).err().map(|error| error.to_string()),
            model,
        )
    })
}

/// The field at fault. serde names one that is missing; another one is that without which the error is no longer
/// the same.
fn cause(
    config: &Value,
    reason: &str,
    error_of: impl Fn(Value) -> Option<String>,
    model: &'static str,
) -> ConfigError {
    let Some(fields) = config.as_object() else { return ConfigError::NoObject };
    if let Some(field) = missing(reason) {
        return ConfigError::Missing { field: field.to_owned(), model };
    }
    let is_cause = |field: &&String| {
        let mut others = fields.clone();
        others.remove(*field);
        error_of(Value::Object(others)).is_none_or(|error| error != reason)
    };
    let field = fields.keys().find(is_cause).cloned().unwrap_or_default();
    ConfigError::Field { field, model, reason: reason.to_owned() }
}

/// The field that serde misses.
fn missing(reason: &str) -> Option<&str> {
    reason.strip_prefix("missing field `")?.split('`').next()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A test fails by panicking.
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[allow(dead_code)]
    struct Config {
        width: usize,
        depth: Option<usize>,
    }

    #[test]
    fn an_error_names_the_field() {
        let said =
            |text: &str| read::<Config>(&serde_json::from_str(text).unwrap(), "net").unwrap_err().to_string();
        assert_eq!(said("{\"depth\": 1}"), "it lacks the field 'width', which net needs");
        assert_eq!(
            said("{\"depth\": -1, \"other\": 0, \"width\": 2}"),
            "its field 'depth' is not what net takes: invalid value: integer `-1`, expected usize"
        );
        assert_eq!(
            said("{\"width\": null}"),
            "its field 'width' is not what net takes: invalid type: null, expected usize"
        );
        assert_eq!(said("[1, 2]"), "it is no JSON object, as the hub's config.json is one");
    }
}
