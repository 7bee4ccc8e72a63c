//! Losses, each with its gradient in the same pass.

pub(crate) mod binary;
pub(crate) mod classes;
mod composed;
mod cpu;
mod function;
mod kept;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_options;

use candle_core::{CpuStorage, CustomOp2, DType, Device, Layout, Result, Shape, Tensor, bail};

use crate::cpu::element::Number;
use crate::cpu::simd::SimdLevel;
use crate::cpu::slice;
use cpu::Targets;
pub use function::LossFunction;
use function::are_classes;
use kept::KeptGradient;

/// The loss, a scalar in candle's graph. For `bf16` and `f16` outputs it is an `f32`: a sum in these types
/// would be lost to rounding.
///
/// On a CPU, `f32` and `f64` are computed in one pass in `f64`, in blocks of a fixed size, and the gradient
/// with respect to the outputs with them: the same bits with any number of threads. Other types and devices,
/// and targets that are variables, are left to candle's ops.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use wick_kernels::{LossFunction, loss};
///
/// let logits = Var::new(&[[0f64, 3f64.ln()]], &Device::Cpu)?; // softmax: ¼, ¾
/// let entropy = loss(LossFunction::CrossEntropy, &logits, &Tensor::new(&[1u32], &Device::Cpu)?)?;
/// assert!((entropy.to_scalar::<f64>()? - (4f64 / 3.0).ln()).abs() < 1e-15);
/// let gradient = entropy.backward()?.get(&logits).map(|g| g.to_vec2::<f64>()).transpose()?;
/// assert!(gradient.is_some_and(|g| (g[0][0] - 0.25).abs() < 1e-15 && (g[0][1] + 0.25).abs() < 1e-15));
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If the shapes do not fit together, or if a class is not below the number of outputs.
pub fn loss(function: LossFunction, outputs: &Tensor, targets: &Tensor) -> Result<Tensor> {
    check(function, outputs, targets)?;
    match operands(outputs, targets)? {
        Some((outputs, targets)) => {
            outputs.apply_op2(&targets, LossOp { function, gradient: KeptGradient::default() })
        }
        None => composed::loss(function, outputs, targets),
    }
}

/// The loss and its gradient with respect to the outputs, `(o - y)/B` for the squared error and
/// `(softmax(o)·Σ_k y_k - y)/B` for cross entropy, outside candle's graph.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_kernels::{LossFunction, loss_and_gradient};
///
/// let (o, y) = (Tensor::new(&[[1f32], [4.0]], &Device::Cpu)?, Tensor::new(&[[0f32], [2.0]], &Device::Cpu)?);
/// let (loss, gradient) = loss_and_gradient(LossFunction::SquaredError, &o, &y)?;
/// assert_eq!(loss.to_scalar::<f32>()?, (1.0 + 4.0) / 4.0);
/// assert_eq!(gradient.to_vec2::<f32>()?, [[0.5], [1.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// The errors of [`loss`].
pub fn loss_and_gradient(
    function: LossFunction,
    outputs: &Tensor,
    targets: &Tensor,
) -> Result<(Tensor, Tensor)> {
    check(function, outputs, targets)?;
    let (outputs, targets) = (outputs.detach(), targets.detach());
    let Some((outputs, targets)) = operands(&outputs, &targets)? else {
        let gradient = composed::gradient(function, &outputs, &targets)?;
        return Ok((composed::loss(function, &outputs, &targets)?, gradient));
    };
    let op = LossOp { function, gradient: KeptGradient::default() };
    let loss = outputs.apply_op2_no_bwd(&targets, &op)?;
    match op.gradient.taken() {
        Some(gradient) => Ok((loss, gradient)),
        None => bail!("the loss has no gradient"),
    }
}

fn check(function: LossFunction, outputs: &Tensor, targets: &Tensor) -> Result<()> {
    let (o, y) = (outputs.dims(), targets.dims());
    if are_classes(function, targets) {
        return match (o, y) {
            ([batch, _], [classes]) if batch == classes => Ok(()),
            _ => bail!("a loss takes outputs [batch, outputs] and classes [batch], not {o:?} and {y:?}"),
        };
    }
    if o.len() != 2 || o != y {
        bail!("a loss takes outputs and targets of the same shape [batch, outputs], not {o:?} and {y:?}");
    }
    Ok(())
}

/// The operands as the op takes them; `None` if candle's ops do the work.
fn operands(outputs: &Tensor, targets: &Tensor) -> Result<Option<(Tensor, Tensor)>> {
    let ours = outputs.device().is_cpu()
        && targets.device().is_cpu()
        && matches!(outputs.dtype(), DType::F32 | DType::F64)
        && SimdLevel::best().is_fast()
        && !targets.track_op();
    if !ours {
        // On another device the check would wait for it.
        if targets.device().is_cpu() && targets.rank() == 1 && targets.dtype().is_int() {
            check_classes(targets, outputs.dims()[1])?;
        }
        return Ok(None);
    }
    let targets = match targets.dtype() {
        dtype if dtype == outputs.dtype() => targets.contiguous()?,
        dtype if dtype.is_int() && targets.rank() == 1 => classes(targets, outputs.dims()[1])?,
        _ => return Ok(None),
    };
    Ok(Some((outputs.contiguous()?, targets)))
}

/// The classes as the op takes them. In a type with other numbers, they are checked before they are converted.
fn classes(targets: &Tensor, outputs: usize) -> Result<Tensor> {
    if !matches!(targets.dtype(), DType::U8 | DType::U32) {
        check_classes(targets, outputs)?;
    }
    targets.to_dtype(DType::U32)?.contiguous()
}

fn check_classes(targets: &Tensor, outputs: usize) -> Result<()> {
    let numbers = targets.to_dtype(DType::I64)?.to_vec1::<i64>()?;
    let fits = |class: i64| usize::try_from(class).is_ok_and(|class| class < outputs);
    if let Some(sample) = numbers.iter().position(|&class| !fits(class)) {
        bail!("sample {sample} is of class {}, but there are only {outputs} outputs", numbers[sample]);
    }
    Ok(())
}

/// A loss as an op. Its forward pass computes the gradient too, and keeps it for the backward pass.
struct LossOp {
    function: LossFunction,
    gradient: KeptGradient,
}

impl LossOp {
    fn forward_as<T: Number>(
        &self,
        (outputs, layout): (&CpuStorage, &Layout),
        (targets, targets_layout): (&CpuStorage, &Layout),
    ) -> Result<CpuStorage> {
        let targets = match targets {
            CpuStorage::U32(_) => Targets::Classes(integers(targets, targets_layout)?),
            _ => Targets::Rows(slice::of(targets, targets_layout)?),
        };
        let (samples, _) = layout.shape().dims2()?;
        let (loss, gradient) =
            cpu::loss_and_gradient::<T>(self.function, slice::of(outputs, layout)?, samples, targets)?;
        self.gradient.keep(Tensor::from_vec(gradient, layout.shape(), &Device::Cpu)?);
        Ok(T::to_cpu_storage_owned(vec![T::narrow(loss)]))
    }
}

fn integers<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [u32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::U32(values), Some((start, end))) => Ok(&values[start..end]),
        _ => bail!("contiguous classes were expected"),
    }
}

impl CustomOp2 for LossOp {
    fn name(&self) -> &'static str {
        "loss"
    }

    fn cpu_fwd(
        &self,
        outputs: &CpuStorage,
        layout: &Layout,
        targets: &CpuStorage,
        targets_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (outputs, targets) = ((outputs, layout), (targets, targets_layout));
        let loss = match outputs.0 {
            CpuStorage::F32(_) => self.forward_as::<f32>(outputs, targets)?,
            _ => self.forward_as::<f64>(outputs, targets)?,
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
