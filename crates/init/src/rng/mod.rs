//! Where random numbers come from: a keyed stream, PyTorch's generator, JAX's keys, or any generator of `rand`'s.

mod any;
pub(crate) mod jax;
pub(crate) mod keyed;
pub(crate) mod law;
pub(crate) mod torch;
pub(crate) mod values;

use std::ops::DerefMut;

use candle_core::{DType, Device, Shape, Tensor};
use half::{bf16, f16};
use rand::Rng;

use crate::error::Error;
use jax::JaxKey;
use keyed::{Key, KeyRng, KeyedV1, fill};
use law::Law;
use torch::TorchRng;
use values::{Kind, Values};

/// The source of the random numbers of a tensor, or of all tensors of an [`InitMap`](crate::InitMap).
///
/// [`Initializer::tensor`](crate::Initializer::tensor) takes a [`Key`], a [`JaxKey`] or a `&mut TorchRng` as it is;
/// any other generator is wrapped by [`RngSource::from_rng`].
///
/// ```
/// use candle_core::{DType, Device};
/// use wick_init::{Initializer, KeyedV1, RngSource};
///
/// let mut rng = KeyedV1::new(7).key("anything").rng(); // or any other generator that implements rand's Rng
/// let source = RngSource::from_rng(&mut rng);
/// let weight = Initializer::kaiming_normal().tensor(source, (3, 5), DType::F32, &Device::Cpu)?;
/// assert_eq!(weight.dims(), [3, 5]);
/// # Ok::<(), wick_init::Error>(())
/// ```
#[non_exhaustive]
pub enum RngSource<'a> {
    /// A keyed stream: element `i` depends on the key and `i` alone.
    Keyed(Key),
    /// PyTorch's CPU generator: the next numbers that `torch` would draw.
    Torch(Box<dyn DerefMut<Target = TorchRng> + Send + 'a>),
    /// A key of JAX's: element `i` depends on the key and `i` alone.
    Jax(JaxKey),
    /// Any generator of `rand`'s: its next numbers.
    Rand(Box<dyn Rng + Send + 'a>),
}

/// Writes the stream and its seed: `keyed_v1, seed 42`, `torch, seed 42`, `jax, seed 42` or `rand`.
impl std::fmt::Display for RngSource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Keyed(key) => write!(f, "keyed_v1, seed {}", key.seed()),
            Self::Torch(rng) => write!(f, "torch, seed {}", rng.initial_seed()),
            Self::Jax(key) => write!(f, "jax, {key}"),
            Self::Rand(_) => f.write_str("rand"),
        }
    }
}

/// A generator of `rand`'s need not implement `Debug`, so this writes the same text as `Display`.
impl std::fmt::Debug for RngSource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl From<Key> for RngSource<'_> {
    fn from(key: Key) -> Self {
        Self::Keyed(key)
    }
}

impl From<JaxKey> for RngSource<'_> {
    fn from(key: JaxKey) -> Self {
        Self::Jax(key)
    }
}

impl<'a> From<&'a mut TorchRng> for RngSource<'a> {
    fn from(rng: &'a mut TorchRng) -> Self {
        Self::Torch(Box::new(rng))
    }
}

impl<'a> RngSource<'a> {
    /// Draws from a generator of `rand`'s, owned or borrowed.
    pub fn from_rng(rng: impl Rng + Send + 'a) -> Self {
        Self::Rand(Box::new(rng))
    }

    /// The keyed streams of a seed. A tensor draws from [`key_of`](Self::key_of) its name.
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self::Keyed(KeyedV1::new(seed).key(""))
    }

    /// PyTorch's generator after `torch.manual_seed(seed)`.
    pub(crate) fn from_torch_seed(seed: u64) -> Self {
        Self::Torch(Box::new(Box::new(TorchRng::new(seed))))
    }

    /// The same source at its beginning: PyTorch's generator starts from its seed, and a keyed stream has no
    /// state. `None` for a generator of `rand`'s, which cannot be copied.
    pub(crate) fn restarted(&self) -> Option<RngSource<'static>> {
        match self {
            Self::Keyed(key) => Some(RngSource::Keyed(*key)),
            Self::Torch(rng) => Some(RngSource::from_torch_seed(rng.initial_seed())),
            Self::Jax(key) => Some(RngSource::Jax(*key)),
            Self::Rand(_) => None,
        }
    }

    /// The key of the tensor of this name; `None` if this is not a keyed stream.
    pub(crate) fn key_of(&self, name: &str) -> Option<Key> {
        match self {
            Self::Keyed(key) => Some(KeyedV1::new(key.seed()).key(name)),
            _ => None,
        }
    }

    /// The source of the tensor of this name, if that does not depend on the tensors before it; `None` for a
    /// generator that goes on from tensor to tensor.
    pub(crate) fn of_tensor(&self, name: &str) -> Result<Option<RngSource<'static>>, Error> {
        Ok(match self {
            Self::Keyed(_) => self.key_of(name).map(RngSource::Keyed),
            Self::Jax(key) => Some(RngSource::Jax(key.of_name(name)?)),
            Self::Torch(_) | Self::Rand(_) => None,
        })
    }

    /// Whether each tensor has a key of its own, so that tensors can be drawn in any order.
    pub(crate) fn has_keys(&self) -> bool {
        matches!(self, Self::Keyed(_) | Self::Jax(_))
    }

    /// Borrows the source for one tensor.
    pub(crate) fn by_ref(&mut self) -> RngSource<'_> {
        match self {
            Self::Keyed(key) => RngSource::Keyed(*key),
            Self::Torch(rng) => RngSource::from(&mut ***rng),
            Self::Jax(key) => RngSource::Jax(*key),
            Self::Rand(rng) => RngSource::from_rng(&mut **rng),
        }
    }

    /// PyTorch's generator in its present state; `None` if this is another one.
    pub(crate) fn torch_state(&self) -> Option<TorchRng> {
        match self {
            Self::Torch(rng) => Some(TorchRng::clone(rng)),
            _ => None,
        }
    }

    /// Whether this is PyTorch's generator.
    pub(crate) fn is_torch(&self) -> bool {
        matches!(self, Self::Torch(_))
    }

    /// The key, if this is one of JAX's.
    pub(crate) fn jax_key(&self) -> Option<JaxKey> {
        match self {
            Self::Jax(key) => Some(*key),
            _ => None,
        }
    }

    /// Draws `count` elements for a tensor of this type: `f64` in `f64`, all other types in `f32`.
    pub(crate) fn draw(&mut self, law: Law, count: usize, dtype: DType) -> Values {
        match (self, dtype) {
            (Self::Keyed(key), DType::F64) => Values::F64(fill::draw(*key, law, count)),
            (Self::Keyed(key), _) => Values::F32(fill::draw(*key, law, count)),
            (Self::Torch(rng), _) => rng.draw(law, count, dtype),
            (Self::Jax(key), _) => Values::F32(key.draw(law, None, count)),
            (Self::Rand(rng), DType::F64) => Values::F64(any::draw_f64(&mut **rng, law, count)),
            (Self::Rand(rng), _) => Values::F32(any::draw_f32(&mut **rng, law, count)),
        }
    }

    /// As [`draw`](Self::draw), for a law that has not been checked against the type and the source.
    pub(crate) fn draw_checked(&mut self, law: Law, count: usize, dtype: DType) -> Result<Values, Error> {
        law.check_type(dtype)?;
        if self.is_torch() {
            torch::truncated::check(law, dtype)?;
        }
        Ok(self.draw(law, count, dtype))
    }

    /// Draws a tensor whose elements are independent. Those of a keyed stream are rounded as they are drawn, so
    /// that no wider copy exists.
    pub(crate) fn draw_tensor(
        &mut self,
        law: Law,
        shape: Shape,
        (dtype, device): (DType, &Device),
        kind: Kind,
    ) -> Result<Tensor, Error> {
        let count = shape.elem_count();
        match (&*self, dtype) {
            (Self::Keyed(key), DType::BF16 | DType::F16) => {
                law.check_type(dtype)?;
                Ok(match dtype {
                    DType::BF16 => kind.tensor(fill::draw::<bf16>(*key, law, count), shape, device)?,
                    _ => kind.tensor(fill::draw::<f16>(*key, law, count), shape, device)?,
                })
            }
            _ => self.draw_checked(law, count, dtype)?.into_tensor(shape, dtype, device, kind),
        }
    }

    /// Draws the tensor on its GPU; `None` where only the CPU can draw it.
    #[cfg(feature = "cuda")]
    pub(crate) fn draw_on_device(
        &self,
        law: Law,
        shape: &Shape,
        dtype: DType,
        device: &Device,
    ) -> Result<Option<Tensor>, Error> {
        let Self::Keyed(key) = self else { return Ok(None) };
        law.check_type(dtype)?;
        Ok(keyed::cuda::draw(*key, law, shape, dtype, device)?)
    }

    /// Draws a random order of `0..count`: PyTorch's `randperm`, or a Fisher-Yates shuffle. `key_rng` holds
    /// the generator of a keyed stream, or of one that a key of JAX's seeds, from one call to the next.
    pub(crate) fn permutation(&mut self, key_rng: &mut Option<KeyRng>, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for place in 0..count.saturating_sub(1) {
            let left = count - place;
            let step = match self {
                Self::Keyed(key) => below(key_rng.get_or_insert_with(|| key.rng()), left),
                Self::Jax(key) => {
                    let [high, low] = key.words().map(u64::from);
                    below(
                        key_rng.get_or_insert_with(|| KeyedV1::new(high << 32 | low).key("jax").rng()),
                        left,
                    )
                }
                Self::Torch(rng) => rng.word() as usize % left,
                Self::Rand(rng) => below(rng, left),
            };
            order.swap(place, place + step);
        }
        order
    }
}

/// Draws a uniform number below `count`, which is at most the side of a tensor (below 2³² or so), by
/// multiplication with 64 bits: the bias is below 2⁻³².
fn below<R: Rng + ?Sized>(rng: &mut R, count: usize) -> usize {
    ((u128::from(rng.next_u64()) * count as u128) >> 64) as usize
}
