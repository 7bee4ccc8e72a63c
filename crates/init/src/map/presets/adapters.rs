//! Adapters beside the weights of a trained model.

use super::common::Rules;
use crate::conventions::torch;
use crate::initializer::Initializer;
use crate::map::rules::Rule;

/// LoRA as peft starts it (`tuners/lora/layer.py`, `reset_lora_parameters`; Hu et al. 2021, arXiv 2106.09685, section
/// 4.1): `lora_A` U(±1/√fan_in), as PyTorch's linear layers, `lora_B` 0, so that the adapted model starts as the model
/// was; beside an embedding `lora_embedding_A` 0 and `lora_embedding_B` N(0, 1). Put these rules in front of those of the
/// model, whose own weights come from its file.
///
/// ```
/// use candle_core::{DType, Device};
/// use wick_init::{InitMap, presets};
///
/// let map = InitMap::new(1).with_rules(presets::lora()?);
/// let vb = map.var_builder(DType::F32, &Device::Cpu).pp("layers.0.q_proj");
/// let (a, b) = (vb.get((4, 64), "lora_A.weight")?, vb.get((64, 4), "lora_B.weight")?);
/// assert!(a.abs()?.max_all()?.to_scalar::<f32>()? <= 0.125);
/// assert_eq!(b.sqr()?.sum_all()?.to_scalar::<f32>()?, 0.0);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn lora() -> Rules {
    [
        Rule::draw("**.lora_A.weight | **.lora_A.*.weight", torch::linear_default())
            .map(|rule| rule.with_essential("the adapters (lora_A)")),
        Rule::draw("**.lora_B.weight | **.lora_B.*.weight", Initializer::zeros()),
        Rule::draw("**.lora_B.bias | **.lora_B.*.bias", Initializer::zeros()),
        Rule::draw("**.lora_embedding_A | **.lora_embedding_A.*", Initializer::zeros()),
        Rule::draw("**.lora_embedding_B | **.lora_embedding_B.*", Initializer::normal(1.0)),
    ]
    .into_iter()
    .collect()
}
