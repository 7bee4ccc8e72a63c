//! Gradients of activations by biases that are as large as the output.

use std::collections::HashMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Result, Shape, Tensor, Var};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

use super::gradient::Gradient;
use super::layer::{GradientBy, Kind};
use super::traced::Trace;

/// Biases of linear layers, each repeated for every row of the layer's output. What is added to an output has its
/// gradient: a model that is built with these biases instead of its own has the same outputs, to the bit, and its backward
/// pass leaves the gradients of the outputs.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::{Module, VarBuilder, VarMap, linear};
/// use wick_probe::{GradientBy, Trace};
///
/// let map = VarMap::new();
/// let build = |vb: VarBuilder| Ok::<_, candle_core::Error>((linear(4, 8, vb.pp("a"))?, linear(8, 2, vb.pp("b"))?));
/// let xs = Tensor::arange(0f32, 80.0, &Device::Cpu)?.sqr()?.sin()?.reshape((20, 4))?;
/// let (a, b) = build(VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu))?;
/// let vars: Vec<_> = map.data().lock().unwrap().iter().map(|(name, var)| (name.clone(), var.clone())).collect();
/// let mut trace = Trace::run(&vars, || b.forward(&a.forward(&xs)?.tanh()?)?.sqr()?.sum_all())?;
///
/// let biases = trace.wide_biases()?;
/// let (a, b) = build(biases.var_builder(map.clone(), DType::F32, &Device::Cpu))?;
/// let outputs = b.forward(&a.forward(&xs)?.tanh()?)?;
/// trace.add_wide_gradients(&biases, &outputs.sqr()?.sum_all()?.backward()?)?;
/// let (by, gradient) = trace.layers()[1].gradient.as_ref().expect("a bias");
/// assert_eq!(*by, GradientBy::WideBias);
/// // The gradient of a sum of squares is twice the outputs.
/// assert_eq!(gradient.to_vec2::<f32>()?, (outputs * 2.0)?.to_vec2::<f32>()?);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct WideBiases {
    /// By the name of the bias, with the layer's place in the trace.
    biases: HashMap<String, (usize, Var)>,
}

impl WideBiases {
    /// A builder with these biases and everything else of `inner`, as an `InitMap` or a `VarMap`.
    pub fn var_builder<B: SimpleBackend + 'static>(
        &self,
        inner: B,
        dtype: DType,
        device: &Device,
    ) -> VarBuilder<'static> {
        let backend = Backend { biases: self.clone(), inner: Box::new(inner) };
        VarBuilder::from_backend(Box::new(backend), dtype, device.clone())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.biases.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.biases.is_empty()
    }
}

struct Backend {
    biases: WideBiases,
    inner: Box<dyn SimpleBackend>,
}

impl SimpleBackend for Backend {
    fn get(&self, shape: Shape, name: &str, init: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        match self.biases.biases.get(name) {
            Some((_, bias)) => Ok(bias.as_tensor().clone()),
            None => self.inner.get(shape, name, init, dtype, device),
        }
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        match self.biases.biases.get(name) {
            Some((_, bias)) => Ok(bias.as_tensor().clone()),
            None => self.inner.get_unchecked(name, dtype, device),
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.biases.biases.contains_key(name) || self.inner.contains_tensor(name)
    }
}

impl Trace {
    /// Biases as large as the outputs, of every linear layer that is called once and adds its own bias. They hold for
    /// inputs of the same shape. Convolutions and norms give their biases a shape of their own.
    ///
    /// # Errors
    /// If the device has no memory for them.
    pub fn wide_biases(&self) -> Result<WideBiases> {
        let mut biases = HashMap::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let ([_], Some((node, bias))) = (&layer.uses[..], layer.shift) else { continue };
            let calls = self.layers.iter().filter(|other| other.name == layer.name).count();
            let [made, bias] = [node, bias].map(|node| &self.graph.nodes[node].tensor);
            let name = layer.parameters.iter().find(|name| name.ends_with("bias"));
            let (Some(name), Kind::Linear, 1, false) = (name, layer.kind, calls, layer.is_stale) else {
                continue;
            };
            if made.dims() == layer.output.dims() {
                let wide = bias.detach().broadcast_as(made.shape())?.contiguous()?.copy()?;
                biases.insert(name.clone(), (index, Var::from_tensor(&wide)?));
            }
        }
        Ok(WideBiases { biases })
    }

    /// Adds the gradients that a backward pass left for these biases, of the same loss of a model that was built with
    /// them, to [`TracedLayer::gradient`](super::layer::TracedLayer::gradient): to the bit, for any number of rows. A
    /// layer's gradient behind its activation is that of the linear layer that takes it, times its weight.
    ///
    /// # Errors
    /// If the device cannot hand over the values.
    pub fn add_wide_gradients(&mut self, biases: &WideBiases, gradients: &GradStore) -> Result<()> {
        self.has_gradients = true;
        let mut found = vec![None; self.layers.len()];
        for (index, bias) in biases.biases.values() {
            let gradient = gradients.get(bias.as_tensor());
            let by = GradientBy::WideBias;
            found[*index] = gradient.map(|tensor| Gradient { by, tensor: tensor.detach(), error: 0.0 });
        }
        let mut behind = Vec::with_capacity(found.len());
        for (layer, of_output) in self.layers.iter().zip(&found) {
            behind.push(match (of_output, &layer.activation) {
                (Some(of_output), Some(_)) => self.behind_activation(layer, of_output, &found)?,
                (of_output, _) => of_output.clone(),
            });
        }
        for (layer, gradient) in self.layers.iter_mut().zip(behind) {
            if gradient.is_some() {
                layer.set_gradient(gradient);
            }
        }
        Ok(())
    }
}
