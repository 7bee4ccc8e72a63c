//! The picture of the benchmark: Wick's time over each peer's, as bars. The program reads the JSON of
//! `benches/run.py --json` from stdin and writes `performance.svg` and `.png` into a folder.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde::Deserialize;
use wick_bins::cli;
use wick_bins::picture::style::{GREY, LIGHT, colour, grey_text, text};
use wick_bins::picture::{Area, Picture, cannot_draw};

/// Draws the ratios of a benchmark: `python benches/run.py --json | bars --out assets/pictures`.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The folder of the picture
    #[arg(long, value_name = "FOLDER", default_value = "out")]
    out: PathBuf,
}

/// The result of the benchmark.
#[derive(Debug, Deserialize)]
struct Measured {
    median_ms: BTreeMap<String, f64>,
    peers: Vec<String>,
    cores: usize,
    rounds: usize,
}

/// The jobs that are drawn: Wick's, the peers', and the label.
const JOBS: [(&str, &str, &str); 9] = [
    ("forward_statistics", "forward", "forward (ours with statistics)"),
    ("training", "training", "forward and backward"),
    ("training_adamw", "training_adamw", "the same and AdamW"),
    ("product", "product", "one product, 2000×800×750"),
    ("tanh", "tanh", "tanh of 1.5 M"),
    ("adamw", "adamw", "AdamW over 3.2 M"),
    ("sgd", "sgd", "SGD with momentum over 3.2 M"),
    ("batch_32", "batch_32", "forward of 32 samples"),
    ("batch_1", "batch_1", "forward of one sample"),
];
const PEERS: [(&str, &str); 3] = [("candle", "candle 0.11"), ("jax", "JAX"), ("torch", "PyTorch")];

/// The end of the scale. Longer bars are cut, and their label has the ratio.
const LARGEST: f64 = 1.6;
const SIZE: (u32, u32) = (900, 640);
const LEFT: i32 = 260;
const TOP: i32 = 70;
const ROW: i32 = 58;
const BAR: i32 = 14;

fn main() -> ExitCode {
    cli::run(bars)
}

fn bars(args: Args) -> Result<()> {
    let measured: Measured = serde_json::from_reader(std::io::stdin().lock())
        .context("stdin is not the JSON of benches/run.py")?;
    Picture::render(SIZE, |area| draw(area, &measured))?.save(&args.out, "performance")
}

fn draw(area: &Area, measured: &Measured) -> Result<()> {
    let width = f64::from(SIZE.0 as i32 - LEFT - 70);
    let at = |ratio: f64| LEFT + (ratio / LARGEST * width) as i32;
    let bottom = TOP + JOBS.len() as i32 * ROW;
    let centre = |size| text(size).pos(Pos::new(HPos::Center, VPos::Top));
    area.draw(&Text::new("Wick's time over its peers' (shorter is faster)", (LEFT, 10), text(18)))
        .map_err(cannot_draw)?;
    for (number, (_, name)) in PEERS.iter().enumerate() {
        let x = LEFT + 130 * number as i32;
        area.draw(&Rectangle::new([(x, 42), (x + 12, 54)], colour(number).filled())).map_err(cannot_draw)?;
        area.draw(&Text::new(format!("over {name}"), (x + 18, 41), text(13))).map_err(cannot_draw)?;
    }
    for step in 0..=(LARGEST / 0.2).round() as i32 {
        let ratio = f64::from(step) * 0.2;
        let line = if step == 5 { GREY.stroke_width(2) } else { LIGHT.stroke_width(1) };
        let x = at(ratio);
        area.draw(&PathElement::new([(x, TOP - 6), (x, bottom)], line)).map_err(cannot_draw)?;
        let label = if step % 5 == 0 { format!("{ratio:.0}") } else { format!("{ratio:.1}") };
        area.draw(&Text::new(label, (x, bottom + 6), centre(13))).map_err(cannot_draw)?;
    }
    for (row, (ours, theirs, name)) in JOBS.iter().enumerate() {
        let y = TOP + row as i32 * ROW;
        let right = text(14).pos(Pos::new(HPos::Right, VPos::Center));
        area.draw(&Text::new(*name, (LEFT - 10, y + ROW / 2 - 4), right)).map_err(cannot_draw)?;
        let Some(own) = measured.median_ms.get(&format!("wick {ours}")) else { continue };
        for (number, (peer, _)) in PEERS.iter().enumerate() {
            let Some(other) = measured.median_ms.get(&format!("{peer} {theirs}")) else { continue };
            let (ratio, y) = (own / other, y + number as i32 * (BAR + 2));
            let end = at(ratio.min(LARGEST));
            area.draw(&Rectangle::new([(LEFT, y), (end, y + BAR)], colour(number).filled()))
                .map_err(cannot_draw)?;
            // A white box keeps the line at 1 from crossing the label.
            area.draw(&Rectangle::new([(end + 3, y), (end + 34, y + BAR)], WHITE.filled()))
                .map_err(cannot_draw)?;
            let beside = grey_text(12).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw(&Text::new(format!("{ratio:.2}"), (end + 5, y + BAR / 2 + 1), beside))
                .map_err(cannot_draw)?;
        }
    }
    let note = format!(
        "medians of {} interleaved rounds, {} cores, f32; {}",
        measured.rounds,
        measured.cores,
        measured.peers.join(", ")
    );
    area.draw(&Text::new(note, (LEFT, bottom + 28), grey_text(12))).map_err(cannot_draw)?;
    Ok(())
}
