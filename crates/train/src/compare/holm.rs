//! Many comparisons at once.

/// The probabilities of several comparisons, corrected for their number (Holm 1979, *A simple sequentially rejective
/// multiple test procedure*): of `n` probabilities the smallest is multiplied by `n`, the next by `n - 1`, and so on;
/// none is below one before it, or above 1. Where no comparison has a difference, the probability that any is called
/// one is at most the level.
///
/// ```
/// assert_eq!(wick_train::compare::holm(&[0.04, 0.01, 0.5]), [0.08, 0.03, 0.5]);
/// ```
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut places: Vec<usize> = (0..p.len()).collect();
    places.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let (mut corrected, mut largest) = (vec![0.0; p.len()], 0.0f64);
    for (rank, place) in places.into_iter().enumerate() {
        largest = largest.max(p[place] * (p.len() - rank) as f64).min(1.0);
        corrected[place] = largest;
    }
    corrected
}
