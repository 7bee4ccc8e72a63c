//! The data of train and predict.

use anyhow::Result;
use clap::Args;
use wick_train::data::{Preparation, PrepareOptions, Prepared, Samples, TableOptions, TestPart};

use crate::args::Target;

/// stub
#[derive(Debug, Clone, Args)]
pub struct TrainingDataOptions {
    /// stub
    #[arg(long, default_value = "digits")]
    pub data: String,
    /// stub
    #[arg(long, default_value_t = 0.2)]
    pub test: f64,
    /// stub
    #[arg(long, default_value_t = 0.1)]
    pub validation: f64,
}

impl TrainingDataOptions {
    /// stub
    pub fn load(&self, seed: u64, target: &Target) -> Result<Prepared> {
        let options = TableOptions { label: Some("digit".into()), ..TableOptions::default() };
        let samples = Samples::from_text(super::DIGITS.as_bytes(), "digits", &options)?;
        let options = PrepareOptions {
            validation: self.validation,
            seed,
            dtype: target.dtype,
            device: target.device.clone(),
            ..PrepareOptions::default()
        };
        Ok(Prepared::new(&samples, TestPart::Fraction(self.test), &options)?)
    }
    /// stub
    pub fn name(&self) -> String {
        super::name_of(&self.data)
    }
}

/// stub
#[derive(Debug, Clone, Args)]
pub struct FeatureOptions {
    /// stub
    #[arg(long)]
    pub data: String,
}

impl FeatureOptions {
    /// stub
    pub fn load(&self, preparation: &Preparation) -> Result<Samples> {
        Ok(Samples::read(&self.data, &preparation.table_options(&TableOptions::default()))?)
    }
}
