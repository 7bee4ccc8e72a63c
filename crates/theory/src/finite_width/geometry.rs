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
        Self::chosen(rows, most).collect()
    }

    /// The same rows, one after another.
    ///
    /// ```
    /// use wick_theory::BatchGeometry;
    ///
    /// assert!(BatchGeometry::chosen(6400, 100).eq(BatchGeometry::choose(6400, 100)));
    /// ```
    pub fn chosen(rows: usize, most: usize) -> impl Iterator<Item = usize> {
        let part = move |index: usize| {
            if rows <= most {
                return index;
            }
            let (from, to) = (index * rows / most, (index + 1) * rows / most);
            from + (hash(index as u64) % (to - from) as u64) as usize
        };
        (0..rows.min(most)).map(part)
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

    /// Does the same as [`of`](Self::of). It is inlined, with its loops, into a function that has a vector unit's
    /// instructions; no operation is fused, so that the bits are the same with any.
    ///
    /// ```
    /// use wick_theory::BatchGeometry;
    ///
    /// assert_eq!(BatchGeometry::of_f64(&[1.0, 0.0, 1.0, 1.0], 2), BatchGeometry::of(&[1.0f32, 0.0, 1.0, 1.0], 2));
    /// ```
    #[inline(always)]
    pub fn of_f64(values: &[f64], features: usize) -> Self {
        const MAX_VECTORS: usize = 100;
        let features = features.max(1);
        let samples = values.len() / features;
        let mut squares = Vec::with_capacity(samples);
        for row in values.chunks_exact(features) {
            squares.push(dot(row, row));
        }
        let mean = squares.iter().sum::<f64>() / samples as f64;
        let chosen = Self::choose(samples, MAX_VECTORS);
        let mut units = vec![0.0; chosen.len() * features];
        for (unit, &sample) in units.chunks_exact_mut(features).zip(&chosen) {
            let scale = if squares[sample] > 0.0 { squares[sample].sqrt().recip() } else { 0.0 };
            for (unit, x) in unit.iter_mut().zip(&values[sample * features..(sample + 1) * features]) {
                *unit = x * scale;
            }
        }
        let pairs = chosen.len() as f64 * (chosen.len() as f64 - 1.0) / 2.0;
        let [cosine, cosine_square] = if features < chosen.len() {
            sums_by_features(&units, features)
        } else {
            sums_by_pairs(&units, features)
        };
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

/// The sum of the cosines of all pairs of vectors of length 1 or 0, and that of their squares.
#[inline(always)]
fn sums_by_pairs(units: &[f64], features: usize) -> [f64; 2] {
    let rows: Vec<&[f64]> = units.chunks_exact(features).collect();
    let mut sums = [0.0; 2];
    for (index, a) in rows.iter().enumerate() {
        for b in &rows[..index] {
            let cosine = dot(a, b);
            sums[0] += cosine;
            sums[1] += cosine * cosine;
        }
    }
    sums
}

/// The same sums for few features: those over all pairs are the square of the sum of the vectors and the sum of the
/// squares of `UᵀU`, and a vector with itself has its own length.
#[inline(always)]
fn sums_by_features(units: &[f64], features: usize) -> [f64; 2] {
    let (mut sum, mut products) = (vec![0.0; features], vec![0.0; features * features]);
    let mut own = [0.0; 2];
    for row in units.chunks_exact(features) {
        for ((x, sum), products) in row.iter().zip(&mut sum).zip(products.chunks_exact_mut(features)) {
            *sum += x;
            for (product, y) in products.iter_mut().zip(row) {
                *product += x * y;
            }
        }
        let length = dot(row, row);
        own[0] += length;
        own[1] += length * length;
    }
    [(dot(&sum, &sum) - own[0]) / 2.0, (dot(&products, &products) - own[1]) / 2.0]
}

/// The inner product, by 8 partial sums that a vector unit can keep.
#[inline(always)]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let (mut rest, mut sum) = (0.0, 0.0);
    for (a, b) in a_rest.iter().zip(b_rest) {
        rest += a * b;
    }
    for lane in lanes {
        sum += lane;
    }
    sum + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ways to add up the cosines give the same, also with a vector of zeros; a wrong one is off by more.
    #[test]
    fn cosines_add_up_both_ways() {
        let features = 5;
        let mut units: Vec<f64> = (0..40).map(|i| f64::from(i * i % 23) - 9.0).collect();
        units[..features].fill(0.0);
        for row in units.chunks_exact_mut(features) {
            let length = dot(row, row).sqrt().max(1e-300);
            row.iter_mut().for_each(|x| *x /= length);
        }
        let (a, b) = (sums_by_pairs(&units, features), sums_by_features(&units, features));
        assert!((a[0] - b[0]).abs() < 1e-12 && (a[1] - b[1]).abs() < 1e-12, "{a:?} {b:?}");
        assert!(a[1] > 0.1);
    }
}
