//! Binary cross entropy from logits.

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, CustomOp2, DType, Device, Layout, Result, Shape, Tensor, bail};
use candle_nn::ops::sigmoid;

use crate::activation::math;
use crate::cpu::lanes::{self, Float};
use crate::cpu::malloc::room;
use crate::cpu::parallel::{self, Start};
use crate::cpu::simd::{self, SimdLevel};
use crate::cpu::slice;
use crate::dot::dot;
use crate::loss::kept::KeptGradient;

/// Binary cross entropy of logits `x` with targets `y` in `[0, 1]` of the same shape, a mean over all elements:
/// `mean((1 - y) softplus(x) + p·y softplus(-x))` with `softplus(x) = ln(1 + eˣ) = max(x, 0) + ln(1 + e^{-|x|})`,
/// which is finite for every finite logit, and has all its digits where it is near 0. `p` is PyTorch's `pos_weight`,
/// `[n]` for `[…, n]` or a scalar, a constant. The gradient, `((1 - y) σ(x) - p·y σ(-x)) / elements`, is computed in the
/// same pass, if the logits ask for one. The targets are of the logits' type or integers; if they depend on variables,
/// they get theirs, `(p softplus(-x) - softplus(x)) / elements`.
///
/// On a CPU the elements are computed in `f64` and summed in blocks of a fixed size: the same bits for any number of
/// threads and at every SIMD level with a fused multiply-add. Half-precision logits are computed from `f32`, which is the
/// type of their loss. On other devices candle's ops do the work.
///
/// (candle's `binary_cross_entropy_with_logit` takes the logarithm of a sigmoid: NaN or ∞ from logits of ±17 on.)
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use wick_kernels::binary_cross_entropy;
///
/// let x = Var::new(&[-200f64, 0.0], &Device::Cpu)?;
/// let loss = binary_cross_entropy(&x, &Tensor::new(&[1f64, 1.0], &Device::Cpu)?, None)?;
/// assert_eq!(loss.to_scalar::<f64>()?, (200.0 + 2f64.ln()) / 2.0);
/// let gradient = loss.backward()?.get(&x).map(|g| g.to_vec1::<f64>()).transpose()?;
/// assert_eq!(gradient, Some(vec![-0.5, -0.25]));
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If shapes or types do not fit together, or `pos_weight` depends on a variable.
pub fn binary_cross_entropy(
    logits: &Tensor,
    targets: &Tensor,
    pos_weight: Option<&Tensor>,
) -> Result<Tensor> {
    if logits.shape() != targets.shape() || !lanes::is_float(logits.dtype()) {
        bail!(
            "binary cross entropy takes floating point logits and targets of one shape, not {:?} {:?} and {:?}",
            logits.dtype(),
            logits.shape(),
            targets.shape()
        );
    }
    let fits = targets.dtype() == logits.dtype() || targets.dtype().is_int();
    if !fits {
        bail!(
            "logits of {:?} take targets of that type or integers, not {:?}",
            logits.dtype(),
            targets.dtype()
        );
    }
    if let Some(weight) = pos_weight {
        if weight.track_op() {
            bail!(
                "binary cross entropy has no gradient with respect to pos_weight: give pos_weight.detach()"
            );
        }
        let last = logits.dims().last().copied().unwrap_or(1);
        if weight.rank() > 1 || ![1, last].contains(&weight.elem_count()) {
            bail!(
                "logits {:?} take a pos_weight [{last}] or a scalar, not {:?}",
                logits.shape(),
                weight.shape()
            );
        }
    }
    // Integers have no gradient.
    let targets = if targets.dtype().is_int() { targets.detach() } else { targets.clone() };
    if lanes::is_half(logits.dtype()) {
        let targets = targets.to_dtype(DType::F32)?;
        return binary_cross_entropy(&logits.to_dtype(DType::F32)?, &targets, pos_weight);
    }
    let targets = targets.to_dtype(logits.dtype())?;
    let loss = of_logits(logits, &targets.detach(), pos_weight)?;
    if !targets.track_op() {
        return Ok(loss);
    }
    loss + of_targets(&logits.detach(), &targets, pos_weight)?
}

/// The loss in the graph of the logits alone.
fn of_logits(logits: &Tensor, targets: &Tensor, pos_weight: Option<&Tensor>) -> Result<Tensor> {
    if !lanes::are_for(logits) {
        return composed(logits, targets, pos_weight);
    }
    let weight = pos_weight.map(|weight| weight.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>());
    let weights = weight.transpose()?.unwrap_or_else(|| vec![1.0]);
    let (wanted, level) = (logits.track_op(), SimdLevel::best());
    let op = BinaryOp { weights, wanted, level, gradient: KeptGradient::default() };
    logits.contiguous()?.apply_op2(&targets.contiguous()?, op)
}

/// `Σ (y - y₀) c`, where `y₀` is `y` as a constant: 0, with the derivative of the loss by the targets for its
/// gradient, `c = (p softplus(-x) - softplus(x)) / elements`.
fn of_targets(xs: &Tensor, targets: &Tensor, pos_weight: Option<&Tensor>) -> Result<Tensor> {
    let near = near_zero(xs)?;
    let left = weighted(&(&near + xs.neg()?.relu()?)?, pos_weight)?;
    let gradient = ((left - (near + xs.relu()?)?)? / xs.elem_count() as f64)?;
    dot(&(targets - targets.detach())?, &gradient)
}

/// `ln(1 + e^{-|x|})`.
fn near_zero(xs: &Tensor) -> Result<Tensor> {
    (xs.abs()?.neg()?.exp()? + 1.0)?.log()
}

/// A tensor times the weights of its last dimension, if there are any.
fn weighted(xs: &Tensor, pos_weight: Option<&Tensor>) -> Result<Tensor> {
    match pos_weight {
        None => Ok(xs.clone()),
        Some(weight) if weight.elem_count() == 1 => {
            xs.broadcast_mul(&weight.reshape(())?.to_dtype(xs.dtype())?)
        }
        Some(weight) => xs.broadcast_mul(&weight.to_dtype(xs.dtype())?),
    }
}

/// The loss by candle's own ops, with the gradient as a constant: those ops have other derivatives at 0.
fn composed(logits: &Tensor, targets: &Tensor, pos_weight: Option<&Tensor>) -> Result<Tensor> {
    let xs = logits.detach();
    let near = near_zero(&xs)?;
    let positive = weighted(targets, pos_weight)?;
    let negative = targets.affine(-1.0, 1.0)?;
    let value = (((&positive + &negative)? * near)?
        + ((&positive * xs.neg()?.relu()?)? + (&negative * xs.relu()?)?)?)?;
    let count = xs.elem_count() as f64;
    let gradient = ((negative * sigmoid(&xs)?)? - (positive * sigmoid(&xs.neg()?)?)?)?;
    let gradient = (gradient / count)?;
    value.mean_all()? + dot(&(logits - &xs)?, &gradient)?
}

/// The loss as an op. Its forward pass computes the gradient too, and keeps it for the backward pass.
pub(super) struct BinaryOp {
    /// The weights of the last dimension, or one for all.
    weights: Vec<f64>,
    wanted: bool,
    level: SimdLevel,
    gradient: KeptGradient,
}

impl BinaryOp {
    fn forward<T: Float>(
        &self,
        (logits, layout): (&CpuStorage, &Layout),
        (targets, targets_layout): (&CpuStorage, &Layout),
    ) -> Result<CpuStorage> {
        let (xs, ys) = (slice::of::<T>(logits, layout)?, slice::of::<T>(targets, targets_layout)?);
        let (level, scale) = (self.level, 1.0 / xs.len() as f64);
        // Rows without columns have no weights.
        let part = (lanes::rows_of_task(self.weights.len()) * self.weights.len()).max(1);
        let size = if self.wanted { xs.len() } else { 0 };
        let mut gradient = room(size);
        let start = Start(gradient.spare_capacity_mut().as_mut_ptr());
        let sums = parallel::map(xs.len().div_ceil(part), |task| {
            let place = task * part..xs.len().min((task + 1) * part);
            // SAFETY: the tasks' places are distinct, and the memory outlives the loop.
            let out = self
                .wanted
                .then(|| unsafe { std::slice::from_raw_parts_mut(start.at(place.start), place.len()) });
            let (xs, ys) = (&xs[place.clone()], &ys[place]);
            simd::run(level, Part { xs, ys, weights: &self.weights, scale, out })
        });
        // SAFETY: the places are all of the memory, and `Part` writes each of its own.
        unsafe { gradient.set_len(size) };
        if self.wanted {
            self.gradient.keep(Tensor::from_vec(gradient, layout.shape(), &Device::Cpu)?);
        }
        Ok(T::to_cpu_storage_owned(vec![T::narrow(sums.into_iter().sum::<f64>() * scale)]))
    }
}

impl CustomOp2 for BinaryOp {
    fn name(&self) -> &'static str {
        "binary-cross-entropy"
    }

    fn cpu_fwd(
        &self,
        logits: &CpuStorage,
        layout: &Layout,
        targets: &CpuStorage,
        targets_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (logits, targets) = ((logits, layout), (targets, targets_layout));
        let loss = match logits.0 {
            CpuStorage::F32(_) => self.forward::<f32>(logits, targets)?,
            _ => self.forward::<f64>(logits, targets)?,
        };
        Ok((loss, Shape::from(())))
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        of_loss: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(self.gradient.times(of_loss)?), None))
    }
}

/// The elements of a task, in whole rows of the weights. Its result is the sum of their losses.
struct Part<'a, T> {
    xs: &'a [T],
    ys: &'a [T],
    weights: &'a [f64],
    scale: f64,
    out: Option<&'a mut [MaybeUninit<T>]>,
}

/// The number of sums that run in parallel.
const LANES: usize = 16;

impl<T: Float> simd::Task for Part<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run(mut self) -> f64 {
        let mut sums = [0.0; LANES];
        let mut first = 0;
        while first < self.xs.len() {
            let count = LANES.min(self.xs.len() - first);
            let (mut x, mut y, mut w) = ([0.0; LANES], [0.0; LANES], [self.weights[0]; LANES]);
            for lane in 0..count {
                x[lane] = self.xs[first + lane].widen();
                y[lane] = self.ys[first + lane].widen();
            }
            if self.weights.len() > 1 {
                for (lane, w) in w.iter_mut().enumerate() {
                    *w = self.weights[(first + lane) % self.weights.len()];
                }
            }
            let (mut values, mut gradients) = ([0.0; LANES], [0.0; LANES]);
            for lane in 0..LANES {
                let e = math::exp(-x[lane].abs());
                let log = math::ln_1p(e);
                let right = if x[lane] > 0.0 { x[lane] } else { 0.0 };
                let left = if x[lane] < 0.0 { -x[lane] } else { 0.0 };
                let (positive, negative) = (w[lane] * y[lane], 1.0 - y[lane]);
                values[lane] = positive * (left + log) + negative * (right + log);
                let (small, large) = (e / (1.0 + e), 1.0 / (1.0 + e));
                let (of_right, of_left) = if x[lane] < 0.0 { (small, large) } else { (large, small) };
                gradients[lane] = negative * of_right - positive * of_left;
            }
            for lane in 0..count {
                sums[lane] += values[lane];
            }
            if let Some(out) = &mut self.out {
                for lane in 0..count {
                    out[first + lane].write(T::narrow(gradients[lane] * self.scale));
                }
            }
            first += LANES;
        }
        let mut all = 0.0;
        for sum in sums {
            all += sum;
        }
        all
    }
}

/// The loss by candle's own ops.
#[cfg(test)]
pub(super) fn composed_for_tests(logits: &Tensor, targets: &Tensor, pos_weight: Option<&Tensor>) -> Tensor {
    composed(logits, targets, pos_weight).unwrap()
}

/// The op at a level.
#[cfg(test)]
pub(super) fn op_for_tests(weights: Vec<f64>, level: SimdLevel) -> BinaryOp {
    BinaryOp { weights, wanted: true, level, gradient: KeptGradient::default() }
}

#[cfg(test)]
impl BinaryOp {
    pub(super) fn gradient(&self) -> &KeptGradient {
        &self.gradient
    }
}
