//! Line charts.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use wick_probe::text::significant;

use super::style::{COLOURS, GREY, LIGHT, colour, grey_text, marker, text};
use super::ticks::{self, Axis};
use super::{Area, Picture, cannot_draw};

/// One line of a chart.
#[derive(Debug, Clone)]
pub struct Series {
    /// The name in the legend; a series without a name is not in it.
    pub label: String,
    /// Points from left to right. The line breaks at a point that is not finite, or not positive on a log
    /// axis.
    pub points: Vec<(f64, f64)>,
    /// The number of the colour and the marker.
    pub number: usize,
    /// Whether each point has a marker.
    pub markers: bool,
    /// Whether the line is dashed.
    pub dashed: bool,
    /// The line's opacity, for many lines on top of each other.
    pub opacity: f64,
}

impl Series {
    /// Returns a solid line without markers.
    pub fn new(
        label: impl Into<String>,
        number: usize,
        points: impl IntoIterator<Item = (f64, f64)>,
    ) -> Self {
        let points = points.into_iter().collect();
        Self { label: label.into(), points, number, markers: false, dashed: false, opacity: 1.0 }
    }

    /// Adds a marker at each point.
    pub fn with_markers(self) -> Self {
        Self { markers: true, ..self }
    }

    /// Makes the line dashed.
    pub fn dashed(self) -> Self {
        Self { dashed: true, ..self }
    }

    /// Sets the opacity.
    pub fn with_opacity(self, opacity: f64) -> Self {
        Self { opacity, ..self }
    }

    /// Whether an earlier series has the same colour. Some markers then tell the two apart.
    fn repeats_a_colour(&self) -> bool {
        self.number >= COLOURS.len()
    }
}

/// A line chart.
#[derive(Debug, Clone, Default)]
pub struct Chart {
    /// The text above the chart.
    pub title: String,
    /// The text below the horizontal axis.
    pub x_label: String,
    /// The text beside the vertical axis.
    pub y_label: String,
    /// Whether the vertical axis is logarithmic.
    pub log: bool,
    /// The lines, later ones above earlier ones.
    pub series: Vec<Series>,
    /// Shaded areas under the lines.
    pub bands: Vec<Shade>,
}

/// An area between two heights, in the colour of a series.
#[derive(Debug, Clone)]
pub struct Shade {
    /// The series' colour.
    pub number: usize,
    /// `(x, low, high)` from left to right. Points that are not finite on the axis are left out.
    pub points: Vec<(f64, f64, f64)>,
}

/// The number of markers on a line that has them only because its colour is repeated.
const SPARSE: usize = 12;

/// How the numbers beside an axis are written: with the digits that tell neighbours apart.
#[derive(Debug, Clone, Copy)]
struct Ticks {
    digits: usize,
    /// A tick at zero may be off by a rounding, and is smaller than this.
    zero: f64,
}

impl Ticks {
    fn of(ticks: &[f64]) -> Self {
        let steps = || ticks.windows(2).map(|pair| (pair[1] - pair[0]).abs());
        let largest = ticks.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
        let step = steps().fold(f64::INFINITY, f64::min);
        // A step has its first digit this far behind the largest number's first digit.
        let digits =
            if step > 0.0 { (largest / step).log10().floor().clamp(2.0, 15.0) as usize + 2 } else { 4 };
        Self { digits, zero: if step.is_finite() { 1e-9 * step } else { 0.0 } }
    }

    fn text(self, x: f64) -> String {
        if x.abs() <= self.zero { "0".into() } else { tick(x, self.digits) }
    }
}

/// Returns a number beside an axis, without trailing zeros.
fn tick(x: f64, digits: usize) -> String {
    let text = significant(x, digits);
    match text.split_once('e') {
        None if text.contains('.') => text.trim_end_matches('0').trim_end_matches('.').into(),
        None => text,
        Some((digits, exponent)) => {
            format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'))
        }
    }
}

const TITLE: i32 = 26;
const LEGEND_ROW: i32 = 20;

impl Chart {
    /// Draws the chart over the whole area.
    ///
    /// # Errors
    /// Fails if the backend does.
    pub fn draw(&self, area: &Area) -> Result<()> {
        let (width, _) = area.dim_in_pixel();
        area.draw_text(&self.title, &text(16), (8, 4)).map_err(cannot_draw)?;
        let below = TITLE + self.legend(area, width as i32)?;
        let (_, body) = area.split_vertically(below);
        let (x, y) = self.ranges();
        let whole = self.series.iter().flat_map(|series| &series.points).all(|(x, _)| x.fract() == 0.0);
        let x_ticks = ticks::linear(&x, 10, whole);
        let y_ticks = if self.log { ticks::logarithmic(&y, 8) } else { ticks::linear(&y, 8, false) };
        let x_texts = Ticks::of(&x_ticks);
        let y_values = y_ticks.iter().map(|y| if self.log { 10f64.powf(*y) } else { *y });
        let y_texts = Ticks::of(&y_values.collect::<Vec<_>>());
        let mut chart = ChartBuilder::on(&body)
            .margin(8)
            .margin_right(18)
            .x_label_area_size(42)
            .y_label_area_size(70)
            .build_cartesian_2d(Axis::new(x, x_ticks), Axis::new(y, y_ticks))
            .map_err(cannot_draw)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE.mix(0.0))
            .bold_line_style(LIGHT)
            .axis_style(GREY)
            .x_desc(&self.x_label)
            .y_desc(&self.y_label)
            .axis_desc_style(text(14))
            .label_style(grey_text(12))
            .x_label_formatter(&|x| x_texts.text(*x))
            .y_label_formatter(&|y| self.y_text(*y, y_texts))
            .draw()
            .map_err(cannot_draw)?;
        for band in &self.bands {
            let points = self.outline(band);
            let area = Polygon::new(points, colour(band.number).mix(0.25).filled());
            chart.draw_series([area]).map_err(cannot_draw)?;
        }
        for series in &self.series {
            let style = colour(series.number).mix(series.opacity).stroke_width(2);
            for part in self.parts(series) {
                if series.dashed {
                    chart
                        .draw_series(DashedLineSeries::new(part.clone(), 7, 5, style))
                        .map_err(cannot_draw)?;
                } else {
                    chart.draw_series([PathElement::new(part.clone(), style)]).map_err(cannot_draw)?;
                }
                let (left, top) = area.get_base_pixel();
                for point in marked(series, &part) {
                    let (x, y) = chart.backend_coord(point);
                    area.draw(&marker(series.number, (x - left, y - top))).map_err(cannot_draw)?;
                }
            }
        }
        Ok(())
    }

    /// Draws the legend under the title, in rows, and returns its height.
    fn legend(&self, area: &Area, width: i32) -> Result<i32> {
        const LINE: i32 = 26;
        let style = text(13).pos(Pos::new(HPos::Left, VPos::Center));
        let (mut x, mut y, mut any) = (10, TITLE + LEGEND_ROW / 2, false);
        for series in self.series.iter().filter(|series| !series.label.is_empty()) {
            let nothing = self.parts(series).is_empty() && !series.points.is_empty();
            let label = format!("{}{}", series.label, if nothing { " (zero or not finite)" } else { "" });
            let (length, _) = area.estimate_text_size(&label, &style).map_err(cannot_draw)?;
            let length = LINE + 6 + length as i32 + 18;
            if any && x + length > width {
                (x, y) = (10, y + LEGEND_ROW);
            }
            let line_style = colour(series.number).stroke_width(2);
            let dashes: &[_] =
                if series.dashed { &[(x, x + 10), (x + 16, x + LINE)] } else { &[(x, x + LINE)] };
            for &(from, to) in dashes {
                area.draw(&PathElement::new([(from, y), (to, y)], line_style)).map_err(cannot_draw)?;
            }
            if series.markers || series.repeats_a_colour() {
                // The marker is on a dash: over the gap it would hide that the line is dashed.
                let at = if series.dashed { x + 5 } else { x + LINE / 2 };
                area.draw(&marker(series.number, (at, y))).map_err(cannot_draw)?;
            }
            area.draw_text(&label, &style, (x + LINE + 6, y)).map_err(cannot_draw)?;
            x += length;
            any = true;
        }
        Ok(if any { y + LEGEND_ROW / 2 - TITLE } else { 0 })
    }

    fn height_of(&self, y: f64) -> f64 {
        if self.log { y.log10() } else { y }
    }

    fn y_text(&self, y: f64, texts: Ticks) -> String {
        if !self.log {
            texts.text(y)
        } else if (y - y.round()).abs() < 1e-9 && !(-3.0..=3.0).contains(&y) {
            format!("1e{}", y.round())
        } else {
            texts.text(10f64.powf(y))
        }
    }

    /// Returns the outline of a band: along its top and back along its bottom.
    fn outline(&self, band: &Shade) -> Vec<(f64, f64)> {
        let heights =
            band.points.iter().map(|&(x, low, high)| (x, self.height_of(low), self.height_of(high)));
        let drawn: Vec<_> = heights.filter(|(_, low, high)| low.is_finite() && high.is_finite()).collect();
        let top = drawn.iter().map(|&(x, _, high)| (x, high));
        top.chain(drawn.iter().rev().map(|&(x, low, _)| (x, low))).collect()
    }

    /// Returns the unbroken parts of a line, in heights on the axis.
    fn parts(&self, series: &Series) -> Vec<Vec<(f64, f64)>> {
        let points = series.points.iter().map(|&(x, y)| (x, self.height_of(y))).collect::<Vec<_>>();
        points.split(|(_, y)| !y.is_finite()).filter(|part| !part.is_empty()).map(<[_]>::to_vec).collect()
    }

    /// Returns the ranges of the axes, slightly wider than the data.
    fn ranges(&self) -> (std::ops::Range<f64>, std::ops::Range<f64>) {
        let lines = || self.series.iter().flat_map(|series| self.parts(series)).flatten();
        let points = || lines().chain(self.bands.iter().flat_map(|band| self.outline(band)));
        let range = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
        };
        let widen = |(low, high): (f64, f64), margin: f64| {
            if low > high {
                return 0.0..1.0;
            }
            let width = if high > low { high - low } else { high.abs().max(1.0) * 0.1 };
            low - margin * width..high + margin * width
        };
        let x = widen(range(&mut points().map(|(x, _)| x)), 0.02);
        let y = widen(range(&mut points().map(|(_, y)| y)), 0.06);
        (x, y)
    }
}

impl Picture {
    /// Renders charts beside each other, each of `size` (width, height).
    ///
    /// # Errors
    /// If a chart cannot be drawn.
    pub fn beside(charts: &[Chart], (width, height): (u32, u32)) -> Result<Self> {
        Self::render((width * charts.len() as u32, height), |area| {
            let mut rest = area.clone();
            for chart in charts {
                let (panel, others) = rest.split_horizontally(width as i32);
                chart.draw(&panel)?;
                rest = others;
            }
            Ok(())
        })
    }
}

/// Returns the points of a part of a line that have a marker.
fn marked<'a>(series: &Series, part: &'a [(f64, f64)]) -> impl Iterator<Item = &'a (f64, f64)> {
    let step = match (series.markers, series.repeats_a_colour()) {
        (true, _) => 1,
        (false, true) => part.len().div_ceil(SPARSE).max(1),
        (false, false) => usize::MAX,
    };
    // The first marker is in the middle of a step, so that a line without markers has none.
    part.iter().skip(if step == 1 { 0 } else { step / 2 }).step_by(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_short() {
        let ticks = Ticks::of(&[-0.25, 0.0, 0.25]);
        let texts = [0.0, -1e-17, 1.0, 0.5, -2.25, 100.0, 2e-4, 1.5e7].map(|x| ticks.text(x));
        assert_eq!(texts, ["0", "0", "1", "0.5", "-2.25", "100", "2e-4", "1.5e7"]);
    }

    /// Ticks of a narrow range far from 0, or of a range of tiny numbers, are different texts.
    #[test]
    fn neighbouring_ticks_differ() {
        for ticks in [[1.0, 1.000_001, 1.000_002], [-1e-14, 0.0, 1e-14], [1.7e18, 1.7e18 + 1e6, 1.7e18 + 2e6]]
        {
            let texts = ticks.map(|x| Ticks::of(&ticks).text(x));
            assert!(texts[0] != texts[1] && texts[1] != texts[2], "{texts:?}");
        }
    }

    /// A line with a repeated colour has some markers; the first lines have none.
    #[test]
    fn more_lines_than_colours_have_markers() {
        let marks = |number| {
            let series = Series::new("", number, (0..100).map(|i| (f64::from(i), 0.0)));
            marked(&series, &series.points).count()
        };
        assert_eq!((marks(0), marks(6)), (0, 0));
        assert!((10..=12).contains(&marks(7)), "{}", marks(7));
        let series = Series::new("", 0, [(0.0, 1.0), (1.0, 1.0)]).with_markers();
        assert_eq!(marked(&series, &series.points).count(), 2);
    }

    #[test]
    fn lines_break_where_a_log_axis_cannot_go() {
        let points = [(0.0, 1.0), (1.0, 0.0), (2.0, 10.0), (3.0, f64::NAN), (4.0, f64::INFINITY)];
        let chart = Chart { log: true, series: vec![Series::new("", 0, points)], ..Chart::default() };
        assert_eq!(chart.parts(&chart.series[0]), [vec![(0.0, 0.0)], vec![(2.0, 1.0)]]);
        assert!(chart.ranges().0.end < 3.0);
    }
}
