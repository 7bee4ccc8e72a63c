//! A row of histograms per run; beside them, outputs and gradients against depth.

use std::path::Path;

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use wick_bins::output::short;
use wick_bins::picture::chart::{Chart, Series, Shade};
use wick_bins::picture::style::{COLOURS, GREY, colour, grey_text, text};
use wick_bins::picture::{Area, Picture, cannot_draw};
use wick_probe::text::{distinct, significant};

use crate::report::{Layer, LayerStats, Predicted, Run};

const PANEL: (i32, i32) = (112, 170);
const CHARTS: i32 = 480;
const TOP: i32 = 40;
const LEFT: i32 = 12;
/// Of more layers than these, evenly spaced ones are shown, with the first and the last.
const MOST_PANELS: usize = 10;

/// Of more runs than these, the first are drawn: as many as there are colours.
const MOST_RUNS: usize = COLOURS.len();

pub(crate) fn render(report: &LayerStats) -> Result<Picture> {
    let drawn = &report.runs[..report.runs.len().min(MOST_RUNS)];
    let shown = shown_layers(report.runs[0].layers.len());
    let histograms = LEFT + PANEL.0 * (shown.len().max(5) as i32);
    let rows = (PANEL.1 * drawn.len() as i32).max(3 * PANEL.1);
    let size = ((histograms + CHARTS) as u32, (TOP + rows + 10) as u32);
    Picture::render(size, |area| {
        let e = &report.experiment;
        let title = format!(
            "What each of {} {} layers puts out: {}×{} {} input{}",
            report.runs[0].layers.len(),
            e.activation,
            e.samples,
            e.features,
            name_of(&e.data),
            if drawn.len() < report.runs.len() {
                format!("; {} of {} runs", drawn.len(), report.runs.len())
            } else {
                String::new()
            }
        );
        area.draw_text(&title, &text(18), (LEFT, 10)).map_err(cannot_draw)?;
        let (left, right) = area.split_horizontally(histograms);
        let (_, left) = left.split_vertically(TOP);
        for (number, run) in drawn.iter().enumerate() {
            let top = PANEL.1 * number as i32;
            row(&left, run, number, &shown, top)?;
        }
        let (upper, lower) = right.split_vertically((TOP + rows) / 2);
        let runs = || drawn.iter().enumerate();
        let against_depth = |value: fn(&Layer) -> f64| {
            runs()
                .map(|(number, run)| {
                    let points = run.layers.iter().enumerate().map(|(i, layer)| (i as f64, value(layer)));
                    let line = Series::new(run.init.as_str(), number, points);
                    // Many markers would merge into one thick line.
                    if run.layers.len() <= 30 { line.with_markers() } else { line }
                })
                .collect()
        };
        // The predicted band is under the line.
        let predicted = |of: fn(&Predicted) -> (f64, f64)| {
            runs()
                .map(|(number, run)| {
                    let bands = run.layers.iter().enumerate();
                    let points = bands.filter_map(|(i, layer)| layer.predicted.map(|p| (i as f64, of(&p))));
                    Shade { number, points: points.map(|(x, (low, high))| (x, low, high)).collect() }
                })
                .collect()
        };
        let chart = |title: &str, y_label: &str, series, bands| Chart {
            title: title.into(),
            x_label: "layer".into(),
            y_label: y_label.into(),
            log: true,
            series,
            bands,
        };
        let outputs = against_depth(|layer| layer.forward.std);
        let title = "Outputs against depth, on the predicted 95 % bands";
        chart(title, "std of the output", outputs, predicted(|p| (p.std_low, p.std_high))).draw(&upper)?;
        let gradients = against_depth(|layer| layer.backward.rms);
        let title = "Gradients against depth, on the predicted 95 % bands";
        let bands = predicted(|p| (p.backward_low, p.backward_high));
        chart(title, "rms of the gradient", gradients, bands).draw(&lower)
    })
}

/// Draws one run: its name, and a histogram for each layer shown.
fn row(area: &Area, run: &Run, number: usize, shown: &[usize], top: i32) -> Result<()> {
    area.draw_text(&run.init, &text(15), (LEFT, top)).map_err(cannot_draw)?;
    for (column, &index) in shown.iter().enumerate() {
        histogram(area, &run.layers[index], number, (LEFT + PANEL.0 * column as i32, top + 20))?;
    }
    Ok(())
}

/// Draws one histogram, scaled to its tallest bin, with the layer above and the range below.
fn histogram(area: &Area, layer: &Layer, number: usize, (x, y): (i32, i32)) -> Result<()> {
    const WIDTH: i32 = PANEL.0 - 14;
    const HEIGHT: i32 = 86;
    let bins = &layer.forward.histogram;
    let base = y + 34 + HEIGHT;
    let middle = |text: TextStyle<'static>| text.pos(Pos::new(HPos::Center, VPos::Top));
    let centre = x + WIDTH / 2;
    area.draw_text(&layer.name, &middle(text(12)), (centre, y)).map_err(cannot_draw)?;
    let std = format!("σ {}", short(layer.forward.std));
    area.draw_text(&std, &middle(grey_text(12)), (centre, y + 15)).map_err(cannot_draw)?;

    let tallest = bins.counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let edge = |bin: usize| x + (bin as i32 * WIDTH) / bins.counts.len() as i32;
    for (bin, &count) in bins.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        // A bin that is not empty is at least a pixel high.
        let height = ((count as f64 / tallest) * f64::from(HEIGHT)).ceil() as i32;
        let bar = Rectangle::new(
            [(edge(bin), base - height), (edge(bin + 1).max(edge(bin) + 1), base)],
            colour(number).filled(),
        );
        area.draw(&bar).map_err(cannot_draw)?;
    }
    area.draw(&PathElement::new([(x, base), (x + WIDTH, base)], GREY)).map_err(cannot_draw)?;
    let below = |text: &str, at: HPos, x: i32| {
        area.draw_text(text, &grey_text(11).pos(Pos::new(at, VPos::Top)), (x, base + 4)).map_err(cannot_draw)
    };
    let [low, high] = edge_texts([bins.low, bins.high]);
    below(&low, HPos::Left, x)?;
    below(&high, HPos::Right, x + WIDTH)
}

/// Returns the name of a file without its folders, cut to the length of a title.
fn name_of(data: &str) -> String {
    const MOST: usize = 40;
    let name = Path::new(data).file_name().and_then(|name| name.to_str()).unwrap_or(data);
    if name.chars().count() <= MOST {
        return name.to_owned();
    }
    name.chars().take(MOST).chain(['…']).collect()
}

/// Returns the ends of an axis with two digits, or with as many as tell them apart.
fn edge_texts(ends: [f64; 2]) -> [String; 2] {
    distinct(
        ends,
        2,
        |x, digits| {
            if x == x.round() && x.abs() < 1e4 { format!("{x}") } else { significant(x, digits) }
        },
    )
}

fn shown_layers(count: usize) -> Vec<usize> {
    if count <= MOST_PANELS {
        return (0..count).collect();
    }
    (0..MOST_PANELS).map(|i| i * (count - 1) / (MOST_PANELS - 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_short() {
        assert_eq!(name_of("a/long/way/to/digits.csv"), "digits.csv");
        assert_eq!(name_of("normal"), "normal");
        assert_eq!(name_of(&"x".repeat(60)).chars().count(), 41);
        for (ends, texts) in [
            ([-1.0, 0.987], ["-1", "0.99"]),
            ([-3.21, 12.7], ["-3.2", "13"]),
            ([0.0456, 1.2e-5], ["0.046", "1.2e-5"]),
            ([0.98712, 0.98746], ["0.9871", "0.9875"]),
        ] {
            assert_eq!(edge_texts(ends), texts);
        }
    }
}
