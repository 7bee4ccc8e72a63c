//! Orthogonal matrices.

use std::fmt;

use candle_core::DType;
use wick_kernels::haar;
use wick_kernels::qr;
use wick_kernels::simd::SimdLevel;
use wick_theory::write_number;

use super::shape_gain::ShapeGain;
use super::structure::{Structure, Structured};
use super::transpose::transposed;
use crate::error::{Error, check};
use crate::initializer::Initializer;
use crate::initializer::parameters::{Row, word};
use crate::initializer::weight_law::WeightLaw;
use crate::layout::WeightLayout;
use crate::rng::RngSource;
use crate::rng::jax::inputs_first;
use crate::rng::law::Law;
use crate::rng::values::Values;

pub(crate) const ROW: Row = ("orthogonal", |p| {
    if p.take_word("gain", "spectral") {
        return Ok(Initializer::orthogonal(1.0).with_shape_gain(ShapeGain::Spectral));
    }
    let by = p.one_of("by", &ShapeGain::WORDS)?.unwrap_or_default();
    Ok(Initializer::orthogonal(p.gain()?.unwrap_or(1.0)).with_shape_gain(by))
});

#[derive(Debug)]
struct Orthogonal {
    gain: f64,
    by: ShapeGain,
}

impl Initializer {
    /// `gain` times a matrix with orthonormal rows or columns, whichever are fewer, uniform among these
    /// (Haar): Saxe et al. 2013, arXiv 1312.6120. More than two dimensions are taken as `[out, the rest]`.
    /// Any finite gain. In a SPEC, `orthogonal` with `gain` (1) and `by` (`none`, or the
    /// [`ShapeGain`]s `spectral` and `tall`); `gain=spectral` is `by=spectral`.
    ///
    /// ```
    /// use wick_init::Initializer;
    ///
    /// assert_eq!(Initializer::orthogonal(2.0).std(&[100, 25])?, Some(0.2));
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    pub fn orthogonal(gain: f64) -> Self {
        Self::Structured(Structured::new(Orthogonal { gain, by: ShapeGain::None }))
    }

    /// An [`orthogonal`](Self::orthogonal) weight whose gain is also multiplied by one that goes by its shape. All
    /// other initializers stay as they are.
    ///
    /// ```
    /// use wick_init::{Initializer, ShapeGain};
    ///
    /// let spectral = Initializer::orthogonal(1.0).with_shape_gain(ShapeGain::Spectral);
    /// assert_eq!(spectral, "orthogonal:gain=spectral".parse()?);
    /// assert_eq!(spectral.std(&[400, 100])?, Some(0.1)); // 2/√400
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    pub fn with_shape_gain(self, by: ShapeGain) -> Self {
        match self {
            Self::Structured(ref structured) => {
                let made = structured.structure().with_shape_gain(by);
                made.map_or(self.clone(), Self::Structured)
            }
            other => other,
        }
    }
}

impl fmt::Display for Orthogonal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "orthogonal:gain={}", write_number(self.gain))?;
        match self.by {
            ShapeGain::None => Ok(()),
            by => write!(f, ",by={}", word(&ShapeGain::WORDS, &by)),
        }
    }
}

impl Structure for Orthogonal {
    fn check_parameters(&self, _shape: &[usize], _layout: WeightLayout) -> Result<(), Error> {
        check("gain", self.gain, true, "finite").map(drop)
    }

    fn fits(&self, shape: &[usize]) -> bool {
        shape.len() >= 2
    }

    fn needs(&self) -> &'static str {
        "two or more dimensions [out, in, …]"
    }

    fn variance(&self, shape: &[usize]) -> Option<f64> {
        let inputs = shape[1..].iter().map(|&side| side as f64).product::<f64>();
        let gain = self.gain * self.by.of(shape);
        Some(gain * gain / (shape[0] as f64).max(inputs).max(1.0))
    }

    fn weight_law(&self, shape: &[usize]) -> Option<WeightLaw> {
        self.variance(shape).map(|variance| WeightLaw { variance, orthogonal: true })
    }

    fn with_gain(&self, gain: f64) -> Option<Structured> {
        Some(Structured::new(Self { gain, ..*self }))
    }

    fn with_shape_gain(&self, by: ShapeGain) -> Option<Structured> {
        Some(Structured::new(Self { by, ..*self }))
    }

    fn fill(
        &self,
        source: &mut RngSource,
        shape: &[usize],
        layout: WeightLayout,
        dtype: DType,
    ) -> Result<Values, Error> {
        let gain = self.gain * self.by.of(shape);
        if source.jax_key().is_some() {
            return Ok(Values::F64(as_in_jax(source, shape, layout, gain)));
        }
        Ok(matrix(source, shape[0], shape[1..].iter().product(), gain, dtype))
    }
}

/// Draws as JAX's `orthogonal`, whose columns are the outputs, whatever the layout.
fn as_in_jax(source: &mut RngSource, shape: &[usize], layout: WeightLayout, gain: f64) -> Vec<f64> {
    let count: usize = shape.iter().product();
    let outputs = match layout {
        WeightLayout::InOut => shape[shape.len() - 1],
        _ => shape[0],
    };
    let mut weight = matrix(source, outputs, count / outputs, gain, DType::F64).into_f64();
    match layout {
        WeightLayout::InOut => transposed(&weight, outputs, count / outputs, |x| x),
        _ => {
            inputs_first(&mut weight, shape[1], &shape[2..]);
            weight
        }
    }
}

/// Draws `gain` times a Haar-random matrix of `rows × columns` with orthonormal rows or columns, row-major.
/// From PyTorch's generator and JAX's keys, it is the Q of a Gaussian matrix's QR decomposition, multiplied by the signs of
/// R's diagonal (Mezzadri 2007, *How to generate random matrices from the classical compact groups*); from
/// other sources, a product of random reflections, which has the same law at half the work.
pub(super) fn matrix(source: &mut RngSource, rows: usize, columns: usize, gain: f64, dtype: DType) -> Values {
    let gaussian = source.draw(Law::Normal { mean: 0.0, std: 1.0 }, rows * columns, dtype);
    let is_jax = source.jax_key().is_some();
    if is_jax && rows <= columns {
        // JAX draws a tall matrix, and transposes its Q.
        let lines = transposed(&gaussian.into_f64(), columns, rows, |x| x);
        let mut q = qr::orthonormal_rows(SimdLevel::best(), lines, columns);
        q.iter_mut().for_each(|x| *x *= gain);
        return Values::F64(q);
    }
    let is_torch = source.is_torch() || is_jax;
    let orthonormal_rows = if is_torch { qr::orthonormal_rows } else { haar::orthonormal_rows };
    // The rows of a wide matrix are made orthonormal, or the columns of a tall one; of a square one, both
    // are.
    if rows < columns || (rows == columns && !is_torch) {
        let mut q = orthonormal_rows(SimdLevel::best(), gaussian.into_f64(), columns);
        q.iter_mut().for_each(|x| *x *= gain);
        return Values::F64(q);
    }
    let lines = match gaussian {
        // The vectors of the reflections are read row by row, whether they become rows or columns.
        gaussian if !is_torch => gaussian.into_f64(),
        Values::F32(gaussian) => transposed(&gaussian, rows, columns, f64::from),
        Values::F64(gaussian) => transposed(&gaussian, rows, columns, |x| x),
    };
    let q = orthonormal_rows(SimdLevel::best(), lines, rows);
    if dtype == DType::F32 {
        Values::F32(transposed(&q, columns, rows, |x| (x * gain) as f32))
    } else {
        Values::F64(transposed(&q, columns, rows, |x| x * gain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::keyed::KeyedV1;
    use crate::structures::tests::{filled, gram_error};

    #[test]
    fn orthogonal_rows_or_columns() {
        let initializer = Initializer::orthogonal(1.5);
        for (rows, columns) in [(1, 1), (5, 5), (3, 40), (40, 3), (100, 70), (70, 100), (65, 65)] {
            let matrix = filled(&initializer, &[rows, columns]);
            let error = if rows <= columns {
                gram_error(&matrix, columns, 1.5)
            } else {
                gram_error(&transposed(&matrix, rows, columns, |x: f64| x), rows, 1.5)
            };
            assert!(error < 1e-13, "{rows}×{columns}: {error}");
        }
        let convolution = filled(&initializer, &[8, 3, 3, 3]);
        assert!(gram_error(&convolution, 27, 1.5) < 1e-13);
        // The twin: a Gaussian matrix is not orthogonal.
        assert!(gram_error(&filled(&Initializer::normal(0.1), &[40, 100]), 100, 1.0) > 1e-3);
    }

    /// The spectral norm is `gain·√(out/in)`, and for `tall` not below the gain. The twin is the gain alone.
    #[test]
    fn gains_by_the_shape() {
        for (by, shape, expected) in [
            (ShapeGain::Spectral, [40, 10], 4.0),
            (ShapeGain::Spectral, [10, 40], 1.0),
            (ShapeGain::Tall, [40, 10], 4.0),
            (ShapeGain::Tall, [10, 40], 2.0),
            (ShapeGain::None, [40, 10], 2.0),
        ] {
            let initializer = Initializer::orthogonal(2.0).with_shape_gain(by);
            let square: f64 = filled(&initializer, &shape).iter().map(|x| x * x).sum();
            // Ten orthogonal lines of length `expected`.
            assert!((square / 10.0 - expected * expected).abs() < 1e-12, "{by:?} {shape:?}: {square}");
            assert_eq!(initializer.to_string().parse::<Initializer>().unwrap(), initializer);
        }
    }

    /// Haar: E W⁴ = 3/(n(n+2)). n = 6, 3000 draws, seed 11; the mean of W⁴ over the matrix is within 4 of its
    /// own standard errors; the twin, Gaussian entries of the same variance (3/n²), is not.
    #[test]
    fn orthogonal_is_haar() {
        let (n, draws) = (6, 3000);
        let initializer = Initializer::orthogonal(1.0);
        let fourth = |index: usize| {
            let mut source = RngSource::Keyed(KeyedV1::new(11).key(&format!("w{index}")));
            let w =
                initializer.values(&mut source, &[n, n], WeightLayout::Plain, DType::F64).unwrap().into_f64();
            w.iter().map(|x| x.powi(4)).sum::<f64>() / (n * n) as f64
        };
        let values: Vec<f64> = (0..draws).map(fourth).collect();
        let mean = values.iter().sum::<f64>() / draws as f64;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws as f64;
        let error = (variance / draws as f64).sqrt();
        assert!((mean - 3.0 / 48.0).abs() < 4.0 * error, "{mean} ± {error}");
        assert!((mean - 3.0 / 36.0).abs() > 4.0 * error);
    }

    /// Fixed for ever, as all bits of the keyed stream: on any processor, with any number of threads.
    #[test]
    fn orthogonal_bits_are_stable() {
        let digest = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let matrix = pool.install(|| filled(&Initializer::orthogonal(1.0), &[300, 200]));
            matrix
                .iter()
                .fold(0xcbf2_9ce4_8422_2325u64, |hash, x| (hash ^ x.to_bits()).wrapping_mul(0x100_0000_01b3))
        };
        assert_eq!(digest(1), digest(2));
        assert_eq!(digest(1), 0x42b2_262c_0bcf_a7f7, "{:#x}", digest(1));
    }
}
