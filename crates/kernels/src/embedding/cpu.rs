//! Rows taken and added on a CPU.

use candle_core::WithDType;

use crate::cpu::element::Number;
use crate::cpu::parallel;

/// The number of elements that one task copies, about.
const TASK: usize = 1 << 15;
/// The number of parts of a table, each of which one task adds to.
const PARTS: usize = 16;

/// The rows of a table that the ids name.
pub(super) fn gather<T: WithDType>(table: &[T], ids: &[usize], width: usize) -> Vec<T> {
    let mut out = vec![T::zero(); ids.len() * width];
    if let Some(of_task) = TASK.checked_div(width) {
        let of_task = of_task.max(1);
        parallel::for_each_part(&mut out, of_task * width, |task, out| {
            for (row, id) in out.chunks_exact_mut(width).zip(&ids[task * of_task..]) {
                row.copy_from_slice(&table[id * width..][..width]);
            }
        });
    }
    out
}

/// The sum of the rows of the gradient that belong to each row of the table, in the order of the ids.
pub(super) fn sums<T: Number>(gradient: &[T], ids: &[usize], rows: usize, width: usize) -> Vec<T> {
    let mut out = vec![T::ZERO; rows * width];
    if width > 0 {
        let of_task = rows.div_ceil(PARTS).max(1);
        parallel::for_each_part(&mut out, of_task * width, |task, out| {
            let own = task * of_task..(task + 1) * of_task;
            for (row, id) in gradient.chunks_exact(width).zip(ids).filter(|(_, id)| own.contains(id)) {
                for (sum, x) in out[(id - own.start) * width..][..width].iter_mut().zip(row) {
                    *sum += *x;
                }
            }
        });
    }
    out
}
