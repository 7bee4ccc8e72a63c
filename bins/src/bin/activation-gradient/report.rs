//! What activation-gradient prints.

use serde::Serialize;
use wick_bins::output::{Column, Report, Table, csv_of, rows_to_show, short, table_of};
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

/// A curve, and the number of one of its points.
type Point<'a> = (&'a Curve, usize);

/// The columns of the points.
fn columns<'a>() -> [Column<Point<'a>>; 4] {
    [
        Column::for_programs("activation", |(curve, _)| curve.activation.to_string().into()),
        Column::new("x", "x", |(curve, i)| curve.x[*i].into()),
        Column::new("value", "value", |(curve, i)| curve.value[*i].into()),
        Column::new("gradient", "gradient", |(curve, i)| curve.gradient[*i].into()),
    ]
}

impl Report for ActivationGradient {
    fn tables(&self) -> Vec<Table> {
        let tables = self.curves.iter().map(|curve| {
            let title = format!("{}, {} on {}", curve.activation, self.dtype, self.device);
            let rows = rows_to_show(curve.x.len()).into_iter().map(|i| (curve, i));
            let mut table = table_of(title, &columns(), rows);
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
        csv_of(&columns(), self.curves.iter().flat_map(|curve| (0..curve.x.len()).map(move |i| (curve, i))))
    }
}
