//! A dense layer on an NVIDIA GPU: cuBLAS' products, and our kernels around them.

use candle_core::backend::BackendStorage;
use candle_core::{CudaStorage, DType, Result, Shape, Tensor};
use wick_theory::Activation;

use super::{Dense, Gradients, output_shape};
use crate::cuda::{Gradient, Layer, Operand};
use crate::slice::Real;

impl Dense {
    pub(super) fn forward_on_gpu(
        &self,
        xs: Operand,
        weight: Operand,
        bias: Option<Operand>,
    ) -> Result<(CudaStorage, Shape)> {
        let shape = output_shape(xs.1, weight.1);
        let keep = self.differentiable && !derives_from_output(self.activation, xs.0.dtype());
        let listener = self.listener.as_ref();
        let layer = Layer { activation: self.activation, xs, weight, bias, keep, listener, shape: &shape };
        let passed = layer.forward()?;
        if let Some(pre_activation) = passed.pre_activation {
            let _ = self.pre_activation.set(pre_activation);
        }
        Ok((passed.output, shape))
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
        let listener = self.listener.as_ref();
        let activation = self.activation;
        let passed =
            Gradient { activation, known, of_output, gradient: &gradient, with_bias, listener }.backward()?;
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
