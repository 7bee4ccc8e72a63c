//! What rules are needed for and a model does not have.

use std::collections::BTreeSet;

use super::InitMap;
use super::pattern::parts_of;
use super::rules::Rule;

/// A layer of a model: its side, `encoder`, `decoder` or none, and its number.
type Layer = (&'static str, usize);

impl InitMap {
    /// What the rules are needed for ([`Rule::essential`]) and the tensors so far did not meet, once for each group
    /// of rules. After the model is built, a preset that leaves something here is probably not meant for the
    /// model, or its names are others than those that the preset knows.
    ///
    /// A group that goes by the depth ([`Rule::layers`]) is needed in every layer of the model: if some layers
    /// lack it, the text says how many and names the first. Layers of an encoder and of a decoder count apart. A
    /// layer has at least one tensor of two or more dimensions with [its number](Rule::layer_of).
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use wick_init::{InitMap, presets};
    ///
    /// let missing = |projections: [&str; 2]| -> candle_core::Result<Vec<String>> {
    ///     let map = InitMap::new(42).with_rules(presets::gpt2(12)?);
    ///     for name in projections {
    ///         map.var_builder(DType::F32, &Device::Cpu).get((4, 4), name)?;
    ///     }
    ///     Ok(map.unmatched_essentials())
    /// };
    /// assert!(missing(["h.0.attn.c_proj.weight", "h.0.mlp.c_proj.weight"])?.is_empty());
    /// let half = missing(["h.0.attn.c_proj.weight", "h.0.mlp.my_projection.weight"])?;
    /// assert_eq!(half, ["the projections of the feed-forward net into the residual stream (mlp.c_proj)"]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn unmatched_essentials(&self) -> Vec<String> {
        let rules = &self.settings.rules;
        let (vars, streamed) = (self.lock(), self.lock_streamed());
        let kept = vars.iter().map(|(name, entry)| (name, entry.var.rank(), entry.rule));
        let tensors: Vec<(&String, usize, Option<usize>)> =
            kept.chain(streamed.iter().map(|(name, tensor)| (name, tensor.rank, tensor.rule))).collect();
        let matrices = tensors.iter().filter(|(_, rank, _)| *rank >= 2);
        let layers: BTreeSet<Layer> = matrices.filter_map(|(name, ..)| layer(name)).collect();
        let mut purposes: Vec<&str> = Vec::new();
        for purpose in rules.iter().filter_map(|rule| rule.essential.as_deref()) {
            if !purposes.contains(&purpose) {
                purposes.push(purpose);
            }
        }
        let unmet = purposes.into_iter().filter_map(|purpose| {
            let serves = |rule: &Rule| rule.essential.as_deref() == Some(purpose);
            let met = tensors.iter().filter(|(.., rule)| rule.is_some_and(|index| serves(&rules[index])));
            let met: Vec<Option<Layer>> = met.map(|(name, ..)| layer(name)).collect();
            if met.is_empty() {
                return Some(purpose.to_owned());
            }
            let by_layer = rules.iter().any(|rule| serves(rule) && rule.layers.is_some());
            // A model whose names have no numbers has no layers to count.
            if !by_layer || met.iter().all(Option::is_none) {
                return None;
            }
            let met: BTreeSet<Layer> = met.into_iter().flatten().collect();
            let missing: Vec<&Layer> = layers.difference(&met).collect();
            let (side, number) = missing.first()?;
            let (count, all) = (missing.len(), layers.len());
            let first =
                if side.is_empty() { format!("layer {number}") } else { format!("{side} layer {number}") };
            let which = if count == 1 { first } else { format!("the first is {first}") };
            Some(format!("{purpose} in {count} of {all} layers ({which})"))
        });
        unmet.collect()
    }
}

/// The layer that a tensor belongs to, by its name.
fn layer(name: &str) -> Option<Layer> {
    let number = Rule::layer_of(name)?;
    let side =
        parts_of(name).find_map(|part| ["encoder", "decoder"].into_iter().find(|side| part.contains(side)));
    Some((side.unwrap_or_default(), number))
}
