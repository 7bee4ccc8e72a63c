//! The logarithms of the numbers of the states.

use std::fmt;

use candle_core::DType;

use super::structure::{Structure, Structured};
use crate::error::Error;
use crate::initializer::Initializer;
use crate::initializer::parameters::Row;
use crate::layout::WeightLayout;
use crate::rng::RngSource;
use crate::rng::values::Values;

pub(crate) const ROW: Row = ("log_arange", |_| Ok(Initializer::log_arange()));

#[derive(Debug)]
struct LogArange;

impl Initializer {
    /// `ln(n + 1)` for state `n` of the last dimension: `A_log` of Mamba (Gu and Dao 2023, arXiv 2312.00752, section
    /// 3.6, S4D-Real), whose states decay at the rates 1, 2, …, N. In a SPEC, `log_arange`.
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use wick_init::{Initializer, KeyedV1};
    ///
    /// let key = KeyedV1::new(1).key("A_log");
    /// let rates = Initializer::log_arange().tensor(key, (2, 3), DType::F32, &Device::Cpu)?.exp()?;
    /// assert_eq!(rates.to_dtype(DType::BF16)?.to_dtype(DType::F32)?.to_vec2::<f32>()?, [[1.0, 2.0, 3.0]; 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn log_arange() -> Self {
        Self::Structured(Structured::new(LogArange))
    }
}

impl fmt::Display for LogArange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("log_arange")
    }
}

impl Structure for LogArange {
    fn fits(&self, shape: &[usize]) -> bool {
        !shape.is_empty()
    }

    fn needs(&self) -> &'static str {
        "one or more dimensions, the states last"
    }

    fn fill(
        &self,
        _source: &mut RngSource,
        shape: &[usize],
        _layout: WeightLayout,
        _dtype: DType,
    ) -> Result<Values, Error> {
        let states = shape[shape.len() - 1];
        let row: Vec<f64> = (1..=states).map(|n| libm::log(n as f64)).collect();
        Ok(Values::F64(row.repeat(shape.iter().product::<usize>() / states)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structures::tests::filled;

    #[test]
    fn every_row_has_the_logarithms() {
        let drawn = filled(&Initializer::log_arange(), &[3, 16]);
        assert!(drawn.iter().enumerate().all(|(at, x)| (x.exp() - (at % 16 + 1) as f64).abs() < 1e-12));
    }
}
