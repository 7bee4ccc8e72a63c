//! A dense layer as one op: product, bias, activation and statistics, while the rows are in the cache.

mod alone;
mod observer;
#[cfg(feature = "cuda")]
mod on_gpu;
mod pass;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Device, Layout, Result, Shape, Tensor, bail};
use wick_theory::Activation;

use crate::slice::{self, Real};
use crate::{SimdLevel, Summary, activate, tap};
pub use alone::{DenseGradients, DensePass};
pub(crate) use observer::Observation;
pub use observer::{ObservedGradient, ObservedOutput, Observer};
use pass::Layer;
#[cfg(feature = "cuda")]
pub(crate) use pass::saturation_thresholds;

/// `φ(x Wᵀ + b)` for `x` of shape `[…, in]`, `W` of `[out, in]` and `b` of `[out]`, differentiable in all three.
///
/// `f32` and `f64` on a CPU with a fused multiply-add, and all four types on NVIDIA's GPUs, are computed in one op, forward and
/// backward; elsewhere the layer is composed of candle's own ops. On a CPU, every output is summed over `in` in rising order, whatever
/// the threads. The gradient
/// of `x` is not computed where nothing behind it wants one.
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
/// If shapes, types or devices do not fit together.
pub fn dense(
    xs: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    activation: Activation,
    observer: Option<Arc<dyn Observer>>,
) -> Result<Tensor> {
    let is_fast = is_fast(xs, weight, bias)?;
    let observation = Observation::start(observer);
    if !is_fast {
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

/// Whether the layer can be computed in one op; an error if its parts do not fit together.
fn is_fast(xs: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<bool> {
    let (outputs, inputs) = weight.dims2()?;
    let fits = xs.dims().last() == Some(&inputs) && bias.is_none_or(|bias| bias.dims() == [outputs]);
    if !fits {
        let bias = bias.map(Tensor::dims);
        bail!("a dense layer of weight {:?} and bias {bias:?} cannot take {:?}", weight.dims(), xs.dims());
    }
    let alike = |t: &Tensor| t.dtype() == xs.dtype() && t.device().same_device(xs.device());
    let has_ops = match (xs.device(), xs.dtype()) {
        (Device::Cpu, DType::F32 | DType::F64) => SimdLevel::best().is_fast(),
        (Device::Cuda(_), DType::F32 | DType::F64 | DType::BF16 | DType::F16) => {
            cfg!(feature = "cuda") && xs.elem_count() > 0 && weight.elem_count() > 0
        }
        _ => false,
    };
    Ok(has_ops && [Some(weight), bias].into_iter().flatten().all(alike))
}

/// The same of candle's own ops.
fn composed(
    xs: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    activation: Activation,
    observation: Option<Observation>,
) -> Result<Tensor> {
    let linear = candle_nn::Linear::new(weight.clone(), bias.cloned());
    let z = candle_nn::Module::forward(&linear, xs)?;
    let h = activate(activation, &z)?;
    let Some(observation) = observation else { return Ok(h) };
    observation.forward_of(activation, &z, &h)?;
    tap(&h, move |gradient| {
        observation.backward_of(gradient)?;
        observation.end_backward()
    })
}

/// The op of a layer that goes forward once. Clones share what the forward pass keeps.
#[derive(Clone)]
struct Dense {
    activation: Activation,
    observation: Option<Observation>,
    /// Whether anything behind the input wants a gradient.
    inputs_want_gradient: bool,
    /// Whether anything at all does.
    differentiable: bool,
    kept: Arc<Kept>,
}

/// What a forward pass keeps.
#[derive(Default)]
struct Kept {
    /// For the backward pass, where the derivative cannot be computed from the output.
    pre_activation: OnceLock<Tensor>,
    /// For the observer, until the output exists as a tensor.
    observed: Mutex<Option<Observed>>,
}

/// What a forward pass leaves for the observer.
struct Observed {
    /// The statistics of the output and the fraction of saturated pre-activations, if they were taken on the way.
    statistics: Option<(Summary, f64)>,
    /// `None` where it equals the output, or where the observer does not want it.
    pre_activation: Option<Tensor>,
}

/// The gradients of the input, if anything wants it, of the weight, and of the bias, if there is one.
type Gradients = (Option<Tensor>, Tensor, Option<Tensor>);

/// `[…, out]` for an input of `[…, in]` and a weight of `[out, in]`.
fn output_shape(xs: &Layout, weight: &Layout) -> Shape {
    let mut dims = xs.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = weight.dims()[0];
    }
    dims.into()
}

type Operand<'a> = (&'a CpuStorage, &'a Layout);

impl Dense {
    fn forward(&self, xs: Operand, weight: Operand, bias: Option<Operand>) -> Result<(CpuStorage, Shape)> {
        let shape = output_shape(xs.1, weight.1);
        let output = match xs.0 {
            CpuStorage::F32(_) => self.forward_as::<f32>(xs, weight, bias, &shape)?,
            _ => self.forward_as::<f64>(xs, weight, bias, &shape)?,
        };
        Ok((output, shape))
    }

    fn forward_as<T: Real>(
        &self,
        xs: Operand,
        weight: Operand,
        bias: Option<Operand>,
        shape: &Shape,
    ) -> Result<CpuStorage> {
        let layer = Layer {
            activation: self.activation,
            weight: slice::of::<T>(weight.0, weight.1)?,
            samples: xs.1.dims().iter().rev().skip(1).product(),
            outputs: weight.1.dims()[0],
            inputs: weight.1.dims()[1],
            bins: self.observation.as_ref().map(Observation::bins),
        };
        let bias = bias.map(|bias| slice::of(bias.0, bias.1)).transpose()?;
        let for_backward = self.differentiable && !T::is_derivative_of_output(self.activation);
        let keep = for_backward || self.observer_wants_pre_activation();
        let passed = layer.forward(slice::of(xs.0, xs.1)?, bias, keep);
        let pre_activation = passed.pre_activation.map(|zs| Tensor::from_vec(zs, shape, &Device::Cpu));
        let statistics = passed.heard;
        self.keep(for_backward, pre_activation.transpose()?, statistics.map(Some));
        Ok(T::storage(passed.output))
    }

    /// Whether the pre-activation is kept for the observer. That of the identity is the output.
    fn observer_wants_pre_activation(&self) -> bool {
        self.activation != Activation::Identity
            && self.observation.as_ref().is_some_and(Observation::with_pre_activation)
    }

    /// Keeps what the backward pass and the observer need. `observed` are the statistics for [`report`](Self::report), if it
    /// is to report at all; the inner option is `None` where they are still to be taken.
    fn keep(
        &self,
        for_backward: bool,
        pre_activation: Option<Tensor>,
        observed: Option<Option<(Summary, f64)>>,
    ) {
        if let (true, Some(pre_activation)) = (for_backward, &pre_activation) {
            // An op goes forward once; if it went again, it would be the same.
            let _ = self.kept.pre_activation.set(pre_activation.clone());
        }
        let observed = observed.map(|statistics| Observed { statistics, pre_activation });
        *self.kept.observed.lock().unwrap_or_else(PoisonError::into_inner) = observed;
    }

    /// Tells the observer of a forward pass whose output is `output`, unless that has been left to [`DeferredStats`](crate::DeferredStats).
    fn report(&self, output: &Tensor) -> Result<()> {
        let observed = self.kept.observed.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (Some(observation), Some(observed)) = (&self.observation, observed) else { return Ok(()) };
        let zs = observed.pre_activation.as_ref().unwrap_or(output);
        match observed.statistics {
            Some(statistics) => {
                observation.forward(self.activation, output.dtype(), statistics, Some((zs, output)))
            }
            None => observation.forward_of(self.activation, zs, output),
        }
    }

    fn backward(
        &self,
        xs: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        output: &Tensor,
        gradient: &Tensor,
        with_inputs: bool,
    ) -> Result<Gradients> {
        match xs.dtype() {
            #[cfg(feature = "cuda")]
            _ if xs.device().is_cuda() => {
                self.backward_on_gpu(xs, weight, bias.is_some(), output, gradient, with_inputs)
            }
            DType::F32 => self.backward_as::<f32>(xs, weight, bias, output, gradient, with_inputs),
            _ => self.backward_as::<f64>(xs, weight, bias, output, gradient, with_inputs),
        }
    }

    fn backward_as<T: Real>(
        &self,
        xs: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        output: &Tensor,
        gradient: &Tensor,
        with_inputs: bool,
    ) -> Result<Gradients> {
        let gradient = gradient.contiguous()?;
        let passed = {
            let weight_slice = slice::lend::<T>(weight)?;
            let layer = Layer {
                activation: self.activation,
                weight: &weight_slice,
                samples: xs.dims().iter().rev().skip(1).product(),
                outputs: weight.dims()[0],
                inputs: weight.dims()[1],
                bins: self.observation.as_ref().map(Observation::bins),
            };
            let known = slice::lend(self.kept.pre_activation.get().unwrap_or(output))?;
            let (xs, gradient) = (slice::lend(xs)?, slice::lend(&gradient)?);
            layer.backward(&xs, &known, &gradient, bias.is_some(), with_inputs)
        };
        if let (Some(observation), Some(summary)) = (&self.observation, passed.heard) {
            observation.backward(gradient.dtype(), summary, Some(&gradient))?;
            observation.end_backward()?;
        }
        let of_inputs = passed.inputs.map(|values| Tensor::from_vec(values, xs.shape(), &Device::Cpu));
        let of_weight = Tensor::from_vec(passed.weight, weight.shape(), &Device::Cpu)?;
        let of_bias = passed.bias.map(|values| Tensor::from_vec(values, weight.dims()[0], &Device::Cpu));
        Ok((of_inputs.transpose()?, of_weight, of_bias.transpose()?))
    }
}

impl CustomOp2 for Dense {
    fn name(&self) -> &'static str {
        "dense"
    }

    fn cpu_fwd(
        &self,
        xs: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        w_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((xs, x_layout), (weight, w_layout), None)
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        xs: &CudaStorage,
        x_layout: &Layout,
        weight: &CudaStorage,
        w_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.forward_on_gpu((xs, x_layout), (weight, w_layout), None)
    }

    fn bwd(
        &self,
        xs: &Tensor,
        weight: &Tensor,
        output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (of_inputs, of_weight, _) =
            self.backward(xs, weight, None, output, gradient, self.inputs_want_gradient)?;
        Ok((of_inputs, Some(of_weight)))
    }
}

impl CustomOp3 for Dense {
    fn name(&self) -> &'static str {
        "dense"
    }

    fn cpu_fwd(
        &self,
        xs: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        w_layout: &Layout,
        bias: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((xs, x_layout), (weight, w_layout), Some((bias, b_layout)))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        xs: &CudaStorage,
        x_layout: &Layout,
        weight: &CudaStorage,
        w_layout: &Layout,
        bias: &CudaStorage,
        b_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.forward_on_gpu((xs, x_layout), (weight, w_layout), Some((bias, b_layout)))
    }

    fn bwd(
        &self,
        xs: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let wanted = self.inputs_want_gradient;
        let (of_inputs, of_weight, of_bias) =
            self.backward(xs, weight, Some(bias), output, gradient, wanted)?;
        Ok((of_inputs, Some(of_weight), of_bias))
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
