//! Rules of whole libraries and models, to read and to change.
//!
//! Each returns a plain `Vec<Rule>`: put rules of your own in front, and they win.
//!
//! ```
//! use wick_init::{InitMap, Initializer, Rule, presets};
//!
//! let mut rules = presets::gpt2(12)?;
//! rules.insert(0, Rule::draw("lm_head.weight", Initializer::zeros())?);
//! let map = InitMap::new(42).with_rules(rules);
//! # Ok::<(), wick_init::PatternError>(())
//! ```

use crate::{Initializer, LearningRate, PatternError, Rule, torch};

type Rules = Result<Vec<Rule>, PatternError>;

/// Every preset's name, for [`by_name`].
pub const NAMES: [&str; 6] = ["torch", "keras", "gpt2", "llama", "t-fixup", "mup"];

/// A preset by its name; `layers` is the model's depth and `base` the width at which the learning rate was tuned,
/// for those that need them. `None` for an unknown name.
pub fn by_name(name: &str, layers: usize, base: f64) -> Option<Rules> {
    Some(match name {
        "torch" => torch_defaults(),
        "keras" => keras_defaults(),
        "gpt2" => gpt2(layers),
        "llama" => llama(layers),
        "t-fixup" => t_fixup(layers),
        "mup" => mup(base),
        _ => return None,
    })
}

/// The scales of norms are 1, and biases 0.
fn norms_and_biases() -> [Result<Rule, PatternError>; 3] {
    [
        Rule::draw("**.bias", Initializer::zeros()),
        Rule::draw("**.weight [*]", Initializer::ones()),
        Rule::draw("**.gamma [*]", Initializer::ones()),
    ]
}

/// PyTorch's defaults: `Linear` and `Conv` `U(±1/√fan_in)` (in PyTorch's words `kaiming_uniform_(a=√5)`), their
/// biases the same; `Embedding` N(0, 1); norms (layers with `norm` in their name) 1 and 0. The weights and biases of
/// recurrent layers, which have `lstm`, `gru` or `rnn` in their name, `U(±1/√hidden)`; one that is called otherwise needs
/// a rule of its own in front, since a shape does not tell how many gates it has.
pub fn torch_defaults() -> Rules {
    [
        Rule::draw("**.*lstm*.**.weight_*_l*", torch::recurrent_default(4)),
        Rule::draw("**.*lstm*.**.bias_*_l*", torch::recurrent_default(4)),
        Rule::draw("**.*gru*.**.weight_*_l*", torch::recurrent_default(3)),
        Rule::draw("**.*gru*.**.bias_*_l*", torch::recurrent_default(3)),
        Rule::draw("**.*rnn*.**.weight_*_l*", torch::recurrent_default(1)),
        Rule::draw("**.*rnn*.**.bias_*_l*", torch::recurrent_default(1)),
        Rule::draw("**.*embed*.weight [*, *]", Initializer::normal(1.0)),
        Rule::draw("**.*embed*.**.weight [*, *]", Initializer::normal(1.0)),
        Rule::draw("[*, *, ..]", torch::linear_default()),
        Rule::draw("**.*norm*.weight [*]", Initializer::ones()),
        Rule::draw("**.*norm*.bias [*]", Initializer::zeros()),
        Rule::draw("**.weight [*]", Initializer::ones()),
        Rule::torch_bias("**.bias [*]"),
        Rule::hint("**"),
    ]
    .into_iter()
    .collect()
}

/// Keras' defaults: kernels `glorot_uniform`, embeddings `U(±0.05)`, biases 0, norms 1; the recurrent kernels (`weight_hh`)
/// of LSTM, GRU and simple recurrent layers orthogonal, and an LSTM's (with `lstm` in its name) forget gate 1, in
/// the first of its two biases.
pub fn keras_defaults() -> Rules {
    let weights = [
        Rule::draw("**.weight_hh_*", Initializer::Orthogonal { gain: 1.0 }),
        Rule::draw("**.*lstm*.**.bias_ih_*", Initializer::ForgetGate { value: 1.0 }),
        Rule::draw("**.bias_ih_*", Initializer::zeros()),
        Rule::draw("**.bias_hh_*", Initializer::zeros()),
        Rule::draw("**.*embed*.weight [*, *]", Initializer::uniform(0.05)),
        Rule::draw("**.*embed*.**.weight [*, *]", Initializer::uniform(0.05)),
        Rule::draw("[*, *, ..]", Initializer::xavier_uniform()),
    ];
    weights.into_iter().chain(norms_and_biases()).collect()
}

/// GPT-2 (Radford et al. 2019, section 2.3): N(0, 0.02²), and the projections into the residual stream divided by
/// `√(2·layers)`, of which there are two a layer; biases 0, norms 1.
pub fn gpt2(layers: usize) -> Rules {
    let residual = 0.02 / (2.0 * layers.max(1) as f64).sqrt();
    let weights = [
        Rule::draw("**.c_proj.weight", Initializer::normal(residual)),
        Rule::draw("[*, *, ..]", Initializer::normal(0.02)),
    ];
    weights.into_iter().chain(norms_and_biases()).collect()
}

/// A Llama-style model, depth-scaled: truncated normals of std 0.02, cut at ±3 std; the projections into the
/// residual stream of layer `l` (from 0) with `0.02/√(2(l + 1))` (Zhang et al. 2019, arXiv 1908.11365, in the form
/// that Llama-style trainers use); norms 1.
pub fn llama(layers: usize) -> Rules {
    let cut = |std: f64| Initializer::TruncatedNormal { mean: 0.0, std, low: -3.0 * std, high: 3.0 * std };
    let residual = (0..layers).flat_map(|layer| {
        let std = 0.02 / (2.0 * (layer as f64 + 1.0)).sqrt();
        ["self_attn.o_proj", "mlp.down_proj"]
            .map(|projection| Rule::draw(&format!("**.layers.{layer}.{projection}.weight"), cut(std)))
    });
    residual.chain([Rule::draw("[*, *, ..]", cut(0.02))]).chain(norms_and_biases()).collect()
}

/// T-Fixup (Huang et al. 2020, *Improving transformer optimization through better initialization*, section 3.3), for
/// training without norms or warm-up: Xavier everywhere; embeddings (with `embed` in
/// their name, or `shared`) N(0, 1/d), `(9N)^{-1/4}` times; the value and
/// output projections and the feed-forward weights of the encoder `0.67 N^{-1/4}` times, of the decoder
/// `(9N)^{-1/4}` times, for `N` layers.
pub fn t_fixup(layers: usize) -> Rules {
    let n = layers.max(1) as f64;
    let (encoder, decoder) = (0.67 * n.powf(-0.25), (9.0 * n).powf(-0.25));
    let scaled = |side: &str, gain: f64| {
        ["v_proj", "out_proj", "fc1", "fc2"].map(|name| {
            let pattern = format!("**.{side}.**.{name}.weight");
            Rule::draw(&pattern, Initializer::xavier_uniform().with_gain(gain))
        })
    };
    // An embedding [vocabulary, d]: 1/d is one over the second dimension, which is the plain fan_in.
    let embedding = Initializer::lecun_normal().with_gain(decoder);
    let embeddings = ["**.*embed*.weight [*, *]", "**.*embed*.**.weight [*, *]", "**.shared.weight [*, *]"];
    // Marian and BART add a bias to the logits that has two dimensions.
    [Rule::draw("**.*_bias", Initializer::zeros())]
        .into_iter()
        .chain(scaled("encoder", encoder))
        .chain(scaled("decoder", decoder))
        .chain(embeddings.map(|pattern| Rule::draw(pattern, embedding.clone())))
        .chain([Rule::draw("[*, *, ..]", Initializer::xavier_uniform())])
        .chain(norms_and_biases())
        .collect()
}

/// muP for Adam (Yang et al. 2022, arXiv 2203.03466, table 3): hidden matrices with `Var W = 1/fan_in` and a learning
/// rate that falls like `base/fan_in`; the output layer (`lm_head`, `head`, `classifier`, `score`, `output` or `fc_out`,
/// wherever it stands) starts at 0, which every width shares, and learns at that rate too; input layers, whose fan_in does
/// not grow, learn at the base rate: embeddings (with `embed` in their name, or GPT-2's `wte` and `wpe`) from N(0, 1),
/// convolutions of patches from `Var W = 1/fan_in`. So do vectors. An input or output layer that is called otherwise needs a
/// rule of its own in front.
pub fn mup(base: f64) -> Rules {
    let falling = LearningRate::InverseFanIn { base };
    let heads = ["lm_head", "head", "classifier", "score", "output", "fc_out"];
    let embeddings =
        ["**.*embed*.weight [*, *]", "**.*embed*.**.weight [*, *]", "**.wte.weight", "**.wpe.weight"];
    let head = |name: &str| Rule::draw(&format!("**.{name}.weight [*, *]"), Initializer::zeros());
    heads
        .map(|name| head(name).map(|rule| rule.with_learning_rate(falling)))
        .into_iter()
        .chain(embeddings.map(|pattern| Rule::draw(pattern, Initializer::normal(1.0))))
        .chain([Rule::draw("**.*patch*.**.weight [*, *, *, ..]", Initializer::lecun_normal())])
        .chain([Rule::draw("[*, *, ..]", Initializer::lecun_normal())
            .map(|rule| rule.with_learning_rate(falling))])
        .chain(norms_and_biases())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule that a tensor meets first, as text.
    fn first(rules: &[Rule], name: &str, shape: &[usize]) -> String {
        let rule = rules.iter().find(|rule| rule.pattern.matches(name, shape)).unwrap();
        match &rule.action {
            crate::Action::Draw(initializer) => initializer.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn each_tensor_of_a_model_meets_its_rule() {
        let std = |spec: &str| {
            spec.split("std=").nth(1).unwrap().split(',').next().unwrap().parse::<f64>().unwrap()
        };
        let gpt2 = gpt2(12).unwrap();
        assert_eq!(first(&gpt2, "h.0.attn.c_attn.weight", &[8, 8]), "normal:std=0.02");
        assert!((std(&first(&gpt2, "h.0.mlp.c_proj.weight", &[8, 8])) - 0.02 / 24f64.sqrt()).abs() < 1e-15);
        assert_eq!(first(&gpt2, "h.0.ln_1.weight", &[8]), "ones");
        assert_eq!(first(&gpt2, "h.0.ln_1.bias", &[8]), "zeros");

        let llama = llama(4).unwrap();
        let last = first(&llama, "model.layers.3.mlp.down_proj.weight", &[8, 8]);
        assert!((std(&last) - 0.02 / 8f64.sqrt()).abs() < 1e-15, "{last}");
        assert_eq!(std(&first(&llama, "model.layers.3.mlp.up_proj.weight", &[8, 8])), 0.02);

        let torch = torch_defaults().unwrap();
        assert_eq!(first(&torch, "fc.weight", &[8, 8]), torch::linear_default().to_string());
        assert_eq!(first(&torch, "fc.bias", &[8]), "TorchBias");
        assert_eq!(first(&torch, "norm.bias", &[8]), "zeros");
        assert_eq!(first(&torch, "lstm.weight_ih_l0", &[20, 6]), "recurrent:gates=4");
        assert_eq!(first(&torch, "decoder.gru_1.0.bias_hh_l0_reverse", &[15]), "recurrent:gates=3");
        assert_eq!(first(&torch, "rnn.weight_hh_l1", &[5, 5]), "recurrent:gates=1");
        assert_eq!(first(&torch, "embeddings.word_embeddings.weight", &[8, 8]), "normal:std=1");

        let keras = keras_defaults().unwrap();
        assert_eq!(first(&keras, "conv.weight", &[8, 8, 3, 3]), "xavier_uniform");
        assert_eq!(first(&keras, "encoder.lstm.weight_ih_l0", &[20, 6]), "xavier_uniform");
        assert_eq!(first(&keras, "encoder.lstm.weight_hh_l0", &[20, 5]), "orthogonal:gain=1");
        assert_eq!(first(&keras, "encoder.lstm.bias_ih_l0", &[20]), "forget_gate:value=1");
        assert_eq!(first(&keras, "encoder.lstm.bias_hh_l0", &[20]), "zeros");
        assert_eq!(first(&keras, "gru.bias_ih_l0", &[15]), "zeros");

        let fixup = t_fixup(6).unwrap();
        let scale = |name: &str| {
            let spec = first(&fixup, name, &[8, 8]);
            spec.split("scale=").nth(1).unwrap().split(',').next().unwrap().parse::<f64>().unwrap().sqrt()
        };
        assert!((scale("model.encoder.0.attn.v_proj.weight") - 0.67 * 6f64.powf(-0.25)).abs() < 1e-12);
        assert!((scale("model.decoder.0.fc2.weight") - 54f64.powf(-0.25)).abs() < 1e-12);
        assert_eq!(first(&fixup, "model.encoder.0.attn.q_proj.weight", &[8, 8]), "xavier_uniform");

        let mup = mup(256.0).unwrap();
        for (name, shape, spec, rate) in [
            ("fc.weight", &[100, 1024][..], "lecun_normal", 0.25),
            ("fc.bias", &[100], "zeros", 1.0),
            ("lm_head.weight", &[50, 512], "zeros", 0.5),
            ("model.decoder.classifier.weight", &[50, 512], "zeros", 0.5),
            ("transformer.wte.weight", &[50, 512], "normal:std=1", 1.0),
            ("embeddings.word_embeddings.weight", &[50, 512], "normal:std=1", 1.0),
            ("patch_embed.proj.weight", &[512, 3, 16, 16], "lecun_normal", 1.0),
            ("embeddings.patch_embeddings.projection.weight", &[512, 3, 16, 16], "lecun_normal", 1.0),
        ] {
            assert_eq!(first(&mup, name, shape), spec, "{name}");
            let rule = mup.iter().find(|rule| rule.pattern.matches(name, shape)).unwrap();
            assert_eq!(rule.learning_rate_multiplier(shape).unwrap(), rate, "{name}");
        }
    }

    /// candle's own LSTM and GRU: every number within 1/√hidden, and some near it; a linear layer's rule would go
    /// to 1/√in for one weight, and leave the biases at zero.
    #[test]
    fn recurrent_layers_start_as_pytorchs() {
        use candle_core::{DType, Device};
        let map = crate::InitMap::new(5).with_rules(torch_defaults().unwrap());
        let vb = map.var_builder(DType::F32, &Device::Cpu);
        candle_nn::lstm(3, 100, candle_nn::LSTMConfig::default(), vb.pp("lstm")).unwrap();
        candle_nn::gru(3, 100, candle_nn::GRUConfig::default(), vb.pp("gru")).unwrap();
        let vars = map.named_vars();
        assert_eq!(vars.len(), 8);
        for (name, var) in vars {
            let largest =
                var.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
            assert!(largest <= 0.1 && largest > 0.095, "{name}: {largest}");
        }
    }

    #[test]
    fn every_name_is_a_preset() {
        assert!(NAMES.iter().all(|name| by_name(name, 2, 64.0).is_some_and(|rules| rules.is_ok())));
        assert!(by_name("gpt7", 2, 64.0).is_none());
    }
}
