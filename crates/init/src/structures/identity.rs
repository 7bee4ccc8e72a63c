//! The identity matrix.

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

pub(crate) const ROW: Row = ("identity", |p| Ok(Initializer::identity(p.gain()?.unwrap_or(1.0))));

#[derive(Debug)]
struct Identity {
    gain: f64,
}

impl Initializer {
    /// `gain` on the diagonal of a matrix, 0 elsewhere; any finite gain. In a SPEC, `identity` with `gain`
    /// (1).
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use wick_init::{Initializer, KeyedV1};
    ///
    /// let key = KeyedV1::new(42).key("weight");
    /// let weight = Initializer::identity(2.0).tensor(key, (2, 3), DType::F32, &Device::Cpu)?;
    /// assert_eq!(weight.to_vec2::<f32>()?, [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn identity(gain: f64) -> Self {
        Self::Structured(Structured::new(Identity { gain }))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "identity:gain={}", write_number(self.gain))
    }
}

impl Structure for Identity {
    fn check_parameters(&self, _shape: &[usize], _layout: WeightLayout) -> Result<(), Error> {
        check("gain", self.gain, true, "finite").map(drop)
    }

    fn fits(&self, shape: &[usize]) -> bool {
        shape.len() == 2
    }

    fn needs(&self) -> &'static str {
        "two dimensions [out, in]"
    }

    fn with_gain(&self, gain: f64) -> Option<Structured> {
        Some(Structured::new(Self { gain }))
    }

    fn fill(
        &self,
        _source: &mut RngSource,
        shape: &[usize],
        _layout: WeightLayout,
        _dtype: DType,
    ) -> Result<Values, Error> {
        let (out, inputs) = (shape[0], shape[1]);
        let mut weight = vec![0.0; out * inputs];
        for i in 0..out.min(inputs) {
            weight[i * inputs + i] = self.gain;
        }
        Ok(Values::F64(weight))
    }
}

#[cfg(test)]
mod tests {
    use crate::initializer::Initializer;
    use crate::structures::tests::filled;

    #[test]
    fn the_diagonal_is_the_gain() {
        let matrix = filled(&Initializer::identity(2.0), &[2, 3]);
        assert_eq!(matrix, [2.0, 0.0, 0.0, 0.0, 2.0, 0.0]);
    }
}
