//! Cross entropy with classes and PyTorch's options.

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, CustomOp1, D, DType, Device, Layout, Result, Shape, Tensor, bail};

use crate::cpu::lanes::{self, Float};
use crate::cpu::malloc::room;
use crate::cpu::parallel;
use crate::cpu::simd::{self, SimdLevel};
use crate::cpu::slice;
use crate::loss::kept::KeptGradient;
use crate::softmax::cpu::{exp_and_sum, sum_of_exp, written};

/// The number that stands for a target that is left out.
const LEFT_OUT: u32 = u32::MAX;

/// Cross entropy of logits `o`, `[batch, classes]`, with classes `y`, integers `[batch]`, and the options of PyTorch's
/// `cross_entropy`, to its formulas:
///
/// `L = Σ_b Σ_k q_bk (-ln softmax(o_b)_k) / Σ_b v_{y_b}`, over the samples whose class is not the ignored one, with
/// `q_bk = v_k ((1 - ε) [k = y_b] + ε/classes)`, the weights `v` of the classes (1 without them) and the label
/// smoothing `ε` (Szegedy et al. 2016, *Rethinking the Inception architecture*, section 7). The gradient,
/// `(softmax(o_b)_k Σ_j q_bj - q_bk) / Σ v_y`, is computed in the same pass, if the logits ask for one.
///
/// On a CPU, `f32` and `f64` are summed in blocks of a fixed size, with the same bits for any number of threads and
/// at every SIMD level with a fused multiply-add. Half-precision logits are computed in `f32`, which is the type of their
/// loss. On other devices candle's ops do the work, and the classes are copied to the CPU to be checked.
///
/// ```
/// use candle_core::{Device, Var};
/// use wick_kernels::CrossEntropy;
///
/// let logits = Var::new(&[[0f64, 3f64.ln()], [5.0, -5.0]], &Device::Cpu)?; // the first row: ¼, ¾
/// let classes = candle_core::Tensor::new(&[1i64, -100], &Device::Cpu)?;
/// let loss = CrossEntropy { ignored: Some(-100), ..CrossEntropy::default() }.forward(&logits, &classes)?;
/// assert!((loss.to_scalar::<f64>()? - (4f64 / 3.0).ln()).abs() < 1e-15);
/// let gradient = loss.backward()?.get(&logits).map(|g| g.to_vec2::<f64>()).transpose()?;
/// assert!(gradient.is_some_and(|g| (g[0][0] - 0.25).abs() < 1e-15 && g[1] == [0.0, 0.0]));
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct CrossEntropy {
    /// The class whose samples are left out; PyTorch's default is -100. If all are, the loss and its gradient are 0
    /// (in PyTorch, NaN).
    pub ignored: Option<i64>,
    /// `ε`, in `[0, 1]`. 0.
    pub label_smoothing: f64,
    /// The weights of the classes, `[classes]`, constants.
    pub weights: Option<Tensor>,
}

impl CrossEntropy {
    /// The loss, a scalar in candle's graph.
    ///
    /// # Errors
    /// If the shapes do not fit together, a class is not below the number of classes, an option is out of range, or the
    /// weights depend on a variable.
    pub fn forward(&self, logits: &Tensor, classes: &Tensor) -> Result<Tensor> {
        let (o, y) = (logits.dims(), classes.dims());
        let ([batch, width], [count]) = (o, y) else {
            bail!("cross entropy takes logits [batch, classes] and classes [batch], not {o:?} and {y:?}")
        };
        if batch != count || !lanes::is_float(logits.dtype()) || !classes.dtype().is_int() {
            bail!(
                "cross entropy takes floating point logits [batch, classes] and integers [batch], not {:?} {o:?} and \
                 {:?} {y:?}",
                logits.dtype(),
                classes.dtype()
            );
        }
        if lanes::is_half(logits.dtype()) {
            return self.forward(&logits.to_dtype(DType::F32)?, classes);
        }
        let plan = self.plan(*width, classes)?;
        if !lanes::are_for(logits) {
            return plan.composed(logits);
        }
        let wanted = logits.track_op();
        logits.contiguous()?.apply_op1(ClassesOp {
            plan,
            wanted,
            level: SimdLevel::best(),
            gradient: KeptGradient::default(),
        })
    }

    fn plan(&self, width: usize, classes: &Tensor) -> Result<Plan> {
        if !(0.0..=1.0).contains(&self.label_smoothing) {
            bail!("the label smoothing is in [0, 1], not {}", self.label_smoothing);
        }
        let weights = match &self.weights {
            None => None,
            Some(weights) if weights.track_op() => {
                bail!("cross entropy has no gradient with respect to the weights: give weights.detach()")
            }
            Some(weights) if weights.dims() == [width] => {
                Some(weights.to_dtype(DType::F64)?.to_vec1::<f64>()?)
            }
            Some(weights) => bail!("{width} classes take weights [{width}], not {:?}", weights.shape()),
        };
        let mut chosen = Vec::with_capacity(classes.elem_count());
        for (sample, class) in classes.to_dtype(DType::I64)?.to_vec1::<i64>()?.into_iter().enumerate() {
            chosen.push(match u32::try_from(class) {
                _ if self.ignored == Some(class) => LEFT_OUT,
                Ok(class) if (class as usize) < width => class,
                _ => bail!("sample {sample} is of class {class}, but there are only {width} outputs"),
            });
        }
        let smoothing = self.label_smoothing / width.max(1) as f64;
        let all = weights.as_ref().map_or(width as f64, |weights| weights.iter().sum());
        let mut plan = Plan { chosen, weights, kept: 1.0 - self.label_smoothing, smoothing, all, scale: 0.0 };
        let total: f64 =
            plan.chosen.iter().filter(|class| **class != LEFT_OUT).map(|c| plan.weight(*c)).sum();
        let some = plan.chosen.iter().any(|class| *class != LEFT_OUT);
        // Without any, the sum is 0.
        plan.scale = if some { 1.0 / total } else { 1.0 };
        Ok(plan)
    }
}

/// What the loss of each sample consists of.
struct Plan {
    /// The class of each sample.
    chosen: Vec<u32>,
    weights: Option<Vec<f64>>,
    /// `1 - ε` and `ε/classes`.
    kept: f64,
    smoothing: f64,
    /// The sum of the weights of all classes.
    all: f64,
    /// One over the sum of the samples' weights.
    scale: f64,
}

impl Plan {
    #[inline(always)]
    fn weight(&self, class: u32) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights[class as usize])
    }

    /// The loss by candle's own ops.
    fn composed(&self, logits: &Tensor) -> Result<Tensor> {
        let (device, dtype) = (logits.device(), logits.dtype());
        let logs = candle_nn::ops::log_softmax(logits, D::Minus1)?;
        let is_here: Vec<u8> = self.chosen.iter().map(|class| u8::from(*class != LEFT_OUT)).collect();
        let of_class = |class: u32| if class == LEFT_OUT { 0.0 } else { self.kept * self.weight(class) };
        let factors: Vec<f64> = self.chosen.iter().map(|class| of_class(*class)).collect();
        let classes: Vec<u32> = self.chosen.iter().map(|c| if *c == LEFT_OUT { 0 } else { *c }).collect();
        // Metal has no `f64`.
        let tensor = |values: Vec<f64>| Tensor::new(values, &Device::Cpu)?.to_dtype(dtype)?.to_device(device);
        let is_here = Tensor::new(is_here, device)?;
        let chosen = logs.gather(&Tensor::new(classes, device)?.unsqueeze(1)?, 1)?.squeeze(1)?;
        let chosen = is_here.where_cond(&chosen, &chosen.zeros_like()?)?;
        let mut sum = (chosen * tensor(factors)?)?.sum_all()?;
        if self.smoothing > 0.0 {
            let width = logits.dims()[1];
            let weights = tensor(self.weights.clone().unwrap_or_else(|| vec![1.0; width]))?;
            let of_all = logs.broadcast_mul(&weights)?.sum(1)?;
            let of_all = is_here.where_cond(&of_all, &of_all.zeros_like()?)?;
            sum = (sum + (of_all.sum_all()? * self.smoothing)?)?;
        }
        sum * -self.scale
    }
}

/// The loss as an op. Its forward pass computes the gradient too, and keeps it for the backward pass.
pub(super) struct ClassesOp {
    plan: Plan,
    /// Whether the logits ask for a gradient.
    wanted: bool,
    level: SimdLevel,
    gradient: KeptGradient,
}

impl ClassesOp {
    fn forward<T: Float>(&self, logits: &CpuStorage, layout: &Layout) -> Result<CpuStorage> {
        let (xs, (_, width)) = (slice::of::<T>(logits, layout)?, layout.shape().dims2()?);
        let (level, rows) = (self.level, lanes::rows_of_task(width));
        let size = if self.wanted { xs.len() } else { 0 };
        let mut gradient = room(size);
        let start = parallel::Start(gradient.spare_capacity_mut().as_mut_ptr());
        let sums = parallel::map(self.plan.chosen.len().div_ceil(rows), |task| {
            let samples = task * rows..self.plan.chosen.len().min((task + 1) * rows);
            let place = samples.start * width..samples.end * width;
            // SAFETY: the tasks' samples are distinct, and the memory outlives the loop.
            let out = self
                .wanted
                .then(|| unsafe { std::slice::from_raw_parts_mut(start.at(place.start), place.len()) });
            let chosen = &self.plan.chosen[samples];
            simd::run(level, Samples { plan: &self.plan, xs: &xs[place], chosen, out, width })
        });
        // SAFETY: the samples are all of the memory, and `Samples` writes each place of its own.
        unsafe { gradient.set_len(size) };
        if self.wanted {
            self.gradient.keep(Tensor::from_vec(gradient, layout.shape(), &Device::Cpu)?);
        }
        Ok(T::to_cpu_storage_owned(vec![T::narrow(sums.into_iter().sum::<f64>() * self.plan.scale)]))
    }
}

impl CustomOp1 for ClassesOp {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let loss = match logits {
            CpuStorage::F32(_) => self.forward::<f32>(logits, layout)?,
            _ => self.forward::<f64>(logits, layout)?,
        };
        Ok((loss, Shape::from(())))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, of_loss: &Tensor) -> Result<Option<Tensor>> {
        self.gradient.times(of_loss).map(Some)
    }
}

/// The samples of a task. Its result is the sum of their losses.
struct Samples<'a, T> {
    plan: &'a Plan,
    xs: &'a [T],
    chosen: &'a [u32],
    out: Option<&'a mut [MaybeUninit<T>]>,
    width: usize,
}

impl<T: Float> simd::Task for Samples<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run(mut self) -> f64 {
        let (plan, width) = (self.plan, self.width);
        let mut all = 0.0;
        for (sample, &class) in self.chosen.iter().enumerate() {
            let xs = &self.xs[sample * width..][..width];
            let out = self.out.as_mut().map(|out| &mut out[sample * width..][..width]);
            if class == LEFT_OUT {
                for out in out.into_iter().flatten() {
                    out.write(T::ZERO);
                }
                continue;
            }
            let largest = lanes::largest(xs);
            let own = plan.kept * plan.weight(class);
            let total = own + plan.smoothing * plan.all;
            let sum = match out {
                None => sum_of_exp(xs, largest),
                Some(out) => {
                    let sum = exp_and_sum(xs, largest, out);
                    // SAFETY: `exp_and_sum` has written every place.
                    let out = unsafe { written(out) };
                    gradient_of(plan, out, total / sum * plan.scale);
                    let at = &mut out[class as usize];
                    *at = T::narrow(at.widen() - own * plan.scale);
                    sum
                }
            };
            let log_sum = sum.ln();
            all += own * (log_sum - (xs[class as usize] - largest).widen());
            if plan.smoothing > 0.0 {
                for (class, &x) in xs.iter().enumerate() {
                    all += plan.smoothing * plan.weight(class as u32) * (log_sum - (x - largest).widen());
                }
            }
        }
        all
    }
}

/// From the exponentials of a row to its gradient, but for the own class.
#[inline(always)]
fn gradient_of<T: Float>(plan: &Plan, out: &mut [T], factor: f64) {
    let factor = T::narrow(factor);
    let smoothing = -plan.smoothing * plan.scale;
    match &plan.weights {
        Some(weights) if smoothing != 0.0 => {
            for (out, weight) in out.iter_mut().zip(weights) {
                *out = out.fused(factor, T::narrow(smoothing * weight));
            }
        }
        _ => {
            let smoothing = T::narrow(smoothing);
            for out in out {
                *out = out.fused(factor, smoothing);
            }
        }
    }
}

/// The loss by candle's own ops.
#[cfg(test)]
pub(super) fn composed_for_tests(options: &CrossEntropy, logits: &Tensor, classes: &Tensor) -> Tensor {
    options.plan(logits.dims()[1], classes).unwrap().composed(logits).unwrap()
}

/// The op at a level.
#[cfg(test)]
pub(super) fn op_for_tests(
    options: &CrossEntropy,
    width: usize,
    classes: &Tensor,
    level: SimdLevel,
) -> ClassesOp {
    let plan = options.plan(width, classes).unwrap();
    ClassesOp { plan, wanted: true, level, gradient: KeptGradient::default() }
}

#[cfg(test)]
impl ClassesOp {
    pub(super) fn gradient(&self) -> &KeptGradient {
        &self.gradient
    }
}
