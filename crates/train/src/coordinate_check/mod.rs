//! The coordinate check: how the outputs of layers and their changes grow with a net's width or depth.

#[cfg(test)]
mod tests;

use std::fmt;

use candle_core::{DType, Result, Tensor, Var};
use serde::Serialize;
use wick_kernels::{LossScale, Named, moments};
use wick_probe::{Kind, Trace};

use crate::Error;
use crate::optimizer::{AnyOptimizer, OptimizerSpec};

/// What the loss of `f16` nets is multiplied by.
const LOSS_SCALE: f64 = 1024.0;

/// A net of one width or depth, made for a check.
#[derive(Debug)]
pub struct Subject<F> {
    /// The variables, each with the factors for its learning rate and for Adam's `ε`.
    pub vars: Vec<Named>,
    /// Makes the scalar loss of a step's batch. The first batch, that of step 0, is looked at again after the last step.
    pub loss: F,
}

/// The coordinate check of muP (Yang et al. 2022, arXiv 2203.03466, appendix D.1): nets of rising width take a few
/// steps, and the root mean square of each layer's output and of its change is fitted as a power of the width. In muP
/// no change grows or fades with the width (exponent 0). In the standard parametrization, Adam's changes of hidden
/// layers grow with it (exponent 1), so that the best learning rate of a narrow net is too high for a wide one.
///
/// [`over_depths`](Self::over_depths) does the same for residual nets of rising depth, as CompleteP asks for (Dey et al. 2025,
/// arXiv 2505.01618).
///
/// ```
/// use candle_core::{DType, Device};
/// use candle_nn::{Module, linear_no_bias, loss::mse, seq};
/// use wick_init::{InitMap, Initializer, KeyedV1};
/// use wick_kernels::Named;
/// use wick_train::{CoordinateCheck, Subject};
///
/// let key = |name| KeyedV1::new(1).key(name);
/// let xs = Initializer::normal(1.0).tensor(key("xs"), (16, 10), DType::F32, &Device::Cpu)?;
/// let ys = Initializer::normal(1.0).tensor(key("ys"), (16, 1), DType::F32, &Device::Cpu)?;
/// let check = CoordinateCheck::new("adamw:lr=0.001".parse()?).with_steps(1);
/// let found = check.run(&[64, 128, 256], &[1, 2], |width, seed| {
///     let map = InitMap::new(seed).with_default_init(Initializer::lecun_normal());
///     let vb = map.var_builder(DType::F32, &Device::Cpu);
///     let model = seq()
///         .add(linear_no_bias(10, width, vb.pp("input"))?)
///         .add(candle_nn::Activation::Relu)
///         .add(linear_no_bias(width, width, vb.pp("hidden"))?);
///     let (mean, xs, ys) = (linear_no_bias(width, 1, vb.pp("head"))?, xs.clone(), ys.clone());
///     let vars = map.named_vars().into_iter().map(|(name, var)| Named::new(&name, var)).collect();
///     Ok(Subject { vars, loss: move |_| mse(&mean.forward(&model.forward(&xs)?)?, &ys) })
/// })?;
/// let hidden = &found.layers[1];
/// assert_eq!(hidden.layer, "hidden");
/// assert!((hidden.change.unwrap().exponent - 1.0).abs() < 0.2, "{found}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct CoordinateCheck {
    optimizer: OptimizerSpec,
    steps: u64,
    size: Size,
}

/// What grows from net to net.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// The width.
    Width,
    /// The number of blocks.
    Depth,
}

/// How a number grows with the width or the depth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Power {
    /// The mean over the seeds of the slope of its logarithm over that of the width or depth, by least squares.
    pub exponent: f64,
    /// The half-width of its 95 % interval, by Student's distribution over the seeds; none for one seed.
    pub half_width: Option<f64>,
}

/// One layer at all widths; or one kind of layer at all depths.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Coordinates {
    /// The layer's name; over depths with `*` in place of a block's number.
    pub layer: String,
    /// For each size and seed: the root mean square of the outputs at the start, and that of their change.
    pub points: Vec<CoordinatePoint>,
    /// How the outputs at the start grow; none if some are 0.
    pub start: Option<Power>,
    /// How the changes grow; none if some are 0.
    pub change: Option<Power>,
}

/// One layer of one net.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CoordinatePoint {
    /// The width or the depth.
    pub size: usize,
    /// The seed.
    pub seed: u64,
    /// The root mean square of the outputs at the start.
    pub start: f64,
    /// The root mean square of their change.
    pub change: f64,
}

/// What a check found; a line for each layer as text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CoordinateTable {
    /// What grows.
    pub size: Size,
    /// The steps that were taken.
    pub steps: u64,
    /// The layers in the order of execution.
    pub layers: Vec<Coordinates>,
}

impl Size {
    /// `width` or `depth`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Width => "width",
            Self::Depth => "depth",
        }
    }
}

impl CoordinateCheck {
    /// Four steps at the optimizer's own learning rate.
    pub fn new(optimizer: OptimizerSpec) -> Self {
        Self { optimizer, steps: 4, size: Size::Width }
    }

    /// The number of steps, at least 1.
    pub fn with_steps(self, steps: u64) -> Self {
        Self { steps, ..self }
    }

    /// Compares nets of rising depth in place of width: `run` is given numbers of blocks. Layers whose names differ in a number
    /// alone, as `blocks.0.fc` and `blocks.1.fc`, are one, `blocks.*.fc`, whose root mean square is that over the layers.
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use candle_nn::{Module, linear_no_bias};
    /// use wick_init::{InitMap, Initializer, KeyedV1};
    /// use wick_kernels::Named;
    /// use wick_train::{CoordinateCheck, Subject};
    ///
    /// let key = |name| KeyedV1::new(1).key(name);
    /// let xs = Initializer::normal(1.0).tensor(key("xs"), (16, 32), DType::F32, &Device::Cpu)?;
    /// let check = CoordinateCheck::new("adamw:lr=0.001".parse()?).with_steps(1).over_depths();
    /// // The sum of L linear branches of the input, each times L^-alpha, changes like L^(1 - alpha).
    /// let exponent = |alpha: f64| -> Result<f64, Box<dyn std::error::Error>> {
    ///     let found = check.run(&[2, 4, 8], &[1, 2], |depth, seed| {
    ///         let map = InitMap::new(seed).with_default_init(Initializer::lecun_normal());
    ///         let vb = map.var_builder(DType::F32, &Device::Cpu);
    ///         let branches = (0..depth).map(|block| linear_no_bias(32, 32, vb.pp(format!("blocks.{block}.fc"))));
    ///         let branches = branches.collect::<Result<Vec<_>, _>>()?;
    ///         let (head, xs) = (linear_no_bias(32, 1, vb.pp("head"))?, xs.clone());
    ///         let vars = map.named_vars().into_iter().map(|(name, var)| Named::new(&name, var)).collect();
    ///         let factor = (depth as f64).powf(-alpha);
    ///         let sum = move |_| {
    ///             let h = branches.iter().try_fold(xs.zeros_like()?, |h, fc| h + (fc.forward(&xs)? * factor)?)?;
    ///             head.forward(&h)?.mean_all()
    ///         };
    ///         Ok(Subject { vars, loss: sum })
    ///     })?;
    ///     assert_eq!((found.layers.len(), found.layers[0].layer.as_str()), (2, "blocks.*.fc"));
    ///     Ok(found.layers[1].change.ok_or("the head does not change")?.exponent)
    /// };
    /// assert!((exponent(0.0)? - 1.0).abs() < 0.2 && exponent(1.0)?.abs() < 0.2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn over_depths(self) -> Self {
        Self { size: Size::Depth, ..self }
    }

    /// Trains a net of each width (or number of blocks) and seed. `build` makes it; all must have layers of the same names.
    ///
    /// # Errors
    /// [`Error::Settings`] for fewer than two sizes, no seed, no steps, nets with different layers, or outputs that are
    /// not finite; those of `build` and of the passes.
    pub fn run<F: FnMut(u64) -> Result<Tensor>>(
        &self,
        sizes: &[usize],
        seeds: &[u64],
        mut build: impl FnMut(usize, u64) -> std::result::Result<Subject<F>, Error>,
    ) -> std::result::Result<CoordinateTable, Error> {
        let settings = |text: &str| Err(Error::Settings(text.to_owned()));
        if sizes.len() < 2 || sizes.windows(2).any(|pair| pair[0] >= pair[1]) || sizes[0] == 0 {
            return Err(Error::Settings(format!(
                "a coordinate check needs two {}s or more, in rising order",
                self.size.name()
            )));
        }
        if seeds.is_empty() || self.steps == 0 {
            return settings("a coordinate check needs a seed and a step at least");
        }
        let mut layers: Vec<Coordinates> = Vec::new();
        for &seed in seeds {
            for &size in sizes {
                let found = self.net(build(size, seed)?)?;
                if found.is_empty() {
                    return settings(
                        "a coordinate check needs layers, and none was found: pass the nets' variables",
                    );
                }
                if layers.is_empty() {
                    let new = |(layer, ..): &(String, f64, f64)| Coordinates {
                        layer: layer.clone(),
                        points: Vec::new(),
                        start: None,
                        change: None,
                    };
                    layers = found.iter().map(new).collect();
                }
                if !found.iter().map(|(name, ..)| name).eq(layers.iter().map(|layer| &layer.layer)) {
                    return settings("the nets of a coordinate check must have layers of the same names");
                }
                for (layer, (name, start, change)) in layers.iter_mut().zip(found) {
                    if !(start.is_finite() && change.is_finite()) {
                        return Err(Error::Settings(format!(
                            "the outputs of `{name}` at {} {size} are not finite: lower the learning rate",
                            self.size.name()
                        )));
                    }
                    layer.points.push(CoordinatePoint { size, seed, start, change });
                }
            }
        }
        for layer in &mut layers {
            layer.start = power(&layer.points, sizes.len(), |point| point.start);
            layer.change = power(&layer.points, sizes.len(), |point| point.change);
        }
        Ok(CoordinateTable { size: self.size, steps: self.steps, layers })
    }

    /// Trains one net; its layers with the root mean squares of their outputs and of the change of these.
    fn net<F: FnMut(u64) -> Result<Tensor>>(
        &self,
        subject: Subject<F>,
    ) -> std::result::Result<Vec<(String, f64, f64)>, Error> {
        let Subject { vars, mut loss } = subject;
        let named: Vec<(String, Var)> =
            vars.iter().map(|named| (named.name.clone(), named.var.clone())).collect();
        let outputs = |loss: &mut F| -> Result<Vec<(String, Tensor)>> {
            let trace = Trace::run(&named, || loss(0))?;
            let of_layer = |layer: &wick_probe::TracedLayer| {
                let name = if layer.call == 0 {
                    layer.name.clone()
                } else {
                    format!("{}#{}", layer.name, layer.call)
                };
                Ok((name, layer.output.detach().to_dtype(DType::F64)?))
            };
            let is_measured = |layer: &&wick_probe::TracedLayer| layer.kind != Kind::Other;
            trace.layers().iter().filter(is_measured).map(of_layer).collect()
        };
        let before = outputs(&mut loss)?;
        // Gradients in f16 vanish without a loss scale, and a power of two changes no digit.
        let scale = named.iter().any(|(_, var)| var.dtype() == DType::F16).then_some(LOSS_SCALE);
        let mut optimizer = AnyOptimizer::new(&self.optimizer, vars)?;
        optimizer.set_loss_scale(scale.map(LossScale::fixed))?;
        for step in 0..self.steps {
            let loss = loss(step)?;
            let loss = if let Some(scale) = scale { (loss * scale)? } else { loss };
            optimizer.step(&loss.backward()?, self.optimizer.learning_rate())?;
        }
        let after = outputs(&mut loss)?;
        let pairs = before.into_iter().zip(after);
        let measured = pairs.map(|((name, before), (_, after))| {
            Ok((name, moments(&before)?.rms(), moments(&(after - before)?)?.rms()))
        });
        let measured = measured.collect::<Result<Vec<_>>>()?;
        Ok(if self.size == Size::Depth { pooled(measured) } else { measured })
    }
}

/// One entry for the layers whose names differ in a number alone, with the root mean squares over them.
fn pooled(layers: Vec<(String, f64, f64)>) -> Vec<(String, f64, f64)> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut sums: Vec<(String, [f64; 3])> = Vec::new();
    for (name, start, change) in layers {
        let parts: Vec<&str> = name.split('.').map(|part| if is_number(part) { "*" } else { part }).collect();
        let name = parts.join(".");
        let squares = [1.0, start * start, change * change];
        match sums.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sums)) => sums.iter_mut().zip(squares).for_each(|(sum, square)| *sum += square),
            None => sums.push((name, squares)),
        }
    }
    let root = |(name, [count, start, change]): (String, [f64; 3])| {
        (name, (start / count).sqrt(), (change / count).sqrt())
    };
    sums.into_iter().map(root).collect()
}

/// The power of the width or depth that fits each seed's numbers, which come `sizes` at a time.
fn power(points: &[CoordinatePoint], sizes: usize, of: impl Fn(&CoordinatePoint) -> f64) -> Option<Power> {
    if points.iter().any(|point| of(point) <= 0.0) {
        return None;
    }
    let slope = |points: &[CoordinatePoint]| {
        let (count, ln_size) = (points.len() as f64, |point: &CoordinatePoint| (point.size as f64).ln());
        let mean = points.iter().map(ln_size).sum::<f64>() / count;
        let squares = points.iter().map(|point| (ln_size(point) - mean).powi(2)).sum::<f64>();
        points.iter().map(|point| (ln_size(point) - mean) * of(point).ln()).sum::<f64>() / squares
    };
    let slopes: Vec<f64> = points.chunks(sizes).map(slope).collect();
    let count = slopes.len() as f64;
    let exponent = slopes.iter().sum::<f64>() / count;
    let half_width = (slopes.len() > 1).then(|| {
        let variance = slopes.iter().map(|slope| (slope - exponent).powi(2)).sum::<f64>() / (count - 1.0);
        student(slopes.len() - 1) * (variance / count).sqrt()
    });
    Some(Power { exponent, half_width })
}

/// The 97.5 % quantile of Student's distribution; from 11 degrees of freedom on within 0.5 %.
fn student(degrees: usize) -> f64 {
    const FIRST: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
    FIRST.get(degrees - 1).copied().unwrap_or(1.96 + 2.72 / degrees as f64)
}

impl CoordinateTable {
    /// Whether each layer's change is a power of the width (or depth) within `tolerance` of 0. A layer that does not change
    /// at all is not.
    pub fn is_independent(&self, tolerance: f64) -> bool {
        self.layers.iter().all(|layer| layer.change.is_some_and(|change| change.exponent.abs() <= tolerance))
    }
}

impl fmt::Display for CoordinateTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |power: Option<Power>| match power {
            Some(Power { exponent, half_width: Some(half) }) => {
                format!("{}^{exponent:.2} (± {half:.2})", self.size.name())
            }
            Some(Power { exponent, half_width: None }) => format!("{}^{exponent:.2}", self.size.name()),
            None => "zero somewhere".to_owned(),
        };
        for Coordinates { layer, start, change, .. } in &self.layers {
            let steps = self.steps;
            let (start, change) = (text(*start), text(*change));
            writeln!(f, "{layer}: outputs at the start {start}, their change in {steps} steps {change}")?;
        }
        Ok(())
    }
}
