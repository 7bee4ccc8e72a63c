//! The computational graph: squares for variables with their shapes, circles for operators.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use wick_bins::picture::style::{COLOURS, GREY, grey_text, text};
use wick_bins::picture::{Area, Picture, cannot_draw};

use crate::report::Network;

/// Half the side of a square, and the radius of a circle.
const SQUARE: i32 = 26;
const CIRCLE: i32 = 20;
const STEP: i32 = 104;
const LEFT: i32 = 60;

#[derive(Clone, Copy)]
enum Shape {
    Square,
    Circle,
}

struct Node {
    at: (i32, i32),
    shape: Shape,
    label: &'static str,
    below: String,
}

pub(crate) fn render(n: &Network) -> Result<Picture> {
    let size = |rows: usize, columns: usize| format!("{rows}×{columns}");
    let column = |number: i32| LEFT + number * STEP;
    let variable = |label, column_number, y, below| Node {
        at: (column(column_number), y),
        shape: Shape::Square,
        label,
        below,
    };
    let operator = |label, at, below: &str| Node { at, shape: Shape::Circle, label, below: below.to_owned() };
    let (data, weights, penalty) = (110, 250, 380);
    let one = || "scalar".to_owned();
    let nodes = [
        variable("x", 0, data, size(n.batch, n.features)),
        operator("×", (column(1), data), ""),
        variable("z", 2, data, size(n.batch, n.hidden)),
        operator("φ", (column(3), data), &n.activation.to_string()),
        variable("h", 4, data, size(n.batch, n.hidden)),
        operator("×", (column(5), data), ""),
        variable("o", 6, data, size(n.batch, n.outputs)),
        operator("l", (column(7), data), n.loss),
        variable("L", 8, data, one()),
        operator("+", (column(9), data), ""),
        variable("J", 10, data, one()),
        variable("W1", 1, weights, size(n.hidden, n.features)),
        variable("W2", 5, weights, size(n.outputs, n.hidden)),
        variable("y", 7, weights, size(n.batch, n.outputs)),
        operator("‖·‖²", (column(3), penalty), &format!("λ/2 = {}", n.lambda / 2.0)),
        variable("s", 9, penalty, one()),
    ];
    // Each edge joins two nodes by their numbers in the list above.
    let edges = [
        (0, 1),
        (1, 2),
        (2, 3),
        (3, 4),
        (4, 5),
        (5, 6),
        (6, 7),
        (7, 8),
        (8, 9),
        (9, 10),
        (11, 1),
        (12, 5),
        (13, 7),
        (11, 14),
        (12, 14),
        (14, 15),
        (15, 9),
    ];
    let width = (column(10) + LEFT) as u32;
    Picture::render((width, 450), |area| {
        let title = "z = x W1ᵀ,  h = φ(z),  o = h W2ᵀ,  L = l(o, y),  s = λ/2 (‖W1‖² + ‖W2‖²),  J = L + s";
        area.draw_text(title, &text(16), (16, 12)).map_err(cannot_draw)?;
        for (from, to) in edges {
            arrow(area, &nodes[from], &nodes[to])?;
        }
        nodes.iter().try_for_each(|node| draw_node(area, node))
    })
}

fn draw_node(area: &Area, node: &Node) -> Result<()> {
    let (x, y) = node.at;
    let centred = |style: TextStyle<'static>| style.pos(Pos::new(HPos::Center, VPos::Center));
    match node.shape {
        Shape::Square => {
            let corners = [(x - SQUARE, y - SQUARE), (x + SQUARE, y + SQUARE)];
            area.draw(&Rectangle::new(corners, COLOURS[6].mix(0.25).filled())).map_err(cannot_draw)?;
            area.draw(&Rectangle::new(corners, COLOURS[0].stroke_width(2))).map_err(cannot_draw)?;
        }
        Shape::Circle => {
            area.draw(&Circle::new((x, y), CIRCLE, WHITE.filled())).map_err(cannot_draw)?;
            area.draw(&Circle::new((x, y), CIRCLE, COLOURS[1].stroke_width(2))).map_err(cannot_draw)?;
        }
    }
    let size = if node.label.chars().count() > 2 { 13 } else { 18 };
    area.draw_text(node.label, &centred(text(size)), (x, y)).map_err(cannot_draw)?;
    // The text is above a node that an arrow enters from below, and else below the node.
    let offset = SQUARE + 12;
    let below = (x, if y < 200 { y - offset } else { y + offset });
    area.draw_text(&node.below, &centred(grey_text(13)), below).map_err(cannot_draw)
}

/// Draws an arrow from the rim of one node to the rim of another.
fn arrow(area: &Area, from: &Node, to: &Node) -> Result<()> {
    let (dx, dy) = (f64::from(to.at.0 - from.at.0), f64::from(to.at.1 - from.at.1));
    let length = dx.hypot(dy);
    let (ux, uy) = (dx / length, dy / length);
    let rim = |node: &Node| match node.shape {
        Shape::Square => f64::from(SQUARE) / ux.abs().max(uy.abs()),
        Shape::Circle => f64::from(CIRCLE),
    };
    let point = |node: &Node, along: f64, across: f64| {
        let x = f64::from(node.at.0) + along * ux - across * uy;
        let y = f64::from(node.at.1) + along * uy + across * ux;
        (x.round() as i32, y.round() as i32)
    };
    let tip = -rim(to) - 3.0;
    let line = [point(from, rim(from), 0.0), point(to, tip - 6.0, 0.0)];
    area.draw(&PathElement::new(line, GREY.stroke_width(2))).map_err(cannot_draw)?;
    let head = vec![point(to, tip, 0.0), point(to, tip - 11.0, 5.0), point(to, tip - 11.0, -5.0)];
    area.draw(&Polygon::new(head, GREY.filled())).map_err(cannot_draw)
}
