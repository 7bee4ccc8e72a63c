use super::*;
#[cfg(target_arch = "x86_64")]
use crate::cpu::simd::Units;

#[test]
fn merging_counts_what_adding_counts() {
    let values: Vec<f64> = (0..1000).map(|i| (f64::from(i) * 0.37).sin() * 1.2).collect();
    let mut all = Histogram::new(-1.0, 1.0, 30);
    all.add(&values);
    assert_eq!(all.counts.iter().sum::<u64>() + all.outside, 1000);
    assert!(all.outside > 0);
    let mut merged = Histogram::new(-1.0, 1.0, 30);
    for part in values.chunks(123) {
        let mut one = Histogram::new(-1.0, 1.0, 30);
        one.add(part);
        assert!(merged.merge(&one));
    }
    assert_eq!(merged, all);
    assert!(!merged.merge(&Histogram::new(-1.0, 2.0, 30)));
}

/// Counting many at once equals counting one by one: at every edge and next to it, for all numbers of bins,
/// for ranges near and far from 0, and for any number of values that is left over.
#[test]
fn many_at_once_are_counted_as_one_by_one() {
    for (low, high) in [
        (-1.0, 1.0),
        (0.0, 1.0),
        (-0.278_464_5, 3.7),
        (1e4, 1e4 + 1.0),
        (-1e30, 2e30),
        (1e-30, 3e-30),
        (1e-42, 3e-40),
    ] {
        for bins in [1, 2, 7, 29, 30, 31, 100] {
            let mut values = vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, f32::MAX, f32::MIN];
            for i in 0..=4 * bins {
                let x = (low + (high - low) * (i as f64 - bins as f64) / (2 * bins) as f64) as f32;
                values.extend([x.next_down().next_down(), x.next_down(), x, x.next_up()]);
            }
            for i in 0..1500 {
                values.push((low + (high - low) * (f64::from(i) * 0.618).fract()) as f32);
            }
            #[cfg(target_arch = "x86_64")]
            if (low, high, bins) == (-1.0, 1.0, 30) {
                let able = SimdLevel::best().units() > Units::Portable;
                assert_eq!(Histogram::new(low, high, bins).slots.is_some(), able, "the usual one is fast");
            }
            for count in [values.len(), 255, 256, 257, 511, 512, 513, 3, 0] {
                let mut fast = Histogram::new(low, high, bins);
                fast.add(&values[..count.min(values.len())]);
                let mut slow = Histogram::new(low, high, bins);
                slow.add_one_by_one(&values[..count.min(values.len())]);
                assert_eq!(fast, slow, "{low} {high} {bins} {count}");
            }
        }
    }
}

/// More equal numbers than the bytes of the counts can hold.
#[test]
fn many_equal_numbers() {
    for count in [7935, 7936, 7937, 100_000] {
        let mut histogram = Histogram::new(-1.0, 1.0, 30);
        histogram.add(&vec![1.0f32; count]);
        assert_eq!((histogram.counts[29], histogram.outside), (count as u64, 0));
    }
}

#[test]
fn a_range_without_width_is_widened() {
    let mut histogram = Histogram::new(3.0, 3.0, 2);
    histogram.add(&[3.0f32]);
    assert_eq!((histogram.low, histogram.high, &histogram.counts[..]), (2.5, 3.5, &[0, 1][..]));
}

#[test]
fn a_changed_range_is_the_one_that_counts() {
    let mut histogram = Histogram::new(0.0, 1.0, 2);
    (histogram.high, histogram.counts) = (4.0, vec![0; 4]);
    histogram.add(&[0.5f32, 3.5]);
    assert_eq!(histogram.counts, [1, 0, 0, 1]);
}
