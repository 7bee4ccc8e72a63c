//! What forward-backward prints.

use serde::Serialize;
use wick_bins::output::{Column, Report, Table, apart, csv_of, shape, short, table_of};
use wick_model::Activation;
use wick_theory::write_number;

use crate::rounding::Terms;

#[derive(Debug, Serialize)]
pub(crate) struct ForwardBackward {
    pub(crate) network: Network,
    pub(crate) values: Vec<Value>,
    pub(crate) checks: Vec<Check>,
    pub(crate) loss: f64,
    pub(crate) penalty: f64,
    pub(crate) objective: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Network {
    pub(crate) features: usize,
    pub(crate) hidden: usize,
    pub(crate) outputs: usize,
    pub(crate) batch: usize,
    pub(crate) activation: Activation,
    pub(crate) loss: &'static str,
    pub(crate) lambda: f64,
    pub(crate) init: String,
    pub(crate) dtype: &'static str,
    pub(crate) device: String,
    pub(crate) seed: u64,
}

/// An intermediate value, row by row.
#[derive(Debug, Serialize)]
pub(crate) struct Value {
    pub(crate) name: &'static str,
    #[serde(skip)]
    pub(crate) formula: &'static str,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f64>,
}

/// The difference of a gradient's formula from the other two ways, relative to the gradient's largest entry.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) shape: Vec<usize>,
    pub(crate) autograd: f64,
    /// `None` if no entry could be compared, or if the gradient is too small for it.
    pub(crate) finite_difference: Option<f64>,
    /// The number of entries that were compared with central differences.
    pub(crate) compared: usize,
    /// Whether the gradient is so small that differences of J are rounding errors.
    #[serde(skip)]
    pub(crate) is_too_small: bool,
    /// The largest absolute differences.
    #[serde(skip)]
    pub(crate) apart: [f64; 2],
    /// The gradient's largest entry.
    #[serde(skip)]
    pub(crate) largest: f64,
    #[serde(skip)]
    pub(crate) terms: Terms,
}

/// The columns of the checks.
fn columns<'a>() -> [Column<&'a Check>; 6] {
    [
        Column::new("gradient", "gradient", |check| check.name.into()),
        Column::new("shape", "shape", |check| shape(&check.shape).into()),
        Column::new("backward pass", "autograd", |check| check.autograd.into()),
        Column::new("central differences", "finite_difference", |check| check.finite_difference.into()),
        Column::for_people("entries compared", |check| {
            format!("{} of {}", check.compared, check.shape.iter().product::<usize>()).into()
        }),
        Column::for_programs("compared", |check| check.compared.into()),
    ]
}

/// Returns the first values, as many as fit on a line.
fn values_text(value: &Value) -> String {
    const MOST: usize = 6;
    let mut text = value.values.iter().take(MOST).map(|x| short(*x)).collect::<Vec<_>>().join("  ");
    if value.values.len() > MOST {
        text += "  …";
    }
    text
}

impl Report for ForwardBackward {
    fn tables(&self) -> Vec<Table> {
        let n = &self.network;
        let title = format!(
            "{} features, {} hidden {} units, {} outputs, batch {}, {} loss, λ = {}, {}, {} on {}, seed {}",
            n.features,
            n.hidden,
            n.activation,
            n.outputs,
            n.batch,
            n.loss,
            write_number(n.lambda),
            n.init,
            n.dtype,
            n.device,
            n.seed
        );
        let mut values = Table::new("Forward", ["name", "formula", "shape", "values"]);
        for value in &self.values {
            let text = [value.name.to_owned(), value.formula.to_owned(), shape(&value.shape)];
            values.row(text.into_iter().chain([values_text(value)]));
        }
        // A small penalty shows in the sum.
        let [objective, loss] = apart([self.objective, self.loss]);
        values.note = format!("J = L + s: {objective} = {loss} + {}", short(self.penalty));
        let title_of_checks = "Backward: the formula's largest relative difference from";
        let mut checks = table_of(title_of_checks, &columns(), &self.checks);
        let too_small: Vec<&str> =
            self.checks.iter().filter(|check| check.is_too_small).map(|check| check.name).collect();
        if !too_small.is_empty() {
            checks.note = format!(
                "no central differences of {}: the gradients are below the rounding errors of J over the step; \
                 start from larger weights",
                too_small.join(", ")
            );
        }
        vec![Table { title, ..Table::default() }, values, checks]
    }

    fn csv(&self) -> Table {
        csv_of(&columns(), &self.checks)
    }
}
