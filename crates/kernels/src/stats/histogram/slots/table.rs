//! The slots of a range, as the vector units look them up.

use crate::stats::histogram::edges::Edges;

/// The number of slots, which fit five bits: thirty bins, and the slots below and above the range.
pub(super) const SLOTS: usize = 32;

/// The slots of a range.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) bins: usize,
    pub(super) scale: f32,
    pub(super) offset: f32,
    /// The smallest number of each slot.
    pub(super) lows: [f32; SLOTS],
}

impl Table {
    /// Returns `None` if the range does not allow it: too many bins, or edges too close for `f32`.
    pub(super) fn new(edges: &Edges) -> Option<Self> {
        let Edges { low, high, bins, scale } = *edges;
        let largest = low.abs().max(high.abs());
        // Twice the largest error of the guess, in slots.
        let error = 2f64.powi(-22) * (largest * scale + (1.0 - low * scale).abs() + bins as f64 + 2.0);
        let fits = bins + 2 <= SLOTS
            && largest < 1e37
            && largest * scale < 1e37
            && (1e-37..1e37).contains(&scale)
            && error < 0.25;
        if !fits {
            return None;
        }
        let mut lows = [f32::INFINITY; SLOTS];
        lows[0] = f32::NEG_INFINITY;
        for (slot, place) in lows.iter_mut().enumerate().take(bins + 2).skip(1) {
            let reached = |x: f32| edges.slot(f64::from(x)) >= slot;
            *place = smallest(reached)?;
        }
        Some(Self { bins, scale: scale as f32, offset: (1.0 - low * scale + error) as f32, lows })
    }
}

/// The smallest number for which `holds` is true, if it is true for all larger numbers.
fn smallest(holds: impl Fn(f32) -> bool) -> Option<f32> {
    // The search runs over the ranks of the numbers: rounding moves an edge at 0 by many ranks.
    let ranked = |rank: i32| f32::from_bits(if rank < 0 { !rank as u32 | 1 << 31 } else { rank as u32 });
    let (lowest, highest) = (!(f32::MAX.to_bits() as i32), f32::MAX.to_bits() as i32);
    let (mut below, mut from) = (lowest, highest);
    if holds(ranked(below)) || !holds(ranked(from)) {
        return None;
    }
    while from - 1 > below {
        let middle = i32::midpoint(below, from);
        if holds(ranked(middle)) {
            from = middle;
        } else {
            below = middle;
        }
    }
    Some(ranked(from))
}
