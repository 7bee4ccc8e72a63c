//! Transposed convolutions that interpolate.

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

pub(crate) const ROW: Row = ("bilinear", |_| Ok(Initializer::bilinear()));

#[derive(Debug)]
struct Bilinear;

impl Initializer {
    /// A transposed convolution `[channels, channels/groups, kernel…]` that interpolates linearly (Long et
    /// al. 2015, arXiv 1411.4038, section 3.3), each channel by itself; `channels` is a multiple of
    /// `channels/groups`. In a SPEC, `bilinear`.
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use wick_init::{Initializer, KeyedV1};
    ///
    /// let key = KeyedV1::new(42).key("weight");
    /// let weight = Initializer::bilinear().tensor(key, (1, 1, 4), DType::F32, &Device::Cpu)?;
    /// assert_eq!(weight.to_vec3::<f32>()?, [[[0.25, 0.75, 0.75, 0.25]]]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bilinear() -> Self {
        Self::Structured(Structured::new(Bilinear))
    }
}

impl fmt::Display for Bilinear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bilinear")
    }
}

impl Structure for Bilinear {
    fn fits(&self, shape: &[usize]) -> bool {
        is_convolution(shape) && shape[0].checked_rem(shape[1]).unwrap_or(0) == 0
    }

    fn needs(&self) -> &'static str {
        "a convolution [channels, channels/groups, kernel…] of 1 to 3 dimensions"
    }

    fn fill(
        &self,
        _source: &mut RngSource,
        shape: &[usize],
        _layout: WeightLayout,
        _dtype: DType,
    ) -> Result<Values, Error> {
        let (channels, inputs) = (shape[0], shape[1]);
        let tent = tents(&shape[2..]);
        let mut weight = vec![0.0; channels * inputs * tent.len()];
        for channel in 0..channels {
            // With all channels in one group, each is connected to itself; with a group for each, to its only
            // input.
            let start = (channel * inputs + channel % inputs) * tent.len();
            weight[start..start + tent.len()].copy_from_slice(&tent);
        }
        Ok(Values::F64(weight))
    }
}

/// The product of a tent in each direction: `1 - |i - c|/f`, `f = ⌈side/2⌉`, around the kernel's middle
/// `c = (side - 1)/2`.
fn tents(kernel: &[usize]) -> Vec<f64> {
    let tent = |side: usize, i: usize| {
        let (f, c) = (side.div_ceil(2) as f64, 0.5 * (side as f64 - 1.0));
        1.0 - (i as f64 - c).abs() / f
    };
    kernel.iter().fold(vec![1.0], |so_far, &side| {
        so_far.iter().flat_map(|outer| (0..side).map(move |i| outer * tent(side, i))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structures::tests::filled;

    #[test]
    fn bilinear_kernels_interpolate() {
        // The kernel of a factor of two: Long et al.'s 4×4.
        let weight = filled(&Initializer::bilinear(), &[2, 2, 4, 4]);
        let side = [0.25, 0.75, 0.75, 0.25];
        let kernel: Vec<f64> = side.iter().flat_map(|a| side.map(|b| a * b)).collect();
        assert_eq!(weight[..16], kernel);
        assert_eq!(weight[48..], kernel);
        assert!(weight[16..48].iter().all(|x| *x == 0.0));
        assert_eq!(filled(&Initializer::bilinear(), &[1, 1, 3]), [0.5, 1.0, 0.5]);
        assert_eq!(
            filled(&Initializer::bilinear(), &[3, 1, 3])[6..],
            [0.5, 1.0, 0.5],
            "a group for each channel"
        );
    }
}
