//! Rules as TOML.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use wick_init::{Action, Error, Initializer, LearningRate, Rule, WeightLayout};
use wick_theory::did_you_mean;

use crate::names::shown;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// `true`, which it is anyway.
    strict: Option<bool>,
    #[serde(default)]
    rule: Vec<Row>,
}

/// One `[[rule]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    pattern: String,
    init: String,
    groups: Option<usize>,
    parts: Option<usize>,
    stride: Option<usize>,
    #[serde(default)]
    transposed: bool,
    #[serde(default)]
    embedding: bool,
    #[serde(default)]
    in_out: bool,
    #[serde(default)]
    batched: bool,
    learning_rate: Option<Rate>,
    layers: Option<usize>,
    essential: Option<String>,
}

/// By what a learning rate is multiplied: a number, or `BASE/fan_in`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Rate {
    Number(f64),
    Text(String),
}

/// Reads the rules of a file.
///
/// # Errors
/// Names the file and the rule.
pub fn read(path: &Path) -> Result<Vec<Rule>> {
    let reading = || format!("cannot read '{}'", path.display());
    let text = std::fs::read_to_string(path).with_context(reading)?;
    parse(&text).with_context(reading)
}

fn parse(text: &str) -> Result<Vec<Rule>> {
    let file: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
        let said = error.message().lines().next().unwrap_or_default();
        // Serde's words: unknown field `patern`, expected one of `pattern`, `init`, …
        let mut names = said.split('`').skip(1).step_by(2);
        let unknown = names.next().filter(|_| said.starts_with("unknown field"));
        let meant = unknown.map(|unknown| did_you_mean(unknown, names)).unwrap_or_default();
        anyhow::anyhow!("line {line}: {said}{meant}")
    })?;
    if file.strict == Some(false) {
        bail!("strict = false: no layer is here to say how a tensor starts that no rule names");
    }
    let rows = file.rule.into_iter().enumerate();
    rows.map(|(index, row)| row.rule().with_context(|| format!("rule {}", index + 1))).collect()
}

/// The rules as a file that reads back as the same ones.
///
/// # Errors
/// If a rule goes by its layer's hint.
pub fn printed(rules: &[Rule]) -> Result<String> {
    let mut text = String::new();
    for rule in rules {
        if !matches!(rule.action, Action::Draw(_) | Action::TorchBias) {
            bail!(
                "the rule '{}' goes by its layer's hint or a file's tensor, which rules cannot say",
                rule.pattern
            );
        }
        // What JSON writes between quotes, TOML reads.
        let quoted = |text: String| serde_json::to_string(&text);
        let pattern = quoted(rule.pattern.to_string())?;
        text += &format!("[[rule]]\npattern = {pattern}\ninit = {}\n", quoted(rule.action.to_string())?);
        text += &match rule.layout {
            WeightLayout::Plain => String::new(),
            WeightLayout::Convolution { groups } => format!("groups = {groups}\n"),
            WeightLayout::Transposed { groups, stride } => {
                format!("transposed = true\ngroups = {groups}\nstride = {stride}\n")
            }
            WeightLayout::Embedding => "embedding = true\n".into(),
            WeightLayout::Stacked { parts } => format!("parts = {parts}\n"),
            WeightLayout::Batched => "batched = true\n".into(),
            WeightLayout::BatchedInOut => "batched = true\nin_out = true\n".into(),
            WeightLayout::InOut => "in_out = true\n".into(),
        };
        if rule.learning_rate != LearningRate::Base {
            text += &format!("learning_rate = {}\n", quoted(rule.learning_rate.to_string())?);
        }
        if let Some(layers) = rule.layers {
            text += &format!("layers = {layers}\n");
        }
        if let Some(purpose) = rule.essential.clone() {
            text += &format!("essential = {}\n", quoted(purpose)?);
        }
        text += "\n";
    }
    Ok(text.trim_end().to_owned() + "\n")
}

/// Refuses tensors, given by their names and shapes, that no rule matches.
///
/// # Errors
/// Lists the tensors.
pub fn check<'a>(rules: &[Rule], tensors: impl IntoIterator<Item = (&'a str, &'a [usize])>) -> Result<()> {
    let is_named =
        |(name, shape): &(&str, &[usize])| rules.iter().any(|rule| rule.pattern.matches(name, shape));
    let nameless = tensors.into_iter().filter(|tensor| !is_named(tensor));
    let list: Vec<String> = nameless.map(|(name, shape)| format!("'{}' {shape:?}", shown(name))).collect();
    if !list.is_empty() {
        bail!(
            "no rule for {}: add one that matches to --rules (--print-rules prints a preset's as a file)",
            list.join(", ")
        );
    }
    Ok(())
}

impl Row {
    fn rule(self) -> Result<Rule> {
        let rule = match self.init.as_str() {
            "hint" => bail!("init = \"hint\": no layer is here to give one"),
            "torch.bias" => Rule::torch_bias(&self.pattern)?,
            spec => {
                let meant = did_you_mean(spec, ["torch.bias"]);
                let initializer = spec.parse::<Initializer>().map_err(|error| match error {
                    Error::UnknownInitializer { .. } if !meant.is_empty() => {
                        anyhow::anyhow!("unknown initializer '{}'{meant}", shown(spec))
                    }
                    error => error.into(),
                })?;
                Rule::draw(&self.pattern, initializer)?
            }
        };
        let layout = match (self.transposed, self.embedding, self.groups, self.parts, self.stride) {
            (false, false, None, None, None) if self.batched && self.in_out => WeightLayout::BatchedInOut,
            (false, false, None, None, None) if self.batched => WeightLayout::Batched,
            _ if self.batched => bail!("batched = true stands alone or with in_out"),
            (false, false, None, None, None) if self.in_out => WeightLayout::InOut,
            _ if self.in_out => {
                bail!("in_out = true stands without groups, parts, embedding, transposed and stride")
            }
            (false, false, None, None, None) => WeightLayout::Plain,
            (false, false, Some(groups), None, None) => WeightLayout::Convolution { groups },
            (true, false, groups, None, stride) => {
                WeightLayout::Transposed { groups: groups.unwrap_or(1), stride: stride.unwrap_or(1) }
            }
            (false, false, None, Some(parts), None) => WeightLayout::Stacked { parts },
            (false, true, None, None, None) => WeightLayout::Embedding,
            (false, _, _, _, Some(_)) => bail!("stride is that of transposed = true"),
            _ => {
                bail!("of groups, parts, embedding and transposed (with groups and stride) one can be given")
            }
        };
        if self.groups == Some(0) || self.parts == Some(0) || self.stride == Some(0) {
            bail!("groups, parts and stride are whole numbers from 1 on");
        }
        let rate = match self.learning_rate {
            None => LearningRate::Base,
            Some(Rate::Number(factor)) => factor.to_string().parse()?,
            Some(Rate::Text(text)) => text.parse()?,
        };
        let (layers, essential) = (self.layers, self.essential);
        Ok(Rule { layers, essential, ..rule.with_layout(layout).with_learning_rate(rate) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A test fails by panicking.
mod tests {
    use super::*;
    use wick_init::presets;

    #[test]
    fn what_is_printed_reads_back() {
        for name in presets::NAMES {
            let rules = presets::by_name(name, 3, 100.0).unwrap().unwrap();
            assert_eq!(parse(&printed(&rules).unwrap()).unwrap(), rules, "{name}");
        }
        let rule = || Rule::draw("\"a\\.* [*]", "icnr:factor=2".parse().unwrap()).unwrap();
        let rules = [
            rule().with_layout(WeightLayout::Convolution { groups: 4 }),
            rule().with_layout(WeightLayout::Transposed { groups: 2, stride: 3 }),
            rule().with_layout(WeightLayout::Batched),
            rule().with_layout(WeightLayout::BatchedInOut),
            rule().with_layout(WeightLayout::Embedding).with_learning_rate(LearningRate::Times(0.25)),
            rule().with_layout(WeightLayout::Stacked { parts: 3 }).with_layers(7),
            rule().with_layout(WeightLayout::InOut).with_essential("the \"projections\""),
        ];
        assert_eq!(parse(&printed(&rules).unwrap()).unwrap(), rules);
        assert!(printed(&[Rule::hint("**").unwrap()]).is_err());
    }

    #[test]
    fn errors_suggest_the_nearest_name() {
        for (text, said) in [
            ("patern = \"a\"", "unknown field `patern`"),
            ("patern = \"a\"", "(did you mean pattern?)"),
            ("pattern = \"a\"\ninit = \"torch.bais\"", "'torch.bais' (did you mean torch.bias?)"),
            (
                "pattern = \"a\"\ninit = \"zeros\"\nlearning_rate = \"256/fam\"",
                "cannot read the learning rate '256/fam': write a number from 0 on, or BASE/fan_in",
            ),
        ] {
            let error = format!("{:#}", parse(&format!("[[rule]]\n{text}\n")).unwrap_err());
            assert!(error.contains(said), "{error}");
        }
        let rate = parse("[[rule]]\npattern = \"a\"\ninit = \"zeros\"\nlearning_rate = \"256/fanin\"\n");
        assert_eq!(rate.unwrap()[0].learning_rate, LearningRate::InverseFanIn { base: 256.0 });
    }
}
