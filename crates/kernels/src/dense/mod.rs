//! A dense layer as one op: product, bias, activation and statistics, while the rows are in the cache.

mod composed;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod deferred;
pub(crate) mod detached;
pub(crate) mod observer;
mod op;

use std::sync::Arc;

use candle_core::{Result, Tensor};
use wick_theory::Activation;

use composed::composed;
use observer::{Observation, Observer};
use op::{Dense, has_op};

/// `φ(x Wᵀ + b)` for `x` of shape `[…, in]`, `W` of `[out, in]` and `b` of `[out]`, differentiable in all
/// three.
///
/// `f32` and `f64` on a CPU with a fused multiply-add, and all four types on NVIDIA's GPUs, are computed in
/// one op, forward and backward; elsewhere the layer is composed of candle's own ops. On a CPU, every output
/// is summed over `in` in rising order, with any number of threads. The gradient of `x` is computed only if
/// `x` depends on a variable.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use wick_kernels::dense;
/// use wick_theory::Activation;
///
/// let x = Tensor::new(&[[1f32, 2.0]], &Device::Cpu)?;
/// let w = Var::new(&[[3f32, -4.0], [1.0, 1.0]], &Device::Cpu)?;
/// let b = Tensor::new(&[0f32, 0.5], &Device::Cpu)?;
/// let h = dense(&x, &w, Some(&b), Activation::Relu, None)?;
/// assert_eq!(h.to_vec2::<f32>()?, [[0.0, 3.5]]);
/// let gradients = h.sum_all()?.backward()?;
/// let gradient = gradients.get(&w).map(|g| g.to_vec2::<f32>()).transpose()?;
/// assert_eq!(gradient, Some(vec![vec![0.0, 0.0], vec![1.0, 2.0]]));
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If shapes, types or devices do not fit together, or the observer returns an error.
pub fn dense(
    xs: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    activation: Activation,
    observer: Option<Arc<dyn Observer>>,
) -> Result<Tensor> {
    let has_op = has_op(xs, weight, bias)?;
    let observation = Observation::start(observer);
    if !has_op {
        return composed(xs, weight, bias, activation, observation);
    }
    let op = Dense {
        activation,
        observation,
        inputs_want_gradient: xs.track_op(),
        differentiable: [Some(xs), Some(weight), bias].into_iter().flatten().any(Tensor::track_op),
        kept: Arc::default(),
    };
    let (xs, weight) = (xs.contiguous()?, weight.contiguous()?);
    let output = match bias {
        Some(bias) => xs.apply_op3(&weight, &bias.contiguous()?, op.clone())?,
        None => xs.apply_op2(&weight, op.clone())?,
    };
    op.report(&output)?;
    Ok(output)
}

#[cfg(test)]
mod tests;
