//! What the gains and biases of a norm say of its output.
//!
//! A norm makes rows of the mean square 1 and scales them: the outputs' mean square is `mean γ² + mean β²`, whatever the
//! input. It is exact for gains that are all the same; for others it depends on which units carry the signal, and
//! the band allows for units of a normal signal of one row.

use candle_core::{Result, Tensor};
use wick_theory::Band;

use super::bands::QUANTILE;
use super::layer::Kind;
use super::layer_band::{LayerBand, Predicted};
use super::rows::{mean, wide};
use super::traced::Trace;

impl Trace {
    /// The outputs of norms that work by their own input, as LayerNorm, RmsNorm and GroupNorm do, beside what their
    /// gains and biases predict: `rms² = mean γ² + mean β²`. One that is below has an input whose variance is not
    /// above the norm's eps.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor, Var};
    /// use wick_probe::Trace;
    ///
    /// let vars = [("norm.weight".to_owned(), Var::ones(20, DType::F32, &Device::Cpu)?)];
    /// let xs = Var::from_tensor(&Tensor::arange(0f32, 400.0, &Device::Cpu)?.sqr()?.sin()?.reshape((20, 20))?)?;
    /// let normed = |scale: f64| {
    ///     let xs = (xs.as_tensor() * scale)?;
    ///     let norm = (xs.sqr()?.mean_keepdim(1)? + 1e-5)?.sqrt()?;
    ///     xs.broadcast_div(&norm)?.broadcast_mul(&vars[0].1)?.sqr()?.sum_all()
    /// };
    /// assert!(Trace::run(&vars, || normed(1.0))?.norm_bands()?[0].verdict().is_none());
    /// // A mean square of 1e-6 is lost beside an eps of 1e-5.
    /// assert!(Trace::run(&vars, || normed(1e-3))?.norm_bands()?[0].verdict().is_some());
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the device cannot hand over the values.
    pub fn norm_bands(&self) -> Result<Vec<LayerBand>> {
        let mut bands = Vec::new();
        for layer in self.layers.iter().filter(|layer| layer.kind == Kind::Norm && !layer.has_statistics) {
            let [(node, gains)] = layer.uses[..] else { continue };
            let (made, gains) = (&self.graph.nodes[node].tensor, &self.graph.nodes[gains].tensor);
            // A bias by itself, or gains that are added, are no norm's.
            let is_scaled = made.elem_count() > gains.elem_count() || made.dims() == gains.dims();
            if !is_scaled || layer.parameters.first().is_some_and(|name| name.ends_with("bias")) {
                continue;
            }
            let gains = numbers(gains)?;
            let biases = match layer.shift {
                Some((_, biases)) => numbers(&self.graph.nodes[biases].tensor)?,
                None => vec![0.0],
            };
            let of = |xs: &[f64]| xs.iter().map(|x| x * x).sum::<f64>() / xs.len() as f64;
            let (of_gains, of_biases) = (of(&gains), of(&biases));
            let expected = of_gains + of_biases;
            if expected.is_nan() || expected <= 0.0 {
                continue;
            }
            let spread = gains.iter().map(|gain| (gain * gain - of_gains).powi(2)).sum::<f64>();
            let products = match biases.len() == gains.len() {
                true => gains.iter().zip(&biases).map(|(gain, bias)| (gain * bias).powi(2)).sum::<f64>(),
                false => of_gains * of_biases * gains.len() as f64,
            };
            let units = gains.len() as f64;
            let relative = (2.0 * spread + 4.0 * products).sqrt() / units / expected;
            let at = |deviation: f64| (expected * (1.0 + QUANTILE * deviation).max(0.0)).sqrt();
            let band = Band { low: at(-relative.min(0.45)), middle: at(0.0), high: at(relative) };
            let ends = (band.low, band.high);
            let rms = mean(&wide(&layer.output)?.sqr()?)?.sqrt();
            let (name, of) = (layer.name.clone(), Predicted::Norm);
            bands.push(LayerBand { layer: name, call: layer.call, of, rms, band, ends });
        }
        Ok(bands)
    }
}

/// The numbers of gains, without those that a view repeats.
fn numbers(gains: &Tensor) -> Result<Vec<f64>> {
    let mut own = gains.detach();
    for dim in 0..own.rank() {
        if own.stride()[dim] == 0 && own.dims()[dim] > 1 {
            own = own.narrow(dim, 0, 1)?;
        }
    }
    own.to_dtype(candle_core::DType::F64)?.flatten_all()?.to_device(&candle_core::Device::Cpu)?.to_vec1()
}
