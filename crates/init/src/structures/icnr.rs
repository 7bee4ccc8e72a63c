//! Convolutions in front of a pixel shuffle.

use std::fmt;

use candle_core::DType;

use super::convolution::is_convolution;
use super::structure::{Structure, Structured};
use crate::error::Error;
use crate::initializer::Initializer;
use crate::initializer::parameters::Row;
use crate::layout::WeightLayout;
use crate::rng::RngSource;
use crate::rng::values::Values;

pub(crate) const ROW: Row = ("icnr", |p| {
    let factor = p.count("factor")?.ok_or_else(|| p.error("it takes factor=, a whole number"))?;
    // The parameters that are left are those of the base.
    let base = p.initializer("base")?.unwrap_or_else(Initializer::kaiming_normal);
    Ok(Initializer::icnr(factor, base))
});

#[derive(Debug)]
struct Icnr {
    factor: usize,
    base: Initializer,
}

impl Initializer {
    /// A convolution in front of a pixel shuffle: the `factor²` (in 2-d) output channels of each set, which
    /// become the pixels of one channel, start equal (Aitken et al. 2017, arXiv 1707.02937), so that the
    /// shuffle makes no checkerboard pattern. `factor` is that by which the shuffle enlarges each side; one
    /// channel of each set is drawn from `base`. In a SPEC, `icnr` with `factor`, `base` (`kaiming_normal`)
    /// and the base's parameters.
    ///
    /// ```
    /// use wick_init::Initializer;
    ///
    /// let spec = "icnr:factor=2,base=normal,std=0.02";
    /// assert_eq!(spec.parse::<Initializer>()?, Initializer::icnr(2, Initializer::normal(0.02)));
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    pub fn icnr(factor: usize, base: Self) -> Self {
        Self::Structured(Structured::new(Icnr { factor, base }))
    }
}

impl fmt::Display for Icnr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = self.base.to_string().replacen(':', ",", 1);
        write!(f, "icnr:factor={},base={base}", self.factor)
    }
}

impl Icnr {
    /// The number of channels that a pixel shuffle joins to one: `factor` in each direction.
    fn copies(&self, shape: &[usize]) -> Option<usize> {
        self.factor.checked_pow(shape.len() as u32 - 2).filter(|copies| *copies > 0)
    }

    /// The shape of one channel of each set; the shape must fit.
    fn one_of_each(&self, shape: &[usize]) -> Vec<usize> {
        let mut one = shape.to_vec();
        one[0] /= self.copies(shape).unwrap_or(1);
        one
    }
}

impl Structure for Icnr {
    fn check_parameters(&self, shape: &[usize], layout: WeightLayout) -> Result<(), Error> {
        if matches!(&self.base, Initializer::Structured(base) if base.name() == "icnr") {
            let needs = "a base that draws one of each set, which an icnr is not";
            return Err(Error::Shape { shape: shape.to_vec(), initializer: "icnr".into(), needs });
        }
        if self.fits(shape) {
            self.base.check(&self.one_of_each(shape), layout)
        } else {
            // The base has no shape of its own, but wrong parameters can be seen without one.
            self.base.plan(shape, layout).map(drop)
        }
    }

    fn fits(&self, shape: &[usize]) -> bool {
        is_convolution(shape) && self.copies(shape).is_some_and(|copies| shape[0].is_multiple_of(copies))
    }

    fn needs(&self) -> &'static str {
        "a convolution [out, in, kernel…] whose out is a multiple of factor^dims"
    }

    fn fill(
        &self,
        source: &mut RngSource,
        shape: &[usize],
        layout: WeightLayout,
        dtype: DType,
    ) -> Result<Values, Error> {
        let one = self.one_of_each(shape);
        let drawn = self.base.values(source, &one, layout, dtype)?.into_f64();
        let (row, copies) = (shape[1..].iter().product::<usize>(), shape[0] / one[0]);
        let rows = (0..shape[0]).map(|o| &drawn[o / copies * row..][..row]);
        Ok(Values::F64(rows.flatten().copied().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structures::tests::filled;

    #[test]
    fn icnr_repeats_each_channel() {
        let base = Initializer::kaiming_normal();
        let weight = filled(&Initializer::icnr(2, base.clone()), &[8, 3, 3, 3]);
        let rows: Vec<&[f64]> = weight.chunks(27).collect();
        assert!(rows[..4].iter().all(|row| *row == rows[0]) && rows[4..].iter().all(|row| *row == rows[4]));
        assert_ne!(rows[0], rows[4]);
        assert_eq!([rows[0], rows[4]].concat(), filled(&base, &[2, 3, 3, 3]));
    }
}
