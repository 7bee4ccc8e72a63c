//! What activation-gradient prints.

use serde::Serialize;
use wick_bins::output::{Report, Table, exact, rows_to_show, short};
use wick_model::Activation;

#[derive(Debug, Serialize)]
pub(crate) struct ActivationGradient {
    pub(crate) dtype: &'static str,
    pub(crate) device: String,
    pub(crate) curves: Vec<Curve>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Curve {
    pub(crate) activation: Activation,
    pub(crate) x: Vec<f64>,
    pub(crate) value: Vec<f64>,
    pub(crate) gradient: Vec<f64>,
    pub(crate) max_difference: f64,
}

impl Report for ActivationGradient {
    fn tables(&self) -> Vec<Table> {
        let tables = self.curves.iter().map(|curve| {
            let title = format!("{}, {} on {}", curve.activation, self.dtype, self.device);
            let mut table = Table::new(title, ["x", "value", "gradient"]);
            for i in rows_to_show(curve.x.len()) {
                table.row([curve.x[i], curve.value[i], curve.gradient[i]].map(short));
            }
            let (x, steepest) = curve
                .x
                .iter()
                .zip(&curve.gradient)
                .fold((0.0, 0.0f64), |best, (&x, &g)| if g.abs() > best.1.abs() { (x, g) } else { best });
            table.note = format!(
                "{} points; the steepest gradient is {} at {}; at most {} from the closed form",
                curve.x.len(),
                short(steepest),
                short(x),
                short(curve.max_difference)
            );
            table
        });
        tables.collect()
    }

    fn csv(&self) -> Table {
        let mut table = Table::new("", ["activation", "x", "value", "gradient"]);
        for curve in &self.curves {
            for ((x, value), gradient) in curve.x.iter().zip(&curve.value).zip(&curve.gradient) {
                let numbers = [*x, *value, *gradient].map(exact);
                table.row(std::iter::once(curve.activation.to_string()).chain(numbers));
            }
        }
        table
    }
}
