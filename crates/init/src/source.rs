//! Where the numbers come from: a key, PyTorch's generator, or any generator of `rand`'s.

use candle_core::{DType, Device, Shape, Tensor};
use half::{bf16, f16};
use rand::Rng;
use rayon::prelude::*;

use crate::distribution::largest;
use crate::stream::fill::{self, Truncated};
use crate::torch::TorchRng;
use crate::{Distribution, Error, Key, KeyRng};

/// Where the numbers of a tensor come from.
///
/// ```
/// use candle_core::{DType, Device};
/// use wick_init::{Initializer, KeyedV1, Source};
///
/// let mut rng = KeyedV1::new(7).key("anything").rng(); // or any other generator that implements rand's Rng
/// let source = Source::Rand(&mut rng);
/// let weight = Initializer::kaiming_normal().tensor(source, (3, 5), DType::F32, &Device::Cpu)?;
/// assert_eq!(weight.dims(), [3, 5]);
/// # Ok::<(), wick_init::Error>(())
/// ```
#[allow(missing_debug_implementations)] // A generator need not have one.
pub enum Source<'a> {
    /// A keyed stream: element `i` depends on the key and `i` alone.
    Keyed(Key),
    /// PyTorch's CPU generator: the next numbers that `torch` would draw.
    Torch(&'a mut TorchRng),
    /// Any generator of `rand`'s: the next numbers that it gives.
    Rand(&'a mut dyn Rng),
}

impl From<Key> for Source<'_> {
    fn from(key: Key) -> Self {
        Self::Keyed(key)
    }
}

impl<'a> From<&'a mut TorchRng> for Source<'a> {
    fn from(rng: &'a mut TorchRng) -> Self {
        Self::Torch(rng)
    }
}

/// Elements before they are rounded to the tensor's type.
pub(crate) enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Values {
    /// An error if an element is beyond the largest number of a type.
    pub(crate) fn check_type(&self, dtype: DType) -> Result<(), Error> {
        let largest = largest(dtype);
        let beyond = |x: &f64| x.abs() > largest;
        let found = match self {
            Self::F32(values) => values.iter().map(|x| f64::from(*x)).find(beyond),
            Self::F64(values) => values.iter().copied().find(beyond),
        };
        found.map_or(Ok(()), |value| Err(Error::Overflow { value, dtype }))
    }

    /// The elements in `f64`.
    pub(crate) fn into_f64(self) -> Vec<f64> {
        match self {
            Self::F32(values) => values.into_iter().map(f64::from).collect(),
            Self::F64(values) => values,
        }
    }
}

impl Source<'_> {
    /// Draws `count` elements for a tensor of this type: `f64` in `f64`, all others in `f32`.
    pub(crate) fn draw(&mut self, distribution: Distribution, count: usize, dtype: DType) -> Values {
        match (self, dtype) {
            (Self::Keyed(key), DType::F64) => Values::F64(fill::draw_f64(*key, distribution, count)),
            (Self::Keyed(key), _) => Values::F32(fill::draw_f32(*key, distribution, count)),
            (Self::Torch(rng), _) => rng.draw(distribution, count, dtype),
            (Self::Rand(rng), DType::F64) => Values::F64(rand_f64(*rng, distribution, count)),
            (Self::Rand(rng), _) => Values::F32(rand_f32(*rng, distribution, count)),
        }
    }

    /// As [`draw`](Self::draw), of a distribution that has not been checked against the type and the source.
    pub(crate) fn draw_checked(
        &mut self,
        distribution: Distribution,
        count: usize,
        dtype: DType,
    ) -> Result<Values, Error> {
        distribution.check_type(dtype)?;
        self.check(distribution, dtype)?;
        Ok(self.draw(distribution, count, dtype))
    }

    /// The same as a tensor on a GPU, drawn there; `None` where only a CPU can.
    #[cfg(feature = "cuda")]
    pub(crate) fn draw_there(
        &self,
        distribution: Distribution,
        shape: &Shape,
        dtype: DType,
        device: &Device,
    ) -> Result<Option<Tensor>, Error> {
        let Self::Keyed(key) = self else { return Ok(None) };
        distribution.check_type(dtype)?;
        Ok(crate::stream::cuda::draw(*key, distribution, shape, dtype, device)?)
    }

    /// An error for what the source cannot draw in reasonable time.
    fn check(&self, distribution: Distribution, dtype: DType) -> Result<(), Error> {
        match self {
            Self::Torch(_) => distribution.check_torch(dtype),
            _ => Ok(()),
        }
    }

    /// A random order of `0..count`: PyTorch's `randperm`, or a Fisher-Yates shuffle.
    pub(crate) fn permutation(&mut self, choices: &mut Option<KeyRng>, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for place in 0..count.saturating_sub(1) {
            let left = count - place;
            let step = match self {
                Self::Keyed(key) => below(choices.get_or_insert_with(|| key.rng()), left),
                Self::Torch(rng) => rng.word() as usize % left,
                Self::Rand(rng) => below(*rng, left),
            };
            order.swap(place, place + step);
        }
        order
    }
}

/// An evenly chosen number below `count`, which a tensor's side keeps below 2³² or so: by multiplication with 64
/// bits the bias is below 2⁻³².
fn below<R: Rng + ?Sized>(rng: &mut R, count: usize) -> usize {
    ((u128::from(rng.next_u64()) * count as u128) >> 64) as usize
}

fn rand_f32(rng: &mut dyn Rng, distribution: Distribution, count: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(count + 1);
    let truncated = Truncated::new(distribution);
    while values.len() < count {
        match distribution {
            Distribution::Constant(value) => values.push(value as f32),
            Distribution::Normal { mean, std } => {
                let (a, b) = fill::normal_pair_f32(rng.next_u32(), rng.next_u32());
                values.extend([a, b].map(|z| mean as f32 + std as f32 * z));
            }
            Distribution::Uniform { low, high } => values.push(fill::uniform_f32(low, high, rng.next_u32())),
            Distribution::TruncatedNormal { .. } => values.push(truncated.at_f32(rng.next_u32())),
        }
    }
    values.truncate(count);
    values
}

fn rand_f64(rng: &mut dyn Rng, distribution: Distribution, count: usize) -> Vec<f64> {
    let mut values = Vec::with_capacity(count + 1);
    let truncated = Truncated::new(distribution);
    while values.len() < count {
        match distribution {
            Distribution::Constant(value) => values.push(value),
            Distribution::Normal { mean, std } => {
                let (a, b) = fill::normal_pair_f64(rng.next_u64(), rng.next_u64());
                values.extend([a, b].map(|z| mean + std * z));
            }
            Distribution::Uniform { low, high } => values.push(fill::uniform_f64(low, high, rng.next_u64())),
            Distribution::TruncatedNormal { .. } => values.push(truncated.at_f64(rng.next_u64())),
        }
    }
    values.truncate(count);
    values
}

/// Rounds the elements to the type, once, and puts them on the device.
pub(crate) fn to_tensor(
    values: Values,
    shape: Shape,
    dtype: DType,
    device: &Device,
) -> Result<Tensor, Error> {
    fn rounded<T: Send, U: Send>(values: Vec<T>, round: impl Fn(T) -> U + Sync + Send) -> Vec<U> {
        values.into_par_iter().map(round).collect()
    }
    use Values::{F32, F64};
    Ok(match (dtype, values) {
        (DType::F64, F64(values)) => Tensor::from_vec(values, shape, device)?,
        (DType::F64, F32(values)) => Tensor::from_vec(rounded(values, f64::from), shape, device)?,
        (DType::F32, F32(values)) => Tensor::from_vec(values, shape, device)?,
        (DType::F32, F64(values)) => Tensor::from_vec(rounded(values, |x| x as f32), shape, device)?,
        (DType::BF16, F32(values)) => Tensor::from_vec(rounded(values, bf16::from_f32), shape, device)?,
        (DType::BF16, F64(values)) => Tensor::from_vec(rounded(values, bf16::from_f64), shape, device)?,
        (DType::F16, F32(values)) => Tensor::from_vec(rounded(values, f16::from_f32), shape, device)?,
        (DType::F16, F64(values)) => Tensor::from_vec(rounded(values, f16::from_f64), shape, device)?,
        (other, _) => return Err(Error::Type(other)),
    })
}
