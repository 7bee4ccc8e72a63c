//! A dense layer on an NVIDIA GPU: cuBLAS' products, and our kernels around them.

use candle_core::backend::BackendStorage;
use candle_core::{CudaStorage, DType, Result, Shape, Tensor};
use wick_theory::Activation;

use super::{Dense, Gradients, Observation, output_shape};
use crate::cuda::{Gradient, Layer, MOST_BINS, Operand};
use crate::slice::Real;

impl Dense {
    pub(super) fn forward_on_gpu(
        &self,
        xs: Operand,
        weight: Operand,
        bias: Option<Operand>,
    ) -> Result<(CudaStorage, Shape)> {
        let shape = output_shape(xs.1, weight.1);
        let for_backward = self.differentiable && !derives_from_output(self.activation, xs.0.dtype());
        let (on_the_way, apart) = self.observations();
        let keep = for_backward || apart.is_some() || self.observer_wants_pre_activation();
        let activation = self.activation;
        let layer = Layer { activation, xs, weight, bias, keep, observation: on_the_way, shape: &shape };
        let passed = layer.forward()?;
        let observed = if apart.is_some() { Some(None) } else { passed.statistics.map(Some) };
        self.keep(for_backward, passed.pre_activation, observed);
        Ok((passed.output, shape))
    }

    /// The observation whose statistics the layer's kernels take on the way, and the one whose statistics are taken from the
    /// tensors, as it has more bins than those kernels can count.
    fn observations(&self) -> (Option<&Observation>, Option<&Observation>) {
        let few = |observation: &&Observation| observation.bins() <= MOST_BINS;
        let observation = self.observation.as_ref();
        (observation.filter(few), observation.filter(|observation| !few(observation)))
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
        let known = self.kept.pre_activation.get().unwrap_or(output);
        let gradient = gradient.contiguous()?;
        let (observation, apart) = self.observations();
        let activation = self.activation;
        let passed = Gradient { activation, known, of_output, gradient: &gradient, with_bias, observation }
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

/// Whether the derivative is computed from the output of the activation. In the narrow types too little is left of `1 - h²`.
fn derives_from_output(activation: Activation, dtype: DType) -> bool {
    match dtype {
        DType::F32 => f32::is_derivative_of_output(activation),
        DType::F64 => f64::is_derivative_of_output(activation),
        _ => matches!(activation, Activation::Identity | Activation::Relu),
    }
}
