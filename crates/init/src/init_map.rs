//! The backend behind a `VarBuilder` that draws what a model asks for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Result, Shape, Tensor, Var};
use candle_nn::init::{FanInOut, NormalOrUniform};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use rand::Rng;

use crate::manifest::{self, Manifest, ManifestEntry, Origin};
use crate::rules::Action;
use crate::torch::TorchRng;
use crate::{Error, Family, FanMode, Fans, Initializer, KeyedV1, Layout, Rule, Source};

/// A map of named variables, like candle's `VarMap`, that draws each from a seeded stream of its own.
///
/// Any model that takes a [`VarBuilder`] gets its weights from it, unmodified. What a tensor gets depends on
/// the seed and on its full name only; so neither the order of construction, nor other tensors, nor the
/// number of threads change it. (The streams that are one generator for all, [`with_torch`](Self::with_torch) and
/// [`with_generator`](Self::with_generator), go by the order of construction instead.)
///
/// How a tensor starts, the first of these that there is:
///
/// 1. What the file of [`with_file`](Self::with_file) holds under its name.
/// 2. The first rule of [`with_rules`](Self::with_rules) that matches it. With [`strict`](Self::strict), a tensor
///    that no rule names is an error.
/// 3. A constant other than zero that its layer asks for ([`candle_nn::Init`]): the scale of a norm, say.
/// 4. For two or more dimensions, the initializer of [`with_weights`](Self::with_weights).
/// 5. What its layer hints at, drawn from our stream. A hint of zeros is what candle means by *no hint*. For a
///    weight (by its dimensions, or by a name that ends in `weight`) that is an error that names the tensor, rather
///    than a dead layer.
///
/// Clones share the variables; each of the methods above starts an empty map.
///
/// ```
/// use candle_core::{DType, Device};
/// use wick_init::{InitMap, Initializer, Rule};
///
/// let map = InitMap::new(42)
///     .with_rules([Rule::draw("head.**", Initializer::zeros())?])
///     .with_weights(Initializer::kaiming_normal());
/// let vb = map.var_builder(DType::F32, &Device::Cpu);
/// candle_nn::linear(3, 5, vb.pp("body"))?;
/// let head = candle_nn::linear(5, 2, vb.pp("head"))?;
/// assert_eq!(head.weight().to_vec2::<f32>()?, [[0.0; 5]; 2]);
/// let names: Vec<String> = map.named_vars().into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["body.bias", "body.weight", "head.bias", "head.weight"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct InitMap {
    settings: Arc<Settings>,
    vars: Arc<Mutex<BTreeMap<String, Entry>>>,
}

#[derive(Debug, Clone)]
struct Settings {
    stream: Stream,
    rules: Vec<Rule>,
    strict: bool,
    weights: Option<Initializer>,
    file: HashMap<String, Tensor>,
    shapes: HashMap<String, Vec<usize>>,
}

#[derive(Clone)]
enum Stream {
    Keyed(KeyedV1),
    Torch(Arc<Mutex<TorchRng>>, u64),
    Rand(Arc<Mutex<Box<dyn Rng + Send>>>),
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

impl Stream {
    fn name(&self) -> String {
        match self {
            Self::Keyed(keyed) => format!("keyed_v1, seed {}", keyed.seed()),
            Self::Torch(_, seed) => format!("torch, seed {seed}"),
            Self::Rand(_) => "rand".into(),
        }
    }
}

/// A variable, and what it was made by.
#[derive(Debug, Clone)]
struct Entry {
    var: Var,
    plan: Option<Plan>,
}

/// How a tensor is drawn.
#[derive(Debug, Clone)]
struct Plan {
    rule: Option<usize>,
    source: &'static str,
    initializer: Initializer,
    layout: Layout,
}

impl InitMap {
    /// An empty map that draws what the layers hint at, from the keyed streams of a seed.
    pub fn new(seed: u64) -> Self {
        let stream = Stream::Keyed(KeyedV1::new(seed));
        let (file, shapes) = (HashMap::new(), HashMap::new());
        Self::of(Settings { stream, rules: Vec::new(), strict: false, weights: None, file, shapes })
    }

    fn of(settings: Settings) -> Self {
        Self { settings: Arc::new(settings), vars: Arc::default() }
    }

    fn with(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::clone(&self.settings);
        change(&mut settings);
        Self::of(settings)
    }

    /// Draws from PyTorch's CPU generator after `torch.manual_seed(seed)`, in the order of construction.
    pub fn with_torch(self, seed: u64) -> Self {
        self.with(|s| s.stream = Stream::Torch(Arc::new(Mutex::new(TorchRng::new(seed))), seed))
    }

    /// Draws from a generator of `rand`'s, in the order of construction.
    pub fn with_generator(self, generator: impl Rng + Send + 'static) -> Self {
        self.with(|s| s.stream = Stream::Rand(Arc::new(Mutex::new(Box::new(generator)))))
    }

    /// Draws every tensor of two or more dimensions that no rule names from this initializer.
    pub fn with_weights(self, initializer: Initializer) -> Self {
        self.with(|s| s.weights = Some(initializer))
    }

    /// Goes by these rules; of those that match a tensor, the first holds.
    pub fn with_rules(self, rules: impl IntoIterator<Item = Rule>) -> Self {
        self.with(|s| s.rules = rules.into_iter().collect())
    }

    /// Makes a tensor that no rule names an error.
    pub fn strict(self) -> Self {
        self.with(|s| s.strict = true)
    }

    /// Takes the tensors that a safetensors file holds from there. One of another shape or type than the model asks
    /// for is an error when it is asked for.
    ///
    /// # Errors
    /// [`Error::File`] if the file is not there, truncated, or no safetensors file.
    pub fn with_file(self, path: impl AsRef<Path>) -> std::result::Result<Self, Error> {
        let path = path.as_ref();
        let error = |reason: String| Error::File { path: path.to_owned(), reason };
        let first_line = |e: candle_core::Error| e.to_string().lines().next().unwrap_or_default().to_owned();
        let file = candle_core::safetensors::load(path, &Device::Cpu).map_err(|e| error(first_line(e)))?;
        Ok(self.with(|s| s.file = file))
    }

    /// Tells the shapes of tensors before they are asked for: a rule for a bias that goes by the weight beside it
    /// ([`Action::TorchBias`]) then does not need that to be made first.
    pub fn with_shapes(self, shapes: impl IntoIterator<Item = (String, Vec<usize>)>) -> Self {
        self.with(|s| s.shapes = shapes.into_iter().collect())
    }

    /// A builder to construct models from, any number of them.
    pub fn var_builder(&self, dtype: DType, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), dtype, device.clone())
    }

    /// The variables in the order of their names, which no order of construction changes.
    pub fn vars(&self) -> Vec<Var> {
        self.lock().values().map(|entry| entry.var.clone()).collect()
    }

    /// The variables with their full names, in the order of the names.
    pub fn named_vars(&self) -> Vec<(String, Var)> {
        self.lock().iter().map(|(name, entry)| (name.clone(), entry.var.clone())).collect()
    }

    /// The patterns of the rules that no tensor has met first so far: a typing error, perhaps.
    pub fn unmet_rules(&self) -> Vec<String> {
        let met: BTreeSet<usize> = self.lock().values().filter_map(|e| e.plan.as_ref()?.rule).collect();
        let rules = self.settings.rules.iter().enumerate();
        rules.filter(|(index, _)| !met.contains(index)).map(|(_, rule)| rule.pattern.to_string()).collect()
    }

    /// What each variable got, and from where.
    ///
    /// # Errors
    /// If the device cannot hand over the values.
    pub fn manifest(&self) -> std::result::Result<Manifest, Error> {
        let vars = self.lock();
        let tensors = vars.iter().map(|(name, entry)| self.manifest_entry(name, entry));
        Ok(Manifest {
            stream: self.settings.stream.name(),
            tensors: tensors.collect::<std::result::Result<_, _>>()?,
        })
    }

    fn manifest_entry(
        &self,
        name: &str,
        Entry { var, plan }: &Entry,
    ) -> std::result::Result<ManifestEntry, Error> {
        let shape = var.dims();
        let layout = plan.as_ref().map_or(Layout::default(), |plan| plan.layout);
        let fans = Fans::with_layout(shape, layout).ok();
        let rule = plan.as_ref().and_then(|plan| plan.rule).map(|index| &self.settings.rules[index]);
        let key = match &self.settings.stream {
            Stream::Keyed(keyed) if plan.is_some() => Some(keyed.key(name).name_hash()),
            _ => None,
        };
        Ok(ManifestEntry {
            name: name.to_owned(),
            shape: shape.to_vec(),
            dtype: var.dtype().as_str(),
            origin: if plan.is_some() { Origin::Drawn } else { Origin::Loaded },
            rule: match (rule, plan) {
                (Some(rule), _) => rule.pattern.to_string(),
                (None, Some(plan)) => plan.source.to_owned(),
                (None, None) => String::new(),
            },
            init: plan.as_ref().map_or_else(String::new, |plan| plan.initializer.to_string()),
            fan_in: fans.map(|fans| fans.fan_in),
            fan_out: fans.map(|fans| fans.fan_out),
            std_meant: match plan {
                Some(plan) => plan.initializer.std_with_layout(shape, layout)?,
                None => None,
            },
            std: manifest::std(var)?,
            learning_rate: rule.map_or(Ok(1.0), |rule| rule.learning_rate_multiplier(shape))?,
            key: key.map(|hash| format!("{hash:016x}")),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        // A panic elsewhere cannot leave the map half changed: an insertion is its only change.
        self.vars.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plan(&self, name: &str, shape: &Shape, hint: Init) -> std::result::Result<Plan, Error> {
        let settings = &self.settings;
        let is_matrix = shape.rank() >= 2;
        let is_weight = is_matrix || name.ends_with("weight");
        let of = |source, initializer| Plan { rule: None, source, initializer, layout: Layout::default() };
        let missing = || Error::NoInitializer { name: name.to_owned(), shape: shape.dims().to_vec() };
        let rules = settings.rules.iter().enumerate();
        let rule = rules.clone().find(|(_, rule)| rule.pattern.matches(name, shape.dims()));
        match (rule, &settings.weights, hint) {
            (Some((index, rule)), _, hint) => {
                let initializer = match (&rule.action, hint) {
                    (Action::Draw(initializer), _) => initializer.clone(),
                    (Action::TorchBias, _) => self.bias_beside_weight(name)?,
                    (Action::Hint, Init::Const(0.0)) if is_weight => return Err(missing()),
                    (Action::Hint, hint) => from_hint(hint, shape),
                };
                Ok(Plan { rule: Some(index), source: "rule", initializer, layout: rule.layout })
            }
            (None, _, _) if settings.strict => {
                Err(Error::NoRule { name: name.to_owned(), shape: shape.dims().to_vec() })
            }
            (None, _, Init::Const(value)) if value != 0.0 => Ok(of("hint", Initializer::Constant(value))),
            (None, Some(initializer), _) if is_matrix => Ok(of("weights", initializer.clone())),
            (None, _, Init::Const(_)) if is_weight => Err(missing()),
            (None, _, hint) => Ok(of("hint", from_hint(hint, shape))),
        }
    }

    /// `U(±1/√fan_in)` with the fan_in of the weight that stands beside a bias.
    fn bias_beside_weight(&self, bias: &str) -> std::result::Result<Initializer, Error> {
        let weight = match bias.rsplit_once('.') {
            Some((layer, _)) => format!("{layer}.weight"),
            None => "weight".to_owned(),
        };
        let made = self.lock().get(&weight).map(|entry| entry.var.dims().to_vec());
        let settings = &self.settings;
        let known = made
            .or_else(|| settings.file.get(&weight).map(|tensor| tensor.dims().to_vec()))
            .or_else(|| settings.shapes.get(&weight).cloned());
        match known {
            Some(shape) => {
                let fan_in = Fans::of(&shape)?.fan_in;
                // PyTorch's own case for a layer without inputs.
                Ok(Initializer::uniform(if fan_in > 0.0 { 1.0 / fan_in.sqrt() } else { 0.0 }))
            }
            None => Err(Error::NoSuchTensor(weight)),
        }
    }

    fn draw(
        &self,
        plan: &Plan,
        name: &str,
        shape: Shape,
        dtype: DType,
        device: &Device,
    ) -> std::result::Result<Tensor, Error> {
        let draw =
            |source: Source| plan.initializer.tensor_with_layout(source, shape, plan.layout, dtype, device);
        let drawn = match &self.settings.stream {
            Stream::Keyed(keyed) => draw(Source::Keyed(keyed.key(name))),
            Stream::Torch(rng, _) => {
                draw(Source::Torch(&mut rng.lock().unwrap_or_else(PoisonError::into_inner)))
            }
            Stream::Rand(rng) => {
                let mut rng = rng.lock().unwrap_or_else(PoisonError::into_inner);
                draw(Source::Rand(&mut **rng))
            }
        };
        drawn.map_err(|error| Error::Tensor { name: name.to_owned(), error: Box::new(error) })
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
        if let Some(entry) = self.lock().get(name) {
            return same(name, &entry.var, Some(&shape), dtype, device);
        }
        let entry = match self.settings.file.get(name) {
            Some(tensor) => {
                if tensor.shape() != &shape || tensor.dtype() != dtype {
                    return Err(Error::Mismatch {
                        name: name.to_owned(),
                        made: format!("{:?} {} in the file", tensor.dims(), tensor.dtype().as_str()),
                        asked: format!("{:?} {}", shape.dims(), dtype.as_str()),
                    }
                    .into());
                }
                Entry { var: Var::from_tensor(&tensor.to_device(device)?)?, plan: None }
            }
            None => {
                let plan = self.plan(name, &shape, hint)?;
                let drawn = self.draw(&plan, name, shape.clone(), dtype, device)?;
                Entry { var: Var::from_tensor(&drawn)?, plan: Some(plan) }
            }
        };
        // Another thread may have been faster; its variable is the one.
        let var = self.lock().entry(name.to_owned()).or_insert(entry).var.clone();
        same(name, &var, Some(&shape), dtype, device)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        if let Some(entry) = self.lock().get(name) {
            return same(name, &entry.var, None, dtype, device);
        }
        match self.settings.file.get(name) {
            Some(tensor) => self.get(tensor.shape().clone(), name, Init::default(), dtype, device),
            None => Err(Error::NoSuchTensor(name.to_owned()).into()),
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.lock().contains_key(name) || self.settings.file.contains_key(name)
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
#[path = "init_map_tests.rs"]
mod tests;
