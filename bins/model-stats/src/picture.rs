//! A bar for each layer: the std of what it puts out, in the colour of its state.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use wick_bins::output::short;
use wick_bins::picture::style::{GREY, LIGHT, colour, grey_text, text};
use wick_bins::picture::{Area, Picture, cannot_draw};

use crate::layers::{Layer, State};
use crate::report::ModelStats;

const ROW: i32 = 16;
const TOP: i32 = 76;
/// The width of the names, of the bars, and of the numbers behind them.
const PARTS: (i32, i32, i32) = (440, 480, 80);
/// Of more layers than these, evenly spaced ones are drawn, with the first and the last.
const MOST_ROWS: usize = 160;
const STATES: [State; 3] = [State::Seen, State::InputCut, State::NotReached];

pub(crate) fn render(report: &ModelStats) -> Result<Picture> {
    let shown = shown(report.layers.len());
    let size = (PARTS.0 + PARTS.1 + PARTS.2, TOP + ROW * shown.len().max(1) as i32 + 40);
    Picture::render((size.0 as u32, size.1 as u32), |area| {
        let put = |line: &str, style: &TextStyle, at| area.draw_text(line, style, at).map_err(cannot_draw);
        let title = match shown.len() < report.layers.len() {
            true => {
                format!("{} of {} layers of {}", shown.len(), report.layers.len(), report.experiment.model)
            }
            false => format!("The {} layers of {}: std of the outputs", shown.len(), report.experiment.model),
        };
        put(&title, &text(18), (12, 8))?;
        let mut x = 12;
        for state in STATES {
            area.draw(&Rectangle::new([(x, 40), (x + 14, 50)], fill(state))).map_err(cannot_draw)?;
            let label = format!("{} ({})", state.words(), report.count(state));
            put(&label, &text(13), (x + 20, 38))?;
            x += 180;
        }
        let scale = Scale::of(shown.iter().map(|index| &report.layers[*index]));
        let bottom = TOP + ROW * shown.len() as i32;
        for power in scale.powers() {
            let x = scale.place(f64::from(power));
            area.draw(&PathElement::new([(x, TOP - 4), (x, bottom)], LIGHT)).map_err(cannot_draw)?;
            let label = if (-3..=3).contains(&power) {
                format!("{}", 10f64.powi(power))
            } else {
                format!("1e{power}")
            };
            put(&label, &grey_text(12).pos(Pos::new(HPos::Center, VPos::Top)), (x, bottom + 6))?;
        }
        for (row, index) in shown.iter().enumerate() {
            bar(area, &report.layers[*index], TOP + ROW * row as i32, &scale)?;
        }
        Ok(())
    })
}

/// A layer's name, its bar, and its std.
fn bar(area: &Area, layer: &Layer, y: i32, scale: &Scale) -> Result<()> {
    let at_middle = |style: TextStyle<'static>, side| style.pos(Pos::new(side, VPos::Center));
    let middle = y + ROW / 2;
    let name = short_name(layer);
    area.draw_text(&name, &at_middle(text(12), HPos::Right), (PARTS.0 - 8, middle)).map_err(cannot_draw)?;
    let (end, label) = match layer.std {
        // A layer without a std has a short bar, which shows its state.
        None => (PARTS.0 + 6, String::new()),
        Some(std) if std > 0.0 && std.is_finite() => (scale.place(std.log10()).max(PARTS.0 + 2), short(std)),
        Some(std) => (PARTS.0 + 2, if std == 0.0 { "0".into() } else { "not finite".into() }),
    };
    let of_bar = Rectangle::new([(PARTS.0, y + 2), (end, y + ROW - 2)], fill(layer.state));
    area.draw(&of_bar).map_err(cannot_draw)?;
    area.draw(&PathElement::new([(PARTS.0, y), (PARTS.0, y + ROW)], GREY)).map_err(cannot_draw)?;
    area.draw_text(&label, &at_middle(grey_text(11), HPos::Left), (end + 6, middle)).map_err(cannot_draw)
}

fn fill(state: State) -> ShapeStyle {
    match state {
        State::Seen => colour(0).filled(),
        State::InputCut => colour(1).filled(),
        State::NotReached => RGBColor(170, 170, 170).filled(),
    }
}

/// The name, with the end of a long one.
fn short_name(layer: &Layer) -> String {
    const MOST: usize = 52;
    let stale = if layer.stale { " (stale)" } else { "" };
    let call = if layer.call > 0 { format!(" (call {})", layer.call + 1) } else { String::new() };
    let name = format!("{}{call}{stale}", layer.name);
    match name.chars().count().checked_sub(MOST) {
        None | Some(0) => name,
        Some(more) => std::iter::once('…').chain(name.chars().skip(more + 1)).collect(),
    }
}

/// Powers of ten along the bars.
#[derive(Debug, Clone, Copy)]
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn of<'a>(layers: impl Iterator<Item = &'a Layer>) -> Self {
        let logs = layers.filter_map(|layer| layer.std).map(f64::log10).filter(|log| log.is_finite());
        let (low, high) =
            logs.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), log| (low.min(log), high.max(log)));
        if low > high {
            return Self { low: -1.0, high: 1.0 };
        }
        // The smallest std has a bar that is seen, and the largest one is within the picture.
        let low = (low - 0.3).floor();
        Self { low, high: high.max(low + 1.0) + 0.05 }
    }

    fn place(&self, log: f64) -> i32 {
        PARTS.0 + ((log - self.low) / (self.high - self.low) * f64::from(PARTS.1)) as i32
    }

    fn powers(&self) -> impl Iterator<Item = i32> {
        let step = ((self.high - self.low) as usize / 8).max(1);
        (self.low as i32..=self.high.floor() as i32).step_by(step)
    }
}

fn shown(count: usize) -> Vec<usize> {
    match count <= MOST_ROWS {
        true => (0..count).collect(),
        false => (0..MOST_ROWS).map(|row| row * (count - 1) / (MOST_ROWS - 1)).collect(),
    }
}
