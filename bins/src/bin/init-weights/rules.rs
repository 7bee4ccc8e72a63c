//! Rules from a TOML file.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use wick_init::{InitMap, Initializer, Layout, Rule};

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    strict: bool,
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
}

/// The rules of a file.
#[derive(Debug)]
pub(crate) struct Rules {
    strict: bool,
    rules: Vec<Rule>,
}

impl Rules {
    pub(crate) fn apply(self, map: InitMap) -> InitMap {
        let map = map.with_rules(self.rules);
        if self.strict { map.strict() } else { map }
    }
}

/// Reads the rules; an error names the file and the rule.
pub(crate) fn read(path: &Path) -> Result<Rules> {
    let reading = || format!("cannot read '{}'", path.display());
    let text = std::fs::read_to_string(path).with_context(reading)?;
    let file: File = toml::from_str(&text)
        .map_err(|error| {
            let line = error.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
            anyhow::anyhow!("line {line}: {}", error.message().lines().next().unwrap_or_default())
        })
        .with_context(reading)?;
    let rules =
        file.rule.into_iter().enumerate().map(|(index, row)| {
            rule(row).with_context(|| format!("rule {}", index + 1)).with_context(reading)
        });
    Ok(Rules { strict: file.strict, rules: rules.collect::<Result<_>>()? })
}

fn rule(row: Row) -> Result<Rule> {
    let rule = match row.init.as_str() {
        "hint" => Rule::hint(&row.pattern)?,
        "torch.bias" => Rule::torch_bias(&row.pattern)?,
        spec => Rule::draw(&row.pattern, spec.parse::<Initializer>()?)?,
    };
    let layout = match (row.transposed, row.embedding, row.groups, row.parts, row.stride) {
        (false, false, None, None, None) => Layout::Plain,
        (false, false, Some(groups), None, None) => Layout::Convolution { groups },
        (true, false, groups, None, stride) => {
            Layout::Transposed { groups: groups.unwrap_or(1), stride: stride.unwrap_or(1) }
        }
        (false, false, None, Some(parts), None) => Layout::Stacked { parts },
        (false, true, None, None, None) => Layout::Embedding,
        _ => bail!("of groups, parts, embedding and transposed (with stride) one can be given"),
    };
    Ok(rule.with_layout(layout))
}
