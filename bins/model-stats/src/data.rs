//! The data that a model of images is run on, as `train` reads them.

use anyhow::Result;
use candle_core::{DType, Tensor};
use clap::Args as ClapArgs;
use wick_bins::args::Target;
use wick_bins::cli::usage;
use wick_bins::data::{
    Header, MissingChoice, ReadOptions, TaskChoice, TestChoice, TrainingDataOptions, name_of,
};
use wick_bins::output;
use wick_train::data::{Dataset, Task};

use crate::objective::Objective;

/// The data.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Data")]
pub(crate) struct DataOptions {
    /// Take the samples from data, and the loss from their labels: digits, fashion-mnist, or a file as `train` reads
    /// it. A sample is an image, or a row with the pixels of a square one; grey images go to each channel. --batch
    /// samples are taken, spread over all
    #[arg(
        long,
        value_name = "digits|fashion-mnist|FILE",
        conflicts_with_all = ["tokens", "images", "length"]
    )]
    pub(crate) data: Option<String>,
    /// The column with the labels: its name, or its number [default: the first or last column if its name is label,
    /// target, class, …]
    #[arg(
        long,
        value_name = "COLUMN",
        requires = "data",
        conflicts_with = "labels",
        allow_hyphen_values = true
    )]
    pub(crate) label: Option<String>,
    /// A file with the labels alone [default: a column of the data]
    #[arg(long, value_name = "FILE", requires = "data")]
    pub(crate) labels: Option<String>,
    /// What the labels are: a class, or numbers [default: classify if the labels are texts or at most 100 different
    /// whole numbers, else regress]
    #[arg(long, value_name = "TASK", requires = "data", ignore_case = true)]
    pub(crate) task: Option<TaskChoice>,
    #[command(flatten)]
    read: ReadOptions,
}

/// Samples for a model of images.
pub(crate) struct Samples {
    /// `[batch, channels, height, width]`.
    pub(crate) images: Tensor,
    pub(crate) objective: Objective,
}

impl DataOptions {
    /// Refuses options about data without data.
    pub(crate) fn check(&self) -> Result<()> {
        let given = [
            (self.read.header != Header::Auto, "--header"),
            (self.read.delimiter.is_some(), "--delimiter"),
            (self.read.decimal_comma, "--decimal-comma"),
            (!self.read.drop.is_empty(), "--drop"),
        ];
        match given.into_iter().find(|(is_given, _)| *is_given && self.data.is_none()) {
            Some((_, option)) => Err(usage(format!("{option} is about --data: give that, or leave it out"))),
            None => Ok(()),
        }
    }

    /// Reads samples and standardizes them as `train` does: tables by columns, images as a whole.
    pub(crate) fn load(
        &self,
        source: &str,
        (batch, channels): (usize, usize),
        seed: u64,
        target: &Target,
    ) -> Result<Samples> {
        let options = TrainingDataOptions {
            data: source.to_owned(),
            label: self.label.clone(),
            labels: self.labels.clone(),
            test: Some(TestChoice::Fraction(0.0)),
            test_labels: None,
            validation: 0.0,
            task: self.task,
            missing: MissingChoice::Refuse,
            read: self.read.clone(),
        };
        let prepared = options.load(seed, target)?;
        let count = prepared.training.len();
        if batch > count {
            return Err(usage(format!("--batch is {batch}, and '{}' has {count} samples", name_of(source))));
        }
        let chosen: Vec<usize> = (0..batch).map(|index| index * count / batch).collect();
        let samples = prepared.training.batch(&chosen)?;
        let shape = prepared.preparation.sample_shape();
        let Some(layout) = layout(shape, channels) else {
            let of_channels =
                if channels == 1 { "1 channel".to_owned() } else { format!("1 or {channels} channels") };
            return Err(usage(format!(
                "a sample of '{}' has the shape {}, and the model takes images of {of_channels}: give images \
                 [height, width] or [channels, height, width], or rows with the pixels of a square one",
                name_of(source),
                output::shape(shape)
            )));
        };
        let images = layout.images(&samples.input, channels)?;
        let objective = match (samples.targets, prepared.preparation.task()) {
            (Some(classes), Task::Classify) => {
                Objective::Classes { classes, count: prepared.preparation.class_names().len() }
            }
            (Some(numbers), _) => Objective::Numbers(numbers),
            (None, _) => Objective::MeanSquare,
        };
        Ok(Samples { images, objective })
    }
}

/// How a row of numbers is an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    channels: usize,
    height: usize,
    width: usize,
    /// Whether the channels are the last dimension of the file's.
    are_last: bool,
}

/// The layout of samples of this shape for a model with this number of channels.
fn layout(shape: &[usize], channels: usize) -> Option<Layout> {
    let fits = |found: usize| found == 1 || found == channels;
    match *shape {
        [height, width] => Some(Layout { channels: 1, height, width, are_last: false }),
        [found, height, width] if fits(found) => {
            Some(Layout { channels: found, height, width, are_last: false })
        }
        [height, width, found] if fits(found) => {
            Some(Layout { channels: found, height, width, are_last: true })
        }
        [features] => [channels, 1].into_iter().find_map(|channels| {
            let side = (features as f64 / channels as f64).sqrt().round() as usize;
            let is_square = side > 1 && side * side * channels == features;
            is_square.then_some(Layout { channels, height: side, width: side, are_last: false })
        }),
        _ => None,
    }
    .filter(|layout| layout.height > 0 && layout.width > 0)
}

impl Layout {
    /// Images `[batch, channels, height, width]` of rows.
    fn images(self, rows: &Tensor, channels: usize) -> Result<Tensor> {
        let (count, Self { height, width, .. }) = (rows.dim(0)?, self);
        let images = match self.are_last {
            true => {
                rows.reshape((count, height, width, self.channels))?.permute((0, 3, 1, 2))?.contiguous()?
            }
            false => rows.reshape((count, self.channels, height, width))?,
        };
        Ok(if self.channels < channels { images.repeat((1, channels, 1, 1))? } else { images })
    }
}

/// The numbers of images, for their geometry.
pub(crate) fn numbers(images: &Tensor) -> Result<Vec<f32>> {
    Ok(images.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A test fails by panicking.
mod tests {
    use super::*;

    #[test]
    fn layouts() {
        let of = |shape: &[usize], channels| {
            layout(shape, channels).map(|found| (found.channels, found.height, found.width, found.are_last))
        };
        assert_eq!(of(&[28, 20], 3), Some((1, 28, 20, false)));
        assert_eq!(of(&[3, 8, 6], 3), Some((3, 8, 6, false)));
        assert_eq!(of(&[8, 6, 3], 3), Some((3, 8, 6, true)));
        assert_eq!(of(&[64], 3), Some((1, 8, 8, false)));
        assert_eq!(of(&[192], 3), Some((3, 8, 8, false)));
        for (shape, channels) in
            [(&[4, 8, 6][..], 3), (&[13], 3), (&[1], 1), (&[2, 2, 2, 2], 3), (&[0, 4], 1)]
        {
            assert_eq!(of(shape, channels), None, "{shape:?}");
        }
        let rows = Tensor::arange(0f32, 12.0, &candle_core::Device::Cpu).unwrap().reshape((1, 12)).unwrap();
        let last = layout(&[2, 2, 3], 3).unwrap().images(&rows, 3).unwrap();
        assert_eq!(numbers(&last).unwrap(), [0., 3., 6., 9., 1., 4., 7., 10., 2., 5., 8., 11.]);
        let grey = layout(&[2, 6], 3).unwrap().images(&rows, 3).unwrap();
        assert_eq!(grey.dims(), [1, 3, 2, 6]);
        assert_eq!(numbers(&grey.narrow(1, 2, 1).unwrap()).unwrap(), numbers(&rows).unwrap());
    }
}
