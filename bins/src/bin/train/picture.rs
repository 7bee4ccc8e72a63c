//! The course of the runs, and the matrix of confusion of a single one.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use wick_bins::picture::chart::{Chart, Series};
use wick_bins::picture::style::{COLOURS, grey_text, text};
use wick_bins::picture::{Area, Picture, cannot_draw};
use wick_train::Point;
use wick_train::metrics::Scores;

use crate::report::{Run, Train};

const HEIGHT: u32 = 440;
const PANEL: u32 = 520;

/// The largest matrix of confusion that is drawn.
const MOST_CLASSES: usize = 30;

/// The matrix of confusion with the names of the classes.
type Confusion<'a> = (&'a [Vec<u64>], &'a [String]);

pub(crate) fn render(report: &Train) -> Result<Picture> {
    let e = &report.experiment;
    let is_single = report.runs.len() == 1;
    let line = |run: &Run, number: usize, label: String, y: fn(&Point) -> Option<f64>| {
        let points = run.history.iter().filter_map(|point| Some((point.step as f64, y(point)?)));
        Series::new(label, number, points)
    };
    let mut losses = Vec::new();
    for (number, run) in report.runs.iter().enumerate() {
        let label = if is_single { "training".to_owned() } else { run.init.clone() };
        losses.push(line(run, number, label, |point| Some(point.loss)));
        if is_single {
            losses.push(line(run, number + 1, "validation".to_owned(), |point| point.validation_loss));
        }
    }
    losses.retain(|series| !series.points.is_empty());
    let scores = report.runs.iter().enumerate();
    let mut scores: Vec<Series> =
        scores.map(|(number, run)| line(run, number, label_of(report, run), |point| point.score)).collect();
    scores.retain(|series| !series.points.is_empty());
    let chart = |title: String, y_label: &str, log: bool, series| Chart {
        title,
        x_label: "steps".into(),
        y_label: y_label.into(),
        log,
        series,
        ..Chart::default()
    };
    let log = losses.iter().flat_map(|series| &series.points).all(|(_, y)| *y > 0.0);
    let mut charts = vec![chart("Loss".to_owned(), "loss", log, losses)];
    if !scores.is_empty() {
        let title = format!("{} of the validation", capitalized(e.score()));
        charts.push(chart(title, e.score(), false, scores));
    }
    let confusion = match &report.runs[..] {
        [run] => confusion(run, &e.classes),
        _ => None,
    };
    let panels = charts.len() as u32 + u32::from(confusion.is_some());
    Picture::render((PANEL * panels, HEIGHT), |area| {
        let mut rest = area.clone();
        for chart in &charts {
            let (panel, others) = rest.split_horizontally(PANEL as i32);
            chart.draw(&panel)?;
            rest = others;
        }
        confusion.map_or(Ok(()), |confusion| matrix(&rest, confusion))
    })
}

/// The name of a run in the legend, with the steps that it took to the threshold.
fn label_of(report: &Train, run: &Run) -> String {
    if report.runs.len() == 1 {
        return String::new();
    }
    let threshold = report.experiment.threshold;
    match run.steps_to_threshold {
        Some(step) => format!("{}: {threshold} after {step} steps", run.init),
        None if run.error.is_some() => format!("{}: diverged", run.init),
        None => format!("{}: never {threshold}", run.init),
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn confusion<'a>(run: &'a Run, classes: &'a [String]) -> Option<Confusion<'a>> {
    match &run.test.as_ref()?.scores {
        Scores::Classification { confusion: Some(confusion), .. } if confusion.len() <= MOST_CLASSES => {
            Some((confusion, classes))
        }
        _ => None,
    }
}

/// Draws a matrix of confusion: the darker, the larger the part of the class.
fn matrix(area: &Area, (confusion, classes): Confusion) -> Result<()> {
    const TOP: i32 = 62;
    const LEFT: i32 = 84;
    let (width, height) = area.dim_in_pixel();
    let count = confusion.len() as i32;
    let side = ((width as i32 - LEFT - 24) / count).min((height as i32 - TOP - 24) / count).max(1);
    area.draw_text("Test samples by class (row) and what the net says", &text(16), (8, 4))
        .map_err(cannot_draw)?;
    let at = |style: TextStyle<'static>, h, v| style.pos(Pos::new(h, v));
    let name = |class: usize| {
        let short: String = classes[class].chars().take(10).collect();
        if short.len() < classes[class].len() { format!("{short}…") } else { short }
    };
    for (class, row) in confusion.iter().enumerate() {
        let y = TOP + class as i32 * side;
        let label = at(grey_text(12), HPos::Right, VPos::Center);
        area.draw_text(&name(class), &label, (LEFT - 6, y + side / 2)).map_err(cannot_draw)?;
        let above = at(grey_text(12), HPos::Center, VPos::Bottom);
        if classes.iter().all(|name| name.chars().count() <= 4) {
            let x = LEFT + class as i32 * side + side / 2;
            area.draw_text(&name(class), &above, (x, TOP - 4)).map_err(cannot_draw)?;
        }
        let sum = row.iter().sum::<u64>().max(1) as f64;
        for (said, samples) in row.iter().enumerate() {
            let (x, part) = (LEFT + said as i32 * side, *samples as f64 / sum);
            let corners = [(x, y), (x + side - 1, y + side - 1)];
            // A single mistake is to be seen.
            let shade = if *samples == 0 { 0.04 } else { 0.15 + 0.85 * part };
            let colour = if said == class { COLOURS[0] } else { COLOURS[1] };
            area.draw(&Rectangle::new(corners, colour.mix(shade).filled())).map_err(cannot_draw)?;
            if *samples > 0 && side >= 18 {
                let ink = if shade > 0.6 { &WHITE } else { &BLACK };
                let style = at(text(12).color(ink), HPos::Center, VPos::Center);
                area.draw_text(&samples.to_string(), &style, (x + side / 2, y + side / 2))
                    .map_err(cannot_draw)?;
            }
        }
    }
    Ok(())
}
