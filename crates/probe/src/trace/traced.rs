//! The trace itself.

use candle_core::{Result, Tensor, Var};
use wick_theory::Activation;

use super::activation::{Following, following};
use super::attribution::{Call, calls};
use super::graph::{Graph, Mark};
use super::layer::{Kind, TracedLayer};
use super::node::Role;
use super::product::{is_convolution, is_product};
use super::reach::Reach;

/// The layers of a model, found in the graph behind a loss. The model is not touched, and no activation is copied:
/// while the loss lives, candle keeps every tensor between a variable and the loss, with its numbers.
///
/// A layer is known by its parameters, whose names are those of the variables (`InitMap::named_vars`, or a `VarMap`'s
/// data): a tensor that is made with a parameter belongs to the parameter's layer. Layers are in the order of
/// execution, once for each call. What candle cuts off from the loss, as its own layer norm, softmax and rotary
/// embedding do, is not in the graph: [`Trace::reach`] names it, and nothing of it can train.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::{Module, VarBuilder, VarMap, linear, seq};
/// use wick_probe::{BatchGeometry, Trace, judge};
/// use wick_theory::Activation;
///
/// let map = VarMap::new();
/// let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
/// let model = seq()
///     .add(linear(8, 16, vb.pp("first"))?)
///     .add(candle_nn::Activation::Relu)
///     .add(linear(16, 4, vb.pp("second"))?);
/// let vars: Vec<_> = map.data().lock().unwrap().iter().map(|(name, var)| (name.clone(), var.clone())).collect();
///
/// let xs = Tensor::arange(0f32, 256.0, &Device::Cpu)?.sqr()?.sin()?.reshape((32, 8))?;
/// let trace = Trace::run(&vars, || model.forward(&xs)?.sqr()?.mean_all())?;
/// let names: Vec<_> = trace.layers().iter().map(|layer| layer.name.as_str()).collect();
/// assert_eq!(names, ["first", "second"]);
/// assert_eq!(trace.layers()[0].activation.as_ref().map(|(phi, _)| *phi), Some(Activation::Relu));
/// assert!(trace.reach().is_complete());
/// let verdicts = judge(&trace.layer_reports()?, &BatchGeometry::normal(32, 8, 1.0));
/// verdicts.iter().for_each(|verdict| println!("{verdict}"));
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Trace {
    pub(super) loss: Tensor,
    pub(super) graph: Graph,
    pub(super) layers: Vec<TracedLayer>,
    reach: Reach,
    pub(super) has_gradients: bool,
}

impl Trace {
    /// Runs a forward pass, and traces the loss that it returns.
    ///
    /// # Errors
    /// Those of the pass, and if the device cannot hand over single elements.
    pub fn run(vars: &[(String, Var)], forward: impl FnOnce() -> Result<Tensor>) -> Result<Self> {
        let mark = Mark::new()?;
        Self::of(Some(&mark), &forward()?, vars)
    }

    /// Traces a loss, or any other output. Without a [`Mark`] that was made before the pass, copies of weights from
    /// before it are taken for activations, and [`Reach::stale`] is empty.
    ///
    /// # Errors
    /// If the device cannot hand over single elements.
    pub fn of(mark: Option<&Mark>, loss: &Tensor, vars: &[(String, Var)]) -> Result<Self> {
        let graph = Graph::of(mark, loss, vars)?;
        let mut order: Vec<usize> = (0..graph.nodes.len()).collect();
        order.sort_by_key(|index| graph.nodes[*index].number);
        let calls = calls(&graph, &order, vars)?;
        let layers = layers(&graph, &order, &calls, vars)?;
        let reach = Reach::of(mark, &graph, &calls, &layers, vars)?;
        Ok(Self { loss: loss.clone(), graph, layers, reach, has_gradients: false })
    }

    /// The layers in the order of execution, once for each call.
    pub fn layers(&self) -> &[TracedLayer] {
        &self.layers
    }

    /// Which parameters the loss reaches.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// The tensor that was traced.
    pub fn loss(&self) -> &Tensor {
        &self.loss
    }

    /// The input of a layer's weight, where it is in the graph: for a linear layer of three dimensions its flat view,
    /// for a convolution with groups that of the first group.
    ///
    /// # Errors
    /// If the device cannot hand over single elements.
    pub fn input(&self, layer: &TracedLayer) -> Result<Option<Tensor>> {
        self.input_of(layer.kind, layer.uses[0])
    }

    /// The input of a use of a weight. In the graph's order it comes before the weight, if the layer is the first to
    /// use it; where the numbers do not tell, all that is below is gone through.
    pub(super) fn input_of(&self, kind: Kind, (node, weight): (usize, usize)) -> Result<Option<Tensor>> {
        let graph = &self.graph;
        let is_input = |index: &usize| !graph.nodes[*index].is_weight();
        if let Some(before) = (0..node).rev().find(is_input) {
            let [made, weight, before] = [node, weight, before].map(|node| &graph.nodes[node].tensor);
            let is_it = match kind {
                Kind::Linear => is_product(weight, before, made)?,
                Kind::Conv => is_convolution(weight, before, made)?,
                _ => false,
            };
            if is_it {
                return Ok(Some(before.clone()));
            }
        }
        Ok(graph.below(node).into_iter().rev().find(is_input).map(|index| graph.nodes[index].tensor.clone()))
    }
}

fn layers(
    graph: &Graph,
    order: &[usize],
    calls: &[Call],
    vars: &[(String, Var)],
) -> Result<Vec<TracedLayer>> {
    let mut behind = Vec::with_capacity(calls.len());
    for (index, call) in calls.iter().enumerate() {
        let number = |call: &Call| graph.nodes[call.entries[0].node].number;
        let end = calls.get(index + 1).map_or(usize::MAX, number);
        behind.push(following(graph, order, call.output, end)?);
    }
    let others = most_common(&behind);
    let layers = calls.iter().zip(behind).map(|(call, behind)| {
        let mut parameters: Vec<String> = Vec::new();
        for parameter in call.entries.iter().flat_map(|entry| &entry.parameters) {
            if !parameters.contains(&vars[*parameter].0) {
                parameters.push(vars[*parameter].0.clone());
            }
        }
        let activation = behind.or_as(others).map(|(phi, node)| (phi, graph.nodes[node].tensor.clone()));
        TracedLayer {
            name: call.name.clone(),
            call: call.number,
            kind: call.kind,
            parameters,
            output: graph.nodes[call.output].tensor.clone(),
            activation,
            gradient: None,
            gradient_error: None,
            axis: call.axis,
            is_stale: call.entries.iter().any(|entry| graph.nodes[entry.weight].role == Role::Stale),
            uses: call.uses(),
            shift: call.shift(),
            has_statistics: vars.iter().any(|(name, _)| {
                let rest = name.strip_prefix(call.name.as_str());
                rest.is_some_and(|rest| rest.starts_with(".running_"))
            }),
        }
    });
    Ok(layers.collect())
}

/// The activation that most layers have.
fn most_common(behind: &[Following]) -> Option<Activation> {
    let known = |following: &Following| match following {
        Following::Known(activation, _) => Some(*activation),
        _ => None,
    };
    let all = || behind.iter().filter_map(known);
    all().max_by_key(|activation| all().filter(|other| other == activation).count())
}

/// Which parameters the loss of a forward pass can train.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::{Module, VarBuilder, VarMap, layer_norm, linear, seq};
/// use wick_probe::reach;
///
/// let map = VarMap::new();
/// let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
/// let model = seq()
///     .add(linear(4, 8, vb.pp("first"))?)
///     .add(layer_norm(8, 1e-5, vb.pp("norm"))?) // candle's fused layer norm has no backward pass
///     .add(linear(8, 2, vb.pp("second"))?);
/// let mut vars: Vec<_> = map.data().lock().unwrap().iter().map(|(name, var)| (name.clone(), var.clone())).collect();
/// vars.sort_by(|a, b| a.0.cmp(&b.0));
/// let reach = reach(&vars, || model.forward(&Tensor::ones((3, 4), DType::F32, &Device::Cpu)?)?.sum_all())?;
/// assert_eq!(reach.unreached, ["first.bias", "first.weight", "norm.bias", "norm.weight"]);
/// assert!(reach.to_string().starts_with("the loss reaches 2 of 6 parameters"));
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// Those of [`Trace::run`].
pub fn reach(vars: &[(String, Var)], forward: impl FnOnce() -> Result<Tensor>) -> Result<Reach> {
    Ok(Trace::run(vars, forward)?.reach)
}
