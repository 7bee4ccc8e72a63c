//! A dense layer on an NVIDIA GPU: cuBLAS' products, and our kernels around them.

use std::sync::Arc;

use candle_core::backend::BackendStorage;
use candle_core::op::BackpropOp;
use candle_core::{CudaStorage, DType, Layout, Result, Shape, Storage, Tensor};
use wick_theory::Activation;

use super::{Dense, Gradients, Observer, output_shape};
use crate::cuda::{Gradient, Layer, MOST_BINS, Operand};
use crate::slice::Real;
use crate::{fraction_outside, summarize};

type Ear = Arc<dyn Observer>;

impl Dense {
    pub(super) fn forward_on_gpu(
        &self,
        xs: Operand,
        weight: Operand,
        bias: Option<Operand>,
    ) -> Result<(CudaStorage, Shape)> {
        let shape = output_shape(xs.1, weight.1);
        let keep = self.differentiable && !derives_from_output(self.activation, xs.0.dtype());
        let (observer, apart) = self.observers();
        let keep_now = keep || apart.is_some();
        let activation = self.activation;
        let layer = Layer { activation, xs, weight, bias, keep: keep_now, observer, shape: &shape };
        let passed = layer.forward()?;
        if let (Some(observer), Some(zs)) = (apart, &passed.pre_activation) {
            let copy = Storage::Cuda(passed.output.try_clone(&Layout::contiguous(&shape))?);
            let output = Tensor::from_storage(copy, &shape, BackpropOp::none(), false);
            let (low, high) = activation.saturation_thresholds();
            let saturated = fraction_outside(zs, low, high)?;
            observer.forward(summarize(&output, activation.range(), observer.bins())?, saturated);
        }
        if let (true, Some(pre_activation)) = (keep, passed.pre_activation) {
            let _ = self.pre_activation.set(pre_activation);
        }
        Ok((passed.output, shape))
    }

    /// Who listens to the layer's kernels, and who, with more bins than those can count, to the tensors by themselves.
    fn observers(&self) -> (Option<&Ear>, Option<&Ear>) {
        let few = |observer: &&Ear| observer.bins() <= MOST_BINS;
        let observer = self.observer.as_ref();
        (observer.filter(few), observer.filter(|observer| !few(observer)))
    }

    pub(super) fn backward_on_gpu(
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
        let known = self.pre_activation.get().unwrap_or(output);
        let gradient = gradient.contiguous()?;
        let (observer, apart) = self.observers();
        if let Some(observer) = apart {
            observer.backward(summarize(&gradient, None, observer.bins())?);
        }
        let activation = self.activation;
        let passed =
            Gradient { activation, known, of_output, gradient: &gradient, with_bias, observer }.backward()?;
        let of_z = passed.of_z.reshape(((), outputs))?;
        let of_weight = of_z.t()?.matmul(&xs.detach().reshape(((), inputs))?)?;
        let of_inputs =
            with_inputs.then(|| of_z.matmul(&weight.detach())?.reshape(xs.shape())).transpose()?;
        Ok((of_inputs, of_weight, passed.bias))
    }
}

/// Whether the derivative is computed from the output of the activation. In the narrow types too little is left of `1 - h²`.
fn derives_from_output(activation: Activation, dtype: DType) -> bool {
    match dtype {
        DType::F32 => f32::is_derivative_of_output(activation),
        DType::F64 => f64::is_derivative_of_output(activation),
        _ => matches!(activation, Activation::Identity | Activation::Relu),
    }
}
