//! Parameters: how far a step moves them, and their gradients.

use std::collections::HashSet;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Result, Tensor, Var};
use serde::Serialize;
use wick_kernels::Stats;

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
            let rms = rms(before)?;
            let exact = before.detach().to_dtype(DType::F64)?;
            let update = var.as_tensor().detach().to_dtype(DType::F64)?.sub(&exact)?;
            let update_rms = self::rms(&update)?;
            let product = (update * exact)?.mean_all()?.to_scalar::<f64>()?;
            updates.push(Update {
                name: name.clone(),
                rank: before.rank(),
                fan_in: before.elem_count() / before.dims().first().map_or(1, |rows| (*rows).max(1)),
                copied_rows: copied_rows(before)?,
                norm: rms * (before.elem_count() as f64).sqrt(),
                rms,
                update_rms,
                log10_ratio: (update_rms / rms).log10(),
                cosine: product / (update_rms * rms),
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
                let stats = Stats::of_tensor(gradient)?;
                let norm = if stats.non_finite() > 0 {
                    f64::NAN
                } else {
                    stats.rms() * (stats.count() as f64).sqrt()
                };
                let mean_abs = gradient.to_dtype(DType::F64)?.abs()?.mean_all()?.to_scalar::<f64>()?;
                Ok(Self {
                    name: name.clone(),
                    norm,
                    mean_abs,
                    zeros: stats.zeros() as f64 / stats.count().max(1) as f64,
                    weight_std: Stats::of_tensor(var)?.std(),
                })
            })
            .collect()
    }
}

/// The fraction of rows that equal an earlier one; rows of one element or of zeros do not count.
fn copied_rows(xs: &Tensor) -> Result<f64> {
    let rows = xs.dims().first().copied().unwrap_or(0);
    let columns = xs.elem_count() / rows.max(1);
    if xs.rank() < 2 || columns < 2 || rows < 2 {
        return Ok(0.0);
    }
    let values =
        xs.detach().flatten_all()?.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    let rows_of = || values.chunks_exact(columns).filter(|row| row.iter().any(|x| *x != 0.0));
    let distinct: HashSet<Vec<u64>> =
        rows_of().map(|row| row.iter().map(|x| x.to_bits()).collect()).collect();
    Ok((rows_of().count() - distinct.len()) as f64 / rows as f64)
}

fn rms(xs: &Tensor) -> Result<f64> {
    Ok(xs.detach().to_dtype(DType::F64)?.sqr()?.mean_all()?.to_scalar::<f64>()?.sqrt())
}
