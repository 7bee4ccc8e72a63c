use proptest::prelude::*;
use wick_init::{Key, KeyedV1};

use crate::data::{Parts, Split};

fn key(seed: u64) -> Key {
    KeyedV1::new(seed).key("split")
}

fn parts(split: &Split) -> [&[usize]; 3] {
    [&split.training, &split.validation, &split.test]
}

fn is_whole(split: &Split, samples: usize) -> bool {
    let mut all = parts(split).concat();
    all.sort_unstable();
    let is_sorted = parts(split).iter().all(|part| part.is_sorted());
    is_sorted && all == (0..samples).collect::<Vec<_>>()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Every class has its share in every part to within one sample, and at least one; a class that is refused
    /// has too few samples for that.
    #[test]
    fn classes_have_their_shares(
        sizes in prop::collection::vec(1usize..60, 1..8),
        validation in prop_oneof![Just(0.0), 0.01..0.6],
        test in prop_oneof![Just(0.0), Just(0.2), 0.01..0.39],
        seed in any::<u64>(),
    ) {
        let mut labels: Vec<u32> = Vec::new();
        sizes.iter().enumerate().for_each(|(class, size)| labels.extend(vec![3 * class as u32; *size]));
        let fractions = [1.0 - validation - test, validation, test];
        match Split::stratified(&labels, Parts::new(validation, test).unwrap(), key(seed)) {
            Ok(split) => {
                prop_assert!(is_whole(&split, labels.len()));
                for (part, fraction) in parts(&split).into_iter().zip(fractions) {
                    for (class, size) in sizes.iter().enumerate() {
                        let count = part.iter().filter(|sample| labels[**sample] == 3 * class as u32).count();
                        prop_assert!((count as f64 - fraction * *size as f64).abs() < 1.0);
                        prop_assert!(count > 0 || fraction == 0.0);
                    }
                }
            }
            Err(error) => {
                // Two parts are below one sample, and there is one to share.
                let message = error.to_string();
                for (class, &size) in sizes.iter().enumerate() {
                    let below = fractions.iter().filter(|f| **f > 0.0 && **f * (size as f64) < 1.0).count();
                    let named = message.contains(&format!(" {} ({size} sample", 3 * class));
                    prop_assert!(!named || below > 0, "{}", message);
                    prop_assert!(named || below < 2 || size > 2 || message.contains(" more "), "{}", message);
                }
            }
        }
        if let Ok(split) = Split::random(labels.len(), Parts::new(validation, test).unwrap(), key(seed)) {
            prop_assert!(is_whole(&split, labels.len()));
            for (part, fraction) in parts(&split).into_iter().zip(fractions) {
                prop_assert!((part.len() as f64 - fraction * labels.len() as f64).abs() < 1.0);
            }
        }
    }
}

/// Of 10 classes of 97 samples, each class keeps its share, and so do the parts.
#[test]
fn rounding_does_not_add_up() {
    let labels: Vec<u32> = (0..970).map(|sample| sample % 10).collect();
    let split = Split::stratified(&labels, Parts::new(0.15, 0.25).unwrap(), key(1)).unwrap();
    for (part, fraction) in parts(&split).into_iter().zip([0.6, 0.15, 0.25]) {
        assert!((part.len() as f64 - 970.0 * fraction).abs() <= 1.0, "{} of {fraction}", part.len());
    }
}

#[test]
fn a_split_is_fixed_and_depends_on_the_key() {
    let labels: Vec<u32> = (0..20).map(|sample| sample % 2).collect();
    let fractions = Parts::new(0.2, 0.2).unwrap();
    let split = |seed| Split::stratified(&labels, fractions, key(seed)).unwrap();
    assert_eq!(split(42), split(42));
    assert_ne!(split(42), split(43));
    assert_eq!(split(42).validation, GOLDEN[0]);
    assert_eq!(split(42).test, GOLDEN[1]);
    assert_eq!(Split::random(20, fractions, key(42)).unwrap().test, GOLDEN[2]);
}

/// From the definition, by the functions of `assets/reference/order_v1.py` of the repository.
const GOLDEN: [[usize; 4]; 3] = [[3, 4, 16, 17], [5, 8, 14, 15], [0, 4, 6, 16]];

#[test]
fn what_cannot_be_split_is_refused() {
    let key = key(0);
    let three = Parts::new(0.1, 0.1).unwrap();
    let none = Parts::new(0.0, 0.0).unwrap();
    let mut many: Vec<u32> = (0..9).collect();
    many.extend([20; 100]);
    for (error, text) in [
        (Parts::new(f64::NAN, 0.1).err(), "validation = NaN is out of range: it must be a fraction from 0"),
        (Parts::new(0.1, -0.1).err(), "test = -0.1 is out of range"),
        (Parts::new(0.5, 0.5).err(), "validation = 0.5 and test = 0.5 leave nothing to train on"),
        (
            Split::random(2, three, key).err(),
            "2 samples are too few for training, validation and test: add samples",
        ),
        (Split::random(0, three, key).err(), "there are 0"),
        (Split::stratified(&[], three, key).err(), "there are 0"),
        (
            Split::stratified(&[4, 4, 4], three, key).err(),
            "class 4 (3 samples) is too small for training, valid",
        ),
        (
            Split::stratified(&many, three, key).err(),
            "classes 0 (1 sample), 1 (1 sample), 2 (1 sample), 3 (1 sample), 4 (1 sample) and 4 more are too small",
        ),
    ] {
        let error = error.unwrap().to_string();
        assert!(error.contains(text) && !error.contains('\n'), "{error}");
    }
    let all = Split::stratified(&many, none, key).unwrap();
    assert_eq!((all.training.len(), all.validation.len() + all.test.len()), (109, 0));
}
