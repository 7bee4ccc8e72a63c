use std::time::{Duration, Instant};

use statrs::distribution::{ChiSquared, ContinuousCDF};
use wick_init::KeyedV1;

use super::*;

/// The level of every statistical test here.
const ALPHA: f64 = 1e-4;
const SEED: u64 = 42;
const EPOCHS: u64 = 10_000;

fn permutation(n: u64) -> PermutationV1 {
    PermutationV1::new(n, KeyedV1::new(SEED).key("order"))
}

fn order(n: usize) -> Order {
    Order::new(n, KeyedV1::new(SEED).key("order")).unwrap()
}

fn critical(freedom: usize) -> f64 {
    ChiSquared::new(freedom as f64).unwrap().inverse_cdf(1.0 - ALPHA)
}

/// χ² of counts that should all be equal.
fn chi_square(counts: &[u64]) -> f64 {
    let expected = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
    counts.iter().map(|&count| (count as f64 - expected).powi(2) / expected).sum()
}

#[test]
fn every_epoch_is_a_permutation() {
    for n in (1..=130).chain([255, 256, 257, 1000, 1797, 4096, 9999, 60_000]) {
        for epoch in [0, 1, 2, 1 << 40, u64::MAX] {
            let permutation = permutation(n).epoch(epoch);
            let mut seen = vec![false; n as usize];
            for place in 0..n {
                let number = permutation.at(place) as usize;
                assert!(!std::mem::replace(&mut seen[number], true), "n {n}, epoch {epoch}: {number} twice");
            }
        }
    }
}

#[test]
fn values_are_fixed() {
    let first = |n: u64, epoch: u64| -> Vec<u64> {
        let permutation = permutation(n).epoch(epoch);
        (0..n.min(10)).map(|place| permutation.at(place)).collect()
    };
    assert_eq!(first(10, 0), GOLDEN[0]);
    assert_eq!(first(10, 1), GOLDEN[1]);
    assert_eq!(first(60_000, 0), GOLDEN[2]);
    assert_eq!(first(60_000, 1_000_000_000), GOLDEN[3]);
    assert_eq!(first(PermutationV1::LARGEST, u64::MAX), GOLDEN[4]);
}

/// From the definition of [`PermutationV1`], by `assets/reference/order_v1.py` of the repository.
const GOLDEN: [[u64; 10]; 5] = [
    [2, 9, 6, 8, 4, 5, 3, 1, 0, 7],
    [6, 3, 1, 7, 8, 2, 4, 0, 9, 5],
    [47_686, 40_694, 26_279, 40_441, 29_961, 36_884, 3_736, 771, 25_870, 13_500],
    [18_986, 54_846, 13_660, 11_153, 8_422, 36_403, 39_122, 46_961, 39_149, 27_454],
    [
        632_854_852_622_504_143,
        204_808_339_927_275_308,
        2_033_270_022_614_461_013,
        3_675_057_606_208_891_474,
        3_246_095_371_595_861_548,
        1_655_848_148_862_940_508,
        734_091_232_925_402_239,
        4_429_698_676_623_125_154,
        3_637_158_818_848_805_056,
        50_850_525_424_103_925,
    ],
];

/// How often each of 16 samples stands at each of 16 places. (15/16)·χ² has 15² degrees of freedom, as the
/// sums of rows and columns are fixed. In a network of a single round, half of a number never changes.
#[test]
fn samples_are_at_all_places_equally_often() {
    const N: usize = 16;
    let statistic = |at: fn(&Epoch, u64) -> u64| {
        let mut counts = vec![0; N * N];
        for epoch in 0..EPOCHS {
            let permutation = permutation(N as u64).epoch(epoch);
            (0..N).for_each(|place| counts[place * N + at(&permutation, place as u64) as usize] += 1);
        }
        chi_square(&counts) * (N - 1) as f64 / N as f64
    };
    let most = critical((N - 1) * (N - 1));
    let ours = statistic(Epoch::at);
    assert!(ours < most, "{ours} is not below {most}");
    let twin = statistic(|permutation, place| permutation.at_with_rounds(place, 1));
    assert!(twin > most, "{twin} is not above {most}");
}

/// The samples at neighbouring places: all ordered pairs of 16 samples come equally often. A rotation by a
/// uniform distance in each epoch has uniform places, and neighbours that stay neighbours.
#[test]
fn neighbours_are_independent() {
    const N: usize = 16;
    let statistic = |pair: &dyn Fn(u64) -> (u64, u64)| {
        let mut counts = vec![0; N * N];
        (0..EPOCHS).map(pair).for_each(|(first, second)| counts[first as usize * N + second as usize] += 1);
        // A sample is no neighbour of its own.
        let mut pairs = Vec::new();
        for first in 0..N {
            for second in 0..N {
                if first == second {
                    assert_eq!(counts[first * N + second], 0);
                } else {
                    pairs.push(counts[first * N + second]);
                }
            }
        }
        chi_square(&pairs)
    };
    let most = critical(N * (N - 1) - 1);
    for place in 0..N as u64 - 1 {
        let ours = statistic(&|epoch| {
            let permutation = permutation(N as u64).epoch(epoch);
            (permutation.at(place), permutation.at(place + 1))
        });
        assert!(ours < most, "place {place}: {ours} is not below {most}");
    }
    let twin = statistic(&|epoch| {
        let first = permutation(N as u64).epoch(epoch).at(0);
        (first, (first + 1) % N as u64)
    });
    assert!(twin > most, "{twin} is not above {most}");
}

/// All permutations of few samples come equally often, the odd ones too: with a network of three rounds they
/// do not.
#[test]
fn all_permutations_of_few_samples_come_equally_often() {
    for (n, factorial) in [(2u64, 2usize), (3, 6), (4, 24), (5, 120), (6, 720)] {
        let statistic = |at: fn(&Epoch, u64) -> u64| {
            let mut counts = vec![0; factorial];
            for epoch in 0..100 * factorial as u64 {
                let permutation = permutation(n).epoch(epoch);
                let order: Vec<u64> = (0..n).map(|place| at(&permutation, place)).collect();
                // The number of the permutation in the order of words (Lehmer's code).
                let number = (0..n as usize).fold(0, |number, i| {
                    number * (n as usize - i)
                        + order[i + 1..].iter().filter(|later| **later < order[i]).count()
                });
                counts[number] += 1;
            }
            chi_square(&counts)
        };
        let most = critical(factorial - 1);
        let ours = statistic(Epoch::at);
        assert!(ours < most, "n {n}: {ours} is not below {most}");
        if n >= 5 {
            let twin = statistic(|permutation, place| permutation.at_with_rounds(place, 3));
            assert!(twin > most, "n {n}: {twin} is not above {most}");
        }
    }
}

/// The correlation of a sample's number with its place, with the next sample, and with the sample at its place
/// in the next epoch; √n times it is N(0, 1).
#[test]
fn nothing_is_correlated() {
    const N: u64 = 60_000;
    let [this, next] = [7, 8].map(|epoch| {
        let permutation = permutation(N).epoch(epoch);
        (0..N).map(|place| permutation.at(place) as f64).collect::<Vec<f64>>()
    });
    let correlation = |pairs: &mut dyn Iterator<Item = (f64, f64)>| {
        let middle = (N - 1) as f64 / 2.0;
        let variance = ((N * N - 1) as f64) / 12.0;
        let sum: f64 = pairs.map(|(x, y)| (x - middle) * (y - middle)).sum();
        sum / variance / (N as f64).sqrt()
    };
    // 3.89 is the two-sided critical value of N(0, 1) at α = 1e-4.
    let with_place = correlation(&mut this.iter().copied().zip((0..N).map(|place| place as f64)));
    let with_neighbour = correlation(&mut this.iter().copied().zip(this[1..].iter().copied()));
    let with_next_epoch = correlation(&mut this.iter().copied().zip(next.iter().copied()));
    for z in [with_place, with_neighbour, with_next_epoch] {
        assert!(z.abs() < 3.89, "{with_place} {with_neighbour} {with_next_epoch}");
    }
    let twin = correlation(&mut this.iter().copied().zip(this.iter().map(|x| (x + 1.0) % N as f64)));
    assert!(twin > 3.89, "{twin}");
}

#[test]
fn epochs_seeds_and_names_have_other_orders() {
    let orders = [
        Order::new(100, KeyedV1::new(1).key("order")).unwrap().epoch(0).collect::<Vec<_>>(),
        Order::new(100, KeyedV1::new(1).key("order")).unwrap().epoch(1).collect(),
        Order::new(100, KeyedV1::new(2).key("order")).unwrap().epoch(0).collect(),
        Order::new(100, KeyedV1::new(1).key("other")).unwrap().epoch(0).collect(),
        (0..100).collect(),
    ];
    for (i, one) in orders.iter().enumerate() {
        for other in &orders[i + 1..] {
            // Two orders agree at one place on average; P(more than 8) < 1e-6 (Poisson).
            let same = one.iter().zip(other).filter(|(a, b)| a == b).count();
            assert!(same <= 8, "{same} places of 100");
        }
    }
}

#[test]
fn steps_go_through_the_epochs() {
    for n in [1usize, 2, 9, 10, 64, 101] {
        for batch in [1, 2, 3, 10, 64].into_iter().filter(|batch| *batch <= n) {
            for shuffled in [true, false] {
                let order = if shuffled { order(n) } else { order(n).without_shuffling() };
                let steps = order.steps_per_epoch(batch).unwrap();
                for epoch in [0, 1, 5] {
                    let whole: Vec<usize> = order.epoch(epoch).collect();
                    let mut seen = Vec::new();
                    for step in 0..steps {
                        let position = order.position(epoch * steps + step, batch).unwrap();
                        assert_eq!((position.epoch, position.step_in_epoch), (epoch, step));
                        seen.extend(position.indices);
                    }
                    assert_eq!(seen, whole, "n {n}, batch {batch}");
                    let dropping = order.with_last_batch(LastBatch::Drop);
                    let full = n / batch;
                    assert_eq!(dropping.steps_per_epoch(batch).unwrap(), full as u64);
                    let last = dropping.position((epoch + 1) * full as u64 - 1, batch).unwrap();
                    assert_eq!(last.indices, whole[(full - 1) * batch..full * batch]);
                    assert_eq!(last.epoch, epoch);
                }
            }
        }
    }
    assert_eq!(order(5).without_shuffling().epoch(3).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

/// Any step, the last one too, costs what the first one costs.
#[test]
fn a_far_step_comes_at_once() {
    for step in [0, 1_000_000_000, u64::MAX] {
        let best = (0..20)
            .map(|_| {
                let begun = Instant::now();
                let position = order(60_000).position(step, 128).unwrap();
                assert!(!position.indices.is_empty());
                begun.elapsed()
            })
            .min();
        assert!(best < Some(Duration::from_millis(1)), "step {step}: {best:?}");
    }
}

#[test]
fn impossible_sizes_are_refused() {
    let error = |result: Result<u64, Error>| result.unwrap_err().to_string();
    let none = Order::new(0, KeyedV1::new(0).key("order")).unwrap_err().to_string();
    assert_eq!(none, "an order needs 1 to 2^62 samples, and there are 0: give data with samples");
    assert_eq!(error(order(10).steps_per_epoch(0)), "a batch of 0 is not between 1 and the 10 samples");
    assert_eq!(error(order(10).steps_per_epoch(11)), "a batch of 11 is not between 1 and the 10 samples");
    assert!(order(10).position(0, 11).is_err());
    assert!(usize::BITS < 64 || Order::new(usize::MAX, KeyedV1::new(0).key("order")).is_err());
}
