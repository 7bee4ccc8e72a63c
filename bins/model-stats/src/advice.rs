//! What cannot train, and what to use instead. `tests/instead.rs` runs each.

use serde::Serialize;
use wick_probe::{Reach, Trace};

use crate::layers::of_the_output;

/// A place where the graph is cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct CutOff {
    pub(crate) at: String,
    /// Whether the cut is within the module, and not before the layer.
    pub(crate) is_within: bool,
    pub(crate) by: Option<&'static str>,
}

pub(crate) fn cuts(reach: &Reach) -> Vec<CutOff> {
    let cut = |cut: &wick_probe::Cut| CutOff { at: cut.at.clone(), is_within: cut.is_within, by: cut.by };
    reach.cuts.iter().map(cut).collect()
}

/// A line for each kind of operation that cuts, for what is stale, and for a backward pass that fails.
pub(crate) fn instead(trace: &Trace, backward_error: Option<&str>) -> Vec<String> {
    let reach = trace.reach();
    let mut operations: Vec<&str> = reach.cuts.iter().filter_map(|cut| cut.by).collect();
    if reach.cuts.is_empty() && !reach.unreached.is_empty() {
        operations.extend(of_the_output(reach));
    }
    let mut lines: Vec<String> = Vec::new();
    let has_layers = !operations.is_empty() || backward_error.is_some_and(|error| error.contains("pool2d"));
    for operation in operations {
        let line = of_operation(operation).to_owned();
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    if !reach.stale.is_empty() {
        lines.push(format!(
            "{} parameters train a copy from when the model was built: make what it merges of them in the forward \
             pass, or build the model again after each step",
            reach.stale.len()
        ));
    }
    lines.extend(backward_error.map(of_error));
    if has_layers {
        lines.push("wick_layers has these operations with backward passes: docs/layers.md".to_owned());
    }
    lines
}

fn of_operation(operation: &str) -> &'static str {
    match operation {
        _ if operation.contains("LayerNorm") => {
            "candle-nn's LayerNorm has no backward pass on a contiguous input: use \
             candle_nn::ops::layer_norm_slow(xs, weight, bias, eps)"
        }
        _ if operation.contains("RmsNorm") => {
            "candle-nn's RmsNorm has no backward pass on a contiguous input: use norm.forward_diff(xs), or \
             candle_nn::ops::rms_norm_slow(xs, weight, eps)"
        }
        _ if operation.contains("KvCache") => {
            "candle-nn's KvCache copies keys and values out of the graph: train without a cache, or with \
             Tensor::cat(&[&before, &keys], dim); ConcatKvCache detaches them, too"
        }
        _ => {
            "candle-nn's softmax_last_dim, rope and sdpa have no backward pass: use \
             candle_nn::ops::softmax(xs, D::Minus1), candle_nn::rotary_emb::rope_slow(xs, cos, sin), and an \
             attention of matmul and that softmax"
        }
    }
}

fn of_error(error: &str) -> String {
    let instead = if error.contains("maxpool2d") {
        ": use Tensor::maximum over the kernel's shifted slices; where kernel and stride are k, max_pool2d passes back \
         1/k² of the gradient"
    } else if error.contains("avgpool2d") {
        ": use an average pool whose stride is its kernel's size, as avg_pool2d(2)"
    } else {
        ""
    };
    format!("no gradient at all, for candle's backward pass is an error ({error}){instead}")
}
