//! The training loop.

use candle_core::{DType, Result, Tensor};
use candle_nn::Optimizer;

/// Descends a scalar objective for `steps` steps: `objective` is computed, seen, differentiated, and the
/// optimizer steps. `see` gets the number of the step and the objective before it, and is called once more,
/// with `steps`, after the last one.
///
/// ```
/// use candle_core::{Device, Var};
/// use candle_nn::{Optimizer, SGD};
///
/// let w = Var::new(4.0f64, &Device::Cpu)?;
/// let mut seen = Vec::new();
/// let objective = || w.sqr();
/// wick_model::fit(SGD::new(vec![w.clone()], 0.25)?, 2, objective, |step, j| {
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
    mut optimizer: impl Optimizer,
    steps: usize,
    objective: impl Fn() -> Result<Tensor>,
    mut see: impl FnMut(usize, f64) -> Result<()>,
) -> Result<()> {
    let value = |objective: &Tensor| objective.to_dtype(DType::F64)?.to_scalar::<f64>();
    for step in 0..steps {
        let objective = objective()?;
        see(step, value(&objective)?)?;
        optimizer.backward_step(&objective)?;
    }
    see(steps, value(&objective()?)?)
}
