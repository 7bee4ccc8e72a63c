//! The arguments that all programs take.

use std::path::PathBuf;
use std::str::FromStr;

use candle_core::{DType, Device};
use clap::{Args, ValueEnum};
use wick_init::Initializer;

use crate::device::DeviceChoice;
use crate::memory;
use crate::output::{self, Format, Report};
use crate::picture::Picture;
use crate::values::whole;

/// The arguments that all programs take.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Where to compute: auto, cpu, cuda, cuda:N, metal or metal:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// The seed of all random numbers; the same seed gives the same result
    #[arg(long, value_name = "N", default_value_t = 42, value_parser = whole::<u64>)]
    pub seed: u64,
    /// The type of all tensors [default: f32; f64 in forward-backward]
    #[arg(long, value_name = "TYPE", ignore_case = true)]
    pub dtype: Option<Float>,
    /// The format of the result on stdout
    #[arg(long, value_name = "FORMAT", default_value = "table", ignore_case = true)]
    pub format: Format,
    /// The folder for the pictures; the program makes it if it is missing
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub out: PathBuf,
    /// Draw no pictures
    #[arg(long)]
    pub no_pictures: bool,
}

/// A floating point type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)] // The names are those of the types.
pub enum Float {
    #[value(aliases = ["float32", "float", "single"])]
    F32,
    #[value(aliases = ["float64", "double"])]
    F64,
    #[value(alias = "bfloat16")]
    Bf16,
    #[value(aliases = ["float16", "half"])]
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

/// The device and the type in which a program computes.
#[derive(Debug, Clone)]
pub struct Target {
    /// The device.
    pub device: Device,
    /// Its name: `cpu`, `cuda:0`, `metal:0`.
    pub name: String,
    /// The type of all tensors.
    pub dtype: DType,
}

impl Target {
    /// Refuses a computation that needs more memory than the device has free, before it starts. `numbers` is
    /// how many numbers of the target's type exist at once, and `remedy` is what the user can do.
    ///
    /// # Errors
    /// A usage error with both sizes and the remedy.
    pub fn check_memory(&self, numbers: f64, remedy: &str) -> anyhow::Result<()> {
        memory::check_on(&self.device, numbers, self.dtype.size_in_bytes(), remedy)
    }
}

/// An initializer with the text that it was read from. Results name the initializer by that text.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The text as the user wrote it.
    pub text: String,
    /// The initializer that the text names.
    pub initializer: Initializer,
}

impl FromStr for Spec {
    type Err = wick_init::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self { text: text.to_owned(), initializer: text.parse()? })
    }
}

/// Layers of one width: `128`, or `128x30` for thirty of them.
///
/// ```
/// use wick_bins::args::Layers;
///
/// assert_eq!("128x30".parse(), Ok(Layers { width: 128, count: 30 }));
/// assert_eq!("128".parse(), Ok(Layers { width: 128, count: 1 }));
/// assert!("x30".parse::<Layers>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layers {
    /// The outputs of each layer.
    pub width: usize,
    /// How many layers.
    pub count: usize,
}

impl FromStr for Layers {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (width, count) = text.split_once(['x', 'X', '×', '*']).unwrap_or((text, "1"));
        let number = |text: &str| whole(text).map_err(|_| "write WIDTH, or WIDTHxLAYERS as 128x30");
        Ok(Self { width: number(width)?, count: number(count)? })
    }
}

impl Common {
    /// Opens the device. `default` is the type if the user gave no `--dtype`.
    ///
    /// # Errors
    /// Those of [`DeviceChoice::open`].
    pub fn target(&self, default: Float) -> anyhow::Result<Target> {
        let (device, name) = self.device.open()?;
        Ok(Target { device, name, dtype: self.dtype.unwrap_or(default).into() })
    }

    /// Fails if the folder for the pictures cannot be written, so that a program finds out before a long
    /// computation.
    ///
    /// # Errors
    /// Names the folder.
    pub fn check_out(&self) -> anyhow::Result<()> {
        if self.no_pictures {
            return Ok(());
        }
        wick_files::check_folder(&self.out)
            .map_err(|error| anyhow::anyhow!("{error}; use --out DIR or --no-pictures"))
    }

    /// Prints the result, and then renders and saves the picture unless the user wants none. The result is
    /// printed first, so that a folder that cannot be written does not lose it.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub fn finish(
        &self,
        name: &str,
        report: &impl Report,
        render: impl FnOnce() -> anyhow::Result<Picture>,
    ) -> anyhow::Result<()> {
        output::print(report, self.format)?;
        if self.no_pictures { Ok(()) } else { render()?.save(&self.out, name) }
    }
}
