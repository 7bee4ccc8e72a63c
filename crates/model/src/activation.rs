//! The activations as tensor ops.

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use half::{bf16, f16};
use rayon::prelude::*;
use std::f64::consts::{FRAC_1_SQRT_2, PI};

use wick_theory::{Activation, GELU_CUBIC, SELU_ALPHA, SELU_SCALE};

/// `φ(xs)`, element by element, for any shape and any floating point type.
///
/// On a CPU, each element is computed in `f64` and rounded once, forward and backward, by
/// [`Activation::value`] and [`Activation::derivative`]. On other devices it is composed of candle's own ops.
///
/// ```
/// use candle_core::{Device, Var};
/// use wick_model::{Activation, activate};
///
/// let x = Var::new(&[-1.0f64, 0.0, 2.0], &Device::Cpu)?;
/// let y = activate(Activation::Relu, &x)?;
/// assert_eq!(y.to_vec1::<f64>()?, [0.0, 0.0, 2.0]);
/// let gradients = y.sum_all()?.backward()?;
/// // candle's own relu says 1 at 0; PyTorch and this say 0.
/// assert_eq!(gradients.get(&x).map(|g| g.to_vec1::<f64>()).transpose()?, Some(vec![0.0, 0.0, 1.0]));
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn activate(activation: Activation, xs: &Tensor) -> Result<Tensor> {
    match activation {
        Activation::Identity => Ok(xs.clone()),
        _ if xs.device().is_cpu() => xs.apply_op1(Value(activation)),
        _ => compose(activation, xs),
    }
}

/// `φ'(xs) ⊙ gradient`, outside the graph: what a backward pass through [`activate`] computes.
///
/// # Errors
/// If the shapes or types of the two differ.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_model::{Activation, activation_gradient};
///
/// let (x, g) = (Tensor::new(&[0.0f64, 1.0], &Device::Cpu)?, Tensor::new(&[2.0f64, 2.0], &Device::Cpu)?);
/// let product = activation_gradient(Activation::Softsign, &x, &g)?;
/// assert_eq!(product.to_vec1::<f64>()?, [2.0, 0.5]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn activation_gradient(activation: Activation, xs: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    match activation {
        Activation::Identity => Ok(gradient.clone()),
        _ if xs.device().is_cpu() => {
            xs.contiguous()?.apply_op2_no_bwd(&gradient.contiguous()?, &Gradient(activation))
        }
        _ => {
            let xs = candle_core::Var::from_tensor(&xs.detach())?;
            let gradients = (compose(activation, &xs)? * gradient.detach())?.sum_all()?.backward()?;
            match gradients.get(&xs) {
                Some(product) => Ok(product.clone()),
                None => bail!("{activation} of {:?} has no gradient", xs.shape()),
            }
        }
    }
}

/// The forward op of the CPU.
struct Value(Activation);

impl CustomOp1 for Value {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            // The result of a strided input is laid out afresh, in row-major order.
            let mut contiguous = storage.device().zeros_impl(layout.shape(), storage.dtype())?;
            storage.copy_strided_src(&mut contiguous, 0, layout)?;
            return self.cpu_fwd(&contiguous, &Layout::contiguous(layout.shape()));
        };
        let value = |x| self.0.value(x);
        let output = match storage {
            CpuStorage::F32(xs) => CpuStorage::F32(map(&xs[start..end], |x| value(f64::from(x)) as f32)),
            CpuStorage::F64(xs) => CpuStorage::F64(map(&xs[start..end], value)),
            CpuStorage::BF16(xs) => {
                CpuStorage::BF16(map(&xs[start..end], |x| bf16::from_f64(value(x.to_f64()))))
            }
            CpuStorage::F16(xs) => {
                CpuStorage::F16(map(&xs[start..end], |x| f16::from_f64(value(x.to_f64()))))
            }
            other => bail!("{} takes floating point tensors, not {}", self.name(), other.dtype().as_str()),
        };
        Ok((output, layout.shape().clone()))
    }

    fn bwd(&self, xs: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        activation_gradient(self.0, &xs.detach(), &gradient.detach()).map(Some)
    }
}

/// The backward op of the CPU, on two contiguous tensors.
struct Gradient(Activation);

impl CustomOp2 for Gradient {
    fn name(&self) -> &'static str {
        "activation-gradient"
    }

    fn cpu_fwd(
        &self,
        xs: &CpuStorage,
        x_layout: &Layout,
        gs: &CpuStorage,
        g_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        if x_layout.shape() != g_layout.shape() {
            bail!("a gradient of {:?} for an input of {:?}", g_layout.shape(), x_layout.shape());
        }
        let (Some((x0, x1)), Some((g0, g1))) = (x_layout.contiguous_offsets(), g_layout.contiguous_offsets())
        else {
            bail!("{} takes contiguous tensors", self.name());
        };
        let product = |x, g: f64| self.0.derivative(x) * g;
        use CpuStorage::{BF16, F16, F32, F64};
        let output = match (xs, gs) {
            (F32(xs), F32(gs)) => {
                F32(zip(&xs[x0..x1], &gs[g0..g1], |x, g| product(x.into(), g.into()) as f32))
            }
            (F64(xs), F64(gs)) => F64(zip(&xs[x0..x1], &gs[g0..g1], product)),
            (BF16(xs), BF16(gs)) => {
                BF16(zip(&xs[x0..x1], &gs[g0..g1], |x, g| bf16::from_f64(product(x.to_f64(), g.to_f64()))))
            }
            (F16(xs), F16(gs)) => {
                F16(zip(&xs[x0..x1], &gs[g0..g1], |x, g| f16::from_f64(product(x.to_f64(), g.to_f64()))))
            }
            (xs, gs) => {
                bail!("a gradient of {} for an input of {}", gs.dtype().as_str(), xs.dtype().as_str())
            }
        };
        Ok((output, x_layout.shape().clone()))
    }
}

/// Elements that one task computes.
const TASK: usize = 1 << 14;

fn map<T: Copy + Send + Sync>(xs: &[T], f: impl Fn(T) -> T + Sync + Send) -> Vec<T> {
    xs.par_iter().with_min_len(TASK).map(|&x| f(x)).collect()
}

fn zip<T: Copy + Send + Sync>(xs: &[T], gs: &[T], f: impl Fn(T, T) -> T + Sync + Send) -> Vec<T> {
    xs.par_iter().with_min_len(TASK).zip(gs.par_iter().with_min_len(TASK)).map(|(&x, &g)| f(x, g)).collect()
}

/// The activation from candle's own ops, differentiable by candle: what devices without an op of ours use.
/// Kinks are masks, which are constants of the graph, so that the gradient there is the enum's; nothing overflows
/// on the way, so that no `0·∞` makes a gradient NaN.
fn compose(activation: Activation, xs: &Tensor) -> Result<Tensor> {
    match activation {
        Activation::Identity => Ok(xs.clone()),
        Activation::Sigmoid => sigmoid(xs),
        Activation::Tanh => xs.tanh(),
        Activation::Relu => above(xs, 0.0)? * xs,
        Activation::LeakyRelu { slope } => {
            let mask = above(xs, 0.0)?;
            xs * ((mask * (1.0 - slope))? + slope)?
        }
        Activation::Elu { alpha } => elu(xs, alpha),
        Activation::Selu => elu(xs, SELU_ALPHA)? * SELU_SCALE,
        Activation::Gelu => xs * (((xs * FRAC_1_SQRT_2)?.erf()? + 1.0)? * 0.5)?,
        Activation::GeluTanh => {
            let near = xs.clamp(-20f64, 20f64)?;
            let inner = ((&near + (near.powf(3.0)? * GELU_CUBIC)?)? * (8.0 / PI).sqrt())?;
            xs * sigmoid(&inner)?
        }
        Activation::Silu => xs * sigmoid(xs)?,
        Activation::Softplus => softplus(xs),
        Activation::Softsign => {
            // |x| as x·sign(x), with sign a constant of the graph.
            let sign = ((above(xs, 0.0)? * 2.0)? - 1.0)?;
            xs / ((xs * sign)? + 1.0)?
        }
        Activation::Hardtanh => {
            let (right, inside) = (at_least(xs, 1.0)?, between(xs, 1.0)?);
            let left = at_least(&xs.neg()?, 1.0)?;
            (xs * inside)? + (right - left)?
        }
        Activation::Hardswish => {
            let (right, inside) = (at_least(xs, 3.0)?, between(xs, 3.0)?);
            (((xs.clamp(-3f64, 3f64)? + 3.0)? * xs)? / 6.0)?.mul(&inside)? + (xs * right)?
        }
        Activation::Mish => xs * softplus(xs)?.tanh()?,
        Activation::Sin => xs.sin(),
        Activation::Erf => xs.erf(),
    }
}

/// `(1 + tanh(x/2))/2`: of all ways to write it, one in which nothing overflows.
fn sigmoid(xs: &Tensor) -> Result<Tensor> {
    ((xs * 0.5)?.tanh()? + 1.0)? * 0.5
}

/// 1 where `x > edge`, else 0.
fn above(xs: &Tensor, edge: f64) -> Result<Tensor> {
    xs.detach().gt(edge)?.to_dtype(xs.dtype())
}

/// 1 where `x ≥ edge`, else 0.
fn at_least(xs: &Tensor, edge: f64) -> Result<Tensor> {
    xs.detach().ge(edge)?.to_dtype(xs.dtype())
}

/// 1 where `-edge < x < edge`, else 0.
fn between(xs: &Tensor, edge: f64) -> Result<Tensor> {
    xs.detach().abs()?.lt(edge)?.to_dtype(xs.dtype())
}

/// `x⁺ + α(e^{x⁻} - 1)`: the exponent is never positive.
fn elu(xs: &Tensor, alpha: f64) -> Result<Tensor> {
    let right = above(xs, 0.0)?;
    let left = (1.0 - &right)?;
    (xs * right)? + (((xs * left)?.exp()? - 1.0)? * alpha)?
}

/// `x⁺ + ln(1 + e^{-|x|})`.
fn softplus(xs: &Tensor) -> Result<Tensor> {
    let right = above(xs, 0.0)?;
    let sign = ((&right * 2.0)? - 1.0)?;
    (xs * &right)? + ((xs * sign)?.neg()?.exp()? + 1.0)?.log()?
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Var};

    fn grid() -> Vec<f64> {
        (-80..80).map(|i| f64::from(i) * 0.1 + 0.03).collect()
    }

    #[test]
    fn forward_and_backward_are_the_enum() {
        for activation in Activation::ALL {
            let x = Var::new(grid(), &Device::Cpu).unwrap();
            let weights = Tensor::new(grid(), &Device::Cpu).unwrap().cos().unwrap();
            let y = activate(activation, &x).unwrap();
            let gradients = (&y * &weights).unwrap().sum_all().unwrap().backward().unwrap();
            let gradient = gradients.get(&x).unwrap().to_vec1::<f64>().unwrap();
            let weights = weights.to_vec1::<f64>().unwrap();
            for (i, (x, y)) in grid().into_iter().zip(y.to_vec1::<f64>().unwrap()).enumerate() {
                assert_eq!(y, activation.value(x), "{activation} at {x}");
                assert_eq!(gradient[i], activation.derivative(x) * weights[i], "{activation}' at {x}");
            }
        }
    }

    /// What a GPU computes, run here: candle's ops composed, against the enum. (candle's erf is good to
    /// about 1e-7, so what is made of it is held to that.)
    #[test]
    fn compositions_are_the_enum() {
        for activation in Activation::ALL {
            let loose = matches!(activation, Activation::Erf | Activation::Gelu);
            let tolerance = if loose { 1e-6 } else { 1e-12 };
            let kinks = [-3.0, -1.0, 0.0, 1.0, 3.0];
            let grid: Vec<f64> = grid().into_iter().chain(kinks).collect();
            let x = Var::new(grid.as_slice(), &Device::Cpu).unwrap();
            let y = compose(activation, &x).unwrap();
            let gradients = y.sum_all().unwrap().backward().unwrap();
            let gradient = gradients.get(&x).unwrap().to_vec1::<f64>().unwrap();
            for ((x, y), g) in grid.into_iter().zip(y.to_vec1::<f64>().unwrap()).zip(gradient) {
                assert!((y - activation.value(x)).abs() < tolerance, "{activation} at {x}: {y}");
                assert!((g - activation.derivative(x)).abs() < tolerance, "{activation}' at {x}: {g}");
            }
        }
    }

    /// Far out, forward and backward, in the types that overflow soonest.
    #[test]
    fn compositions_hold_far_out() {
        let far = [-200f64, -100.0, -50.0, -15.0, 0.0, 15.0, 50.0, 100.0, 200.0];
        for (dtype, tolerance) in [(DType::F32, 2e-5), (DType::F16, 0.02)] {
            for activation in Activation::ALL {
                let x = Tensor::new(&far, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
                let x = Var::from_tensor(&x).unwrap();
                let y = compose(activation, &x).unwrap();
                let gradients = y.sum_all().unwrap().backward().unwrap();
                let numbers = |t: &Tensor| t.to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
                let (ys, gs) = (numbers(&y), numbers(gradients.get(&x).unwrap()));
                for ((x, y), g) in far.into_iter().zip(ys).zip(gs) {
                    assert!(
                        (y - activation.value(x)).abs() <= tolerance,
                        "{activation} at {x} {dtype:?}: {y}"
                    );
                    let slope = activation.derivative(x);
                    assert!((g - slope).abs() <= tolerance, "{activation}' at {x} {dtype:?}: {g}");
                }
            }
        }
    }

    #[test]
    fn any_layout_and_type() {
        let x = Tensor::arange(0f32, 12.0, &Device::Cpu).unwrap().reshape((3, 4)).unwrap();
        let x = (x - 6.0).unwrap();
        let strided = x.t().unwrap().narrow(0, 1, 2).unwrap();
        let plain = activate(Activation::Tanh, &x).unwrap().t().unwrap().narrow(0, 1, 2).unwrap();
        let got = activate(Activation::Tanh, &strided).unwrap();
        assert_eq!(got.to_vec2::<f32>().unwrap(), plain.to_vec2::<f32>().unwrap());
        let row = x.get(0).unwrap().broadcast_left(3).unwrap();
        let rows = activate(Activation::Tanh, &row).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(
            rows,
            vec![activate(Activation::Tanh, &x.get(0).unwrap()).unwrap().to_vec1::<f32>().unwrap(); 3]
        );
        for (dtype, tolerance) in [(DType::BF16, 4e-3), (DType::F16, 5e-4), (DType::F64, 6e-8)] {
            let narrow = activate(Activation::Tanh, &x.to_dtype(dtype).unwrap()).unwrap();
            assert_eq!(narrow.dtype(), dtype);
            let difference =
                narrow.to_dtype(DType::F32).unwrap().sub(&activate(Activation::Tanh, &x).unwrap());
            let largest = difference.unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(largest <= tolerance, "{dtype:?}: {largest}");
        }
        assert!(activate(Activation::Tanh, &x.to_dtype(DType::U8).unwrap()).is_err());
        let empty = Tensor::zeros((0, 3), DType::F32, &Device::Cpu).unwrap();
        assert_eq!(activate(Activation::Mish, &empty).unwrap().dims(), [0, 3]);
    }

    #[test]
    fn a_gradient_of_a_strided_input_lands_in_its_places() {
        let x = Var::new(&[[0.1f64, 0.2, 0.3], [0.4, 0.5, 0.6]], &Device::Cpu).unwrap();
        let y = activate(Activation::Sin, &x.t().unwrap()).unwrap();
        let weights = Tensor::new(&[[1f64, 2.0], [3.0, 4.0], [5.0, 6.0]], &Device::Cpu).unwrap();
        let gradients = (y * weights).unwrap().sum_all().unwrap().backward().unwrap();
        let got = gradients.get(&x).unwrap().to_vec2::<f64>().unwrap();
        let expected = [
            [0.1f64.cos(), 3.0 * 0.2f64.cos(), 5.0 * 0.3f64.cos()],
            [2.0 * 0.4f64.cos(), 4.0 * 0.5f64.cos(), 6.0 * 0.6f64.cos()],
        ];
        assert_eq!(got, expected);
    }
}
