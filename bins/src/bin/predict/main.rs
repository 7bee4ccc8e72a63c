//! Predicts with a net that `train` trained.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor};
use candle_nn::Module;
use clap::{Parser, ValueEnum};
use wick_bins::allocator::Allocator;
use wick_bins::args::Target;
use wick_bins::cli::{self, usage};
use wick_bins::data::FeatureOptions;
use wick_bins::device::DeviceChoice;
use wick_bins::output::{exact, on_stdout};
use wick_bins::saved_model::SavedModel;
use wick_train::check_weights;
use wick_train::data::{Dataset, Preparation, Task};

/// Predicts the classes or the values of samples, with a net that train has written. The data are prepared as those
/// that it was trained on. Prints a CSV with a row for each sample: the class and its probability and then the
/// probability of each class, or the values in the units of the data.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLE)]
struct Args {
    /// The folder of the run: what train --run was given
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    #[command(flatten)]
    data: FeatureOptions,
    /// The weights
    #[arg(long, value_name = "WHICH", default_value = "auto", ignore_case = true)]
    weights: Weights,
    /// Where to compute: auto, cpu, cuda, cuda:N, metal or metal:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: DeviceChoice,
    /// The file to write instead of stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Which of the weights of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Weights {
    /// The best, or the last of a run without a validation
    Auto,
    /// Those of the best validation
    Best,
    /// Those at the end
    Last,
}

const EXAMPLE: &str = "\
Examples:
  train --data iris.csv --label species --run runs/iris && predict --run runs/iris --data new.csv
  predict --run runs/digits --data - < digits.csv > predictions.csv";

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    cli::run(predict)
}

fn predict(args: Args) -> Result<()> {
    if let Some(out) = &args.out {
        wick_files::check_files(&[out])?;
    }
    let model = SavedModel::read(&args.run)?;
    let weights = weights(&args)?;
    check_weights(&weights)?;
    let (device, name) = args.device.open()?;
    let target = Target { device, name, dtype: model.dtype()? };
    let net = model.net(&weights, &target.device)?;
    let data = args.data.load(model.preparation(), &target)?;
    let rows = Rows { preparation: model.preparation(), net: &net, data: &data };
    match &args.out {
        Some(out) => {
            let mut failed = None;
            let written = wick_files::write_with(out, |out| {
                rows.write(out).map_err(|error| {
                    let text = error.to_string();
                    failed = Some(error);
                    std::io::Error::other(text)
                })
            });
            match failed {
                // An error of the system names the file.
                Some(error) if !error.chain().any(<dyn std::error::Error>::is::<std::io::Error>) => {
                    Err(error)
                }
                _ => Ok(written?),
            }
        }
        None => on_stdout(|out| rows.write(out)),
    }
}

/// The file of the weights.
fn weights(args: &Args) -> Result<PathBuf> {
    let [best, last] = ["best.safetensors", "last.safetensors"].map(|name| args.run.join(name));
    let wanted = match args.weights {
        Weights::Auto if best.exists() => best,
        Weights::Auto | Weights::Last => last,
        Weights::Best => best,
    };
    if wanted.exists() {
        return Ok(wanted);
    }
    let folder = args.run.display();
    Err(usage(match args.weights {
        Weights::Best => {
            format!("'{folder}' has no best weights: the run had no --validation; use --weights last")
        }
        _ => {
            format!("'{folder}' has no weights yet: let the run end (train --resume), or use --weights best")
        }
    }))
}

/// The predictions of samples.
struct Rows<'a> {
    preparation: &'a Preparation,
    net: &'a wick_model::Mlp,
    data: &'a dyn Dataset,
}

/// The samples that are predicted at once.
const BATCH: usize = 256;

impl Rows<'_> {
    fn write(&self, out: &mut dyn Write) -> Result<()> {
        let mut writer = csv::Writer::from_writer(out);
        let is_classification = self.preparation.task() == Task::Classify;
        writer.write_record(self.header())?;
        let all: Vec<usize> = (0..self.data.len()).collect();
        for indices in all.chunks(BATCH) {
            let outputs = self.net.forward(&self.data.batch(indices)?.input)?;
            let all =
                outputs.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
            if let Some(at) = all.iter().position(|x| !x.is_finite()) {
                let row = indices[0] + at / (all.len() / indices.len()).max(1);
                bail!(
                    "the net gives {} for sample {row}, from 0: its weights or the sample are too large",
                    all[at]
                );
            }
            let rows = if is_classification { probabilities(&outputs)? } else { self.values(&outputs)? };
            for row in rows {
                writer.write_record(if is_classification { self.class(&row) } else { numbers(&row) })?;
            }
        }
        writer.flush()?;
        Ok(())
    }

    fn header(&self) -> Vec<String> {
        let names = self.preparation.class_names();
        match self.preparation.task() {
            Task::Classify => {
                let of_each = names.iter().map(|name| format!("probability of {name}"));
                ["class".to_owned(), "probability".to_owned()].into_iter().chain(of_each).collect()
            }
            Task::Regress if self.preparation.outputs() == 1 => vec!["value".to_owned()],
            Task::Regress => {
                (1..=self.preparation.outputs()).map(|number| format!("value {number}")).collect()
            }
        }
    }

    /// The most probable class, its probability, and all probabilities.
    fn class(&self, row: &[f64]) -> Vec<String> {
        let best = row.iter().enumerate().fold(0, |best, (k, p)| if *p > row[best] { k } else { best });
        let name = self.preparation.class_names().get(best).cloned().unwrap_or_default();
        [name, exact(row[best])].into_iter().chain(numbers(row)).collect()
    }

    /// Values in the units of the data.
    fn values(&self, outputs: &Tensor) -> Result<Vec<Vec<f64>>> {
        let outputs = outputs.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
        let restored = match self.preparation.target_standardization() {
            Some(standardization) => standardization.restore(&outputs)?,
            None => outputs,
        };
        Ok(restored.to_vec2()?)
    }
}

fn numbers(row: &[f64]) -> Vec<String> {
    row.iter().map(|x| exact(*x)).collect()
}

/// The softmax of each row, in `f64`.
fn probabilities(outputs: &Tensor) -> Result<Vec<Vec<f64>>> {
    let rows = outputs.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let softmax = |row: Vec<f64>| {
        let largest = row.iter().fold(f64::NEG_INFINITY, |largest, x| largest.max(*x));
        let powers: Vec<f64> = row.iter().map(|x| (x - largest).exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers.into_iter().map(|power| power / sum).collect()
    };
    Ok(rows.into_iter().map(softmax).collect())
}
