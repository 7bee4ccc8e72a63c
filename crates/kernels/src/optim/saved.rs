//! The state of an optimizer, saved and loaded by name.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, bail};

use crate::optim::method::{Clock, Method};
use crate::optim::slot::{Buffers, Slot, computed_in, numbers};
use crate::optim::stepper::Stepper;

/// The name of the `f32` weights of a `bf16` or `f16` variable.
const MASTERS: &str = "masters";

impl<P: Method> Stepper<P> {
    /// The state by name, as `adamw.first_moment/layers.0.weight`: `f64` for `f64` variables, else `f32`. The
    /// variables themselves are not among it, but the `f32` weights of `bf16` and `f16` variables are. A
    /// frozen variable has no state.
    ///
    /// # Errors
    /// If the variables have the weights of evaluation, or are stepped by a CUDA kernel.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        self.refuse_kernel("save their state")?;
        if self.trained.is_some() {
            bail!("the variables have the weights of evaluation: call `train` before the state is saved");
        }
        let mut all = Vec::new();
        for slot in &self.slots {
            for (kind, tensor) in tensors(slot)? {
                all.push((key(kind, slot), tensor));
            }
        }
        Ok(all)
    }

    /// The numbers of the state beside its tensors: `steps`, and those that the method or a loss scale needs.
    /// The learning rate and the other parameters are not among them.
    pub fn scalars(&self) -> Vec<(String, f64)> {
        let mut all = vec![("steps".to_owned(), self.clock.steps as f64)];
        all.extend(P::EXTRA.iter().map(|name| (*name).to_owned()).zip(self.clock.extra.iter().copied()));
        if let Some(scale) = self.loss_scale {
            all.push(("loss_scale".to_owned(), scale.scale));
            all.push(("finite_steps".to_owned(), scale.finite_steps as f64));
        }
        all
    }

    /// Loads what [`state`](Self::state) and [`scalars`](Self::scalars) returned. With the same weights,
    /// parameters and gradients, the next steps have the same bits as those of the optimizer that was saved.
    ///
    /// # Errors
    /// If a name is missing, unknown or there twice, or a shape, type or number does not fit. The optimizer
    /// then stays as it is.
    pub fn load_state(&mut self, tensors: &[(String, Tensor)], scalars: &[(String, f64)]) -> Result<()> {
        self.refuse_kernel("load a state")?;
        let mut numbers = by_name(scalars)?;
        let mut number = |name: &str, whole: bool| match numbers.remove(name) {
            Some(&x) if !(x.is_finite() && x >= 0.0) || whole && x.fract() != 0.0 => {
                bail!("the saved optimizer has {x} as `{name}`: the state is damaged")
            }
            Some(&x) => Ok(x),
            None => bail!("the saved optimizer has no `{name}`: another optimizer was saved"),
        };
        let steps = number("steps", true)? as u64;
        let extra = P::EXTRA.iter().map(|name| number(name, false)).collect::<Result<_>>()?;
        let mut loss_scale = self.loss_scale;
        if let Some(scale) = &mut loss_scale {
            scale.scale = number("loss_scale", false)?;
            scale.finite_steps = number("finite_steps", true)? as u64;
        }
        if let Some(name) = numbers.keys().next() {
            bail!("the saved optimizer has `{name}`, which this one does not: build it as it was when saved");
        }
        let mut tensors = by_name(tensors)?;
        let buffers = self.slots.iter().map(|slot| load(slot, &mut tensors)).collect::<Result<Vec<_>>>()?;
        if let Some(name) = tensors.keys().next() {
            bail!("the saved optimizer has `{name}`, which this one does not: build it as it was when saved");
        }
        for (slot, buffers) in self.slots.iter_mut().zip(buffers) {
            slot.buffers = buffers;
        }
        (self.clock, self.loss_scale) = (Clock { steps, extra }, loss_scale);
        self.trained = None;
        Ok(())
    }
}

/// What is saved of a variable, by the names of its state.
fn tensors(slot: &Slot) -> Result<Vec<(&'static str, Tensor)>> {
    let mut all = Vec::new();
    if has_masters(slot) {
        all.push((MASTERS, slot.weights()?));
    }
    for (index, kind) in slot.names.iter().enumerate() {
        all.push((*kind, slot.state(index)?));
    }
    Ok(all)
}

fn has_masters(slot: &Slot) -> bool {
    matches!(slot.buffers, Buffers::F32 { masters: Some(_), .. } | Buffers::Tensors { masters: Some(_), .. })
}

fn key(kind: &str, slot: &Slot) -> String {
    format!("{kind}/{}", slot.named.name)
}

fn by_name<T>(all: &[(String, T)]) -> Result<BTreeMap<&str, &T>> {
    let mut named = BTreeMap::new();
    for (name, value) in all {
        if named.insert(name.as_str(), value).is_some() {
            bail!("the saved optimizer has `{name}` twice");
        }
    }
    Ok(named)
}

/// The loaded state of a variable. What is used is taken out of `tensors`.
fn load(slot: &Slot, tensors: &mut BTreeMap<&str, &Tensor>) -> Result<Buffers> {
    let var = &slot.named.var;
    let dtype = computed_in(var.dtype());
    let mut find = |kind: &str| {
        let name = key(kind, slot);
        let Some(tensor) = tensors.remove(name.as_str()) else {
            bail!("the saved optimizer has no `{name}`: it was saved for another model or optimizer");
        };
        if tensor.dims() != var.dims() || tensor.dtype() != dtype {
            bail!(
                "the saved `{name}` is {:?} {:?}, and the optimizer needs {dtype:?} {:?}",
                tensor.dtype(),
                tensor.dims(),
                var.dims()
            );
        }
        Ok(tensor)
    };
    let masters = has_masters(slot).then(|| find(MASTERS)).transpose()?;
    let state = slot.names.iter().map(|kind| find(kind)).collect::<Result<Vec<_>>>()?;
    Ok(match &slot.buffers {
        Buffers::F32 { .. } => Buffers::F32 {
            masters: masters.map(numbers).transpose()?,
            state: state.into_iter().map(numbers).collect::<Result<_>>()?,
        },
        Buffers::F64 { .. } => Buffers::F64 { state: state.into_iter().map(numbers).collect::<Result<_>>()? },
        Buffers::Tensors { .. } => {
            let owned =
                |tensor: &Tensor| tensor.to_device(var.device())?.copy().map(|tensor| tensor.detach());
            Buffers::Tensors {
                masters: masters.map(owned).transpose()?,
                state: state.into_iter().map(owned).collect::<Result<_>>()?,
            }
        }
    })
}
