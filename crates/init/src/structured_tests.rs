use super::*;
use crate::KeyedV1;

fn filled(scheme: &Initializer, shape: &[usize]) -> Vec<f64> {
    let mut source = Source::Keyed(KeyedV1::new(11).key("w"));
    draw(scheme, &mut source, shape, WeightLayout::Plain, DType::F64).unwrap()
}

/// The largest difference of `rows · rowsᵀ` from `gain²·I`.
fn gram_error(rows: &[f64], length: usize, gain: f64) -> f64 {
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
fn orthogonal_rows_or_columns() {
    let scheme = Initializer::Orthogonal { gain: 1.5 };
    for (rows, columns) in [(1, 1), (5, 5), (3, 40), (40, 3), (100, 70), (70, 100), (65, 65)] {
        let matrix = filled(&scheme, &[rows, columns]);
        let error = if rows <= columns {
            gram_error(&matrix, columns, 1.5)
        } else {
            gram_error(&transposed(&matrix, rows, columns, |x: f64| x), rows, 1.5)
        };
        assert!(error < 1e-13, "{rows}×{columns}: {error}");
    }
    let convolution = filled(&scheme, &[8, 3, 3, 3]);
    assert!(gram_error(&convolution, 27, 1.5) < 1e-13);
    // The twin: a Gaussian matrix is not orthogonal.
    assert!(gram_error(&filled(&Initializer::normal(0.1), &[40, 100]), 100, 1.0) > 1e-3);
}

/// Haar: E W⁴ = 3/(n(n+2)). n = 6, 3000 draws, seed 11; the mean of W⁴ over the matrix is within 4 of its own
/// standard errors; the twin, Gaussian entries of the same variance (3/n²), is not.
#[test]
fn orthogonal_is_haar() {
    let (n, draws) = (6, 3000);
    let scheme = Initializer::Orthogonal { gain: 1.0 };
    let fourth = |index: usize| {
        let mut source = Source::Keyed(KeyedV1::new(11).key(&format!("w{index}")));
        let w = draw(&scheme, &mut source, &[n, n], WeightLayout::Plain, DType::F64).unwrap();
        w.iter().map(|x| x.powi(4)).sum::<f64>() / (n * n) as f64
    };
    let values: Vec<f64> = (0..draws).map(fourth).collect();
    let mean = values.iter().sum::<f64>() / draws as f64;
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws as f64;
    let error = (variance / draws as f64).sqrt();
    assert!((mean - 3.0 / 48.0).abs() < 4.0 * error, "{mean} ± {error}");
    assert!((mean - 3.0 / 36.0).abs() > 4.0 * error);
}

#[test]
fn identities() {
    let matrix = filled(&Initializer::Identity { gain: 2.0 }, &[2, 3]);
    assert_eq!(matrix, [2.0, 0.0, 0.0, 0.0, 2.0, 0.0]);
    // torch.nn.init.dirac_(torch.empty(4, 2, 3), groups=2)
    let dirac = filled(&Initializer::Dirac { groups: 2 }, &[4, 2, 3]);
    let ones: Vec<usize> = dirac.iter().enumerate().filter(|(_, x)| **x != 0.0).map(|(i, _)| i).collect();
    assert_eq!(ones, [1, 10, 13, 22]);
    let delta = filled(&Initializer::DeltaOrthogonal { gain: 1.0, centre: Centre::Upper }, &[5, 3, 3, 3]);
    let centre: Vec<f64> = delta.chunks(9).map(|kernel| kernel[4]).collect();
    assert!(gram_error(&transposed(&centre, 5, 3, |x: f64| x), 5, 1.0) < 1e-14);
    // An even side has two middles: JAX takes the lower one.
    let places = |centre| {
        let delta = filled(&Initializer::DeltaOrthogonal { gain: 1.0, centre }, &[1, 1, 4, 2]);
        delta.iter().position(|x| *x != 0.0)
    };
    assert_eq!((places(Centre::Upper), places(Centre::Lower)), (Some(5), Some(2)));
    assert!(delta.chunks(9).all(|kernel| kernel.iter().filter(|x| **x != 0.0).count() <= 1));
}

#[test]
fn zeros_are_counted_in_columns_or_rows() {
    for (by, shape) in [(SparseBy::Column, [10, 7]), (SparseBy::Row, [7, 10])] {
        let matrix = filled(&Initializer::Sparse { sparsity: 0.31, std: 0.5, by }, &shape);
        let lines = if by == SparseBy::Row { matrix } else { transposed(&matrix, 10, 7, |x: f64| x) };
        let zeros: Vec<usize> = lines.chunks(10).map(|l| l.iter().filter(|x| **x == 0.0).count()).collect();
        assert_eq!(zeros, [4; 7]); // ⌈3.1⌉
        let places = |line: usize| (0..10).filter(|i| lines[line * 10 + i] == 0.0).collect::<Vec<_>>();
        assert!((1..7).any(|line| places(line) != places(0)), "each line has its own zeros");
    }
}

#[test]
fn bilinear_kernels_interpolate() {
    // The kernel of a factor of two: Long et al.'s 4×4.
    let weight = filled(&Initializer::Bilinear, &[2, 2, 4, 4]);
    let side = [0.25, 0.75, 0.75, 0.25];
    let kernel: Vec<f64> = side.iter().flat_map(|a| side.map(|b| a * b)).collect();
    assert_eq!(weight[..16], kernel);
    assert_eq!(weight[48..], kernel);
    assert!(weight[16..48].iter().all(|x| *x == 0.0));
    assert_eq!(filled(&Initializer::Bilinear, &[1, 1, 3]), [0.5, 1.0, 0.5]);
    assert_eq!(filled(&Initializer::Bilinear, &[3, 1, 3])[6..], [0.5, 1.0, 0.5], "a group for each channel");
}

#[test]
fn icnr_repeats_each_channel() {
    let base = Box::new(Initializer::kaiming_normal());
    let weight = filled(&Initializer::Icnr { factor: 2, base: base.clone() }, &[8, 3, 3, 3]);
    let rows: Vec<&[f64]> = weight.chunks(27).collect();
    assert!(rows[..4].iter().all(|row| *row == rows[0]) && rows[4..].iter().all(|row| *row == rows[4]));
    assert_ne!(rows[0], rows[4]);
    assert_eq!([rows[0], rows[4]].concat(), filled(&base, &[2, 3, 3, 3]));
}

#[test]
fn zero_is_identity_or_hadamard() {
    assert_eq!(filled(&Initializer::Zero, &[2, 2]), [1.0, 0.0, 0.0, 1.0]);
    let scale = 1.0 / 2f64.sqrt(); // 2^(-(2-1)/2)
    let expected = [1.0, 1.0, 1.0, -1.0, 1.0, 1.0].map(|x| x * scale);
    let got = filled(&Initializer::Zero, &[3, 2]);
    assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15), "{got:?}");
}

/// The paper's scale doubles |Wx|² where the outputs are a power of two; its authors' program would keep it.
#[test]
fn zero_doubles_what_it_widens_to_a_power_of_two() {
    let weight = filled(&Initializer::Zero, &[8, 3]);
    let lengths = (0..3).map(|i| weight.iter().skip(i).step_by(3).map(|x| x * x).sum::<f64>());
    assert!(lengths.clone().all(|square| (square - 2.0).abs() < 1e-14), "{:?}", lengths.collect::<Vec<_>>());
}

#[test]
fn the_forget_gate_is_the_second() {
    let got = Initializer::ForgetGate { value: 1.5 };
    let drawn = got.tensor(KeyedV1::new(0).key("b"), 8, DType::F64, &candle_core::Device::Cpu).unwrap();
    assert_eq!(drawn.to_vec1::<f64>().unwrap(), [0.0, 0.0, 1.5, 1.5, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn a_tensor_without_elements_is_filled_with_nothing() {
    let base = Box::new(Initializer::normal(1.0));
    for scheme in [
        Initializer::Dirac { groups: 1 },
        Initializer::DeltaOrthogonal { gain: 1.0, centre: Centre::Upper },
        Initializer::Orthogonal { gain: 1.0 },
        Initializer::Icnr { factor: 2, base },
        Initializer::Bilinear,
        Initializer::Zero,
    ] {
        for shape in [[4, 2, 0], [4, 0, 3], [0, 0, 3]] {
            assert!(filled(&scheme, &shape).is_empty(), "{scheme} {shape:?}");
        }
    }
}

#[test]
fn shapes_that_cannot_be_filled_are_named() {
    let base = Box::new(Initializer::normal(1.0));
    let icnr = Initializer::Icnr { factor: 2, base: base.clone() };
    let cases = [
        (Initializer::Identity { gain: 1.0 }, &[2, 2, 2][..]),
        (Initializer::Dirac { groups: 1 }, &[2, 2]),
        (Initializer::Dirac { groups: 3 }, &[4, 2, 3]),
        (Initializer::Dirac { groups: 0 }, &[4, 2, 3]),
        (Initializer::Orthogonal { gain: 1.0 }, &[2]),
        (Initializer::DeltaOrthogonal { gain: 1.0, centre: Centre::Upper }, &[2, 3, 3]),
        (Initializer::Sparse { sparsity: 0.5, std: 1.0, by: SparseBy::Row }, &[2, 2, 2]),
        (Initializer::Bilinear, &[2, 2]),
        (Initializer::Bilinear, &[4, 3, 3]),
        (Initializer::ForgetGate { value: 1.0 }, &[7]),
        (Initializer::Icnr { factor: 2, base: base.clone() }, &[6, 2, 3, 3]),
        (Initializer::Icnr { factor: usize::MAX, base }, &[6, 2, 3, 3]),
        (Initializer::Zero, &[]),
        ("keras.stft".parse().unwrap(), &[3, 2, 8]),
        ("keras.stft".parse().unwrap(), &[1, 1, 8]),
        (Initializer::Icnr { factor: 2, base: Box::new(icnr) }, &[16, 2, 3, 3]),
    ];
    for (scheme, shape) in cases {
        let error = scheme.std(shape).unwrap_err().to_string();
        assert!(error.contains(&format!("cannot fill shape {shape:?}")), "{scheme}: {error}");
    }
    let of_identity = Initializer::Icnr { factor: 2, base: Box::new(Initializer::Identity { gain: 1.0 }) };
    let error = of_identity.std(&[4, 2, 3, 3]).unwrap_err().to_string();
    assert!(error.contains("identity cannot fill shape [1, 2, 3, 3]"), "{error}");
}

/// Fixed for ever, as all bits of the keyed stream: on any processor, with any number of threads.
#[test]
fn orthogonal_bits_are_stable() {
    let digest = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let matrix = pool.install(|| filled(&Initializer::Orthogonal { gain: 1.0 }, &[300, 200]));
        matrix
            .iter()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, x| (hash ^ x.to_bits()).wrapping_mul(0x100_0000_01b3))
    };
    assert_eq!(digest(1), digest(2));
    assert_eq!(digest(1), 0x42b2_262c_0bcf_a7f7, "{:#x}", digest(1));
}
