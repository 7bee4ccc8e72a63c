//! What is kept of a net beside its weights, so that `predict` can build it again.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};
use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};
use wick_init::InitMap;
use wick_model::{Activation, Mlp, MlpConfig};
use wick_train::data::Preparation;

/// The version of the format.
const FORMAT: u32 = 1;

/// The name of the file in the folder of a run.
const FILE: &str = "model.json";

/// A net and how its data are prepared.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SavedModel {
    format: u32,
    features: usize,
    widths: Vec<usize>,
    activation: String,
    dtype: String,
    preparation: Preparation,
}

impl SavedModel {
    /// Describes a net whose last layer has no activation.
    pub fn new(net: &MlpConfig, preparation: &Preparation, dtype: DType) -> Self {
        Self {
            format: FORMAT,
            features: net.features,
            widths: net.widths.clone(),
            activation: net.activation.to_string(),
            dtype: dtype.as_str().to_owned(),
            preparation: preparation.clone(),
        }
    }

    /// Writes `model.json`, unless the folder has it with a checkpoint, which may be of another run. What a run left
    /// that was killed before its first checkpoint is replaced.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        let has_checkpoint = || {
            std::fs::read_dir(folder.join("checkpoints")).is_ok_and(|mut entries| entries.next().is_some())
        };
        if path.exists() && has_checkpoint() {
            return Ok(());
        }
        Ok(wick_files::write(path, &self.text()?)?)
    }

    /// Writes `model.json` if it has other bytes, for a run whose checkpoint was found to be this net's.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub fn repair(&self, folder: &Path) -> Result<()> {
        let (path, text) = (folder.join(FILE), self.text()?);
        if std::fs::read(&path).is_ok_and(|found| found == text) {
            return Ok(());
        }
        Ok(wick_files::write(path, &text)?)
    }

    fn text(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Reads `model.json`.
    ///
    /// # Errors
    /// Names the file, and says what is wrong with it.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let shown = path.display();
        let text = std::fs::read(&path).with_context(|| {
            let inside = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let inside = inside.filter(|entry| entry.path().join(FILE).exists());
            let inside: Vec<String> = inside.map(|entry| entry.path().display().to_string()).collect();
            let meant = match &inside[..] {
                [] => String::new(),
                _ => format!(" (did you mean {}?)", inside.join(" or ")),
            };
            format!(
                "'{}' is no folder of a single run of train{meant}: cannot read '{FILE}'",
                folder.display()
            )
        })?;
        let model: Self = serde_json::from_slice(&text).with_context(|| {
            format!("'{shown}' is damaged: train --resume with the run's options writes it again")
        })?;
        if model.format != FORMAT {
            bail!("cannot read '{shown}': its format is {}, and this version reads {FORMAT}", model.format);
        }
        Ok(model)
    }

    /// How the data are prepared.
    pub fn preparation(&self) -> &Preparation {
        &self.preparation
    }

    /// The type of the weights.
    ///
    /// # Errors
    /// The file names no type.
    pub fn dtype(&self) -> Result<DType> {
        DType::from_str(&self.dtype)
            .map_err(|_| anyhow!("'{FILE}' names the type '{}', which is none", self.dtype))
    }

    /// Builds the net with the weights of a file.
    ///
    /// # Errors
    /// The file does not fit the net.
    pub fn net(&self, weights: &Path, device: &Device) -> Result<Mlp> {
        let activation: Activation = self.activation.parse()?;
        let config = MlpConfig::new(self.features, self.widths.clone(), activation)
            .with_bias(true)
            .with_output_activation(Activation::Identity);
        let map = InitMap::new(0).with_file(weights)?.strict();
        Ok(Mlp::new(&config, map.var_builder(self.dtype()?, device))?)
    }
}

#[cfg(test)]
mod tests {
    use wick_train::data::{PrepareOptions, Prepared, Samples, TableOptions, TestPart};

    use super::*;

    /// A run that was killed before its first checkpoint may begin again with another net, whose description
    /// replaces the first one. After a checkpoint the folder keeps what it has.
    #[test]
    fn only_a_checkpoint_keeps_the_description() {
        let text = "width,height,kind\n1,10,flat\n2,9,flat\n9,1,tall\n8,2,tall\n";
        let options = TableOptions { label: Some("kind".to_owned()), ..TableOptions::default() };
        let samples = Samples::from_text(text.as_bytes(), "shapes", &options).unwrap();
        let prepared = Prepared::new(&samples, TestPart::Fraction(0.5), &PrepareOptions::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let save = |width: usize| {
            let net = MlpConfig::new(2, [width, 2], Activation::Tanh);
            SavedModel::new(&net, &prepared.preparation, DType::F32).save(folder.path()).unwrap();
            SavedModel::read(folder.path()).unwrap().widths[0]
        };
        assert_eq!((save(3), save(4)), (3, 4));
        std::fs::create_dir(folder.path().join("checkpoints")).unwrap();
        assert_eq!(save(5), 5);
        std::fs::write(folder.path().join("checkpoints/step-000000000001.safetensors"), "").unwrap();
        assert_eq!(save(6), 5);
    }
}
