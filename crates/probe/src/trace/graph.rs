//! The graph behind a loss, as candle gives it: every tensor between a variable and the loss.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use candle_core::{DType, Device, Result, Tensor, TensorId, Var};

use super::node::{Node, Role};
use super::weights;

/// The moment before a forward pass. Tensors that existed before it are told from those that the pass makes, so
/// that a [`Trace`](super::Trace) finds copies of weights that the model made when it was built.
///
/// ```
/// use candle_core::{DType, Device, Tensor, Var};
/// use wick_probe::{Mark, Trace};
///
/// let w = Var::ones((2, 3), DType::F32, &Device::Cpu)?;
/// let copy = (w.as_tensor() * 2.0)?;
/// let mark = Mark::new()?;
/// let loss = Tensor::ones((4, 3), DType::F32, &Device::Cpu)?.matmul(&copy.t()?)?.sum_all()?;
/// let trace = Trace::of(Some(&mark), &loss, &[("w".to_owned(), w)])?;
/// assert_eq!(trace.reach().stale, ["w"]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Mark(usize);

impl Mark {
    /// The moment of the call. candle counts all tensors of a process; a mark makes one and keeps its number.
    ///
    /// # Errors
    /// candle's, if a number cannot be allocated.
    pub fn new() -> Result<Self> {
        Ok(Self(number(Tensor::zeros((), DType::F32, &Device::Cpu)?.id())))
    }
}

/// The tensors between the variables and a loss, arguments before what is made of them: a walk in postorder,
/// in which a tensor comes right after the argument that was met last.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    by_number: HashMap<usize, usize>,
}

impl Graph {
    pub(super) fn of(mark: Option<&Mark>, loss: &Tensor, vars: &[(String, Var)]) -> Result<Self> {
        let mut graph = Self { nodes: Vec::new(), by_number: HashMap::new() };
        // Of several names of one variable, the first counts.
        let all = || vars.iter().enumerate().rev();
        let by_number: HashMap<usize, usize> =
            all().map(|(index, (_, var))| (number(var.id()), index)).collect();
        let by_address: HashMap<usize, usize> =
            all().map(|(index, (_, var))| (address(var), index)).collect();
        for tensor in loss.sorted_nodes().into_iter().rev() {
            let (number, address) = (number(tensor.id()), address(tensor));
            let is_before = mark.is_some_and(|mark| number < mark.0);
            let (role, parameters) = if let Some(index) = by_number.get(&number) {
                (Role::Parameter, vec![*index])
            } else if tensor.is_variable() {
                (Role::Input, Vec::new())
            } else if let Some(index) = by_address.get(&address) {
                (Role::View, vec![*index])
            } else if is_before {
                (Role::Stale, parameters_below(tensor, &by_number))
            } else if let Some(made) =
                weights::made_of(&graph.nodes, tensor, address)?.filter(|_| graph.is_of_weights(tensor))
            {
                made
            } else {
                (Role::Activation, Vec::new())
            };
            graph.by_number.insert(number, graph.nodes.len());
            graph.nodes.push(Node { tensor: tensor.clone(), number, address, role, parameters });
        }
        Ok(graph)
    }

    /// Whether all that a tensor is made of, and that has a graph, are weights. The output of a head that starts at 0 is
    /// its bias, repeated, and is none.
    fn is_of_weights(&self, tensor: &Tensor) -> bool {
        let mut below = tensor.sorted_nodes().into_iter().skip(1);
        below.all(|node| self.index(node).is_some_and(|index| self.nodes[index].is_weight()))
    }

    /// The place of a tensor among the nodes.
    pub(super) fn index(&self, tensor: &Tensor) -> Option<usize> {
        self.by_number.get(&number(tensor.id())).copied()
    }

    /// The arguments of a node as far as the graph tells, last argument first. An argument that is needed by
    /// another one, as the skip of `x + f(x)`, may be left out.
    pub(super) fn arguments(&self, node: usize) -> Vec<usize> {
        let mut below = self.below(node);
        let mut arguments = Vec::new();
        while let Some(argument) = below.pop() {
            arguments.push(argument);
            let mut covered = self.below(argument);
            covered.sort_unstable();
            below.retain(|node| covered.binary_search(node).is_err());
        }
        arguments
    }

    /// Every node that a node is made of, arguments before what is made of them: the last one is an argument.
    pub(super) fn below(&self, node: usize) -> Vec<usize> {
        let mut nodes: Vec<usize> = self.nodes[node]
            .tensor
            .sorted_nodes()
            .into_iter()
            .skip(1)
            .filter_map(|n| self.index(n))
            .collect();
        nodes.reverse();
        nodes
    }
}

/// The named parameters that a tensor is made of.
fn parameters_below(tensor: &Tensor, by_number: &HashMap<usize, usize>) -> Vec<usize> {
    let leaves = tensor.sorted_nodes().into_iter().filter_map(|node| by_number.get(&number(node.id())));
    let mut parameters: Vec<usize> = leaves.copied().collect();
    parameters.sort_unstable();
    parameters
}

/// The number behind a tensor's id, which candle shows only to a hasher.
pub(super) fn number(id: TensorId) -> usize {
    struct Number(u64);
    impl Hasher for Number {
        fn finish(&self) -> u64 {
            self.0
        }
        fn write(&mut self, bytes: &[u8]) {
            self.0 = bytes.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte));
        }
        fn write_usize(&mut self, number: usize) {
            self.0 = number as u64;
        }
    }
    let mut hasher = Number(0);
    id.hash(&mut hasher);
    hasher.finish() as usize
}

/// The address of a tensor's storage, by which views are known.
pub(super) fn address(tensor: &Tensor) -> usize {
    std::ptr::from_ref(&*tensor.storage_and_layout().0).addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise() -> Result<()> {
        let xs = Tensor::zeros(2, DType::F32, &Device::Cpu)?;
        let numbers = [xs.id(), xs.neg()?.id(), xs.neg()?.id()].map(number);
        assert!(numbers.is_sorted() && numbers[0] > 0, "{numbers:?}");
        assert_eq!(address(&xs), address(&xs.reshape((1, 2))?));
        assert_ne!(address(&xs), address(&xs.copy()?));
        Ok(())
    }

    /// The arguments of `a·b` and of `(a·b + c)`, by the graph alone.
    #[test]
    fn arguments_are_found() -> Result<()> {
        let [a, b, c] = [1.0, 2.0, 3.0].map(|x| {
            Var::from_tensor(&Tensor::full(x as f32, (2, 2), &Device::Cpu).expect("memory")).expect("memory")
        });
        let product = a.matmul(&b)?;
        let sum = (&product + c.as_tensor())?;
        let graph = Graph::of(None, &sum, &[])?;
        let index = |tensor: &Tensor| graph.index(tensor).expect("in the graph");
        assert_eq!(graph.arguments(index(&product)), [index(&b), index(&a)]);
        assert_eq!(graph.arguments(index(&sum)), [index(&c), index(&product)]);
        Ok(())
    }
}
