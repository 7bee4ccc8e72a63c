//! The handwritten digits of `assets/digits`.

use candle_core::Tensor;

use crate::CPU;

/// The digits: `[1797, 64]` pixels of 0 to 16 in `f32`, and their classes, `u32`.
pub fn digits() -> (Tensor, Tensor) {
    let (mut pixels, mut classes) = (Vec::new(), Vec::new());
    for line in include_str!("../../assets/digits/digits.csv").lines().skip(1) {
        let numbers: Vec<f32> = line.split(',').map(|number| number.parse().unwrap()).collect();
        pixels.extend_from_slice(&numbers[..64]);
        classes.push(numbers[64] as u32);
    }
    (Tensor::from_slice(&pixels, (classes.len(), 64), &CPU).unwrap(), Tensor::new(classes, &CPU).unwrap())
}
