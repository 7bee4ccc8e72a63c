//! The safetensors files that a map loads its tensors from and saves them to.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::InitMap;
use crate::error::{Error, quoted};
use crate::tensor_file::stored::StoredTensor;
use crate::tensor_file::{TensorFile, write};

impl InitMap {
    /// Loads tensors from a safetensors file, in addition to those of earlier calls, so that the shards of a
    /// model can be loaded one by one. Only the header is read now, and a tensor when a model asks for it. If
    /// a tensor has another shape or type than the model asks for, the request is an error; for the type, see
    /// [`with_cast_on_load`](Self::with_cast_on_load).
    ///
    /// The file's metadata become the map's ([`metadata`](Self::metadata)), without those that the map has
    /// already.
    ///
    /// # Errors
    /// [`Error::File`] if the file does not exist, is truncated, is no safetensors file, or has a tensor that
    /// an earlier file has too.
    pub fn with_file(self, path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let file = Arc::new(TensorFile::open(path)?);
        let mut names: Vec<&str> = file.tensors().iter().map(StoredTensor::name).collect();
        names.sort_unstable();
        if let Some(name) = names.iter().find(|name| self.settings.files.tensors.contains_key(**name)) {
            let reason = format!("an earlier file has {} too", quoted(name));
            return Err(Error::File { path: path.to_owned(), reason, source: None });
        }
        Ok(self.with(|settings| {
            let tensors = names.iter().map(|name| ((*name).to_owned(), Arc::clone(&file)));
            settings.files.tensors.extend(tensors);
            for (key, text) in file.metadata() {
                settings.metadata.entry(key.clone()).or_insert_with(|| text.clone());
            }
        }))
    }

    /// Chooses whether a tensor of a file that is of another type than the model asks for is converted, and
    /// not an error, which is the default. Floats, integers and truth values are rounded to the floating
    /// point type that the model asks for; a number beyond the largest of that type is an error.
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use wick_init::{InitMap, Initializer};
    ///
    /// let path = std::env::temp_dir().join("wick-init-bf16.safetensors");
    /// let map = InitMap::new(42).with_default_init(Initializer::xavier_normal());
    /// candle_nn::linear(3, 2, map.var_builder(DType::BF16, &Device::Cpu))?;
    /// map.save(&path)?;
    ///
    /// let map = InitMap::new(0).with_file(&path)?.with_cast_on_load(true);
    /// let layer = candle_nn::linear(3, 2, map.var_builder(DType::F32, &Device::Cpu))?;
    /// assert_eq!(layer.weight().dtype(), DType::F32);
    /// # std::fs::remove_file(path).ok();
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn with_cast_on_load(self, cast: bool) -> Self {
        self.with(|settings| settings.files.cast = cast)
    }

    /// Sets texts that a saved file says about itself, such as `format: pt`, which some loaders ask for. They
    /// replace those of the same key.
    pub fn with_metadata<K: Into<String>, V: Into<String>>(
        self,
        metadata: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let metadata = metadata.into_iter().map(|(key, text)| (key.into(), text.into()));
        self.with(|settings| settings.metadata.extend(metadata))
    }

    /// What a saved file says about itself: the metadata of the files that the map loads from, and those of
    /// [`with_metadata`](Self::with_metadata).
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.settings.metadata
    }

    /// The tensors of the files that no model has asked for so far, in the order of their names; they may
    /// belong to another model.
    pub fn unused_tensors(&self) -> Vec<String> {
        let (vars, streamed) = (self.lock(), self.lock_streamed());
        let is_used = |name: &str| vars.contains_key(name) || streamed.contains_key(name);
        self.settings.files.tensors.keys().filter(|name| !is_used(name)).cloned().collect()
    }

    /// Saves the variables and the [`metadata`](Self::metadata) to a safetensors file, and makes its folder if
    /// it is missing. The file is written
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
    /// [`Error::Write`] if the file cannot be written, [`Error::ReservedName`] for a variable that is called
    /// `__metadata__`, [`Error::Header`] if the names are longer than the format allows, [`Error::Candle`] if
    /// a device cannot hand over the values.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let tensors = self.named_vars().into_iter().map(|(name, var)| (name, var.as_tensor().clone()));
        write::write(path.as_ref(), &tensors.collect::<Vec<_>>(), self.metadata())
    }
}
