//! Convolutions that are orthogonal at their centre.

use std::fmt;

use candle_core::DType;
use wick_theory::spec::word;

use super::convolution::{Centre, centres, is_convolution};
use super::orthogonal;
use super::structure::{Structure, Structured};
use crate::error::{Error, check};
use crate::initializer::Initializer;
use crate::initializer::parameters::Row;
use crate::layout::WeightLayout;
use crate::rng::RngSource;
use crate::rng::values::Values;

pub(crate) const ROW: Row = ("delta_orthogonal", |p| {
    let (gain, centre) = (p.gain()?.unwrap_or(1.0), p.one_of("centre", &Centre::WORDS)?.unwrap_or_default());
    Ok(Initializer::delta_orthogonal(gain, centre))
});

#[derive(Debug)]
struct DeltaOrthogonal {
    gain: f64,
    centre: Centre,
}

impl Initializer {
    /// A convolution `[out, in, kernel…]`, `out ≥ in`, that is orthogonal at its centre and 0 elsewhere (Xiao
    /// et al. 2018, arXiv 1806.05393, algorithm 1): it keeps the norm of every signal, times `gain`, which is
    /// any finite number. In a SPEC, `delta_orthogonal` with `gain` (1) and `centre` (`upper`, or `lower`) of
    /// an even side.
    ///
    /// ```
    /// use wick_init::{Centre, Initializer};
    ///
    /// let std = Initializer::delta_orthogonal(1.0, Centre::Upper).std(&[25, 9, 4])?;
    /// assert_eq!(std, Some(0.1));
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    pub fn delta_orthogonal(gain: f64, centre: Centre) -> Self {
        Self::Structured(Structured::new(DeltaOrthogonal { gain, centre }))
    }
}

impl fmt::Display for DeltaOrthogonal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delta_orthogonal:gain={}", self.gain)?;
        match self.centre {
            Centre::Upper => Ok(()),
            Centre::Lower => write!(f, ",centre={}", word(&Centre::WORDS, &self.centre)),
        }
    }
}

impl Structure for DeltaOrthogonal {
    fn check_parameters(&self, _shape: &[usize], _layout: WeightLayout) -> Result<(), Error> {
        check("gain", self.gain, true, "finite").map(drop)
    }

    fn fits(&self, shape: &[usize]) -> bool {
        is_convolution(shape) && shape[0] >= shape[1]
    }

    fn needs(&self) -> &'static str {
        "a convolution [out, in, kernel…] of 1 to 3 dimensions with no more inputs than outputs"
    }

    fn variance(&self, shape: &[usize]) -> Option<f64> {
        // Each input has a column of length `gain`.
        let kernel = shape[2..].iter().map(|&side| side as f64).product::<f64>();
        Some(self.gain * self.gain / (shape[0] as f64 * kernel).max(1.0))
    }

    fn with_gain(&self, gain: f64) -> Option<Structured> {
        Some(Structured::new(Self { gain, ..*self }))
    }

    fn fill(
        &self,
        source: &mut RngSource,
        shape: &[usize],
        _layout: WeightLayout,
        dtype: DType,
    ) -> Result<Values, Error> {
        let (out, inputs) = (shape[0], shape[1]);
        let (at, mut weight) = (centres(shape, self.centre), vec![0.0; shape.iter().product()]);
        let matrix = orthogonal::matrix(source, out, inputs, self.gain, dtype).into_f64();
        for o in 0..out {
            for i in 0..inputs {
                weight[at(o, i)] = matrix[o * inputs + i];
            }
        }
        Ok(Values::F64(weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structures::tests::{filled, gram_error};
    use crate::structures::transpose::transposed;

    #[test]
    fn the_centre_is_orthogonal_and_the_rest_is_zero() {
        let delta = filled(&Initializer::delta_orthogonal(1.0, Centre::Upper), &[5, 3, 3, 3]);
        let centre: Vec<f64> = delta.chunks(9).map(|kernel| kernel[4]).collect();
        assert!(gram_error(&transposed(&centre, 5, 3, |x: f64| x), 5, 1.0) < 1e-14);
        assert!(delta.chunks(9).all(|kernel| kernel.iter().filter(|x| **x != 0.0).count() <= 1));
        // An even side has two middles: JAX takes the lower one.
        let places = |centre| {
            let delta = filled(&Initializer::delta_orthogonal(1.0, centre), &[1, 1, 4, 2]);
            delta.iter().position(|x| *x != 0.0)
        };
        assert_eq!((places(Centre::Upper), places(Centre::Lower)), (Some(5), Some(2)));
    }
}
