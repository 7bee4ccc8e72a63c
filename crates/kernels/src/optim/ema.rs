//! The exponential moving average of the weights.

use std::collections::HashSet;

use candle_core::{DType, Result, Tensor, Var, bail};

use crate::cpu::simd::SimdLevel;
use crate::optim::method::below_one;
use crate::optim::pass::Rule;
use crate::optim::real::Real;
use crate::optim::slot::{Named, Slot, computed_in};

/// The exponential moving average of weights (Polyak and Juditsky 1992 for the plain mean; the form of Tarvainen
/// and Valpola 2017, arXiv 1703.01780): `a ← d·a + (1-d)·w` after each step, from the weights at the beginning
/// on, in `f64` for `f64` variables and else in `f32`.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use wick_kernels::Ema;
///
/// let w = Var::new(&[0f32], &Device::Cpu)?;
/// let mut ema = Ema::new(vec![("w".to_owned(), w.clone())], 0.75)?;
/// w.set(&Tensor::new(&[8f32], &Device::Cpu)?)?;
/// ema.update()?;
/// ema.apply()?; // for validation
/// assert_eq!(w.to_vec1::<f32>()?, [2.0]);
/// ema.restore()?;
/// assert_eq!(w.to_vec1::<f32>()?, [8.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Ema {
    decay: f64,
    vars: Vec<Var>,
    averages: Vec<Slot>,
    steps: u64,
    /// The weights themselves, while the variables have the averages.
    weights: Option<Vec<Tensor>>,
    level: SimdLevel,
}

impl Ema {
    /// The average of variables, which begins with their values.
    ///
    /// # Errors
    /// If the decay is not in `[0, 1)`, a name is there twice, or a variable is of a type other than `f32`,
    /// `f64`, `bf16` and `f16`.
    pub fn new(vars: Vec<(String, Var)>, decay: f64) -> Result<Self> {
        below_one("the decay of the averaged weights", decay)?;
        let mut names = HashSet::new();
        let average = |(name, var): &(String, Var)| {
            if !matches!(var.dtype(), DType::F32 | DType::F64 | DType::BF16 | DType::F16) {
                bail!("`{name}` is {:?}: weights of f32, f64, bf16 and f16 are averaged", var.dtype());
            }
            if !names.insert(name.clone()) {
                bail!("two variables have the name `{name}`: give each a name of its own");
            }
            let start = var.as_detached_tensor().to_dtype(computed_in(var.dtype()))?.copy()?;
            Slot::new(Named::new(name.clone(), Var::from_tensor(&start)?), &[])
        };
        let averages = vars.iter().map(average).collect::<Result<_>>()?;
        let vars = vars.into_iter().map(|(_, var)| var).collect();
        Ok(Self { decay, vars, averages, steps: 0, weights: None, level: SimdLevel::best() })
    }

    /// The decay `d`.
    pub fn decay(&self) -> f64 {
        self.decay
    }

    /// The number of updates so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Takes the weights into the average.
    ///
    /// # Errors
    /// If the variables have the averages, or candle's ops fail.
    pub fn update(&mut self) -> Result<()> {
        if self.weights.is_some() {
            bail!("the variables have the averaged weights: call `restore` before an update");
        }
        for (average, var) in self.averages.iter_mut().zip(&self.vars) {
            let weights = var.as_detached_tensor().to_dtype(average.named.var.dtype())?;
            average.step(Blend(self.decay), &weights, self.level)?;
        }
        self.steps += 1;
        Ok(())
    }

    /// Gives the variables the averages, until [`restore`](Self::restore). A second call changes nothing.
    ///
    /// # Errors
    /// If candle's ops fail.
    pub fn apply(&mut self) -> Result<()> {
        if self.weights.is_none() {
            let copies = self.vars.iter().map(|var| Ok(var.copy()?.detach())).collect::<Result<_>>()?;
            for (average, var) in self.averages.iter().zip(&self.vars) {
                // A tensor of its own, since a variable is not set to its own storage.
                var.set(&average.named.var.as_detached_tensor().to_dtype(var.dtype())?.copy()?)?;
            }
            self.weights = Some(copies);
        }
        Ok(())
    }

    /// Gives the variables their weights again, to the bit.
    ///
    /// # Errors
    /// If candle's ops fail.
    pub fn restore(&mut self) -> Result<()> {
        for (var, weights) in self.vars.iter().zip(self.weights.iter().flatten()) {
            var.set(weights)?;
        }
        self.weights = None;
        Ok(())
    }

    /// The averages by name, as `ema/layers.0.weight`.
    ///
    /// # Errors
    /// If candle's ops fail.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        self.averages.iter().map(|slot| Ok((key(slot), slot.named.var.copy()?.detach()))).collect()
    }

    /// The numbers of the state beside its tensors: `ema_steps`, and `ema_decay`.
    pub fn scalars(&self) -> Vec<(String, f64)> {
        vec![("ema_steps".to_owned(), self.steps as f64), ("ema_decay".to_owned(), self.decay)]
    }

    /// Loads what [`state`](Self::state) and [`scalars`](Self::scalars) returned; the next averages have the
    /// same bits as those of the run that was saved.
    ///
    /// # Errors
    /// If a name, a shape, a type or the decay does not fit, or the variables have the averages. The average
    /// then stays as it is.
    pub fn load_state(&mut self, tensors: &[(String, Tensor)], scalars: &[(String, f64)]) -> Result<()> {
        if self.weights.is_some() {
            bail!("the variables have the averaged weights: call `restore` before a state is loaded");
        }
        let number = |name: &str| match scalars.iter().find(|(key, _)| key == name) {
            Some((_, x)) if x.is_finite() && *x >= 0.0 => Ok(*x),
            Some((_, x)) => bail!("the saved averages have {x} as `{name}`: the state is damaged"),
            None => bail!("the saved averages have no `{name}`"),
        };
        let (steps, decay) = (number("ema_steps")?, number("ema_decay")?);
        if decay != self.decay {
            bail!("the saved averages have the decay {decay}, and these {}: use the same", self.decay);
        }
        if tensors.len() != self.averages.len() {
            bail!("{} averages were saved, and {} are needed", tensors.len(), self.averages.len());
        }
        let mut found = Vec::with_capacity(tensors.len());
        for slot in &self.averages {
            let (name, var) = (key(slot), &slot.named.var);
            let Some((_, saved)) = tensors.iter().find(|(key, _)| *key == name) else {
                bail!("the saved averages have no `{name}`: they were saved for another model");
            };
            if saved.dims() != var.dims() || saved.dtype() != var.dtype() {
                let (dtype, dims) = (saved.dtype(), saved.dims());
                bail!("the saved `{name}` is {dtype:?} {dims:?}, not {:?} {:?}", var.dtype(), var.dims());
            }
            found.push(saved.to_device(var.device())?.copy()?);
        }
        self.averages.iter().zip(&found).try_for_each(|(slot, saved)| slot.named.var.set(saved))?;
        self.steps = steps as u64;
        Ok(())
    }
}

fn key(slot: &Slot) -> String {
    format!("ema/{}", slot.named.name)
}

/// The update with the decay.
#[derive(Debug, Clone, Copy)]
struct Blend(f64);

impl Rule<0> for Blend {
    const NAME: &'static str = "ema";

    #[inline(always)]
    fn step<T: Real>(self, averages: &mut [T], weights: &[T], []: [&mut [T]; 0]) {
        let (decay, rest) = (T::narrow(self.0), T::narrow(1.0 - self.0));
        for (a, &w) in averages.iter_mut().zip(weights) {
            *a = *a * decay + w * rest;
        }
    }

    fn composed(self, a: &Tensor, w: &Tensor, []: [&Tensor; 0]) -> Result<(Tensor, [Tensor; 0])> {
        Ok((((a * self.0)? + (w * (1.0 - self.0))?)?, []))
    }
}
