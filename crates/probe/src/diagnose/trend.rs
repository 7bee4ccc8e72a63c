//! How a number changes from layer to layer, and a sentence that says so.

use crate::text::{distinct, short, significant, times, times_with};

/// How a positive number changes from layer to layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Trend {
    /// The factor a layer: the exponential of the slope of the least squares line through the logarithms.
    pub(crate) factor: f64,
    /// The lower end of the factor's 95 % interval.
    pub(crate) low: f64,
    /// The upper end of the factor's 95 % interval.
    pub(crate) high: f64,
    /// The power of the layer's number, counted from 1, by least squares.
    pub(crate) power: f64,
    /// Whether the power fits better than the factor.
    pub(crate) is_power: bool,
    /// The number of layers.
    pub(crate) layers: usize,
}

/// The quantile of the standard normal distribution that bounds 95 % of it on both sides.
const NORMAL_975: f64 = 1.96;

/// A line through fewer layers leaves too few residuals to tell how far off it is.
const MIN_LAYERS_OF_INTERVAL: usize = 5;

/// An interval of a smaller relative width is rounding.
const NO_WIDTH: f64 = 1e-9;

/// Two layers have a ratio, and no trend.
const MIN_LAYERS_OF_TREND: usize = 3;

/// The factor between the largest and the smallest std of layers that keep their scale.
const MAX_SPREAD: f64 = 10.0;

impl Trend {
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let logs: Vec<f64> = values.map(f64::ln).collect();
        let (slope, residual) = fit_line(&logs, |index| index as f64);
        let (power, power_residual) = fit_line(&logs, |index| ((index + 1) as f64).ln());
        // The variance of the slope is the residual variance over Σ (i - ī)² = n (n² - 1) / 12 for i = 0, …,
        // n - 1.
        let n = logs.len() as f64;
        let squares = n * (n * n - 1.0) / 12.0;
        let error = (residual * n / (n - 2.0).max(1.0) / squares.max(0.5)).sqrt();
        let factor = |errors: f64| (slope + errors * error).exp();
        Self {
            factor: factor(0.0),
            low: factor(-NORMAL_975),
            high: factor(NORMAL_975),
            power,
            is_power: power_residual < residual,
            layers: logs.len(),
        }
    }

    /// Whether the values go one way: the interval of the factor does not contain 1. Few layers have no interval.
    pub(crate) fn is_steady(&self) -> bool {
        self.layers < MIN_LAYERS_OF_INTERVAL || self.low > 1.0 || self.high < 1.0
    }

    /// Text such as `×0.22 a layer (×0.21 to ×0.23)`. The interval is left out where it says nothing: of few
    /// layers, or as narrow as rounding.
    pub(crate) fn text(&self) -> String {
        if self.layers < MIN_LAYERS_OF_INTERVAL || self.high / self.low - 1.0 < NO_WIDTH {
            return format!("{} a layer", times(self.factor));
        }
        let [factor, low, high] = distinct([self.factor, self.low, self.high], 2, times_with);
        format!("{factor} a layer ({low} to {high})")
    }
}

/// The slope of the least squares line, and the mean square of its residuals.
fn fit_line(ys: &[f64], x: impl Fn(usize) -> f64) -> (f64, f64) {
    let n = ys.len() as f64;
    let xs: Vec<f64> = (0..ys.len()).map(x).collect();
    let (mx, my) = (xs.iter().sum::<f64>() / n, ys.iter().sum::<f64>() / n);
    let (mut xx, mut xy) = (0.0, 0.0);
    for (x, y) in xs.iter().zip(ys) {
        xx += (x - mx).powi(2);
        xy += (x - mx) * (y - my);
    }
    let slope = if xx > 0.0 { xy / xx } else { 0.0 };
    let residual = xs.iter().zip(ys).map(|(x, y)| (y - my - slope * (x - mx)).powi(2)).sum::<f64>() / n;
    (slope, residual)
}

/// Describes in a sentence how the outputs' stds of a healthy net change from the first layer to the last.
///
/// ```
/// use wick_probe::describe_trend;
///
/// assert_eq!(describe_trend(&[0.63, 0.49, 0.42, 0.37, 0.33, 0.31]), "lives but shrinks like 1/√depth");
/// assert_eq!(describe_trend(&[0.58, 0.6, 0.57, 0.59]), "lives and keeps its scale");
/// assert_eq!(describe_trend(&[0.5, 0.2]), "lives, with a std of 0.500 and then of 0.200: two layers show no trend");
/// ```
pub fn describe_trend(stds: &[f64]) -> String {
    let (first, last) = match stds {
        [] => return "has no layers".into(),
        [_] => return "lives: one layer shows no trend".into(),
        [first, .., last] => (*first, *last),
    };
    let total = last / first;
    let keeps = (0.8..=1.25).contains(&total);
    if stds.len() < MIN_LAYERS_OF_TREND && !keeps {
        let [first, last] = distinct([first, last], 3, significant);
        return format!("lives, with a std of {first} and then of {last}: two layers show no trend");
    }
    let (low, high) =
        stds.iter().fold((f64::INFINITY, 0.0f64), |(low, high), std| (low.min(*std), high.max(*std)));
    let trend = Trend::of(stds.iter().copied());
    if (keeps && high > MAX_SPREAD * low) || (!keeps && (total < 1.0) != (trend.factor < 1.0)) {
        let [first, last] = distinct([first, last], 3, significant);
        let (low, high) = (short(low), short(high));
        format!("lives, with a std between {low} and {high}: from {first} to {last} without a trend")
    } else if keeps {
        "lives and keeps its scale".into()
    } else if trend.is_power && (-0.65..=-0.3).contains(&trend.power) {
        "lives but shrinks like 1/√depth".into()
    } else {
        let word = if total < 1.0 { "shrinks" } else { "grows" };
        format!("lives but {word} {} a layer", times(trend.factor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slow trend is a factor that is not 1, and as many digits of it as give the total.
    #[test]
    fn a_slow_trend_is_told_with_its_digits() {
        for (factor, layers, said) in [
            (0.988f64, 40, "lives but shrinks ×0.988 a layer"),
            (1.012, 40, "lives but grows ×1.012 a layer"),
            (0.9996, 2000, "lives but shrinks ×0.9996 a layer"),
            (0.22, 4, "lives but shrinks ×0.22 a layer"),
        ] {
            let stds: Vec<f64> = (0..layers).map(|index| factor.powi(index)).collect();
            assert_eq!(describe_trend(&stds), said);
        }
    }

    /// What is said does not contradict the numbers.
    #[test]
    fn a_sentence_says_what_the_layers_do() {
        for (stds, said) in [
            (&[1.0, 0.1, 0.3, 0.5, 0.75][..], "lives, with a std between 0.100 and 1.00: from 1.00 to 0.750"),
            (&[1.0, 40.0, 1.0], "lives, with a std between 1.00 and 40.0: from 1.00 to 1.00"),
            (&[1.0, 0.002], "lives, with a std of 1.00 and then of 0.00200"),
            (&[1.0, 1.1], "lives and keeps its scale"),
            (&[0.3], "lives: one layer"),
        ] {
            assert!(describe_trend(stds).starts_with(said), "{stds:?}: {}", describe_trend(stds));
        }
    }

    /// An interval has ends that differ, or is left out.
    #[test]
    fn intervals_have_two_ends() {
        let wave = |index: i32| 0.98f64.powi(index) * (1.0 + 1e-3 * f64::from(index % 3));
        assert_eq!(Trend::of((0..30).map(wave)).text(), "×0.98001 a layer (×0.97997 to ×0.98004)");
        assert_eq!(Trend::of((0..30).map(|index| 0.27f64.powi(index))).text(), "×0.27 a layer");
        assert_eq!(Trend::of([1.0, 0.5, 0.3, 0.1].into_iter()).text(), "×0.48 a layer");
    }
}
