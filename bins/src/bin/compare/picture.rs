//! The course of the runs with bands, the steps to the threshold, and test against training.

use anyhow::Result;
use wick_bins::picture::Picture;
use wick_bins::picture::chart::{Chart, Series, Shade};
use wick_train::Point;
use wick_train::compare::{Course, CourseEnd, Figures, KaplanMeier, Threshold};

use crate::analysis::{courses, steps};
use crate::report::Compare;

const HEIGHT: u32 = 460;
const PANEL: u32 = 560;

/// The part of the runs that lies below a band, and above it.
const OUTSIDE: f64 = 0.1;

pub(crate) fn render(report: &Compare) -> Result<Picture> {
    let nets = report.experiment.design.nets.len();
    let last = nets - 1;
    let charts = [
        curves(report, last),
        if nets > 1 { steps_of_nets(report) } else { fraction_on_its_way(report) },
        test_against_training(report),
    ];
    Picture::beside(&charts, (PANEL, HEIGHT))
}

/// The middle of the runs of each start of a net, with the band of eight of ten runs.
fn curves(report: &Compare, net: usize) -> Chart {
    let is_score = matches!(report.experiment.threshold, Threshold::Score(_));
    let y = |point: &Point| if is_score { point.score } else { Some(point.loss) };
    let (mut series, mut bands) = (Vec::new(), Vec::new());
    for start in 0..report.experiment.design.starts.len() {
        let courses = courses(&report.runs, net, start);
        let (mut line, mut band) = (Vec::new(), Vec::new());
        let all: std::collections::BTreeSet<u64> =
            courses.iter().flat_map(|course| course.history.iter().map(|point| point.step)).collect();
        for step in all {
            let is_there = |course: &&&Course| course.history.last().is_some_and(|last| last.step >= step);
            if 2 * courses.iter().filter(is_there).count() <= courses.len() {
                continue; // Where most runs have ended, there is no middle any more.
            }
            // A run that ended at the threshold stays where it was.
            let at = |course: &&Course| {
                let point = course.history.iter().rev().find(|point| point.step <= step)?;
                (point.step == step || course.ended == CourseEnd::AtThreshold).then(|| y(point))?
            };
            let mut values: Vec<f64> = courses.iter().filter_map(at).collect();
            if values.is_empty() {
                continue;
            }
            values.sort_by(f64::total_cmp);
            let quantile = |part: f64| values[(part * (values.len() - 1) as f64).round() as usize];
            line.push((step as f64, quantile(0.5)));
            band.push((step as f64, quantile(OUTSIDE), quantile(1.0 - OUTSIDE)));
        }
        let diverged = courses.iter().filter(|course| course.ended == CourseEnd::Diverged).count();
        let diverged = match diverged {
            0 => String::new(),
            diverged => format!(" ({diverged} of {} diverged)", courses.len()),
        };
        series.push(Series::new(format!("{}{diverged}", report.start(start)), start, line));
        bands.push(Shade { number: start, points: band });
    }
    let what = match is_score {
        true => format!("{} of the validation", report.experiment.score()),
        false => "training loss".to_owned(),
    };
    Chart {
        title: format!("Net {}, {what}: median and eight of ten runs", report.net(net)),
        x_label: "steps".into(),
        y_label: what,
        log: !is_score && series.iter().flat_map(|series| &series.points).all(|(_, y)| *y > 0.0),
        series,
        bands,
    }
}

/// The fraction of the runs that have not reached the threshold, by Kaplan and Meier.
fn fraction_on_its_way(report: &Compare) -> Chart {
    let budget = report.experiment.steps as f64;
    let series = (0..report.experiment.design.starts.len()).map(|start| {
        let steps = steps(&report.experiment, &courses(&report.runs, 0, start));
        let (mut points, mut fraction) = (vec![(0.0, 1.0)], 1.0);
        for (step, left) in KaplanMeier::new(&steps).points() {
            points.extend([(*step as f64, fraction), (*step as f64, *left)]);
            fraction = *left;
        }
        points.push((budget, fraction));
        let case = &report.cases[start];
        let median = case.median_steps.map_or("never".to_owned(), |steps| format!("{steps} steps"));
        Series::new(format!("{}: {median}", report.start(start)), start, points)
    });
    Chart {
        title: format!("Runs that have not reached {} (median in the legend)", report.threshold()),
        x_label: "steps".into(),
        y_label: "fraction of the runs".into(),
        series: series.collect(),
        // Nothing to see, but the axis begins at 0.
        bands: vec![Shade { number: 0, points: vec![(0.0, 0.0, 0.0), (budget, 0.0, 0.0)] }],
        ..Chart::default()
    }
}

/// The steps to the threshold of each net, with intervals; a start that does not reach it has no point.
fn steps_of_nets(report: &Compare) -> Chart {
    let e = &report.experiment;
    let differ = |of: fn(&Vec<usize>) -> usize| {
        let mut values: Vec<usize> = e.widths.iter().map(of).collect();
        values.sort_unstable();
        values.windows(2).all(|pair| pair[0] != pair[1])
    };
    let (x_label, x): (&str, Box<dyn Fn(usize) -> f64>) = if differ(Vec::len) {
        ("hidden layers", Box::new(|net| e.widths[net].len() as f64))
    } else if differ(|widths| widths[0]) {
        ("units of a hidden layer", Box::new(|net| e.widths[net][0] as f64))
    } else {
        ("number of the net", Box::new(|net| net as f64 + 1.0))
    };
    let (mut series, mut bands) = (Vec::new(), Vec::new());
    for start in 0..e.design.starts.len() {
        let mut cases: Vec<_> = report.cases.iter().filter(|case| case.start == start).collect();
        cases.sort_by(|a, b| x(a.net).total_cmp(&x(b.net)));
        let line =
            cases.iter().map(|case| (x(case.net), case.median_steps.map_or(f64::NAN, |steps| steps as f64)));
        let reached = cases.iter().filter(|case| case.median_steps.is_some()).count();
        let label = format!("{}: {reached} of {} nets", report.start(start), cases.len());
        series.push(Series::new(label, start, line).with_markers());
        let end = |end: Option<u64>| end.map_or(e.steps as f64, |steps| steps as f64);
        let band = cases
            .iter()
            .filter(|case| case.median_steps.is_some())
            .map(|case| (x(case.net), end(case.steps_interval.low), end(case.steps_interval.high)));
        bands.push(Shade { number: start, points: band.collect() });
    }
    Chart {
        title: format!("Steps to {} (nets that reach it in the legend)", report.threshold()),
        x_label: x_label.into(),
        y_label: "steps".into(),
        log: true,
        series,
        bands,
    }
}

/// The score, or the loss, of the test against that of the training, a marker a run.
fn test_against_training(report: &Compare) -> Chart {
    let e = &report.experiment;
    let has_scores =
        report.runs.iter().any(|record| record.course.test.is_some_and(|test| test.score.is_some()));
    let figure = |figures: Figures| if has_scores { figures.score } else { Some(figures.loss) };
    let what = if has_scores { e.score() } else { "loss" };
    let mut series = Vec::new();
    let mut ends: Option<(f64, f64)> = None;
    for start in 0..e.design.starts.len() {
        let mut label = report.start(start).to_owned();
        for net in 0..e.design.nets.len() {
            for course in courses(&report.runs, net, start) {
                let both = course.training.zip(course.test);
                let point = both.and_then(|(training, test)| Some((figure(training)?, figure(test)?)));
                let Some((x, y)) = point else { continue };
                let (low, high) = ends.unwrap_or((x, x));
                ends = Some((low.min(x), high.max(x)));
                series.push(Series::new(std::mem::take(&mut label), start, [(x, y)]).with_markers());
            }
        }
    }
    if let Some((low, high)) = ends {
        series.push(Series::new("equal", 4, [(low, low), (high, high)]).dashed().with_opacity(0.5));
    }
    Chart {
        title: format!("Test {what} against training {what}, last weights"),
        x_label: format!("training {what}"),
        y_label: format!("test {what}"),
        series,
        ..Chart::default()
    }
}
