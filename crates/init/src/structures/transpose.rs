//! Transposition of matrices.

use rayon::prelude::*;

/// Transposes a row-major matrix and maps its elements. Each core takes strips of 16 columns, and in them as
/// many rows as fit a cache line.
pub(crate) fn transposed<T: Copy + Sync, U: Copy + Default + Send>(
    matrix: &[T],
    rows: usize,
    columns: usize,
    map: impl Fn(T) -> U + Sync,
) -> Vec<U> {
    const SIDE: usize = 16;
    let mut out = vec![U::default(); matrix.len()];
    out.par_chunks_mut(SIDE * rows.max(1)).enumerate().for_each(|(strip, out)| {
        for row in (0..rows).step_by(SIDE) {
            for (column, out) in out.chunks_mut(rows).enumerate() {
                for r in row..rows.min(row + SIDE) {
                    out[r] = map(matrix[r * columns + strip * SIDE + column]);
                }
            }
        }
    });
    out
}
