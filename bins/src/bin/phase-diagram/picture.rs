//! Two pictures of the plane: the depth to which two inputs can be told apart, and the depth that a gradient
//! reaches, with the measured nets as circles.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use rayon::prelude::*;
use wick_bins::picture::style::{GREY, grey_text, text};
use wick_bins::picture::{Area, Picture, cannot_draw};
use wick_bins::progress;

use crate::plane::{Both, Predicted, predicted};
use crate::report::PhaseDiagram;

const SIZE: (u32, u32) = (1040, 520);
const TOP: i32 = 44;
/// The width of the colour scale on the right.
const SCALE: i32 = 92;
/// The number of coloured cells along each side of the plane.
const FINE: [usize; 2] = [72, 54];
/// The colours cover depth scales from one layer to a hundred.
const SHALLOWEST: f64 = 1.0;
const DEEPEST: f64 = 100.0;

pub(crate) fn render(report: &PhaseDiagram) -> Result<Picture> {
    let e = &report.experiment;
    let phi = e.phi()?;
    let [columns, rows] = FINE;
    let on = |[low, high]: [f64; 2], index: usize, of: usize| {
        low + (high - low) * (index as f64 + 0.5) / of as f64
    };
    let bar = progress::bar(rows * columns, "picture");
    let at = |index: usize| {
        bar.inc(1);
        let (w, b) = (index % columns, index / columns);
        predicted(phi, [on(e.sigma_w, w, columns), on(e.sigma_b, b, rows)])
    };
    let plane: Vec<Option<Predicted>> = (0..rows * columns).into_par_iter().map(at).collect();
    bar.finish_and_clear();
    Picture::render(SIZE, |area| {
        let title = format!("Order and chaos in {} nets", e.activation);
        area.draw_text(&title, &text(18), (12, 10)).map_err(cannot_draw)?;
        let (_, body) = area.split_vertically(TOP);
        let (plots, scale) = body.split_horizontally(SIZE.0 as i32 - SCALE);
        let (left, right) = plots.split_horizontally((SIZE.0 as i32 - SCALE) / 2);
        let by_c = |p: &Predicted| p.xi_c;
        panel(&left, "ξ_c: how deep two inputs can be told apart", report, &plane, by_c, false)?;
        let by_gradient = |p: &Predicted| p.xi_grad;
        let title =
            format!("ξ_∇: how deep gradients get; in circles, nets of {} × {} as measured", e.depth, e.width);
        panel(&right, &title, report, &plane, by_gradient, true)?;
        legend(&scale, report, &plane)
    })
}

fn panel(
    area: &Area,
    title: &str,
    report: &PhaseDiagram,
    plane: &[Option<Predicted>],
    of: impl Fn(&Predicted) -> Option<f64>,
    measured: bool,
) -> Result<()> {
    let e = &report.experiment;
    let ([w0, w1], [b0, b1]) = (e.sigma_w, e.sigma_b);
    area.draw_text(title, &text(14), (12, 2)).map_err(cannot_draw)?;
    let (_, body) = area.split_vertically(22);
    // The margin keeps the circles at the edges whole.
    let (dw, db) = (0.02 * (w1 - w0), 0.02 * (b1 - b0));
    let mut chart = ChartBuilder::on(&body)
        .margin(8)
        .x_label_area_size(42)
        .y_label_area_size(56)
        .build_cartesian_2d(w0 - dw..w1 + dw, b0 - db..b1 + db)
        .map_err(cannot_draw)?;
    chart
        .configure_mesh()
        .disable_mesh()
        .axis_style(GREY)
        .x_desc("σ_w")
        .y_desc("σ_b")
        .axis_desc_style(text(14))
        .label_style(grey_text(12))
        .x_labels(6)
        .y_labels(6)
        .draw()
        .map_err(cannot_draw)?;
    let [columns, rows] = FINE;
    let edge = |low: f64, high: f64, index: usize, of: usize| low + (high - low) * index as f64 / of as f64;
    let squares = plane.iter().enumerate().map(|(index, at)| {
        let (w, b) = (index % columns, index / columns);
        // Each rectangle extends under the next ones, so that no seam is visible.
        let corners = [
            (edge(w0, w1, w, columns), edge(b0, b1, b, rows)),
            (edge(w0, w1, (w + 2).min(columns), columns), edge(b0, b1, (b + 2).min(rows), rows)),
        ];
        Rectangle::new(corners, fill(at.as_ref().map(&of)).filled())
    });
    chart.draw_series(squares).map_err(cannot_draw)?;
    if measured {
        let radius = radius(e.grid, chart.plotting_area().dim_in_pixel());
        let circles = report.cells.iter().flat_map(|Both { cell, .. }| {
            let depth = cell.measured.chi_1.map(|chi| Some(1.0 / chi.ln().abs()));
            let at = (cell.sigma_w, cell.sigma_b);
            [Circle::new(at, radius + 1, WHITE.filled()), Circle::new(at, radius, fill(depth).filled())]
        });
        chart.draw_series(circles).map_err(cannot_draw)?;
    }
    let line = critical(report);
    if let [point] = line[..] {
        let rings = [(7, WHITE.filled()), (6, BLACK.filled()), (4, WHITE.filled())];
        chart.draw_series(rings.map(|(size, style)| Circle::new(point, size, style))).map_err(cannot_draw)?;
        return Ok(());
    }
    chart.draw_series([PathElement::new(line.clone(), WHITE.stroke_width(5))]).map_err(cannot_draw)?;
    chart.draw_series([PathElement::new(line, BLACK.stroke_width(2))]).map_err(cannot_draw)?;
    Ok(())
}

/// Returns the part of the critical line that is in the plane.
fn critical(report: &PhaseDiagram) -> Vec<(f64, f64)> {
    let [low, high] = report.experiment.sigma_w;
    let points = report.critical.iter().map(|point| (point.sigma_w, point.sigma_b));
    points.filter(|(sigma_w, _)| (low..=high).contains(sigma_w)).collect()
}

/// Returns the radius of circles that do not touch, on any grid.
fn radius(grid: [usize; 2], (width, height): (u32, u32)) -> i32 {
    let spacing = (width as usize / grid[0]).min(height as usize / grid[1]);
    (spacing as i32 / 3).clamp(1, 6)
}

/// Returns the colour of a depth: grey if the lengths have no fixed point, and the deepest if the scale is
/// infinite.
fn fill(depth: Option<Option<f64>>) -> RGBColor {
    match depth {
        None => RGBColor(200, 200, 200),
        Some(depth) => {
            let depth = depth.unwrap_or(DEEPEST).clamp(SHALLOWEST, DEEPEST);
            along((depth / SHALLOWEST).ln() / (DEEPEST / SHALLOWEST).ln())
        }
    }
}

/// Returns the colour of a fraction, from dark blue over grey to yellow. The lightness is uniform, for any
/// colour vision.
fn along(fraction: f64) -> RGBColor {
    const STOPS: [[f64; 3]; 6] = [
        [0.0, 32.0, 76.0],
        [49.0, 68.0, 107.0],
        [102.0, 105.0, 112.0],
        [149.0, 143.0, 120.0],
        [203.0, 186.0, 105.0],
        [255.0, 233.0, 69.0],
    ];
    let position = fraction.clamp(0.0, 1.0) * (STOPS.len() - 1) as f64;
    let left = (position as usize).min(STOPS.len() - 2);
    let t = position - left as f64;
    let mix = |i: usize| (STOPS[left][i] + t * (STOPS[left + 1][i] - STOPS[left][i])).round() as u8;
    RGBColor(mix(0), mix(1), mix(2))
}

/// Draws the colours with their depths, and the other signs of the plane.
fn legend(area: &Area, report: &PhaseDiagram, plane: &[Option<Predicted>]) -> Result<()> {
    const HEIGHT: i32 = 280;
    const ABOVE: i32 = 62;
    let label = |text: &str, y: i32| {
        let style = grey_text(12).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw_text(text, &style, (30, y)).map_err(cannot_draw)
    };
    area.draw_text("layers", &text(13), (6, ABOVE - 30)).map_err(cannot_draw)?;
    for y in 0..HEIGHT {
        let style = along(1.0 - f64::from(y) / f64::from(HEIGHT)).filled();
        area.draw(&Rectangle::new([(6, ABOVE + y), (24, ABOVE + HEIGHT)], style)).map_err(cannot_draw)?;
    }
    for depth in [1.0, 3.0, 10.0, 30.0, 100.0] {
        let fraction = f64::ln(depth / SHALLOWEST) / f64::ln(DEEPEST / SHALLOWEST);
        let more = if depth == DEEPEST { "+" } else { "" };
        label(&format!("{depth}{more}"), ABOVE + ((1.0 - fraction) * f64::from(HEIGHT)) as i32)?;
    }
    let mut y = ABOVE + HEIGHT + 28;
    match critical(report)[..] {
        [] => {}
        [_] => {
            for (size, style) in [(6, BLACK.filled()), (4, WHITE.filled())] {
                area.draw(&Circle::new((15, y), size, style)).map_err(cannot_draw)?;
            }
            label("critical", y)?;
            y += 30;
        }
        _ => {
            area.draw(&PathElement::new([(6, y), (24, y)], BLACK.stroke_width(2))).map_err(cannot_draw)?;
            label("critical", y)?;
            y += 30;
        }
    }
    let grey = plane.iter().any(Option::is_none)
        || report.cells.iter().any(|both| both.cell.measured.chi_1.is_none());
    if grey {
        area.draw(&Rectangle::new([(6, y - 7), (24, y + 7)], fill(None).filled())).map_err(cannot_draw)?;
        label("without", y - 8)?;
        label("bound", y + 8)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_do_not_touch() {
        assert_eq!(radius([16, 11], (400, 390)), 6);
        assert_eq!(radius([40, 30], (400, 390)), 3);
        assert_eq!(radius([1000, 1000], (400, 390)), 1);
    }
}
