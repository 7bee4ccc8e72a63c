//! The sum of products of two tensors, as one op.

#[cfg(feature = "cuda")]
mod cuda;

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};

use crate::cpu::element::Number;
use crate::cpu::simd::{self, SimdLevel};
use crate::cpu::{parallel, slice};

/// `Σ aᵢ bᵢ` over all elements, a scalar, differentiable in both: `∂/∂a = g·b` and `∂/∂b = g·a`. Losses and
/// penalties consist of such sums: `Σ o·g`, `Σ w²`.
///
/// `f32` and `f64` on a CPU are summed in one pass in `f64`, in blocks of a fixed size: the same bits with
/// any number of threads. So are all four types on an NVIDIA GPU, with the same bits each time on the same
/// GPU. Other types and devices are left to candle's `(a * b)?.sum_all()`, which makes a tensor of the
/// products and sums in the elements' own type.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use wick_kernels::dot;
///
/// let (a, b) = (Var::new(&[1f32, 2.0], &Device::Cpu)?, Tensor::new(&[3f32, -4.0], &Device::Cpu)?);
/// let sum = dot(&a, &b)?;
/// assert_eq!(sum.to_scalar::<f32>()?, -5.0);
/// let gradient = sum.backward()?.get(&a).map(|g| g.to_vec1::<f32>()).transpose()?;
/// assert_eq!(gradient, Some(vec![3.0, -4.0]));
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If shapes, types or devices differ.
pub fn dot(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.shape() != b.shape() || a.dtype() != b.dtype() || !a.device().same_device(b.device()) {
        bail!(
            "a sum of products takes two tensors of one shape, type and device, not {:?} {:?} and {:?} {:?}",
            a.dtype(),
            a.shape(),
            b.dtype(),
            b.shape()
        );
    }
    if a.device().is_cpu() && matches!(a.dtype(), DType::F32 | DType::F64) {
        return a.contiguous()?.apply_op2(&b.contiguous()?, Dot);
    }
    #[cfg(feature = "cuda")]
    if cuda::has_kernels(a) {
        return a.contiguous()?.apply_op2(&b.contiguous()?, Dot);
    }
    (a * b)?.sum_all()
}

struct Dot;

impl CustomOp2 for Dot {
    fn name(&self) -> &'static str {
        "dot"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let sum = match a {
            CpuStorage::F32(_) => {
                let sum = sum_of::<f32>(slice::of(a, a_layout)?, slice::of(b, b_layout)?);
                CpuStorage::F32(vec![sum as f32])
            }
            _ => CpuStorage::F64(vec![sum_of::<f64>(slice::of(a, a_layout)?, slice::of(b, b_layout)?)]),
        };
        Ok((sum, Shape::from(())))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        a: &CudaStorage,
        a_layout: &Layout,
        b: &CudaStorage,
        b_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda::dot((a, a_layout), (b, b_layout))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let of = |with_respect_to: &Tensor, other: &Tensor| {
            with_respect_to.track_op().then(|| scaled(other, gradient)).transpose()
        };
        Ok((of(a, b)?, of(b, a)?))
    }
}

/// The tensor times a scalar. If the scalar is 1, as it is at the end of a loss, the tensor itself.
fn scaled(xs: &Tensor, scalar: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if xs.device().is_cuda() {
        return cuda::scaled(xs, scalar);
    }
    let scalar = scalar.to_dtype(DType::F64)?.to_scalar::<f64>()?;
    if scalar == 1.0 { Ok(xs.detach()) } else { xs.detach().affine(scalar, 0.0) }
}

/// The number of elements that are summed as one block.
const BLOCK: usize = 1 << 13;
/// The number of sums that run in parallel: fixed, so that the bits do not depend on the processor.
const LANES: usize = 16;

/// `Σ aᵢ bᵢ` in `f64`, in blocks of a fixed size.
pub(crate) fn sum_of<T: Number>(a: &[T], b: &[T]) -> f64 {
    let blocks = parallel::map(a.len().div_ceil(BLOCK), |block| {
        let places = block * BLOCK..a.len().min((block + 1) * BLOCK);
        simd::run(SimdLevel::best(), Products { a: &a[places.clone()], b: &b[places] })
    });
    blocks.into_iter().sum()
}

struct Products<'a, T> {
    a: &'a [T],
    b: &'a [T],
}

impl<T: Number> simd::Task for Products<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let mut lanes = [0.0f64; LANES];
        let (a, a_rest) = self.a.as_chunks::<LANES>();
        let (b, b_rest) = self.b.as_chunks::<LANES>();
        for (a, b) in a.iter().zip(b) {
            for (sum, (&a, &b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
                *sum += a.widen() * b.widen();
            }
        }
        for (sum, (&a, &b)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
            *sum += a.widen() * b.widen();
        }
        lanes.into_iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    fn wave(count: usize, dtype: DType) -> Tensor {
        let values: Vec<f64> = (0..count).map(|i| (i as f64 * 0.7).sin() * 3.0 + 1.0).collect();
        Tensor::new(values, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
    }

    fn number(x: &Tensor) -> f64 {
        x.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
    }

    /// Compares with a plain sum in `f64`, for sizes around those of a lane and a block. Products of `f32`
    /// are exact in `f64`.
    #[test]
    fn against_a_plain_sum() {
        for (dtype, bound) in [(DType::F32, 6e-8), (DType::F64, 1e-13)] {
            for count in [0, 1, 15, 16, 17, BLOCK - 1, BLOCK, BLOCK + 1, 100_003] {
                let (a, b) = (wave(count, dtype), wave(2 * count, dtype).narrow(0, count, count).unwrap());
                let numbers = |x: &Tensor| x.to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
                let expected: f64 = numbers(&a).iter().zip(numbers(&b)).map(|(a, b)| a * b).sum();
                let got = number(&dot(&a, &b).unwrap());
                assert!(
                    (got - expected).abs() <= bound * expected.abs(),
                    "{count} {dtype:?}: {got} {expected}"
                );
            }
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let (a, b) = (wave(300_001, DType::F64), wave(300_001, DType::F64).affine(0.3, 1e8).unwrap());
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let run = |threads| pool(threads).install(|| number(&dot(&a, &b).unwrap()).to_bits());
        assert_eq!(run(1), run(2));
    }

    /// The gradients of the product of two tensors, one transposed, and of a tensor with itself equal those
    /// of candle's ops.
    #[test]
    fn gradients_are_those_of_candles_ops() {
        for dtype in [DType::F32, DType::F64, DType::BF16] {
            let a = Var::from_tensor(&wave(12, dtype).reshape((3, 4)).unwrap()).unwrap();
            let b = Var::from_tensor(&wave(12, dtype).affine(0.5, 1.0).unwrap().reshape((4, 3)).unwrap())
                .unwrap();
            let losses = |product: &dyn Fn(&Tensor, &Tensor) -> Tensor| {
                let both = product(&a, &b.t().unwrap());
                let square = product(&a, &a);
                ((both * -0.5).unwrap() + square).unwrap()
            };
            let ours = losses(&|a, b| dot(a, b).unwrap()).backward().unwrap();
            let theirs = losses(&|a, b| (a * b).unwrap().sum_all().unwrap()).backward().unwrap();
            for var in [&a, &b] {
                let numbers = |store: &candle_core::backprop::GradStore| {
                    let gradient = store.get(var).unwrap().to_dtype(DType::F64).unwrap();
                    gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap()
                };
                assert_eq!(numbers(&ours), numbers(&theirs), "{dtype:?}");
            }
        }
    }

    #[test]
    fn shapes_and_types_that_differ_are_refused() {
        let error = dot(&wave(3, DType::F32), &wave(4, DType::F32)).unwrap_err().to_string();
        assert!(error.contains("one shape") && error.contains("[3]") && error.contains("[4]"), "{error}");
        assert!(dot(&wave(3, DType::F32), &wave(3, DType::F64)).is_err());
    }
}
