//! Gradients of activations, out of what a backward pass leaves.

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor};

use super::graph::{address, number};
use super::layer::{GradientBy, Kind, TracedLayer};
use super::least_squares::least_squares;
use super::node::{Node, Role};
use super::product::{Filter, filter, indices, is_product};
use super::sample::{elements, places};
use super::traced::Trace;

/// Elements by which a gradient is known behind an activation.
const PLACES: usize = 64;

/// The gradient of an activation, with where it is from and its relative error: 0 where the numbers are candle's own.
#[derive(Debug, Clone)]
pub(super) struct Gradient {
    pub(super) by: GradientBy,
    pub(super) tensor: Tensor,
    pub(super) error: f64,
}

impl TracedLayer {
    pub(super) fn set_gradient(&mut self, gradient: Option<Gradient>) {
        self.gradient_error = gradient.as_ref().map(|gradient| gradient.error);
        self.gradient = gradient.map(|gradient| (gradient.by, gradient.tensor.detach()));
    }
}

impl Trace {
    /// Adds the gradients of the layers' outputs, which candle drops as a backward pass goes on, to
    /// [`TracedLayer::gradient`]; `inputs` are tensors that are no variable, as the data.
    ///
    /// - Where the process was started with `CANDLE_GRAD_DO_NOT_DETACH=1`, candle keeps the graph of the gradients, and
    ///   they are found in it, each by what it makes of the weight's gradient: to the bit. All gradients are in memory
    ///   then, several times what a pass needs.
    /// - Otherwise `δ = (X Xᵀ)⁻¹ X dWᵀ` for linear layers whose input `X` has at most half as many rows as columns,
    ///   and `δ W` behind the activation before such a layer. The error is that of the rounding of `dW`, times the
    ///   condition number of `X`: 1e-6 or less of the gradient's size for independent rows in `f32`, 1e-13 in `f64`, more
    ///   as the rows come to be alike. [`TracedLayer::gradient_error`] has an estimate of it, and gradients with an error
    ///   above 1e-3 are left out.
    /// - [`wide_biases`](Self::wide_biases) is a third way, for a model that can be built again.
    ///
    /// A weight that is used twice has none, nor have norms, embeddings and convolutions with groups.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor, Var};
    /// use wick_probe::{GradientBy, Trace};
    ///
    /// let numbers = |from: f32, to: f32| Tensor::arange(from, to, &Device::Cpu)?.sqr()?.sin();
    /// let xs = numbers(0.0, 64.0)?.reshape((4, 16))?;
    /// let vars = [("w".to_owned(), Var::from_tensor(&numbers(64.0, 192.0)?.reshape((8, 16))?)?)];
    /// let mut trace = Trace::run(&vars, || xs.matmul(&vars[0].1.t()?)?.sum_all())?;
    /// trace.add_gradients(&trace.loss().backward()?, &[&xs])?;
    /// let (by, gradient) = trace.layers()[0].gradient.as_ref().expect("four rows of sixteen");
    /// // The gradient of a sum is 1.
    /// assert!((gradient.mean_all()?.to_dtype(DType::F32)?.to_scalar::<f32>()? - 1.0).abs() < 1e-4);
    /// assert_eq!(*by, GradientBy::LeastSquares);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the device cannot hand over the values.
    pub fn add_gradients(&mut self, gradients: &GradStore, inputs: &[&Tensor]) -> Result<()> {
        self.has_gradients = true;
        let mut found = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            found.push(self.of_output(layer, gradients, inputs)?);
        }
        let mut behind = Vec::with_capacity(found.len());
        for (layer, of_output) in self.layers.iter().zip(&found) {
            behind.push(match (of_output, &layer.activation) {
                (Some(of_output), Some(_)) => self.behind_activation(layer, of_output, &found)?,
                (of_output, _) => of_output.clone(),
            });
        }
        for (layer, gradient) in self.layers.iter_mut().zip(behind) {
            layer.set_gradient(gradient);
        }
        Ok(())
    }

    /// The gradient of a layer's output before its activation.
    fn of_output(
        &self,
        layer: &TracedLayer,
        gradients: &GradStore,
        inputs: &[&Tensor],
    ) -> Result<Option<Gradient>> {
        let [(node, weight)] = layer.uses[..] else { return Ok(None) };
        let parameter = &self.graph.nodes[weight].parameters;
        // What is made of the parameter, a part of it, and one that is used elsewhere too have no gradient of their own.
        let is_whole = matches!(self.graph.nodes[weight].role, Role::Parameter | Role::View);
        let uses = self.layers.iter().flat_map(|layer| &layer.uses);
        let uses = uses.filter(|(_, weight)| self.graph.nodes[*weight].parameters == *parameter).count();
        if !is_whole || uses != 1 {
            return Ok(None);
        }
        let is_parameter = |node: &&Node| node.role == Role::Parameter && node.parameters == *parameter;
        let Some(parameter) = self.graph.nodes.iter().find(is_parameter) else { return Ok(None) };
        let Some(of_weight) = gradients.get(&parameter.tensor) else { return Ok(None) };
        if of_weight.elem_count() != self.graph.nodes[weight].tensor.elem_count() {
            return Ok(None);
        }
        let visible = self.input_of(layer.kind, (node, weight))?;
        let [made, weight] = [node, weight].map(|node| &self.graph.nodes[node]);
        for input in visible.iter().chain(inputs.iter().copied()) {
            let input = input.detach();
            let product = match layer.kind {
                Kind::Linear
                    if weight.tensor.rank() == 2
                        && (is_product(&weight.tensor, &input, &made.tensor)?
                            || may_be_of_zeros(&weight.tensor, &input, &made.tensor)?) =>
                {
                    Product::Matrix {
                        is_transposed: of_weight.dims() != weight.tensor.dims()
                            || !weight.tensor.is_contiguous(),
                    }
                }
                Kind::Conv => match filter(&weight.tensor, &input, &made.tensor)? {
                    Some(filter) => Product::Filter(filter),
                    None => continue,
                },
                _ => continue,
            };
            // In the graph of the gradients, if candle kept it: what is newer than the loss.
            let telling = telling(of_weight)?;
            for candidate in of_weight.sorted_nodes().into_iter().skip(1) {
                if self.is_newer(candidate)
                    && candidate.dims() == made.tensor.dims()
                    && product.makes(&input, candidate, &telling, of_weight.dims())?
                {
                    let tensor = candidate.clone();
                    return Ok(Some(Gradient { by: GradientBy::KeptGraph, tensor, error: 0.0 }));
                }
            }
            if let Product::Matrix { is_transposed } = product {
                let solved = least_squares(&input, of_weight, is_transposed, made.tensor.dims())?;
                let by = GradientBy::LeastSquares;
                return Ok(solved.map(|(tensor, error)| Gradient { by, tensor, error }));
            }
        }
        Ok(None)
    }

    /// Whether a tensor was made after the loss, as the gradients are.
    fn is_newer(&self, tensor: &Tensor) -> bool {
        number(tensor.id()) > number(self.loss.id())
    }

    /// The gradient behind a layer's activation.
    pub(super) fn behind_activation(
        &self,
        layer: &TracedLayer,
        Gradient { by, tensor: of_output, .. }: &Gradient,
        all: &[Option<Gradient>],
    ) -> Result<Option<Gradient>> {
        let Some((activation, value)) = &layer.activation else { return Ok(None) };
        let places = places(value.elem_count(), PLACES);
        let (at, expected) = (elements(&layer.output, &places)?, elements(of_output, &places)?);
        let largest = expected.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
        let is_it = |candidate: &Tensor, tolerance: f64| -> Result<bool> {
            let gradient = elements(candidate, &places)?;
            let products = gradient.iter().zip(&at).map(|(gradient, z)| gradient * activation.derivative(*z));
            Ok(products.zip(&expected).all(|(product, x)| (product - x).abs() <= tolerance * largest))
        };
        if *by == GradientBy::KeptGraph {
            // A kept gradient is in the graph of the next one.
            // Behind a relu, the gradient before it fits too, and comes first.
            let mut last = None;
            for candidate in of_output.sorted_nodes().into_iter().skip(1) {
                let is_same_size = candidate.elem_count() == value.elem_count();
                if is_same_size && self.is_newer(candidate) && is_it(candidate, 1e-4)? {
                    last = Some(Gradient { by: *by, tensor: candidate.clone(), error: 0.0 });
                }
            }
            if last.is_some() {
                return Ok(last);
            }
        }
        for (next, of_next) in self.layers.iter().zip(all) {
            let (Some(of_next), Kind::Linear) = (of_next, next.kind) else { continue };
            let Some(input) = self.input(next)? else { continue };
            let weight = &self.graph.nodes[next.uses[0].1].tensor;
            if address(&input) != address(value) || weight.rank() != 2 {
                continue;
            }
            let (of_next, error) = (&of_next.tensor, of_next.error);
            let of_next = of_next.reshape(((), weight.dim(1)?))?;
            let gradient = of_next.matmul(&weight.detach().to_dtype(of_next.dtype())?.t()?)?;
            let gradient = gradient.reshape(value.shape())?;
            if is_it(&gradient, 1e-3)? {
                return Ok(Some(Gradient { by: *by, tensor: gradient, error }));
            }
        }
        Ok(None)
    }
}

/// Whether a weight of zeros, as of a head that starts at 0, may have made zeros of an input: what the gradient of the
/// weight is made of tells the rest.
fn may_be_of_zeros(weight: &Tensor, input: &Tensor, made: &Tensor) -> Result<bool> {
    let (inner, columns) = weight.dims2()?;
    let fits = input.dims().last() == Some(&inner) && made.dims().last() == Some(&columns);
    let is_zero = |xs: &Tensor| -> Result<bool> {
        Ok(elements(&xs.detach(), &places(xs.elem_count(), PLACES))?.iter().all(|x| *x == 0.0))
    };
    Ok(fits
        && made.elem_count() * inner == input.elem_count() * columns
        && is_zero(weight)?
        && is_zero(made)?)
}

/// Elements of a weight's gradient, with their places: the largest of some. One that is 0, as beside a pixel at the edge or
/// a dead unit, is made by every tensor of zeros.
fn telling(of_weight: &Tensor) -> Result<Vec<(usize, f64)>> {
    const TELLING: usize = 4;
    let places = places(of_weight.elem_count(), PLACES);
    let mut found: Vec<(usize, f64)> =
        places.iter().copied().zip(elements(&of_weight.detach(), &places)?).collect();
    found.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    found.truncate(TELLING);
    Ok(found)
}

/// How a weight's gradient is made of a layer's input and the gradient of its output.
#[derive(Debug, Clone, Copy)]
enum Product {
    /// `dW = δᵀ x`, or its transpose.
    Matrix { is_transposed: bool },
    /// The sum over positions of `δ` and the patches of `x`.
    Filter(Filter),
}

impl Product {
    /// Whether these elements of a weight's gradient of the shape `dims` are made of this.
    fn makes(
        self,
        input: &Tensor,
        gradient: &Tensor,
        of_weight: &[(usize, f64)],
        dims: &[usize],
    ) -> Result<bool> {
        let gradient = &gradient.detach();
        for (place, expected) in of_weight {
            let at = indices(*place, dims);
            let (left, right): (Vec<usize>, Vec<usize>) = match self {
                Self::Matrix { is_transposed } => {
                    let (output, inner) = if is_transposed { (at[0], at[1]) } else { (at[1], at[0]) };
                    let [width, inputs] = [gradient, input].map(|xs| xs.dims().last().copied().unwrap_or(1));
                    let rows = gradient.elem_count() / width;
                    (0..rows).map(|row| (row * width + output, row * inputs + inner)).unzip()
                }
                Self::Filter(filter) => {
                    let (output, sizes) = (&gradient.dims()[2..], &input.dims()[2..]);
                    let [per_channel, pixels] = [output, sizes].map(|sizes| sizes.iter().product::<usize>());
                    let (channels, inputs) = (gradient.dim(1)?, input.dim(1)?);
                    let pairs = (0..gradient.dim(0)? * per_channel).filter_map(|position| {
                        let (sample, position) = (position / per_channel, position % per_channel);
                        let from = indices(position, output);
                        let pixel = (0..sizes.len()).try_fold(0, |pixel, axis| {
                            let along = from[axis] * filter.stride + at[2 + axis] * filter.dilation;
                            let along = along.checked_sub(filter.padding)?;
                            (along < sizes[axis]).then(|| pixel * sizes[axis] + along)
                        })?;
                        let of_gradient = (sample * channels + at[0]) * per_channel + position;
                        Some((of_gradient, (sample * inputs + at[1]) * pixels + pixel))
                    });
                    pairs.unzip()
                }
            };
            let (mut sum, mut magnitude) = (0.0, 0.0f64);
            for (d, x) in elements(gradient, &left)?.iter().zip(elements(input, &right)?) {
                (sum, magnitude) = (sum + d * x, magnitude + (d * x).abs());
            }
            if (expected - sum).abs() > 1e-4 * magnitude {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
