//! How a number changes from layer to layer, and a sentence that says so.

use crate::diagnose::text::times;

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
}

/// The quantile of the standard normal distribution that bounds 95 % of it on both sides.
const NORMAL_975: f64 = 1.96;

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
        }
    }

    /// Text such as `×0.22 a layer (×0.21 to ×0.23)`.
    pub(crate) fn text(&self) -> String {
        format!("{} a layer ({} to {})", times(self.factor), times(self.low), times(self.high))
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
/// ```
pub fn describe_trend(stds: &[f64]) -> String {
    let trend = Trend::of(stds.iter().copied());
    let total = stds.last().copied().unwrap_or(1.0) / stds.first().copied().unwrap_or(1.0);
    if (0.8..=1.25).contains(&total) || stds.len() < 3 {
        "lives and keeps its scale".into()
    } else if trend.is_power && (-0.65..=-0.3).contains(&trend.power) {
        "lives but shrinks like 1/√depth".into()
    } else {
        let word = if total < 1.0 { "shrinks" } else { "grows" };
        format!("lives but {word} {} a layer", times(trend.factor))
    }
}
