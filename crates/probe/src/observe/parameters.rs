//! Parameters: how far a step moves them, and their gradients.

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};
use serde::Serialize;
use wick_kernels::moments;

use crate::observe::sums::{copied_rows, magnitudes, moved};

/// Copies of parameters from before a step.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use wick_probe::Parameters;
///
/// let w = Var::new(&[[3.0f32, 4.0]], &Device::Cpu)?;
/// let vars = [("w".to_owned(), w.clone())];
/// let before = Parameters::of(&vars)?;
/// w.set(&Tensor::new(&[[3.003f32, 4.004]], &Device::Cpu)?)?;
/// let updates = before.updates(&vars)?;
/// assert!((updates[0].norm - 5.0).abs() < 1e-12);
/// assert!((updates[0].log10_ratio + 3.0).abs() < 1e-3);
/// assert!((updates[0].cosine - 1.0).abs() < 1e-3); // the weight grows
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Parameters {
    copies: Vec<(String, Tensor)>,
}

/// What a step did to one parameter.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Update {
    /// The parameter's name.
    pub name: String,
    /// How many dimensions the parameter has.
    pub rank: usize,
    /// How many inputs each of its outputs has: the elements of a slice of its first dimension.
    pub fan_in: usize,
    /// The fraction of the slices of its first dimension that equal an earlier one before the step, and are not 0.
    pub copied_rows: f64,
    /// The parameter's norm before the step.
    pub norm: f64,
    /// The parameter's root mean square before the step.
    pub rms: f64,
    /// The root mean square of the update.
    pub update_rms: f64,
    /// `log10(update_rms / rms)`, which is -∞ if nothing moved.
    pub log10_ratio: f64,
    /// The cosine between the update and the parameter before the step: near -1 where weight decay moves it. NaN if
    /// one of them is 0.
    pub cosine: f64,
}

impl Parameters {
    /// Copies the parameters, in the form of `InitMap::named_vars` or a
    /// `VarMap`'s data.
    ///
    /// # Errors
    /// If the device has no memory for the copies.
    pub fn of(vars: &[(String, Var)]) -> Result<Self> {
        let copies = vars.iter().map(|(name, var)| Ok((name.clone(), var.as_tensor().copy()?)));
        Ok(Self { copies: copies.collect::<Result<_>>()? })
    }

    /// What the steps since then did, for each parameter that still has its name and shape, in the order of
    /// `vars`. Pass `vars` in forward order, since [`judge_updates`](crate::judge_updates) names the first
    /// parameter that is wrong. Names sorted as text have `layer_10` before `layer_2`, and a `VarMap` has no
    /// order.
    ///
    /// # Errors
    /// Those of the device.
    pub fn updates(&self, vars: &[(String, Var)]) -> Result<Vec<Update>> {
        let mut updates = Vec::with_capacity(vars.len());
        for (name, var) in vars {
            let Some((_, before)) =
                self.copies.iter().find(|(copy, before)| copy == name && before.dims() == var.dims())
            else {
                continue;
            };
            let sums = moved(before, var)?;
            let count = before.elem_count() as f64;
            let (rms, update_rms) = ((sums.squares / count).sqrt(), (sums.updates / count).sqrt());
            updates.push(Update {
                name: name.clone(),
                rank: before.rank(),
                fan_in: before.elem_count() / before.dims().first().map_or(1, |rows| (*rows).max(1)),
                copied_rows: copied_rows(before)?,
                norm: sums.squares.sqrt(),
                rms,
                update_rms,
                log10_ratio: (update_rms / rms).log10(),
                cosine: sums.products / (sums.updates.sqrt() * sums.squares.sqrt()),
            });
        }
        Ok(updates)
    }
}

/// The gradient of one parameter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParameterGradient {
    /// The parameter's name.
    pub name: String,
    /// The norm of the gradient; NaN if it contains NaN or infinities.
    pub norm: f64,
    /// The mean magnitude of the gradient's elements.
    pub mean_abs: f64,
    /// The fraction of the gradient's elements that are 0.
    pub zeros: f64,
    /// The standard deviation of the parameter itself.
    pub weight_std: f64,
}

impl ParameterGradient {
    /// The gradients of all parameters that have one.
    ///
    /// # Errors
    /// Those of the device.
    pub fn of(vars: &[(String, Var)], gradients: &GradStore) -> Result<Vec<Self>> {
        let known = vars.iter().filter_map(|(name, var)| Some((name, var, gradients.get(var)?)));
        known
            .map(|(name, var, gradient)| {
                let (sums, count) = (magnitudes(gradient)?, gradient.elem_count() as f64);
                Ok(Self {
                    name: name.clone(),
                    norm: if sums.absolute.is_finite() { sums.squares.sqrt() } else { f64::NAN },
                    mean_abs: sums.absolute / count,
                    zeros: sums.zeros / count.max(1.0),
                    weight_std: moments(var)?.std(),
                })
            })
            .collect()
    }
}
