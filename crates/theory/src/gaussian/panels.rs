//! Where the panels of an integral over the normal measure end.

use std::iter::successors;

/// Beyond this many standard deviations the normal measure weighs less than 1e-32.
const REACH: f64 = 12.0;
/// The widest panel, in units of the argument, where a function may oscillate: about one period of the sine.
const PERIOD: f64 = 8.0;
/// The distance from which on an activation that settles is a power of its argument, or nearly so.
const SETTLED: f64 = 100.0;
/// The distance to which a function of unknown tails is taken to oscillate: all that the measure weighs, for
/// arguments of a variance of at most a million.
const RESOLVED: f64 = 12e3;
/// The variance from which on the expectation of a periodic function is its mean over a period, to far more
/// digits than `f64` has.
const MANY_PERIODS: f64 = 1e3;

/// How a function behaves far from zero, which says how many panels an integral of it needs.
///
/// The number of evaluations is bounded for each, whatever the variance of the argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tails {
    /// The function approaches a power of its argument (linear, constant, `1/x`, …), possibly another one on
    /// each side. Beyond ±100, panels grow in proportion to the distance from zero: less than 5000
    /// evaluations at a variance of 1e30.
    Settled,
    /// The function is periodic, with a period of at most 2π, and it and its derivative have a mean of 0 over
    /// a period, as the sine does. At variances above 1000 an expectation is that at 1000: the mean over a
    /// period, to far more digits than `f64` has.
    Periodic,
    /// Nothing is known. The function may oscillate with periods of about 2π and more up to ±12000, which is
    /// all that matters at a variance of a million; beyond, it is assumed to be settled. Less than 70 000
    /// evaluations.
    Unknown,
}

/// What a rule must know of a function: where it is not smooth, and where it bends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape<'a> {
    /// The places where the function or a derivative of it jumps.
    pub(crate) kinks: &'a [f64],
    /// The behaviour far from `-centre`.
    pub(crate) tails: Tails,
    /// The function is `f(centre + x)` for an `f` that has the kinks and bends within a few units of zero.
    pub(crate) centre: f64,
}

impl Shape<'_> {
    /// The variance that stands for `q`.
    pub(super) fn effective_variance(&self, q: f64) -> f64 {
        if self.tails == Tails::Periodic && q > MANY_PERIODS { MANY_PERIODS } else { q }
    }

    /// Where the panels end, in standard deviations, for an argument of the standard deviation `scale`, in
    /// rising order.
    pub(super) fn edges(&self, scale: f64) -> Vec<f64> {
        let mut edges = vec![-REACH, REACH];
        edges.extend(self.kinks.iter().map(|kink| (kink - self.centre) / scale));
        if scale > 1.0 && scale.is_finite() {
            let farthest = REACH * scale + self.centre.abs();
            let distances =
                successors(Some(0.5), |u| Some(self.next_distance(*u))).take_while(|u| *u < farthest);
            edges.extend(distances.flat_map(|u| [(-u - self.centre) / scale, (u - self.centre) / scale]));
        }
        edges.retain(|z| z.abs() <= REACH);
        edges.sort_by(f64::total_cmp);
        edges
    }

    /// The next edge outwards, in units of the argument. An activation bends within a few units of zero, so
    /// panels start at half a unit; they keep to one period as far as the function may oscillate.
    fn next_distance(&self, u: f64) -> f64 {
        let resolved = match self.tails {
            Tails::Settled => SETTLED,
            Tails::Periodic => f64::INFINITY,
            Tails::Unknown => RESOLVED,
        };
        if u < resolved { (u * 1.5).max(u + 0.5).min(u + PERIOD) } else { 2.0 * u }
    }
}
