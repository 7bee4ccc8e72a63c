//! Inputs with the same number added to all features: from where on it harms.

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::Result;
use wick_model::Activation;
use wick_probe::{Probe, Units, judge};

use super::advice::Changes;
use super::case::{Fault, Kind, Setting};
use super::collapse::course;
use super::data::Pixels;
use super::nets::Net;
use super::run::{Training, data};

/// One row of the table: what is said at the start, and the course beside that of the input without the shift.
fn row((phi, depth, shift): (Activation, usize, f64)) -> Result<String> {
    let mut setting = Setting::new(Kind::Mlp, 0, 1);
    (setting.phi, setting.depth, setting.pixels) = (phi, depth, Pixels::Standardized);
    (setting.width, setting.batch, setting.told, setting.zero_init) = (64, 64, false, false);
    let shifted = Setting { fault: Fault::Shift(shift), ..setting.clone() };
    let (net, data) = (Net::new(shifted.clone()), data(&shifted)?);
    let changes = Changes::default();
    let probe = Probe::new().with_units();
    let (xs, _) = Training::new(&net, &data, &changes)?.step(&probe)?;
    let input = Units::of(&xs)?.unwrap().batch;
    let verdicts = judge(&probe.layer_reports(), &input);
    let said: Vec<String> = verdicts.iter().map(|v| format!("{:?} {}", v.fault, v.layer)).collect();
    let mut row = format!("| {phi} | {depth} | {shift} | {:.4} | {} |", input.cosine, said.join(", "));
    let is_quick = std::env::var_os("WICK_BENCH_QUICK").is_some();
    for kind in [Kind::Mlp, Kind::Momentum].into_iter().filter(|_| !is_quick) {
        let [mine, twin] = [&shifted, &setting].map(|of| course(&Setting { kind, ..of.clone() }).unwrap());
        let cells = (mine[0] / twin[0], mine[1], twin[1], mine[2], twin[2]);
        row +=
            &format!(" {:.2} | {:.2}, {:.2} | {:.2}, {:.2} |", cells.0, cells.1, cells.2, cells.3, cells.4);
    }
    Ok(row)
}

/// Perceptrons on standardised digits to which a number is added, beside those without. `WICK_BENCH_QUICK` leaves the
/// training out.
#[test]
#[ignore = "a minute"]
fn which_shifts_harm() {
    println!(
        "| activation | hidden layers | shift | cosine | said | Adam: loss / twin's | score, twin's | after 480 steps | SGD: loss / twin's | score, twin's | after 480 steps |"
    );
    println!("|{}", "---|".repeat(11));
    let mut rows = Vec::new();
    for shift in [1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0] {
        for phi in [Activation::Relu, Activation::Gelu, Activation::Tanh] {
            for depth in [2, 4] {
                rows.push((phi, depth, shift));
            }
        }
    }
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(one) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
            println!("{}", row(*one).unwrap());
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
}
