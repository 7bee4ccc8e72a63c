//! The number of a tensor that has one, as a loss.

use candle_core::{DType, Device, Error, Result, Tensor};

/// The only element of a tensor; an error that names the shape, if it has others.
pub(crate) fn number(xs: &Tensor) -> Result<f64> {
    if xs.elem_count() != 1 {
        return Err(Error::Msg(format!("the loss has the shape {:?}, and one number is needed", xs.dims())));
    }
    xs.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?.reshape(())?.to_scalar::<f64>()
}
