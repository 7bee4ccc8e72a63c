//! An architecture: a small config, and how a model of it is built and run.

use std::rc::Rc;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::{self, ConfigError};

/// What a pass gives for an input.
pub type Forward = Box<dyn FnMut(&Tensor) -> Result<Tensor>>;

/// What a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Tokens `[batch, length]`, each below `vocabulary`.
    Tokens {
        /// The number of tokens that there are.
        vocabulary: usize,
        /// The largest length, where there is one.
        longest: Option<usize>,
    },
    /// Images `[batch, channels, size, size]`.
    Images {
        /// The number of channels.
        channels: usize,
        /// The height and the width, in pixels, for which the config is.
        size: usize,
        /// Whether the model takes no other size.
        is_fixed: bool,
    },
}

/// Reads a config.
type Read = dyn Fn(&Value) -> std::result::Result<Net, ConfigError>;

/// A row of the table of architectures: `model-stats --model NAME`.
pub struct Architecture {
    /// The name.
    pub name: &'static str,
    /// What configs of it have as `model_type` (transformers) or `architecture` (timm).
    pub types: &'static [&'static str],
    /// The samples that are drawn where the user gives no input.
    pub batch: usize,
    /// The tokens of each sample that are drawn; of images, the config has the size.
    pub length: usize,
    /// What weights of one dimension start from, which are the gains of norms: 1, or 0 where the model adds 1.
    pub gains: f64,
    small: &'static str,
    read: Box<Read>,
}

/// A model of a config.
pub struct Net {
    /// What the model takes.
    pub takes: Takes,
    build: Box<dyn Fn(VarBuilder<'static>) -> Result<Forward>>,
}

impl Architecture {
    /// A row: `build` makes a model of a config and a `VarBuilder`, and `forward` runs it.
    pub(crate) fn new<C: DeserializeOwned + 'static, M: 'static>(
        name: &'static str,
        types: &'static [&'static str],
        small: &'static str,
        takes: fn(&Value) -> Takes,
        build: impl Fn(&C, VarBuilder<'static>) -> Result<M> + Copy + 'static,
        forward: fn(&mut M, &Tensor) -> Result<Tensor>,
    ) -> Self {
        let read = move |config: &Value| {
            let read: Rc<C> = Rc::new(config::read(config, name)?);
            let build = move |vb: VarBuilder<'static>| {
                let mut model = build(&read, vb)?;
                let forward: Forward = Box::new(move |input| forward(&mut model, input));
                Ok(forward)
            };
            Ok(Net { takes: takes(config), build: Box::new(build) })
        };
        Self { name, types, batch: 2, length: 6, gains: 1.0, small, read: Box::new(read) }
    }

    pub(crate) fn with_batch(self, batch: usize) -> Self {
        Self { batch, ..self }
    }

    pub(crate) fn with_length(self, length: usize) -> Self {
        Self { length, ..self }
    }

    pub(crate) fn with_gains(self, gains: f64) -> Self {
        Self { gains, ..self }
    }

    /// The built-in config, which is small where the architecture has sizes.
    ///
    /// # Errors
    /// None: the config is JSON.
    pub fn small(&self) -> std::result::Result<Value, ConfigError> {
        serde_json::from_str(self.small).map_err(|_| ConfigError::NoObject)
    }

    /// Reads a config as the hub has it. Fields that the model does not take are passed over.
    ///
    /// ```
    /// let bert = wick_model_stats::architecture("bert").ok_or_else(|| anyhow::anyhow!("a row"))?;
    /// let of_gpt = serde_json::json!({"model_type": "gpt2", "n_embd": 768});
    /// let error = bert.read(&of_gpt).err().map(|error| error.to_string());
    /// assert_eq!(error.as_deref(), Some("it is the config of 'gpt2', and not of bert"));
    /// # Ok::<(), anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    /// If it names another architecture, or a field is missing or has a value that the model does not take.
    pub fn read(&self, config: &Value) -> std::result::Result<Net, ConfigError> {
        for key in ["model_type", "architecture"] {
            if let Some(found) = config[key].as_str().filter(|found| !self.types.contains(found)) {
                return Err(ConfigError::Other { found: found.to_owned(), model: self.name });
            }
        }
        (self.read)(config)
    }
}

impl std::fmt::Debug for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Architecture").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Net {
    /// Builds the model. What the result gives for an input are the model's own outputs; what it keeps between calls,
    /// such as a cache of keys and values, is cleared before each.
    ///
    /// # Errors
    /// Those of the model and of the `VarBuilder`.
    pub fn build(&self, vb: VarBuilder<'static>) -> Result<Forward> {
        (self.build)(vb)
    }
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Net").field("takes", &self.takes).finish_non_exhaustive()
    }
}
