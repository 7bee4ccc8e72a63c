//! Whether a tensor is what a weight makes of another tensor, by a few of its elements.

use candle_core::{Result, Tensor};

use super::sample::elements;

/// The largest padding that is tried.
const MOST_PADDING: usize = 16;

/// Whether a tensor is the product of another one with a weight whose elements are `[in, out]` in its own order.
pub(super) fn is_product(weight: &Tensor, before: &Tensor, made: &Tensor) -> Result<bool> {
    let Ok((inner, columns)) = weight.dims2() else { return Ok(false) };
    let fits = made.dims().last() == Some(&columns) && before.dims().last() == Some(&inner);
    if !fits
        || made.elem_count() == 0
        || inner == 0
        || made.elem_count() / columns != before.elem_count() / inner
    {
        return Ok(false);
    }
    let rows = made.elem_count() / columns;
    are_dots(before, weight, made, &[0, rows * columns - 1].map(|place| (place, place)), &|place| {
        let (row, column) = (place / columns, place % columns);
        (0..inner).map(|k| (row * inner + k, k * columns + column)).collect()
    })
}

/// How a filter goes over its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) stride: usize,
    pub(super) dilation: usize,
    pub(super) padding: usize,
}

/// Whether a tensor is the convolution of another one with filters `[out, in, kernel…]`.
pub(super) fn is_convolution(weight: &Tensor, before: &Tensor, made: &Tensor) -> Result<bool> {
    Ok(filter(weight, before, made)?.is_some())
}

/// How filters `[out, in, kernel…]` make a tensor of another one, if they do: a stride of 1 to 4, a dilation of 1 or 2
/// and a padding within the filter are tried. An element in the middle, one at the beginning and one at the end are
/// compared: small outputs of other strides have the same middle.
pub(super) fn filter(weight: &Tensor, before: &Tensor, made: &Tensor) -> Result<Option<Filter>> {
    let (filter, dims, from) = (weight.dims(), made.dims(), before.dims());
    let fits = filter.len() >= 3 && dims.len() == filter.len() && from.len() == dims.len();
    if !fits || dims[0] != from[0] || dims[1] != filter[0] || from[1] != filter[1] || dims.contains(&0) {
        return Ok(None);
    }
    let (kernel, output, input) = (&filter[2..], &dims[2..], &from[2..]);
    let [taps, pixels, of_made] = [kernel, input, output].map(|sizes| sizes.iter().product::<usize>());
    let middle: Vec<usize> = output.iter().map(|size| size / 2).collect();
    let places = [(0, position(&middle, output)), (dims[1] - 1, 0), (0, of_made - 1)];
    let settings = (1..=4).flat_map(|stride| [(stride, 1), (stride, 2)]);
    let settings =
        settings.flat_map(|(stride, dilation)| (0..=MOST_PADDING).map(move |p| (stride, dilation, p)));
    for (stride, dilation, padding) in settings {
        let leads_to = |axis: usize| {
            let extent = dilation * (kernel[axis] - 1) + 1;
            let room = (input[axis] + 2 * padding).checked_sub(extent);
            padding < extent && room.is_some_and(|room| room / stride + 1 == output[axis])
        };
        if !(0..kernel.len()).all(leads_to) {
            continue;
        }
        let pairs = |(channel, at): (usize, usize)| {
            let from = indices(at, output);
            let mut pairs = Vec::new();
            for tap in 0..taps {
                let offsets = indices(tap, kernel);
                let place: Option<Vec<usize>> = (0..kernel.len())
                    .map(|axis| {
                        let place = from[axis] * stride + offsets[axis] * dilation;
                        place.checked_sub(padding).filter(|place| *place < input[axis])
                    })
                    .collect();
                let Some(place) = place else { continue };
                let place = position(&place, input);
                pairs.extend(
                    (0..filter[1])
                        .map(|inner| (inner * pixels + place, (channel * filter[1] + inner) * taps + tap)),
                );
            }
            pairs
        };
        let places = places.map(|(channel, at)| (channel * of_made + at, (channel, at)));
        if are_dots(before, weight, made, &places, &pairs)? {
            return Ok(Some(Filter { stride, dilation, padding }));
        }
    }
    Ok(None)
}

/// Whether elements of a tensor, each with what tells its pairs, are sums of products of the pairs.
fn are_dots<P: Copy>(
    before: &Tensor,
    weight: &Tensor,
    made: &Tensor,
    places: &[(usize, P)],
    pairs: &dyn Fn(P) -> Vec<(usize, usize)>,
) -> Result<bool> {
    for &(place, of) in places {
        let (left, right): (Vec<usize>, Vec<usize>) = pairs(of).into_iter().unzip();
        let (mut sum, mut magnitude) = (0.0, 0.0f64);
        for (x, w) in elements(before, &left)?.iter().zip(elements(weight, &right)?) {
            (sum, magnitude) = (sum + x * w, magnitude + (x * w).abs());
        }
        let is_equal = magnitude > 0.0 && (elements(made, &[place])?[0] - sum).abs() <= 1e-4 * magnitude;
        if !is_equal {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The indices of an element in row-major order.
pub(super) fn indices(mut place: usize, dims: &[usize]) -> Vec<usize> {
    let mut at = vec![0; dims.len()];
    for (index, dim) in at.iter_mut().zip(dims).rev() {
        (*index, place) = (place % dim, place / dim);
    }
    at
}

pub(super) fn position(at: &[usize], dims: &[usize]) -> usize {
    at.iter().zip(dims).fold(0, |position, (index, dim)| position * dim + index)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Convolutions of all strides, paddings and dilations are found, and no others.
    #[test]
    fn convolutions_are_found() -> Result<()> {
        let normal =
            |shape: &[usize]| -> Result<Tensor> { Ok(super::super::test_numbers::normal(1.0, shape)) };
        let (x, w) = (normal(&[2, 3, 11, 14])?, normal(&[4, 3, 3, 3])?);
        for (padding, stride, dilation) in [(0, 1, 1), (1, 1, 1), (1, 2, 1), (2, 1, 2), (0, 3, 1), (1, 4, 1)]
        {
            let made = x.conv2d(&w, padding, stride, dilation, 1)?;
            assert!(is_convolution(&w, &x, &made)?, "{padding} {stride} {dilation}");
            assert!(!is_convolution(&w, &x, &(made * 1.01)?)?);
        }
        let (x, w) = (normal(&[2, 3, 17])?, normal(&[5, 3, 4])?);
        assert!(is_convolution(&w, &x, &x.conv1d(&w, 1, 1, 1, 1)?)?);
        Ok(())
    }

    #[test]
    fn products_are_found() -> Result<()> {
        let normal =
            |shape: &[usize]| -> Result<Tensor> { Ok(super::super::test_numbers::normal(1.0, shape)) };
        let (x, w) = (normal(&[6, 5])?, normal(&[7, 5])?);
        let made = x.matmul(&w.t()?)?;
        assert!(is_product(&w.t()?, &x, &made)? && is_product(&w.t()?, &x, &made.reshape((2, 3, 7))?)?);
        assert!(!is_product(&w.t()?, &x, &(made + 0.1)?)?);
        Ok(())
    }
}
