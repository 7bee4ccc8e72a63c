//! Counting `f32`s in up to thirty bins with the vector unit, with the same result as one by one.
//!
//! Each number has a slot: 0 below the range, then the bins, then one slot above the range. The slot is
//! guessed in `f32`, at most one too high, and decremented if the number is below the slot's smallest `f32`,
//! which a table holds; so every number at an edge is counted in the right bin.

mod narrow;
mod table;
mod wide;

use crate::cpu::simd::{SimdLevel, Units};
use crate::stats::histogram::edges::Edges;
use table::Table;

/// The slots of a range, and how to count them.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    edges: Edges,
    table: Table,
    is_wide: bool,
}

impl Slots {
    /// Returns `None` if the processor or the range do not allow it.
    pub(super) fn new(edges: &Edges) -> Option<Self> {
        let is_wide = match SimdLevel::best().units() {
            Units::Portable => return None,
            Units::Avx2 => false,
            Units::Avx512 => is_x86_feature_detected!("avx512vpopcntdq"),
        };
        Some(Self { edges: *edges, table: Table::new(edges)?, is_wide })
    }

    /// The edges of the bins.
    pub(super) fn edges(&self) -> &Edges {
        &self.edges
    }

    /// Adds to the counts of the bins; returns the number of values in no bin.
    pub(super) fn count(&self, values: &[f32], counts: &mut [u64]) -> u64 {
        let in_slots = if self.is_wide {
            // SAFETY: `new` has checked that the processor has the features that the function needs.
            unsafe { self.table.count_wide(values) }
        } else {
            // SAFETY: as above.
            unsafe { self.table.count_narrow(values) }
        };
        let bins = self.table.bins;
        for (count, more) in counts.iter_mut().zip(&in_slots[1..=bins]) {
            *count += more;
        }
        in_slots[0] + in_slots[bins + 1]
    }
}
