//! A NaN or an infinity planted at each site of a net: the probe names the tap and the sample, and keeps the
//! steps before.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use candle_core::{DType, Result, Tensor};
use candle_nn::{Module, linear};
use wick_init::InitMap;
use wick_probe::{Probe, Side, What};
use wick_tests::{CPU, bits, normal};

const SITES: [&str; 5] = ["a", "b.left", "b.right", "join", "end"];

/// Runs a forward and a backward pass of a net with a branch. At the site `bad`, sample 2 gets a bad element
/// on the given side.
fn run(probe: &Probe, map: &InitMap, bad: Option<(&str, Side, f32)>) -> Result<()> {
    let vb = map.var_builder(DType::F32, &CPU);
    let x = normal(1, "x", (4, 6), DType::F32);
    let filled = |others: f32, one: f32| {
        let mut values = vec![others; 24];
        values[2 * 6 + 3] = one;
        Tensor::from_vec(values, (4, 6), &CPU)
    };
    let tap = |name: &str, h: Tensor| -> Result<Tensor> {
        match bad {
            Some((site, Side::Forward, with)) if site == name => probe.tap(name, &(h + filled(0.0, with)?)?),
            Some((site, Side::Backward, _)) if site == name => {
                // The forward value stays; in the backward pass, √0 has an infinite slope.
                let h = probe.tap(name, &h)?;
                let zeros = h.zeros_like()?;
                &h + (((&h * &zeros)? + filled(1.0, 0.0)?)?.sqrt()? * zeros)?
            }
            _ => probe.tap(name, &h),
        }
    };
    let layer = |name: &str, x: &Tensor| linear(6, 6, vb.pp(name))?.forward(x)?.tanh();
    let a = tap(SITES[0], layer("a", &x)?)?;
    let left = tap(SITES[1], layer("left", &a)?)?;
    let right = tap(SITES[2], layer("right", &a)?)?;
    let join = tap(SITES[3], (left + right)?)?;
    let end = tap(SITES[4], layer("end", &join)?)?;
    end.sqr()?.mean_all()?.backward()?;
    Ok(())
}

#[test]
fn the_first_that_is_bad_is_named_wherever_it_is() {
    for site in SITES {
        for side in [Side::Forward, Side::Backward] {
            for with in [f32::NAN, f32::NEG_INFINITY] {
                let (probe, map) = (Probe::new(), InitMap::new(2));
                for _ in 0..7 {
                    run(&probe, &map, None).unwrap();
                    probe.next_step();
                }
                assert_eq!(probe.first_bad(), None);
                run(&probe, &map, Some((site, side, with))).unwrap();
                let bad = probe.first_bad().unwrap();
                assert_eq!((bad.name.as_str(), bad.side, bad.sample), (site, side, Some(2)), "{bad}");
                assert_eq!((bad.step, bad.what, bad.call), (7, What::NonFinite, 0));
                // The five steps before it are kept.
                let steps: Vec<u64> = bad.past.iter().map(|past| past.step).collect();
                assert_eq!(steps, [2, 3, 4, 5, 6]);
                assert!(
                    bad.past.iter().all(|past| past.rms > 0.0 && past.gradient_rms.is_some_and(|g| g > 0.0))
                );
                assert!(bad.to_string().contains(site) && bad.to_string().contains("sample 2"));
            }
        }
    }
}

/// Half precision overflows early: the probe reports an element near its limit, and prefers one that is not
/// finite.
#[test]
fn near_the_limit() {
    let probe = Probe::new();
    let half = |x: f64| Tensor::new(&[[1.0, x]], &CPU).unwrap().to_dtype(DType::F16).unwrap();
    probe.tap("fine", &half(1000.0)).unwrap();
    assert_eq!(probe.first_bad(), None);
    probe.tap("near", &half(-20000.0)).unwrap();
    probe.tap("nearer", &half(60000.0)).unwrap();
    let bad = probe.first_bad().unwrap();
    assert_eq!((bad.name.as_str(), bad.what, bad.sample), ("near", What::NearLimit, Some(0)));
    assert!((bad.value + 20000.0).abs() < 10.0);
    probe.tap("beyond", &half(1e6)).unwrap();
    assert_eq!(probe.first_bad().unwrap().name, "beyond");
    // The same numbers are far from the limit of f32.
    let wide = Probe::new();
    wide.tap("wide", &half(60000.0).to_dtype(DType::F32).unwrap()).unwrap();
    assert_eq!(wide.first_bad(), None);
}

/// Outputs and gradients keep their bits whatever the probe measures, and the totals over steps equal the
/// statistics of all values together.
#[test]
fn a_closer_look_changes_nothing() {
    let probes = [Probe::new(), Probe::new().with_units().with_totals(), Probe::new().every(2)];
    let mut outputs = Vec::new();
    for probe in &probes {
        let map = InitMap::new(2);
        let mut output = Vec::new();
        for step in 0..4 {
            let vb = map.var_builder(DType::F32, &CPU);
            let x = normal(step, "x", (9, 6), DType::F32);
            let h = probe.tap("h", &linear(6, 5, vb.pp("l")).unwrap().forward(&x).unwrap()).unwrap();
            let gradients = h.sqr().unwrap().mean_all().unwrap().backward().unwrap();
            output.extend(map.vars().iter().flat_map(|var| bits(gradients.get(var).unwrap())));
            output.extend(bits(&h));
            probe.next_step();
        }
        outputs.push(output);
    }
    assert_eq!(outputs[0], outputs[1]);
    assert_eq!(outputs[0], outputs[2]);

    let totals = probes[1].totals();
    assert_eq!(totals.len(), 1);
    assert_eq!((totals[0].forward.count(), totals[0].backward.count()), (4 * 45, 4 * 45));
    let values: Vec<f32> = outputs[0]
        .chunks(5 * 6 + 5 + 45)
        .flat_map(|step| step[35..].iter().map(|bits| f32::from_bits(*bits)))
        .collect();
    let together = wick_probe::Stats::of(&values);
    let near = |a: f64, b: f64| (a - b).abs() < 1e-12 * b.abs().max(1.0);
    assert!(
        near(totals[0].forward.mean(), together.mean())
            && near(totals[0].forward.variance(), together.variance())
    );
    assert!(near(totals[0].forward.kurtosis(), together.kurtosis()));
    // dJ/dh = 2h/45.
    assert!((totals[0].backward.std() / (2.0 / 45.0 * together.std()) - 1.0).abs() < 1e-6);
}
