//! Dropout.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::{ModuleT, Result, Tensor};
pub use wick_kernels::MaskKey;

/// Dropout with a key: in training each number is 0 with probability `p`, else `x/(1 - p)`; in evaluation the layer is
/// the identity. The mask is a function of the key and of the number of the step, the same on every device; the backward
/// pass draws it again ([`wick_kernels::dropout`]).
///
/// Each forward pass of training takes the mask of the next step. For a run that can be resumed, save
/// [`step`](Self::step) and set it again, or set it at the beginning of each step: with `wick-train`'s trainer
/// `dropout.set_step(step.key())`, so that a step has the same masks whenever it is run. Clones count together. Layers
/// need keys of their own, lest their masks be the same.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use wick_layers::Dropout; // instead of candle_nn::Dropout
///
/// let dropout = Dropout::new(0.5, 42); // or KeyedV1::new(42).key("block.0.dropout")
/// let x = Tensor::ones(64, DType::F32, &Device::Cpu)?;
/// let first = dropout.forward(&x, true)?.to_vec1::<f32>()?;
/// assert!(first.iter().all(|y| [0.0, 2.0].contains(y)) && first.contains(&0.0));
/// assert_ne!(dropout.forward(&x, true)?.to_vec1::<f32>()?, first); // the next step
/// dropout.set_step(0);
/// assert_eq!(dropout.forward(&x, true)?.to_vec1::<f32>()?, first);
/// assert_eq!(dropout.forward(&x, false)?.to_vec1::<f32>()?, [1.0; 64]);
/// assert_eq!(dropout.step(), 1);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Dropout {
    drop_p: f32,
    key: MaskKey,
    step: Arc<AtomicU64>,
}

impl Dropout {
    /// A dropout of probability `drop_p`, in `[0, 1)`, at step 0. (candle's takes no key: its masks are the process's
    /// own random numbers.)
    pub fn new(drop_p: f32, key: impl Into<MaskKey>) -> Self {
        Self { drop_p, key: key.into(), step: Arc::default() }
    }

    /// The number of the next mask.
    pub fn step(&self) -> u64 {
        self.step.load(Ordering::Relaxed)
    }

    /// Sets the number of the next mask: a number, or the key of a step.
    pub fn set_step(&self, step: impl Into<MaskKey>) {
        self.step.store(step.into().number(), Ordering::Relaxed);
    }

    /// The input with the next mask if `train`, else the input.
    ///
    /// # Errors
    /// If the probability is not in `[0, 1)`, or the input is not floating point.
    pub fn forward(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        if !train {
            return Ok(xs.clone());
        }
        // Wraps around.
        let step = self.step.fetch_add(1, Ordering::Relaxed);
        wick_kernels::dropout(xs, probability(self.drop_p), self.key, step)
    }
}

/// The decimal number that was written, rather than the `f32` nearest to it, by which the numbers left are scaled.
pub(crate) fn probability(p: f32) -> f64 {
    p.to_string().parse().unwrap_or(f64::from(p))
}

impl ModuleT for Dropout {
    fn forward_t(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        self.forward(xs, train)
    }
}
