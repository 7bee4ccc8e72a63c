//! Parameters, and by how much a step moves them.

use candle_core::backprop::GradStore;
use candle_core::{DType, Result, Tensor, Var};
use serde::Serialize;

use crate::Stats;
use crate::verdict::{Fault, Verdict};

/// Parameters as they were before a step.
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
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Parameters {
    copies: Vec<(String, Tensor)>,
}

/// What a step did to one parameter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Update {
    /// The parameter's name.
    pub name: String,
    /// How many dimensions it has.
    pub rank: usize,
    /// Its norm before the step.
    pub norm: f64,
    /// Its root mean square before the step.
    pub rms: f64,
    /// The root mean square of what was added.
    pub update_rms: f64,
    /// `log10` of the two's ratio; -∞ where nothing moved.
    pub log10_ratio: f64,
}

impl Parameters {
    /// Copies the parameters, as [`InitMap::named_vars`](https://docs.rs/wick-init) or a `VarMap`'s data have them.
    ///
    /// # Errors
    /// If the device has no memory for them.
    pub fn of(vars: &[(String, Var)]) -> Result<Self> {
        let copies = vars.iter().map(|(name, var)| Ok((name.clone(), var.as_tensor().copy()?)));
        Ok(Self { copies: copies.collect::<Result<_>>()? })
    }

    /// What a step did since: for each parameter that still has its name and shape, in the order in which `vars` has them. The
    /// first that is wrong is the one that [`judge_updates`] names: give them as the signal meets them. By the order of names as
    /// text, `layer_10` comes before `layer_2`, and a `VarMap` has no order at all.
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
            let update_rms =
                self::rms(&var.as_tensor().to_dtype(DType::F64)?.sub(&before.to_dtype(DType::F64)?)?)?;
            updates.push(Update {
                name: name.clone(),
                rank: before.rank(),
                norm: rms * (before.elem_count() as f64).sqrt(),
                rms,
                update_rms,
                log10_ratio: (update_rms / rms).log10(),
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
    /// The gradient's norm.
    pub norm: f64,
    /// Its mean magnitude.
    pub mean_abs: f64,
    /// The share of it that is 0.
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

fn rms(xs: &Tensor) -> Result<f64> {
    Ok(xs.detach().to_dtype(DType::F64)?.sqr()?.mean_all()?.to_scalar::<f64>()?.sqrt())
}

/// `log10` of update over weight in which nets learn: about a thousandth a step. Above, weights are replaced rather than
/// changed; below, an epoch moves them by nothing.
const RANGE: std::ops::RangeInclusive<f64> = -5.0..=-1.0;

/// The first weight (of two or more dimensions: biases start at 0) that a step moves far too much, or far too little.
///
/// ```
/// use wick_probe::{Fault, Update, judge_updates};
///
/// let update = Update {
///     name: "w".into(),
///     rank: 2,
///     norm: 1.0,
///     rms: 0.1,
///     update_rms: 0.05,
///     log10_ratio: 0.5f64.log10(),
/// };
/// assert_eq!(judge_updates(&[update]).map(|verdict| verdict.fault), Some(Fault::UpdateRatio));
/// ```
pub fn judge_updates(updates: &[Update]) -> Option<Verdict> {
    let weights = || updates.iter().filter(|update| update.rank > 1 && update.rms > 0.0);
    let update = weights().find(|update| !RANGE.contains(&update.log10_ratio))?;
    let ratio = 10f64.powf(update.log10_ratio);
    let (word, remedy) = if update.log10_ratio > *RANGE.end() {
        ("too large", format!("a learning rate ×{:.0e} as large", 1e-3 / ratio))
    } else if ratio > 0.0 {
        ("too small", format!("a learning rate ×{:.0e} as large", 1e-3 / ratio))
    } else {
        ("nothing", "a path from the loss to it".to_owned())
    };
    let text = format!("{}: a step moves it by {ratio:.1e} of its size: {word}", update.name);
    Some(Verdict { fault: Fault::UpdateRatio, layer: update.name.clone(), figure: ratio, text, remedy })
}
