//! How weights start, as the options of a program say: by an initializer, by rules, or by a preset.

pub mod rules;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use wick_init::{InitMap, Rule, presets};
use wick_theory::{did_you_mean_or, read_number};

use crate::args::Spec;
use crate::cli::usage;
use crate::values::within;
use crate::warning::warn;

/// The options that say how weights start.
#[derive(Debug, Clone, Args)]
pub struct WeightOptions {
    /// How every tensor starts, `name` or `name:key=value,…` (an unknown name lists them)
    #[arg(long, value_name = "SPEC", conflicts_with_all = ["rules", "preset"])]
    pub init: Option<Spec>,
    /// Rules by name and shape, as TOML
    #[arg(long, value_name = "FILE.toml", conflicts_with = "preset")]
    pub rules: Option<PathBuf>,
    /// Rules of a library or a model: torch, keras, flax, gpt2, llama, vit-timm, … (an unknown name lists them)
    #[arg(long, value_name = "NAME")]
    pub preset: Option<String>,
    /// The model's depth, for gpt2, llama, olmo, neox, t-fixup, deepnorm, mamba and rwkv7, which go by it, and the
    /// residual blocks for fixup
    #[arg(long, value_name = "N", value_parser = within(1, 10_000))]
    pub layers: Option<u16>,
    /// The width at which the learning rate was tuned, for mup
    #[arg(long, value_name = "N", default_value_t = 256.0, value_parser = width)]
    pub base_width: f64,
}

impl WeightOptions {
    /// Refuses a depth that nothing goes by.
    ///
    /// # Errors
    /// A usage error.
    pub fn check(&self) -> Result<()> {
        let goes_by_depth = |name: &String| presets::needs_layers(known_preset(name).unwrap_or(name));
        if self.layers.is_some() && !self.preset.as_ref().is_some_and(goes_by_depth) {
            return Err(usage(format!(
                "--layers is the depth for --preset {}, and nothing else goes by it: leave it out",
                presets::BY_DEPTH.join(", ")
            )));
        }
        Ok(())
    }

    /// The rules of `--rules` or `--preset`; `None` without either. `depth` is the model's, where the program knows
    /// it, for a preset that goes by it and has no `--layers`.
    ///
    /// # Errors
    /// Names the file and the rule, or the preset; a usage error if a preset goes by a depth that is not known.
    pub fn named_rules(&self, depth: Option<usize>) -> Result<Option<Vec<Rule>>> {
        if let Some(path) = &self.rules {
            return rules::read(path).map(Some);
        }
        let Some(name) = self.preset.as_ref().map(|name| known_preset(name).unwrap_or(name)) else {
            return Ok(None);
        };
        let layers = match self.layers.map(usize::from).or(depth) {
            None if presets::needs_layers(name) => {
                return Err(usage(format!(
                    "--preset {name} goes by the model's depth: give it as --layers N"
                )));
            }
            layers => layers.unwrap_or_default(),
        };
        let rules = presets::by_name(name, layers, self.base_width).ok_or_else(|| {
            // Models that start as the library's layers do.
            let words = [
                ("bert", "torch"),
                ("vit", "vit-timm"),
                ("mitchell", "olmo"),
                ("torchtitan", "llama"),
                ("pytorch", "torch"),
                ("tensorflow", "keras"),
            ];
            let meant = did_you_mean_or(name, &words, presets::NAMES);
            usage(format!("unknown preset '{name}'{meant}; known: {}", presets::NAMES.join(", ")))
        })?;
        rules.context("a preset's own rules cannot be read").map(Some)
    }

    /// What of `--init`, `--rules` and `--preset` there is, as rules for all tensors.
    ///
    /// # Errors
    /// Those of [`named_rules`](Self::named_rules), and a usage error if there is none of the three.
    pub fn all_rules(&self) -> Result<Vec<Rule>> {
        match (&self.init, self.named_rules(None)?) {
            (Some(spec), _) => Ok(vec![Rule::draw("**", spec.initializer.clone())?]),
            (None, Some(rules)) => Ok(rules),
            _ => Err(usage("say how the tensors start: --init SPEC, --rules FILE or --preset NAME")),
        }
    }

    /// Says on stderr what the rules did not meet: all of the user's own, and what a preset needs.
    pub fn warn_of_unmatched(&self, map: &InitMap) {
        for pattern in map.unmatched_rules().into_iter().filter(|_| self.rules.is_some()) {
            warn(&format!("no tensor met the rule '{pattern}' first"));
        }
        let Some(preset) = &self.preset else { return };
        for purpose in map.unmatched_essentials() {
            warn(&format!(
                "no tensor met the rules of --preset {preset} for {purpose}; if the model has them under other \
                 names, name those in --rules (init-weights --print-rules prints the preset's)"
            ));
        }
    }
}

/// A width: finite and above 0.
fn width(text: &str) -> Result<f64, &'static str> {
    let width = read_number(text).filter(|width: &f64| width.is_finite() && *width > 0.0);
    width.ok_or("a width is a finite number above 0")
}

/// The preset of this name in any case, with or without hyphens.
fn known_preset(name: &str) -> Option<&'static str> {
    let letters = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
    presets::NAMES.into_iter().find(|known| letters(known) == letters(name))
}
