//! Which axis of a tensor has the units.

use std::sync::Arc;

use crate::observe::probe::Probe;

impl Probe {
    /// States the axis of a name's tensors that has the units, counted from 0.
    ///
    /// Where none is stated, the units are
    /// - in `[batch, channel, height, width]` and other tensors of rank 4 or 5 along axis 1;
    /// - in `[batch, channel, length]` along axis 1, if the name contains `conv`;
    /// - in all others, `[batch, unit]` and `[batch, position, unit]`, along the last axis.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use wick_probe::Probe;
    ///
    /// let probe = Probe::new().with_units().with_axis("filters", 1);
    /// let h = Tensor::zeros((8, 3, 20), DType::F32, &Device::Cpu)?;
    /// for name in ["filters", "conv_1", "tokens"] {
    ///     probe.tap(name, &h)?;
    /// }
    /// let counts: Vec<_> = probe.records().into_iter().map(|record| record.units.map(|units| units.count)).collect();
    /// assert_eq!(counts, [Some(3), Some(3), Some(20)]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn with_axis(mut self, name: impl Into<String>, axis: usize) -> Self {
        Arc::make_mut(&mut self.axes).insert(name.into(), axis);
        self
    }

    /// The axis of the units, if it is stated or known from the name. Axis 1 of other ranks than three is what
    /// [`Units::of`](crate::Units::of) takes anyway, or the last.
    pub(crate) fn axis(&self, name: &str) -> Option<usize> {
        let by_name = || name.to_ascii_lowercase().contains("conv").then_some(1);
        self.axes.get(name).copied().or_else(by_name)
    }

    /// Says that the weights are no longer those that were drawn, as after loading a trained model: the laws of
    /// [`with_law`](Self::with_law) do not hold any more. A probe knows by itself that a step was taken once
    /// gradients came back and [`next_step`](Self::next_step) was called.
    ///
    /// ```
    /// let probe = wick_probe::Probe::new();
    /// probe.weights_are_trained();
    /// # let x = candle_core::Tensor::new(&[1.0f32], &candle_core::Device::Cpu)?;
    /// probe.tap("x", &x)?;
    /// assert!(probe.records()[0].after_start);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn weights_are_trained(&self) {
        self.lock().after_start = true;
    }
}
