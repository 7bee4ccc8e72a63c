//! Residual sums: mean squares add, where the branch ends with weights that are drawn independently of the stream.
//!
//! For `s = a + c (W h + b)`, `E[ms(s)] = ms(a) + ms(branch)` over the draw of `W`, and what the two have in common,
//! `2c mean(a · W h)`, has the variance `4c² σ_w² Σ_{p,p'} (a_p · a_p') (h_p · h_p') / N²` over the `N` elements.

use candle_core::{Result, Tensor};
use wick_theory::{Band, BatchGeometry};

use super::bands::{QUANTILE, ROWS, law};
use super::layer::{Kind, TracedLayer};
use super::layer_band::{FAR, LayerBand, Predicted};
use super::node::Node;
use super::product::indices;
use super::rows::{Law, Rows, mean, wide};
use super::sample::{are_close, elements, places, rounding};
use super::traced::Trace;

/// How many tensors after a layer's output are looked at.
const NEAR: usize = 16;
/// Elements that are compared.
const PLACES: usize = 32;

/// A sum behind a layer.
pub(super) struct Sum<'t> {
    /// What is added to the branch.
    pub(super) stream: Tensor,
    /// The sum.
    pub(super) made: &'t Tensor,
    /// By what the layer's output is multiplied before.
    pub(super) scale: f64,
}

impl Trace {
    /// The residual sums behind linear layers and convolutions, beside what the mean squares of stream and branch add
    /// up to. `stds` and `inputs` are as for [`bands`](Self::bands); a sum is found behind a layer without an
    /// activation, whose output may be scaled before.
    ///
    /// ```
    /// use candle_core::{Device, Tensor, Var};
    /// use wick_probe::Trace;
    ///
    /// let numbers = |from: f32, to: f32| Tensor::arange(from, to, &Device::Cpu)?.sqr()?.sin();
    /// let stem = Var::from_tensor(&numbers(0.0, 800.0)?.reshape((20, 40))?)?;
    /// // Sines have a standard deviation of √½.
    /// let w = Var::from_tensor(&(numbers(1000.0, 2600.0)?.reshape((40, 40))? * (0.15 * 2f64.sqrt()))?)?;
    /// let xs = numbers(3000.0, 4000.0)?.reshape((50, 20))?;
    /// let (vars, stds) = ([("stem".to_owned(), stem), ("w".to_owned(), w)], [("w".to_owned(), 0.15)]);
    /// let forward = || {
    ///     let x = xs.matmul(&vars[0].1)?;
    ///     (&x + x.matmul(&vars[1].1)?)?.sqr()?.sum_all()
    /// };
    /// assert!(Trace::run(&vars, forward)?.sum_bands(&stds, &[])?[0].verdict().is_none());
    /// // Little beside the identity: a branch that is almost the stream again.
    /// let identity = Tensor::eye(40, candle_core::DType::F32, &Device::Cpu)?;
    /// vars[1].1.set(&((identity * 0.95)? + vars[1].1.as_detached_tensor() * 0.1)?)?;
    /// assert!(Trace::run(&vars, forward)?.sum_bands(&stds, &[])?[0].verdict().is_some());
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the device cannot hand over the values.
    pub fn sum_bands(&self, stds: &[(String, f64)], inputs: &[&Tensor]) -> Result<Vec<LayerBand>> {
        let mut bands = Vec::new();
        for layer in &self.layers {
            let Some(law) = law(layer, stds) else { continue };
            let [of_use] = layer.uses[..] else { continue };
            if layer.activation.is_some() || !matches!(layer.kind, Kind::Linear | Kind::Conv) {
                continue;
            }
            let Some(sum) = self.sum_behind(layer, inputs)? else { continue };
            let Some(rows) = self.rows_of(layer.kind, of_use, inputs, ROWS)? else { continue };
            let of = |xs: &Tensor| mean(&wide(xs)?.sqr()?);
            let scale = sum.scale * sum.scale;
            let middle = of(&sum.stream)? + scale * of(&layer.output)?;
            let deviation = 2.0 * (scale * common(layer, &sum, &rows, law)?).sqrt();
            if middle.is_nan() || middle <= 0.0 {
                continue;
            }
            let at = |normal: f64| (middle + normal * deviation).max(0.01 * middle).sqrt();
            let band = Band { low: at(-QUANTILE), middle: at(0.0), high: at(QUANTILE) };
            let (name, of_what, rms) = (layer.name.clone(), Predicted::Sum, of(sum.made)?.sqrt());
            bands.push(LayerBand {
                layer: name,
                call: layer.call,
                of: of_what,
                rms,
                band,
                ends: (at(-FAR), at(FAR)),
            });
        }
        Ok(bands)
    }

    /// The sum behind a layer's output, if one of the tensors that follow is that of the output, or of a multiple, and
    /// another tensor of the graph or of the data.
    pub(super) fn sum_behind(&self, layer: &TracedLayer, inputs: &[&Tensor]) -> Result<Option<Sum<'_>>> {
        let Some(output) = self.graph.index(&layer.output) else { return Ok(None) };
        let (number, dims) = (self.graph.nodes[output].number, layer.output.dims());
        let places = places(layer.output.elem_count(), PLACES);
        let of_output = elements(&layer.output, &places)?;
        let fits = |node: &&Node| !node.is_weight() && node.tensor.dims() == dims;
        let nodes = || self.graph.nodes.iter().filter(fits);
        let mut later: Vec<&Node> = nodes().filter(|node| node.number > number).collect();
        later.sort_by_key(|node| node.number);
        later.truncate(NEAR);
        let tolerance = 8.0 * rounding(layer.output.dtype());
        let mut branch = (1.0, of_output.clone());
        for node in later {
            let made = elements(&node.tensor, &places)?;
            if let Some(scale) = multiple(&of_output, &made, tolerance) {
                branch = (scale, made);
                continue;
            }
            let rest: Vec<f64> = made.iter().zip(&branch.1).map(|(sum, branch)| sum - branch).collect();
            let size = made.iter().chain(&branch.1).fold(0.0f64, |size, x| size.max(x.abs()));
            let is_rest = |xs: &Tensor| -> Result<bool> {
                let found = elements(xs, &places)?;
                let is_near = |(x, y): (&f64, &f64)| (x - y).abs() <= tolerance * size;
                Ok(found.iter().zip(&rest).all(is_near) && !are_close(&found, &branch.1, tolerance))
            };
            let earlier = nodes().filter(|other| other.number < node.number).map(|other| &other.tensor);
            let data = inputs.iter().copied().filter(|input| input.dims() == dims);
            for stream in earlier.chain(data) {
                if is_rest(stream)? {
                    let (stream, made, scale) = (stream.clone(), &node.tensor, branch.0);
                    return Ok(Some(Sum { stream, made, scale }));
                }
            }
        }
        Ok(None)
    }
}

/// By what all numbers are multiplied, if they are, and it is not 0.
fn multiple(from: &[f64], to: &[f64], tolerance: f64) -> Option<f64> {
    let largest = (0..from.len()).max_by(|a, b| from[*a].abs().total_cmp(&from[*b].abs()))?;
    let factor = to[largest] / from[largest];
    let scaled: Vec<f64> = from.iter().map(|x| factor * x).collect();
    (factor.is_finite() && factor != 0.0 && are_close(to, &scaled, tolerance)).then_some(factor)
}

/// The variance of `mean(a · y)` over the draw of the layer's weights, for its output `y` and the stream `a`.
fn common(layer: &TracedLayer, sum: &Sum, rows: &Rows, law: Law) -> Result<f64> {
    let dims = sum.stream.dims();
    let units = if layer.kind == Kind::Conv { dims[1] } else { dims[dims.len() - 1] };
    let count = sum.stream.elem_count() / units;
    let pixels = dims[2.min(dims.len())..].iter().product::<usize>();
    let of_row = |row: usize| {
        let places: Vec<usize> = match layer.kind {
            Kind::Conv => {
                let at = indices(row, &[count / pixels, pixels]);
                (0..units).map(|unit| (at[0] * units + unit) * pixels + at[1]).collect()
            }
            _ => (row * units..(row + 1) * units).collect(),
        };
        elements(&sum.stream, &places)
    };
    if count != rows.count {
        return Ok(f64::NAN);
    }
    let stream: Vec<Vec<f64>> =
        BatchGeometry::choose(count, ROWS).into_iter().map(of_row).collect::<Result<_>>()?;
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (mut own, mut pairs) = (0.0, 0.0);
    for index in 0..stream.len() {
        for other in 0..=index {
            let of_input = law.weight * dot(&rows.chosen[index], &rows.chosen[other]) + law.bias;
            let product = of_input * dot(&stream[index], &stream[other]);
            if other == index { own += product } else { pairs += product }
        }
    }
    let chosen = stream.len() as f64;
    let of_pairs = (chosen * (chosen - 1.0) / 2.0).max(1.0);
    let (count, elements) = (count as f64, sum.stream.elem_count() as f64);
    let all = count * own / chosen + count * (count - 1.0) * pairs / of_pairs;
    Ok(all.max(0.0) / (elements * elements))
}
