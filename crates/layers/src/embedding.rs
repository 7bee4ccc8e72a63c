//! Embeddings.

use candle_core::{Module, Result, Tensor, bail};
use candle_nn::{Init, VarBuilder};

/// The rows of a table that ids name, as [`candle_nn::Embedding`]: ids `[…]` become `[…, hidden size]`. The gradient
/// of a row is summed in the order of the ids ([`wick_kernels::embedding`]).
///
/// ```
/// use candle_core::{Device, Module, Tensor};
/// use wick_layers::Embedding;
///
/// let layer = Embedding::new(Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?, 2);
/// let rows = layer.forward(&Tensor::new(&[1u32, 1], &Device::Cpu)?)?;
/// assert_eq!(rows.to_vec2::<f32>()?, [[3.0, 4.0], [3.0, 4.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Embedding {
    embeddings: Tensor,
    hidden_size: usize,
}

impl Embedding {
    /// A layer of a table `[rows, hidden size]`.
    pub fn new(embeddings: Tensor, hidden_size: usize) -> Self {
        Self { embeddings, hidden_size }
    }

    /// The table, `[rows, hidden size]`.
    pub fn embeddings(&self) -> &Tensor {
        &self.embeddings
    }

    /// The width of a row.
    pub fn hidden_size(&self) -> usize {
        self.hidden_size
    }
}

impl Module for Embedding {
    fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        if self.embeddings.dims().get(1).is_some_and(|width| *width != self.hidden_size) {
            bail!(
                "an embedding of hidden size {} has a table of {:?}",
                self.hidden_size,
                self.embeddings.dims()
            );
        }
        wick_kernels::embedding(&self.embeddings, ids)
    }
}

/// A layer of the variable `weight`, with candle's hint for its start, N(0, 1).
///
/// # Errors
/// If the variable is missing or has another shape.
pub fn embedding(in_size: usize, out_size: usize, vb: VarBuilder) -> Result<Embedding> {
    let hint = Init::Randn { mean: 0.0, stdev: 1.0 };
    let embeddings = vb.get_with_hints((in_size, out_size), "weight", hint)?;
    Ok(Embedding::new(embeddings, out_size))
}
