//! The optimizers by name, and any of them behind one type.

mod spec;
#[cfg(test)]
mod tests;

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor};
use candle_nn::Optimizer as _;
use wick_kernels::{AdamW, Clip, Lion, LossScale, Muon, Named, ScheduleFree, Sgd};

pub use spec::OptimizerSpec;

/// One of Wick's optimizers, with its state.
#[derive(Debug)]
pub(crate) enum AnyOptimizer {
    AdamW(AdamW),
    Sgd(Sgd),
    Lion(Lion),
    Muon(Muon),
    ScheduleFree(ScheduleFree),
}

/// Calls the same method of whichever optimizer there is.
macro_rules! of_each {
    ($any:expr, $optimizer:ident => $call:expr) => {
        match $any {
            AnyOptimizer::AdamW($optimizer) => $call,
            AnyOptimizer::Sgd($optimizer) => $call,
            AnyOptimizer::Lion($optimizer) => $call,
            AnyOptimizer::Muon($optimizer) => $call,
            AnyOptimizer::ScheduleFree($optimizer) => $call,
        }
    };
}

impl AnyOptimizer {
    pub(crate) fn new(spec: &OptimizerSpec, vars: Vec<Named>) -> Result<Self> {
        Ok(match spec {
            OptimizerSpec::AdamW(params) => Self::AdamW(AdamW::named(vars, params.clone())?),
            OptimizerSpec::Sgd(params) => Self::Sgd(Sgd::named(vars, *params)?),
            OptimizerSpec::Lion(params) => Self::Lion(Lion::named(vars, *params)?),
            OptimizerSpec::Muon(params) => Self::Muon(Muon::named(vars, *params)?),
            OptimizerSpec::ScheduleFree(params) => Self::ScheduleFree(ScheduleFree::named(vars, *params)?),
        })
    }

    pub(crate) fn set_clip(&mut self, clip: Option<Clip>) -> Result<()> {
        of_each!(self, optimizer => optimizer.set_clip(clip))
    }

    pub(crate) fn set_loss_scale(&mut self, scale: Option<LossScale>) -> Result<()> {
        of_each!(self, optimizer => optimizer.set_loss_scale(scale))
    }

    pub(crate) fn steps(&self) -> u64 {
        of_each!(self, optimizer => optimizer.steps())
    }

    pub(crate) fn loss_scale(&self) -> f64 {
        of_each!(self, optimizer => optimizer.loss_scale())
    }

    pub(crate) fn gradient_norm(&self) -> Option<f64> {
        of_each!(self, optimizer => optimizer.gradient_norm())
    }

    /// Steps the variables at a learning rate.
    pub(crate) fn step(&mut self, gradients: &GradStore, rate: f64) -> Result<()> {
        of_each!(self, optimizer => {
            optimizer.set_learning_rate(rate);
            optimizer.step(gradients)
        })
    }

    /// Gives the variables the weights of evaluation, where they are others than those of training.
    pub(crate) fn eval(&mut self) -> Result<()> {
        match self {
            Self::ScheduleFree(optimizer) => optimizer.eval(),
            _ => Ok(()),
        }
    }

    /// Gives the variables the weights of training again.
    pub(crate) fn train(&mut self) -> Result<()> {
        match self {
            Self::ScheduleFree(optimizer) => optimizer.train(),
            _ => Ok(()),
        }
    }

    pub(crate) fn state(&self) -> Result<Vec<(String, Tensor)>> {
        of_each!(self, optimizer => optimizer.state())
    }

    pub(crate) fn scalars(&self) -> Vec<(String, f64)> {
        of_each!(self, optimizer => optimizer.scalars())
    }

    pub(crate) fn load_state(
        &mut self,
        tensors: &[(String, Tensor)],
        scalars: &[(String, f64)],
    ) -> Result<()> {
        of_each!(self, optimizer => optimizer.load_state(tensors, scalars))
    }
}
