//! The loss at the start.

use candle_core::{Result, Tensor};

use super::traced::Trace;
use crate::diagnose::fault::{Fault, Verdict};
use crate::number::number;
use crate::preflight::start::Classification;

impl Trace {
    /// A verdict on the loss, where the outputs are logits `[…, C]` and the targets classes `[…]`: before the training it
    /// is `ln C + s²/2` for logits of standard deviation `s` that do not know the classes (the second order of
    /// `E ln Σ e^z`, good for `s² < 2 ln C`). The layer is the last one.
    ///
    /// ```
    /// use candle_core::{Device, Tensor, Var};
    /// use wick_probe::{Fault, Trace};
    ///
    /// let numbers = |from: f32, to: f32| Tensor::arange(from, to, &Device::Cpu)?.sqr()?.sin();
    /// let vars = [("head".to_owned(), Var::from_tensor(&numbers(0.0, 80.0)?.reshape((8, 10))?)?)];
    /// let xs = numbers(100.0, 500.0)?.reshape((50, 8))?;
    /// let classes = Tensor::from_vec((0..50u32).map(|i| i * 7 % 10).collect(), 50, &Device::Cpu)?;
    /// let verdict = |scale: f64| {
    ///     let logits = (xs.matmul(&vars[0].1)? * scale)?;
    ///     Trace::run(&vars, || candle_nn::loss::cross_entropy(&logits, &classes))?.judge_start(&logits, &classes)
    /// };
    /// assert_eq!(verdict(0.3)?, None);
    /// assert_eq!(verdict(20.0)?.map(|verdict| verdict.fault), Some(Fault::Loss));
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the device cannot hand over the values.
    pub fn judge_start(&self, outputs: &Tensor, targets: &Tensor) -> Result<Option<Verdict>> {
        let loss = number(&self.loss)?;
        let Some(classification) = Classification::of(outputs, targets)?.filter(|_| loss.is_finite()) else {
            return Ok(None);
        };
        let layer = self.layers.last().map(|layer| layer.name.as_str()).unwrap_or_default();
        let finding = classification.check(loss);
        Ok(finding.map(|found| Verdict::new(Fault::Loss, found.level, layer, found.figure, found.text)))
    }
}
