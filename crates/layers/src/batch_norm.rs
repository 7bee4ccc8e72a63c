//! Batch norm.

use candle_core::{ModuleT, Result, Tensor, Var, bail};
pub use candle_nn::BatchNormConfig;
use candle_nn::{Init, VarBuilder};
use wick_kernels::{BatchStatistics, batch_norm_with};

/// Batch norm of `[batch, channels, …]`: by the batch's own statistics in training, by the running ones in evaluation.
///
/// A forward pass of training moves the running statistics, outside the graph, by `(1 - momentum)·old +
/// momentum·new`, where the new variance is that of the batch times `n/(n - 1)`, as in PyTorch. They are variables of the
/// `VarBuilder`, `running_mean` and `running_var`, so that they are saved with the weights; `wick-train`'s trainer keeps
/// variables of these names in its checkpoints and trains none of them.
///
/// ```
/// use candle_core::{DType, Device, ModuleT, Tensor};
/// use candle_nn::{VarBuilder, VarMap};
/// use wick_layers::batch_norm; // instead of candle_nn::batch_norm
///
/// let vars = VarMap::new();
/// let norm = batch_norm(1, 1e-5, VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu))?;
/// let x = Tensor::new(&[[1f32], [3.0]], &Device::Cpu)?; // mean 2, variance 1, or 2 of an unbiased estimate
/// let y = norm.forward_t(&x, true)?.to_vec2::<f32>()?;
/// assert!((y[0][0] + 1.0).abs() < 1e-5 && (y[1][0] - 1.0).abs() < 1e-5);
/// assert_eq!(norm.running_mean().to_vec1::<f32>()?, [0.2]);
/// assert!((norm.running_var().to_vec1::<f32>()?[0] - 1.1).abs() < 1e-6);
/// let evaluated = norm.forward_t(&x, false)?.to_vec2::<f32>()?;
/// assert!((evaluated[0][0] - 0.8 / 1.1f32.sqrt()).abs() < 1e-5);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct BatchNorm {
    running_mean: Var,
    running_var: Var,
    weight_and_bias: Option<(Tensor, Tensor)>,
    eps: f64,
    momentum: f64,
}

impl BatchNorm {
    fn made(
        num_features: usize,
        [running_mean, running_var]: [Tensor; 2],
        weight_and_bias: Option<(Tensor, Tensor)>,
        eps: f64,
        momentum: f64,
    ) -> Result<Self> {
        if eps.is_nan() || eps < 0.0 {
            bail!("eps of a batch norm is added to a variance and has to be 0 or above, not {eps}");
        }
        if !(0.0..=1.0).contains(&momentum) {
            bail!("the momentum of a batch norm is in [0, 1], not {momentum}");
        }
        let both = weight_and_bias.iter().flat_map(|(weight, bias)| [("weight", weight), ("bias", bias)]);
        let statistics = [("running mean", &running_mean), ("running variance", &running_var)];
        for (what, tensor) in statistics.into_iter().chain(both) {
            if tensor.dims() != [num_features] {
                bail!(
                    "the {what} of a batch norm of {num_features} channels has the shape {:?}",
                    tensor.shape()
                );
            }
        }
        Ok(Self {
            running_mean: Var::from_tensor(&running_mean)?,
            running_var: Var::from_tensor(&running_var)?,
            weight_and_bias,
            eps,
            momentum,
        })
    }

    /// A batch norm of running statistics, weight and bias, `[num_features]` each, with the momentum 0.1.
    ///
    /// # Errors
    /// If a shape differs or `eps` is negative.
    pub fn new(
        num_features: usize,
        running_mean: Tensor,
        running_var: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: f64,
    ) -> Result<Self> {
        Self::made(num_features, [running_mean, running_var], Some((weight, bias)), eps, 0.1)
    }

    /// A batch norm without weight and bias, with the momentum 0.1.
    ///
    /// # Errors
    /// If a shape differs or `eps` is negative.
    pub fn new_no_bias(
        num_features: usize,
        running_mean: Tensor,
        running_var: Tensor,
        eps: f64,
    ) -> Result<Self> {
        Self::made(num_features, [running_mean, running_var], None, eps, 0.1)
    }

    /// A batch norm of running statistics, weight and bias, and a momentum in `[0, 1]`.
    ///
    /// # Errors
    /// If a shape differs, `eps` is negative, or the momentum out of range.
    pub fn new_with_momentum(
        num_features: usize,
        running_mean: Tensor,
        running_var: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: f64,
        momentum: f64,
    ) -> Result<Self> {
        Self::made(num_features, [running_mean, running_var], Some((weight, bias)), eps, momentum)
    }

    /// A batch norm without weight and bias, with a momentum in `[0, 1]`.
    ///
    /// # Errors
    /// If a shape differs, `eps` is negative, or the momentum out of range.
    pub fn new_no_bias_with_momentum(
        num_features: usize,
        running_mean: Tensor,
        running_var: Tensor,
        eps: f64,
        momentum: f64,
    ) -> Result<Self> {
        Self::made(num_features, [running_mean, running_var], None, eps, momentum)
    }

    /// The running mean, `[channels]`.
    pub fn running_mean(&self) -> &Tensor {
        self.running_mean.as_tensor()
    }

    /// The running variance, `[channels]`.
    pub fn running_var(&self) -> &Tensor {
        self.running_var.as_tensor()
    }

    /// What is added to the variance.
    pub fn eps(&self) -> f64 {
        self.eps
    }

    /// Weight and bias, if there are any.
    pub fn weight_and_bias(&self) -> Option<(&Tensor, &Tensor)> {
        self.weight_and_bias.as_ref().map(|(weight, bias)| (weight, bias))
    }

    /// How much of a batch's statistics goes into the running ones.
    pub fn momentum(&self) -> f64 {
        self.momentum
    }

    /// The norm by the batch's own statistics, which move the running ones. One number in a channel has no
    /// variance: like PyTorch, the layer refuses it.
    ///
    /// # Errors
    /// If a channel of the batch has one number, or those of [`wick_kernels::batch_norm`].
    pub fn forward_train(&self, xs: &Tensor) -> Result<Tensor> {
        let n = self.check(xs)?;
        if n < 2 {
            bail!("batch norm in training takes more than one number for each channel, not {:?}", xs.shape());
        }
        let (normed, batch) = wick_kernels::batch_norm(xs, self.weight_and_bias(), self.eps)?;
        let n = n as f64;
        for (running, new, factor) in
            [(&self.running_mean, batch.mean, 1.0), (&self.running_var, batch.variance, n / (n - 1.0))]
        {
            let old = running.as_detached_tensor();
            let new = new.to_dtype(old.dtype())?.affine(self.momentum * factor, 0.0)?;
            running.set(&(old.affine(1.0 - self.momentum, 0.0)? + new)?)?;
        }
        Ok(normed)
    }

    fn forward_eval(&self, xs: &Tensor) -> Result<Tensor> {
        self.check(xs)?;
        let statistics = BatchStatistics {
            mean: self.running_mean.as_detached_tensor(),
            variance: self.running_var.as_detached_tensor(),
        };
        batch_norm_with(xs, &statistics, self.weight_and_bias(), self.eps)
    }

    /// The numbers of each channel.
    fn check(&self, xs: &Tensor) -> Result<usize> {
        let channels = self.running_mean.elem_count();
        if xs.rank() < 2 || xs.dims()[1] != channels {
            bail!("a batch norm of {channels} channels takes [batch, channels, …], not {:?}", xs.shape());
        }
        Ok(xs.elem_count().checked_div(channels).unwrap_or(0))
    }
}

impl ModuleT for BatchNorm {
    fn forward_t(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        if train { self.forward_train(xs) } else { self.forward_eval(xs) }
    }
}

/// A batch norm of `num_features` channels with the variables `running_mean` (0), `running_var` (1) and, if
/// `config.affine`, `weight` (1) and `bias` (0). The config is a number, `eps`, or a [`BatchNormConfig`]. PyTorch's
/// `num_batches_tracked`, a count that nothing depends on, is not read.
///
/// # Errors
/// If `eps` or the momentum is out of range, or the mean is not to be removed (candle's option for that has no
/// counterpart in PyTorch); those of the `VarBuilder`.
pub fn batch_norm<C: Into<BatchNormConfig>>(
    num_features: usize,
    config: C,
    vb: VarBuilder,
) -> Result<BatchNorm> {
    let config = config.into();
    if !config.remove_mean {
        bail!(
            "a batch norm without `remove_mean` is not supported: leave it true, or use candle_nn::batch_norm"
        );
    }
    let variable = |name, value| vb.get_with_hints(num_features, name, Init::Const(value));
    let statistics = [variable("running_mean", 0.0)?, variable("running_var", 1.0)?];
    let weight_and_bias = match config.affine {
        true => Some((variable("weight", 1.0)?, variable("bias", 0.0)?)),
        false => None,
    };
    BatchNorm::made(num_features, statistics, weight_and_bias, config.eps, config.momentum)
}
