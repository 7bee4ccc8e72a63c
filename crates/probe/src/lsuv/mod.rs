//! Layer-sequential unit-variance initialization.

#[cfg(test)]
mod tests;

use candle_core::{DType, Device, Result, Tensor, Var, bail};
use serde::Serialize;

use crate::trace::{Kind, Trace, TracedLayer};

/// Scales the weights of a model, layer by layer in the order of execution, until the outputs of each have a standard
/// deviation of 1 on a batch: LSUV (Mishkin and Matas 2016, *All you need is a good init*, algorithm 1). Weights start
/// orthogonal in the paper; any other start does.
///
/// The model is any candle model: its layers are found by a [`Trace`]. For the pre-activation `z = x W + b` of a layer,
/// `W ← W/std(z)` is repeated until `|std(z) - target| ≤ tolerance`; where `b = 0`, once does. The last forward pass of a
/// layer measures the next one too.
///
/// ```
/// use candle_core::{DType, Device, Tensor, Var};
/// use wick_probe::Lsuv;
///
/// let wave = |rows: usize, columns: usize| -> candle_core::Result<Tensor> {
///     let numbers = Tensor::arange(1f32, (rows * columns) as f32 + 0.5, &Device::Cpu)?;
///     numbers.sqr()?.sin()?.reshape((rows, columns))
/// };
/// let (x, first, second) = (wave(64, 8)?, Var::from_tensor(&wave(16, 8)?)?, Var::from_tensor(&wave(4, 16)?)?);
/// let vars = [("first.weight".to_owned(), first.clone()), ("second.weight".to_owned(), second.clone())];
/// let changes = Lsuv::default().run(&vars, || x.matmul(&first.t()?)?.relu()?.matmul(&second.t()?))?;
/// assert_eq!(changes.iter().map(|change| change.parameter.as_str()).collect::<Vec<_>>(), ["first.weight", "second.weight"]);
/// assert!(changes.iter().all(|change| (change.std - 1.0).abs() <= 0.05 && change.forwards <= 3));
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lsuv {
    /// The standard deviation that outputs are to have, above 0. 1.
    pub target: f64,
    /// How far a standard deviation may be from it, above 0. 0.05.
    pub tolerance: f64,
    /// The times that a weight may be scaled, 1 or more. 10.
    pub tries: usize,
    /// Whether the outputs behind the activation are looked at, in place of those before it. False.
    pub behind_activations: bool,
}

impl Default for Lsuv {
    fn default() -> Self {
        Self { target: 1.0, tolerance: 0.05, tries: 10, behind_activations: false }
    }
}

/// What became of a layer's weight.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LsuvChange {
    /// The layer.
    pub layer: String,
    /// The name of the weight.
    pub parameter: String,
    /// What it was multiplied by.
    pub factor: f64,
    /// The standard deviation of the outputs before.
    pub std_before: f64,
    /// The standard deviation of the outputs now.
    pub std: f64,
    /// The forward passes that were run for this layer; the pass that it has in common with the layer before is that
    /// layer's.
    pub forwards: usize,
}

impl Lsuv {
    /// Scales the weights in their variables. `forward` returns the outputs of the model on a batch, the same one each
    /// time, without dropout. Linear layers and convolutions are scaled; of a weight with several calls, by the first.
    /// Returns what was changed, in the order of execution.
    ///
    /// # Errors
    /// A parameter is out of its range; outputs of a layer are all alike or not finite; a weight was copied before the
    /// pass, so that scaling it changes nothing; a layer does not come to the target in the allowed tries; or the pass
    /// fails. Weights of layers before are scaled then.
    pub fn run(
        &self,
        vars: &[(String, Var)],
        mut forward: impl FnMut() -> Result<Tensor>,
    ) -> Result<Vec<LsuvChange>> {
        self.check()?;
        let mut trace = Trace::run(vars, &mut forward)?;
        let mut passes = 1;
        let mut changes: Vec<LsuvChange> = Vec::new();
        let mut place = 0;
        while let Some(layer) = trace.layers().get(place) {
            let weight = self.weight(layer, vars).filter(|(name, _)| {
                layer.call == 0 && changes.iter().all(|change| change.parameter != *name)
            });
            let Some((name, var)) = weight else {
                place += 1;
                continue;
            };
            if layer.is_stale {
                bail!(
                    "`{name}` was copied before the pass, and scaling it changes nothing: build the copy within the pass"
                );
            }
            let std_before = self.std(layer)?;
            let mut change = LsuvChange {
                layer: layer.name.clone(),
                parameter: name,
                factor: 1.0,
                std_before,
                std: std_before,
                forwards: std::mem::take(&mut passes),
            };
            let mut tries = 0;
            while (change.std - self.target).abs() > self.tolerance {
                if tries == self.tries {
                    bail!(
                        "the outputs of {} have a std of {} after {tries} tries, and are to have {}: its bias is too large, \
                         or what follows hides the weight's scale",
                        change.layer,
                        change.std,
                        self.target
                    );
                }
                let factor = self.target / change.std;
                var.set(&(var.as_detached_tensor() * factor)?)?;
                change.factor *= factor;
                tries += 1;
                trace = Trace::run(vars, &mut forward)?;
                change.forwards += 1;
                let Some(layer) = trace.layers().get(place).filter(|layer| layer.name == change.layer) else {
                    bail!(
                        "the layers of two passes differ at {}: give the same pass each time",
                        change.layer
                    );
                };
                change.std = self.std(layer)?;
            }
            changes.push(change);
            place += 1;
        }
        Ok(changes)
    }

    fn check(&self) -> Result<()> {
        let is_above_0 = |x: f64| x > 0.0 && x.is_finite();
        if !is_above_0(self.target) || !is_above_0(self.tolerance) || self.tries == 0 {
            bail!("target and tolerance are finite and above 0, and tries are 1 or more: {self:?} is not");
        }
        Ok(())
    }

    /// The weight of a layer that is scaled.
    fn weight(&self, layer: &TracedLayer, vars: &[(String, Var)]) -> Option<(String, Var)> {
        if !matches!(layer.kind, Kind::Linear | Kind::Conv) {
            return None;
        }
        let is_weight = |(name, var): &&(String, Var)| var.rank() >= 2 && layer.parameters.contains(name);
        vars.iter().find(is_weight).cloned()
    }

    /// The standard deviation of a layer's outputs.
    fn std(&self, layer: &TracedLayer) -> Result<f64> {
        let behind = layer.activation.as_ref().filter(|_| self.behind_activations).map(|(_, tensor)| tensor);
        let outputs = behind.unwrap_or(&layer.output).detach().to_device(&Device::Cpu)?;
        let numbers = outputs.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        let n = numbers.len() as f64;
        let mean = numbers.iter().sum::<f64>() / n;
        let std = (numbers.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n).sqrt();
        // A std of rounding is no std.
        if !std.is_finite() || std <= 1e-7 * mean.abs() || std == 0.0 {
            bail!(
                "the outputs of {} have a std of {std} and a mean of {mean}, which no factor of its weight scales: start \
                 from weights that keep signals alive, as orthogonal ones",
                layer.name
            );
        }
        Ok(std)
    }
}
