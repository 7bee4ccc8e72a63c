//! How numbers go from layer to layer, and how that is said.

/// How a number goes from layer to layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Trend {
    /// By the least squares line through the logarithms, with its 95 % interval.
    pub(crate) factor: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// The power of the layer's number, from 1, by the same; and whether that fits better.
    pub(crate) power: f64,
    pub(crate) by_power: bool,
}

impl Trend {
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let logs: Vec<f64> = values.map(f64::ln).collect();
        let (slope, miss) = line(&logs, |index| index as f64);
        let (power, power_miss) = line(&logs, |index| ((index + 1) as f64).ln());
        // The variance of the slope is that of what is left over the sum of the squares of 0, 1, … about their mean.
        let n = logs.len() as f64;
        let squares = n * (n * n - 1.0) / 12.0;
        let error = (miss * n / (n - 2.0).max(1.0) / squares.max(0.5)).sqrt();
        let at = |errors: f64| (slope + errors * error).exp();
        Self { factor: at(0.0), low: at(-1.96), high: at(1.96), power, by_power: power_miss < miss }
    }

    /// `×0.22 a layer (×0.21 to ×0.23)`.
    pub(crate) fn text(&self) -> String {
        format!("{} a layer ({} to {})", times(self.factor), times(self.low), times(self.high))
    }
}

/// The slope of the least squares line, and the mean square by which it misses.
fn line(ys: &[f64], x: impl Fn(usize) -> f64) -> (f64, f64) {
    let n = ys.len() as f64;
    let xs: Vec<f64> = (0..ys.len()).map(x).collect();
    let (mx, my) = (xs.iter().sum::<f64>() / n, ys.iter().sum::<f64>() / n);
    let (mut xx, mut xy) = (0.0, 0.0);
    for (x, y) in xs.iter().zip(ys) {
        xx += (x - mx).powi(2);
        xy += (x - mx) * (y - my);
    }
    let slope = if xx > 0.0 { xy / xx } else { 0.0 };
    let miss = xs.iter().zip(ys).map(|(x, y)| (y - my - slope * (x - mx)).powi(2)).sum::<f64>() / n;
    (slope, miss)
}

/// What a healthy net does with its signals, in a sentence.
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
    } else if trend.by_power && (-0.65..=-0.3).contains(&trend.power) {
        "lives but shrinks like 1/√depth".into()
    } else {
        let word = if total < 1.0 { "shrinks" } else { "grows" };
        format!("lives but {word} {} a layer", times(trend.factor))
    }
}

/// A number with three digits.
pub(crate) fn short(x: f64) -> String {
    if (1e-3..1e4).contains(&x.abs()) {
        let digits = (2 - x.abs().log10().floor() as i32).max(0) as usize;
        format!("{x:.digits$}")
    } else {
        format!("{x:.2e}")
    }
}

pub(crate) fn times(x: f64) -> String {
    if (0.01..100.0).contains(&x) {
        format!("×{}", short((x * 100.0).round() / 100.0).trim_end_matches('0').trim_end_matches('.'))
    } else {
        format!("×{}", short(x))
    }
}
