//! The training loop.

use candle_core::backprop::GradStore;
use candle_core::{DType, Result, Tensor};
use candle_nn::Optimizer;

/// Minimizes a scalar loss by `steps` steps of an optimizer, with gradients from candle's graph.
///
/// Each step computes `loss`, calls `on_step`, differentiates the loss and lets the optimizer step. `on_step`
/// gets the number of the step and the value of the loss before it; after the last step it is called once
/// more, with `steps` and the final loss. So `loss` is computed `steps + 1` times. The optimizer is borrowed,
/// so a later call goes on with its moments.
///
/// ```
/// use candle_core::{Device, Var};
/// use candle_nn::{Optimizer, SGD};
///
/// let w = Var::new(4.0f64, &Device::Cpu)?;
/// let mut optimizer = SGD::new(vec![w.clone()], 0.25)?;
/// let mut losses = Vec::new();
/// let loss = || w.sqr();
/// wick_model::fit(&mut optimizer, 2, loss, |step, loss| {
///     losses.push((step, loss));
///     Ok(())
/// })?;
/// assert_eq!(losses, [(0, 16.0), (1, 4.0), (2, 1.0)]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If `loss`, `on_step` or the optimizer fails.
pub fn fit(
    optimizer: &mut impl Optimizer,
    steps: usize,
    mut loss: impl FnMut() -> Result<Tensor>,
    mut on_step: impl FnMut(usize, f64) -> Result<()>,
) -> Result<()> {
    for step in 0..steps {
        let loss = loss()?;
        on_step(step, value(&loss)?)?;
        optimizer.backward_step(&loss)?;
    }
    on_step(steps, value(&loss()?)?)
}

/// Minimizes a scalar loss by `steps` steps of an optimizer, with gradients that the caller computes.
///
/// Each step calls `gradients` with the number of the step, which can select a batch, and gets the loss and
/// its gradients; it then calls `on_step` with the number and the value of the loss, and lets the optimizer
/// step. There is no call after the last step, in contrast to [`fit`]. A net trains faster through
/// [`Mlp::tape`](crate::Mlp::tape), as below, than through candle's graph.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::{Optimizer, ParamsAdamW, VarBuilder, VarMap};
/// use wick_model::{Activation, Mlp, MlpConfig, fit_with, loss::Loss};
///
/// let vars = VarMap::new();
/// let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
/// let mlp = Mlp::new(&MlpConfig::new(2, [8, 3], Activation::Tanh), vb)?;
/// let xs = Tensor::new(&[[1f32, 0.0], [0.0, 1.0]], &Device::Cpu)?;
/// let classes = Tensor::new(&[2u32, 0], &Device::Cpu)?;
///
/// let params = ParamsAdamW { lr: 0.02, ..ParamsAdamW::default() };
/// let mut optimizer = wick_kernels::AdamW::new(vars.all_vars(), params)?;
/// let mut losses = Vec::new();
/// let gradients = |_| {
///     let tape = mlp.tape(&xs, |_| None)?;
///     let (loss, gradient) = Loss::CrossEntropy.with_gradient(tape.output(), &classes)?;
///     Ok((loss, tape.backward_from(&gradient)?))
/// };
/// fit_with(&mut optimizer, 50, gradients, |_, loss| {
///     losses.push(loss);
///     Ok(())
/// })?;
/// assert!(losses.len() == 50 && losses[49] < 0.9 * losses[0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If `gradients`, `on_step` or the optimizer fails.
pub fn fit_with(
    optimizer: &mut impl Optimizer,
    steps: usize,
    mut gradients: impl FnMut(usize) -> Result<(Tensor, GradStore)>,
    mut on_step: impl FnMut(usize, f64) -> Result<()>,
) -> Result<()> {
    for step in 0..steps {
        let (loss, gradients) = gradients(step)?;
        on_step(step, value(&loss)?)?;
        optimizer.step(&gradients)?;
    }
    Ok(())
}

fn value(loss: &Tensor) -> Result<f64> {
    loss.to_dtype(DType::F64)?.to_scalar::<f64>()
}
