//! Identities and Hadamard matrices, without randomness.

use std::fmt;

use candle_core::DType;

use super::convolution::{Centre, centres, is_convolution};
use super::structure::{Structure, Structured};
use crate::error::Error;
use crate::initializer::Initializer;
use crate::initializer::parameters::Row;
use crate::layout::WeightLayout;
use crate::rng::RngSource;
use crate::rng::values::Values;

pub(crate) const ROW: Row = ("zer_o", |_| Ok(Initializer::zer_o()));

#[derive(Debug)]
struct ZerO;

impl Initializer {
    /// ZerO: identities, and Hadamard matrices where a layer widens, without randomness (Zhao et al. 2022,
    /// arXiv 2110.12661, algorithm 1): `2^{-(m-1)/2} H_m` with `m = ⌈log₂ out⌉`, as in the paper, which
    /// doubles `|Wx|²` where `out` is a power of two; the authors' program divides by `2^{m/2}`, which keeps
    /// `|Wx|²`. Convolutions have these matrices at their centre. In a SPEC, `zer_o`.
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use wick_init::{Initializer, KeyedV1};
    ///
    /// let key = KeyedV1::new(42).key("weight");
    /// let weight = Initializer::zer_o().tensor(key, (2, 3), DType::F32, &Device::Cpu)?;
    /// assert_eq!(weight.to_vec2::<f32>()?, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn zer_o() -> Self {
        Self::Structured(Structured::new(ZerO))
    }
}

impl fmt::Display for ZerO {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("zer_o")
    }
}

impl Structure for ZerO {
    fn fits(&self, shape: &[usize]) -> bool {
        shape.len() == 2 || is_convolution(shape)
    }

    fn needs(&self) -> &'static str {
        "a matrix [out, in] or a convolution [out, in, kernel…]"
    }

    fn fill(
        &self,
        _source: &mut RngSource,
        shape: &[usize],
        _layout: WeightLayout,
        _dtype: DType,
    ) -> Result<Values, Error> {
        let (out, inputs) = (shape[0], shape[1]);
        let (at, mut weight) = (centres(shape, Centre::Upper), vec![0.0; shape.iter().product()]);
        if out <= inputs {
            for i in 0..out {
                weight[at(i, i)] = 1.0;
            }
            return Ok(Values::F64(weight));
        }
        let power = out.next_power_of_two().trailing_zeros();
        // The paper's factor; the authors' program has 2^(-m/2).
        let scale = 2f64.powi(1 - power as i32).sqrt();
        for o in 0..out {
            for i in 0..inputs {
                // In Sylvester's Hadamard matrix, the sign is the parity of the number of common bits.
                let sign = if (o & i).count_ones() % 2 == 0 { 1.0 } else { -1.0 };
                weight[at(o, i)] = scale * sign;
            }
        }
        Ok(Values::F64(weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structures::tests::filled;

    #[test]
    fn widening_layers_are_hadamard_and_the_others_identities() {
        assert_eq!(filled(&Initializer::zer_o(), &[2, 2]), [1.0, 0.0, 0.0, 1.0]);
        let scale = 1.0 / 2f64.sqrt(); // 2^(-(2-1)/2)
        let expected = [1.0, 1.0, 1.0, -1.0, 1.0, 1.0].map(|x| x * scale);
        let got = filled(&Initializer::zer_o(), &[3, 2]);
        assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15), "{got:?}");
    }

    /// The paper's scale doubles |Wx|² where the outputs are a power of two; its authors' program would keep
    /// it.
    #[test]
    fn widening_to_a_power_of_two_doubles_the_square() {
        let weight = filled(&Initializer::zer_o(), &[8, 3]);
        let lengths = (0..3).map(|i| weight.iter().skip(i).step_by(3).map(|x| x * x).sum::<f64>());
        assert!(
            lengths.clone().all(|square| (square - 2.0).abs() < 1e-14),
            "{:?}",
            lengths.collect::<Vec<_>>()
        );
    }
}
