//! Which tensor and which sample a number that is not finite came from.

use candle_core::{DType, Device, Tensor};
use wick_probe::Probe;

use super::step::{Objective, Step};
use super::variables::Variables;
use crate::data::Batch;
use crate::error::Error;

/// The first number of a tensor that is not finite, and its place.
fn first_bad(tensor: &Tensor) -> Result<Option<(usize, f64)>, Error> {
    if !tensor.dtype().is_float() {
        return Ok(None);
    }
    let numbers = tensor.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?;
    let numbers = numbers.to_vec1::<f64>()?;
    Ok(numbers.iter().position(|x| !x.is_finite()).map(|at| (at, numbers[at])))
}

/// The first variable with a number that is not finite.
pub(crate) fn bad_variable(variables: &Variables) -> Result<Option<String>, Error> {
    for named in &variables.all {
        if let Some((at, value)) = first_bad(&named.var.as_detached_tensor())? {
            return Ok(Some(format!("`{}` has {value} as its number {at}", named.name)));
        }
    }
    Ok(None)
}

/// Says where a loss that is not finite came from: from the data, from the weights, from a layer with a tap, or
/// from a sample.
pub(crate) fn explain(
    loss: f64,
    batch: &Batch,
    (rows, block): (&[usize], usize),
    variables: &Variables,
    like: Step,
    objective: &mut dyn Objective,
) -> Result<String, Error> {
    let sample = |row: usize| rows.get(row).copied().unwrap_or(row);
    let tensors = std::iter::once(("features", &batch.input))
        .chain(batch.further.iter().map(|tensor| ("further inputs", tensor)))
        .chain(batch.targets.iter().map(|tensor| ("targets", tensor)));
    for (what, tensor) in tensors {
        if let Some((at, value)) = first_bad(tensor)? {
            let columns = (tensor.elem_count() / batch.len().max(1)).max(1);
            let (row, column) = (at / columns, at % columns);
            return Ok(format!(
                "the loss is {loss}: sample {} has {value} as number {column} of its {what}; repair the data",
                sample(row)
            ));
        }
    }
    if let Some(bad) = bad_variable(variables)? {
        return Ok(format!("the loss is {loss}: {bad}; lower the learning rate, or clip the gradients"));
    }
    for first in (0..batch.len()).step_by(block.max(1)) {
        let probe = Probe::new();
        let part = batch.rows(first, block.max(1).min(batch.len() - first))?;
        let probed = Step { batch: &part, probe: Some(&probe), ..like };
        let _ = objective.gradients(&probed, 1.0);
        let Some(bad) = probe.first_bad().filter(|bad| !bad.value.is_finite()) else { continue };
        let sample = bad.sample.map(|row| format!(", in sample {}", sample(first + row))).unwrap_or_default();
        let side = if bad.side == wick_probe::Side::Forward { "value" } else { "gradient" };
        return Ok(format!(
            "the loss is {loss}: the {side} at {} is the first with {}{sample}; lower the learning rate, or clip \
             the gradients",
            bad.name, bad.value
        ));
    }
    for row in 0..batch.len() {
        let block = batch.rows(row, 1)?;
        let alone = Step { batch: &block, probe: None, ..like };
        let Ok(found) = objective.gradients(&alone, 1.0) else { continue };
        if !found.loss.is_finite() {
            return Ok(format!(
                "the loss is {loss}: it is {} for sample {} alone; lower the learning rate, or look at the sample",
                found.loss,
                sample(row)
            ));
        }
    }
    Ok(format!("the loss is {loss}, and that of no sample alone is; lower the learning rate"))
}
