//! The defaults of PyTorch and Keras.

use super::common::{Rules, biases, embeddings, in_out, norms, statistics, to_heads, vectors, wide_norms};
use crate::conventions::torch;
use crate::initializer::Initializer;
use crate::layout::WeightLayout;
use crate::map::rules::Rule;

/// PyTorch's defaults: `Linear` and `Conv` from `U(±1/√fan_in)` (in PyTorch's words
/// `kaiming_uniform_(a=√5)`), and their biases too; `Embedding` from N(0, 1); norms, which are the layers
/// with a weight of one dimension, 1 and 0. These are found by their names:
///
/// - the weights and biases of recurrent layers, with `lstm`, `gru` or `rnn` in their name, from
///   `U(±1/√hidden)`; their shapes do not tell the number of gates;
/// - [embeddings](super);
/// - the weights of an attention with one matrix (`in_proj_weight`, or `q_proj_weight` and its like), Xavier
///   uniform, and its `in_proj_bias`, 0 (its `out_proj.bias`, which PyTorch sets to 0, is taken for that of a
///   linear layer);
/// - PReLU's slope, with `prelu` in its name, 0.25;
/// - `running_mean` and `num_batches_tracked`, 0, and `running_var`, 1.
///
/// Such a tensor with another name needs its own rule in front.
///
/// Of the releases of BERT for TensorFlow and of the Vision Transformer for JAX, `kernel` is a weight whose
/// inputs come before its outputs, and `scale` and `gamma` are those of norms.
pub fn torch_defaults() -> Rules {
    let recurrent = [("lstm", 4), ("gru", 3), ("rnn", 1)].into_iter().flat_map(|(layer, gates)| {
        ["weight", "bias"]
            .map(|part| Rule::draw(&format!("**.*{layer}*.**.{part}_*_l*"), torch::recurrent_default(gates)))
    });
    let matrices = [
        Rule::draw("**.*_proj_weight [*, *]", Initializer::xavier_uniform()),
        Rule::draw(&to_heads("kernel [*, *, *]"), torch::linear_default()),
        // Masks, and the bias of BART's logits.
        Rule::draw("**.bias [1, 1, *, *] | **.*_bias [*, *, ..] | **.beta [1, 1, ..]", Initializer::zeros()),
        Rule::torch_bias("**.bias [*, *, ..]"),
        in_out(torch::linear_default()),
        Rule::draw("[*, *, ..]", torch::linear_default()),
    ];
    let vectors = [
        // The bias of a head whose weight is the embedding, and those that attention has for some matrices.
        Rule::draw(
            "**.predictions.bias [*] | **.predictions.output_bias [*] | **.q_bias [*] | **.v_bias [*]",
            Initializer::zeros(),
        ),
        Rule::torch_bias("**.output_bias [*]"),
        Rule::draw("**.*prelu*.weight [*]", Initializer::Constant(0.25)),
        Rule::draw("**.in_proj_bias [*]", Initializer::zeros()),
        Rule::draw("**.*norm*.bias [*] | **.*Norm*.bias [*]", Initializer::zeros()),
        Rule::torch_bias("**.bias [*] | **.b [*]"),
    ];
    // Of an LSTM's projection [proj, hidden], 1/√hidden is given by the second dimension.
    [Rule::draw("**.weight_hr_l*", torch::linear_default())]
        .into_iter()
        .chain(recurrent)
        .chain(embeddings(Initializer::normal(1.0)))
        .chain([wide_norms()])
        .chain(matrices)
        .chain(vectors)
        .chain(norms())
        .chain(statistics())
        .collect()
}

/// Keras' defaults: kernels `glorot_uniform`, [embeddings](super) `U(±0.05)`, biases 0, norms 1; the recurrent
/// kernels (`weight_hh`) of LSTM, GRU and simple recurrent layers orthogonal; the forget gate of an LSTM
/// (with `lstm` in its name) 1, in the first of its two biases; `running_mean` of batch norms 0 and
/// `running_var` 1; the slopes of PReLU 0. The names are PyTorch's or Keras' own (`kernel`, `depthwise_kernel`,
/// `pointwise_kernel`, `recurrent_kernel`, `lstm_cell/bias`, `moving_mean`), where the inputs of a kernel come
/// before its outputs. The fans are Keras' own: of `[…, in, out]`, also for a kernel with a dimension for heads.
pub fn keras_defaults() -> Rules {
    let recurrent = [
        Rule::draw("**.weight_hh_* | **.recurrent_kernel [*, *]", Initializer::orthogonal(1.0)),
        Rule::draw(
            "**.*lstm*.**.bias_ih_* | **.lstm_cell.bias [*] | **.lstm_cell_*.bias [*]",
            Initializer::forget_gate(1.0),
        ),
        Rule::draw("**.bias_ih_*", Initializer::zeros()),
        Rule::draw("**.bias_hh_*", Initializer::zeros()),
        Rule::draw("**.*re_lu*.alpha | **.*relu*.alpha", Initializer::zeros()),
    ];
    let separable = "**.depthwise_kernel [*, *, ..] | **.pointwise_kernel [*, *, ..]";
    recurrent
        .into_iter()
        .chain(biases())
        .chain(embeddings(Initializer::uniform(0.05)))
        .chain([
            in_out(Initializer::xavier_uniform()),
            Rule::draw(separable, Initializer::xavier_uniform())
                .map(|rule| rule.with_layout(WeightLayout::InOut)),
            Rule::draw("[*, *, ..]", Initializer::xavier_uniform()),
        ])
        .chain(vectors())
        .collect()
}
