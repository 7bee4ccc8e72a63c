//! Checks of a model, a loss and a batch before the training.

mod checks;
pub(crate) mod start;
mod step;
mod trial;

use std::fmt;

use candle_core::{Result, Tensor, Var};
use candle_nn::Optimizer;
use serde::Serialize;

use crate::diagnose::fault::Level;
use crate::kept::Kept;
use step::Trial;

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Check {
    /// Parameters that the loss cannot train.
    Reach,
    /// The loss at the start.
    Loss,
    /// Outputs of a sample that depend on another sample.
    Samples,
    /// Outputs at a position that depend on later positions.
    Future,
    /// Outputs that do not depend on the input.
    Input,
    /// Two variables with the same numbers.
    Tied,
    /// What [`judge`](crate::judge()) says of the layers.
    Layers,
    /// Outputs of a layer that are not what its input and the law of its weights predict.
    Bands,
    /// A gradient that is not that of the loss.
    Gradient,
    /// Gradients that are too small for their type.
    Precision,
    /// A step that moves weights far too much or far too little.
    Update,
    /// One batch that cannot be learnt by heart.
    Overfit,
}

/// Something that is wrong, in one sentence with its figure and what to do.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// What it is about.
    pub check: Check,
    /// How bad it is.
    pub level: Level,
    /// The number that shows it.
    pub figure: f64,
    /// The sentence.
    pub text: String,
}

impl Finding {
    fn new(check: Check, level: Level, figure: f64, text: impl Into<String>) -> Self {
        Self { check, level, figure, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Checks a model, its loss and one batch before the training starts: what the loss cannot train, where it starts,
/// samples that leak into each other, a future that leaks into the past, an input that does not matter, layers that are
/// dead, tied or out of scale, a gradient that is wrong or too small for its type, how far a step moves the weights, and
/// whether the batch can be learnt by heart in at most 200 steps of AdamW.
///
/// The variables have the same bits after it, also if the model panics. The first dimension of inputs, targets and
/// outputs is that of the samples. Dropout has to be off, and statistics of a batch norm count as a leak between samples, so give the model as
/// it is evaluated.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::{Module, VarBuilder, VarMap, linear};
/// use wick_probe::{Check, Preflight};
///
/// let map = VarMap::new();
/// let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
/// let (hidden, head) = (linear(6, 32, vb.pp("hidden"))?, linear(32, 3, vb.pp("head"))?);
/// let vars: Vec<_> = map.data().lock().unwrap().iter().map(|(name, var)| (name.clone(), var.clone())).collect();
/// let xs = Tensor::arange(0f32, 180.0, &Device::Cpu)?.sqr()?.sin()?.reshape((30, 6))?;
/// let classes = Tensor::from_vec((0..30u32).map(|i| i % 3).collect(), 30, &Device::Cpu)?;
///
/// let preflight = Preflight::new(&vars, &xs, &classes);
/// let model = |xs: &Tensor| head.forward(&hidden.forward(xs)?.relu()?);
/// let findings = preflight.run(model, candle_nn::loss::cross_entropy)?;
/// assert!(findings.iter().all(|finding| finding.check != Check::Reach && finding.check != Check::Loss));
///
/// // candle's cross entropy takes logits, and no probabilities.
/// let model = |xs: &Tensor| candle_nn::ops::softmax(&model(xs)?, 1);
/// let findings = preflight.run(model, candle_nn::loss::cross_entropy)?;
/// assert_eq!(findings[0].check, Check::Loss);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Preflight<'a> {
    vars: &'a [(String, Var)],
    inputs: &'a Tensor,
    targets: &'a Tensor,
    is_causal: bool,
    steps: usize,
    stds: Option<&'a [(String, f64)]>,
    trial: Trial<'a>,
}

impl<'a> Preflight<'a> {
    /// Checks for these variables on a batch.
    pub fn new(vars: &'a [(String, Var)], inputs: &'a Tensor, targets: &'a Tensor) -> Self {
        Self { vars, inputs, targets, is_causal: false, steps: 200, stds: None, trial: Trial::default() }
    }

    /// Checks too that the output at a position, the second dimension of inputs and outputs, does not depend on later
    /// positions.
    pub fn causal(self) -> Self {
        Self { is_causal: true, ..self }
    }

    /// Sets the number of steps in which the batch is to be learnt by heart; 0 leaves the check out.
    pub fn with_steps(self, steps: usize) -> Self {
        Self { steps, ..self }
    }

    /// Compares each linear layer and convolution with what its measured input and the law of its weights predict, as
    /// [`Trace::bands`](crate::Trace::bands) does. `stds` has the standard deviation from which each parameter was
    /// drawn, by name, as `InitMap::manifest` has it. Say nothing of weights that were trained.
    pub fn with_stds(self, stds: &'a [(String, f64)]) -> Self {
        Self { stds: Some(stds), ..self }
    }

    /// Tries the first step with the optimizer that this makes of the variables, which is dropped after it. Without
    /// it, AdamW takes the step at candle's usual learning rate of 1e-3.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor, Var};
    /// use candle_nn::{Optimizer, SGD};
    /// use wick_probe::{Check, Preflight};
    ///
    /// let numbers = |from: f32, to: f32| Tensor::arange(from, to, &Device::Cpu)?.sqr()?.sin();
    /// let (xs, targets) = (numbers(0.0, 80.0)?.reshape((20, 4))?, numbers(80.0, 100.0)?.reshape((20, 1))?);
    /// let vars = [("w".to_owned(), Var::from_tensor(&numbers(100.0, 104.0)?.reshape((4, 1))?)?)];
    /// let preflight = Preflight::new(&vars, &xs, &targets).with_steps(0);
    /// let too_fast = preflight.with_optimizer(|vars| SGD::new(vars, 50.0));
    /// let findings = too_fast.run(|xs| xs.matmul(&vars[0].1), candle_nn::loss::mse)?;
    /// assert_eq!(findings[0].check, Check::Update);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn with_optimizer<O: Optimizer>(self, make: impl Fn(Vec<Var>) -> Result<O> + 'a) -> Self {
        Self { trial: Trial::with(make), ..self }
    }

    /// Runs the checks: `model` gives the outputs of inputs, `loss` the loss of outputs and targets. The findings are
    /// in the order of [`Check`]; a healthy net has none.
    ///
    /// # Errors
    /// Those of the model and of the loss.
    pub fn run(
        &self,
        mut model: impl FnMut(&Tensor) -> Result<Tensor>,
        mut loss: impl FnMut(&Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<Vec<Finding>> {
        let kept = Kept::of(self.vars.iter().map(|(_, var)| var))?;
        let findings = self.checks(&mut model, &mut loss);
        kept.restore()?;
        findings
    }
}
