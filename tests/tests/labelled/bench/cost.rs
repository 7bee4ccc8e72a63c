//! What a probe costs, beside steps without one.

use std::sync::LazyLock;
use std::time::Instant;

use candle_core::{DType, Result, Tensor, Var};
use wick_kernels::{SimdLevel, tap};
use wick_probe::{Probe, Units, judge};
use wick_tests::{CPU, choose_index};

use super::advice::Changes;
use super::case::{Kind, Setting};
use super::nets::Net;
use super::run::{Training, data};

/// Steps of each way, in turn with those of the others: 200, or `WICK_BENCH_STEPS`.
fn steps() -> usize {
    std::env::var("WICK_BENCH_STEPS").map_or(200, |steps| steps.parse().unwrap())
}

/// A way to take a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Bare,
    Taps,
    Units,
    /// With units and the verdicts.
    Judged,
    /// With units in every tenth step.
    EveryTenth,
}

const WAYS: [Way; 5] = [Way::Bare, Way::Taps, Way::Units, Way::Judged, Way::EveryTenth];

/// Milliseconds since some time: by the clock, or, with `WICK_BENCH_CPU_TIME`, those that Linux gave to this thread,
/// which other work on the machine does not lengthen.
fn now() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    if std::env::var_os("WICK_BENCH_CPU_TIME").is_some() {
        let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        return times.split(' ').next().unwrap().parse::<f64>().unwrap() * 1e-6;
    }
    START.elapsed().as_secs_f64() * 1e3
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The median milliseconds of a training step of a net, bare and seen by a probe in each way; of every tenth step,
/// that of a step that is not looked at. Behind them the number of values that a step looks at.
fn costs(kind: Kind, width: usize) -> Result<([f64; 5], usize)> {
    let mut setting = Setting::new(kind, 0, 1);
    (setting.width, setting.batch, setting.told) = (width, 64, false);
    let data = data(&setting)?;
    let net = Net::new(setting);
    let silent = Probe::new().every(u64::MAX);
    silent.next_step();
    let probes = WAYS.map(|way| match way {
        Way::Bare => silent.clone(),
        Way::Taps => Probe::new(),
        Way::Units | Way::Judged => Probe::new().with_units(),
        Way::EveryTenth => Probe::new().with_units().every(10),
    });
    let changes = Changes::default();
    let mut training = Training::new(&net, &data, &changes)?;
    let mut times: [Vec<f64>; 5] = Default::default();
    let mut taps = 0;
    for step in 0..steps() {
        // A step is slower behind one that left memory to give back, so that the order is another each time.
        let mut order = [0, 1, 2, 3, 4];
        order.sort_by_key(|way| choose_index(step as u64, &format!("{way}"), usize::MAX));
        for index in order {
            let (way, probe) = (WAYS[index], &probes[index]);
            let looks = way != Way::EveryTenth || probe.is_recording();
            let since = now();
            let (xs, gradients) = training.passes(probe)?;
            training.finish(&gradients)?;
            if way == Way::Judged {
                judge(&probe.layer_reports(), &Units::of(&xs)?.unwrap().batch);
            }
            let seen = now() - since;
            if way == Way::Taps && step == 0 {
                taps = probe.records().len();
            }
            let since = now();
            if way != Way::Bare {
                probe.next_step();
            }
            if looks != (way == Way::EveryTenth) {
                times[index].push(seen + now() - since);
            }
        }
    }
    Ok((times.map(|mut times| median(&mut times)), taps))
}

/// The microseconds that candle takes for an op of its user's that does nothing, forward and backward: a copy, a
/// tensor of zeros and a sum.
fn floor(rows: usize, width: usize) -> Result<f64> {
    const OPS: usize = 20;
    let x = Var::zeros((rows, width), DType::F32, &CPU)?;
    let run = |with_taps: bool| -> Result<f64> {
        let since = now();
        let mut h = x.as_tensor().clone();
        for _ in 0..OPS {
            h = h.relu()?;
            if with_taps {
                h = tap(&h, |_: &Tensor| Ok(()))?;
            }
        }
        h.sum_all()?.backward()?;
        Ok((now() - since) * 1e3 / OPS as f64)
    };
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..steps() / 5 {
        without.push(run(false)?);
        with.push(run(true)?);
    }
    Ok(median(&mut with) - median(&mut without))
}

/// What taps cost in nets of width 32 and 512 (the dense layers; convolutions have 12 and 24 channels), batches of 64:
/// medians of 200 interleaved steps each. `WICK_BENCH_WIDTHS=32` leaves out the wide nets, `WICK_BENCH_KINDS=Mlp` all others.
#[test]
#[ignore = "a benchmark"]
fn the_cost_of_taps() {
    let widths = std::env::var("WICK_BENCH_WIDTHS").unwrap_or_else(|_| "32,512".into());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    println!("SIMD level {}, {threads} threads", SimdLevel::best());
    for width in widths.split(',').map(|width| width.parse().unwrap()) {
        for rows in [64, 512] {
            println!("a tap that does nothing, ({rows}, {width}): {:.1} µs", floor(rows, width).unwrap());
        }
        let kinds = std::env::var("WICK_BENCH_KINDS").unwrap_or_else(|_| "Mlp,Conv2d,Attention".into());
        let all = [Kind::Mlp, Kind::Conv2d, Kind::Attention];
        for kind in all.into_iter().filter(|kind| kinds.contains(&format!("{kind:?}"))) {
            let ([bare, taps, units, judged, idle], looks) = costs(kind, width).unwrap();
            let more = |ms: f64| 100.0 * (ms / bare - 1.0);
            println!(
                "{kind:?} {width}: {bare:.2} ms a step, taps {:+.1} %, with units {:+.1} % ({:.1} µs a tap, of {looks}), \
                 judged {:+.1} %, every(10) {:+.1} %, of which steps not looked at {:+.1} %",
                more(taps),
                more(units),
                (units - bare) * 1e3 / looks as f64,
                more(judged),
                more(0.9 * idle + 0.1 * units),
                more(idle)
            );
        }
    }
}
