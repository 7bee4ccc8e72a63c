//! Sparse matrices.

use std::fmt;

use candle_core::DType;
use wick_theory::spec::word;

use super::structure::{Structure, Structured};
use crate::error::{Error, check};
use crate::initializer::Initializer;
use crate::initializer::parameters::Row;
use crate::initializer::weight_law::WeightLaw;
use crate::layout::WeightLayout;
use crate::rng::RngSource;
use crate::rng::law::Law;
use crate::rng::values::Values;

pub(crate) const ROW: Row = ("sparse", |p| {
    let by = p.one_of("by", &SparseBy::WORDS)?.unwrap_or(SparseBy::Column);
    let std = p.number("std")?.unwrap_or(0.01);
    Ok(Initializer::sparse(p.required("sparsity")?, std, by))
});

/// Whether the zeros of [`Initializer::sparse`] are counted in columns or in rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SparseBy {
    /// In every column of `[out, in]`: each input is connected to fewer outputs, by that fraction.
    Column,
    /// In every row: each output is connected to fewer inputs, by that fraction.
    Row,
}

impl SparseBy {
    /// The words of a SPEC.
    pub(crate) const WORDS: [(&str, Self); 2] = [("column", Self::Column), ("row", Self::Row)];
}

#[derive(Debug)]
struct Sparse {
    sparsity: f64,
    std: f64,
    by: SparseBy,
}

impl Initializer {
    /// `N(0, std²)` with a fraction of the elements of every column (or row) set to 0 (Martens 2010, *Deep
    /// learning via Hessian-free optimization*): `⌈sparsity · length⌉` of them. `sparsity` is in `[0, 1]`,
    /// `std ≥ 0`; PyTorch counts by column. In a SPEC, `sparse` with `sparsity`, `std` (0.01) and `by`
    /// (`column` or `row`).
    ///
    /// ```
    /// use wick_init::{Initializer, SparseBy};
    ///
    /// let std = Initializer::sparse(0.75, 0.5, SparseBy::Row).std(&[30, 100])?;
    /// assert_eq!(std, Some(0.25));
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    pub fn sparse(sparsity: f64, std: f64, by: SparseBy) -> Self {
        Self::Structured(Structured::new(Sparse { sparsity, std, by }))
    }
}

impl fmt::Display for Sparse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sparsity, std, by } = self;
        write!(f, "sparse:sparsity={sparsity},std={std},by={}", word(&SparseBy::WORDS, by))
    }
}

impl Structure for Sparse {
    fn check_parameters(&self, _shape: &[usize], _layout: WeightLayout) -> Result<(), Error> {
        check("sparsity", self.sparsity, (0.0..=1.0).contains(&self.sparsity), "in [0, 1]")?;
        check("std", self.std, self.std >= 0.0, "finite and not negative").map(drop)
    }

    fn fits(&self, shape: &[usize]) -> bool {
        shape.len() == 2
    }

    fn needs(&self) -> &'static str {
        "two dimensions [out, in]"
    }

    fn variance(&self, shape: &[usize]) -> Option<f64> {
        let length = if self.by == SparseBy::Column { shape[0] } else { shape[1] } as f64;
        Some((1.0 - (self.sparsity * length).ceil() / length.max(1.0)) * self.std * self.std)
    }

    fn weight_law(&self, shape: &[usize]) -> Option<WeightLaw> {
        self.variance(shape).map(|variance| WeightLaw { variance, orthogonal: false })
    }

    fn fill(
        &self,
        source: &mut RngSource,
        shape: &[usize],
        _layout: WeightLayout,
        dtype: DType,
    ) -> Result<Values, Error> {
        let (out, inputs) = (shape[0], shape[1]);
        let law = Law::Normal { mean: 0.0, std: self.std };
        let mut weight = source.draw_checked(law, out * inputs, dtype)?.into_f64();
        let (lines, length) = match self.by {
            SparseBy::Column => (inputs, out),
            SparseBy::Row => (out, inputs),
        };
        let zeros = (self.sparsity * length as f64).ceil() as usize;
        let mut key_rng = None;
        for line in 0..lines {
            for place in source.permutation(&mut key_rng, length).into_iter().take(zeros) {
                match self.by {
                    SparseBy::Column => weight[place * inputs + line] = 0.0,
                    SparseBy::Row => weight[line * inputs + place] = 0.0,
                }
            }
        }
        Ok(Values::F64(weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structures::tests::filled;
    use crate::structures::transpose::transposed;

    #[test]
    fn zeros_are_counted_in_columns_or_rows() {
        for (by, shape) in [(SparseBy::Column, [10, 7]), (SparseBy::Row, [7, 10])] {
            let matrix = filled(&Initializer::sparse(0.31, 0.5, by), &shape);
            let lines = if by == SparseBy::Row { matrix } else { transposed(&matrix, 10, 7, |x: f64| x) };
            let zeros: Vec<usize> =
                lines.chunks(10).map(|l| l.iter().filter(|x| **x == 0.0).count()).collect();
            assert_eq!(zeros, [4; 7]); // ⌈3.1⌉
            let places = |line: usize| (0..10).filter(|i| lines[line * 10 + i] == 0.0).collect::<Vec<_>>();
            assert!((1..7).any(|line| places(line) != places(0)), "each line has its own zeros");
        }
    }
}
