//! Layer norm and RMS norm over the last dimension.

use candle_core::{Module, Result, Tensor};
pub use candle_nn::LayerNormConfig;
use candle_nn::{Init, VarBuilder};

/// Layer norm, `y = (x - mean)/√(var + eps) ⊙ weight + bias` over the last dimension of `[…, size]`, or without its
/// mean and bias RMS norm. The op is [`wick_kernels::layer_norm`], whose gradients reach the input, the weight and the
/// bias; candle's layer ends the gradient there.
///
/// ```
/// use candle_core::{DType, Device, Module, Tensor};
/// use candle_nn::{VarBuilder, VarMap};
/// use wick_layers::layer_norm; // instead of candle_nn::layer_norm
///
/// let vars = VarMap::new();
/// let norm = layer_norm(3, 1e-5, VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu).pp("ln"))?;
/// let y = norm.forward(&Tensor::new(&[[1f32, 2.0, 3.0]], &Device::Cpu)?)?;
/// assert!((y.to_vec2::<f32>()?[0][2] - 1.2247).abs() < 1e-4);
/// let gradients = y.sqr()?.sum_all()?.backward()?;
/// assert_eq!(vars.all_vars().iter().filter(|var| gradients.get(var).is_some()).count(), 2);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Option<Tensor>,
    remove_mean: bool,
    eps: f64,
}

impl LayerNorm {
    /// A layer norm of weight and bias, `[size]` each.
    pub fn new(weight: Tensor, bias: Tensor, eps: f64) -> Self {
        Self { weight, bias: Some(bias), remove_mean: true, eps }
    }

    /// A layer norm without a bias.
    pub fn new_no_bias(weight: Tensor, eps: f64) -> Self {
        Self { weight, bias: None, remove_mean: true, eps }
    }

    /// A norm that leaves the mean where it is: an RMS norm.
    pub fn rms_norm(weight: Tensor, eps: f64) -> Self {
        Self { weight, bias: None, remove_mean: false, eps }
    }

    /// The weight, `[size]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The bias, `[size]`, if there is one.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// What is added to the variance.
    pub fn eps(&self) -> f64 {
        self.eps
    }

    /// Whether the mean is subtracted.
    pub fn remove_mean(&self) -> bool {
        self.remove_mean
    }
}

impl Module for LayerNorm {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        match (self.remove_mean, &self.bias) {
            (true, bias) => wick_kernels::layer_norm(xs, &self.weight, bias.as_ref(), self.eps),
            (false, None) => wick_kernels::rms_norm(xs, &self.weight, self.eps),
            (false, Some(bias)) => wick_kernels::rms_norm(xs, &self.weight, self.eps)?.broadcast_add(bias),
        }
    }
}

/// A layer norm over `size` numbers with the variables `weight` (1) and, if `config.affine`, `bias` (0), or with those
/// of the older names `gamma` and `beta` where a file has them. The config is a number, `eps`, or a [`LayerNormConfig`].
///
/// # Errors
/// Those of the `VarBuilder`.
pub fn layer_norm<C: Into<LayerNormConfig>>(size: usize, config: C, vb: VarBuilder) -> Result<LayerNorm> {
    let config = config.into();
    let variable = |names: [&str; 2], value: f64| {
        let name = names.into_iter().find(|name| vb.contains_tensor(name)).unwrap_or(names[0]);
        vb.get_with_hints(size, name, Init::Const(value))
    };
    let weight = variable(["weight", "gamma"], 1.0)?;
    let bias = config.affine.then(|| variable(["bias", "beta"], 0.0)).transpose()?;
    Ok(LayerNorm { weight, bias, remove_mean: config.remove_mean, eps: config.eps })
}

/// A layer norm over `size` numbers with the variable `weight` alone.
///
/// # Errors
/// Those of the `VarBuilder`.
pub fn layer_norm_no_bias(size: usize, eps: f64, vb: VarBuilder) -> Result<LayerNorm> {
    layer_norm(size, LayerNormConfig { eps, remove_mean: true, affine: false }, vb)
}

/// RMS norm, `y = x/√(mean(x²) + eps) ⊙ weight` over the last dimension of `[…, size]`. The op is
/// [`wick_kernels::rms_norm`], whose gradients reach the input and the weight; candle's layer ends the gradient there.
///
/// ```
/// use candle_core::{Device, Module, Tensor, Var};
/// use wick_layers::RmsNorm; // instead of candle_nn::RmsNorm
///
/// let norm = RmsNorm::new(Tensor::new(&[1f32, 2.0], &Device::Cpu)?, 0.0);
/// let x = Var::new(&[[1f32, -1.0]], &Device::Cpu)?;
/// let y = norm.forward(&x)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[1.0, -2.0]]);
/// assert!(y.sum_all()?.backward()?.get(&x).is_some());
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct RmsNorm(LayerNorm);

impl RmsNorm {
    /// An RMS norm of a weight, `[size]`.
    pub fn new(weight: Tensor, eps: f64) -> Self {
        Self(LayerNorm::rms_norm(weight, eps))
    }

    /// The layer as a [`LayerNorm`] that leaves the mean where it is.
    pub fn into_inner(self) -> LayerNorm {
        self.0
    }

    /// The weight, `[size]`.
    pub fn weight(&self) -> &Tensor {
        self.0.weight()
    }

    /// What is added to the mean square.
    pub fn eps(&self) -> f64 {
        self.0.eps()
    }

    /// The same as `forward`, as candle's models call it where they want a gradient.
    ///
    /// # Errors
    /// Those of [`wick_kernels::rms_norm`].
    pub fn forward_diff(&self, xs: &Tensor) -> Result<Tensor> {
        self.0.forward(xs)
    }
}

impl Module for RmsNorm {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        self.0.forward(xs)
    }
}

/// An RMS norm over `size` numbers with the variable `weight` (1).
///
/// # Errors
/// Those of the `VarBuilder`.
pub fn rms_norm(size: usize, eps: f64, vb: VarBuilder) -> Result<RmsNorm> {
    layer_norm(size, LayerNormConfig { eps, remove_mean: false, affine: false }, vb).map(RmsNorm)
}
