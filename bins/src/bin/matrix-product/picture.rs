//! The length of a row against the number of factors, a line per trial, and what theory predicts.

use anyhow::Result;
use wick_bins::picture::Picture;
use wick_bins::picture::chart::{Chart, Series};
use wick_theory::write_number;

use crate::report::MatrixProduct;

/// More lines than this only make the picture black.
const MOST_LINES: usize = 200;

pub(crate) fn render(report: &MatrixProduct) -> Result<Picture> {
    let trials = report.trials.len().min(MOST_LINES);
    let opacity = (4.0 / trials as f64).clamp(0.12, 1.0);
    let lines = report.trials.iter().take(MOST_LINES).enumerate().map(|(number, trial)| {
        let label = if number == 0 { "the first row of the product" } else { "" };
        let points = trial.log10_row_norm.iter().enumerate().map(|(i, &y)| (i as f64, y));
        Series::new(label, 0, points).with_opacity(opacity)
    });
    let mut series: Vec<Series> = lines.collect();
    let predicted = &report.predicted;
    let line = |label: &str, values: &[f64]| {
        Series::new(label, 4, values.iter().enumerate().map(|(i, &y)| (i as f64, y)))
    };
    series.push(line("predicted", &predicted.log10_row_norm));
    series.push(line("95 % of the draws", &predicted.low).dashed());
    series.push(line("", &predicted.high).dashed());
    if report.overflow_at.is_some() {
        let limit = [(0.0, report.largest_log10), (report.factors as f64, report.largest_log10)];
        series.push(Series::new(format!("the largest {}", report.dtype), 1, limit).dashed());
    }
    let chart = Chart {
        title: format!(
            "A {n}×{n} matrix N(0, {sigma}²) times {factors} more, {trials}",
            n = report.n,
            sigma = write_number(report.sigma),
            factors = report.factors,
            trials = match report.trials.len() {
                1 => "1 trial".into(),
                all if all > trials => format!("{trials} of {all} trials"),
                all => format!("{all} trials"),
            }
        ),
        x_label: "factors".into(),
        y_label: "log10 of the length of the first row".into(),
        log: false,
        series,
        ..Chart::default()
    };
    Picture::render((760, 480), |area| chart.draw(area))
}
