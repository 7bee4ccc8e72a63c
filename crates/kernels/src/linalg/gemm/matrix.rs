//! Matrices as the products take them.

use std::ops::Range;

/// A matrix in memory.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a, T> {
    pub(super) data: &'a [T],
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) row_stride: usize,
    pub(super) column_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// A row-major matrix; `None` if the data do not have exactly `rows·columns` elements.
    pub fn new(data: &'a [T], rows: usize, columns: usize) -> Option<Self> {
        let whole = rows.checked_mul(columns) == Some(data.len());
        whole.then_some(Self { data, rows, columns, row_stride: columns, column_stride: 1 })
    }

    /// A row-major matrix whose rows begin `row_stride` elements apart: a part of a wider matrix. `None` if a
    /// row is longer than `row_stride`, or the data end before the last row does.
    pub fn part(data: &'a [T], rows: usize, columns: usize, row_stride: usize) -> Option<Self> {
        let fits = columns <= row_stride && end(rows, columns, row_stride)? <= data.len();
        fits.then_some(Self { data, rows, columns, row_stride, column_stride: 1 })
    }

    /// A matrix without elements.
    pub(crate) const fn empty() -> Self {
        Self { data: &[], rows: 0, columns: 0, row_stride: 0, column_stride: 1 }
    }

    /// The number of rows.
    pub fn rows(self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub fn columns(self) -> usize {
        self.columns
    }

    /// The transposed matrix, on the same data.
    pub fn t(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// One more than the index of the last element.
pub(super) fn end(rows: usize, columns: usize, row_stride: usize) -> Option<usize> {
    match rows {
        0 => Some(0),
        rows => (rows - 1).checked_mul(row_stride)?.checked_add(columns),
    }
}

/// A range in parts of `size`, of which the last may be shorter.
pub(super) fn chunks(all: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    all.clone().step_by(size).map(move |start| start..all.end.min(start + size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_that_do_not_fill_the_matrix_are_none() {
        assert!(Matrix::new(&[0f32; 5], 2, 3).is_none());
        assert!(Matrix::<f32>::new(&[], usize::MAX, 2).is_none());
    }
}
