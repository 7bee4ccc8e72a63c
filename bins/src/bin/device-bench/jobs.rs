//! The jobs that are timed, and their sizes.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Job {
    /// [batch, width] times [width, width]
    Product,
    /// A forward pass of tanh layers, with the mean, std and histogram of each
    Forward,
    /// A forward pass, a backward pass and AdamW
    Training,
    /// The normal weights of one layer, [width, width], by their keyed stream
    Draw,
}

impl Job {
    pub(crate) const ALL: [Self; 4] = [Self::Product, Self::Forward, Self::Training, Self::Draw];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Product => "product",
            Self::Forward => "forward",
            Self::Training => "training",
            Self::Draw => "draw",
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A job with its size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Size {
    pub(crate) job: Job,
    /// 0 for a job without a batch.
    pub(crate) batch: usize,
    pub(crate) width: usize,
    pub(crate) depth: usize,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} × {}", self.job, self.batch, self.width)
    }
}

impl Size {
    /// The additions and multiplications of the job, or the numbers that it draws.
    pub(crate) fn operations(&self) -> f64 {
        let (batch, width) = (self.batch as f64, self.width as f64);
        let product = 2.0 * batch * width * width;
        match self.job {
            Job::Product => product,
            Job::Forward => product * self.depth as f64,
            Job::Training => 3.0 * product * self.depth as f64,
            Job::Draw => width * width,
        }
    }

    /// About how many numbers are in memory at once.
    pub(crate) fn numbers(&self) -> f64 {
        let (batch, width, depth) = (self.batch as f64, self.width as f64, self.depth as f64);
        match self.job {
            Job::Product => 2.0 * batch * width + width * width,
            Job::Forward => (depth + 2.0) * batch * width + depth * width * width,
            Job::Training => (3.0 * depth + 3.0) * batch * width + 5.0 * depth * width * width,
            Job::Draw => width * width,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_counted() {
        let size = |job| Size { job, batch: 10, width: 20, depth: 3 };
        let operations = Job::ALL.map(|job| size(job).operations());
        assert_eq!(operations, [8000.0, 24000.0, 72000.0, 400.0]);
    }
}
