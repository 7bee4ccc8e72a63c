//! The rows of an input that a weight is multiplied by.

use candle_core::{DType, Device, Result, Tensor};
use wick_theory::BatchGeometry;

use super::layer::Kind;
use super::product::{Filter, filter, indices, is_product};
use super::sample::elements;

/// Variances of weights and biases.
#[derive(Debug, Clone, Copy)]
pub(super) struct Law {
    pub(super) weight: f64,
    pub(super) bias: f64,
}

/// The rows that a weight is multiplied by.
pub(super) struct Rows {
    /// The mean of `|x_p|²` over all rows.
    pub(super) square: f64,
    /// Some of the rows.
    pub(super) chosen: Vec<Vec<f64>>,
    /// How many there are.
    pub(super) count: usize,
}

impl Rows {
    /// The mean square of the outputs, and the variance of one unit's mean square, from the chosen rows.
    pub(super) fn moments(&self, law: Law, excess: f64) -> (f64, f64) {
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

/// The rows of an input, if its product with the weight is what was made; at most `most` of them are chosen.
pub(super) fn rows(
    kind: Kind,
    (input, weight, made): (&Tensor, &Tensor, &Tensor),
    most: usize,
) -> Result<Option<Rows>> {
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
            // An op takes it as `[outputs, inputs]`, a product as `[inputs, outputs]`.
            let is_turned = !is_product(&weight, &input, made)?;
            let weight = if is_turned { weight.t()? } else { weight };
            if is_turned && !is_product(&weight, &input, made)? {
                return Ok(None);
            }
            let width = weight.dim(0)?;
            let count = input.elem_count() / width;
            let chosen = BatchGeometry::choose(count, most);
            let row = |row: &usize| elements(&input, &(row * width..(row + 1) * width).collect::<Vec<_>>());
            let square = mean(&wide(&input)?.sqr()?)? * width as f64;
            Ok(Some(Rows { square, chosen: chosen.iter().map(row).collect::<Result<_>>()?, count }))
        }
        Kind::Conv => {
            let Some(filter) = filter(weight, &input, made)? else { return Ok(None) };
            Ok(Some(patches((&input, weight, made), filter, most)?))
        }
        _ => Ok(None),
    }
}

/// The patches of a convolution, with zeros where the filter is over the padding.
fn patches((input, weight, made): (&Tensor, &Tensor, &Tensor), filter: Filter, most: usize) -> Result<Rows> {
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
    for row in BatchGeometry::choose(count, most) {
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
pub(super) fn wide(xs: &Tensor) -> Result<Tensor> {
    match xs.dtype() {
        DType::F16 | DType::BF16 => xs.detach().to_dtype(DType::F32),
        _ => Ok(xs.detach()),
    }
}

pub(super) fn mean(xs: &Tensor) -> Result<f64> {
    xs.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?.mean_all()?.to_scalar::<f64>()
}
