//! The samples that stand for a batch in every draw, with what each of them does of its own (section 8 of
//! `docs/finite-width.md`).

use super::lengths::Lengths;
use super::noise::{DRAWS, Normals};

/// The largest number of samples that stand for a batch.
const MOST: usize = 8;

/// The number of samples that stand for a batch of so large a number.
pub(super) fn count(batch: f64) -> usize {
    (batch as usize).clamp(1, MOST)
}

/// Normal numbers of the samples' own fluctuations. Those of one draw add up to 0, because what samples have in
/// common is drawn apart.
pub(super) struct OwnNoise {
    count: usize,
    numbers: Vec<f64>,
}

/// Which numbers a layer takes: those of another draw, in another order.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Offset {
    draws: usize,
    samples: usize,
}

impl OwnNoise {
    pub(super) fn new(count: usize, normals: &mut Normals) -> Self {
        let mut numbers = vec![0.0; DRAWS * count];
        if count > 1 {
            for sample in 0..count {
                for (draw, number) in normals.draws().into_iter().enumerate() {
                    numbers[draw * count + sample] = number;
                }
            }
            let scale = (count as f64 / (count - 1) as f64).sqrt();
            for numbers in numbers.chunks_exact_mut(count) {
                let mean = numbers.iter().sum::<f64>() / count as f64;
                numbers.iter_mut().for_each(|number| *number = scale * (*number - mean));
            }
        }
        Self { count, numbers }
    }

    /// The numbers of another layer.
    pub(super) fn offset(&self, normals: &mut Normals) -> Offset {
        Offset { draws: normals.below(DRAWS), samples: normals.below(self.count) }
    }

    /// The numbers of a draw.
    pub(super) fn of(&self, offset: Offset, draw: usize) -> impl Iterator<Item = f64> + '_ {
        let from = (draw + offset.draws) % DRAWS * self.count;
        let numbers = &self.numbers[from..from + self.count];
        let (first, second) = numbers.split_at(offset.samples);
        second.iter().chain(first).copied()
    }
}

/// Factors by which to multiply each draw, so that the means over its few samples follow the draw's `q` alone, as those
/// over a large batch do. `means` are over the samples; what is left of each is the mean over draws of like `q`. Batches
/// no larger than the samples keep theirs: all factors are 1.
pub(super) fn to_large_batch(batch: f64, q_of_draws: &[f64], means: &[f64]) -> Vec<f64> {
    const ALIKE: usize = 200;
    let known = |mean: &f64| *mean > 0.0 && mean.is_finite();
    if batch <= MOST as f64 || !means.iter().all(known) {
        return vec![1.0; means.len()];
    }
    let mut order: Vec<usize> = (0..means.len()).collect();
    order.sort_by(|&a, &b| q_of_draws[a].total_cmp(&q_of_draws[b]));
    let mut factors = vec![1.0; means.len()];
    for alike in order.chunks(ALIKE) {
        let mean = alike.iter().map(|&draw| means[draw]).sum::<f64>() / alike.len() as f64;
        alike.iter().for_each(|&draw| factors[draw] = mean / means[draw]);
    }
    factors
}

/// The mean of the numbers of one draw, and their variance over the square of it.
pub(super) fn mean_and_variance(numbers: &[f64]) -> (f64, f64) {
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    if !(mean > 0.0 && mean.is_finite()) {
        return (mean, 0.0);
    }
    (mean, numbers.iter().map(|x| (x / mean - 1.0).powi(2)).sum::<f64>() / count)
}

/// The gradients' lengths in an order in which they go along with the samples' lengths as little as can be: it is not
/// known which samples have the large gradients.
pub(super) fn unrelated(gradients: &Lengths, lengths: &[f64]) -> Vec<f64> {
    let count = lengths.len();
    let rising = gradients.resampled(count);
    let ordered = |step: usize, start: usize| -> Vec<f64> {
        (0..count).map(|sample| rising[(start + step * sample) % count]).collect()
    };
    let relation = |order: &[f64]| {
        (order.iter().zip(lengths).map(|(a, b)| a * b).sum::<f64>() / count as f64 - 1.0).abs()
    };
    let orders = (1..=count).flat_map(|step| (0..count).map(move |start| (step, start)));
    orders
        .filter(|(step, _)| greatest_common_divisor(*step, count) == 1)
        .map(|(step, start)| ordered(step, start))
        .min_by(|a, b| relation(a).total_cmp(&relation(b)))
        .unwrap_or(rising)
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What samples do of their own has no mean in a draw and variance 1, and layers take other numbers.
    #[test]
    fn own_numbers_add_up_to_nothing() {
        let mut normals = Normals::new();
        let own = OwnNoise::new(4, &mut normals);
        let offsets = [own.offset(&mut normals), own.offset(&mut normals)];
        let numbers = |draw: usize| offsets.map(|offset| own.of(offset, draw).collect::<Vec<_>>());
        let (mut square, mut product) = (0.0, 0.0);
        for draw in 0..DRAWS {
            let [a, b] = numbers(draw);
            assert!(a.iter().sum::<f64>().abs() < 1e-12 && a.len() == 4);
            square += a.iter().map(|x| x * x).sum::<f64>() / (4 * DRAWS) as f64;
            product += a.iter().zip(&b).map(|(x, y)| x * y).sum::<f64>() / (4 * DRAWS) as f64;
        }
        // Of 16,000 numbers, at 4 standard deviations.
        assert!((square - 1.0).abs() < 0.06 && product.abs() < 0.04, "{square} {product}");
        assert!(OwnNoise::new(1, &mut normals).of(Offset::default(), 0).eq([0.0]));
    }

    /// Means over the samples of a large batch follow `q`; those of a small batch stay, and so do those of a batch
    /// without a signal.
    #[test]
    fn large_batches_keep_what_goes_by_their_length() {
        let q: Vec<f64> = (0..DRAWS).map(|draw| (draw / 200) as f64).collect();
        let means: Vec<f64> =
            (0..DRAWS).map(|draw| 1.0 + q[draw] + if draw % 2 == 0 { 0.5 } else { -0.5 }).collect();
        let factors = to_large_batch(100.0, &q, &means);
        let calm = means.iter().zip(&factors).zip(&q).all(|((m, f), q)| (m * f - 1.0 - q).abs() < 1e-9);
        assert!(calm);
        assert!(to_large_batch(8.0, &q, &means).iter().all(|&factor| factor == 1.0));
        assert!(to_large_batch(100.0, &q, &[0.0; DRAWS]).iter().all(|&factor| factor == 1.0));
    }

    /// Eight lengths in an order that goes along with eight others as little as can be.
    #[test]
    fn lengths_of_gradients_are_unrelated_to_those_of_samples() {
        let lengths = Lengths::default().spread(0.3).resampled(8);
        let order = unrelated(&Lengths::default().spread(0.5), &lengths);
        let relation =
            |order: &[f64]| order.iter().zip(&lengths).map(|(a, b)| a * b).sum::<f64>() / 8.0 - 1.0;
        let mut rising = order.clone();
        rising.sort_by(f64::total_cmp);
        assert!(relation(&order).abs() < 0.03 && relation(&rising) > 0.3, "{order:?}");
    }
}
