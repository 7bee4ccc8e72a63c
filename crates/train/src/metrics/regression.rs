//! The sums of regression.

use candle_core::Tensor;

use super::evaluation::{Evaluation, Scores, check_finite, numbers};
use crate::data::Standardization;
use crate::error::Error;

#[derive(Debug, Default)]
pub(super) struct RegressionSums {
    samples: u64,
    /// The squared errors in the model's units.
    loss: f64,
    columns: Vec<Column>,
}

/// The sums of an output.
#[derive(Debug, Default, Clone)]
struct Column {
    squared: f64,
    absolute: f64,
    /// The mean of the targets so far, and the sum of their squared deviations from it (Welford 1962).
    mean: f64,
    deviations: f64,
}

impl RegressionSums {
    pub(super) fn add(
        &mut self,
        outputs: &Tensor,
        targets: &Tensor,
        standardization: Option<&Standardization>,
    ) -> Result<(), Error> {
        let batch = targets.dims().first().copied().unwrap_or(0);
        if outputs.elem_count() != targets.elem_count()
            || outputs.dims().first() != Some(&batch)
            || batch == 0
        {
            return Err(Error::Shape { shape: outputs.dims().to_vec(), needs: "the shape of the targets" });
        }
        let columns = targets.elem_count() / batch;
        let trained = (numbers(outputs)?, numbers(targets)?);
        check_finite(&trained.0, columns, self.samples)?;
        self.loss += trained.0.iter().zip(&trained.1).map(|(o, y)| (o - y) * (o - y)).sum::<f64>();
        if let Some(law) = standardization {
            law.check_columns(columns)?;
        }
        let restored = |xs: Vec<f64>| -> Vec<f64> {
            let Some(law) = standardization else { return xs };
            let laws = law.mean().iter().zip(law.std()).cycle();
            xs.iter().zip(laws).map(|(x, (mean, std))| x * std + mean).collect()
        };
        let (outputs, targets) = (restored(trained.0), restored(trained.1));
        if self.columns.is_empty() {
            self.columns = vec![Column::default(); columns];
        }
        if self.columns.len() != columns {
            return Err(Error::Columns { columns, learned: self.columns.len() });
        }
        for (outputs, targets) in outputs.chunks_exact(columns).zip(targets.chunks_exact(columns)) {
            self.samples += 1;
            for ((column, o), y) in self.columns.iter_mut().zip(outputs).zip(targets) {
                column.squared += (y - o) * (y - o);
                column.absolute += (y - o).abs();
                let deviation = y - column.mean;
                column.mean += deviation / self.samples as f64;
                column.deviations += deviation * (y - column.mean);
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Evaluation, Error> {
        let Self { samples, loss, columns } = self;
        if samples == 0 {
            return Err(Error::Settings("there is nothing to evaluate: give samples".to_owned()));
        }
        let (n, count) = (samples as f64, samples as f64 * columns.len() as f64);
        let mse = columns.iter().map(|column| column.squared).sum::<f64>() / count;
        let mae = columns.iter().map(|column| column.absolute).sum::<f64>() / count;
        let differ = columns.iter().filter(|column| column.deviations > 0.0);
        let of_each: Vec<f64> = differ.map(|column| 1.0 - column.squared / column.deviations).collect();
        let r2 = (!of_each.is_empty()).then(|| of_each.iter().sum::<f64>() / of_each.len() as f64);
        Ok(Evaluation { samples, loss: loss / (2.0 * n), scores: Scores::Regression { mse, mae, r2 } })
    }
}
