//! Group norm and batch norm: numbers of several channels or samples are divided together.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp3, DType, Device, Layout, Result, Shape, Tensor, bail};

use crate::cpu::lanes::{self, Float};
use crate::cpu::simd::SimdLevel;
use crate::cpu::slice;
use crate::norm::cpu_channels::{self, Channels, Plan};
use crate::norm::gradients::Wanted;
use crate::norm::{Scale, check_eps, composed, inner, parameters, storage};

/// The mean and the variance (divided by the number of numbers) of each channel of a batch, `[channels]`, outside
/// the graph.
#[derive(Debug, Clone)]
pub struct BatchStatistics {
    /// The means.
    pub mean: Tensor,
    /// The variances.
    pub variance: Tensor,
}

/// Group norm (Wu and He 2018, *Group Normalization*, equations 1 to 6) of `[batch, channels, …]`: the channels
/// of each sample form `groups` groups of neighbours, each of which is divided by its own mean and standard deviation,
/// `y = (x - mean)/√(var + eps) · weight + bias` with `weight` and `bias` of each channel, `[channels]`. Differentiable
/// in all three, by the formulas of [`layer_norm`](crate::layer_norm). Types, devices and bits are those of it, too.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use wick_kernels::group_norm;
///
/// let x = Tensor::new(&[[[1f32, 3.0], [3.0, 5.0]]], &Device::Cpu)?; // two channels, one group: mean 3, variance 2
/// let (w, b) = (Tensor::new(&[1f32, 2.0], &Device::Cpu)?, Tensor::zeros(2, DType::F32, &Device::Cpu)?);
/// let y = group_norm(&x, 1, &w, &b, 0.0)?.flatten_all()?.to_vec1::<f32>()?;
/// let r = 2f32.sqrt();
/// assert!(y.iter().zip([-r, 0.0, 0.0, 2.0 * r]).all(|(y, e)| (y - e).abs() < 1e-6));
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If the tensor has no channels, `groups` does not divide their number, shapes or types do not fit together, or `eps`
/// is negative.
pub fn group_norm(xs: &Tensor, groups: usize, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let name = "a group norm";
    let shape = Plan { groups: Some(groups), ..plan(name, xs, eps)? };
    if groups == 0 || !shape.channels.is_multiple_of(groups) {
        bail!("{name} of {groups} groups takes channels that they divide, not {}", shape.channels);
    }
    let (weight, bias) = parameters(name, xs, shape.channels, Some(weight), Some(bias))?;
    let inner = xs.to_dtype(inner(xs.dtype()))?;
    let normed = if lanes::are_for(xs) {
        inner.contiguous()?.apply_op3(&weight, &bias, ChannelNorm::new(shape, eps, None))?
    } else {
        let flat = inner.reshape((shape.batch, shape.channels, shape.n))?;
        composed::groups(&flat, groups, &weight, &bias, eps)?.reshape(xs.shape())?
    };
    normed.to_dtype(xs.dtype())
}

/// Batch norm (Ioffe and Szegedy 2015, *Batch Normalization*, algorithm 1) of `[batch, channels, …]` by the batch's own
/// statistics, as in training: each channel is divided by the mean and the standard deviation of its numbers in all
/// samples, `y = (x - mean)/√(var + eps) · weight + bias`. `weight` and `bias`, `[channels]`, go together; without them,
/// `y` is the quotient alone. Differentiable in all three, by the formulas of [`layer_norm`](crate::layer_norm); the
/// statistics that are returned are not part of the graph. Types, devices and bits are those of `layer_norm`, too.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_kernels::batch_norm;
///
/// let x = Tensor::new(&[[1f32, 10.0], [3.0, 10.0]], &Device::Cpu)?; // two samples of two channels
/// let (y, statistics) = batch_norm(&x, None, 0.0625)?;
/// assert_eq!(statistics.mean.to_vec1::<f32>()?, [2.0, 10.0]);
/// assert_eq!(statistics.variance.to_vec1::<f32>()?, [1.0, 0.0]);
/// assert!((y.to_vec2::<f32>()?[1][0] - 1.0 / 1.0625f32.sqrt()).abs() < 1e-6);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If the tensor has no channels, shapes or types do not fit together, or `eps` is negative.
pub fn batch_norm(
    xs: &Tensor,
    weight_and_bias: Option<(&Tensor, &Tensor)>,
    eps: f64,
) -> Result<(Tensor, BatchStatistics)> {
    let name = "a batch norm";
    let shape = plan(name, xs, eps)?;
    let [weight, bias] = [weight_and_bias.map(|both| both.0), weight_and_bias.map(|both| both.1)];
    let (weight, bias) = parameters(name, xs, shape.channels, weight, bias)?;
    let inner = xs.to_dtype(inner(xs.dtype()))?;
    if !lanes::are_for(xs) {
        let flat = inner.reshape((shape.batch, shape.channels, shape.n))?;
        let (normed, [mean, variance]) = composed::batch(&flat, &weight, &bias, eps)?;
        return Ok((normed.reshape(xs.shape())?.to_dtype(xs.dtype())?, BatchStatistics { mean, variance }));
    }
    let op = ChannelNorm::new(shape, eps, None);
    let statistics = op.statistics.clone();
    let normed = inner.contiguous()?.apply_op3(&weight, &bias, op)?.to_dtype(xs.dtype())?;
    let statistics = statistics.get().map(Vec::as_slice).unwrap_or_default();
    let of = |part: fn(&(f64, f64)) -> f64| {
        let values: Vec<f64> = statistics.iter().map(part).collect();
        Tensor::from_vec(values, shape.channels, &Device::Cpu)?.to_dtype(inner.dtype())
    };
    Ok((normed, BatchStatistics { mean: of(|both| both.0)?, variance: of(|both| both.1)? }))
}

/// Batch norm of `[batch, channels, …]` by given statistics, as in evaluation: `y = (x - mean)/√(var + eps) · weight +
/// bias`, differentiable in `x`, `weight` and `bias`. The statistics, `[channels]`, are constants.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_kernels::{BatchStatistics, batch_norm_with};
///
/// let statistics = BatchStatistics {
///     mean: Tensor::new(&[1f32], &Device::Cpu)?,
///     variance: Tensor::new(&[4f32], &Device::Cpu)?,
/// };
/// let y = batch_norm_with(&Tensor::new(&[[5f32]], &Device::Cpu)?, &statistics, None, 0.0)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[2.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// Those of [`batch_norm`].
pub fn batch_norm_with(
    xs: &Tensor,
    statistics: &BatchStatistics,
    weight_and_bias: Option<(&Tensor, &Tensor)>,
    eps: f64,
) -> Result<Tensor> {
    let name = "a batch norm";
    let shape = plan(name, xs, eps)?;
    let [weight, bias] = [weight_and_bias.map(|both| both.0), weight_and_bias.map(|both| both.1)];
    let (weight, bias) = parameters(name, xs, shape.channels, weight, bias)?;
    for given in [&statistics.mean, &statistics.variance] {
        if given.dims() != [shape.channels] {
            bail!(
                "{name} of {:?} takes statistics of shape [{}], not {:?}",
                xs.shape(),
                shape.channels,
                given.shape()
            );
        }
    }
    let inner = xs.to_dtype(inner(xs.dtype()))?;
    let normed = if lanes::are_for(xs) {
        let numbers = |given: &Tensor| given.detach().to_dtype(DType::F64)?.to_vec1::<f64>();
        let both = numbers(&statistics.mean)?.into_iter().zip(numbers(&statistics.variance)?);
        inner.contiguous()?.apply_op3(&weight, &bias, ChannelNorm::new(shape, eps, Some(both.collect())))?
    } else {
        let flat = inner.reshape((shape.batch, shape.channels, shape.n))?;
        let given = |given: &Tensor| given.detach().to_dtype(inner.dtype());
        let (mean, variance) = (given(&statistics.mean)?, given(&statistics.variance)?);
        composed::given(&flat, [&mean, &variance], &weight, &bias, eps)?.reshape(xs.shape())?
    };
    normed.to_dtype(xs.dtype())
}

/// The shape of the tensor, with a group for each channel.
fn plan(name: &str, xs: &Tensor, eps: f64) -> Result<Plan> {
    check_eps(name, eps)?;
    match xs.dims() {
        &[batch, channels, ref rest @ ..] if lanes::is_float(xs.dtype()) => {
            Ok(Plan { batch, channels, n: rest.iter().product(), groups: None })
        }
        _ => bail!(
            "{name} takes a floating point tensor of shape [batch, channels, …], not {:?} {:?}",
            xs.dtype(),
            xs.shape()
        ),
    }
}

/// A norm of channels as an op, with what the forward pass keeps for the backward pass.
struct ChannelNorm {
    plan: Plan,
    eps: f64,
    /// Whether the statistics are given.
    fixed: bool,
    /// The mean and the variance of each group.
    statistics: Arc<OnceLock<Vec<(f64, f64)>>>,
}

impl ChannelNorm {
    fn new(plan: Plan, eps: f64, given: Option<Vec<(f64, f64)>>) -> Self {
        let fixed = given.is_some();
        Self { plan, eps, fixed, statistics: Arc::new(given.map_or_else(OnceLock::new, OnceLock::from)) }
    }

    fn scales(&self, statistics: &[(f64, f64)]) -> Vec<Scale> {
        statistics.iter().map(|(mean, variance)| [*mean, 1.0 / (variance + self.eps).sqrt()]).collect()
    }

    fn forward<T: Float>(&self, xs: &[T], weight: &[T], bias: &[T]) -> CpuStorage {
        let (level, plan) = (SimdLevel::best(), self.plan);
        let statistics = self.statistics.get_or_init(|| cpu_channels::statistics(level, plan, xs));
        let scales = self.scales(statistics);
        storage(cpu_channels::forward(level, Channels { plan, xs, weight }, bias, &scales))
    }

    fn backward<T: Float>(
        &self,
        [xs, weight, bias, gs]: [&Tensor; 4],
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some(statistics) = self.statistics.get() else { bail!("the norm has not gone forward") };
        let scales = self.scales(statistics);
        let wanted = Wanted::of(xs, weight, bias);
        let gs = gs.contiguous()?;
        let of = |xs: &[T], weight: &[T], gs: &[T]| {
            let channels = Channels { plan: self.plan, xs, weight };
            cpu_channels::backward(SimdLevel::best(), channels, &scales, gs, wanted, self.fixed)
        };
        let gradients =
            slice::with(xs, |xs| slice::with(weight, |weight| slice::with(&gs, |gs| of(xs, weight, gs))))???;
        gradients.tensors([xs, weight, bias])
    }
}

impl CustomOp3 for ChannelNorm {
    fn name(&self) -> &'static str {
        if self.plan.groups.is_some() { "group-norm" } else { "batch-norm" }
    }

    fn cpu_fwd(
        &self,
        xs: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        w_layout: &Layout,
        bias: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let normed = match xs {
            CpuStorage::F32(_) => self.forward::<f32>(
                slice::of(xs, x_layout)?,
                slice::of(weight, w_layout)?,
                slice::of(bias, b_layout)?,
            ),
            _ => self.forward::<f64>(
                slice::of(xs, x_layout)?,
                slice::of(weight, w_layout)?,
                slice::of(bias, b_layout)?,
            ),
        };
        Ok((normed, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        xs: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        gs: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        match xs.dtype() {
            DType::F32 => self.backward::<f32>([xs, weight, bias, gs]),
            _ => self.backward::<f64>([xs, weight, bias, gs]),
        }
    }
}
