//! A run while it goes on.

mod looking;
mod saving;
mod validating;

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Instant;

use candle_core::DType;
use wick_init::KeyedV1;
use wick_kernels::{Ema, LossScale};
use wick_probe::Probe;

use super::accumulate::{Common, Cut};
use super::identity::identity;
use super::line::{FORMAT, Layer, Line};
use super::outcome::{Ended, Outcome};
use super::progress::{Progress, Shown};
use super::step::{Gradients, Objective};
use super::variables::Variables;
use super::{Length, Trainer};
use crate::data::{Batch, Dataset};
use crate::error::Error;
use crate::optimizer::AnyOptimizer;
use crate::order::{Order, Position};
use crate::run::checkpoint::State;
use crate::run::log::{Log, LogState};

/// The loss scale of `f16` variables where none is given, and the steps after which it is doubled. PyTorch begins with
/// 65536, which no `f16` holds.
const LOSS_SCALE: (f64, u64) = (32768.0, 2000);

/// The smallest loss scale: gradients that overflow there are not finite by any scale.
const LEAST_LOSS_SCALE: f64 = 1.0 / 16384.0;

/// A run while it goes on.
pub(super) struct Session<'s, 'a> {
    trainer: &'s mut Trainer<'a>,
    data: &'s dyn Dataset,
    order: Order,
    steps: u64,
    steps_per_epoch: u64,
    cut: Cut,
    variables: Variables,
    optimizer: AnyOptimizer,
    ema: Option<Ema>,
    identity: BTreeMap<String, String>,
    state: State,
    /// The step of the last checkpoint that was read or written.
    checkpoint: Option<u64>,
    log: Option<Log>,
    progress: Option<Progress>,
    notices: Vec<String>,
    /// Whether the steps lead to one that is run again: nothing is recorded on the way.
    is_replaying: bool,
    /// The losses from the first step on, where a probe judges them.
    losses: Option<Vec<f64>>,
    /// Batches that a thread makes ahead.
    ahead: Option<Receiver<Result<Batch, Error>>>,
}

impl<'s, 'a> Session<'s, 'a> {
    pub(super) fn new(trainer: &'s mut Trainer<'a>, data: &'s dyn Dataset) -> Result<Self, Error> {
        let config = &trainer.config;
        let order = Order::new(data.len(), KeyedV1::new(config.seed).key("order"))?;
        let order = order.with_last_batch(config.last_batch);
        let order = if config.shuffle { order } else { order.without_shuffling() };
        let steps_per_epoch = order.steps_per_epoch(config.batch)?;
        let steps = match config.length {
            Length::Epochs(epochs) => epochs.saturating_mul(steps_per_epoch),
            Length::Steps(steps) => steps,
        };
        let variables = trainer.variables()?;
        let cut = Cut { leaves: config.leaves, micro_batches: config.micro_batches };
        if let Some(buffer) = variables.buffers().next().filter(|_| cut.leaves > 1) {
            return Err(Error::Settings(format!(
                "`{}` is a statistic of the batch, which blocks do not have: use leaves = 1",
                buffer.name
            )));
        }
        let mut optimizer = AnyOptimizer::new(&config.optimizer, variables.trainable())?;
        optimizer.set_clip(config.clip)?;
        let is_half = variables.trained().any(|named| named.var.dtype() == DType::F16);
        let dynamic = || LossScale::dynamic(LOSS_SCALE.0, LOSS_SCALE.1);
        optimizer.set_loss_scale(config.loss_scale.or_else(|| is_half.then(dynamic)))?;
        let averaged = variables.trained().map(|named| (named.name.clone(), named.var.clone()));
        let ema = config.ema.map(|decay| Ema::new(averaged.collect(), decay)).transpose()?;
        let identity = identity(trainer, &variables, data)?;
        Ok(Self {
            trainer,
            data,
            order,
            steps,
            steps_per_epoch,
            cut,
            variables,
            optimizer,
            ema,
            identity,
            state: State {
                step: 0,
                log: LogState::default(),
                optimizer: Vec::new(),
                ema: Vec::new(),
                loss: None,
                best: None,
                validation: None,
                waited: 0,
                history: Vec::new(),
                loss_sum: 0.0,
                ended: None,
            },
            checkpoint: None,
            log: None,
            progress: None,
            notices: Vec::new(),
            is_replaying: false,
            losses: None,
            ahead: None,
        })
    }

    pub(super) fn fit(mut self, objective: &mut dyn Objective) -> Result<Outcome, Error> {
        self.progress = self.trainer.progress.then(|| Progress::new(self.steps));
        let fitted = self.fit_shown(objective);
        if let Some(progress) = &self.progress {
            progress.finish();
        }
        // Of a run that failed, too.
        self.trainer.history = self.state.history.clone();
        let (first, started, ended) = fitted?;
        Ok(self.outcome(first, started, ended))
    }

    /// The steps done before, the time of the start, and the end.
    fn fit_shown(&mut self, objective: &mut dyn Objective) -> Result<(u64, Instant, Ended), Error> {
        self.resume(None)?;
        if self.trainer.probe.is_some() {
            self.recall_losses();
        }
        let (first, started) = (self.state.step, Instant::now());
        if let Some(ended) = self.state.ended {
            self.finish_again()?;
            self.show_weights()?;
            return Ok((first, started, ended));
        }
        if first == 0 {
            self.check_log()?;
            self.try_first_step(objective)?;
        }
        if let Some(progress) = &mut self.progress {
            progress.begin(first);
        }
        if let Some(run) = &self.trainer.run {
            self.log = Some(Log::open(&run.folder.log(), &self.state.log)?);
        }
        if first == 0 {
            // What an earlier start left, which no checkpoint followed, is of no run.
            if let Some(run) = &self.trainer.run {
                run.folder.remove_weights()?;
            }
            let parameters = self.variables.trained().map(|named| named.var.elem_count()).sum();
            let line = Line::Run { format: FORMAT, settings: &self.identity, parameters };
            self.log.as_mut().map_or(Ok(()), |log| log.add(&line))?;
        }
        let ended = if self.trainer.prefetch { self.steps_ahead(objective) } else { self.steps(objective) };
        let ended = ended?;
        if self.state.ended.is_some() {
            self.show_weights()?;
        }
        Ok((first, started, ended))
    }

    /// Runs the steps that are left, with a thread that makes their batches.
    fn steps_ahead(&mut self, objective: &mut dyn Objective) -> Result<Ended, Error> {
        let (data, order, cut) = (self.data, self.order, self.cut);
        let (steps, size) = (self.state.step..self.steps, self.trainer.config.batch);
        thread::scope(|scope| {
            // One batch waits, one is in the hands of the thread.
            let (sender, batches) = sync_channel(1);
            let make = move || {
                for step in steps {
                    let batches = order.position(step, size).map(|position| {
                        let rows: Vec<_> = cut.loads(position.indices.len()).collect();
                        (position, rows)
                    });
                    let Ok((position, rows)) = batches else { return };
                    for rows in rows {
                        let batch = data.epoch_batch(position.epoch, &position.indices[rows]);
                        let is_last = batch.is_err();
                        // Without a receiver, the run is over.
                        if sender.send(batch).is_err() || is_last {
                            return;
                        }
                    }
                }
            };
            let spawned = thread::Builder::new().name("prefetch".to_owned()).spawn_scoped(scope, make);
            // Without a thread, each step makes its batch.
            self.ahead = spawned.is_ok().then_some(batches);
            // A panic of the model must not leave the thread waiting for a receiver.
            let ended = catch_unwind(AssertUnwindSafe(|| self.steps(objective)));
            self.ahead = None;
            ended.unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Runs the steps that are left.
    fn steps(&mut self, objective: &mut dyn Objective) -> Result<Ended, Error> {
        while self.state.step < self.steps {
            let step = self.state.step;
            self.step(step, objective)?;
            self.state.step += 1;
            let mut ended = (self.state.step == self.steps).then_some(Ended::Finished);
            if self.is_point(ended.is_some()) {
                if self.validate()? {
                    ended = ended.or(Some(Ended::EarlyStopping));
                }
                self.add_point();
                let goal = self.trainer.goal.as_ref().zip(self.state.history.last());
                if goal.is_some_and(|(goal, point)| (goal.0)(point)) {
                    ended = Some(Ended::GoalReached);
                }
            }
            if let Some(ended) = ended {
                self.check_weights()?;
                self.add(&Line::End { step: self.state.step, ended })?;
                self.state.ended = Some(ended);
                self.write_last()?;
                self.checkpoint()?;
                return Ok(ended);
            }
            let stop = self.trainer.stop.map_or(0, |stop| stop.load(Ordering::Relaxed));
            let every = self.trainer.run.as_ref().map_or(u64::MAX, |run| run.every);
            if stop != 0 || self.state.step.is_multiple_of(every) {
                self.checkpoint()?;
            }
            if stop != 0 {
                return Ok(Ended::Stopped(stop));
            }
        }
        Ok(Ended::Finished)
    }

    /// One step: gradients, the log, the optimizer, the averaged weights.
    fn step(&mut self, step: u64, objective: &mut dyn Objective) -> Result<(), Error> {
        let position = self.order.position(step, self.trainer.config.batch)?;
        let is_recorded = |every: u64| !self.is_replaying && step.is_multiple_of(every);
        let probe = self.trainer.probe.as_ref().filter(|(_, every)| is_recorded(*every));
        let probe = probe.map(|(probe, _)| probe.clone());
        if let Some(probe) = probe.as_ref().filter(|_| step > 0) {
            probe.weights_are_trained();
        }
        let found = self.gradients(step, &position, probe.as_ref(), objective)?;
        if !found.loss.is_finite() {
            return Err(self.diverged(step, found.loss, &position, objective));
        }
        let rate = self.trainer.config.optimizer.learning_rate() * self.trainer.config.schedule.at(step);
        let before = self.optimizer.steps();
        self.optimizer.step(&found.store, rate)?;
        let skipped = self.optimizer.steps() == before;
        if skipped && self.optimizer.loss_scale() <= LEAST_LOSS_SCALE {
            let what = format!(
                "the gradients are not finite with the smallest loss scale; lower the learning rate, or use bf16{}",
                self.last_good()
            );
            return Err(Error::Diverged { step, what });
        }
        if let Some(ema) = self.ema.as_mut().filter(|_| !skipped) {
            ema.update()?;
        }
        self.state.loss = Some(found.loss);
        if let Some(losses) = &mut self.losses {
            losses.push(found.loss);
        }
        self.state.loss_sum += found.loss;
        let (samples, epoch) = (position.indices.len(), position.epoch);
        if self.log.is_some() {
            let gradient_norm = self.optimizer.gradient_norm().filter(|norm| norm.is_finite());
            self.add(&Line::Step {
                step,
                epoch,
                samples,
                loss: found.loss,
                learning_rate: rate,
                gradient_norm,
                skipped,
            })?;
        }
        if let Some(probe) = &probe {
            // Gradients that overflow by the loss scale are no fault of the net.
            let verdicts = if skipped { Vec::new() } else { self.judge(probe, &position)? };
            for verdict in verdicts.iter().filter(|_| self.trainer.progress) {
                self.show(&format!("step {step}: {verdict}"));
            }
            self.add(&Line::Probe { step, layers: Layer::all(probe), verdicts })?;
            probe.next_step();
        }
        if let Some(progress) = &mut self.progress {
            progress.step(Shown { done: step + 1, epoch, loss: found.loss, rate, samples });
        }
        Ok(())
    }

    fn gradients(
        &self,
        step: u64,
        position: &Position,
        probe: Option<&Probe>,
        objective: &mut dyn Objective,
    ) -> Result<Gradients, Error> {
        let common = Common {
            number: step,
            seed: self.trainer.config.seed,
            loss_scale: self.optimizer.loss_scale(),
            probe,
        };
        let load = &mut |rows: Range<usize>| match &self.ahead {
            Some(ahead) => ahead.recv().unwrap_or_else(|_| {
                Err(Error::Data("the thread that makes batches ahead has ended".to_owned()))
            }),
            _ => self.data.epoch_batch(position.epoch, &position.indices[rows]),
        };
        self.cut.gradients(load, position, common, objective)
    }

    fn add(&mut self, line: &Line) -> Result<(), Error> {
        self.log.as_mut().map_or(Ok(()), |log| log.add(line))
    }

    fn say(&mut self, text: &str) {
        self.show(text);
        self.notices.push(text.to_owned());
    }

    fn show(&self, text: &str) {
        if let Some(progress) = &self.progress {
            progress.line(text);
        }
    }

    fn outcome(self, first: u64, started: Instant, ended: Ended) -> Outcome {
        let State { step, loss, best, validation, history, .. } = self.state;
        Outcome {
            steps: step,
            steps_here: step - first,
            seconds: started.elapsed().as_secs_f64(),
            loss,
            validation,
            best,
            history,
            ended,
            notices: self.notices,
        }
    }
}
