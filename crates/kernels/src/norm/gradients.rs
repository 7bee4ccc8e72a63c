//! The gradients of a norm.

use candle_core::{Device, Result, Tensor};

use crate::cpu::element::Number;

/// The gradients that something asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) input: bool,
    pub(super) parameters: bool,
}

impl Wanted {
    pub(super) fn of(xs: &Tensor, weight: &Tensor, bias: &Tensor) -> Self {
        Self { input: xs.track_op(), parameters: weight.track_op() || bias.track_op() }
    }
}

/// Gradients; those that are not wanted are empty.
pub(super) struct Gradients<T> {
    pub(super) input: Vec<T>,
    pub(super) weight: Vec<f64>,
    pub(super) bias: Vec<f64>,
}

impl<T: Number> Gradients<T> {
    /// As tensors, each if it is wanted.
    pub(super) fn tensors(
        self,
        [xs, weight, bias]: [&Tensor; 3],
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let of_input = xs.track_op().then(|| Tensor::from_vec(self.input, xs.shape(), &Device::Cpu));
        let of_weight = weight.track_op().then(|| of_sums::<T>(self.weight));
        let of_bias = bias.track_op().then(|| of_sums::<T>(self.bias));
        Ok((of_input.transpose()?, of_weight.transpose()?, of_bias.transpose()?))
    }
}

/// The gradient of a parameter as a tensor, rounded once from sums in `f64`.
fn of_sums<T: Number>(sums: Vec<f64>) -> Result<Tensor> {
    let count = sums.len();
    Tensor::from_vec(sums.into_iter().map(T::narrow).collect::<Vec<T>>(), count, &Device::Cpu)
}
