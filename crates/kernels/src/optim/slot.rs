//! A variable of an optimizer with its state.

use candle_core::{DType, Device, Result, Tensor, Var, bail};

use crate::cpu::simd::SimdLevel;
use crate::cpu::slice;
use crate::optim::pass::{Pass, Rule};
use crate::optim::real::Real;

/// A variable that an optimizer steps, with its name and what is particular to its group.
///
/// ```
/// use candle_core::{Device, Var};
/// use wick_kernels::Named;
///
/// let bias = Named::new("layers.0.bias", Var::new(&[0f32], &Device::Cpu)?).with_decay(0.0).with_rate(2.0);
/// assert_eq!((bias.rate, bias.decay, bias.frozen), (2.0, Some(0.0), false));
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Named {
    /// The name, under which the state is saved.
    pub name: String,
    /// The variable: `f32`, `f64`, `bf16` or `f16`.
    pub var: Var,
    /// What the learning rate is multiplied by, not negative.
    pub rate: f64,
    /// The weight decay, not negative; `None` for that of the optimizer's parameters.
    pub decay: Option<f64>,
    /// What the `ε` of AdamW and Muon's AdamW is multiplied by, not negative.
    pub eps: f64,
    /// Whether the variable stays as it is. It then has no state, and its gradient is not read.
    pub frozen: bool,
    /// Whether [`Muon`](crate::Muon) steps the variable by AdamW although it is a matrix, as is usual for
    /// embeddings and the last layer.
    pub elementwise: bool,
}

impl Named {
    /// A variable with the learning rate and the weight decay of the optimizer's parameters.
    pub fn new(name: impl Into<String>, var: Var) -> Self {
        Self { name: name.into(), var, rate: 1.0, decay: None, eps: 1.0, frozen: false, elementwise: false }
    }

    /// Multiplies the learning rate by `rate`.
    pub fn with_rate(self, rate: f64) -> Self {
        Self { rate, ..self }
    }

    /// Sets the weight decay.
    pub fn with_decay(self, decay: f64) -> Self {
        Self { decay: Some(decay), ..self }
    }

    /// Multiplies AdamW's `ε` by `eps`, as CompleteP does for the weights of residual branches (Dey et al. 2025, arXiv
    /// 2505.01618, table 1), whose gradients fall with the depth. Other optimizers do not read it.
    ///
    /// ```
    /// use candle_core::{Device, Var};
    /// use candle_nn::{Optimizer, ParamsAdamW};
    /// use wick_kernels::{AdamW, Named};
    ///
    /// // A gradient and an ε that are eight times as small give the same step.
    /// let step = |eps: f64, gradient: f64| {
    ///     let w = Var::new(&[1f64], &Device::Cpu)?;
    ///     let params = ParamsAdamW { lr: 0.1, eps: 1.0, weight_decay: 0.0, ..Default::default() };
    ///     let mut adamw = AdamW::named(vec![Named::new("w", w.clone()).with_eps(eps)], params)?;
    ///     adamw.backward_step(&(w.as_tensor() * gradient)?.sum_all()?)?;
    ///     w.get(0)?.to_scalar::<f64>()
    /// };
    /// assert!((step(0.125, 0.125)? - step(1.0, 1.0)?).abs() < 1e-12);
    /// assert!((step(1.0, 0.125)? - step(1.0, 1.0)?).abs() > 0.03);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn with_eps(self, eps: f64) -> Self {
        Self { eps, ..self }
    }

    /// Leaves the variable as it is.
    pub fn frozen(self) -> Self {
        Self { frozen: true, ..self }
    }

    /// Has [`Muon`](crate::Muon) step the variable by AdamW.
    pub fn elementwise(self) -> Self {
        Self { elementwise: true, ..self }
    }
}

/// The numbers that an optimizer keeps for a variable.
#[derive(Debug)]
pub(crate) enum Buffers {
    /// For a variable on the CPU, in `f32` or narrower. `masters` are the weights of a narrower one.
    F32 { masters: Option<Vec<f32>>, state: Vec<Vec<f32>> },
    /// For a variable on the CPU in `f64`.
    F64 { state: Vec<Vec<f64>> },
    /// For a variable elsewhere.
    Tensors { masters: Option<Tensor>, state: Vec<Tensor> },
}

/// A variable of an optimizer with its state.
#[derive(Debug)]
pub struct Slot {
    pub(crate) named: Named,
    /// The names of the state; empty for a frozen variable.
    pub(crate) names: &'static [&'static str],
    pub(crate) buffers: Buffers,
}

/// The type that an optimizer computes in for variables of a type.
pub(crate) fn computed_in(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

impl Slot {
    /// A variable with a state of zeros.
    pub(crate) fn new(named: Named, names: &'static [&'static str]) -> Result<Self> {
        let var = &named.var;
        let names = if named.frozen { &[] } else { names };
        if !var.device().is_cpu() || !var.is_contiguous() {
            return Self::composed(named, names);
        }
        let (count, narrow) = (var.elem_count(), matches!(var.dtype(), DType::BF16 | DType::F16));
        let buffers = match var.dtype() {
            DType::F64 => Buffers::F64 { state: vec![vec![0.0; count]; names.len()] },
            _ => Buffers::F32 {
                masters: (narrow && !named.frozen).then(|| numbers(var)).transpose()?,
                state: vec![vec![0.0; count]; names.len()],
            },
        };
        Ok(Self { named, names, buffers })
    }

    /// The same, stepped by candle's ops.
    pub(crate) fn composed(named: Named, names: &'static [&'static str]) -> Result<Self> {
        let var = &named.var;
        let computed = computed_in(var.dtype());
        let masters =
            (computed != var.dtype() && !named.frozen).then(|| var.to_dtype(computed)).transpose()?;
        let zeros = || Tensor::zeros(var.shape(), computed, var.device());
        let state = names.iter().map(|_| zeros()).collect::<Result<_>>()?;
        Ok(Self { named, names, buffers: Buffers::Tensors { masters, state } })
    }

    /// Steps the variable; the rule has the first `K` numbers of the state.
    pub(crate) fn step<R: Rule<K>, const K: usize>(
        &mut self,
        rule: R,
        gradient: &Tensor,
        level: SimdLevel,
    ) -> Result<()> {
        let var = &self.named.var;
        match &mut self.buffers {
            Buffers::F32 { masters, state } => {
                let pass = Pass::new(rule, level, masters.as_deref_mut(), first(state)?);
                var.as_tensor().inplace_op2(gradient, &pass)
            }
            Buffers::F64 { state } => {
                let pass = Pass::new(rule, level, None, first(state)?);
                var.as_tensor().inplace_op2(gradient, &pass)
            }
            Buffers::Tensors { masters, state } => {
                let weights = current(var, masters.as_ref())?;
                let Some(old) = state.first_chunk_mut::<K>() else { bail!("{} lacks its state", R::NAME) };
                let (weights, new) = rule.composed(&weights, &gradient.detach(), old.each_ref())?;
                *old = new.map(|state| state.detach());
                var.set(&weights.to_dtype(var.dtype())?)?;
                *masters = masters.is_some().then(|| weights.detach());
                Ok(())
            }
        }
    }

    /// The weights in the type that the optimizer computes in.
    pub(crate) fn weights(&self) -> Result<Tensor> {
        let var = &self.named.var;
        let masters = match &self.buffers {
            Buffers::F32 { masters: Some(masters), .. } => {
                Some(Tensor::from_slice(masters, var.shape(), &Device::Cpu)?)
            }
            Buffers::Tensors { masters, .. } => masters.clone(),
            _ => None,
        };
        current(var, masters.as_ref())
    }

    /// A number of the state, as a tensor of the variable's shape.
    pub(crate) fn state(&self, index: usize) -> Result<Tensor> {
        let shape = self.named.var.shape();
        match &self.buffers {
            Buffers::F32 { state, .. } => Tensor::from_slice(&state[index], shape, &Device::Cpu),
            Buffers::F64 { state } => Tensor::from_slice(&state[index], shape, &Device::Cpu),
            Buffers::Tensors { state, .. } => Ok(state[index].clone()),
        }
    }

    /// Sets a number of the state to a tensor in the type that the optimizer computes in.
    pub(crate) fn set_state(&mut self, index: usize, to: &Tensor) -> Result<()> {
        match &mut self.buffers {
            Buffers::F32 { state, .. } => state[index] = numbers(to)?,
            Buffers::F64 { state } => state[index] = numbers(to)?,
            Buffers::Tensors { state, .. } => state[index] = to.copy()?.detach(),
        }
        Ok(())
    }
}

/// The numbers of a tensor.
pub(crate) fn numbers<T: Real>(xs: &Tensor) -> Result<Vec<T>> {
    let xs = xs.detach().to_device(&Device::Cpu)?.to_dtype(T::DTYPE)?.contiguous()?;
    slice::with(&xs, <[T]>::to_vec)
}

/// The masters, or the variable where it is no longer the masters rounded.
fn current(var: &Var, masters: Option<&Tensor>) -> Result<Tensor> {
    let weights = var.as_detached_tensor();
    match masters {
        Some(masters) => {
            let same = masters.to_dtype(var.dtype())?.eq(&weights)?;
            same.where_cond(masters, &weights.to_dtype(masters.dtype())?)
        }
        None => Ok(weights),
    }
}

/// The first `K` numbers of a state.
fn first<T, const K: usize>(state: &mut [Vec<T>]) -> Result<[&mut [T]; K]> {
    match state.first_chunk_mut::<K>() {
        Some(state) => Ok(state.each_mut().map(Vec::as_mut_slice)),
        None => bail!("an optimizer lacks {K} numbers of its state"),
    }
}
