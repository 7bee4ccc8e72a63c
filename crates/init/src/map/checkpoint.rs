//! The safetensors files that a map loads its tensors from and saves them to.

use std::io;
use std::path::Path;

use candle_core::Device;

use super::InitMap;
use crate::error::Error;

/// The first line of an error of candle's (a backtrace may follow), and the error of the operating system in
/// it.
fn parts(error: candle_core::Error) -> (String, Option<io::Error>) {
    fn io_error(error: candle_core::Error) -> Option<io::Error> {
        match error {
            candle_core::Error::Io(error) => Some(error),
            candle_core::Error::WithPath { inner, .. }
            | candle_core::Error::WithBacktrace { inner, .. }
            | candle_core::Error::Context { inner, .. } => io_error(*inner),
            _ => None,
        }
    }
    (error.to_string().lines().next().unwrap_or_default().to_owned(), io_error(error))
}

impl InitMap {
    /// Loads the tensors of a safetensors file, in addition to those of earlier calls, so that the shards of
    /// a model can be loaded one by one. If a tensor has another shape or type than the model asks for, the
    /// request is an error.
    ///
    /// # Errors
    /// [`Error::File`] if the file does not exist, is truncated, is no safetensors file, or has a tensor that
    /// an earlier file has too.
    pub fn with_file(self, path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let error = |(reason, source)| Error::File { path: path.to_owned(), reason, source };
        let file = candle_core::safetensors::load(path, &Device::Cpu).map_err(|e| error(parts(e)))?;
        if let Some(name) = file.keys().filter(|name| self.settings.file.contains_key(*name)).min() {
            return Err(error((format!("an earlier file has '{name}' too"), None)));
        }
        Ok(self.with(|settings| settings.file.extend(file)))
    }

    /// The tensors of the files that no model has asked for so far, in the order of their names; they may
    /// belong to another model.
    pub fn unused_tensors(&self) -> Vec<String> {
        let vars = self.lock();
        let mut unused: Vec<String> =
            self.settings.file.keys().filter(|name| !vars.contains_key(*name)).cloned().collect();
        unused.sort();
        unused
    }

    /// Saves the variables to a safetensors file, and makes its folder if it is missing. The file is written
    /// whole or not at all, as by [`wick_files::write`]: a reader sees the old file or the new one, and a
    /// failure keeps the old one.
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use wick_init::{InitMap, Initializer};
    ///
    /// let path = std::env::temp_dir().join("wick-init-example.safetensors");
    /// let map = InitMap::new(42).with_default_init(Initializer::xavier_normal());
    /// let layer = candle_nn::linear(3, 2, map.var_builder(DType::F32, &Device::Cpu))?;
    /// map.save(&path)?;
    ///
    /// let map = InitMap::new(0).with_file(&path)?;
    /// let again = candle_nn::linear(3, 2, map.var_builder(DType::F32, &Device::Cpu))?;
    /// assert_eq!(again.weight().to_vec2::<f32>()?, layer.weight().to_vec2::<f32>()?);
    /// # std::fs::remove_file(path).ok();
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Write`] if the file cannot be written, [`Error::Candle`] if a device cannot hand over the
    /// values.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let tensors = self.named_vars().into_iter().map(|(name, var)| (name, var.as_tensor().clone()));
        let bytes = safetensors::serialize(tensors, None).map_err(candle_core::Error::from)?;
        wick_files::write(path, &bytes).map_err(|source| Error::Write { path: path.to_owned(), source })
    }
}
