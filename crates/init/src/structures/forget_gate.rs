//! The bias of an LSTM.

use std::fmt;

use candle_core::DType;
use wick_theory::write_number;

use super::structure::{Structure, Structured};
use crate::error::{Error, check};
use crate::initializer::Initializer;
use crate::initializer::parameters::Row;
use crate::layout::WeightLayout;
use crate::rng::RngSource;
use crate::rng::values::Values;

pub(crate) const ROW: Row =
    ("forget_gate", |p| Ok(Initializer::forget_gate(p.number("value")?.unwrap_or(1.0))));

#[derive(Debug)]
struct ForgetGate {
    value: f64,
}

impl Initializer {
    /// The bias `[4·hidden]` of an LSTM (gates in the order input, forget, cell, output, as in PyTorch and
    /// candle): `value` for the forget gate, 0 for the others, so that the cell remembers at first (Gers et
    /// al. 2000; Jozefowicz et al. 2015). Any finite value; with 1, it is Keras' `unit_forget_bias`. In a
    /// SPEC, `forget_gate` with `value` (1).
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use wick_init::{Initializer, KeyedV1};
    ///
    /// let key = KeyedV1::new(42).key("bias");
    /// let bias = Initializer::forget_gate(1.0).tensor(key, 4, DType::F32, &Device::Cpu)?;
    /// assert_eq!(bias.to_vec1::<f32>()?, [0.0, 1.0, 0.0, 0.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn forget_gate(value: f64) -> Self {
        Self::Structured(Structured::new(ForgetGate { value }))
    }
}

impl fmt::Display for ForgetGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "forget_gate:value={}", write_number(self.value))
    }
}

impl Structure for ForgetGate {
    fn check_parameters(&self, _shape: &[usize], _layout: WeightLayout) -> Result<(), Error> {
        check("value", self.value, true, "finite").map(drop)
    }

    fn fits(&self, shape: &[usize]) -> bool {
        shape.len() == 1 && shape[0].is_multiple_of(4)
    }

    fn needs(&self) -> &'static str {
        "the bias of an LSTM [4·hidden]"
    }

    fn fill(
        &self,
        _source: &mut RngSource,
        shape: &[usize],
        _layout: WeightLayout,
        _dtype: DType,
    ) -> Result<Values, Error> {
        let mut bias = vec![0.0; shape[0]];
        bias[shape[0] / 4..shape[0] / 2].fill(self.value);
        Ok(Values::F64(bias))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structures::tests::filled;

    #[test]
    fn the_forget_gate_is_the_second() {
        let bias = filled(&Initializer::forget_gate(1.5), &[8]);
        assert_eq!(bias, [0.0, 0.0, 1.5, 1.5, 0.0, 0.0, 0.0, 0.0]);
    }
}
