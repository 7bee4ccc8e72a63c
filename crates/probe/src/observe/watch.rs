//! Modules with a tap on their output.

use candle_core::{Result, Tensor};
use candle_nn::{Module, ModuleT};

use crate::observe::probe::Probe;

/// A module with a tap on its output, made by [`Probe::watch`].
#[derive(Debug, Clone)]
pub struct Watched<M> {
    name: String,
    module: M,
    probe: Probe,
}

impl Probe {
    /// Puts a tap on the output of a module of any kind. The result is a module again.
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

    /// An empty [`WatchedSequential`], whose layers are recorded as `name.0`, `name.1`, …
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
    /// The module without its tap.
    pub fn inner(&self) -> &M {
        &self.module
    }

    /// Does the same as `Module::forward` for modules with a training flag, such as dropout.
    ///
    /// # Errors
    /// Those of the module and of [`Probe::tap`].
    pub fn forward_t(&self, xs: &Tensor, train: bool) -> Result<Tensor>
    where
        M: ModuleT,
    {
        self.probe.tap(&self.name, &self.module.forward_t(xs, train)?)
    }
}

/// A sequence of modules, like [`candle_nn::Sequential`], with a tap on the output of each.
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
    /// Appends a layer.
    #[allow(clippy::should_implement_trait)] // candle's Sequential has the same name.
    pub fn add(mut self, layer: impl Module + Send + Sync + 'static) -> Self {
        self.layers.push(Box::new(layer));
        self
    }

    /// Appends a layer that is a function.
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
