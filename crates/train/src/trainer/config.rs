//! The settings of a run.

use std::collections::BTreeMap;

use wick_kernels::{Clip, LossScale};

use crate::error::Error;
use crate::optimizer::OptimizerSpec;
use crate::order::LastBatch;
use crate::schedule::Schedule;

/// How long a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// A number of epochs, in each of which each sample is seen once.
    Epochs(u64),
    /// A number of steps of the optimizer.
    Steps(u64),
}

/// The settings of a run: all that decides its numbers, beside the model, its start and the data.
///
/// ```
/// use wick_train::{Config, Length};
///
/// let config = Config { batch: 64, length: Length::Epochs(5), optimizer: "sgd:lr=0.1".parse()?, ..Config::default() };
/// assert_eq!((config.seed, config.leaves), (42, 1));
/// # Ok::<(), wick_train::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// The seed of the order of the samples, of augmentation and of [`Step::key`](crate::Step::key). 42.
    pub seed: u64,
    /// The samples of a step, over all its micro-batches. 32.
    pub batch: usize,
    /// How long the run is. 10 epochs.
    pub length: Length,
    /// The optimizer. AdamW.
    pub optimizer: OptimizerSpec,
    /// The factor of the learning rate at each step. Constant.
    pub schedule: Schedule,
    /// Clipping of the gradients by their common norm. None.
    pub clip: Option<Clip>,
    /// The decay of the averaged weights ([`wick_kernels::Ema`]), which are validated and kept in place of the
    /// weights themselves. None.
    pub ema: Option<f64>,
    /// What the loss is multiplied by for the backward pass. Variables of `f16` need one, and have
    /// [`LossScale::dynamic`] with 65536 and 2000 if there is none. None.
    pub loss_scale: Option<LossScale>,
    /// The blocks of a batch, a power of two. The gradient of a step is a fixed binary tree over the gradients of
    /// the blocks, whose sum thus depends on this number and on nothing else. 1.
    pub leaves: usize,
    /// The micro-batches of a step, a divisor of [`leaves`](Self::leaves): the samples are loaded one micro-batch
    /// after another, which takes less memory and changes no bit. 1.
    pub micro_batches: usize,
    /// Whether each epoch has another order. True.
    pub shuffle: bool,
    /// What happens to the samples at the end of an epoch that do not fill a batch. They are a smaller batch.
    pub last_batch: LastBatch,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 42,
            batch: 32,
            length: Length::Epochs(10),
            optimizer: OptimizerSpec::default(),
            schedule: Schedule::Constant { warmup: crate::schedule::Warmup::NONE },
            clip: None,
            ema: None,
            loss_scale: None,
            leaves: 1,
            micro_batches: 1,
            shuffle: true,
            last_batch: LastBatch::default(),
        }
    }
}

impl Config {
    /// Refuses settings that are out of range or do not fit each other.
    ///
    /// # Errors
    /// Names the setting and what it has to be.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |text: String| Err(Error::Settings(text));
        self.optimizer.check()?;
        if self.batch == 0 {
            return refuse("a batch of 0 samples cannot be trained on: use 1 or more".to_owned());
        }
        if !self.leaves.is_power_of_two() {
            return refuse(format!("leaves = {} is no power of two: use 1, 2, 4, 8, …", self.leaves));
        }
        if self.leaves > self.batch.next_power_of_two() {
            return refuse(format!(
                "{} leaves are more than a batch of {} has samples: use {} at most",
                self.leaves,
                self.batch,
                self.batch.next_power_of_two()
            ));
        }
        if self.ema.is_some() && matches!(self.optimizer, OptimizerSpec::ScheduleFree(_)) {
            let text = "Schedule-Free AdamW averages the weights itself: leave the moving average (ema) out";
            return refuse(text.to_owned());
        }
        if self.micro_batches == 0 || !self.leaves.is_multiple_of(self.micro_batches) {
            return refuse(format!(
                "{} micro-batches do not divide the {} leaves: use a power of two, and at least as many leaves",
                self.micro_batches, self.leaves
            ));
        }
        match self.length {
            Length::Epochs(0) | Length::Steps(0) => {
                refuse("a run of length 0 trains nothing: use 1 epoch or step, or more".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// What decides the bits of a run, as text by name. Micro-batches are not among it.
    pub(crate) fn identity(&self) -> BTreeMap<String, String> {
        let length = match self.length {
            Length::Epochs(epochs) => format!("{epochs} epochs"),
            Length::Steps(steps) => format!("{steps} steps"),
        };
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
        let entries = [
            ("seed", self.seed.to_string()),
            ("batch", self.batch.to_string()),
            ("length", length),
            ("optimizer", self.optimizer.to_string()),
            ("schedule", self.schedule.to_string()),
            ("clip", or_none(self.clip.map(|clip| format!("{} by the rule of {}", clip.norm, clip.rule)))),
            ("ema", or_none(self.ema.map(|decay| decay.to_string()))),
            ("leaves", self.leaves.to_string()),
            ("order", if self.shuffle { "permutation-v1".to_owned() } else { "as given".to_owned() }),
            ("last batch", format!("{:?}", self.last_batch).to_lowercase()),
        ];
        let scale = self.loss_scale.map(|scale| match scale.interval {
            Some(interval) => format!("dynamic from {}, interval {interval}", scale.scale),
            None => scale.scale.to_string(),
        });
        let entries = entries.into_iter().chain([("loss scale", or_none(scale))]);
        entries.map(|(name, text)| (name.to_owned(), text)).collect()
    }
}
