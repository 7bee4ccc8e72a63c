//! Many runs at once, one a thread.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

use wick_kernels::parallel::for_each_alone;

use super::design::{Design, Part, Record, Trial};
use super::race::Course;

/// Runs a part of a design, each run on one thread: first those that choose the learning rates, then those that are
/// compared. `known` are runs that were done before. `train` does a run, at the rate and with the seed that the design
/// has for it; `finished` is told of each run as it ends. The records are in the order of the design, whatever the number
/// of threads, the parts and the runs that were known.
///
/// ```
/// use wick_train::compare::{Course, CourseEnd, Design, Part, Stage, run};
///
/// let design = Design {
///     nets: vec!["net".into()],
///     starts: vec!["a".into(), "b".into()],
///     rates: vec![0.1, 1.0],
///     tuning_runs: 1,
///     runs: 3,
///     nested: false,
///     seed: 42,
/// };
/// let records = run(&design, Part::WHOLE, Vec::new(), |trial| {
///     let steps = if design.rates[trial.rate] > 0.5 { 10 } else { 20 };
///     Ok::<_, ()>(Course { ended: CourseEnd::Finished, reached: Some(steps), history: vec![], training: None, test: None })
/// }, |_| Ok(()))?;
/// let finals = records.iter().filter(|record| record.trial.stage == Stage::Final);
/// assert!(finals.clone().count() == 6 && finals.clone().all(|record| record.trial.rate == 1)); // the sooner one
/// # Ok::<(), ()>(())
/// ```
///
/// # Errors
/// The first of `train` and `finished`; no run is begun after it.
pub fn run<E: Send>(
    design: &Design,
    part: Part,
    known: Vec<Record>,
    train: impl Fn(&Trial) -> Result<Course, E> + Sync,
    finished: impl FnMut(&Record) -> Result<(), E> + Send,
) -> Result<Vec<Record>, E> {
    let finished = Mutex::new(finished);
    let mut records = known;
    let missing = |records: &mut Vec<Record>, trials: Vec<Trial>| -> Result<(), E> {
        let is_known: HashSet<Trial> = records.iter().map(|record| record.trial).collect();
        let trials: Vec<Trial> = trials.into_iter().filter(|trial| !is_known.contains(trial)).collect();
        let (done, failed) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        for_each_alone(trials.len(), |number| {
            if failed.load(Ordering::Relaxed) {
                return;
            }
            let trial = trials[number];
            let result = train(&trial).and_then(|course| {
                let record = Record { trial, course };
                let mut finished = finished.lock().unwrap_or_else(PoisonError::into_inner);
                (*finished)(&record).map(|()| record)
            });
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            done.lock().unwrap_or_else(PoisonError::into_inner).push(result);
        });
        for result in done.into_inner().unwrap_or_else(PoisonError::into_inner) {
            records.push(result?);
        }
        Ok(())
    };
    missing(&mut records, design.tuning(part))?;
    let rates = |case, run| design.best_rate(case, run, &records).unwrap_or(0);
    let finals = design.finals(part, rates);
    missing(&mut records, finals.clone())?;
    let wanted: HashSet<Trial> = design.tuning(part).into_iter().chain(finals).collect();
    records.retain(|record| wanted.contains(&record.trial));
    records.sort_by_key(|record| record.trial);
    records.dedup_by_key(|record| record.trial);
    Ok(records)
}
