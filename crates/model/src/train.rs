//! The training loop.

use candle_core::backprop::GradStore;
use candle_core::{DType, Result, Tensor};
use candle_nn::Optimizer;

/// Descends a scalar objective for `steps` steps: `objective` is computed, seen, differentiated, and the
/// optimizer steps. `see` gets the number of the step and the objective before it, and is called once more,
/// with `steps`, after the last one. The optimizer is borrowed, so that training can go on with its moments.
///
/// ```
/// use candle_core::{Device, Var};
/// use candle_nn::{Optimizer, SGD};
///
/// let w = Var::new(4.0f64, &Device::Cpu)?;
/// let mut optimizer = SGD::new(vec![w.clone()], 0.25)?;
/// let mut seen = Vec::new();
/// let objective = || w.sqr();
/// wick_model::fit(&mut optimizer, 2, objective, |step, j| {
///     seen.push((step, j));
///     Ok(())
/// })?;
/// assert_eq!(seen, [(0, 16.0), (1, 4.0), (2, 1.0)]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// Those of the objective, of `see`, and of the optimizer.
pub fn fit(
    optimizer: &mut impl Optimizer,
    steps: usize,
    mut objective: impl FnMut() -> Result<Tensor>,
    mut see: impl FnMut(usize, f64) -> Result<()>,
) -> Result<()> {
    for step in 0..steps {
        let objective = objective()?;
        see(step, value(&objective)?)?;
        optimizer.backward_step(&objective)?;
    }
    see(steps, value(&objective()?)?)
}

/// As [`fit`], with the gradients from wherever `gradients` has them: it gets the number of the step, for a batch of its own, and
/// returns the objective with its gradients. So a net trains through [`Mlp::tape`](crate::Mlp::tape), which is faster than its
/// graph. `see` is called before each step.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::{Optimizer, ParamsAdamW, VarBuilder, VarMap};
/// use wick_model::{Activation, Mlp, MlpConfig, fit_with, loss::Loss};
///
/// let vars = VarMap::new();
/// let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
/// let mlp = Mlp::new(&MlpConfig::new(2, [8, 3], Activation::Tanh), vb)?;
/// let (xs, classes) = (Tensor::new(&[[1f32, 0.0], [0.0, 1.0]], &Device::Cpu)?, Tensor::new(&[2u32, 0], &Device::Cpu)?);
///
/// let params = ParamsAdamW { lr: 0.02, ..ParamsAdamW::default() };
/// let mut optimizer = wick_kernels::AdamW::new(vars.all_vars(), params)?;
/// let mut losses = Vec::new();
/// let gradients = |_| {
///     let pass = mlp.tape(&xs, |_| None)?;
///     let loss = Loss::CrossEntropy.forward(pass.output(), &classes)?;
///     Ok((loss.clone(), pass.backward(&loss)?))
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
/// Those of `gradients`, of `see`, and of the optimizer.
pub fn fit_with(
    optimizer: &mut impl Optimizer,
    steps: usize,
    mut gradients: impl FnMut(usize) -> Result<(Tensor, GradStore)>,
    mut see: impl FnMut(usize, f64) -> Result<()>,
) -> Result<()> {
    for step in 0..steps {
        let (objective, gradients) = gradients(step)?;
        see(step, value(&objective)?)?;
        optimizer.step(&gradients)?;
    }
    Ok(())
}

fn value(objective: &Tensor) -> Result<f64> {
    objective.to_dtype(DType::F64)?.to_scalar::<f64>()
}
