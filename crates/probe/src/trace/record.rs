//! What a trace found, as records of a probe.

use candle_core::{DType, Result, Tensor};

use super::layer::TracedLayer;
use super::node::{Node, Role};
use super::traced::Trace;
use crate::diagnose::layer_report::LayerReport;
use crate::number::number;
use crate::observe::log::Flatness;
use crate::observe::probe::Probe;
use wick_kernels::{fraction_outside, summarize};

impl Trace {
    /// Records the layers in a probe as taps would: each layer's output, behind its activation where one was found.
    /// All that a probe gives is then there: units, totals, the first bad tensor, looks over steps.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor, Var};
    /// use wick_probe::{Probe, Trace};
    ///
    /// let vars = [("w".to_owned(), Var::ones((3, 4), DType::F32, &Device::Cpu)?)];
    /// let xs = Tensor::ones((2, 4), DType::F32, &Device::Cpu)?;
    /// let trace = Trace::run(&vars, || xs.matmul(&vars[0].1.t()?)?.sum_all())?;
    /// let probe = Probe::new();
    /// trace.record(&probe)?;
    /// assert_eq!((probe.records()[0].name.as_str(), probe.records()[0].forward.mean), ("w", 4.0));
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the device cannot hand over the values.
    pub fn record(&self, probe: &Probe) -> Result<()> {
        if !probe.is_recording() {
            return Ok(());
        }
        let with_axis = |probe: Probe, (name, axis): (&String, usize)| probe.with_axis(name.clone(), axis);
        let axes = self.layers.iter().filter_map(|layer| Some((&layer.name, layer.axis?)));
        let probe = axes.fold(probe.clone(), with_axis);
        let bad = self.bad_behind()?;
        for (index, layer) in self.layers.iter().enumerate() {
            let (name, output) = (layer.name.as_str(), layer.output.detach());
            let (value, range, flatness) = match &layer.activation {
                _ if bad.as_ref().is_some_and(|(behind, _)| *behind == index) => {
                    let value = bad.as_ref().map_or(output, |(_, value)| value.detach());
                    (value, None, Flatness::default())
                }
                Some((activation, value)) => {
                    let (low, high) = activation.saturation_thresholds();
                    let saturated = fraction_outside(&output, low, high)?;
                    let flatness = probe.flatness(name, (*activation, saturated), Some(&output))?;
                    (value.detach(), activation.range(), flatness)
                }
                None => (output, None, Flatness::default()),
            };
            let summary = summarize(&value, range, probe.bins())?;
            let mut measured = probe.measure_output(name, summary, value.dtype(), Some(&value))?;
            // Where gradients were added, and none was found here, nothing is known of it: `Reach` tells of cuts.
            let is_unknown = self.has_gradients && layer.gradient.is_none();
            measured.tracked = (!is_unknown).then_some(true);
            let id = probe.lock().next_id();
            probe.lock().open(id, name, measured, flatness);
            if let Some((_, gradient)) = &layer.gradient {
                let summary = summarize(gradient, None, probe.bins())?;
                let measured = probe.measure_gradient(name, summary, gradient.dtype(), Some(gradient))?;
                probe.lock().close(id, measured);
            }
        }
        Ok(())
    }

    /// The layer behind which, and before the next one, the first NaN is made, if one is: the
    /// layer and the tensor with the number. Where the loss is finite, nothing is looked for.
    fn bad_behind(&self) -> Result<Option<(usize, Tensor)>> {
        if self.loss.elem_count() != 1 || number(&self.loss)?.is_finite() {
            return Ok(None);
        }
        let nodes = &self.graph.nodes;
        let mut order: Vec<&Node> = nodes.iter().filter(|node| node.role == Role::Activation).collect();
        order.sort_by_key(|node| node.number);
        for node in order.into_iter().filter(|node| node.tensor.dtype().is_float()) {
            // Masks have infinities, which are none yet.
            let value = node.tensor.detach();
            if value.elem_count() == 0 || number(&value.ne(&value)?.to_dtype(DType::F64)?.sum_all()?)? == 0.0
            {
                continue;
            }
            let first = |layer: &TracedLayer| {
                layer.uses.iter().map(|(node, _)| nodes[*node].number).min().unwrap_or(usize::MAX)
            };
            let last = |layer: &TracedLayer| {
                self.graph.index(&layer.output).map_or(0, |output| nodes[output].number)
            };
            let is_own = self.layers.iter().any(|layer| (first(layer)..=last(layer)).contains(&node.number));
            let before = self.layers.iter().rposition(|layer| last(layer) < node.number);
            return Ok(before.filter(|_| !is_own).map(|before| (before, node.tensor.clone())));
        }
        Ok(None)
    }

    /// A report of each call of each layer, with its units: the input of [`judge`](crate::judge()).
    ///
    /// # Errors
    /// If the device cannot hand over the values.
    pub fn layer_reports(&self) -> Result<Vec<LayerReport>> {
        let probe = Probe::new().with_units();
        self.record(&probe)?;
        Ok(probe.layer_reports())
    }
}
