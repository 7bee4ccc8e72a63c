//! JAX's random numbers, as its CPU backend draws them.

mod draw;
mod layout;
mod math;
mod sha1;
mod threefry;

use super::law::Law;
use crate::error::Error;
use crate::map::pattern::parts_of;
pub(crate) use layout::{inputs_first, to_plain};

/// A key of `jax.random`, of its default generator: threefry2x32 (Salmon et al. 2011), partitionable, as in JAX
/// since 0.5. It has the keys, bits and uniforms of JAX 0.10 to the bit, and in `f32` the normals and truncated
/// normals that JAX draws on an x86-64 CPU; other processors may round JAX's own in the last digit.
///
/// A key is given to [`Initializer::tensor`](crate::Initializer::tensor), which draws as
/// `jax.nn.initializers` does, with JAX's order of elements: a weight `[out, in, kernel…]` gets the numbers of JAX's
/// `[kernel…, in, out]`, with the axes moved. With
/// [`WeightLayout::InOut`](crate::WeightLayout::InOut) the weight has JAX's own order, and with
/// [`WeightLayout::Embedding`](crate::WeightLayout::Embedding) the axes stay, too. Numbers of `f64`, `bf16` and `f16`
/// are those of `f32`, converted, as by `astype` in JAX; JAX's own numbers in these types are others. Orthogonal
/// weights are JAX's up to the rounding of its decomposition.
///
/// ```
/// use candle_core::{DType, Device};
/// use wick_init::jax::{self, JaxKey};
///
/// // jax.nn.initializers.lecun_normal()(jax.random.key(0), (3, 2))
/// let kernel = jax::lecun_normal().tensor(JaxKey::new(0), (2, 3), DType::F32, &Device::Cpu)?.t()?;
/// let rounded: Vec<f32> =
///     kernel.flatten_all()?.to_vec1::<f32>()?.iter().map(|x| (1e4 * x).round() / 1e4).collect();
/// assert_eq!(rounded, [0.9556, 1.1255, -0.2709, -0.0492, 0.1103, -0.599]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JaxKey {
    words: [u32; 2],
}

impl JaxKey {
    /// `jax.random.key(seed)` and `jax.random.PRNGKey(seed)`. The low 32 bits of the seed count, as in JAX without
    /// `jax_enable_x64`, which is its default; a negative seed is that of its two's complement.
    ///
    /// ```
    /// use wick_init::jax::JaxKey;
    ///
    /// assert_eq!(JaxKey::new(42).words(), [0, 42]);
    /// assert_eq!(JaxKey::new((1 << 32) + 5), JaxKey::new(5));
    /// ```
    pub fn new(seed: u64) -> Self {
        Self { words: [0, seed as u32] }
    }

    /// `jax.random.key(seed)` with `jax_enable_x64`: all 64 bits of the seed count.
    ///
    /// ```
    /// assert_eq!(wick_init::jax::JaxKey::new_x64((1 << 32) + 5).words(), [1, 5]);
    /// ```
    pub fn new_x64(seed: u64) -> Self {
        Self { words: [(seed >> 32) as u32, seed as u32] }
    }

    /// `jax.random.wrap_key_data(words)`: a key of these words.
    pub fn from_words(words: [u32; 2]) -> Self {
        Self { words }
    }

    /// `jax.random.key_data(key)`: the words of the key.
    pub fn words(self) -> [u32; 2] {
        self.words
    }

    /// `jax.random.split(key, count)`.
    ///
    /// ```
    /// use wick_init::jax::JaxKey;
    ///
    /// let keys = JaxKey::new(0).split(2);
    /// assert_eq!(keys[0].words(), [1_797_259_609, 2_579_123_966]);
    /// assert_eq!(keys[1].words(), [928_981_903, 3_453_687_069]);
    /// ```
    pub fn split(self, count: usize) -> Vec<Self> {
        let numbered = |index: u64| threefry::block(self.words, [(index >> 32) as u32, index as u32]);
        (0..count as u64).map(|index| Self { words: numbered(index) }).collect()
    }

    /// `jax.random.fold_in(key, data)`.
    ///
    /// The key of a parameter of Flax's `nnx` is `key(seed)` with the number of parameters before it folded in:
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use wick_init::jax::{self, JaxKey};
    ///
    /// // nnx.Linear(6, 4, rngs=nnx.Rngs(5)): the kernel is parameter 0, the bias 1
    /// let kernel = jax::lecun_normal().tensor(JaxKey::new(5).fold_in(0), (4, 6), DType::F32, &Device::Cpu)?;
    /// assert_eq!(kernel.dims(), [4, 6]);
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    pub fn fold_in(self, data: u32) -> Self {
        Self { words: threefry::block(self.words, [0, data]) }
    }

    /// `jax.random.bits(key, (count,))`: 32 bits an element.
    pub fn bits(self, count: usize) -> Vec<u32> {
        (0..count as u64).map(|index| threefry::bits(self.words, index)).collect()
    }

    /// The key of a parameter in Flax's `linen`: of `Module.init(key, …)` with this key, `make_rng("params")` of the
    /// module at this path, called for the `number`-th time (from 1). It is
    /// `fold_in(key, first 32 bits of SHA-1(path ‖ number))`, with the parts of the path joined without a separator
    /// and the number in big-endian bytes without leading zeros (`_fold_in_static` in Flax's `core/scope.py`). A
    /// layer makes its kernel first and its bias second.
    ///
    /// ```
    /// use wick_init::jax::JaxKey;
    ///
    /// let bias = JaxKey::new(0).of_param(&["encoder", "Dense_0"], 2);
    /// assert_eq!(bias, JaxKey::new(0).of_param(&["encoderDense_0"], 2)); // as in Flax
    /// ```
    pub fn of_param(self, path: &[&str], number: u32) -> Self {
        let mut message = path.concat().into_bytes();
        message.extend(number.to_be_bytes().into_iter().skip_while(|byte| *byte == 0));
        self.fold_in(sha1::first_word(&message))
    }

    /// The key of a parameter in Flax's `linen` by its full name, as [`of_param`](Self::of_param): the last part
    /// tells its number, 1 for `kernel`, `weight`, `embedding` and `scale`, and 2 for `bias`. A first part `params`,
    /// the name of the collection, does not count.
    ///
    /// ```
    /// use wick_init::jax::JaxKey;
    ///
    /// let key = JaxKey::new(0);
    /// assert_eq!(key.of_name("params/Dense_0/bias")?, key.of_param(&["Dense_0"], 2));
    /// assert!(key.of_name("Dense_0.table").is_err());
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::JaxName`] for another last part, whose number is not known.
    pub fn of_name(self, name: &str) -> Result<Self, Error> {
        let parts: Vec<&str> = parts_of(name).collect();
        let (last, path) = parts.split_last().unwrap_or((&"", &[]));
        let number = match *last {
            "kernel" | "weight" | "embedding" | "scale" => 1,
            "bias" => 2,
            _ => return Err(Error::JaxName(name.to_owned())),
        };
        Ok(self.of_param(path.strip_prefix(&["params"]).unwrap_or(path), number))
    }

    /// Draws elements in JAX's order. `variance` is that of an initializer which is given by it.
    pub(crate) fn draw(self, law: Law, variance: Option<f64>, count: usize) -> Vec<f32> {
        draw::draw(self.words, law, variance, count)
    }
}

/// Writes the seed of a key that is made from 32 bits, and the words of any other.
impl std::fmt::Display for JaxKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.words {
            [0, seed] => write!(f, "seed {seed}"),
            words => write!(f, "key {words:?}"),
        }
    }
}
