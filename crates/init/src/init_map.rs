//! The backend behind a `VarBuilder` that draws what a model asks for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Result, Shape, Tensor, Var};
use candle_nn::init::{FanInOut, NormalOrUniform};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

use crate::{Error, Family, FanMode, Initializer, KeyedV1};

/// A map of named variables, like candle's `VarMap`, that draws each from a seeded stream of its own.
///
/// Any model that takes a [`VarBuilder`] gets its weights from it, unmodified. What a tensor gets depends on
/// the seed and on its full name only; so neither the order of construction, nor other tensors, nor the
/// number of threads change it.
///
/// - A tensor of two or more dimensions gets the initializer named by [`with_weights`](Self::with_weights),
///   or else what its layer hints at ([`candle_nn::Init`]), drawn from our stream. A constant other than zero that
///   its layer asks for (a layer scale, say) is kept.
/// - Others (biases, the weights of norms) get what their layer hints at.
/// - A hint of zeros is what candle means by *no hint*. For a weight (by its dimensions, or by a name that ends in
///   `weight`) that is an error that names the tensor, rather than a dead layer.
///
/// Clones share the variables.
///
/// ```
/// use candle_core::{DType, Device};
/// use wick_init::{InitMap, Initializer};
///
/// let map = InitMap::new(42).with_weights(Initializer::kaiming_normal());
/// let vb = map.var_builder(DType::F32, &Device::Cpu);
/// candle_nn::linear(3, 5, vb.pp("b"))?;
/// candle_nn::linear(3, 5, vb.pp("a"))?;
/// let names: Vec<String> = map.named_vars().into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["a.bias", "a.weight", "b.bias", "b.weight"]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct InitMap {
    stream: KeyedV1,
    weights: Option<Initializer>,
    vars: Arc<Mutex<BTreeMap<String, Var>>>,
}

impl InitMap {
    /// An empty map that draws what the layers hint at.
    pub fn new(seed: u64) -> Self {
        Self { stream: KeyedV1::new(seed), weights: None, vars: Arc::default() }
    }

    /// Draws every tensor of two or more dimensions from this initializer, whatever its layer hints at.
    pub fn with_weights(mut self, initializer: Initializer) -> Self {
        self.weights = Some(initializer);
        self
    }

    /// A builder to construct models from, any number of them.
    pub fn var_builder(&self, dtype: DType, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), dtype, device.clone())
    }

    /// The variables in the order of their names, which no order of construction changes.
    pub fn vars(&self) -> Vec<Var> {
        self.lock().values().cloned().collect()
    }

    /// The variables with their full names, in the order of the names.
    pub fn named_vars(&self) -> Vec<(String, Var)> {
        self.lock().iter().map(|(name, var)| (name.clone(), var.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Var>> {
        // A panic elsewhere cannot leave the map half changed: an insertion is its only change.
        self.vars.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn initializer(&self, name: &str, shape: &Shape, hint: Init) -> std::result::Result<Initializer, Error> {
        let is_matrix = shape.rank() >= 2;
        let is_weight = is_matrix || name.ends_with("weight");
        match (&self.weights, hint) {
            (_, Init::Const(value)) if value != 0.0 => Ok(Initializer::Constant(value)),
            (Some(initializer), _) if is_matrix => Ok(initializer.clone()),
            (_, Init::Const(_)) if is_weight => {
                Err(Error::NoInitializer { name: name.to_owned(), shape: shape.dims().to_vec() })
            }
            _ => Ok(from_hint(hint, shape)),
        }
    }
}

/// What candle's hint means, as one of our initializers. Where candle would use a fan of a shape that has
/// none, its own rule for it is kept.
fn from_hint(hint: Init, shape: &Shape) -> Initializer {
    match hint {
        Init::Const(value) => Initializer::Constant(value),
        Init::Randn { mean, stdev } => Initializer::Normal { mean, std: stdev },
        Init::Uniform { lo, up } => Initializer::Uniform { low: lo, high: up },
        Init::Kaiming { dist, fan, non_linearity } => {
            let gain = non_linearity.gain();
            let family = match dist {
                NormalOrUniform::Normal => Family::Normal,
                NormalOrUniform::Uniform => Family::Uniform,
            };
            let mode = match fan {
                FanInOut::FanIn => FanMode::FanIn,
                FanInOut::FanOut => FanMode::FanOut,
            };
            if shape.rank() >= 2 {
                return Initializer::VarianceScaling { scale: gain * gain, mode, family };
            }
            let std = gain / (fan.for_shape(shape) as f64).sqrt();
            match dist {
                NormalOrUniform::Normal => Initializer::normal(std),
                NormalOrUniform::Uniform => Initializer::uniform(3f64.sqrt() * std),
            }
        }
    }
}

impl SimpleBackend for InitMap {
    fn get(&self, shape: Shape, name: &str, hint: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        if let Some(var) = self.lock().get(name) {
            return same(name, var, Some(&shape), dtype, device);
        }
        let initializer = self.initializer(name, &shape, hint)?;
        let drawn = initializer.tensor(self.stream.key(name), shape.clone(), dtype, device)?;
        let var = Var::from_tensor(&drawn)?;
        // Another thread may have been faster; it drew the same bits, and its variable is the one.
        let var = self.lock().entry(name.to_owned()).or_insert(var).clone();
        same(name, &var, Some(&shape), dtype, device)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        match self.lock().get(name) {
            Some(var) => same(name, var, None, dtype, device),
            None => Err(Error::NoSuchTensor(name.to_owned()).into()),
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }
}

/// The variable's tensor, if it is what is asked for.
fn same(name: &str, var: &Var, shape: Option<&Shape>, dtype: DType, device: &Device) -> Result<Tensor> {
    let describe = |shape: &Shape, dtype: DType, device: &Device| {
        format!("{:?} {} on {:?}", shape.dims(), dtype.as_str(), device.location())
    };
    let shape = shape.unwrap_or(var.shape());
    if shape != var.shape() || dtype != var.dtype() || !device.same_device(var.device()) {
        return Err(Error::Mismatch {
            name: name.to_owned(),
            made: describe(var.shape(), var.dtype(), var.device()),
            asked: describe(shape, dtype, device),
        }
        .into());
    }
    Ok(var.as_tensor().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn order_and_neighbours_change_nothing() {
        let build = |names: &[&str]| {
            let map = InitMap::new(7);
            let vb = map.var_builder(DType::F32, &Device::Cpu);
            for name in names {
                candle_nn::linear(40, 30, vb.pp(name)).unwrap();
            }
            map.named_vars().into_iter().map(|(name, var)| (name, values(&var))).collect::<BTreeMap<_, _>>()
        };
        let both = build(&["a", "b"]);
        assert_eq!(both, build(&["b", "a"]));
        let half = build(&["b"]);
        assert!(half.iter().all(|(name, values)| &both[name] == values));
        assert_ne!(both["a.weight"], both["b.weight"]);
    }

    #[test]
    fn hints_keep_their_meaning() {
        let map = InitMap::new(7);
        let vb = map.var_builder(DType::F32, &Device::Cpu);
        let std = |t: &Tensor| {
            let v = values(t);
            (v.iter().map(|x| f64::from(x * x)).sum::<f64>() / v.len() as f64).sqrt()
        };
        // candle's default linear layer: Kaiming with ReLU's gain, and a bias of U(±1/√fan_in).
        let layer = candle_nn::linear(400, 1000, vb.pp("linear")).unwrap();
        assert!((std(layer.weight()) / (2.0f64 / 400.0).sqrt() - 1.0).abs() < 0.01);
        let bias = values(layer.bias().unwrap());
        assert!(bias.iter().all(|x| x.abs() <= 0.05) && bias.iter().any(|x| x.abs() > 0.049));
        let norm = candle_nn::layer_norm(16, 1e-5, vb.pp("norm")).unwrap();
        assert_eq!(values(norm.weight()), [1.0; 16]);
        let hint = Init::Kaiming {
            dist: NormalOrUniform::Uniform,
            fan: FanInOut::FanOut,
            non_linearity: candle_nn::init::NonLinearity::Linear,
        };
        let uniform = vb.get_with_hints((100, 300), "uniform", hint).unwrap();
        assert!((std(&uniform) / 0.1 - 1.0).abs() < 0.02);
        let flat = vb.get_with_hints(10_000, "flat", hint).unwrap();
        assert!((std(&flat) / 0.01 - 1.0).abs() < 0.05);
    }

    #[test]
    fn a_weight_without_a_hint_is_an_error_that_names_it() {
        let vb = InitMap::new(7).var_builder(DType::F32, &Device::Cpu);
        let error = vb.pp("fc").get((2, 3), "weight").unwrap_err().to_string();
        assert!(error.contains("no initializer for 'fc.weight' [2, 3]"), "{error}");
        assert_eq!(values(&vb.get(3, "bias").unwrap()), [0.0; 3]);
        // An RMS norm that asks for its scale without a hint would put out zeros.
        let error = vb.pp("norm").get(3, "weight").unwrap_err().to_string();
        assert!(error.contains("no initializer for 'norm.weight' [3]"), "{error}");
        let map = InitMap::new(7).with_weights(Initializer::ones());
        let vb = map.var_builder(DType::F32, &Device::Cpu);
        assert_eq!(values(&vb.get((2, 3), "weight").unwrap()), [1.0; 6]);
        let scale = vb.get_with_hints((2, 1, 1), "scale", Init::Const(0.5)).unwrap();
        assert_eq!(values(&scale), [0.5; 2], "what a layer asks for by value it gets");
    }

    #[test]
    fn a_name_is_one_variable() {
        let map = InitMap::new(7).with_weights(Initializer::xavier_normal());
        let vb = map.var_builder(DType::F32, &Device::Cpu);
        let first = vb.get((2, 3), "weight").unwrap();
        map.vars()[0].set(&first.zeros_like().unwrap()).unwrap();
        assert_eq!(
            values(&vb.get((2, 3), "weight").unwrap()),
            [0.0; 6],
            "training is seen by who asks again"
        );

        let error = vb.get((3, 2), "weight").unwrap_err().to_string();
        assert!(error.contains("'weight' was made [2, 3] f32") && error.contains("[3, 2] f32"), "{error}");
        let error = vb.to_dtype(DType::F64).get((2, 3), "weight").unwrap_err().to_string();
        assert!(error.contains("f64"), "{error}");
        let error = vb.get_unchecked("nothing").unwrap_err().to_string();
        assert!(error.contains("no tensor 'nothing'"), "{error}");
    }
}
