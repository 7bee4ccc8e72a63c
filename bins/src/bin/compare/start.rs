//! The starts of nets.

use std::str::FromStr;

use wick_init::{Error, InitMap, Initializer, Rule, presets};
use wick_theory::did_you_mean;

/// The width at which the learning rate of muP was tuned.
const BASE_WIDTH: f64 = 256.0;

/// How weights start, with the text that names it.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    /// The text as the user wrote it.
    pub(crate) text: String,
    how: How,
}

#[derive(Debug, Clone)]
enum How {
    Initializer(Initializer),
    Preset(String),
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let how = match text.split_once(':').filter(|(kind, _)| kind.eq_ignore_ascii_case("preset")) {
            Some((_, name)) => {
                let known = presets::NAMES.into_iter().find(|known| known.eq_ignore_ascii_case(name));
                let unknown = || {
                    let meant = did_you_mean(name, presets::NAMES);
                    format!("unknown preset '{name}'{meant}; known: {}", presets::NAMES.join(", "))
                };
                How::Preset(known.ok_or_else(unknown)?.to_owned())
            }
            None => How::Initializer(text.parse().map_err(|error: Error| error.to_string())?),
        };
        Ok(Self { text: text.to_owned(), how })
    }
}

impl Start {
    /// The weights of a net with this number of layers. Where an initializer draws them, biases are N(0, `bias_std`²).
    pub(crate) fn map(&self, seed: u64, layers: usize, bias_std: f64) -> anyhow::Result<InitMap> {
        let map = InitMap::new(seed);
        Ok(match &self.how {
            How::Initializer(initializer) => {
                let biases =
                    if bias_std > 0.0 { Initializer::normal(bias_std) } else { Initializer::zeros() };
                let rules = [Rule::draw("*.bias", biases)?];
                map.with_rules(rules).with_default_init(initializer.clone())
            }
            How::Preset(name) => match presets::by_name(name, layers, BASE_WIDTH) {
                Some(rules) => map.with_rules(rules?),
                None => map,
            },
        })
    }

    /// The initializer of all weights, if it is one.
    pub(crate) fn initializer(&self) -> Option<&Initializer> {
        match &self.how {
            How::Initializer(initializer) => Some(initializer),
            How::Preset(_) => None,
        }
    }
}
