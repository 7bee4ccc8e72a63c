//! The elements of tensors.

use candle_core::{DType, Tensor};

/// Returns the elements as `f64`.
pub fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Returns the largest of some differences, 0 if there are none, and infinity if one of them is NaN, which `f64::max`
/// would lose.
pub fn largest(differences: impl IntoIterator<Item = f64>) -> f64 {
    let larger = |worst: f64, off: f64| if off.is_nan() { f64::INFINITY } else { worst.max(off) };
    differences.into_iter().fold(0.0, larger)
}

/// Returns the bits of the elements of an `f32` tensor.
pub fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

#[cfg(test)]
mod tests {
    use super::largest;

    #[test]
    fn nan_is_the_largest_difference() {
        assert_eq!(largest([]), 0.0);
        assert_eq!(largest([1.0, 3.0, 2.0]), 3.0);
        for differences in [[f64::NAN, 1.0], [1.0, f64::NAN]] {
            assert_eq!(largest(differences), f64::INFINITY);
            assert_eq!(differences.into_iter().fold(0.0, f64::max), 1.0); // what `max` makes of it
        }
    }
}
