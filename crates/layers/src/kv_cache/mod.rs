//! Caches of keys and values that gradients pass.
//!
//! candle's `KvCache` writes what is appended into a tensor of zeros, outside the graph: keys and values that have been
//! through it have no gradient. Here they keep their gradient if they have one: each append is then a concatenation,
//! and the graph holds all earlier ones, which takes memory quadratic in the number of appends. Keys and values of a
//! model whose weights are variables (of a `VarMap` or an `InitMap`) always have one. To generate with such a model, take
//! [`KvCache::without_gradients`]: what is appended leaves the graph and is written in place, as candle does. Keys and
//! values without a gradient are written in place by every cache.

use std::sync::Arc;

use candle_core::{Result, Tensor};

pub use candle_nn::kv_cache::ConcatKvCache;

/// A tensor that grows along a dimension, as [`candle_nn::kv_cache::Cache`].
#[derive(Debug, Clone)]
pub struct Cache {
    /// What is there, with zeros behind it if it was written in place.
    all_data: Option<Tensor>,
    /// Each clone has one: what several refer to is not written in place.
    owners: Arc<()>,
    dim: usize,
    current_seq_len: usize,
    grow_by: usize,
    max_seq_len: usize,
    /// Whether what is appended stays in the graph.
    passes_gradients: bool,
}

impl Cache {
    /// A cache without anything in it, that has room for `max_seq_len` along `dim` and grows by as much.
    pub fn new(dim: usize, max_seq_len: usize) -> Self {
        let owners = Arc::default();
        let (current_seq_len, grow_by, passes_gradients) = (0, max_seq_len, true);
        Self { all_data: None, owners, dim, current_seq_len, grow_by, max_seq_len, passes_gradients }
    }

    /// The same cache without gradients: what is there and what is appended leaves the graph, and is written in place.
    pub fn without_gradients(self) -> Self {
        let all_data = self.all_data.map(|data| data.detach());
        Self { all_data, passes_gradients: false, ..self }
    }

    /// The dimension along which it grows.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The length of what is there.
    pub fn current_seq_len(&self) -> usize {
        self.current_seq_len
    }

    /// The length that there is room for.
    pub fn max_seq_len(&self) -> usize {
        self.max_seq_len
    }

    /// What is there, with the room behind it, if any.
    pub fn all_data(&self) -> &Option<Tensor> {
        &self.all_data
    }

    /// What is there.
    ///
    /// # Errors
    /// Candle's.
    pub fn current_data(&self) -> Result<Option<Tensor>> {
        self.all_data.as_ref().map(|data| data.narrow(self.dim, 0, self.current_seq_len)).transpose()
    }

    /// Empties the cache. Tensors that it has returned stay as they are.
    pub fn reset(&mut self) {
        (self.current_seq_len, self.all_data) = (0, None);
    }

    /// Appends a tensor, whose other dimensions are those of what is there.
    ///
    /// # Errors
    /// If the shapes do not fit together.
    pub fn append(&mut self, src: &Tensor) -> Result<()> {
        let length = self.current_seq_len + src.dim(self.dim)?;
        if !self.passes_gradients {
            self.write(&src.detach(), length)?;
        } else if src.track_op() || self.all_data.as_ref().is_some_and(Tensor::track_op) {
            self.all_data = Some(match self.current_data()? {
                Some(data) => Tensor::cat(&[&data, src], self.dim)?,
                None => src.clone(),
            });
        } else {
            self.write(src, length)?;
        }
        self.max_seq_len = self.room(length);
        self.current_seq_len = length;
        Ok(())
    }

    /// The room for a length: as it is, or more by whole steps.
    fn room(&self, length: usize) -> usize {
        let missing = length.saturating_sub(self.max_seq_len);
        self.max_seq_len + missing.div_ceil(self.grow_by.max(1)) * self.grow_by.max(1)
    }

    /// Writes a tensor behind what is there, in place if there is room that belongs to this cache alone.
    fn write(&mut self, src: &Tensor, length: usize) -> Result<()> {
        let own = Arc::get_mut(&mut self.owners).is_some();
        let data = match &self.all_data {
            Some(data) if own && data.dim(self.dim)? >= length => data.clone(),
            old => {
                let mut shape = src.dims().to_vec();
                shape[self.dim] = self.room(length);
                let new = Tensor::zeros(shape, src.dtype(), src.device())?;
                if let Some(old) = old {
                    let old = old.narrow(self.dim, 0, self.current_seq_len)?;
                    new.slice_set(&old.contiguous()?, self.dim, 0)?;
                }
                self.owners = Arc::default();
                new
            }
        };
        data.slice_set(&src.contiguous()?, self.dim, self.current_seq_len)?;
        self.all_data = Some(data);
        Ok(())
    }
}

/// The keys and the values of earlier positions, as [`candle_nn::kv_cache::KvCache`].
///
/// ```
/// use candle_core::{DType, Device, Tensor, Var};
/// use wick_layers::kv_cache::KvCache;
///
/// let mut cache = KvCache::new(2, 16); // positions are dimension 2 of [batch, heads, positions, width]
/// let k = Var::ones((1, 1, 3, 4), DType::F32, &Device::Cpu)?;
/// cache.append(&k, &k)?;
/// let (keys, _) = cache.append(&k, &k)?;
/// assert_eq!(keys.dims(), [1, 1, 6, 4]);
/// let gradient = keys.sum_all()?.backward()?.get(&k).map(|g| g.max_all()?.to_scalar::<f32>()).transpose()?;
/// assert_eq!(gradient, Some(2.0)); // of both times
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct KvCache {
    k: Cache,
    v: Cache,
}

impl KvCache {
    /// A cache without anything in it, that has room for `max_seq_len` along `dim` and grows by as much.
    pub fn new(dim: usize, max_seq_len: usize) -> Self {
        Self { k: Cache::new(dim, max_seq_len), v: Cache::new(dim, max_seq_len) }
    }

    /// The same cache without gradients, for generation with a model whose weights are variables: keys and values leave
    /// the graph and are written in place. With gradients, each append would keep all earlier concatenations.
    ///
    /// ```
    /// use candle_core::{DType, Device, Var};
    /// use wick_layers::kv_cache::KvCache;
    ///
    /// let mut cache = KvCache::new(2, 16).without_gradients();
    /// let k = Var::ones((1, 1, 3, 4), DType::F32, &Device::Cpu)?;
    /// let (keys, _) = cache.append(&k, &k)?;
    /// assert!(!keys.track_op());
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn without_gradients(self) -> Self {
        Self { k: self.k.without_gradients(), v: self.v.without_gradients() }
    }

    /// The cache of the keys.
    pub fn k_cache(&self) -> &Cache {
        &self.k
    }

    /// The cache of the values.
    pub fn v_cache(&self) -> &Cache {
        &self.v
    }

    /// The cache of the keys, to change.
    pub fn k_cache_mut(&mut self) -> &mut Cache {
        &mut self.k
    }

    /// The cache of the values, to change.
    pub fn v_cache_mut(&mut self) -> &mut Cache {
        &mut self.v
    }

    /// The keys that are there.
    ///
    /// # Errors
    /// Candle's.
    pub fn k(&self) -> Result<Option<Tensor>> {
        self.k.current_data()
    }

    /// The values that are there.
    ///
    /// # Errors
    /// Candle's.
    pub fn v(&self) -> Result<Option<Tensor>> {
        self.v.current_data()
    }

    /// Appends keys and values, and returns all that are there.
    ///
    /// # Errors
    /// If the shapes do not fit together.
    pub fn append(&mut self, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        self.k.append(k)?;
        self.v.append(v)?;
        // Something is there after an append.
        Ok((self.k()?.unwrap_or_else(|| k.clone()), self.v()?.unwrap_or_else(|| v.clone())))
    }

    /// The length of what is there.
    pub fn current_seq_len(&self) -> usize {
        self.k.current_seq_len()
    }

    /// Empties both caches.
    pub fn reset(&mut self) {
        self.k.reset();
        self.v.reset();
    }
}

#[cfg(test)]
mod tests;
