//! Values that go along the channels.

use std::fmt;

use candle_core::DType;
use wick_theory::write_number;

use super::structure::{Structure, Structured};
use crate::error::{Error, check};
use crate::initializer::Initializer;
use crate::initializer::parameters::{Row, word};
use crate::layout::WeightLayout;
use crate::rng::RngSource;
use crate::rng::values::Values;

pub(crate) const ROW: Row = ("ramp", |p| {
    let (base, slope, power) = (p.or("base", 0.0)?, p.or("slope", 1.0)?, p.or("power", 1.0)?);
    let over = p.one_of("over", &RampOver::WORDS)?.unwrap_or_default();
    let (zigzag, head) = (p.or("zigzag", 0.0)?, p.count("head")?.unwrap_or(64));
    Ok(Initializer::ramp(base, slope, power, over).with_zigzag(zigzag, head))
});

/// What the number of a channel is divided by in [`Initializer::ramp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RampOver {
    /// `C - 1`: the ramp goes from 0 to 1.
    #[default]
    Ends,
    /// `C`: the ramp ends one step before 1.
    Count,
}

impl RampOver {
    /// The words of a SPEC.
    pub(crate) const WORDS: [(&str, Self); 2] = [("ends", Self::Ends), ("count", Self::Count)];
}

#[derive(Debug, Clone)]
struct Ramp {
    base: f64,
    slope: f64,
    power: f64,
    over: RampOver,
    zigzag: f64,
    head: usize,
}

impl Initializer {
    /// `base + slope·tᵖᵒʷᵉʳ` for channel `n` of the `C` of the last dimension, with `t = n/(C - 1)`, or `n/C`
    /// ([`RampOver`]); `power ≥ 0`. The vectors of RWKV-7 (`x_r`, `w0`, …) and nanochat's `resid_lambdas` start so. In
    /// a SPEC, `ramp` with `base` (0), `slope` (1), `power` (1), `over` (`ends` or `count`), and `zigzag` (0) and
    /// `head` (64) of [`with_zigzag`](Self::with_zigzag).
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use wick_init::{Initializer, KeyedV1, RampOver};
    ///
    /// let squares = Initializer::ramp(1.0, -1.0, 2.0, RampOver::Ends);
    /// let drawn = squares.tensor(KeyedV1::new(1).key("x_r"), 3, DType::F64, &Device::Cpu)?;
    /// assert_eq!(drawn.to_vec1::<f64>()?, [1.0, 0.75, 0.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ramp(base: f64, slope: f64, power: f64, over: RampOver) -> Self {
        Self::Structured(Structured::new(Ramp { base, slope, power, over, zigzag: 0.0, head: 64 }))
    }

    /// A [`ramp`](Self::ramp) with `zigzag·z|z|` added, where `z` goes from -1 to 1 in each head of `head` channels:
    /// `z = ((n mod head) - (head - 1)/2)/((head - 1)/2)`. All other initializers stay as they are.
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use wick_init::{Initializer, KeyedV1, RampOver};
    ///
    /// let heads = Initializer::ramp(0.0, 0.0, 1.0, RampOver::Ends).with_zigzag(0.5, 3);
    /// let drawn = heads.tensor(KeyedV1::new(1).key("a0"), 6, DType::F64, &Device::Cpu)?;
    /// assert_eq!(drawn.to_vec1::<f64>()?, [-0.5, 0.0, 0.5, -0.5, 0.0, 0.5]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_zigzag(self, zigzag: f64, head: usize) -> Self {
        match self {
            Self::Structured(ref structured) => {
                let made = structured.structure().with_zigzag(zigzag, head);
                made.map_or(self.clone(), Self::Structured)
            }
            other => other,
        }
    }
}

impl fmt::Display for Ramp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [base, slope, power] = [self.base, self.slope, self.power].map(write_number);
        write!(f, "ramp:base={base},slope={slope},power={power}")?;
        if self.over != RampOver::default() {
            write!(f, ",over={}", word(&RampOver::WORDS, &self.over))?;
        }
        if self.zigzag != 0.0 || self.head != 64 {
            write!(f, ",zigzag={},head={}", write_number(self.zigzag), self.head)?;
        }
        Ok(())
    }
}

impl Structure for Ramp {
    fn check_parameters(&self, _shape: &[usize], _layout: WeightLayout) -> Result<(), Error> {
        check("base", self.base, true, "finite")?;
        check("slope", self.slope, true, "finite")?;
        check("power", self.power, self.power >= 0.0, "finite and not negative")?;
        check("zigzag", self.zigzag, true, "finite")?;
        check("head", self.head as f64, self.head > 0, "1 or more").map(drop)
    }

    fn fits(&self, shape: &[usize]) -> bool {
        !shape.is_empty()
    }

    fn needs(&self) -> &'static str {
        "one or more dimensions, the channels last"
    }

    fn with_zigzag(&self, zigzag: f64, head: usize) -> Option<Structured> {
        Some(Structured::new(Self { zigzag, head, ..self.clone() }))
    }

    fn fill(
        &self,
        _source: &mut RngSource,
        shape: &[usize],
        _layout: WeightLayout,
        _dtype: DType,
    ) -> Result<Values, Error> {
        let channels = shape[shape.len() - 1];
        let over = match self.over {
            RampOver::Ends => channels - 1,
            RampOver::Count => channels,
        };
        let half = (self.head as f64 - 1.0) / 2.0;
        let value = |n: usize| {
            let t = n as f64 / over.max(1) as f64;
            let z = if half > 0.0 { ((n % self.head) as f64 - half) / half } else { 0.0 };
            self.base + self.slope * libm::pow(t, self.power) + self.zigzag * (z * z.abs())
        };
        let row: Vec<f64> = (0..channels).map(value).collect();
        Ok(Values::F64(row.repeat(shape.iter().product::<usize>() / channels)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structures::tests::filled;

    /// `w0` of RWKV-7 by its own loop (RWKV-LM, `RWKV-v7/train_temp/src/model.py`): 128 channels, heads of 64, layer 1
    /// of 3. The twin is divided by the number of channels.
    #[test]
    fn the_decay_of_rwkv_7() {
        let (c, head, power) = (128.0, 64.0, 1.0 + 0.5f64.powf(0.3));
        let decay = Initializer::ramp(-5.5, 6.0, power, RampOver::Ends).with_zigzag(2.5, 64);
        let twin = Initializer::ramp(-5.5, 6.0, power, RampOver::Count).with_zigzag(2.5, 64);
        let (got, twin) = (filled(&decay, &[1, 1, 128]), filled(&twin, &[1, 1, 128]));
        for n in 0..128 {
            let z = (f64::from(n % 64) - (head - 1.0) / 2.0) / ((head - 1.0) / 2.0);
            let expected = -6.0 + 6.0 * (f64::from(n) / (c - 1.0)).powf(power) + 0.5 + 2.5 * z * z.abs();
            assert!((got[n as usize] - expected).abs() < 1e-12, "{n}");
        }
        assert!((twin[127] - got[127]).abs() > 0.01);
        assert_eq!(filled(&Initializer::ramp(2.0, 3.0, 1.0, RampOver::Ends), &[2, 1]), [2.0, 2.0]);
    }
}
