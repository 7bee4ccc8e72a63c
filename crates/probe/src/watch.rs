//! Taps around modules.

use candle_core::{Result, Tensor};
use candle_nn::{Module, ModuleT};

use crate::Probe;

/// A module whose output is tapped: see [`Probe::watch`].
#[derive(Debug, Clone)]
pub struct Watched<M> {
    name: String,
    module: M,
    probe: Probe,
}

impl Probe {
    /// A tap behind a module of any kind, which stays a module.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use candle_nn::{Module, VarBuilder, VarMap, linear};
    /// use wick_probe::Probe;
    ///
    /// let vb = VarBuilder::from_varmap(&VarMap::new(), DType::F32, &Device::Cpu);
    /// let probe = Probe::new();
    /// let layer = probe.watch("first", linear(3, 4, vb.pp("first"))?);
    /// layer.forward(&Tensor::ones((2, 3), DType::F32, &Device::Cpu)?)?;
    /// assert_eq!(probe.records()[0].name, "first");
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn watch<M>(&self, name: impl Into<String>, module: M) -> Watched<M> {
        Watched { name: name.into(), module, probe: self.clone() }
    }

    /// An empty [`WatchedSequential`] whose layers are called `name.0`, `name.1`, …, or by the name alone if that is all
    /// there is to say.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use candle_nn::{Activation, Module, VarBuilder, VarMap, linear};
    /// use wick_probe::Probe;
    ///
    /// let vb = VarBuilder::from_varmap(&VarMap::new(), DType::F32, &Device::Cpu);
    /// let probe = Probe::new();
    /// let net = probe.sequential("net").add(linear(3, 4, vb.pp("0"))?).add(Activation::Relu);
    /// net.forward(&Tensor::ones((2, 3), DType::F32, &Device::Cpu)?)?;
    /// let names: Vec<_> = probe.records().into_iter().map(|record| record.name).collect();
    /// assert_eq!(names, ["net.0", "net.1"]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn sequential(&self, name: impl Into<String>) -> WatchedSequential {
        WatchedSequential { name: name.into(), layers: Vec::new(), probe: self.clone() }
    }
}

impl<M: Module> Module for Watched<M> {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        self.probe.tap(&self.name, &self.module.forward(xs)?)
    }
}

impl<M> Watched<M> {
    /// The module itself.
    pub fn inner(&self) -> &M {
        &self.module
    }

    /// As `Module::forward`, for modules that take a flag for training, like dropout.
    ///
    /// # Errors
    /// Those of the module.
    pub fn forward_t(&self, xs: &Tensor, train: bool) -> Result<Tensor>
    where
        M: ModuleT,
    {
        self.probe.tap(&self.name, &self.module.forward_t(xs, train)?)
    }
}

/// Modules one behind the other, as [`candle_nn::Sequential`], with a tap behind each.
pub struct WatchedSequential {
    name: String,
    layers: Vec<Box<dyn Module + Send + Sync>>,
    probe: Probe,
}

impl std::fmt::Debug for WatchedSequential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchedSequential")
            .field("name", &self.name)
            .field("layers", &self.layers.len())
            .finish()
    }
}

impl WatchedSequential {
    /// The same with one more layer.
    #[allow(clippy::should_implement_trait)] // The name that candle's Sequential has.
    pub fn add(mut self, layer: impl Module + Send + Sync + 'static) -> Self {
        self.layers.push(Box::new(layer));
        self
    }

    /// The same with one more layer that is a function.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use candle_nn::Module;
    /// use wick_probe::Probe;
    ///
    /// let probe = Probe::new();
    /// let net = probe.sequential("net").add_fn(|xs| xs.flatten_from(1));
    /// net.forward(&Tensor::ones((2, 3, 4), DType::F32, &Device::Cpu)?)?;
    /// assert_eq!(probe.records()[0].forward.count, 24);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn add_fn(self, layer: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static) -> Self {
        self.add(Function(layer))
    }
}

/// A function as a module.
struct Function<F>(F);

impl<F: Fn(&Tensor) -> Result<Tensor>> Module for Function<F> {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        (self.0)(xs)
    }
}

impl Module for WatchedSequential {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        self.layers.iter().enumerate().try_fold(xs.clone(), |xs, (index, layer)| {
            self.probe.tap(&format!("{}.{index}", self.name), &layer.forward(&xs)?)
        })
    }
}
