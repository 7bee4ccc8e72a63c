//! The optimizer of a first step that is tried.

use std::fmt;
use std::rc::Rc;

use candle_core::backprop::GradStore;
use candle_core::{Result, Var};
use candle_nn::{Optimizer, ParamsAdamW};
use wick_kernels::AdamW;

/// A step of a fresh optimizer.
#[derive(Clone, Default)]
pub(super) struct Trial<'a>(Option<Rc<Step<'a>>>);

type Step<'a> = dyn Fn(Vec<Var>, &GradStore) -> Result<()> + 'a;

impl<'a> Trial<'a> {
    /// Whether the optimizer is the user's.
    pub(super) fn is_own(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn with<O: Optimizer>(make: impl Fn(Vec<Var>) -> Result<O> + 'a) -> Self {
        Self(Some(Rc::new(move |vars, gradients: &GradStore| make(vars)?.step(gradients))))
    }

    pub(super) fn step(&self, vars: Vec<Var>, gradients: &GradStore) -> Result<()> {
        match &self.0 {
            Some(step) => step(vars, gradients),
            None => AdamW::new(vars, ParamsAdamW::default())?.step(gradients),
        }
    }
}

impl fmt::Debug for Trial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Trial(own optimizer)" } else { "Trial(AdamW)" })
    }
}
