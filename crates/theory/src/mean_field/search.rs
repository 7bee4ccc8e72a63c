//! The search for a length: by steps of a fixed factor, then by bisection.

/// Lengths below this count as 0.
pub(super) const SHORTEST: f64 = 1e-14;
/// Lengths above this count as infinite.
pub(super) const LONGEST: f64 = 1e6;
/// The factor between two steps of a search.
pub(super) const STEP: f64 = 1.25;

/// The lengths that a search from the shortest tries, in pairs of neighbours.
pub(super) fn intervals() -> impl Iterator<Item = (f64, f64)> {
    let mut before = SHORTEST;
    std::iter::successors(Some(SHORTEST), |q| Some(q * STEP))
        .take_while(|q| *q < LONGEST)
        .map(move |q| (std::mem::replace(&mut before, q), q))
}

/// The place between `low`, where `holds` is true, and `high`, where it is false, at which that changes.
pub(super) fn bisect(mut low: f64, mut high: f64, holds: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if holds(middle) { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}
