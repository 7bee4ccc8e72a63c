//! Tasks that are drawn: a random teacher, a linear map, and signals in one dimension.

mod draws;
mod linear;
mod signals;
mod spec;
mod teacher;
#[cfg(test)]
mod tests;

use candle_core::{DType, Device, Tensor};
use wick_init::KeyedV1;

use super::classes::Classes;
use super::memory::{InMemory, Targets};
use super::table::labels::Task;
use crate::error::Error;
use draws::Numbers;

/// A task whose samples are drawn, the same from the same seed on every machine. A SPEC names it.
///
/// | SPEC | task, its parameters and their defaults |
/// |---|---|
/// | `teacher` | classes of a random tanh net: `features` (20), `width` (20), `depth` (2, its hidden layers), `classes` (5), `samples` (2000), `test` (1000) |
/// | `linear` | regression on a random linear map, `Y = W X`: `features` (32), `outputs` (10), `samples` (64), `test` (64) |
/// | `mnist1d` | ten classes of signals of 40 numbers, in the manner of MNIST-1D: `samples` (4000), `test` (1000) |
///
/// ```
/// use candle_core::{DType, Device};
/// use wick_train::data::{Dataset, Synthetic};
///
/// let task: Synthetic = "linear:features=8,samples=20".parse()?;
/// assert_eq!(task.to_string(), "linear:features=8,samples=20");
/// assert_eq!((task.features(), task.outputs()), (8, 10));
/// let parts = task.draw(42, DType::F32, &Device::Cpu)?;
/// assert_eq!((parts.training.len(), parts.test.len()), (20, 64));
/// assert_eq!(parts.training.batch(&[0])?.targets.unwrap().dims(), [1, 10]);
/// assert!("mnist".parse::<Synthetic>().is_err());
/// # Ok::<(), wick_train::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Synthetic {
    /// Classes that a net with random weights tells apart: features `x ~ N(0, 1)`, hidden layers `h ← tanh(W h)` with
    /// weights of variance `4/fan_in`, and the class of the largest output, each of which has the mean 0 and the variance 1
    /// over the samples, so that no class is rare.
    Teacher {
        /// The features of a sample.
        features: usize,
        /// The units of a hidden layer.
        width: usize,
        /// The hidden layers.
        depth: usize,
        /// The classes.
        classes: usize,
        /// The samples to train on.
        samples: usize,
        /// The samples to test on.
        test: usize,
    },
    /// Targets `y = W x` with `x ~ N(0, 1)` and weights of variance `1/features`: what a deep linear net can learn to any
    /// accuracy (Saxe et al. 2014; Hu, Xiao and Pennington 2020).
    Linear {
        /// The features of a sample.
        features: usize,
        /// The targets of a sample.
        outputs: usize,
        /// The samples to train on.
        samples: usize,
        /// The samples to test on.
        test: usize,
    },
    /// Signals of 40 numbers, after the description of MNIST-1D (Greydanus and Kobak 2020, *Scaling down deep learning*,
    /// arXiv 2011.14439): a template of 12 numbers for each of ten classes, padded, scaled, shifted, with correlated and
    /// white noise, sheared and sampled. The templates are Wick's own, so that accuracies are not those of the paper.
    Mnist1d {
        /// The samples to train on.
        samples: usize,
        /// The samples to test on.
        test: usize,
    },
}

/// The parts of a task.
#[derive(Debug, Clone)]
pub struct SyntheticParts {
    /// The samples to train on.
    pub training: InMemory,
    /// The samples to test on.
    pub test: InMemory,
}

impl Synthetic {
    /// What is predicted.
    pub fn task(&self) -> Task {
        match self {
            Self::Linear { .. } => Task::Regress,
            _ => Task::Classify,
        }
    }

    /// The features of a sample.
    pub fn features(&self) -> usize {
        match self {
            Self::Teacher { features, .. } | Self::Linear { features, .. } => *features,
            Self::Mnist1d { .. } => signals::LENGTH,
        }
    }

    /// The outputs that a net needs.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Teacher { classes, .. } => *classes,
            Self::Linear { outputs, .. } => *outputs,
            Self::Mnist1d { .. } => signals::CLASSES,
        }
    }

    /// The samples to train and to test on.
    pub fn samples(&self) -> [usize; 2] {
        match self {
            Self::Teacher { samples, test, .. }
            | Self::Linear { samples, test, .. }
            | Self::Mnist1d { samples, test } => [*samples, *test],
        }
    }

    /// The most numbers that a sample has in a layer, and those of the largest matrix of weights.
    fn sizes(&self) -> (usize, usize) {
        match self {
            Self::Teacher { features, width, classes, .. } => {
                let widest = *features.max(width).max(classes);
                (widest, width.saturating_mul(widest))
            }
            Self::Linear { features, outputs, .. } => {
                (*features.max(outputs), features.saturating_mul(*outputs))
            }
            Self::Mnist1d { .. } => (signals::WIDEST, signals::WIDEST),
        }
    }

    /// The bytes that [`draw`](Self::draw) takes at most, about: the samples three times, two layers of them, and the
    /// largest matrix of weights twice, in `f64`.
    ///
    /// ```
    /// let task: wick_train::data::Synthetic = "linear:features=8,outputs=10,samples=20,test=30".parse()?;
    /// assert_eq!(task.memory_to_draw(), 8.0 * (50.0 * (3.0 * 8.0 + 2.0 * 10.0) + 2.0 * 80.0));
    /// # Ok::<(), wick_train::Error>(())
    /// ```
    pub fn memory_to_draw(&self) -> f64 {
        let [samples, test] = self.samples().map(|count| count as f64);
        let (widest, weights) = self.sizes();
        let of_sample = 3.0 * self.features() as f64 + 2.0 * widest as f64;
        8.0 * ((samples + test) * of_sample + 2.0 * weights as f64)
    }

    /// Draws the samples, whose batches have this type on this device.
    ///
    /// # Errors
    /// The type is no floating point type, or memory runs out.
    pub fn draw(&self, seed: u64, dtype: DType, device: &Device) -> Result<SyntheticParts, Error> {
        let [samples, test] = self.samples();
        let count = samples + test;
        let drawn = match self {
            Self::Teacher { features, width, depth, classes, .. } => {
                teacher::draw(KeyedV1::new(seed), count, [*features, *width, *depth, *classes])?
            }
            Self::Linear { features, outputs, .. } => {
                linear::draw(KeyedV1::new(seed), count, [*features, *outputs])?
            }
            Self::Mnist1d { .. } => signals::draw(KeyedV1::new(seed), count)?,
        };
        let xs = Tensor::from_vec(drawn.features, (count, self.features()), &Device::Cpu)?;
        let xs = xs.to_dtype(DType::F32)?;
        let part = |from: usize, length: usize| -> Result<InMemory, Error> {
            let targets = match &drawn.targets {
                Numbers::Classes(classes) => {
                    let classes = Tensor::new(&classes[from..from + length], &Device::Cpu)?;
                    Targets::Classes(Classes::new(&classes)?.with_count(self.outputs())?)
                }
                Numbers::Targets(numbers) => {
                    let numbers = &numbers[from * self.outputs()..(from + length) * self.outputs()];
                    Targets::Numbers(Tensor::from_slice(numbers, (length, self.outputs()), &Device::Cpu)?)
                }
            };
            InMemory::new(&xs.narrow(0, from, length)?)?.with_targets(targets)?.with_type(dtype, device)
        };
        Ok(SyntheticParts { training: part(0, samples)?, test: part(samples, test)? })
    }
}
