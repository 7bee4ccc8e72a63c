//! What a model asks for, without the memory of it.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use wick_init::InitMap;

/// Names and shapes in the order in which a model asks for them.
pub(crate) type Wanted = Vec<(String, Vec<usize>)>;

/// A backend of a `VarBuilder` that gives zeros, all of which are one number in memory.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    wanted: Arc<Mutex<Wanted>>,
    /// Says which tensors there are files for.
    map: InitMap,
}

impl Recorder {
    pub(crate) fn new(map: &InitMap) -> Self {
        Self { wanted: Arc::default(), map: map.clone() }
    }

    pub(crate) fn var_builder(&self, dtype: DType, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), dtype, device.clone())
    }

    pub(crate) fn wanted(&self) -> Wanted {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl SimpleBackend for Recorder {
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if !wanted.iter().any(|(known, _)| known == name) {
            wanted.push((name.to_owned(), shape.dims().to_vec()));
        }
        Tensor::zeros((), dtype, device)?.broadcast_as(shape)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        self.map.get_unchecked(name, dtype, device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.map.contains_tensor(name)
    }
}
