//! What a model is given at a step, and what it gives back.

use std::sync::Arc;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Error, Result, Tensor};
use wick_init::{Key, KeyedV1};
use wick_kernels::Observer;
use wick_probe::Probe;

use crate::data::Batch;

/// The samples of a step, or a block of them, and what belongs to the step.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    pub(crate) batch: &'a Batch,
    pub(crate) number: u64,
    pub(crate) epoch: u64,
    pub(crate) leaf: usize,
    pub(crate) seed: u64,
    pub(crate) loss_scale: f64,
    pub(crate) probe: Option<&'a Probe>,
}

impl<'a> Step<'a> {
    /// The features, `[batch, …]`.
    pub fn input(&self) -> &'a Tensor {
        &self.batch.input
    }

    /// The further inputs, `[batch, …]` each.
    pub fn further(&self) -> &'a [Tensor] {
        &self.batch.further
    }

    /// The targets: classes, `u32` `[batch]`, or numbers, `[batch]` or `[batch, …]`.
    ///
    /// # Errors
    /// The data have no targets.
    pub fn targets(&self) -> Result<&'a Tensor> {
        let without = || Error::Msg("the data have no targets: add them by with_targets".to_owned());
        self.batch.targets.as_ref().ok_or_else(without)
    }

    /// The number of the step, from 0 over the whole run.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The epoch, from 0.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// A key of the run's seed, the step and the block, for what a model draws (dropout): the same whenever the
    /// step is run.
    pub fn key(&self) -> Key {
        KeyedV1::new(self.seed).key(&format!("step/{}/{}", self.number, self.leaf))
    }

    /// What a closure that returns gradients has to multiply them by: 1, unless the run has a loss scale. A loss
    /// that is returned without gradients is multiplied by the trainer.
    pub fn loss_scale(&self) -> f64 {
        self.loss_scale
    }

    /// The probe, at steps that are recorded. Of the blocks of a batch the first one is.
    pub fn probe(&self) -> Option<&'a Probe> {
        self.probe
    }

    /// An observer of a fused dense layer, at steps that are recorded: `mlp.tape(step.input(), |name|
    /// step.observer(name))`.
    pub fn observer(&self, name: &str) -> Option<Arc<dyn Observer>> {
        self.probe.map(|probe| probe.observer(name))
    }

    /// A tap, at steps that are recorded; else the tensor itself.
    ///
    /// # Errors
    /// Those of [`Probe::tap`].
    pub fn tap(&self, name: &str, xs: &Tensor) -> Result<Tensor> {
        self.probe.map_or_else(|| Ok(xs.clone()), |probe| probe.tap(name, xs))
    }
}

/// The loss of a block, and the gradients.
pub(crate) struct Gradients {
    /// The mean over the samples of the block, without any weight.
    pub(crate) loss: f64,
    pub(crate) store: GradStore,
    /// What the gradients are still to be multiplied by.
    pub(crate) factor: f64,
}

/// A model as the trainer uses it: from a block of samples to the gradients of its mean loss, and the weight of the
/// block, by which they are still to be multiplied.
pub(crate) trait Objective {
    fn gradients(&mut self, step: &Step, weight: f64) -> Result<Gradients>;
}

/// A closure that computes a loss in candle's graph.
pub(crate) struct ByLoss<F>(pub(crate) F);

impl<F: FnMut(&Step) -> Result<Tensor>> Objective for ByLoss<F> {
    fn gradients(&mut self, step: &Step, weight: f64) -> Result<Gradients> {
        let loss = (self.0)(step)?;
        let scale = step.loss_scale;
        let store = if scale == 1.0 { loss.backward()? } else { (&loss * scale)?.backward()? };
        Ok(Gradients { loss: value(&loss)?, store, factor: weight })
    }
}

/// A closure that computes a loss and its gradients.
pub(crate) struct ByGradients<F>(pub(crate) F);

impl<F: FnMut(&Step) -> Result<(Tensor, GradStore)>> Objective for ByGradients<F> {
    fn gradients(&mut self, step: &Step, weight: f64) -> Result<Gradients> {
        let (loss, store) = (self.0)(step)?;
        Ok(Gradients { loss: value(&loss)?, store, factor: weight })
    }
}

fn value(loss: &Tensor) -> Result<f64> {
    if loss.elem_count() != 1 {
        let text =
            format!("a loss is one number, and this one has the shape {:?}: take its mean", loss.dims());
        return Err(Error::Msg(text));
    }
    // Metal has no `f64`.
    loss.detach().to_device(&Device::Cpu)?.flatten_all()?.to_dtype(DType::F64)?.get(0)?.to_scalar::<f64>()
}
