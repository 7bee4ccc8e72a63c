use super::*;
use crate::stats::moments::Moments;
use proptest::prelude::*;

/// A normal number of a counter, by the sum of twelve uniform ones.
fn wave(i: u64) -> f64 {
    let mut state = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state =
            (state ^ (state >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9).wrapping_add(0x1234_5678_9abc_def1);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..12).map(|_| next()).sum::<f64>() - 6.0
}

fn two_passes(values: &[f64]) -> [f64; 4] {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    // The mean's own rounding is taken out again.
    let mean = mean + values.iter().map(|x| x - mean).sum::<f64>() / n;
    let moment = |k| values.iter().map(|x| (x - mean).powi(k)).sum::<f64>() / n;
    let variance = moment(2);
    [mean, variance, moment(3) / variance.powf(1.5), moment(4) / variance.powi(2)]
}

fn figures(stats: &Stats) -> [f64; 4] {
    [stats.mean(), stats.variance(), stats.skewness(), stats.kurtosis()]
}

/// 1e7 numbers of mean 1e4 and std 1e-2: the variance to 1e-9. Twin: `E x² - (E x)²`.
#[test]
fn ten_million_numbers_far_from_zero() {
    let values: Vec<f64> = (0..10_000_000).map(|i| 1e4 + 1e-2 * wave(i)).collect();
    let (got, expected) = (figures(&Stats::of(&values)), two_passes(&values));
    assert!((got[0] / expected[0] - 1.0).abs() < 1e-15);
    assert!((got[1] / expected[1] - 1.0).abs() < 1e-9, "{got:?} {expected:?}");
    assert!((got[2] - expected[2]).abs() < 1e-6 && (got[3] - expected[3]).abs() < 1e-6);
    let n = values.len() as f64;
    let naive = values.iter().map(|x| x * x).sum::<f64>() / n - (values.iter().sum::<f64>() / n).powi(2);
    assert!((naive / expected[1] - 1.0).abs() > 1e-9, "the twin that must fail: {naive}");
    let moments = values.chunks(8192).fold(Moments::default(), |mut all, block| {
        all.merge(&Moments::of(block));
        all
    });
    assert!((moments.variance() / expected[1] - 1.0).abs() < 1e-9);
}

proptest! {
    #[test]
    fn merged_at_any_split(values in prop::collection::vec(-1e3..1e3f64, 2..300), split in 0usize..300) {
        let (left, right) = values.split_at(split.min(values.len()));
        let mut merged = Stats::of(left);
        merged.merge(&Stats::of(right));
        let expected = two_passes(&values);
        for (got, expected) in figures(&merged).into_iter().zip(expected) {
            prop_assert!((got - expected).abs() < 1e-9 * expected.abs().max(1.0), "{got} {expected}");
        }
        prop_assert_eq!(merged.magnitudes().map(|(_, _, count)| count).sum::<u64>() + merged.zeros(), values.len() as u64);
    }

    #[test]
    fn bins_hold_their_numbers(x in prop::num::f32::NORMAL) {
        let (low, high) = edges(bin(f64::from(x)));
        prop_assert!(low <= f64::from(x) && f64::from(x) <= high && (high / low).abs().max((low / high).abs()) <= 1.25);
    }

    #[test]
    fn quantiles_to_a_bin(values in prop::collection::vec(-1e3..1e3f64, 1..200), p in 0.0..1.0f64) {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let place = ((p * values.len() as f64).ceil() as usize).clamp(1, values.len()) - 1;
        let (got, exact) = (Stats::of(&values).quantile(p), sorted[place]);
        prop_assert!((got - exact).abs() <= 0.25 * exact.abs() + 1e-9, "{got} {exact}");
    }
}

#[test]
fn non_finite_numbers_are_counted_and_left_out() {
    let stats = Stats::of(&[1.0f32, f32::NAN, f32::INFINITY, 3.0, f32::NEG_INFINITY, -0.0]);
    assert_eq!((stats.count(), stats.non_finite(), stats.zeros()), (6, 3, 1));
    assert_eq!((stats.mean(), stats.min(), stats.max()), (4.0 / 3.0, 0.0, 3.0));
    let nothing = Stats::of::<f32>(&[f32::NAN]);
    assert!(nothing.mean().is_nan() && nothing.quantile(0.5).is_nan() && nothing.min().is_nan());
    assert_eq!(Stats::default().count(), 0);
}

/// The same bits with one thread and with two, and of any type that holds the numbers.
#[test]
fn the_same_with_any_number_of_threads() {
    let values: Vec<f32> = (0..300_000).map(|i| wave(i) as f32).collect();
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(one.install(|| Stats::of(&values)), Stats::of(&values));
    let doubles: Vec<f64> = values.iter().map(|&x| f64::from(x)).collect();
    assert_eq!(Stats::of(&doubles), Stats::of(&values));
}
