//! The norm of all gradients, clipping by it, and the loss scale.

use std::fmt;
use std::str::FromStr;

use candle_core::{DType, Device, Error, Result, Tensor, bail};

use crate::cpu::slice;
use crate::dot::sum_of;

/// By what a gradient `g` is multiplied when the norm `n` of all gradients is above the limit `c`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClipRule {
    /// `torch`, as PyTorch's `clip_grad_norm_`: `min(1, c/(n + 10⁻⁶))`, which is below 1 already for norms
    /// between `c - 10⁻⁶` and `c`.
    Torch,
    /// `optax`, as optax's `clip_by_global_norm`: 1 if `n < c`, else `c/n`.
    Optax,
}

impl ClipRule {
    /// Both rules.
    pub const ALL: [Self; 2] = [Self::Torch, Self::Optax];
}

impl fmt::Display for ClipRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Torch => "torch",
            Self::Optax => "optax",
        })
    }
}

impl FromStr for ClipRule {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|rule| rule.to_string() == name) {
            Some(rule) => Ok(rule),
            None => bail!("`{name}` is no rule of clipping: use torch or optax"),
        }
    }
}

/// Clipping by the norm of all gradients together (Pascanu, Mikolov and Bengio 2013, *On the difficulty of
/// training recurrent neural networks*, algorithm 1). The norm is over the variables that the optimizer steps.
///
/// ```
/// use wick_kernels::{Clip, ClipRule};
///
/// let clip = Clip { norm: 1.0, rule: "optax".parse()? };
/// assert_eq!(clip.rule, ClipRule::Optax);
/// assert_eq!((clip.factor(4.0), clip.factor(0.5)), (0.25, 1.0));
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clip {
    /// The largest norm `c` that is left as it is, above 0.
    pub norm: f64,
    /// What happens above it.
    pub rule: ClipRule,
}

impl Clip {
    /// What the gradients are multiplied by when their norm is `norm`.
    pub fn factor(&self, norm: f64) -> f64 {
        match self.rule {
            ClipRule::Torch => (self.norm / (norm + 1e-6)).min(1.0),
            ClipRule::Optax if norm < self.norm => 1.0,
            ClipRule::Optax => self.norm / norm,
        }
    }
}

/// What the loss is multiplied by so that `f16` gradients do not vanish (Micikevicius et al. 2018, *Mixed
/// precision training*). The optimizer divides the gradients by it, in the same pass.
///
/// A dynamic scale is divided by 2 when a gradient is not finite, and that step is left out; after `interval`
/// steps without that it is doubled. With a fixed scale such a gradient is an error.
///
/// ```
/// use wick_kernels::LossScale;
///
/// let mut scale = LossScale::dynamic(1024.0, 2);
/// scale.update(false); // a gradient overflowed
/// assert_eq!(scale.scale, 512.0);
/// scale.update(true);
/// scale.update(true);
/// assert_eq!(scale.scale, 1024.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossScale {
    /// The factor, above 0. A power of two changes no digit of a gradient.
    pub scale: f64,
    /// The number of finite steps after which the scale is doubled; `None` for a fixed scale.
    pub interval: Option<u64>,
    /// The number of finite steps since the scale changed.
    pub finite_steps: u64,
}

impl LossScale {
    /// A scale that stays.
    pub fn fixed(scale: f64) -> Self {
        Self { scale, interval: None, finite_steps: 0 }
    }

    /// A scale that begins with `scale` and follows the gradients. PyTorch begins with 65536 and has an
    /// interval of 2000 steps.
    pub fn dynamic(scale: f64, interval: u64) -> Self {
        Self { scale, interval: Some(interval), finite_steps: 0 }
    }

    /// Follows a step whose gradients were finite, or were not. The scale stays within `[2⁻¹⁴, 2²⁴]`.
    pub fn update(&mut self, finite: bool) {
        let Some(interval) = self.interval else { return };
        self.finite_steps = if finite { self.finite_steps + 1 } else { 0 };
        let factor = match finite {
            false => 0.5,
            true if self.finite_steps >= interval => 2.0,
            true => return,
        };
        self.finite_steps = 0;
        self.scale = (self.scale * factor).clamp(0.5f64.powi(14), 2f64.powi(24));
    }
}

/// The sum of the squares of a gradient, in `f64`. On the CPU it is summed in blocks of a fixed size, so that
/// its bits depend neither on the number of threads nor on the vector unit.
pub(crate) fn squares(gradient: &Tensor) -> Result<f64> {
    if !gradient.device().is_cpu() {
        // Metal has no `f64`.
        return gradient.sqr()?.sum_all()?.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_scalar();
    }
    match gradient.dtype() {
        DType::F64 => slice::with(gradient, |g| sum_of::<f64>(g, g)),
        _ => slice::with(gradient, |g| sum_of::<f32>(g, g)),
    }
}
