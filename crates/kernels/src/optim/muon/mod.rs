//! Muon for matrices, and AdamW for the rest.

mod newton_schulz;

use std::fmt;
use std::str::FromStr;

use candle_core::{Device, Error, Result, Tensor, bail};
use candle_nn::ParamsAdamW;

use crate::optim::adamw;
use crate::optim::method::{Method, Now, below_one, not_negative};
use crate::optim::pass::Rule;
use crate::optim::real::Real;
use crate::optim::slot::{Buffers, Named, Slot, numbers};
use crate::optim::stepper::Stepper;
use newton_schulz::{blend, orthogonalize};

/// By what Muon multiplies the learning rate of a matrix of `out × in`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MuonScaling {
    /// `original`: `√max(1, out/in)` (Jordan et al. 2024).
    #[default]
    Original,
    /// `match_rms_adamw`: `0.2 √max(out, in)`, so that a step is as large as AdamW's and takes its learning rate
    /// (Liu et al. 2025, *Muon is scalable for LLM training*, arXiv 2502.16982).
    MatchRmsAdamW,
}

impl MuonScaling {
    /// All rules.
    pub const ALL: [Self; 2] = [Self::Original, Self::MatchRmsAdamW];

    fn factor(self, rows: usize, columns: usize) -> f64 {
        match self {
            Self::Original => (rows as f64 / columns.max(1) as f64).max(1.0).sqrt(),
            Self::MatchRmsAdamW => 0.2 * (rows.max(columns) as f64).sqrt(),
        }
    }
}

impl fmt::Display for MuonScaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Original => "original",
            Self::MatchRmsAdamW => "match_rms_adamw",
        })
    }
}

impl FromStr for MuonScaling {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|rule| rule.to_string() == name) {
            Some(rule) => Ok(rule),
            None => bail!("`{name}` is no scaling of Muon: use original or match_rms_adamw"),
        }
    }
}

/// The parameters of [`Muon`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ParamsMuon {
    /// The learning rate of matrices, not negative.
    pub lr: f64,
    /// The momentum `μ`, in `[0, 1)`.
    pub momentum: f64,
    /// Whether the step looks ahead, as Nesterov's method does.
    pub nesterov: bool,
    /// Whether the running mean is corrected for its beginning with 0, as optax does and PyTorch and Jordan do
    /// not. It matters in the first steps, and with Nesterov's look-ahead alone.
    pub bias_correction: bool,
    /// By what the learning rate of a matrix is multiplied.
    pub scaling: MuonScaling,
    /// The number of steps of Newton and Schulz.
    pub iterations: usize,
    /// What is added to the norm of a matrix, not negative.
    pub eps: f64,
    /// The coefficient `λ` of the decay, not negative, of matrices and of all else.
    pub weight_decay: f64,
    /// AdamW's learning rate as a multiple of `lr`, not negative.
    pub adamw_rate: f64,
    /// AdamW's `β₁`, in `[0, 1)`.
    pub beta1: f64,
    /// AdamW's `β₂`, in `[0, 1)`.
    pub beta2: f64,
    /// AdamW's `ε`, not negative.
    pub adamw_eps: f64,
}

impl Default for ParamsMuon {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            momentum: 0.95,
            nesterov: true,
            bias_correction: false,
            scaling: MuonScaling::Original,
            iterations: 5,
            eps: 1e-8,
            weight_decay: 0.1,
            adamw_rate: 1.0,
            beta1: 0.9,
            beta2: 0.999,
            adamw_eps: 1e-8,
        }
    }
}

/// Muon (Jordan et al. 2024, *Muon: an optimizer for hidden layers in neural networks*) for variables of two
/// dimensions, and AdamW for all others and those that [`Named::elementwise`] names: `m ← μm + (1-μ)g`,
/// `u = μm + (1-μ)g` with Nesterov's look-ahead, else `u = m`, and `w ← (1 - lr·λ)w - lr·s·O`, where `s` is the
/// [`MuonScaling`] and `O` the orthogonal matrix near `u`: five steps of `X ← aX + (bA + cA²)X`, `A = XXᵀ`,
/// `(a, b, c) = (3.4445, -4.775, 2.0315)`, from `u/(|u| + ε)` on. They are computed in the type of the state,
/// `f32` or `f64`; PyTorch computes them in `bf16`.
///
/// State: `muon.momentum`; of the others, AdamW's.
///
/// ```
/// use candle_core::{Device, Var};
/// use candle_nn::Optimizer;
/// use wick_kernels::{Muon, MuonScaling, ParamsMuon};
///
/// let w = Var::new(&[[1f32, 0.0], [0.0, -2.0]], &Device::Cpu)?;
/// let params = ParamsMuon { lr: 0.5, weight_decay: 0.0, scaling: "original".parse()?, ..Default::default() };
/// let mut muon = Muon::new(vec![w.clone()], params)?;
/// muon.backward_step(&(w.sqr()?.sum_all()? * 0.5)?)?;
/// // The singular values 1 and 2 of the gradient became numbers near 1.
/// let w = w.to_vec2::<f32>()?;
/// assert!((w[0][0] - 0.5).abs() < 0.2 && (w[1][1] + 1.5).abs() < 0.2);
/// assert_eq!("match_rms_adamw".parse::<MuonScaling>()?, MuonScaling::MatchRmsAdamW);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// Those of [`Stepper::named`] and of a step: parameters out of range, a gradient of another shape.
pub type Muon = Stepper<ParamsMuon>;

/// The state of a matrix.
const STATE: &[&str] = &["muon.momentum"];

impl Method for ParamsMuon {
    fn learning_rate(&self) -> f64 {
        self.lr
    }

    fn set_learning_rate(&mut self, rate: f64) {
        self.lr = rate;
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn check(&self) -> Result<()> {
        not_negative("Muon's learning rate", self.lr)?;
        below_one("Muon's momentum", self.momentum)?;
        not_negative("Muon's eps", self.eps)?;
        not_negative("Muon's weight decay", self.weight_decay)?;
        not_negative("AdamW's multiple of Muon's learning rate", self.adamw_rate)?;
        below_one("AdamW's beta1", self.beta1)?;
        below_one("AdamW's beta2", self.beta2)?;
        not_negative("AdamW's eps", self.adamw_eps)
    }

    fn state_names(&self, named: &Named) -> &'static [&'static str] {
        if named.var.rank() == 2 && !named.elementwise { STATE } else { adamw::STATE }
    }

    fn update(&self, slot: &mut Slot, gradient: &Tensor, now: &Now) -> Result<()> {
        if slot.names != STATE {
            let Self { beta1, beta2, adamw_eps: eps, .. } = *self;
            let now = Now { rate: now.rate * self.adamw_rate, ..*now };
            let params = ParamsAdamW { lr: now.rate, beta1, beta2, eps, weight_decay: now.decay };
            return slot.step(adamw::Step::new(&params, &now), gradient, now.level);
        }
        let shape = slot.named.var.dims2()?;
        let mean = Mean::new(self, now);
        let direction = match &mut slot.buffers {
            Buffers::F32 { state, .. } => mean.direction(&mut state[0], numbers(gradient)?, shape)?,
            Buffers::F64 { state } => mean.direction(&mut state[0], numbers(gradient)?, shape)?,
            Buffers::Tensors { state, .. } => {
                let (direction, momentum) = mean.composed(&state[0], gradient)?;
                state[0] = momentum.detach();
                newton_schulz::composed(&direction, self.iterations, self.eps)?
            }
        };
        let rate = now.rate * self.scaling.factor(shape.0, shape.1);
        slot.step(Descend { rate, keep: 1.0 - now.rate * now.decay }, &direction, now.level)
    }
}

/// The running mean of the gradients, and what is made orthogonal of it.
struct Mean<'a> {
    params: &'a ParamsMuon,
    now: &'a Now<'a>,
    /// What the running mean and the gradient are multiplied by in the direction.
    from_mean: f64,
    from_gradient: f64,
}

impl<'a> Mean<'a> {
    fn new(params: &'a ParamsMuon, now: &'a Now<'a>) -> Self {
        let ParamsMuon { momentum, nesterov, bias_correction, .. } = *params;
        let steps = i32::try_from(now.clock.steps).unwrap_or(i32::MAX - 1);
        let correction = |steps: i32| if bias_correction { 1.0 / (1.0 - momentum.powi(steps)) } else { 1.0 };
        let (from_mean, from_gradient) = match nesterov {
            true => (momentum * correction(steps + 1), (1.0 - momentum) * correction(steps)),
            false => (correction(steps), 0.0),
        };
        Self { params, now, from_mean, from_gradient: from_gradient * now.factor }
    }

    fn direction<T: Real>(&self, mean: &mut [T], gradient: Vec<T>, shape: (usize, usize)) -> Result<Tensor> {
        let (level, momentum) = (self.now.level, self.params.momentum);
        blend(level, mean, &gradient, momentum, (1.0 - momentum) * self.now.factor);
        let mut direction = gradient;
        blend(level, &mut direction, mean, self.from_gradient, self.from_mean);
        let orthogonal = orthogonalize(level, direction, shape, self.params.iterations, self.params.eps);
        Tensor::from_vec(orthogonal, shape, &Device::Cpu)
    }

    /// The direction and the running mean by candle's ops.
    fn composed(&self, mean: &Tensor, gradient: &Tensor) -> Result<(Tensor, Tensor)> {
        let momentum = self.params.momentum;
        let mean = ((mean * momentum)? + (gradient * ((1.0 - momentum) * self.now.factor))?)?;
        Ok((((gradient * self.from_gradient)? + (&mean * self.from_mean)?)?, mean))
    }
}

/// A step along a direction with decoupled decay.
#[derive(Debug, Clone, Copy)]
struct Descend {
    rate: f64,
    keep: f64,
}

impl Rule<0> for Descend {
    const NAME: &'static str = "muon";

    #[inline(always)]
    fn step<T: Real>(self, weights: &mut [T], direction: &[T], []: [&mut [T]; 0]) {
        let (rate, keep) = (T::narrow(self.rate), T::narrow(self.keep));
        for (w, &d) in weights.iter_mut().zip(direction) {
            *w = *w * keep - d * rate;
        }
    }

    fn composed(self, w: &Tensor, direction: &Tensor, []: [&Tensor; 0]) -> Result<(Tensor, [Tensor; 0])> {
        Ok((((w * self.keep)? - (direction * self.rate)?)?, []))
    }
}
