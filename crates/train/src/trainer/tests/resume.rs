//! A run that is stopped and goes on is the run that nobody disturbed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};

use super::*;

/// The settings of which each needs something of its own to be saved.
fn settings() -> Vec<(&'static str, Config)> {
    let with = |optimizer: &str| Config { optimizer: optimizer.parse().unwrap(), ..config(6) };
    let clip = Some(wick_kernels::Clip { norm: 0.1, rule: wick_kernels::ClipRule::Torch });
    vec![
        ("adamw", with("adamw:lr=0.01")),
        ("ema", Config { ema: Some(0.9), clip, ..with("sgd:lr=0.1") }),
        (
            "schedule",
            Config { schedule: "cosine:steps=30,warmup=3".parse().unwrap(), ..with("lion:lr=0.01") },
        ),
        ("muon", with("muon:lr=0.01")),
        ("free", with("schedule_free:lr=0.01")),
        ("leaves", Config { leaves: 4, micro_batches: 2, ..with("adamw:lr=0.01") }),
    ]
}

/// Runs to the end, or to the steps at which it is stopped, each time with a net that is built anew.
fn run(folder: &Path, config: &Config, stops: &[u64], dtype: DType) -> Outcome {
    let data = points().with_type(dtype, &Device::Cpu).unwrap();
    let mut stops = stops.iter();
    loop {
        let (net, stop, at) = (Net::new(dtype), AtomicI32::new(0), stops.next().copied());
        let mut trainer = Trainer::new(&net.map, config.clone())
            .unwrap()
            .with_run(RunFolder::open(folder).unwrap(), 7)
            .with_validation(&data, Metrics::Classification, None, EarlyStopping::default(), |batch| {
                net.outputs(&batch.input)
            })
            .with_probe(Probe::new(), 5)
            .with_stop(&stop);
        let outcome = trainer.fit(&data, |step| {
            if Some(step.number() + 1) == at {
                stop.store(15, Ordering::Relaxed);
            }
            net.loss(step)
        });
        let outcome = outcome.unwrap();
        assert_eq!(outcome.notices, Vec::<String>::new());
        if outcome.ended == Ended::Finished {
            return outcome;
        }
        assert_eq!((outcome.ended, Some(outcome.steps)), (Ended::Stopped(15), at));
    }
}

/// The bytes of what a run leaves.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let step = RunFolder::open(folder).unwrap().checkpoints().unwrap()[0].1.clone();
    let paths = ["log.jsonl", "best.safetensors", "last.safetensors"].map(|name| folder.join(name));
    let read =
        |path: &Path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap());
    paths.iter().chain([&step]).map(|path| read(path)).collect()
}

#[test]
fn a_stopped_run_is_the_undisturbed_one() {
    for dtype in [DType::F32, DType::BF16, DType::F16] {
        for (name, config) in settings() {
            let [whole, parts] = [(); 2].map(|()| tempfile::tempdir().unwrap());
            let undisturbed = run(whole.path(), &config, &[], dtype);
            let resumed = run(parts.path(), &config, &[1, 6, 7, 8, 19], dtype);
            let same = |folder: &tempfile::TempDir| files(folder.path());
            assert!(same(&whole) == same(&parts), "{name} {dtype:?}");
            assert_eq!(
                (undisturbed.steps, undisturbed.best, undisturbed.loss),
                (resumed.steps, resumed.best, resumed.loss)
            );
            // A finished run has its result, and does nothing.
            let again = run(parts.path(), &config, &[], dtype);
            assert_eq!((again.steps, again.steps_here, &again.validation), (30, 0, &resumed.validation));
            assert!(same(&whole) == same(&parts));
        }
    }
}

/// A run whose order begins again after the stop ends elsewhere, so that the test above sees it.
#[test]
fn a_run_that_forgets_its_place_differs() {
    let [whole, parts] = [(); 2].map(|()| Net::new(DType::F32));
    let fit = |net: &Net, steps| {
        let config = Config {
            length: Length::Steps(steps),
            optimizer: "sgd:lr=0.1,momentum=0".parse().unwrap(),
            ..config(1)
        };
        Trainer::new(&net.map, config).unwrap().fit(&points(), |step| net.loss(step)).unwrap();
    };
    fit(&whole, 20);
    fit(&parts, 10);
    fit(&parts, 10);
    assert!(whole.bits() != parts.bits());
}

/// A damaged file is left aside for the one before; without one that is whole, nothing is trained.
#[test]
fn a_damaged_checkpoint_is_left_aside() {
    let (_, config) = settings().swap_remove(0);
    let [whole, folder] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    run(whole.path(), &config, &[], DType::F32);
    let net = Net::new(DType::F32);
    let (stop, data) = (AtomicI32::new(15), points());
    let start = |net: &Net, stop| {
        let mut trainer = Trainer::new(&net.map, config.clone())
            .unwrap()
            .with_run(RunFolder::open(folder.path()).unwrap(), 7)
            .with_validation(&data, Metrics::Classification, None, EarlyStopping::default(), |batch| {
                net.outputs(&batch.input)
            })
            .with_probe(Probe::new(), 5)
            .with_stop(stop);
        trainer.fit(&data, |step| net.loss(step))
    };
    for _ in 0..2 {
        start(&net, &stop).unwrap();
    }
    let checkpoints = RunFolder::open(folder.path()).unwrap().checkpoints().unwrap();
    assert_eq!(checkpoints.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [2, 1]);
    let intact = fs::read(&checkpoints[0].1).unwrap();
    // Each kind of damage: a bit of a weight, a byte of the texts, a file that was cut, an empty one.
    let flipped = |at: usize| {
        let mut bytes = intact.clone();
        bytes[at] ^= 1;
        bytes
    };
    let text = intact.windows(4).position(|part| part == b"step").unwrap();
    for bytes in [flipped(intact.len() - 3), flipped(text), intact[..intact.len() / 2].to_vec(), Vec::new()] {
        fs::write(&checkpoints[0].1, bytes).unwrap();
        let outcome = start(&Net::new(DType::F32), &stop).unwrap();
        assert_eq!((outcome.steps, outcome.notices.len()), (2, 1), "{:?}", outcome.notices);
        assert!(outcome.notices[0].contains("step-000000000002.safetensors"), "{:?}", outcome.notices);
    }
    let stopped = AtomicI32::new(0);
    start(&Net::new(DType::F32), &stopped).unwrap();
    assert!(files(whole.path()) == files(folder.path()));

    for (_, path) in RunFolder::open(folder.path()).unwrap().checkpoints().unwrap() {
        fs::write(path, b"nothing").unwrap();
    }
    let error = start(&Net::new(DType::F32), &stopped).unwrap_err();
    assert!(matches!(error, Error::NoCheckpoint { .. }), "{error}");
}

/// Any step of the run is run again to the bit, with the samples that it saw.
#[test]
fn steps_are_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let (_, config) = settings().swap_remove(0);
    run(folder.path(), &config, &[], DType::F32);
    let data = points();
    for step in [0, 3, 27, 29] {
        let net = Net::new(DType::F32);
        let mut trainer = Trainer::new(&net.map, config.clone())
            .unwrap()
            .with_run(RunFolder::open(folder.path()).unwrap(), 7)
            .with_validation(&data, Metrics::Classification, None, EarlyStopping::default(), |batch| {
                net.outputs(&batch.input)
            })
            .with_probe(Probe::new(), 5);
        let replay = trainer.replay(&data, step, |step| net.loss(step)).unwrap();
        assert_eq!(Some(replay.loss), replay.logged_loss, "{step}");
        assert_eq!((replay.epoch, replay.layers.len()), (step / 5, 2));
        let order = crate::Order::new(70, wick_init::KeyedV1::new(42).key("order")).unwrap();
        assert_eq!(replay.samples, order.position(step, 16).unwrap().indices);
    }
    let net = Net::new(DType::F32);
    let error = Trainer::new(&net.map, config).unwrap().replay(&data, 30, |step| net.loss(step)).unwrap_err();
    assert_eq!(error.to_string(), "there is no step 30: the run has the steps 0 to 29");
}

/// A step before all checkpoints is run again only with the run's own settings, and the trainer is as before.
#[test]
fn a_replay_is_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let (_, config) = settings().swap_remove(0);
    run(folder.path(), &config, &[], DType::F32);
    let (net, data) = (Net::new(DType::F32), points());
    let trainer = |config: &Config| {
        Trainer::new(&net.map, config.clone())
            .unwrap()
            .with_run(RunFolder::open(folder.path()).unwrap(), 7)
            .with_validation(&data, Metrics::Classification, None, EarlyStopping::default(), |batch| {
                net.outputs(&batch.input)
            })
            .with_probe(Probe::new(), 5)
    };
    let other = Config { seed: 7, ..config.clone() };
    for without_checkpoints in [false, true] {
        if without_checkpoints {
            for (_, path) in RunFolder::open(folder.path()).unwrap().checkpoints().unwrap() {
                fs::remove_file(path).unwrap();
            }
        }
        let error = trainer(&other).replay(&data, 3, |step| net.loss(step)).unwrap_err().to_string();
        assert!(error.ends_with("it has seed = 42, and this run 7"), "{error}");
    }
    // A second replay has the same identity as the first.
    let mut same = trainer(&config);
    for _ in 0..2 {
        assert_eq!(same.replay(&data, 0, |step| net.loss(step)).unwrap().layers.len(), 2);
    }
}

/// The lines of the log have the fields that are promised, and no others.
#[test]
fn the_log_has_the_fields_that_are_promised() {
    let folder = tempfile::tempdir().unwrap();
    let (_, config) = settings().swap_remove(1);
    run(folder.path(), &config, &[], DType::F32);
    let log = fs::read_to_string(folder.path().join("log.jsonl")).unwrap();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in log.lines() {
        let line: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        let keys: Vec<String> = line.keys().cloned().collect();
        found.entry(line["kind"].as_str().unwrap().to_owned()).or_insert(keys.clone()).clone_from(&keys);
    }
    let expected = [
        ("end", "ended kind step"),
        ("probe", "kind layers step verdicts"),
        ("run", "format kind parameters settings"),
        ("step", "epoch gradient_norm kind learning_rate loss samples step"),
        ("validation", "accuracy kind loss samples step"),
    ];
    let found: Vec<(&str, String)> =
        found.iter().map(|(kind, keys)| (kind.as_str(), keys.join(" "))).collect();
    assert_eq!(found, expected.map(|(kind, keys)| (kind, keys.to_owned())));
    let counts =
        |kind: &str| log.lines().filter(|line| line.contains(&format!("\"kind\":\"{kind}\""))).count();
    assert_eq!(["run", "step", "validation", "probe", "end"].map(counts), [1, 30, 6, 6, 1]);
}

/// A loss that rises has a verdict from 20 steps on, also in a run that was stopped behind them and goes on; a loss that
/// falls has none.
#[test]
fn the_course_of_the_loss_is_judged() {
    let with = |factor: f64| {
        let schedule = crate::Schedule::from_fn("jump", move |step| if step < 12 { 1.0 } else { factor });
        Config { optimizer: "sgd:lr=0.1".parse().unwrap(), schedule, ..config(6) }
    };
    let steps_with_verdict = |config: &Config, stops: &[u64]| -> Vec<u64> {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), config, stops, DType::F32);
        let log = fs::read_to_string(folder.path().join("log.jsonl")).unwrap();
        let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let is_told = |line: &serde_json::Value| {
            line["verdicts"]
                .as_array()
                .is_some_and(|all| all.iter().any(|verdict| verdict["fault"] == "loss"))
        };
        lines.filter(is_told).map(|line| line["step"].as_u64().unwrap()).collect()
    };
    let rising = with(3000.0);
    for stops in [&[][..], &[22], &[3, 21]] {
        assert_eq!(steps_with_verdict(&rising, stops), [20, 25], "{stops:?}");
    }
    assert_eq!(steps_with_verdict(&with(1.0), &[22]), [0; 0]);
}
