//! A run while it goes on.

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
use wick_probe::{BatchGeometry, Probe, Verdict, judge};

use super::accumulate::{Common, Cut, rows_of_leaf};
use super::line::{FORMAT, Layer, Line};
use super::outcome::{Ended, Outcome};
use super::progress::{Progress, Shown};
use super::replay::{Replay, logged_loss};
use super::step::{Gradients, Objective, Step};
use super::variables::Variables;
use super::{Length, Trainer, not_finite, trial};
use crate::data::{Batch, Dataset};
use crate::error::Error;
use crate::optimizer::AnyOptimizer;
use crate::order::{Order, Position};
use crate::run::checkpoint::State;
use crate::run::log::{Log, LogState};

/// The loss scale of `f16` variables where none is given: PyTorch's.
const LOSS_SCALE: (f64, u64) = (65536.0, 2000);

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
        let variables = trainer.variables();
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
        let identity = saving::identity(trainer, &variables, data)?;
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
            ahead: None,
        })
    }

    pub(super) fn fit(mut self, objective: &mut dyn Objective) -> Result<Outcome, Error> {
        self.resume(None)?;
        let (first, started) = (self.state.step, Instant::now());
        if let Some(ended) = self.state.ended {
            self.finish_again()?;
            self.show_weights()?;
            return Ok(self.outcome(first, started, ended));
        }
        if first == 0 {
            self.try_first_step(objective)?;
        }
        if self.trainer.progress {
            self.progress = Some(Progress::new(self.steps, first));
        }
        if let Some(run) = &self.trainer.run {
            self.log = Some(Log::open(&run.folder.log(), &self.state.log)?);
        }
        if first == 0 {
            let parameters = self.variables.trained().map(|named| named.var.elem_count()).sum();
            let line = Line::Run { format: FORMAT, settings: &self.identity, parameters };
            self.log.as_mut().map_or(Ok(()), |log| log.add(&line))?;
        }
        let ended = if self.trainer.prefetch { self.steps_ahead(objective) } else { self.steps(objective) };
        if let Some(progress) = &self.progress {
            progress.finish();
        }
        let ended = ended?;
        if self.state.ended.is_some() {
            self.show_weights()?;
        }
        Ok(self.outcome(first, started, ended))
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
                        // Without a receiver, the run is over.
                        if sender.send(batch).is_err() {
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
            }
            if let Some(ended) = ended {
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
        let probe = self.trainer.probe.as_ref().filter(|(_, every)| step.is_multiple_of(*every));
        let probe = probe.map(|(probe, _)| probe.clone());
        let found = self.gradients(step, &position, probe.as_ref(), objective)?;
        if !found.loss.is_finite() {
            return Err(self.diverged(step, found.loss, &position, objective));
        }
        let rate = self.trainer.config.optimizer.learning_rate() * self.trainer.config.schedule.at(step);
        self.optimizer.step(&found.store, rate)?;
        if let Some(ema) = &mut self.ema {
            ema.update()?;
        }
        self.state.loss = Some(found.loss);
        self.state.loss_sum += found.loss;
        let (samples, epoch) = (position.indices.len(), position.epoch);
        if self.log.is_some() {
            let gradient_norm = self.optimizer.gradient_norm();
            self.add(&Line::Step {
                step,
                epoch,
                samples,
                loss: found.loss,
                learning_rate: rate,
                gradient_norm,
            })?;
        }
        if let Some(probe) = &probe {
            let verdicts = self.judge(probe, &position)?;
            for verdict in &verdicts {
                self.say(&format!("step {step}: {verdict}"));
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
            Some(ahead) => ahead.recv().unwrap_or(Err(Error::Samples(0))),
            _ => self.data.epoch_batch(position.epoch, &position.indices[rows]),
        };
        self.cut.gradients(load, position, common, objective)
    }

    fn judge(&self, probe: &Probe, position: &Position) -> Result<Vec<Verdict>, Error> {
        let reports = probe.layer_reports();
        if reports.is_empty() {
            return Ok(Vec::new());
        }
        let rows = rows_of_leaf(0, self.cut.leaves, position.indices.len());
        let input = self.data.epoch_batch(position.epoch, &position.indices[rows.clone()])?.input;
        let features = (input.elem_count() / rows.len().max(1)).max(1);
        let values = input.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        Ok(judge(&reports, &BatchGeometry::of(&values, features)))
    }

    /// The error of a loss that is not finite.
    fn diverged(&self, step: u64, loss: f64, position: &Position, objective: &mut dyn Objective) -> Error {
        let mut explain = || -> Result<String, Error> {
            let batch: Batch = self.data.epoch_batch(position.epoch, &position.indices)?;
            let like = Step {
                batch: &batch,
                number: step,
                epoch: position.epoch,
                leaf: 0,
                seed: self.trainer.config.seed,
                loss_scale: 1.0,
                probe: None,
            };
            let rows: Vec<usize> = position.indices.iter().map(|index| self.data.row(*index)).collect();
            not_finite::explain(loss, &batch, &rows, &self.variables, like, objective)
        };
        let what = explain().unwrap_or_else(|error| format!("the loss is {loss} ({error})"));
        Error::Diverged { step, what: what + &self.last_good() }
    }

    /// Where the run can go on from.
    fn last_good(&self) -> String {
        let newest =
            self.trainer.run.as_ref().and_then(|run| run.folder.checkpoints().ok()?.into_iter().next());
        newest.map(|(_, path)| format!("; the last checkpoint is '{}'", path.display())).unwrap_or_default()
    }

    /// Tries the first step: stops at variables without a gradient, and notes a step that differs from itself.
    fn try_first_step(&mut self, objective: &mut dyn Objective) -> Result<(), Error> {
        let position = self.order.position(0, self.trainer.config.batch)?;
        let found = trial::try_step(&self.variables, || self.gradients(0, &position, None, objective))?;
        if !found.without_gradient.is_empty() {
            if !self.trainer.allow_missing {
                return Err(Error::NoGradient(found.without_gradient));
            }
            let names = found.without_gradient.join(", ");
            self.say(&format!("no gradient reaches {names}: they stay as they are"));
        }
        if !found.is_deterministic {
            self.say(
                "the first step, run twice, gave different bits: the model draws from a generator without a key \
                 (candle's Dropout?), so that a resumed run will differ from an undisturbed one",
            );
        }
        Ok(())
    }

    pub(super) fn replay(mut self, step: u64, objective: &mut dyn Objective) -> Result<Replay, Error> {
        if step >= self.steps {
            let text = format!("there is no step {step}: the run has the steps 0 to {}", self.steps - 1);
            return Err(Error::Settings(text));
        }
        self.resume(Some(step))?;
        let log = self.trainer.run.as_ref().map(|run| run.folder.log());
        let probing = self.trainer.probe.take();
        while self.state.step < step {
            self.step(self.state.step, objective)?;
            self.state.step += 1;
        }
        let position = self.order.position(step, self.trainer.config.batch)?;
        let probe = probing.map_or_else(Probe::new, |(probe, _)| probe);
        let found = self.gradients(step, &position, Some(&probe), objective)?;
        Ok(Replay {
            step,
            epoch: position.epoch,
            loss: found.loss,
            logged_loss: log.and_then(|log| logged_loss(&log, step)),
            layers: probe.layer_reports(),
            verdicts: self.judge(&probe, &position)?,
            samples: position.indices.iter().map(|index| self.data.row(*index)).collect(),
        })
    }

    fn add(&mut self, line: &Line) -> Result<(), Error> {
        self.log.as_mut().map_or(Ok(()), |log| log.add(line))
    }

    fn say(&mut self, text: &str) {
        if let Some(progress) = &self.progress {
            progress.line(text);
        }
        self.notices.push(text.to_owned());
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
