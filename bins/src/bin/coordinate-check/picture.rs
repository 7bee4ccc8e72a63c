//! The change of each layer's outputs against the size, a panel for each parametrization.

use anyhow::Result;
use wick_bins::picture::Picture;
use wick_bins::picture::chart::{Chart, Series, Shade};
use wick_train::{CoordinatePoint, Coordinates};

use crate::report::{Checked, CoordinateReport};

const HEIGHT: u32 = 440;
const PANEL: u32 = 560;

pub(crate) fn render(report: &CoordinateReport) -> Result<Picture> {
    let charts: Vec<Chart> = report.runs.iter().map(|run| chart(report, run)).collect();
    Picture::beside(&charts, (PANEL, HEIGHT))
}

fn chart(report: &CoordinateReport, run: &Checked) -> Chart {
    let e = &report.experiment;
    let (mut series, mut bands) = (Vec::new(), Vec::new());
    for (number, layer) in run.layers.iter().enumerate() {
        let exponent = layer.change.map_or("zero".to_owned(), |change| format!("{:.2}", change.exponent));
        let (mut line, mut band) = (Vec::new(), Vec::new());
        for size in &e.sizes {
            let Some((low, mean, high)) = changes(layer, *size) else { continue };
            let x = (*size as f64).log2();
            line.push((x, mean));
            band.push((x, low, high));
        }
        series.push(Series::new(format!("{}: {exponent}", layer.layer), number, line).with_markers());
        bands.push(Shade { number, points: band });
    }
    Chart {
        title: format!("{}, {} steps (exponent in the legend)", run.parametrization.name(), e.steps),
        x_label: format!("log₂ of the {}", e.over),
        y_label: "root mean square of the change".into(),
        log: true,
        series,
        bands,
    }
}

/// The least, the mean in logarithms and the largest change at a size, over the seeds; `None` where one is 0.
fn changes(layer: &Coordinates, size: usize) -> Option<(f64, f64, f64)> {
    let of_size = |point: &&CoordinatePoint| point.size == size;
    let changes: Vec<f64> = layer.points.iter().filter(of_size).map(|point| point.change).collect();
    if changes.is_empty() || changes.iter().any(|change| *change <= 0.0) {
        return None;
    }
    let mean = changes.iter().map(|change| change.ln()).sum::<f64>() / changes.len() as f64;
    let low = changes.iter().copied().fold(f64::INFINITY, f64::min);
    Some((low, mean.exp(), changes.iter().copied().fold(0.0, f64::max)))
}
