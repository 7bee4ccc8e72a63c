//! A dense layer as an op in candle's graph.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
#[cfg(feature = "cuda")]
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Device, Layout, Result, Shape, Tensor, bail};
use wick_theory::Activation;

use crate::activation::cpu::derives_from_output;
use crate::cpu::element::Number;
use crate::cpu::simd::SimdLevel;
use crate::cpu::slice;
use crate::dense::cpu::Layer;
#[cfg(feature = "cuda")]
use crate::dense::cuda;
use crate::dense::observer::Observation;
#[cfg(feature = "cuda")]
use crate::stats::cuda::MAX_BINS;
use crate::stats::partial::Summary;

/// Whether the layer can be computed in one op.
///
/// # Errors
/// If shapes do not fit together.
pub(super) fn has_op(xs: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<bool> {
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

/// The op of a layer that goes forward once. Clones share the tensors that the forward pass keeps.
#[derive(Clone)]
pub(super) struct Dense {
    pub(super) activation: Activation,
    pub(super) observation: Option<Observation>,
    /// Whether the input depends on a variable.
    pub(super) inputs_want_gradient: bool,
    /// Whether the output depends on a variable.
    pub(super) differentiable: bool,
    pub(super) kept: Arc<Kept>,
}

/// The results that a forward pass keeps.
#[derive(Default)]
pub(super) struct Kept {
    /// The pre-activation for the backward pass, if the derivative cannot be computed from the output.
    pre_activation: OnceLock<Tensor>,
    /// The results for the observer, until the output exists as a tensor.
    observed: Mutex<Option<Observed>>,
}

/// The results of a forward pass for the observer.
struct Observed {
    /// The statistics of the output and the fraction of saturated pre-activations, if they were taken while
    /// the layer was computed.
    statistics: Option<(Summary, f64)>,
    /// The pre-activation, if it was kept; `None` if it was not, or equals the output.
    pre_activation: Option<Tensor>,
}

/// The gradients of the input, if it was asked for, of the weight, and of the bias, if the layer has one.
type Gradients = (Option<Tensor>, Tensor, Option<Tensor>);

/// The shape `[…, out]` for an input of `[…, in]` and a weight of `[out, in]`.
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

    fn forward_as<T: Number>(
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
        let for_backward = self.differentiable && !derives_from_output(self.activation, T::DTYPE);
        let keep = for_backward || self.observer_wants_pre_activation();
        let passed = layer.forward(slice::of(xs.0, xs.1)?, bias, keep);
        let pre_activation = passed.pre_activation.map(|zs| Tensor::from_vec(zs, shape, &Device::Cpu));
        self.keep(for_backward, pre_activation.transpose()?, passed.statistics.map(Some));
        Ok(T::to_cpu_storage_owned(passed.output))
    }

    /// Whether the pre-activation is kept for the observer. The pre-activation of the identity is the output.
    fn observer_wants_pre_activation(&self) -> bool {
        self.activation != Activation::Identity
            && self.observation.as_ref().is_some_and(Observation::with_pre_activation)
    }

    /// Keeps the results that the backward pass and the observer need. `observed` is `None` if the observer
    /// is not to be called by [`report`](Self::report), and `Some(None)` if `report` has to take the
    /// statistics from the tensors.
    fn keep(
        &self,
        for_backward: bool,
        pre_activation: Option<Tensor>,
        observed: Option<Option<(Summary, f64)>>,
    ) {
        if let (true, Some(pre_activation)) = (for_backward, &pre_activation) {
            // An op goes forward once; a second pass would have the same result.
            let _ = self.kept.pre_activation.set(pre_activation.clone());
        }
        let observed = observed.map(|statistics| Observed { statistics, pre_activation });
        *self.kept.observed.lock().unwrap_or_else(PoisonError::into_inner) = observed;
    }

    /// Calls the observer with the forward pass whose output is `output`, unless that is left to
    /// [`DeferredStats`](crate::DeferredStats).
    pub(super) fn report(&self, output: &Tensor) -> Result<()> {
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

    pub(super) fn backward(
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

    fn backward_as<T: Number>(
        &self,
        xs: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        output: &Tensor,
        gradient: &Tensor,
        with_inputs: bool,
    ) -> Result<Gradients> {
        let gradient = gradient.contiguous()?;
        let known = self.kept.pre_activation.get().unwrap_or(output);
        let passed = {
            let ((weight_storage, weight_layout), (x_storage, x_layout)) =
                (weight.storage_and_layout(), xs.storage_and_layout());
            let ((known_storage, known_layout), (g_storage, g_layout)) =
                (known.storage_and_layout(), gradient.storage_and_layout());
            let layer = Layer {
                activation: self.activation,
                weight: slice::of_cpu::<T>(&weight_storage, weight_layout)?,
                samples: xs.dims().iter().rev().skip(1).product(),
                outputs: weight.dims()[0],
                inputs: weight.dims()[1],
                bins: self.observation.as_ref().map(Observation::bins),
            };
            let xs = slice::of_cpu(&x_storage, x_layout)?;
            let known = slice::of_cpu(&known_storage, known_layout)?;
            let gradient = slice::of_cpu(&g_storage, g_layout)?;
            layer.backward(xs, known, gradient, bias.is_some(), with_inputs)
        };
        if let (Some(observation), Some(summary)) = (&self.observation, passed.statistics) {
            observation.backward(gradient.dtype(), summary, Some(&gradient))?;
            observation.end_backward()?;
        }
        let of_inputs = passed.inputs.map(|values| Tensor::from_vec(values, xs.shape(), &Device::Cpu));
        let of_weight = Tensor::from_vec(passed.weight, weight.shape(), &Device::Cpu)?;
        let of_bias = passed.bias.map(|values| Tensor::from_vec(values, weight.dims()[0], &Device::Cpu));
        Ok((of_inputs.transpose()?, of_weight, of_bias.transpose()?))
    }
}

#[cfg(feature = "cuda")]
impl Dense {
    fn forward_on_gpu(
        &self,
        xs: cuda::Operand,
        weight: cuda::Operand,
        bias: Option<cuda::Operand>,
    ) -> Result<(CudaStorage, Shape)> {
        let shape = output_shape(xs.1, weight.1);
        let for_backward = self.differentiable && !derives_from_output(self.activation, xs.0.dtype());
        let (fused, apart) = self.observations();
        let keep = for_backward || apart.is_some() || self.observer_wants_pre_activation();
        let activation = self.activation;
        let layer = cuda::Layer { activation, xs, weight, bias, keep, observation: fused, shape: &shape };
        let passed = layer.forward()?;
        let observed = if apart.is_some() { Some(None) } else { passed.statistics.map(Some) };
        self.keep(for_backward, passed.pre_activation, observed);
        Ok((passed.output, shape))
    }

    /// The observation as one whose statistics the layer's kernels take, or as one with more bins than those
    /// kernels can count, whose statistics are taken from the tensors.
    fn observations(&self) -> (Option<&Observation>, Option<&Observation>) {
        let few = |observation: &&Observation| observation.bins() <= MAX_BINS;
        let observation = self.observation.as_ref();
        (observation.filter(few), observation.filter(|observation| !few(observation)))
    }

    fn backward_on_gpu(
        &self,
        xs: &Tensor,
        weight: &Tensor,
        with_bias: bool,
        output: &Tensor,
        gradient: &Tensor,
        with_inputs: bool,
    ) -> Result<Gradients> {
        let (outputs, inputs) = weight.dims2()?;
        let of_output = derives_from_output(self.activation, xs.dtype());
        let known = self.kept.pre_activation.get().unwrap_or(output);
        let gradient = gradient.contiguous()?;
        let (observation, apart) = self.observations();
        let activation = self.activation;
        let passed =
            cuda::Gradient { activation, known, of_output, gradient: &gradient, with_bias, observation }
                .backward()?;
        if let Some(observation) = &self.observation {
            match passed.statistics {
                Some(summary) => observation.backward(gradient.dtype(), summary, Some(&gradient))?,
                None if apart.is_some() => observation.backward_of(&gradient)?,
                None => (),
            }
            observation.end_backward()?;
        }
        let of_z = passed.of_z.reshape(((), outputs))?;
        let of_weight = of_z.t()?.matmul(&xs.detach().reshape(((), inputs))?)?;
        let of_inputs =
            with_inputs.then(|| of_z.matmul(&weight.detach())?.reshape(xs.shape())).transpose()?;
        Ok((of_inputs, of_weight, passed.bias))
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
