//! Where a parameter enters the pass.

use super::graph::Graph;
use super::node::Role;

/// A tensor where a parameter enters the pass.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The tensor that is made with the parameter, among the graph's nodes.
    pub(super) node: usize,
    /// The weight that makes it, and the parameters behind that.
    pub(super) weight: usize,
    pub(super) parameters: Vec<usize>,
    /// Where the weight starts in the parameter's storage: slices of one matrix differ in it.
    pub(super) offset: usize,
}

impl Entry {
    /// The entry at a node, if the weight makes it. In the graph's order a tensor comes right after its last
    /// argument, and layers have their weight there.
    pub(super) fn of(graph: &Graph, node: usize, weight: usize) -> Option<Self> {
        let source = &graph.nodes[weight];
        let is_entry = graph.nodes[node].role == Role::Activation && source.is_weight();
        (is_entry && !source.parameters.is_empty()).then(|| Self {
            node,
            weight,
            parameters: source.parameters.clone(),
            offset: source.tensor.layout().start_offset(),
        })
    }
}
