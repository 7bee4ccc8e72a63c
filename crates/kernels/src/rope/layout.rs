//! Pairs and positions of a head.

/// How the numbers of a head are paired, and where the positions are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeLayout {
    /// Heads `[batch, heads, positions, width]`; number `i` is paired with `i + width/2`.
    Halves,
    /// Heads `[batch, heads, positions, width]`; number `2i` is paired with `2i + 1`.
    Interleaved,
    /// Positions `[batch, positions, heads, width]`; number `i` is paired with `i + width/2`.
    HalvesOfPositions,
}
