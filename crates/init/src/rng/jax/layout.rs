//! From JAX's order of elements to candle's.

use rayon::prelude::*;

use crate::layout::WeightLayout;
use crate::structures::transpose::transposed;

/// Moves the axes of a weight that was drawn as JAX's `[kernel…, in, out]` to those of the layout: `[out, in,
/// kernel…]`, or of a transposed convolution `[in, out, kernel…]`. Vectors, embeddings, batches of
/// matrices and weights in JAX's own order stay as they are.
pub(crate) fn to_plain<T: Copy + Default + Send + Sync>(
    drawn: Vec<T>,
    shape: &[usize],
    layout: WeightLayout,
) -> Vec<T> {
    let [first, second, kernel @ ..] = shape else { return drawn };
    match layout {
        WeightLayout::InOut
        | WeightLayout::Embedding
        | WeightLayout::Batched
        | WeightLayout::BatchedInOut => drawn,
        WeightLayout::Transposed { .. } => {
            // [kernel…, in, out]
            let field: usize = kernel.iter().product();
            transposed(&drawn, field, first * second, |x| x)
        }
        _ => {
            let per_output = drawn.len() / (*first).max(1);
            let mut out = transposed(&drawn, per_output, *first, |x| x);
            inputs_first(&mut out, *second, kernel);
            out
        }
    }
}

/// Moves each output's `[kernel…, in]` to `[in, kernel…]`.
pub(crate) fn inputs_first<T: Copy + Default + Send + Sync>(
    weight: &mut [T],
    inputs: usize,
    kernel: &[usize],
) {
    let field: usize = kernel.iter().product();
    if field <= 1 || inputs <= 1 {
        return;
    }
    weight.par_chunks_exact_mut(field * inputs).for_each(|output| {
        let before = output.to_vec();
        for (input, out) in output.chunks_exact_mut(field).enumerate() {
            for (place, x) in out.iter_mut().enumerate() {
                *x = before[place * inputs + input];
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_move_to_where_candle_has_them() {
        // Elements that tell their place in JAX's [2, 3 (in), 4 (out)].
        let drawn: Vec<u32> = (0..24).collect();
        let plain = to_plain(drawn.clone(), &[4, 3, 2], WeightLayout::Plain);
        for (at, x) in plain.iter().enumerate() {
            let (out, input, place) = (at / 6, at / 2 % 3, at % 2);
            assert_eq!(*x as usize, place * 12 + input * 4 + out);
        }
        let layout = WeightLayout::Transposed { groups: 1, stride: 1 };
        let up = to_plain(drawn.clone(), &[3, 4, 2], layout);
        for (at, x) in up.iter().enumerate() {
            let (input, out, place) = (at / 8, at / 2 % 4, at % 2);
            assert_eq!(*x as usize, place * 12 + input * 4 + out);
        }
        assert_eq!(to_plain(drawn.clone(), &[2, 3, 4], WeightLayout::InOut), drawn);
        assert_eq!(to_plain(drawn.clone(), &[24], WeightLayout::Plain), drawn);
    }
}
