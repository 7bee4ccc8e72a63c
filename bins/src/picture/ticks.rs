//! The ticks of an axis.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::Ranged;

/// An axis with given ticks.
pub(crate) struct Axis {
    inner: RangedCoordf64,
    ticks: Vec<f64>,
}

impl Axis {
    pub(crate) fn new(range: Range<f64>, ticks: Vec<f64>) -> Self {
        Self { inner: range.into(), ticks }
    }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.inner.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.inner.range()
    }
}

/// Returns multiples of 1, 2 or 5 times a power of ten, at most `most` of them in the range. With `whole`,
/// the ticks are whole numbers.
pub(crate) fn linear(range: &Range<f64>, most: usize, whole: bool) -> Vec<f64> {
    let least = (range.end - range.start) / most as f64;
    if !(least > 0.0 && least.is_finite()) {
        return Vec::new();
    }
    let power = 10f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power).into_iter().find(|step| *step >= least);
    let step = step.unwrap_or(10.0 * power);
    let step = if whole { step.max(1.0) } else { step };
    let first = (range.start / step).ceil() as i64;
    (first..).map(|count| count as f64 * step).take_while(|tick| *tick <= range.end).collect()
}

/// Returns the ticks of a logarithmic axis, as exponents of ten: every n-th decade, or 1, 2 and 5 times each
/// decade if the range has few of them, or the ticks of a linear axis if the range is less than a decade.
pub(crate) fn logarithmic(exponents: &Range<f64>, most: usize) -> Vec<f64> {
    let inside = |tick: &f64| (exponents.start..=exponents.end).contains(tick);
    let decades = exponents.end - exponents.start;
    let first = exponents.start.floor() as i32;
    let last = exponents.end.ceil() as i32;
    if decades > most as f64 / 3.0 {
        let steps = [1, 2, 5, 10, 20, 50, 100, 200];
        let step = steps.into_iter().find(|step| decades <= f64::from(step * most as i32)).unwrap_or(500);
        return (first..=last).filter(|power| power % step == 0).map(f64::from).filter(inside).collect();
    }
    let digits = |power: i32| [1.0f64, 2.0, 5.0].map(|digit| f64::from(power) + digit.log10());
    let ticks: Vec<f64> = (first..=last).flat_map(digits).filter(inside).collect();
    if ticks.len() > 2 {
        return ticks;
    }
    let values = 10f64.powf(exponents.start)..10f64.powf(exponents.end);
    linear(&values, most, false).into_iter().map(f64::log10).filter(inside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: &[f64], expected: &[f64]) {
        let off = got.iter().zip(expected).any(|(a, b)| (a - b).abs() > 1e-9);
        assert!(got.len() == expected.len() && !off, "{got:?}, not {expected:?}");
    }

    #[test]
    fn whole_axes_have_whole_ticks() {
        near(&linear(&(-0.1..3.1), 10, true), &[0.0, 1.0, 2.0, 3.0]);
        near(&linear(&(-0.05..1.0), 5, false), &[0.0, 0.5, 1.0]);
        near(
            &linear(&(0.0..100.0), 10, true),
            &[0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0],
        );
        near(&linear(&(1.0..1.0), 10, true), &[]);
    }

    #[test]
    fn log_axes_count_1_2_5() {
        near(&logarithmic(&(-6.2..0.1), 8), &[-6.0, -5.0, -4.0, -3.0, -2.0, -1.0, 0.0]);
        near(&logarithmic(&(-0.1..1.1), 8), &[0.0, 2f64.log10(), 5f64.log10(), 1.0]);
        // The range 0.9 to 1.1 has only one of 1, 2 and 5.
        near(
            &logarithmic(&(0.899f64.log10()..1.101f64.log10()), 5),
            &[0.9f64.log10(), 0.95f64.log10(), 0.0, 1.05f64.log10(), 1.1f64.log10()],
        );
        near(&logarithmic(&(-300.0..10.0), 8), &[-300.0, -250.0, -200.0, -150.0, -100.0, -50.0, 0.0]);
    }
}
