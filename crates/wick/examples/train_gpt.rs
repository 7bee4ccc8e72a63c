//! Trains a small GPT on a text, character by character.
//!
//! `cargo run --release --example train_gpt -- [--text FILE] [--layers 2] [--width 64] [--context 64] [--steps 300]`

mod gpt;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Device, Module, Tensor};
use gpt::{Gpt, GptConfig};
use wick::layers;
use wick::train::data::{Batch, Dataset};
use wick::train::{Config, Error, Length};
use wick::{Activation, InitMap, Loss, Trainer, activate, presets};

const HEADS: usize = 4;

/// The windows of a text, each with the character behind every one of its own.
struct Text {
    tokens: Vec<u32>,
    context: usize,
}

impl Dataset for Text {
    fn len(&self) -> usize {
        self.tokens.len().saturating_sub(self.context)
    }

    fn batch(&self, starts: &[usize]) -> Result<Batch, Error> {
        let windows = |shift: usize| {
            let tokens = starts.iter().flat_map(|start| &self.tokens[start + shift..][..self.context]);
            Tensor::from_iter(tokens.copied(), &Device::Cpu)?.reshape((starts.len(), self.context))
        };
        Ok(Batch { input: windows(0)?, further: Vec::new(), targets: Some(windows(1)?) })
    }
}

/// The mean cross entropy of the next characters.
fn loss(net: &Gpt, tokens: &Tensor, next: &Tensor) -> candle_core::Result<Tensor> {
    Loss::CrossEntropy.forward(&net.forward(tokens)?, &next.flatten_all()?)
}

fn main() -> Result<()> {
    wick::limit_idle_spinning();
    wick::retain_freed_memory();
    let given = match options() {
        Ok(given) => given,
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(2);
        }
    };
    let number = |name: &str, default: usize| given.get(name).map_or(Ok(default), |text| text.parse());
    let (width, context) = (number("width", 64)?, number("context", 64)?);
    let (layers, steps) = (number("layers", 2)?, number("steps", 300)?);
    let path = given.get("text").map_or("docs/training.md", String::as_str);
    let text = std::fs::read_to_string(path).context(format!("{path}: name a text by --text"))?;
    let characters: Vec<char> = text.chars().collect::<BTreeSet<_>>().into_iter().collect();
    let token = |character: char| characters.binary_search(&character).unwrap_or_default() as u32;
    let tokens: Vec<u32> = text.chars().map(token).collect();
    ensure!(
        tokens.len() > 20 * context,
        "{path} has {} characters, and {} are needed",
        tokens.len(),
        20 * context
    );

    // The end of the text is not trained on.
    let (training, rest) = tokens.split_at(tokens.len() * 9 / 10);
    let (training, rest) =
        (Text { tokens: training.to_vec(), context }, Text { tokens: rest.to_vec(), context });
    let config = GptConfig { vocabulary: characters.len(), context, layers, heads: HEADS, width };
    let map = InitMap::new(42).with_rules(presets::gpt2(layers)?);
    let net = Gpt::new(&config, map.var_builder(DType::F32, &Device::Cpu))?;
    let tested = || {
        let batch = rest.batch(&(0..rest.len()).step_by(context).collect::<Vec<_>>())?;
        let targets = batch.targets.context("no targets")?;
        anyhow::Ok(loss(&net, &batch.input, &targets)?.to_scalar::<f32>()?)
    };

    let before = tested()?;
    let settings = Config {
        batch: 16,
        length: Length::Steps(steps as u64),
        optimizer: "adamw:lr=0.002".parse()?,
        ..Config::default()
    };
    let outcome =
        Trainer::new(&map, settings)?.fit(&training, |step| loss(&net, step.input(), step.targets()?))?;
    let after = tested()?;
    let speed = steps as f64 * (16 * context) as f64 / outcome.seconds;
    println!("{} steps in {:.1} s, {speed:.0} characters a second", outcome.steps, outcome.seconds);
    println!("loss of text that was not trained on: {before:.3}, then {after:.3} (nats a character)");

    // The most probable characters behind a beginning.
    let mut line: Vec<u32> = "The trainer ".chars().map(token).collect();
    for _ in 0..60 {
        let seen = &line[line.len().saturating_sub(context)..];
        let logits = net.forward(&Tensor::new(seen, &Device::Cpu)?.unsqueeze(0)?)?;
        line.push(logits.get(seen.len() - 1)?.argmax(0)?.to_scalar()?);
    }
    println!("{}", line.iter().map(|token| characters[*token as usize]).collect::<String>().escape_debug());
    ensure!(
        steps < 300 || after < 0.85 * before,
        "the loss was {before}, and is {after}: it should have fallen more"
    );
    Ok(())
}

/// The options by their names.
fn options() -> Result<BTreeMap<String, String>> {
    let mut options = BTreeMap::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let name = argument.strip_prefix("--").unwrap_or_default().to_owned();
        if !["text", "layers", "width", "context", "steps"].contains(&name.as_str()) {
            bail!("'{argument}' is no option: use --text, --layers, --width, --context or --steps");
        }
        let value = arguments.next().with_context(|| format!("--{name} takes a value"))?;
        if name != "text" && !value.parse::<usize>().is_ok_and(|number| number > 0) {
            bail!("--{name} takes a whole number above 0, not '{value}'");
        }
        if name == "width" && value.parse::<usize>().is_ok_and(|width| width % HEADS != 0) {
            bail!("--width takes a multiple of {HEADS}, the heads, not {value}");
        }
        options.insert(name, value);
    }
    Ok(options)
}
