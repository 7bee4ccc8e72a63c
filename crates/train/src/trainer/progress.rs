//! What a run says while it goes on.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the numbers beside the bar change.
const ON_TERMINAL: Duration = Duration::from_millis(100);
/// How often a plain line is written where stderr is no terminal.
const ELSEWHERE: Duration = Duration::from_secs(30);

/// Progress on stderr: a bar on a terminal, else a plain line now and then.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    steps: u64,
    first: u64,
    started: Instant,
    shown: Instant,
    samples: u64,
}

/// The numbers of a step that are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) done: u64,
    pub(crate) epoch: u64,
    pub(crate) loss: f64,
    pub(crate) rate: f64,
    pub(crate) samples: usize,
}

impl Progress {
    pub(crate) fn new(steps: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{bar:25.cyan/black} {pos}/{len} {msg} {eta} left");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        let now = Instant::now();
        Self { bar, steps, first: 0, started: now, shown: now, samples: 0 }
    }

    /// The steps begin, after those that were done before.
    pub(crate) fn begin(&mut self, first: u64) {
        (self.first, self.started) = (first, Instant::now());
        if let Some(bar) = &self.bar {
            bar.set_position(first);
            bar.reset_eta();
        }
    }

    pub(crate) fn step(&mut self, shown: Shown) {
        self.samples += shown.samples as u64;
        let interval = if self.bar.is_some() { ON_TERMINAL } else { ELSEWHERE };
        if self.shown.elapsed() < interval {
            return;
        }
        self.shown = Instant::now();
        let seconds = self.started.elapsed().as_secs_f64().max(1e-9);
        let Shown { done, epoch, loss, rate, .. } = shown;
        let numbers = format!(
            "epoch {epoch}, loss {loss:.4}, learning rate {rate:.3e}, {:.0} samples/s",
            self.samples as f64 / seconds
        );
        match &self.bar {
            Some(bar) => {
                bar.set_position(done);
                bar.set_message(numbers);
            }
            None => {
                let left = seconds / (done - self.first).max(1) as f64 * (self.steps - done) as f64;
                eprintln!("step {done} of {}, {numbers}, {left:.0} s left", self.steps);
            }
        }
    }

    /// Writes a line beside the bar.
    pub(crate) fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
