//! Tests of all structured initializers, and functions that the tests of each one use.

use candle_core::{DType, Device};

use super::convolution::Centre;
use super::sparse::SparseBy;
use crate::initializer::Initializer;
use crate::rng::keyed::KeyedV1;

/// The elements of a weight from seed 11 and the name `w`.
pub(super) fn filled(initializer: &Initializer, shape: &[usize]) -> Vec<f64> {
    let weight = initializer.tensor(KeyedV1::new(11).key("w"), shape, DType::F64, &Device::Cpu).unwrap();
    weight.flatten_all().unwrap().to_vec1().unwrap()
}

/// The largest difference of `rows · rowsᵀ` from `gain²·I`.
pub(super) fn gram_error(rows: &[f64], length: usize, gain: f64) -> f64 {
    let mut worst: f64 = 0.0;
    for (i, a) in rows.chunks(length).enumerate() {
        for (j, b) in rows.chunks(length).enumerate() {
            let product: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
            worst = worst.max((product - if i == j { gain * gain } else { 0.0 }).abs());
        }
    }
    worst
}

#[test]
fn a_tensor_without_elements_is_filled_with_nothing() {
    let base = Initializer::normal(1.0);
    for initializer in [
        Initializer::dirac(1),
        Initializer::delta_orthogonal(1.0, Centre::Upper),
        Initializer::orthogonal(1.0),
        Initializer::icnr(2, base),
        Initializer::bilinear(),
        Initializer::zer_o(),
    ] {
        for shape in [[4, 2, 0], [4, 0, 3], [0, 0, 3]] {
            assert!(filled(&initializer, &shape).is_empty(), "{initializer} {shape:?}");
        }
    }
}

#[test]
fn shapes_that_cannot_be_filled_are_named() {
    let base = Initializer::normal(1.0);
    let icnr = Initializer::icnr(2, base.clone());
    let cases = [
        (Initializer::identity(1.0), &[2, 2, 2][..]),
        (Initializer::dirac(1), &[2, 2]),
        (Initializer::dirac(3), &[4, 2, 3]),
        (Initializer::dirac(0), &[4, 2, 3]),
        (Initializer::orthogonal(1.0), &[2]),
        (Initializer::delta_orthogonal(1.0, Centre::Upper), &[2, 3, 3]),
        (Initializer::sparse(0.5, 1.0, SparseBy::Row), &[2, 2, 2]),
        (Initializer::bilinear(), &[2, 2]),
        (Initializer::bilinear(), &[4, 3, 3]),
        (Initializer::forget_gate(1.0), &[7]),
        (Initializer::icnr(2, base.clone()), &[6, 2, 3, 3]),
        (Initializer::icnr(usize::MAX, base), &[6, 2, 3, 3]),
        (Initializer::zer_o(), &[]),
        ("keras.stft".parse().unwrap(), &[3, 2, 8]),
        ("keras.stft".parse().unwrap(), &[1, 1, 8]),
        (Initializer::icnr(2, icnr), &[16, 2, 3, 3]),
    ];
    for (initializer, shape) in cases {
        let error = initializer.std(shape).unwrap_err().to_string();
        assert!(error.contains(&format!("cannot fill shape {shape:?}")), "{initializer}: {error}");
    }
    let of_identity = Initializer::icnr(2, Initializer::identity(1.0));
    let error = of_identity.std(&[4, 2, 3, 3]).unwrap_err().to_string();
    assert!(error.contains("identity cannot fill shape [1, 2, 3, 3]"), "{error}");
}
