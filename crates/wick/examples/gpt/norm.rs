//! Layer normalization of candle's ops.

use candle_core::{D, Module, Result, Tensor};
use candle_nn::{Init, VarBuilder};

pub(super) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

pub(super) fn layer_norm(size: usize, eps: f64, vb: VarBuilder) -> Result<LayerNorm> {
    let weight = vb.get_with_hints(size, "weight", Init::Const(1.0))?;
    Ok(LayerNorm { weight, bias: vb.get_with_hints(size, "bias", Init::Const(0.0))?, eps })
}

impl Module for LayerNorm {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let centred = xs.broadcast_sub(&xs.mean_keepdim(D::Minus1)?)?;
        let std = (centred.sqr()?.mean_keepdim(D::Minus1)? + self.eps)?.sqrt()?;
        centred.broadcast_div(&std)?.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)
    }
}
