use wick_init::KeyedV1;

use super::*;
use crate::Point;

/// Remissions in weeks of Freireich et al. 1963 (Blood 21), as every textbook on survival has them: 6-MP and placebo.
fn leukemia() -> (Vec<Steps>, Vec<Steps>) {
    let drug = [6, 6, 6, 7, 10, 13, 16, 22, 23].map(Steps::reached).into_iter();
    let drug = drug.chain([6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35].map(Steps::censored));
    let placebo = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23];
    (drug.collect(), placebo.map(Steps::reached).to_vec())
}

/// Against the published estimates: S(6) = .857, S(10) = .753, S(23) = .448; medians of 23 and 8 weeks; a log-rank
/// χ² of 16.79.
#[test]
fn as_published() {
    let (drug, placebo) = leukemia();
    let estimate = KaplanMeier::new(&drug);
    for (weeks, fraction) in
        [(5, 1.0), (6, 0.857), (7, 0.807), (10, 0.753), (13, 0.690), (16, 0.627), (22, 0.538), (23, 0.448)]
    {
        assert!((estimate.at(weeks) - fraction).abs() < 5e-4, "{weeks}: {}", estimate.at(weeks));
    }
    assert_eq!((estimate.median(), KaplanMeier::new(&placebo).median()), (Some(23), Some(8)));
    let (difference, variance) = log_rank(&placebo, &drug);
    assert!(
        (difference * difference / variance - 16.79).abs() < 5e-3,
        "{}",
        difference * difference / variance
    );
    assert!((difference - 10.25).abs() < 5e-3, "{difference}");
}

/// Runs that never arrive count: a group in which half of them do not has no median, and is later than one in which
/// all do, although its runs that arrive are sooner.
#[test]
fn runs_that_never_arrive_count() {
    let all: Vec<Steps> = (50..60).map(Steps::reached).collect();
    let half: Vec<Steps> =
        (0..10).map(|k| if k < 4 { Steps::reached(40 + k) } else { Steps::censored(1000) }).collect();
    assert_eq!(KaplanMeier::new(&half).median(), None);
    let interval = KaplanMeier::median_interval(&half, 0.05, 1000, KeyedV1::new(3).key("bootstrap"));
    assert!(interval.low < Some(44) && interval.high.is_none(), "{interval:?}");
    let found = differences(&[half, all], 1);
    assert_eq!(found[0].groups, [1, 0]);
}

/// n = 400 pairs of groups of 6 from one law, seed 9: at the level .05, the exact permutation test finds a difference
/// in at most 5 % of them; 31 or fewer of 400 at α = .01 (binomial). The twin, one group 1.6 times as long, is found
/// in more than half.
#[test]
fn equal_groups_are_seldom_called_different() {
    use rand::RngExt;
    let mut rng = KeyedV1::new(9).key("groups").rng();
    let mut found = |factor: f64| {
        let mut group = |factor: f64| -> Vec<Steps> {
            let run = |x: f64| if x > 220.0 { Steps::censored(220) } else { Steps::reached(x as u64) };
            (0..6).map(|_| run(factor * (100.0 + 60.0 * rng.random::<f64>()))).collect()
        };
        let count = |(a, b): (Vec<Steps>, Vec<Steps>)| differences(&[a, b], 1)[0].p <= 0.05;
        (0..400).filter(|_| count((group(1.0), group(factor)))).count()
    };
    let (equal, different) = (found(1.0), found(1.6));
    assert!(equal <= 31 && different > 200, "{equal} {different}");
}

/// Holm's procedure: the smallest of three is multiplied by 3, the next by 2, and none is below one before it.
#[test]
fn comparisons_are_corrected() {
    let groups = [
        [1, 2, 3, 4].map(Steps::reached).to_vec(),
        [5, 6, 7, 8].map(Steps::reached).to_vec(),
        [5, 6, 7, 9].map(Steps::reached).to_vec(),
    ];
    let found = differences(&groups, 1);
    let p: Vec<f64> = found.iter().map(|difference| difference.p).collect();
    assert!((p[0] - 2.0 / 70.0).abs() < 1e-12 && (p[1] - 2.0 / 70.0).abs() < 1e-12 && p[2] > 0.3, "{p:?}");
    for place in [0, 1] {
        assert!((found[place].corrected_p - 6.0 / 70.0).abs() < 1e-12, "{found:?}");
    }
    assert!(found[2].corrected_p >= p[2]);
    // Groups of 12 have too many ways to be all looked at; the drawn ones find what there is to find.
    let large = |from: u64| (from..from + 12).map(Steps::reached).collect::<Vec<_>>();
    assert!(
        differences(&[large(0), large(100)], 5)[0].p < 1e-3
            && differences(&[large(0), large(1)], 5)[0].p > 0.3
    );
}

/// A course of a run.
fn course(reached: Option<u64>, loss: f64) -> Course {
    let history = vec![Point { step: 10, loss, validation_loss: None, score: None }];
    Course { ended: CourseEnd::Finished, reached, history, training: None, test: None }
}

fn design() -> Design {
    Design {
        nets: vec!["8x2".into(), "8x4".into()],
        starts: vec!["a".into(), "b".into(), "c".into()],
        rates: vec![0.1, 0.3, 1.0],
        tuning_runs: 2,
        runs: 4,
        nested: false,
        seed: 7,
    }
}

/// A run whose numbers depend on its seed alone, and that shows how it was called.
fn drawn(design: &Design, trial: &Trial) -> Course {
    let seed = design.seed_of(trial);
    let steps = seed % 50 + 10 * trial.rate.abs_diff(trial.start) as u64;
    course((steps < 55).then_some(steps), seed as f64 / 1e19)
}

/// The records are the same whether a design is run whole, in parts, or goes on from runs that were kept; parts
/// overlap nowhere.
#[test]
fn the_same_records_however_it_was_split() {
    let all = |design: &Design, part, known| {
        run(design, part, known, |trial| Ok::<_, ()>(drawn(design, trial)), |_| Ok(())).unwrap()
    };
    let tuned = design();
    let single = Design { rates: vec![0.3], ..design() };
    let nested = Design { nested: true, ..design() };
    for (design, units) in [(&tuned, 6), (&single, 24), (&nested, 24)] {
        assert_eq!(design.units(), units);
        let whole = all(design, Part::WHOLE, Vec::new());
        assert_eq!(whole.len(), design.count(Part::WHOLE));
        for of in [2, 3, 6] {
            let parts = (0..of).flat_map(|index| all(design, Part { index, of }, Vec::new()));
            let mut parts: Vec<Record> = parts.collect();
            parts.sort_by_key(|record| record.trial);
            assert_eq!(parts, whole, "{of} parts");
        }
        for known in [1, 7, whole.len()] {
            let mut known = whole[..known].to_vec();
            known.reverse();
            assert_eq!(all(design, Part::WHOLE, known), whole);
        }
    }
}

/// Nothing is run twice, and no run begins after an error.
#[test]
fn known_runs_are_not_run_again_and_an_error_ends_all() {
    let design = design();
    let whole = run(&design, Part::WHOLE, Vec::new(), |trial| Ok::<_, ()>(drawn(&design, trial)), |_| Ok(()));
    let whole = whole.unwrap();
    let mut told = 0;
    let again = run(
        &design,
        Part::WHOLE,
        whole.clone(),
        |_| Err("it was run"),
        |_| {
            told += 1;
            Ok(())
        },
    );
    assert_eq!((again, told), (Ok(whole), 0));
    let failed = run(&design, Part::WHOLE, Vec::new(), |_| Err("no"), |_| Ok(()));
    assert_eq!(failed, Err("no"));
    let failed = run(&design, Part::WHOLE, Vec::new(), |trial| Ok(drawn(&design, trial)), |_| Err("full"));
    assert_eq!(failed, Err("full"));
}

/// Seeds of different runs differ; at different rates the tuning has the same ones.
#[test]
fn seeds_are_those_of_the_run() {
    let design = design();
    let trials = design.finals(Part::WHOLE, |_, _| 1).into_iter().chain(design.tuning(Part::WHOLE));
    let seeds: std::collections::HashSet<u64> = trials.map(|trial| design.seed_of(&trial)).collect();
    // 6 cases of 4 runs, and of 2 that choose the rate.
    assert_eq!(seeds.len(), 6 * 4 + 6 * 2);
}

/// The rate is that of most runs that arrive, then of the fewest steps, then of the lowest loss, then the middle one.
#[test]
fn the_rate_is_chosen_by_what_arrives() {
    let design = design();
    let chosen = |courses: [[Course; 2]; 3]| {
        let of_rate = |(rate, courses): (usize, [Course; 2])| {
            courses.into_iter().enumerate().map(move |(run, course)| Record {
                trial: Trial { net: 0, start: 1, stage: Stage::Tuning, rate, run },
                course,
            })
        };
        let records: Vec<Record> = courses.into_iter().enumerate().flat_map(of_rate).collect();
        design.best_rate([0, 1], 0, &records)
    };
    let (soon, late, never) = (course(Some(10), 0.5), course(Some(90), 0.1), course(None, 0.2));
    let low = course(None, 0.1);
    let lost_later = Course { ended: CourseEnd::Diverged, ..course(Some(5), 0.0) };
    let lost = Course { ended: CourseEnd::Diverged, ..course(None, 0.0) };
    let twice = |course: &Course| [course.clone(), course.clone()];
    assert_eq!(chosen([[soon.clone(), never.clone()], twice(&late), twice(&never)]), Some(1));
    assert_eq!(chosen([twice(&late), twice(&late), [late.clone(), soon.clone()]]), Some(2));
    assert_eq!(chosen([twice(&low), twice(&never), [low.clone(), lost]]), Some(0));
    assert_eq!(chosen([twice(&never), twice(&never), twice(&never)]), Some(1));
    // What diverges behind the threshold is no rate to train at.
    assert_eq!(chosen([twice(&lost_later), twice(&late), twice(&never)]), Some(1));
    assert_eq!(design.best_rate([0, 1], 0, &[]), None);
}

/// In a nested design each compared run has the rate that its own runs chose, with seeds that no other has.
#[test]
fn each_run_has_its_own_tuning() {
    let design = Design { nested: true, ..design() };
    let tuning = design.tuning(Part::WHOLE);
    // 6 cases of 4 runs, each tuned by 2 runs at 3 rates.
    assert_eq!((tuning.len(), design.count(Part::WHOLE)), (6 * 4 * 2 * 3, 6 * 4 * 2 * 3 + 6 * 4));
    let finals = design.finals(Part::WHOLE, |_, _| 1);
    let seeds: std::collections::HashSet<u64> =
        finals.iter().chain(&tuning).map(|trial| design.seed_of(trial)).collect();
    assert_eq!(seeds.len(), 6 * 4 + 6 * 4 * 2);
    // Run r of a case is soonest at the rate r mod 3 by its own tuning alone.
    let records = run(
        &design,
        Part::WHOLE,
        Vec::new(),
        |trial| {
            let is_best = trial.rate == trial.run / design.tuning_runs % 3;
            Ok::<_, ()>(course(Some(if is_best { 10 } else { 20 }), 0.1))
        },
        |_| Ok(()),
    )
    .unwrap();
    let finals = records.iter().filter(|record| record.trial.stage == Stage::Final);
    let mut rates: Vec<(usize, usize)> =
        finals.take(4).map(|record| (record.trial.run, record.trial.rate)).collect();
    rates.sort_unstable();
    assert_eq!(rates, [(0, 0), (1, 1), (2, 2), (3, 0)]);
    assert_eq!(design.best_rate([0, 1], 4, &records), None); // there is no fifth run
}

/// A file of runs goes on after a kill in the middle of a line, and runs what stood behind a damaged one again.
#[test]
fn a_file_of_runs_goes_on_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.jsonl");
    let design = design();
    let open = || RecordFile::open(&path, "{\"of\":1}").unwrap();
    let (mut file, known) = open();
    assert!(known.is_empty());
    // No second process writes it at the same time.
    let error = RecordFile::open(&path, "{\"of\":1}").unwrap_err().to_string();
    assert!(error.contains("it is in use by another process"), "{error}");
    let records =
        run(&design, Part::WHOLE, known, |trial| Ok(drawn(&design, trial)), |record| file.add(record));
    let records = records.unwrap();
    drop(file);
    let bytes = std::fs::read(&path).unwrap();
    let sorted = |mut records: Vec<Record>| {
        records.sort_by_key(|record| record.trial);
        records
    };
    assert_eq!(sorted(open().1), records);
    // Killed after any number of bytes, and gone on.
    for length in (0..bytes.len()).step_by(997).chain([0, 1, 8, 9, 10, bytes.len() - 1]) {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let (mut file, known) = open();
        assert!(known.iter().all(|record| records.contains(record)));
        let again =
            run(&design, Part::WHOLE, known, |trial| Ok(drawn(&design, trial)), |record| file.add(record));
        assert_eq!(again.unwrap(), records, "after {length} bytes");
        drop(file);
        assert_eq!(sorted(open().1), records);
    }
    let error = RecordFile::open(&path, "{\"of\":2}").unwrap_err().to_string();
    assert!(error.contains("runs of another experiment"), "{error}");
    std::fs::write(&path, "notes").unwrap();
    assert!(RecordFile::open(&path, "{\"of\":1}").unwrap_err().to_string().contains("no file of runs"));
}

/// n = 200 comparisons of two copies of one start, seed 11: 10 runs each, whose steps are log-normal (a spread of a
/// factor 1.5), where each run never arrives with probability 0.1. At α = .05 at most 17 are called different: more
/// have a probability of 0.012 by the binomial law. The twin, a start that takes 2.5 times as long, is called different
/// in three of four.
#[test]
fn two_copies_of_one_start_are_seldom_called_different() {
    use rand::RngExt;
    use wick_init::Initializer;
    let normal = Initializer::normal(1.0);
    let normal = normal.tensor(
        KeyedV1::new(11).key("steps"),
        (400, 2 * 10),
        candle_core::DType::F64,
        &candle_core::Device::Cpu,
    );
    let normal = normal.unwrap().to_vec2::<f64>().unwrap();
    let mut rng = KeyedV1::new(11).key("never").rng();
    let mut steps = |x: f64, factor: f64| match rng.random_range(0..10) {
        0 => Steps::censored(2000),
        _ => Steps::reached((factor * 300.0 * (0.4 * x).exp()) as u64),
    };
    let mut found = |rows: &[Vec<f64>], factor: f64| {
        let mut count = 0;
        for (number, row) in rows.iter().enumerate() {
            let first: Vec<Steps> = row[..10].iter().map(|x| steps(*x, 1.0)).collect();
            let second: Vec<Steps> = row[10..].iter().map(|x| steps(*x, factor)).collect();
            let key = KeyedV1::new(11).key(&format!("pair/{number}"));
            count += usize::from(sooner(&first, &second, key).1 <= 0.05);
        }
        count
    };
    let (equal, different) = (found(&normal[..200], 1.0), found(&normal[200..], 2.5));
    println!("{equal} of 200 equal ones, {different} of 200 different ones");
    assert!(equal <= 17 && different > 150, "{equal} {different}");
}

/// n = 200 comparisons of two groups of 8 scores from one law, seed 12, α = .05: at most 17 are called different. The
/// twin, a group that is one standard deviation better, is in more than 60 %; a run without a score is the worst.
#[test]
fn equal_scores_are_seldom_called_different() {
    use wick_init::Initializer;
    let normal = Initializer::normal(1.0).tensor(
        KeyedV1::new(12).key("scores"),
        (200, 16),
        candle_core::DType::F64,
        &candle_core::Device::Cpu,
    );
    let normal = normal.unwrap().to_vec2::<f64>().unwrap();
    let found = |better: f64| {
        let is_found = |row: &&Vec<f64>| {
            let second: Vec<f64> = row[8..].iter().map(|x| x + better).collect();
            larger(&row[..8], &second, KeyedV1::new(12).key("pair")).1 <= 0.05
        };
        normal.iter().filter(is_found).count()
    };
    let (equal, different) = (found(0.0), found(1.5));
    assert!(equal <= 17 && different > 120, "{equal} {different}");
    let lost = [f64::NEG_INFINITY; 6];
    let (difference, p) = larger(&[0.2; 6], &lost, KeyedV1::new(1).key("pair"));
    assert!(difference > 0.0 && p < 0.01);
    assert_eq!(larger(&lost, &lost, KeyedV1::new(1).key("pair")).1, 1.0);
}

/// A small first loss makes no run diverged, and a large one does not hide that it grows.
#[test]
fn the_first_losses_are_the_measure() {
    let diverges = |losses: &[f64]| {
        let mut growth = race::Growth::default();
        let found = losses.iter().enumerate().find(|(step, loss)| growth.is_divergence(*step as u64, **loss));
        found.map(|(step, _)| step)
    };
    assert_eq!(diverges(&[1e-9, 0.5, 2.0, 1.0]), None);
    assert_eq!(diverges(&[1e6, 9e8, 2.0, 1.0]), None);
    assert_eq!(diverges(&[2.0, 1.5, 2001.0]), Some(2));
    // A loss of 30 within the first 20 is the measure of all later ones, and behind them it is not.
    let (mut early, mut late) = ([1.0; 40], [1.0; 40]);
    (early[19], late[20]) = (30.0, 30.0);
    (early[39], late[39]) = (20_000.0, 20_000.0);
    assert_eq!((diverges(&early), diverges(&late)), (None, Some(39)));
}

/// From zero weights and with a learning rate of 100, the second loss is 4e4 times the first: a run that ends with it has
/// diverged, and one that ends before has not.
#[test]
fn a_run_may_diverge_in_its_last_step() {
    use candle_core::{DType, Device, Tensor};
    use candle_nn::{Init, VarBuilder, VarMap};

    let xs = Tensor::new(&[[1f32, 0.0], [0.0, 1.0], [1.0, 1.0]], &Device::Cpu).unwrap();
    let ys = xs.sum_keepdim(1).unwrap();
    let data = crate::data::InMemory::new(&xs).unwrap();
    let data = data.with_targets(crate::data::Targets::Numbers(ys)).unwrap();
    let race = Race {
        training: &data,
        validation: None,
        test: None,
        metrics: &crate::metrics::Metrics::Regression { standardization: None },
        every: 1,
        threshold: Threshold::Loss(0.0),
        ends_there: false,
    };
    let ended = |steps: u64| {
        let vars = VarMap::new();
        let builder = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
        let weights = builder.get_with_hints((2, 1), "weight", Init::Const(0.0)).unwrap();
        let length = crate::Length::Steps(steps);
        let optimizer = "sgd:lr=100".parse().unwrap();
        let config = crate::Config { batch: 3, length, optimizer, ..crate::Config::default() };
        let outputs = |input: &Tensor| input.matmul(&weights);
        let course = race.run(
            &vars,
            Vec::new(),
            config,
            |step| {
                let loss = candle_nn::loss::mse(&outputs(step.input())?, step.targets()?)?;
                let gradients = loss.backward()?;
                Ok((loss, gradients))
            },
            |batch| outputs(&batch.input),
        );
        course.unwrap().ended
    };
    assert_eq!((ended(1), ended(2)), (CourseEnd::Finished, CourseEnd::Diverged));
}
