//! What a batch is to a network's fluctuations: its samples' lengths, and the cosines of pairs of them.

use std::sync::LazyLock;

use crate::special::normal_cdf;

/// A batch of vectors, by what a network's fluctuations depend on: the input's samples, or the gradients of a
/// loss with respect to the last layer's outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchGeometry {
    /// How many vectors. At least 1.
    pub samples: usize,
    /// The mean square of all their elements.
    pub mean_square: f64,
    /// The vectors' own mean squares over that of all, of equal groups of them, rising; empty where they are
    /// equal.
    pub lengths: Vec<f64>,
    /// The mean cosine of two of them.
    pub cosine: f64,
    /// The mean square of that cosine.
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
        let varied = if samples > 1 { 2.0 / features } else { 0.0 };
        Self {
            samples,
            mean_square: std * std,
            lengths: Lengths::default().varied(varied).0,
            cosine: 0.0,
            cosine_square: 1.0 / features,
        }
    }

    /// The batch as it is, from its vectors one after another; the cosines from at most 100 of them, evenly
    /// chosen.
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
        const MOST: usize = 100;
        let features = features.max(1);
        let samples = values.len() / features;
        let squares: Vec<f64> = values.chunks_exact(features).map(|row| dot(row, row)).collect();
        let mean = squares.iter().sum::<f64>() / samples as f64;
        let chosen: Vec<usize> = match samples {
            0..=MOST => (0..samples).collect(),
            _ => (0..MOST).map(|i| i * samples / MOST).collect(),
        };
        let row = |sample: usize| &values[sample * features..(sample + 1) * features];
        let (mut pairs, mut cosine, mut cosine_square) = (0.0, 0.0, 0.0);
        for (place, &a) in chosen.iter().enumerate() {
            for &b in &chosen[..place] {
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
            lengths: Lengths::of(squares, mean).0,
            cosine: cosine / pairs,
            cosine_square: cosine_square / pairs,
        }
    }
}

/// The inner product, by sums that run beside each other.
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

/// As [`BatchGeometry::lengths`].
#[derive(Debug, Clone, Default)]
pub(super) struct Lengths(pub(super) Vec<f64>);

/// Groups of samples by their lengths.
const GROUPS: usize = 20;

/// The middles of the groups of a standard normal.
static NORMAL_GROUPS: LazyLock<[f64; GROUPS]> = LazyLock::new(|| {
    std::array::from_fn(|group| {
        let share = (group as f64 + 0.5) / GROUPS as f64;
        let (mut low, mut high) = (-4.0, 4.0);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if normal_cdf(middle) < share { low = middle } else { high = middle }
        }
        low
    })
});

impl Lengths {
    pub(super) fn of(mut squares: Vec<f64>, mean: f64) -> Self {
        if mean <= 0.0 || squares.len() < 2 {
            return Self::default();
        }
        squares.sort_by(f64::total_cmp);
        let groups = squares.len().min(GROUPS);
        let group = |g: usize| {
            let of = &squares[g * squares.len() / groups..(g + 1) * squares.len() / groups];
            of.iter().sum::<f64>() / (of.len() as f64 * mean)
        };
        Self((0..groups).map(group).collect())
    }

    /// The variance of the lengths, of which the mean is 1.
    pub(super) fn spread(&self) -> f64 {
        self.mean(|length| (length - 1.0).powi(2))
    }

    pub(super) fn mean(&self, f: impl Fn(f64) -> f64) -> f64 {
        if self.0.is_empty() {
            f(1.0)
        } else {
            self.0.iter().map(|&length| f(length)).sum::<f64>() / self.0.len() as f64
        }
    }

    /// What `f` makes of them, with a mean of 1 again.
    pub(super) fn through(&self, f: impl Fn(f64) -> f64) -> Self {
        let through: Vec<f64> = self.0.iter().map(|&length| f(length)).collect();
        let mean = through.iter().sum::<f64>() / through.len().max(1) as f64;
        if mean > 0.0 {
            Self(through.into_iter().map(|length| length / mean).collect())
        } else {
            Self::default()
        }
    }

    /// After noise of this relative variance of its own on each: their logarithms spread, and keep their
    /// shape.
    pub(super) fn varied(self, variance: f64) -> Self {
        if variance <= 1e-12 {
            return self;
        }
        let logs: Vec<f64> = self.0.iter().map(|length| length.max(1e-30).ln()).collect();
        let mean = logs.iter().sum::<f64>() / logs.len().max(1) as f64;
        let before = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / logs.len().max(1) as f64;
        let more = variance.ln_1p();
        if before <= 1e-9 * more || logs.len() < 2 {
            return Self(NORMAL_GROUPS.to_vec()).through(|z| (z * more.sqrt()).exp());
        }
        let stretch = (1.0 + more / before).sqrt();
        Self(logs).through(|log| (mean + stretch * (log - mean)).exp())
    }
}

/// The cosines of pairs of different samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pairs {
    pub(super) samples: f64,
    pub(super) mean: f64,
    pub(super) variance: f64,
    /// Of the samples' lengths.
    pub(super) spread: f64,
}

impl Pairs {
    pub(super) fn of(batch: &BatchGeometry) -> Self {
        let variance = (batch.cosine_square - batch.cosine * batch.cosine).max(0.0);
        Self {
            samples: batch.samples.max(1) as f64,
            mean: batch.cosine,
            variance,
            spread: Lengths(batch.lengths.clone()).spread(),
        }
    }

    /// The mean of `f` over pairs of different samples, by three nodes.
    pub(super) fn of_two(&self, f: impl Fn(f64) -> f64) -> f64 {
        let off = (3.0 * self.variance).sqrt();
        let at = |c: f64| f(c.clamp(-1.0, 1.0));
        (at(self.mean - off) + 4.0 * at(self.mean) + at(self.mean + off)) / 6.0
    }

    /// The mean of `f` over all pairs, those of a sample with itself too.
    pub(super) fn over(&self, f: impl Fn(f64) -> f64) -> f64 {
        let itself = ((1.0 + self.spread) / self.samples).min(1.0);
        (1.0 - itself) * self.of_two(&f) + itself * f(1.0)
    }

    /// By how much more `f` is for a sample with itself.
    pub(super) fn own(&self, f: impl Fn(f64) -> f64) -> f64 {
        (f(1.0) - self.of_two(&f)).max(0.0)
    }

    pub(super) fn mean_square(&self) -> f64 {
        (self.mean * self.mean + self.variance).min(1.0)
    }

    /// After a mean over `units`, each of which varies by `by` as much as a product of two normals does.
    pub(super) fn blurred(self, by: f64, units: f64) -> Self {
        let room = (1.0 - self.mean_square()).powi(2);
        Self { variance: self.variance + by * room / units, ..self }
    }
}
