//! What a layer's input and the law of its weights predict for its output, whatever the architecture.
//!
//! Over the draw of the weights, with the input `x` as it was measured, the `P` rows of `y = W x + b` have the mean
//! square `E ms(y) = σ_w² mean_p |x_p|² + σ_b²`. The mean square of one unit is a quadratic form in its weights, with
//! the variance `2 mean_{p,p'} (σ_w² x_p·x_p' + σ_b²)² + κ σ_w⁴ Σ_i (mean_p x_pi²)²`, where `κ` is the excess kurtosis
//! of the weights; the units are independent. Rows of a convolution are its patches, padding included.

use candle_core::{DType, Device, Result, Tensor};
use wick_kernels::Stats;
use wick_theory::{Band, BatchGeometry};

use super::layer::{Kind, TracedLayer};
use super::node::Role;
use super::product::{Filter, filter, indices, is_product};
use super::sample::elements;
use super::traced::Trace;
use crate::diagnose::fault::{Fault, Level, MAX_BAND_HALF_WIDTHS, Verdict};
use crate::text::{distinct, significant, times};

/// Rows whose products are measured.
const ROWS: usize = 128;
/// Groups of a convolution that are measured, of which the others are taken to be like.
const GROUPS: usize = 32;
/// Rounding, as the logarithm of a factor.
const LOG_TOLERANCE: f64 = 0.02;
/// The normal quantile of 97.5 %.
const QUANTILE: f64 = 1.959_964;

/// The output of a layer beside what its measured input and the law of its weights predict.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LayerBand {
    /// The layer's name.
    pub layer: String,
    /// How many calls of the same name came before.
    pub call: usize,
    /// The measured root mean square of the output, before an activation.
    pub rms: f64,
    /// The band that has 95 % of the draws.
    pub band: Band,
}

impl LayerBand {
    /// A verdict on an output that is twice as far from the middle of the band as its ends, or farther.
    ///
    /// The layer's own draw is at fault, or it is not from the law that was stated: what comes before is measured.
    pub fn verdict(&self) -> Option<Verdict> {
        let Band { low, middle, high } = self.band;
        let log_factor = (self.rms / middle).ln();
        let half_width = if log_factor > 0.0 { (high / middle).ln() } else { (middle / low).ln() };
        // NaN is judged elsewhere.
        if log_factor.is_nan() || log_factor.abs() <= MAX_BAND_HALF_WIDTHS * half_width + LOG_TOLERANCE {
            return None;
        }
        let (factor, layer) = (log_factor.exp(), &self.layer);
        let [measured, low, high] = distinct([self.rms, low, high], 3, significant);
        let text = format!(
            "{layer}: the outputs' rms is {measured}, {} what its input and the law of its weights predict ({low} \
             to {high}, before an activation)",
            times(factor)
        );
        let level = if (0.67..1.5).contains(&factor) { Level::Unusual } else { Level::Faulty };
        Some(Verdict::new(Fault::OutsideBand, level, layer, factor, text).with_remedy(format!(
            "weights {} as large as the law says make such outputs: check the fan, the gain and the scale",
            times(factor)
        )))
    }
}

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
            let std = |end: &str| {
                let is_it = |name: &&String| name.ends_with(end);
                let name = layer.parameters.iter().find(is_it)?;
                stds.iter().find(|(other, _)| other == name).map(|(_, std)| *std)
            };
            let weight_std = match layer.parameters.as_slice() {
                [only] => stds.iter().find(|(name, _)| name == only).map(|(_, std)| *std),
                _ => std("weight"),
            };
            let has_bias = layer.parameters.len() == 2;
            let bias_std = if has_bias { std("bias") } else { Some(0.0) };
            let (Some(weight_std), Some(bias_std)) = (weight_std, bias_std) else { continue };
            if weight_std == 0.0 || layer.is_stale || layer.parameters.len() > 2 {
                continue;
            }
            let law = Law { weight: weight_std * weight_std, bias: bias_std * bias_std };
            if let Some(band) = self.band(layer, law, inputs)? {
                let rms = mean(&wide(&layer.output)?.sqr()?)?.sqrt();
                bands.push(LayerBand { layer: layer.name.clone(), call: layer.call, rms, band });
            }
        }
        Ok(bands)
    }

    fn band(&self, layer: &TracedLayer, law: Law, inputs: &[&Tensor]) -> Result<Option<Band>> {
        let step = layer.uses.len().div_ceil(GROUPS);
        let (mut means, mut variance, mut groups) = (0.0, 0.0, 0.0);
        for &(node, weight) in layer.uses.iter().step_by(step) {
            // The law is that of the parameter, not of what is made of it.
            if !matches!(self.graph.nodes[weight].role, Role::Parameter | Role::View) {
                return Ok(None);
            }
            let visible = self.input_of(layer.kind, (node, weight))?;
            let [made, weight] = [node, weight].map(|node| &self.graph.nodes[node].tensor);
            let mut found = None;
            for input in visible.iter().chain(inputs.iter().copied()) {
                found = rows(layer.kind, input, weight, made)?;
                if found.is_some() {
                    break;
                }
            }
            let Some(rows) = found else { return Ok(None) };
            let of_weights = Stats::of_tensor(&weight.contiguous()?)?;
            let excess = of_weights.kurtosis() - 3.0;
            let (mean, of_unit) = rows.moments(law, if excess.is_finite() { excess } else { 0.0 });
            (means, variance, groups) = (means + mean, variance + of_unit, groups + 1.0);
        }
        let units = match layer.kind {
            Kind::Conv => layer.output.dim(1)?,
            _ => layer.output.dims().last().copied().unwrap_or(1),
        };
        let mean = means / groups;
        let relative = variance / groups / (mean * mean) / units as f64;
        // A gamma variable of this variance, by the cube of Wilson and Hilferty.
        let at = |normal: f64| {
            let root = 1.0 - relative / 9.0 + normal * relative.sqrt() / 3.0;
            (mean * root.max(0.0).powi(3)).sqrt()
        };
        let band = Band { low: at(-QUANTILE), middle: at(0.0), high: at(QUANTILE) };
        Ok((mean > 0.0 && mean.is_finite()).then_some(band))
    }
}

/// Variances of weights and biases.
#[derive(Debug, Clone, Copy)]
struct Law {
    weight: f64,
    bias: f64,
}

/// The rows that a weight is multiplied by.
struct Rows {
    /// The mean of `|x_p|²` over all rows.
    square: f64,
    /// Some of the rows.
    chosen: Vec<Vec<f64>>,
    /// How many there are.
    count: usize,
}

impl Rows {
    /// The mean square of the outputs, and the variance of one unit's mean square.
    fn moments(&self, law: Law, excess: f64) -> (f64, f64) {
        let mean = law.weight * self.square + law.bias;
        let (mut own, mut pairs) = (0.0, 0.0);
        for (index, row) in self.chosen.iter().enumerate() {
            for (other_index, other) in self.chosen.iter().enumerate().take(index + 1) {
                let product: f64 = row.iter().zip(other).map(|(a, b)| a * b).sum();
                let square = (law.weight * product + law.bias).powi(2);
                if index == other_index { own += square } else { pairs += square }
            }
        }
        let chosen = self.chosen.len() as f64;
        let (count, of_pairs) = (self.count as f64, chosen * (chosen - 1.0) / 2.0);
        let pairs = if of_pairs > 0.0 { pairs / of_pairs } else { 0.0 };
        let quadratic = own / chosen / count + pairs * (1.0 - 1.0 / count);
        let width = self.chosen.first().map_or(0, Vec::len);
        let features =
            (0..width).map(|i| self.chosen.iter().map(|row| row[i] * row[i]).sum::<f64>() / chosen);
        let fourth = features.map(|square| square * square).sum::<f64>();
        (mean, (2.0 * quadratic + excess * law.weight * law.weight * fourth).max(0.0))
    }
}

/// The rows of an input, if its product with the weight is what was made.
fn rows(kind: Kind, input: &Tensor, weight: &Tensor, made: &Tensor) -> Result<Option<Rows>> {
    if made.elem_count() == 0 {
        return Ok(None);
    }
    let input = input.detach();
    match kind {
        Kind::Linear => {
            // A weight that is spread over a batch.
            let weight = match weight.rank() {
                3 if weight.stride()[0] == 0 => weight.narrow(0, 0, 1)?.squeeze(0)?,
                _ => weight.clone(),
            };
            if !is_product(&weight, &input, made)? {
                return Ok(None);
            }
            let width = weight.dim(0)?;
            let count = input.elem_count() / width;
            let chosen = BatchGeometry::choose(count, ROWS);
            let row = |row: &usize| elements(&input, &(row * width..(row + 1) * width).collect::<Vec<_>>());
            let square = mean(&wide(&input)?.sqr()?)? * width as f64;
            Ok(Some(Rows { square, chosen: chosen.iter().map(row).collect::<Result<_>>()?, count }))
        }
        Kind::Conv => {
            let Some(filter) = filter(weight, &input, made)? else { return Ok(None) };
            Ok(Some(patches(&input, weight, made, filter)?))
        }
        _ => Ok(None),
    }
}

/// The patches of a convolution, with zeros where the filter is over the padding.
fn patches(input: &Tensor, weight: &Tensor, made: &Tensor, filter: Filter) -> Result<Rows> {
    let (kernel, sizes, output) = (&weight.dims()[2..], &input.dims()[2..], &made.dims()[2..]);
    let Filter { stride, dilation, padding } = filter;
    let squares = wide(input)?.sqr()?.sum_keepdim(1)?.contiguous()?;
    let ones = Tensor::ones([&[1, 1], kernel].concat(), squares.dtype(), input.device())?;
    let squares = match kernel.len() {
        1 => squares.conv1d(&ones, padding, stride, dilation, 1)?,
        _ => squares.conv2d(&ones, padding, stride, dilation, 1)?,
    };
    let [pixels, taps, per_sample] = [sizes, kernel, output].map(|sizes| sizes.iter().product::<usize>());
    let (channels, count) = (weight.dim(1)?, input.dim(0)? * per_sample);
    let mut chosen = Vec::new();
    for row in BatchGeometry::choose(count, ROWS) {
        let (sample, at) = (row / per_sample, indices(row % per_sample, output));
        let (mut places, mut slots) = (Vec::new(), Vec::new());
        for tap in 0..taps {
            let offsets = indices(tap, kernel);
            let place = (0..kernel.len()).try_fold(0, |place, axis| {
                let along = (at[axis] * stride + offsets[axis] * dilation).checked_sub(padding)?;
                (along < sizes[axis]).then(|| place * sizes[axis] + along)
            });
            let Some(place) = place else { continue };
            for channel in 0..channels {
                places.push((sample * channels + channel) * pixels + place);
                slots.push(channel * taps + tap);
            }
        }
        let mut patch = vec![0.0; channels * taps];
        for (slot, x) in slots.into_iter().zip(elements(input, &places)?) {
            patch[slot] = x;
        }
        chosen.push(patch);
    }
    Ok(Rows { square: mean(&squares)?, chosen, count })
}

/// A tensor in whose type squares are finite.
fn wide(xs: &Tensor) -> Result<Tensor> {
    match xs.dtype() {
        DType::F16 | DType::BF16 => xs.detach().to_dtype(DType::F32),
        _ => Ok(xs.detach()),
    }
}

fn mean(xs: &Tensor) -> Result<f64> {
    xs.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?.mean_all()?.to_scalar::<f64>()
}
