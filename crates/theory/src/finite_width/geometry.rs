//! A batch, by what the fluctuations of a network depend on: the lengths of its samples and the cosines of
//! pairs.

use super::lengths::Lengths;

/// What the fluctuations of a network depend on, of a batch of vectors: the samples of the input, or the
/// gradients of a loss with respect to the last layer's outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchGeometry {
    /// The number of vectors, at least 1.
    pub samples: usize,
    /// The mean square of all their elements.
    pub mean_square: f64,
    /// The vectors' own mean squares over that of all, of equal groups of them, rising; empty where they are
    /// equal.
    pub lengths: Vec<f64>,
    /// The mean cosine of two different vectors.
    pub cosine: f64,
    /// The mean square of the cosine of two different vectors.
    pub cosine_square: f64,
}

impl BatchGeometry {
    /// Independent vectors of normal numbers.
    ///
    /// ```
    /// let batch = wick_theory::BatchGeometry::normal(2000, 800, 1.0);
    /// assert_eq!((batch.cosine, batch.cosine_square), (0.0, 1.0 / 800.0));
    /// ```
    pub fn normal(samples: usize, features: usize, std: f64) -> Self {
        let features = features as f64;
        let length_variance = if samples > 1 { 2.0 / features } else { 0.0 };
        Self {
            samples,
            mean_square: std * std,
            lengths: Lengths::default().spread(length_variance).0,
            cosine: 0.0,
            cosine_square: 1.0 / features,
        }
    }

    /// The rows that stand for `rows` of them, at most `most`, rising: one from each of equal parts, by a hash of the
    /// part. A fixed stride would fall on the same pixels, positions or classes in every sample.
    ///
    /// ```
    /// let chosen = wick_theory::BatchGeometry::choose(6400, 100);
    /// assert_eq!(chosen.len(), 100);
    /// assert!(chosen.iter().enumerate().all(|(part, row)| row / 64 == part));
    /// assert!(chosen.iter().map(|row| row % 64).collect::<std::collections::HashSet<_>>().len() > 30);
    /// ```
    pub fn choose(rows: usize, most: usize) -> Vec<usize> {
        if rows <= most {
            return (0..rows).collect();
        }
        let part = |index: usize| {
            let (from, to) = (index * rows / most, (index + 1) * rows / most);
            from + (hash(index as u64) % (to - from) as u64) as usize
        };
        (0..most).map(part).collect()
    }

    /// The batch as it is, from its vectors one after another; the cosines from at most 100 of them,
    /// [chosen](Self::choose) by a hash.
    ///
    /// ```
    /// let batch = wick_theory::BatchGeometry::of(&[1.0f32, 0.0, 1.0, 1.0], 2);
    /// assert_eq!((batch.samples, batch.mean_square), (2, 0.75));
    /// assert!((batch.cosine_square - 0.5).abs() < 1e-12);
    /// ```
    pub fn of<T: Copy + Into<f64>>(values: &[T], features: usize) -> Self {
        Self::of_f64(&values.iter().map(|&x| x.into()).collect::<Vec<f64>>(), features)
    }

    fn of_f64(values: &[f64], features: usize) -> Self {
        const MAX_VECTORS: usize = 100;
        let features = features.max(1);
        let samples = values.len() / features;
        let squares: Vec<f64> = values.chunks_exact(features).map(|row| dot(row, row)).collect();
        let mean = squares.iter().sum::<f64>() / samples as f64;
        let chosen = Self::choose(samples, MAX_VECTORS);
        let row = |sample: usize| &values[sample * features..(sample + 1) * features];
        let (mut pairs, mut cosine, mut cosine_square) = (0.0, 0.0, 0.0);
        for (index, &a) in chosen.iter().enumerate() {
            for &b in &chosen[..index] {
                let length = (squares[a] * squares[b]).sqrt();
                let c = if length > 0.0 { dot(row(a), row(b)) / length } else { 0.0 };
                pairs += 1.0;
                cosine += c;
                cosine_square += c * c;
            }
        }
        let pairs = if pairs > 0.0 { pairs } else { 1.0 };
        Self {
            samples,
            mean_square: mean / features as f64,
            lengths: Lengths::from_squares(squares, mean).0,
            cosine: cosine / pairs,
            cosine_square: cosine_square / pairs,
        }
    }
}

/// The hash of a number: SplitMix64's (Steele, Lea and Flood 2014).
fn hash(number: u64) -> u64 {
    let mut x = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The inner product, by 8 partial sums that a vector unit can keep.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f64>() + rest
}
