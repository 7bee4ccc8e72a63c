//! The bits of every initializer from the keyed stream, in every type, which are fixed for ever.

use candle_core::{DType, Device};
use half::{bf16, f16};
use rand::Rng;

use crate::initializer::Initializer;
use crate::rng::keyed::KeyedV1;

/// FNV-1a.
fn hash(words: impl Iterator<Item = u64>) -> u64 {
    words.fold(0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ word).wrapping_mul(0x100_0000_01b3))
}

/// The hashes in `f32`, `f64`, `bf16` and `f16`, of seed 42 and the name `w`.
fn hashes(spec: &str, shape: &[usize]) -> [u64; 4] {
    let initializer: Initializer = spec.parse().unwrap();
    [DType::F32, DType::F64, DType::BF16, DType::F16].map(|dtype| {
        let drawn = initializer.tensor(KeyedV1::new(42).key("w"), shape, dtype, &Device::Cpu).unwrap();
        let flat = drawn.flatten_all().unwrap();
        match dtype {
            DType::F32 => hash(flat.to_vec1::<f32>().unwrap().into_iter().map(|x| x.to_bits().into())),
            DType::F64 => hash(flat.to_vec1::<f64>().unwrap().into_iter().map(f64::to_bits)),
            DType::BF16 => hash(flat.to_vec1::<bf16>().unwrap().into_iter().map(|x| x.to_bits().into())),
            _ => hash(flat.to_vec1::<f16>().unwrap().into_iter().map(|x| x.to_bits().into())),
        }
    })
}

/// The lines of the table: a SPEC, a shape, and the four hashes.
fn table() -> impl Iterator<Item = (&'static str, Vec<usize>, [u64; 4])> {
    let lines = include_str!("stability.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let shape = words[1].split('x').map(|side| side.parse().unwrap()).collect();
        let hash = |word: usize| u64::from_str_radix(words[word], 16).unwrap();
        (words[0], shape, [2, 3, 4, 5].map(hash))
    })
}

/// A change of these bits changes the weights of all users; it needs a line with **Values** in the CHANGELOG.
#[test]
fn values_are_stable() {
    let wrong: Vec<String> = table()
        .map(|(spec, shape, expected)| (spec, hashes(spec, &shape), expected))
        .filter(|(_, got, expected)| got != expected)
        .map(|(spec, got, _)| format!("{spec} {}", got.map(|hash| format!("{hash:016x}")).join(" ")))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_name_is_in_the_table() {
    for name in Initializer::names() {
        assert!(table().any(|(spec, ..)| spec.split(':').next() == Some(name)), "{name}");
    }
}

/// The words of [`Key::rng`](crate::Key::rng).
#[test]
fn generator_words_are_stable() {
    let mut rng = KeyedV1::new(42).key("w").rng();
    let words = hash((0..1000).map(|_| rng.next_u64()));
    assert_eq!(words, 0x773d_e1f0_08ad_41ca, "{words:#018x}");
}
