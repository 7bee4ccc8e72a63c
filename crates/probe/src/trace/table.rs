//! Rows of a table that are looked up.

use std::collections::HashMap;

use candle_core::{Result, Tensor};

use super::sample::elements;

/// A table whose rows are looked up.
pub(super) struct Table {
    table: Tensor,
    width: usize,
    /// The rows by the bits of their first number.
    rows: HashMap<u64, Vec<usize>>,
}

impl Table {
    /// The table, if the tensor has rows of it.
    pub(super) fn of(table: &Tensor, made: &Tensor) -> Result<Option<Self>> {
        let (count, width) = table.dims2()?;
        let starts = elements(table, &(0..count).map(|row| row * width).collect::<Vec<_>>())?;
        let mut rows: HashMap<u64, Vec<usize>> = HashMap::new();
        for (row, start) in starts.iter().enumerate() {
            rows.entry(start.to_bits()).or_default().push(row);
        }
        let table = Self { table: table.clone(), width, rows };
        Ok(if table.makes(made)? { Some(table) } else { None })
    }

    /// Whether the first and the last row of a tensor are rows of the table.
    pub(super) fn makes(&self, tensor: &Tensor) -> Result<bool> {
        let width = self.width;
        if tensor.dims().last() != Some(&width) || tensor.elem_count() < width || width < 2 {
            return Ok(false);
        }
        let row_at = |tensor: &Tensor, row: usize| {
            elements(tensor, &(0..width).map(|i| row * width + i).collect::<Vec<_>>())
        };
        for row in [0, tensor.elem_count() / width - 1] {
            let start = elements(tensor, &[row * width])?[0];
            let Some(rows) = self.rows.get(&start.to_bits()) else { return Ok(false) };
            let made = row_at(tensor, row)?;
            // Rows of one number, as zeros, are in too many tensors to tell.
            if made.iter().all(|x| *x == made[0]) {
                return Ok(false);
            }
            let mut is_row = false;
            for row in rows.iter().take(64) {
                is_row = is_row || row_at(&self.table, *row)? == made;
            }
            if !is_row {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
