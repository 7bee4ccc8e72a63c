//! Values as solid lines, gradients as dashed ones.

use anyhow::Result;
use wick_bins::picture::Picture;
use wick_bins::picture::chart::{Chart, Series};

use crate::report::ActivationGradient;

pub(crate) fn render(report: &ActivationGradient) -> Result<Picture> {
    let series = report.curves.iter().enumerate().flat_map(|(number, curve)| {
        let points = |ys: &[f64]| curve.x.iter().copied().zip(ys.iter().copied()).collect::<Vec<_>>();
        let name = curve.activation;
        [
            Series::new(name.to_string(), number, points(&curve.value)),
            Series::new(format!("gradient of {name}"), number, points(&curve.gradient)).dashed(),
        ]
    });
    let chart = Chart {
        title: "Activations and their gradients".into(),
        x_label: "x".into(),
        y_label: "φ(x) and φ′(x)".into(),
        log: false,
        series: series.collect(),
        ..Chart::default()
    };
    Picture::render((760, 480), |area| chart.draw(area))
}
