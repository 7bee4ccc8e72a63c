//! Biases in front of a softplus that give step sizes of many scales.

use std::fmt;

use candle_core::DType;
use wick_theory::write_number;

use super::structure::{Structure, Structured};
use crate::error::{Error, check};
use crate::initializer::Initializer;
use crate::initializer::parameters::Row;
use crate::layout::WeightLayout;
use crate::rng::RngSource;
use crate::rng::law::Law;
use crate::rng::values::Values;

pub(crate) const ROW: Row = ("inverse_softplus", |p| {
    Ok(Initializer::inverse_softplus(p.or("low", 0.001)?, p.or("high", 0.1)?, p.or("floor", 1e-4)?))
});

#[derive(Debug)]
struct InverseSoftplus {
    low: f64,
    high: f64,
    floor: f64,
}

impl Initializer {
    /// `dt + ln(1 - e^{-dt})`, so that `softplus` of it is `dt`, with `ln dt` uniform between `ln low` and `ln high`
    /// and `dt` not below `floor`; `0 < low ≤ high`, `0 < floor`. It is the bias of `dt_proj` in Mamba (Gu and Dao
    /// 2023, arXiv 2312.00752, section 3.6), there .001, .1 and 1e-4. In a SPEC, `inverse_softplus` with `low`,
    /// `high` and `floor`, of which these are the defaults.
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use wick_init::{Initializer, KeyedV1};
    ///
    /// let bias = Initializer::inverse_softplus(0.001, 0.1, 1e-4);
    /// let bias = bias.tensor(KeyedV1::new(1).key("dt_proj.bias"), 1000, DType::F64, &Device::Cpu)?;
    /// let dt: Vec<f64> = bias.to_vec1::<f64>()?.into_iter().map(|x| x.exp().ln_1p()).collect();
    /// assert!(dt.iter().all(|dt| (0.000_999..0.100_1).contains(dt)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn inverse_softplus(low: f64, high: f64, floor: f64) -> Self {
        Self::Structured(Structured::new(InverseSoftplus { low, high, floor }))
    }
}

impl fmt::Display for InverseSoftplus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, high, floor] = [self.low, self.high, self.floor].map(write_number);
        write!(f, "inverse_softplus:low={low},high={high},floor={floor}")
    }
}

impl Structure for InverseSoftplus {
    fn check_parameters(&self, _shape: &[usize], _layout: WeightLayout) -> Result<(), Error> {
        check("high", self.high, self.high < 100.0, "finite and below 100")?;
        check("low", self.low, 0.0 < self.low && self.low <= self.high, "above 0 and not above high")?;
        check("floor", self.floor, 0.0 < self.floor && self.floor < 100.0, "above 0 and below 100").map(drop)
    }

    fn fits(&self, _shape: &[usize]) -> bool {
        true
    }

    fn needs(&self) -> &'static str {
        "any shape"
    }

    fn fill(
        &self,
        source: &mut RngSource,
        shape: &[usize],
        _layout: WeightLayout,
        dtype: DType,
    ) -> Result<Values, Error> {
        let law = Law::Uniform { low: libm::log(self.low), high: libm::log(self.high) };
        let mut bias = source.draw_checked(law, shape.iter().product(), dtype)?.into_f64();
        for x in &mut bias {
            let dt = libm::exp(*x).max(self.floor);
            *x = dt + libm::log(-libm::expm1(-dt));
        }
        Ok(Values::F64(bias))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structures::tests::filled;

    /// `ln softplus` is uniform: n = 20,000, a mean within 4 of its standard errors (alpha = 6e-5) of the middle. The
    /// twin, uniform step sizes, has another mean.
    #[test]
    fn step_sizes_are_uniform_in_their_logarithm() {
        let count = 20_000;
        let dt = |x: f64| x.exp().ln_1p();
        let drawn: Vec<f64> = filled(&Initializer::inverse_softplus(0.001, 0.1, 1e-4), &[count]);
        let logs: Vec<f64> = drawn.into_iter().map(|x| dt(x).ln()).collect();
        let (low, high) = (0.001f64.ln(), 0.1f64.ln());
        assert!(logs.iter().all(|x| (low - 1e-4..high + 1e-4).contains(x)));
        let mean = logs.iter().sum::<f64>() / count as f64;
        let error = (high - low) / 12f64.sqrt() / (count as f64).sqrt();
        assert!((mean - 0.5 * (low + high)).abs() < 4.0 * error, "{mean}");
        let uniform = 0.1f64 * (0.1f64.ln() - 1.0) - 0.001f64 * (0.001f64.ln() - 1.0);
        assert!((uniform / 0.099 - 0.5 * (low + high)).abs() > 40.0 * error);
        // The floor holds.
        let floored = filled(&Initializer::inverse_softplus(0.001, 0.01, 0.005), &[1000]);
        let least = floored.into_iter().map(dt).fold(f64::INFINITY, f64::min);
        assert!((least - 0.005).abs() < 1e-12, "{least}");
    }
}
