//! The backend behind a `VarBuilder` that draws what a model asks for.

mod files;
mod start;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Result, Shape, Tensor, Var};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use rand::Rng;

use crate::manifest::{self, Manifest, ManifestEntry, Origin};
use crate::torch::TorchRng;
use crate::{Error, Fans, Initializer, KeyedV1, Rule};

/// A map of named variables, like candle's `VarMap`, that draws each from a seeded stream of its own.
///
/// Any model that takes a [`VarBuilder`] gets its weights from it, unmodified. What a tensor gets depends on
/// the seed and on its full name only; so neither the order of construction, nor other tensors, nor the
/// number of threads change it. (The streams that are one generator for all, [`with_torch_rng`](Self::with_torch_rng) and
/// [`with_rng`](Self::with_rng), go by the order of construction instead.)
///
/// How a tensor starts, the first of these that there is:
///
/// 1. What the file of [`with_file`](Self::with_file) holds under its name.
/// 2. The first rule of [`with_rules`](Self::with_rules) that matches it. With [`strict`](Self::strict), a tensor
///    that no rule names is an error.
/// 3. A constant other than zero that its layer asks for ([`candle_nn::Init`]): the scale of a norm, say.
/// 4. For two or more dimensions, the initializer of [`with_default_init`](Self::with_default_init).
/// 5. What its layer hints at, drawn from our stream. A hint of zeros is what candle means by *no hint*. For a
///    weight (by its dimensions, or by a name that ends in `weight`) that is an error that names the tensor, rather
///    than a dead layer.
///
/// Clones share the variables; each of the methods above starts an empty map, and a PyTorch generator from its seed. A
/// generator of `rand`'s cannot be copied: the maps that are made of a clone of one with it draw from it in turn.
///
/// ```
/// use candle_core::{DType, Device};
/// use wick_init::{InitMap, Initializer, Rule};
///
/// let map = InitMap::new(42)
///     .with_rules([Rule::draw("head.**", Initializer::zeros())?])
///     .with_default_init(Initializer::kaiming_normal());
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
    fn torch(seed: u64) -> Self {
        Self::Torch(Arc::new(Mutex::new(TorchRng::new(seed))), seed)
    }

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
    /// The place of the rule that the tensor meets first, loaded or drawn.
    rule: Option<usize>,
    /// `None` for what was loaded.
    drawn: Option<Drawn>,
}

/// How a tensor was drawn.
#[derive(Debug, Clone)]
struct Drawn {
    source: &'static str,
    initializer: Initializer,
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
        if let Stream::Torch(_, seed) = settings.stream {
            settings.stream = Stream::torch(seed);
        }
        change(&mut settings);
        Self::of(settings)
    }

    /// Draws from PyTorch's CPU generator after `torch.manual_seed(seed)`, in the order of construction.
    pub fn with_torch_rng(self, seed: u64) -> Self {
        self.with(|s| s.stream = Stream::torch(seed))
    }

    /// Draws from a generator of `rand`'s, in the order of construction.
    pub fn with_rng(self, generator: impl Rng + Send + 'static) -> Self {
        self.with(|s| s.stream = Stream::Rand(Arc::new(Mutex::new(Box::new(generator)))))
    }

    /// Draws every tensor of two or more dimensions that no rule names from this initializer.
    pub fn with_default_init(self, initializer: Initializer) -> Self {
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

    /// Tells the shapes of tensors before they are asked for: a rule for a bias that goes by the weight beside it
    /// ([`Action::TorchBias`](crate::Action::TorchBias)) then does not need that to be made first.
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

    /// The variables with what the learning rate of each is to be multiplied by, in the order of the names: a loaded one's
    /// too.
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use wick_init::{InitMap, presets};
    ///
    /// let map = InitMap::new(42).with_rules(presets::mup(256.0)?);
    /// candle_nn::linear(1024, 8, map.var_builder(DType::F32, &Device::Cpu).pp("fc"))?;
    /// let rates: Vec<f64> = map.learning_rates()?.into_iter().map(|(_, rate)| rate).collect();
    /// assert_eq!(rates, [1.0, 0.25]); // fc.bias, fc.weight
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Tensor`] with the error of [`Rule::learning_rate_multiplier`] in it.
    pub fn learning_rates(&self) -> std::result::Result<Vec<(Var, f64)>, Error> {
        let vars = self.lock();
        vars.iter().map(|(name, entry)| Ok((entry.var.clone(), self.learning_rate(name, entry)?))).collect()
    }

    fn learning_rate(&self, name: &str, entry: &Entry) -> std::result::Result<f64, Error> {
        let rule = entry.rule.map(|index| &self.settings.rules[index]);
        let rate = rule.map_or(Ok(1.0), |rule| rule.learning_rate_multiplier(entry.var.dims()));
        rate.map_err(|error| start::of_tensor(name, error))
    }

    /// The patterns of the rules that no tensor has met first so far: a typing error, perhaps.
    pub fn unmatched_rules(&self) -> Vec<String> {
        let met: BTreeSet<usize> = self.lock().values().filter_map(|entry| entry.rule).collect();
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

    fn manifest_entry(&self, name: &str, entry: &Entry) -> std::result::Result<ManifestEntry, Error> {
        let Entry { var, rule, drawn } = entry;
        let (shape, layout) = (var.dims(), self.layout(*rule));
        let fans = Fans::with_layout(shape, layout).ok();
        let key = match &self.settings.stream {
            Stream::Keyed(keyed) if drawn.is_some() => Some(keyed.key(name).name_hash()),
            _ => None,
        };
        Ok(ManifestEntry {
            name: name.to_owned(),
            shape: shape.to_vec(),
            dtype: var.dtype().as_str(),
            origin: if drawn.is_some() { Origin::Drawn } else { Origin::Loaded },
            rule: match (rule, drawn) {
                (Some(index), _) => self.settings.rules[*index].pattern.to_string(),
                (None, Some(drawn)) => drawn.source.to_owned(),
                (None, None) => String::new(),
            },
            init: drawn.as_ref().map_or_else(String::new, |drawn| drawn.initializer.to_string()),
            fan_in: fans.map(|fans| fans.fan_in),
            fan_out: fans.map(|fans| fans.fan_out),
            expected_std: match drawn {
                Some(drawn) => drawn.initializer.std_with_layout(shape, layout)?,
                None => None,
            },
            std: manifest::std(var)?,
            learning_rate: self.learning_rate(name, entry)?,
            key: key.map(|hash| format!("{hash:016x}")),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        // A panic elsewhere cannot leave the map half changed: an insertion is its only change.
        self.vars.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimpleBackend for InitMap {
    fn get(&self, shape: Shape, name: &str, hint: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        if let Some(entry) = self.lock().get(name) {
            return same(name, &entry.var, Some(&shape), dtype, device);
        }
        let rule = self.rule(name, &shape);
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
                Entry { var: Var::from_tensor(&tensor.to_device(device)?)?, rule, drawn: None }
            }
            None => {
                let drawn = self.plan(rule, name, &shape, hint)?;
                let (initializer, layout) = (&drawn.initializer, self.layout(rule));
                let tensor = self.draw(initializer, layout, name, shape.clone(), (dtype, device))?;
                Entry { var: Var::from_tensor(&tensor)?, rule, drawn: Some(drawn) }
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
