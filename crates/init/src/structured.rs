//! Schemes that fill a weight as a whole.

use candle_core::DType;
use rayon::prelude::*;
use wick_kernels::{SimdLevel, haar, qr};

use crate::plan::Plan;
use crate::source::{Source, Values};
use crate::stft::{self, Scaling, Side, Window};
use crate::{Centre, Distribution, Error, Initializer, SparseBy, WeightLayout};

/// A structure with its parameters checked.
#[derive(Clone, Copy)]
pub(crate) enum Structure<'a> {
    ForgetGate { value: f64 },
    Identity { gain: f64 },
    Dirac { groups: usize },
    Orthogonal { gain: f64 },
    DeltaOrthogonal { gain: f64, centre: Centre },
    Sparse { sparsity: f64, std: f64, by: SparseBy },
    Bilinear,
    Icnr { factor: usize, base: &'a Initializer },
    Zero,
    Stft { side: Side, window: Window, scaling: Scaling, periodic: bool },
}

impl Structure<'_> {
    /// Whether it can fill a weight of this shape.
    pub(crate) fn check(self, shape: &[usize]) -> Result<(), Error> {
        let (scheme, holds, needs) = match self {
            Self::ForgetGate { .. } => (
                "forget_gate",
                shape.len() == 1 && shape[0].is_multiple_of(4),
                "the bias of an LSTM [4·hidden]",
            ),
            Self::Identity { .. } => ("identity", shape.len() == 2, "two dimensions [out, in]"),
            Self::Dirac { groups } => (
                "dirac",
                is_convolution(shape) && groups > 0 && shape[0].is_multiple_of(groups),
                "a convolution [out, in/groups, kernel…] of 1 to 3 dimensions whose out is a multiple of groups",
            ),
            Self::Orthogonal { .. } => {
                ("orthogonal", shape.len() >= 2, "two or more dimensions [out, in, …]")
            }
            Self::DeltaOrthogonal { .. } => (
                "delta_orthogonal",
                is_convolution(shape) && shape[0] >= shape[1],
                "a convolution [out, in, kernel…] of 1 to 3 dimensions with no more inputs than outputs",
            ),
            Self::Sparse { .. } => ("sparse", shape.len() == 2, "two dimensions [out, in]"),
            Self::Bilinear => (
                "bilinear",
                is_convolution(shape) && shape[0].checked_rem(shape[1]).unwrap_or(0) == 0,
                "a convolution [channels, channels/groups, kernel…] of 1 to 3 dimensions",
            ),
            Self::Icnr { factor, .. } => (
                "icnr",
                is_convolution(shape)
                    && shuffled(factor, shape).is_some_and(|copies| shape[0].is_multiple_of(copies)),
                "a convolution [out, in, kernel…] whose out is a multiple of factor^dims",
            ),
            Self::Zero => (
                "zero",
                shape.len() == 2 || is_convolution(shape),
                "a matrix [out, in] or a convolution [out, in, kernel…]",
            ),
            Self::Stft { .. } => (
                "keras.stft",
                matches!(shape, [bands, 1, _] if *bands >= 2),
                "a convolution [bands, 1, frame] of two or more bands",
            ),
        };
        if holds { Ok(()) } else { Err(Error::Shape { shape: shape.to_vec(), scheme: scheme.into(), needs }) }
    }

    /// The mean square of the elements of a weight of this shape, where chance or orthogonality makes them even; the
    /// shape must have been checked.
    pub(crate) fn variance(self, shape: &[usize]) -> Option<f64> {
        let product = |sides: &[usize]| sides.iter().map(|&side| side as f64).product::<f64>();
        match self {
            Self::Orthogonal { gain } => {
                Some(gain * gain / product(&shape[..1]).max(product(&shape[1..])).max(1.0))
            }
            // As many columns of length gain as there are inputs.
            Self::DeltaOrthogonal { gain, .. } => {
                Some(gain * gain / (product(&shape[..1]) * product(&shape[2..])).max(1.0))
            }
            Self::Sparse { sparsity, std, by } => {
                let length = if by == SparseBy::Column { shape[0] as f64 } else { product(&shape[1..]) };
                Some((1.0 - (sparsity * length).ceil() / length.max(1.0)) * std * std)
            }
            _ => None,
        }
    }
}

/// The shape of one channel of each set that a pixel shuffle makes one of; the shape must have been checked.
pub(crate) fn one_of_each(factor: usize, shape: &[usize]) -> Vec<usize> {
    let mut one = shape.to_vec();
    one[0] /= shuffled(factor, shape).unwrap_or(1);
    one
}

/// How many channels a pixel shuffle makes one of: `factor` in each direction.
fn shuffled(factor: usize, shape: &[usize]) -> Option<usize> {
    factor.checked_pow(shape.len() as u32 - 2).filter(|copies| *copies > 0)
}

fn is_convolution(shape: &[usize]) -> bool {
    (3..=5).contains(&shape.len())
}

/// Fills a weight of this shape, row-major; the shape must have been checked.
pub(crate) fn fill(
    structure: Structure,
    source: &mut Source,
    shape: &[usize],
    layout: WeightLayout,
    dtype: DType,
) -> Result<Values, Error> {
    if let Structure::ForgetGate { value } = structure {
        let mut bias = vec![0.0; shape[0]];
        bias[shape[0] / 4..shape[0] / 2].fill(value);
        return Ok(Values::F64(bias));
    }
    let (out, inputs) = (shape[0], shape[1]);
    let field: usize = shape[2..].iter().product();
    if out * inputs * field == 0 {
        return Ok(Values::F64(Vec::new()));
    }
    if let Structure::Orthogonal { gain } = structure {
        return Ok(orthogonal(source, out, inputs * field, gain, dtype));
    }
    let mut weight = vec![0.0; out * inputs * field];
    let centre = match structure {
        Structure::DeltaOrthogonal { centre, .. } => offset(&shape[2..], centre),
        _ => offset(&shape[2..], Centre::Upper),
    };
    let at = |o: usize, i: usize| (o * inputs + i) * field + centre;
    match structure {
        Structure::Identity { gain } => {
            for i in 0..out.min(inputs) {
                weight[at(i, i)] = gain;
            }
        }
        Structure::Dirac { groups } => {
            let per_group = out / groups;
            for group in 0..groups {
                for i in 0..per_group.min(inputs) {
                    weight[at(group * per_group + i, i)] = 1.0;
                }
            }
        }
        Structure::ForgetGate { .. } | Structure::Orthogonal { .. } => {} // Done above.
        Structure::Stft { side, window, scaling, periodic } => {
            weight = stft::fill((out, field), side, window, scaling, periodic);
        }
        Structure::DeltaOrthogonal { gain, .. } => {
            let matrix = orthogonal(source, out, inputs, gain, dtype).into_f64();
            for o in 0..out {
                for i in 0..inputs {
                    weight[at(o, i)] = matrix[o * inputs + i];
                }
            }
        }
        Structure::Sparse { sparsity, std, by } => {
            let normal = Distribution::Normal { mean: 0.0, std };
            weight = source.draw_checked(normal, out * inputs, dtype)?.into_f64();
            let (lines, length) = match by {
                SparseBy::Column => (inputs, out),
                SparseBy::Row => (out, inputs),
            };
            let zeros = (sparsity * length as f64).ceil() as usize;
            let mut choices = None;
            for line in 0..lines {
                for place in source.permutation(&mut choices, length).into_iter().take(zeros) {
                    match by {
                        SparseBy::Column => weight[place * inputs + line] = 0.0,
                        SparseBy::Row => weight[line * inputs + place] = 0.0,
                    }
                }
            }
        }
        Structure::Bilinear => {
            let tent = tents(&shape[2..]);
            for channel in 0..out {
                // With all channels in one group, each meets itself; with a group each, its only one.
                let own = channel % inputs.max(1);
                if inputs > 0 {
                    let start = (channel * inputs + own) * field;
                    weight[start..start + field].copy_from_slice(&tent);
                }
            }
        }
        Structure::Icnr { factor, base } => {
            let one = one_of_each(factor, shape);
            let drawn = draw(base, source, &one, layout, dtype)?;
            let (row, copies) = (inputs * field, out / one[0]);
            for (o, weight) in weight.chunks_mut(row.max(1)).enumerate() {
                weight.copy_from_slice(&drawn[o / copies * row..][..row]);
            }
        }
        Structure::Zero => {
            if out <= inputs {
                for i in 0..out {
                    weight[at(i, i)] = 1.0;
                }
            } else {
                let power = out.next_power_of_two().trailing_zeros();
                // The paper's c; the authors' program has 2^(-m/2).
                let scale = 2f64.powi(1 - power as i32).sqrt();
                for o in 0..out {
                    for i in 0..inputs {
                        // Sylvester's Hadamard matrix: the sign is the parity of the bits in common.
                        let sign = if (o & i).count_ones() % 2 == 0 { 1.0 } else { -1.0 };
                        weight[at(o, i)] = scale * sign;
                    }
                }
            }
        }
    }
    Ok(Values::F64(weight))
}

/// Draws any scheme in `f64`.
fn draw(
    scheme: &Initializer,
    source: &mut Source,
    shape: &[usize],
    layout: WeightLayout,
    dtype: DType,
) -> Result<Vec<f64>, Error> {
    match scheme.plan(shape, layout)? {
        Plan::Independent(distribution) => {
            Ok(source.draw_checked(distribution, shape.iter().product(), dtype)?.into_f64())
        }
        Plan::Structure(structure) => fill(structure, source, shape, layout, dtype).map(Values::into_f64),
    }
}

/// The offset of a kernel's centre.
fn offset(kernel: &[usize], centre: Centre) -> usize {
    kernel.iter().fold(0, |offset, &side| {
        let middle = match centre {
            Centre::Upper => side / 2,
            Centre::Lower => side.saturating_sub(1) / 2,
        };
        offset * side + middle
    })
}

/// The product of a tent in each direction: `1 - |i - c|/f`, `f = ⌈side/2⌉`, around the kernel's middle
/// `c = (side - 1)/2`.
fn tents(kernel: &[usize]) -> Vec<f64> {
    let tent = |side: usize, i: usize| {
        let (f, c) = (side.div_ceil(2) as f64, 0.5 * (side as f64 - 1.0));
        1.0 - (i as f64 - c).abs() / f
    };
    kernel.iter().fold(vec![1.0], |so_far, &side| {
        so_far.iter().flat_map(|outer| (0..side).map(move |i| outer * tent(side, i))).collect()
    })
}

/// `gain` times a Haar-random matrix of `rows × columns` with orthonormal rows or columns, row-major. PyTorch's is the Q
/// of a Gaussian matrix's QR decomposition, with the signs of R's diagonal taken into it (Mezzadri 2007, *How to
/// generate random matrices from the classical compact groups*); ours has the same law at half the work.
fn orthogonal(source: &mut Source, rows: usize, columns: usize, gain: f64, dtype: DType) -> Values {
    let gaussian = source.draw(Distribution::Normal { mean: 0.0, std: 1.0 }, rows * columns, dtype);
    let is_torch = matches!(source, Source::Torch(_));
    let orthonormal_rows = if is_torch { qr::orthonormal_rows } else { haar::orthonormal_rows };
    // A wide matrix has its rows made orthonormal, a tall one its columns; a square one's are both.
    if rows < columns || (rows == columns && !is_torch) {
        let mut q = orthonormal_rows(SimdLevel::best(), gaussian.into_f64(), columns);
        q.iter_mut().for_each(|x| *x *= gain);
        return Values::F64(q);
    }
    let lines = match gaussian {
        // Reflections are drawn row by row, whichever way they lie in the end.
        gaussian if !is_torch => gaussian.into_f64(),
        Values::F32(gaussian) => transposed(&gaussian, rows, columns, f64::from),
        Values::F64(gaussian) => transposed(&gaussian, rows, columns, |x| x),
    };
    let q = orthonormal_rows(SimdLevel::best(), lines, rows);
    if dtype == DType::F32 {
        Values::F32(transposed(&q, columns, rows, |x| (x * gain) as f32))
    } else {
        Values::F64(transposed(&q, columns, rows, |x| x * gain))
    }
}

/// A row-major matrix transposed, some columns after the other on every core; within them, as many rows as fit a cache
/// line.
fn transposed<T: Copy + Sync, U: Copy + Default + Send>(
    matrix: &[T],
    rows: usize,
    columns: usize,
    of: impl Fn(T) -> U + Sync,
) -> Vec<U> {
    const SIDE: usize = 16;
    let mut out = vec![U::default(); matrix.len()];
    out.par_chunks_mut(SIDE * rows.max(1)).enumerate().for_each(|(strip, out)| {
        for row in (0..rows).step_by(SIDE) {
            for (column, out) in out.chunks_mut(rows).enumerate() {
                for r in row..rows.min(row + SIDE) {
                    out[r] = of(matrix[r * columns + strip * SIDE + column]);
                }
            }
        }
    });
    out
}

#[cfg(test)]
#[path = "structured_tests.rs"]
mod tests;
