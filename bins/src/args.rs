//! The arguments that all programs take.

use std::path::PathBuf;
use std::str::FromStr;

use candle_core::{DType, Device};
use clap::{Args, ValueEnum};
use wick_init::Initializer;

use crate::device::DeviceChoice;
use crate::files;
use crate::memory;
use crate::output::{self, Format, Report};
use crate::picture::Picture;

/// The arguments that all programs take.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Where to compute: auto, cpu, cuda, cuda:N, metal or metal:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// Where all random numbers come from, where there are any; the same seed gives the same result
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub seed: u64,
    /// The type of all tensors [default: f32; f64 in forward-backward]
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

impl Place {
    /// Refuses what the device has no room for, before it is tried: `numbers` at once.
    ///
    /// # Errors
    /// A usage error with both figures, and what to do.
    pub fn check_memory(&self, numbers: f64, mend: &str) -> anyhow::Result<()> {
        memory::check_on(&self.device, numbers, self.dtype.size_in_bytes(), mend)
    }
}

/// An initializer, and the text that it was read from, which is how results name it.
#[derive(Debug, Clone)]
pub struct Spec {
    /// What the user wrote.
    pub text: String,
    /// What it means.
    pub initializer: Initializer,
}

impl FromStr for Spec {
    type Err = wick_init::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self { text: text.to_owned(), initializer: text.parse()? })
    }
}

impl Common {
    /// Opens the device. `default` is the type where none was asked for.
    pub fn place(&self, default: Float) -> anyhow::Result<Place> {
        let (device, name) = self.device.open()?;
        Ok(Place { device, name, dtype: self.dtype.unwrap_or(default).into() })
    }

    /// Fails now if pictures are wanted and their folder cannot be written, and not after a long computation.
    ///
    /// # Errors
    /// Names the folder.
    pub fn check_out(&self) -> anyhow::Result<()> {
        if self.no_pictures { Ok(()) } else { files::check_folder(&self.out) }
    }

    /// Prints the result, and then draws and saves the picture, unless none is wanted: what was computed is not lost to a folder
    /// that cannot be written.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub fn finish(
        &self,
        name: &str,
        report: &impl Report,
        draw: impl FnOnce() -> anyhow::Result<Picture>,
    ) -> anyhow::Result<()> {
        output::print(report, self.format)?;
        if self.no_pictures { Ok(()) } else { draw()?.save(&self.out, name) }
    }
}
