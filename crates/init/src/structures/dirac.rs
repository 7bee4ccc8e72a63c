//! Convolutions that pass channels through.

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

pub(crate) const ROW: Row = ("dirac", |p| Ok(Initializer::dirac(p.count("groups")?.unwrap_or(1))));

#[derive(Debug)]
struct Dirac {
    groups: usize,
}

impl Initializer {
    /// A convolution `[out, in/groups, kernel…]` (1-d to 3-d) that passes through as many channels as it can,
    /// in each group: 1 at the kernel's centre where input and output channel are the same. `groups` is a
    /// divisor of `out`. The centre of a side `k` is `⌊k/2⌋`, PyTorch's choice; JAX's for even sides,
    /// `⌊(k-1)/2⌋`, is one less. In a SPEC, `dirac` with `groups` (1).
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use wick_init::{Initializer, KeyedV1};
    ///
    /// let key = KeyedV1::new(42).key("weight");
    /// let weight = Initializer::dirac(1).tensor(key, (1, 1, 3), DType::F32, &Device::Cpu)?;
    /// assert_eq!(weight.to_vec3::<f32>()?, [[[0.0, 1.0, 0.0]]]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn dirac(groups: usize) -> Self {
        Self::Structured(Structured::new(Dirac { groups }))
    }
}

impl fmt::Display for Dirac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dirac:groups={}", self.groups)
    }
}

impl Structure for Dirac {
    fn fits(&self, shape: &[usize]) -> bool {
        is_convolution(shape) && self.groups > 0 && shape[0].is_multiple_of(self.groups)
    }

    fn needs(&self) -> &'static str {
        "a convolution [out, in/groups, kernel…] of 1 to 3 dimensions whose out is a multiple of groups"
    }

    fn fill(
        &self,
        _source: &mut RngSource,
        shape: &[usize],
        _layout: WeightLayout,
        _dtype: DType,
    ) -> Result<Values, Error> {
        let (at, mut weight) = (centres(shape, Centre::Upper), vec![0.0; shape.iter().product()]);
        let per_group = shape[0] / self.groups;
        for group in 0..self.groups {
            for i in 0..per_group.min(shape[1]) {
                weight[at(group * per_group + i, i)] = 1.0;
            }
        }
        Ok(Values::F64(weight))
    }
}

#[cfg(test)]
mod tests {
    use crate::initializer::Initializer;
    use crate::structures::tests::filled;

    #[test]
    fn each_group_passes_its_channels_through() {
        // torch.nn.init.dirac_(torch.empty(4, 2, 3), groups=2)
        let dirac = filled(&Initializer::dirac(2), &[4, 2, 3]);
        let ones: Vec<usize> = dirac.iter().enumerate().filter(|(_, x)| **x != 0.0).map(|(i, _)| i).collect();
        assert_eq!(ones, [1, 10, 13, 22]);
    }
}
