//! Colours, markers and text.

use plotters::prelude::*;

/// Colours that people with any colour vision can tell apart (Okabe and Ito 2008), darkest first.
pub const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(0, 0, 0),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// The font's name for plotters and in the SVG.
pub(super) const FAMILY: &str = "sans-serif";

/// The colour of axes and of text beside the data.
pub const GREY: RGBColor = RGBColor(90, 90, 90);
/// The colour of grid lines.
pub const LIGHT: RGBColor = RGBColor(228, 228, 228);

/// Returns the colour of the series of this number.
pub fn colour(number: usize) -> RGBColor {
    COLOURS[number % COLOURS.len()]
}

/// Returns the style of black text of this size.
pub fn text<'a>(size: u32) -> TextStyle<'a> {
    (FAMILY, size).into_font().color(&BLACK)
}

/// Returns the style of grey text of this size.
pub fn grey_text<'a>(size: u32) -> TextStyle<'a> {
    (FAMILY, size).into_font().color(&GREY)
}

/// Returns the marker of the series of this number around a pixel: circle, triangle, square and diamond in
/// turn.
pub fn marker(number: usize, (x, y): (i32, i32)) -> Polygon<(i32, i32)> {
    let corners: &[(i32, i32)] = match number % 4 {
        0 => &[(-4, -2), (-2, -4), (2, -4), (4, -2), (4, 2), (2, 4), (-2, 4), (-4, 2)],
        1 => &[(0, -5), (5, 4), (-5, 4)],
        2 => &[(-4, -4), (4, -4), (4, 4), (-4, 4)],
        _ => &[(0, -6), (6, 0), (0, 6), (-6, 0)],
    };
    let corners = corners.iter().map(|(dx, dy)| (x + dx, y + dy)).collect::<Vec<_>>();
    Polygon::new(corners, colour(number).filled())
}
