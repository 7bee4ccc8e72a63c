//! What a layer's input and the law of its weights predict for its output, whatever the architecture.
//!
//! Over the draw of the weights, with the input `x` as it was measured, the `P` rows of `y = W x + b` have the mean
//! square `E ms(y) = σ_w² mean_p |x_p|² + σ_b²`. The mean square of one unit is a quadratic form in its weights, with
//! the variance `2 mean_{p,p'} (σ_w² x_p·x_p' + σ_b²)² + κ σ_w⁴ Σ_i (mean_p x_pi²)²`, where `κ` is the excess kurtosis
//! of the weights; the units are independent. Rows of a convolution are its patches, padding included.

use candle_core::{Result, Tensor};
use wick_kernels::Stats;
use wick_theory::Band;

use super::layer::{Kind, TracedLayer};
use super::layer_band::{FAR, LayerBand, Predicted};
use super::node::Role;
use super::rows::{Law, Rows, mean, rows, wide};
use super::traced::Trace;

/// Rows whose products are measured.
pub(super) const ROWS: usize = 128;
/// Groups of a convolution whose rows are compared with each other; the others have as much variance.
const GROUPS: usize = 32;
/// The normal quantile of 97.5 %.
pub(super) const QUANTILE: f64 = 1.959_964;

impl Trace {
    /// Bands of all linear layers and convolutions whose law and input are known, in the order of execution. `stds` has
    /// the standard deviation from which each parameter was drawn, by name: `InitMap::manifest` has it. `inputs` are
    /// tensors that are no variable, as the data: a layer whose product with one of them is its output has it for its
    /// input. Laws hold before the first step.
    ///
    /// ```
    /// use candle_core::{Device, Tensor, Var};
    /// use wick_probe::Trace;
    ///
    /// let numbers = |from: f32, to: f32| Tensor::arange(from, to, &Device::Cpu)?.sqr()?.sin();
    /// let xs = numbers(0.0, 1000.0)?.reshape((50, 20))?;
    /// // Sines have a standard deviation of √½.
    /// let w = (numbers(1000.0, 1800.0)?.reshape((40, 20))? * (0.3 * 2f64.sqrt()))?;
    /// let vars = [("w".to_owned(), Var::from_tensor(&w)?)];
    /// let trace = Trace::run(&vars, || xs.matmul(&vars[0].1.t()?)?.sum_all())?;
    /// let stated = |std: f64| [("w".to_owned(), std)];
    /// assert!(trace.bands(&stated(0.3), &[&xs])?[0].verdict().is_none());
    /// assert!(trace.bands(&stated(0.1), &[&xs])?[0].verdict().is_some());
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the device cannot hand over the values.
    pub fn bands(&self, stds: &[(String, f64)], inputs: &[&Tensor]) -> Result<Vec<LayerBand>> {
        let mut bands = Vec::new();
        for layer in &self.layers {
            let Some(law) = law(layer, stds) else { continue };
            if let Some((band, ends)) = self.band(layer, law, inputs)? {
                let rms = mean(&wide(&layer.output)?.sqr()?)?.sqrt();
                let (name, of) = (layer.name.clone(), Predicted::Weights);
                bands.push(LayerBand { layer: name, call: layer.call, of, rms, band, ends });
            }
        }
        Ok(bands)
    }

    fn band(&self, layer: &TracedLayer, law: Law, inputs: &[&Tensor]) -> Result<Option<(Band, (f64, f64))>> {
        let step = layer.uses.len().div_ceil(GROUPS);
        let (mut means, mut squares, mut variance, mut looked_at) = (0.0, 0.0, 0.0, 0.0);
        for (index, of_use) in layer.uses.iter().enumerate() {
            let most = if index % step == 0 { ROWS } else { 0 };
            let Some(rows) = self.rows_of(layer.kind, *of_use, inputs, most)? else { return Ok(None) };
            let own = law.weight * rows.square + law.bias;
            (means, squares) = (means + own, squares + own * own);
            if most > 0 && own > 0.0 {
                let of_weights = Stats::of_tensor(&self.graph.nodes[of_use.1].tensor.contiguous()?)?;
                let excess = of_weights.kurtosis() - 3.0;
                variance += rows.moments(law, if excess.is_finite() { excess } else { 0.0 }).1;
                looked_at += own * own;
            }
        }
        let units = match layer.kind {
            Kind::Conv => layer.output.dim(1)?,
            _ => layer.output.dims().last().copied().unwrap_or(1),
        };
        let mean = means / layer.uses.len() as f64;
        // Groups have means of their own, and are alike in how far they deviate from these.
        let squares = squares / layer.uses.len() as f64;
        if looked_at <= 0.0 {
            return Ok(None);
        }
        let relative = variance / looked_at * squares / (mean * mean) / units as f64;
        // A gamma variable of this variance, by the cube of Wilson and Hilferty.
        let at = |normal: f64| {
            let root = 1.0 - relative / 9.0 + normal * relative.sqrt() / 3.0;
            (mean * root.max(0.0).powi(3)).sqrt()
        };
        let band = Band { low: at(-QUANTILE), middle: at(0.0), high: at(QUANTILE) };
        Ok((mean > 0.0 && mean.is_finite()).then_some((band, (at(-FAR), at(FAR)))))
    }

    /// The rows of the input of a use of a weight, where it is known: in the graph, or among these tensors.
    pub(super) fn rows_of(
        &self,
        kind: Kind,
        (node, weight): (usize, usize),
        inputs: &[&Tensor],
        most: usize,
    ) -> Result<Option<Rows>> {
        // The law is that of the parameter, not of what is made of it.
        if !matches!(self.graph.nodes[weight].role, Role::Parameter | Role::View) {
            return Ok(None);
        }
        let visible = self.input_of(kind, (node, weight))?;
        let made = self.without_bias((node, weight))?;
        let weight = &self.graph.nodes[weight].tensor;
        for input in visible.iter().chain(inputs.iter().copied()) {
            let found = rows(kind, (input, weight, &made), most)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// What a use of a weight makes, less the bias if one op adds that too: its last argument is the tensor before it.
    fn without_bias(&self, (node, weight): (usize, usize)) -> Result<Tensor> {
        let (made, before) = (&self.graph.nodes[node].tensor, node.saturating_sub(1));
        let (weight_node, bias) = (&self.graph.nodes[weight], &self.graph.nodes[before]);
        let axis = if weight_node.tensor.rank() > 2 { 1 } else { made.rank().saturating_sub(1) };
        let is_bias = before != weight
            && weight_node.role == Role::Parameter
            && bias.role == Role::Parameter
            && made.dims().get(axis).is_some_and(|&units| bias.tensor.dims() == [units]);
        if !is_bias {
            return Ok(made.clone());
        }
        let mut shape = vec![1; made.rank()];
        shape[axis] = made.dims()[axis];
        made.detach().broadcast_sub(&bias.tensor.detach().reshape(shape)?)
    }
}

/// The law of a layer's weights and biases, where it is known and the weights are no copies.
pub(super) fn law(layer: &TracedLayer, stds: &[(String, f64)]) -> Option<Law> {
    let of = |wanted: &dyn Fn(&&String) -> bool| {
        let name = layer.parameters.iter().find(wanted)?;
        stds.iter().find(|(other, _)| other == name).map(|(_, std)| *std)
    };
    let (weight, bias) = match layer.parameters.as_slice() {
        [_] => (of(&|_| true)?, 0.0),
        [_, _] => (of(&|name| name.ends_with("weight"))?, of(&|name| name.ends_with("bias"))?),
        _ => return None,
    };
    (weight != 0.0 && !layer.is_stale).then_some(Law { weight: weight * weight, bias: bias * bias })
}
