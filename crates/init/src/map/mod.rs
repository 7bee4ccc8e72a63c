//! The backend of a `VarBuilder` that initializes the tensors that a model asks for.

mod adapt;
mod ahead;
mod checkpoint;
mod essentials;
mod factor;
mod files;
pub(crate) mod manifest;
pub(crate) mod pattern;
pub mod presets;
mod resolve;
pub(crate) mod rules;
mod shards;
pub(crate) mod stream;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Result, Shape, Tensor, Var};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use rand::Rng;

use crate::error::Error;
use crate::initializer::Initializer;
use crate::rng::RngSource;
use crate::rng::jax::JaxKey;
use crate::rng::values::Kind;
use crate::tensor_file::stored::StoredTensor;
use files::Files;
use rules::Rule;

/// A map of named variables, like candle's `VarMap`, that draws the initial values of each from a seeded
/// stream of its own.
///
/// Any model that takes a [`VarBuilder`] gets its weights from it, unmodified. The values of a tensor depend
/// on the seed and on the tensor's full name only; the order of construction, other tensors and the number of
/// threads do not change them. (The two sources that are one generator for all tensors,
/// [`with_torch_rng`](Self::with_torch_rng) and [`with_rng`](Self::with_rng), depend on the order of
/// construction instead.)
///
/// The first of these that applies gives a tensor its values:
///
/// 1. The tensor of that name in a file of [`with_file`](Self::with_file), adapted to the model's shape if the rule
///    says how ([`Rule::grow_rows`], [`Rule::group_heads`]); [`Rule::draw_anew`] draws instead.
/// 2. The first rule of [`with_rules`](Self::with_rules) that matches the tensor. With
///    [`strict`](Self::strict), a tensor that no rule matches is an error.
/// 3. A constant other than zero that the layer asks for ([`candle_nn::Init`]), such as the scale of a norm.
/// 4. For two or more dimensions, the initializer of [`with_default_init`](Self::with_default_init).
/// 5. The layer's hint, drawn from the map's stream. A hint of zeros is what candle means by *no hint*. For a
///    weight (a tensor of two or more dimensions, or one whose name ends in `weight`) it is an error that
///    names the tensor, because a layer of zeros would not learn.
///
/// Clones share the variables. Each of the methods above starts an empty map, and restarts a PyTorch
/// generator from its seed. A generator of `rand`'s cannot be copied: it is shared by the maps that are made
/// from clones of a map with it.
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
    /// The tensors that were drawn and not kept.
    streamed: Arc<Mutex<BTreeMap<String, Streamed>>>,
}

/// A tensor that was drawn and not kept.
#[derive(Debug, Clone, Copy)]
struct Streamed {
    rank: usize,
    /// The index of the first rule that matches it.
    rule: Option<usize>,
}

#[derive(Debug, Clone)]
struct Settings {
    rng: Arc<Mutex<RngSource<'static>>>,
    rules: Vec<Rule>,
    strict: bool,
    default_init: Option<Initializer>,
    files: Files,
    /// What a saved file says about itself.
    metadata: BTreeMap<String, String>,
    shapes: HashMap<String, Vec<usize>>,
}

/// A variable and its origin.
#[derive(Debug, Clone)]
struct Entry {
    var: Var,
    /// The index of the first rule that matches the tensor, whether it was loaded or drawn.
    rule: Option<usize>,
    /// `None` for a loaded tensor.
    drawn: Option<Drawn>,
}

/// The initializer that a tensor was drawn from.
#[derive(Debug, Clone)]
struct Drawn {
    /// `rule`, `hint` or `default`.
    source: &'static str,
    initializer: Initializer,
}

impl InitMap {
    /// Makes an empty map that draws what the layers hint at, from the keyed streams of a seed.
    pub fn new(seed: u64) -> Self {
        Self::from_settings(Settings {
            rng: Arc::new(Mutex::new(RngSource::from_seed(seed))),
            rules: Vec::new(),
            strict: false,
            default_init: None,
            files: Files::default(),
            metadata: BTreeMap::new(),
            shapes: HashMap::new(),
        })
    }

    fn from_settings(settings: Settings) -> Self {
        Self { settings: Arc::new(settings), vars: Arc::default(), streamed: Arc::default() }
    }

    fn with(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::clone(&self.settings);
        if let Some(rng) = self.lock_rng().restarted() {
            settings.rng = Arc::new(Mutex::new(rng));
        }
        change(&mut settings);
        Self::from_settings(settings)
    }

    fn with_source(self, rng: RngSource<'static>) -> Self {
        self.with(|settings| settings.rng = Arc::new(Mutex::new(rng)))
    }

    /// Draws from PyTorch's CPU generator after `torch.manual_seed(seed)`, in the order of construction.
    pub fn with_torch_rng(self, seed: u64) -> Self {
        self.with_source(RngSource::from_torch_seed(seed))
    }

    /// Draws what Flax's `linen` draws in `model.init(jax.random.key(seed), …)`, of a model whose modules have the
    /// same names: each parameter has a [key by its name](JaxKey::of_name), so that the order of construction
    /// changes nothing. With [`presets::flax_defaults`] the weights are Flax's own, on the CPU and in `f32` to
    /// 2 units in the last place; a weight `[out, in, kernel…]` has the numbers of Flax's `[kernel…, in, out]`.
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use wick_init::{InitMap, presets};
    ///
    /// // nn.Dense(2).init(jax.random.key(0), jnp.zeros((1, 3)))
    /// let map = InitMap::new(0).with_jax_rng(0).with_rules(presets::flax_defaults()?);
    /// let dense = candle_nn::linear(3, 2, map.var_builder(DType::F32, &Device::Cpu))?;
    /// let kernel = dense.weight().t()?.flatten_all()?.to_vec1::<f32>()?;
    /// let rounded: Vec<f32> = kernel.iter().map(|x| (1e4 * x).round() / 1e4).collect();
    /// assert_eq!(rounded, [0.0477, -0.9523, -0.9857, 0.4428, 0.7022, 0.5302]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn with_jax_rng(self, seed: u64) -> Self {
        self.with_jax_key(JaxKey::new(seed))
    }

    /// As [`with_jax_rng`](Self::with_jax_rng), with a key that was split or folded before.
    pub fn with_jax_key(self, key: JaxKey) -> Self {
        self.with_source(RngSource::Jax(key))
    }

    /// Draws from a generator of `rand`'s, in the order of construction.
    pub fn with_rng(self, rng: impl Rng + Send + 'static) -> Self {
        self.with_source(RngSource::from_rng(rng))
    }

    /// Draws every tensor of two or more dimensions that no rule matches from this initializer.
    pub fn with_default_init(self, initializer: Initializer) -> Self {
        self.with(|s| s.default_init = Some(initializer))
    }

    /// Sets the rules. The first rule that matches a tensor applies to it.
    pub fn with_rules(self, rules: impl IntoIterator<Item = Rule>) -> Self {
        self.with(|s| s.rules = rules.into_iter().collect())
    }

    /// Makes a tensor that no rule matches an error.
    pub fn strict(self) -> Self {
        self.with(|s| s.strict = true)
    }

    /// Declares the shapes of tensors before they are requested. A rule for a bias that depends on the weight
    /// of the same layer ([`Action::TorchBias`](crate::Action::TorchBias)) then works before that weight is
    /// made, and so does a model that asks for the tensor without a shape (`VarBuilder::get_unchecked`).
    pub fn with_shapes(self, shapes: impl IntoIterator<Item = (String, Vec<usize>)>) -> Self {
        self.with(|s| s.shapes = shapes.into_iter().collect())
    }

    /// Makes a builder to construct any number of models from.
    pub fn var_builder(&self, dtype: DType, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), dtype, device.clone())
    }

    /// The variables in the order of their names, whatever the order of construction was.
    pub fn vars(&self) -> Vec<Var> {
        self.lock().values().map(|entry| entry.var.clone()).collect()
    }

    /// The variables with their full names, in the order of the names.
    pub fn named_vars(&self) -> Vec<(String, Var)> {
        self.lock().iter().map(|(name, entry)| (name.clone(), entry.var.clone())).collect()
    }

    /// The variables, loaded or drawn, with the factor for the learning rate of each, in the order of the
    /// names.
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
        let rate = |name: &str, entry: &Entry| self.learning_rate(name, entry.var.dims(), entry.rule);
        vars.iter().map(|(name, entry)| Ok((entry.var.clone(), rate(name, entry)?))).collect()
    }

    fn learning_rate(
        &self,
        name: &str,
        shape: &[usize],
        rule: Option<usize>,
    ) -> std::result::Result<f64, Error> {
        let rule = rule.map(|index| &self.settings.rules[index]);
        let rate = rule.map_or(Ok(1.0), |rule| rule.learning_rate_multiplier(shape));
        rate.map_err(|error| error.of_tensor(name))
    }

    /// The patterns of the rules that were the first match of no tensor so far; such a pattern may have a
    /// typing error. Of patterns with ` | ` between them, the first stands for all. Of a preset's rules, those
    /// for tensors that a model need not have are among them:
    /// [`unmatched_essentials`](Self::unmatched_essentials) has those that matter.
    pub fn unmatched_rules(&self) -> Vec<String> {
        let matched = self.matched();
        let rules = self.settings.rules.iter().enumerate();
        rules
            .filter(|(index, _)| !matched.contains(index))
            .map(|(_, rule)| rule.pattern.first().to_owned())
            .collect()
    }

    /// The indices of the rules that were the first match of a tensor.
    fn matched(&self) -> BTreeSet<usize> {
        let kept: BTreeSet<usize> = self.lock().values().filter_map(|entry| entry.rule).collect();
        kept.into_iter().chain(self.lock_streamed().values().filter_map(|streamed| streamed.rule)).collect()
    }

    fn lock_streamed(&self) -> MutexGuard<'_, BTreeMap<String, Streamed>> {
        self.streamed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        // A panic elsewhere cannot leave the map inconsistent: its only change is an insertion.
        self.vars.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_rng(&self) -> MutexGuard<'_, RngSource<'static>> {
        self.settings.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimpleBackend for InitMap {
    fn get(&self, shape: Shape, name: &str, hint: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        if let Some(entry) = self.lock().get(name) {
            return same(name, &entry.var, Some(&shape), dtype, device);
        }
        let rule = self.rule(name, &shape);
        let entry = match self.loaded(rule, name, &shape, dtype, device)? {
            Some(tensor) => Entry { var: Var::from_tensor(&tensor)?, rule, drawn: None },
            None => {
                let drawn = self.resolve(rule, name, &shape, hint)?;
                let (initializer, layout) = (&drawn.initializer, self.layout(rule));
                let on = (dtype, device);
                let tensor = self.draw(initializer, layout, name, shape.clone(), on, Kind::Variable)?;
                Entry { var: Var::from_tensor(&tensor)?, rule, drawn: Some(drawn) }
            }
        };
        // If another thread was faster, its variable is kept.
        let var = self.lock().entry(name.to_owned()).or_insert(entry).var.clone();
        same(name, &var, Some(&shape), dtype, device)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        if let Some(entry) = self.lock().get(name) {
            return same(name, &entry.var, None, dtype, device);
        }
        let declared = self.settings.shapes.get(name).map(Vec::as_slice);
        match self.settings.files.get(name).map(StoredTensor::shape).or(declared) {
            Some(shape) => self.get(shape.into(), name, Init::default(), dtype, device),
            None => Err(Error::NoSuchTensor(name.to_owned()).into()),
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.lock().contains_key(name) || self.settings.files.get(name).is_some()
    }
}

/// Returns the variable's tensor, or an error if it is not of the requested shape, type and device.
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
