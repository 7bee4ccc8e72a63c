//! The arguments that all programs take.

use std::path::PathBuf;

use candle_core::{DType, Device};
use clap::{Args, ValueEnum};

use crate::device::DeviceChoice;
use crate::output::Format;

/// The arguments that all programs take.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Where to compute: auto, cpu, cuda, cuda:N, metal or metal:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// Where all random numbers come from; the same seed gives the same result
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub seed: u64,
    /// The type of all tensors
    #[arg(long, value_name = "TYPE")]
    pub dtype: Option<Float>,
    /// What the result on stdout looks like
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
    /// The folder for the pictures; made if it is not there
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub out: PathBuf,
    /// Draw no pictures
    #[arg(long)]
    pub no_pictures: bool,
}

/// A floating point type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)] // The names say it.
pub enum Float {
    F32,
    F64,
    Bf16,
    F16,
}

impl From<Float> for DType {
    fn from(float: Float) -> Self {
        match float {
            Float::F32 => Self::F32,
            Float::F64 => Self::F64,
            Float::Bf16 => Self::BF16,
            Float::F16 => Self::F16,
        }
    }
}

/// Where and in what type a program computes.
#[derive(Debug, Clone)]
pub struct Place {
    /// The device.
    pub device: Device,
    /// Its name: `cpu`, `cuda:0`, `metal:0`.
    pub name: String,
    /// The type of all tensors.
    pub dtype: DType,
}

impl Common {
    /// Opens the device. `default` is the type where none was asked for.
    pub fn place(&self, default: Float) -> anyhow::Result<Place> {
        let (device, name) = self.device.open()?;
        Ok(Place { device, name, dtype: self.dtype.unwrap_or(default).into() })
    }

    /// The folder for pictures, unless none are wanted.
    pub fn pictures(&self) -> Option<&std::path::Path> {
        (!self.no_pictures).then_some(self.out.as_path())
    }
}
