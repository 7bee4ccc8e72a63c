//! What the tests of the ops need: tensors of a formula, their numbers, pools of threads.

use candle_core::{DType, Device, Shape, Tensor, Var};

use crate::cpu::simd::SimdLevel;

/// Numbers of a wave, in `f64` and then in the type.
pub(crate) fn wave(shape: impl Into<Shape>, phase: f64, dtype: DType) -> Tensor {
    let shape = shape.into();
    let values: Vec<f64> =
        (0..shape.elem_count()).map(|i| (i as f64 * 0.7 + phase).sin() * 2.0 + 0.3).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}

pub(crate) fn numbers(xs: &Tensor) -> Vec<f64> {
    xs.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The largest difference, relative to the largest expected number; infinite if one of them is NaN.
pub(crate) fn apart(got: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(got.dims(), expected.dims());
    let (got, expected) = (numbers(got), numbers(expected));
    let largest = expected.iter().fold(f64::MIN_POSITIVE, |a, x| a.max(x.abs()));
    worst(got.iter().zip(&expected).map(|(a, b)| (a - b).abs())) / largest
}

/// The largest of some differences; infinite if one of them is NaN, which `f64::max` would lose.
pub(crate) fn worst(differences: impl Iterator<Item = f64>) -> f64 {
    differences.fold(0.0, |worst: f64, off| if off.is_nan() { f64::INFINITY } else { worst.max(off) })
}

/// The output of an op and the gradients of its inputs, for a loss with unequal weights.
pub(crate) fn passes(op: impl Fn(&[Tensor]) -> Tensor, inputs: &[Tensor]) -> Vec<Tensor> {
    let vars: Vec<Var> = inputs.iter().map(|x| Var::from_tensor(x).unwrap()).collect();
    let tracked: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let output = op(&tracked);
    let weights = wave(output.shape(), 1.0, DType::F64).to_dtype(output.dtype()).unwrap();
    let gradients = (&output * weights).unwrap().sum_all().unwrap().backward().unwrap();
    let of = |x: &Tensor| gradients.get(x).unwrap().clone();
    std::iter::once(output.detach()).chain(tracked.iter().map(of)).collect()
}

/// The result with that many threads.
pub(crate) fn in_pool<R: Send>(threads: usize, run: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
}

/// The levels that have a fused multiply-add.
pub(crate) fn fast_levels() -> Vec<SimdLevel> {
    SimdLevel::available().filter(|level| level.is_fast()).collect()
}

/// Types, with how far a result may be from that in `f64`: some units in the last place, of sums of thousands.
pub(crate) const TYPES: [(DType, f64); 4] =
    [(DType::F64, 1e-13), (DType::F32, 2e-6), (DType::BF16, 8e-3), (DType::F16, 1e-3)];
