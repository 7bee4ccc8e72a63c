//! The checks, one after another.

use std::time::{Duration, Instant};

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Error, Result, Tensor, Var};
use candle_nn::{Optimizer, ParamsAdamW};
use wick_kernels::AdamW;

use super::start::{Classification, regression};
use super::{Check, Finding, Preflight};
use crate::diagnose::fault::Level;
use crate::diagnose::judge;
use crate::kept::Kept;
use crate::limits::smallest_normal;
use crate::number::number;
use crate::observe::units::Units;
use crate::text::significant;
use crate::trace::{Kind, Mark, Reach, Trace, check_gradient};

/// The batch is learnt by heart at most for this long.
const LONGEST: Duration = Duration::from_secs(15);
/// Learning rates that are tried.
const RATES: [f64; 3] = [3e-3, 3e-4, 3e-2];

type Model<'m> = dyn FnMut(&Tensor) -> Result<Tensor> + 'm;
type Loss<'l> = dyn FnMut(&Tensor, &Tensor) -> Result<Tensor> + 'l;

impl Preflight<'_> {
    pub(super) fn checks(&self, model: &mut Model, loss: &mut Loss) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        let mark = Mark::new()?;
        let outputs = model(self.inputs)?;
        let at_start = loss(&outputs, self.targets)?;
        let value = number(&at_start)?;
        let trace = Trace::of(Some(&mark), &at_start, self.vars)?;
        findings.extend(reach(trace.reach()));
        if self.inputs.elem_count() == 0 || outputs.elem_count() == 0 {
            return Err(Error::Msg("the batch is empty: a preflight needs samples".into()));
        }
        if !value.is_finite() {
            let text = format!(
                "the loss of the first batch is {value}: look for the first layer that is not finite"
            );
            findings.push(Finding::new(Check::Loss, Level::Broken, value, text));
        } else if let Some(classification) = Classification::of(&outputs, self.targets)? {
            findings.extend(classification.check(value));
        } else {
            findings.extend(regression(&outputs, self.targets)?);
        }
        findings.extend(self.samples(model, &outputs)?);
        if self.is_causal {
            findings.extend(self.future(model, &outputs)?);
        }
        findings.extend(self.input(&outputs)?);
        findings.extend(self.tied()?);
        let batch = self.input_geometry()?;
        if let (Some(batch), true) = (batch, value.is_finite() || !trace.layers().is_empty()) {
            let verdicts = judge(&trace.layer_reports()?, &batch);
            findings.extend(verdicts.into_iter().map(|verdict| {
                Finding::new(Check::Layers, verdict.level, verdict.figure, verdict.to_string())
            }));
        }
        if value.is_finite() && trace.reach().unreached.len() < trace.reach().parameters {
            findings.extend(self.bands(&trace)?);
            // The other checks hold without gradients.
            match trace.loss().backward() {
                Ok(gradients) => {
                    findings.extend(self.precision(&trace, &gradients)?);
                    let are_copied = findings
                        .iter()
                        .any(|finding| finding.check == Check::Layers && finding.text.contains("copies"));
                    findings.extend(self.update(&gradients, are_copied)?);
                }
                Err(error) => {
                    let error = error.to_string();
                    let text = format!(
                        "the backward pass is an error ({}), so that nothing can train: exchange the operation for one \
                         that has a backward pass",
                        error.lines().next().unwrap_or_default()
                    );
                    findings.push(Finding::new(Check::Gradient, Level::Broken, f64::NAN, text));
                }
            }
            if trace.reach().is_complete() {
                findings.extend(self.gradient(model, loss));
            }
            // Half precision takes a loss scale.
            if self.steps > 0 && self.vars.iter().all(|(_, var)| var.dtype() != DType::F16) {
                findings.extend(self.overfit(model, loss, value)?);
            }
        }
        findings.sort_by_key(|finding| finding.check);
        Ok(findings)
    }

    /// Another sample's input changes no output but its own.
    fn samples(&self, model: &mut Model, outputs: &Tensor) -> Result<Option<Finding>> {
        let (count, rows) = (self.inputs.dim(0)?, outputs.dims().first().copied().unwrap_or(0));
        if count < 2 || rows == 0 || rows % count != 0 {
            return Ok(None);
        }
        // The last sample gets the first one's input.
        let head = self.inputs.narrow(0, 0, count - 1)?;
        let changed = Tensor::cat(&[&head, &self.inputs.narrow(0, 0, 1)?], 0)?;
        let after = model(&changed)?;
        let own = rows / count * (count - 1);
        let difference = largest_difference(&outputs.narrow(0, 0, own)?, &after.narrow(0, 0, own)?)?;
        Ok(difference.map(|difference| {
            let is_normed = self.vars.iter().any(|(name, _)| name.ends_with("running_mean"));
            let why = if is_normed {
                "the model has a batch norm: give it as it is evaluated to check the rest"
            } else {
                "look for a mean, a norm or a reshape over the batch's dimension"
            };
            let text = format!(
                "outputs of other samples change by up to {} of their size when the last sample's input does; {why}",
                significant(difference, 2)
            );
            Finding::new(Check::Samples, Level::Faulty, difference, text)
        }))
    }

    /// A later position's input changes no earlier output.
    fn future(&self, model: &mut Model, outputs: &Tensor) -> Result<Option<Finding>> {
        let (Ok(length), Ok(made)) = (self.inputs.dim(1), outputs.dim(1)) else { return Ok(None) };
        if length < 2 || made != length {
            return Ok(None);
        }
        let head = self.inputs.narrow(1, 0, length - 1)?;
        let last = self.inputs.narrow(1, length - 1, 1)?;
        let other = if self.inputs.dtype().is_int() {
            // Tokens of an earlier position that differ from the last ones.
            let mut other = None;
            for position in 0..length - 1 {
                let tokens = self.inputs.narrow(1, position, 1)?;
                if number(&tokens.ne(&last)?.to_dtype(DType::F64)?.sum_all()?)? > 0.0 {
                    other = Some(tokens);
                    break;
                }
            }
            let Some(other) = other else { return Ok(None) };
            other
        } else {
            last.affine(-2.0, 0.5)?
        };
        let after = model(&Tensor::cat(&[&head, &other], 1)?.contiguous()?)?;
        let early = |xs: &Tensor| xs.narrow(1, 0, length - 1);
        Ok(largest_difference(&early(outputs)?, &early(&after)?)?.map(|difference| {
            let text = format!(
                "outputs at earlier positions change by up to {} of their size when the last position's input does: \
                 the mask lets the future through, or positions are mixed by a reshape",
                significant(difference, 2)
            );
            Finding::new(Check::Future, Level::Faulty, difference, text)
        }))
    }

    /// Different samples have different outputs.
    fn input(&self, outputs: &Tensor) -> Result<Option<Finding>> {
        let (count, rows) = (self.inputs.dim(0)?, outputs.dims().first().copied().unwrap_or(0));
        if count < 2 || rows != count {
            return Ok(None);
        }
        let outputs = outputs.detach().to_dtype(DType::F64)?;
        let first = outputs.narrow(0, 0, 1)?;
        let difference = largest(&outputs.broadcast_sub(&first)?)?;
        let size = largest(&outputs)?;
        let inputs = self.inputs.to_dtype(DType::F64)?;
        let are_equal = largest(&inputs.broadcast_sub(&inputs.narrow(0, 0, 1)?)?)? == 0.0;
        let is_same = difference <= 1e-6 * size && !are_equal;
        // A head of zeros makes zeros of all samples, and learns.
        Ok((is_same && size > 0.0).then(|| {
            let text = "all samples have the same outputs: the model does not look at its input".to_owned();
            Finding::new(Check::Input, Level::Broken, difference / size, text)
        }))
    }

    /// The lengths and cosines of the inputs, where they are numbers.
    fn input_geometry(&self) -> Result<Option<wick_theory::BatchGeometry>> {
        if self.inputs.dtype().is_int() {
            return Ok(Some(wick_theory::BatchGeometry::normal(self.inputs.dim(0)?, 1, 1.0)));
        }
        if self.inputs.rank() < 2 || self.inputs.elem_count() == 0 {
            return Ok(None);
        }
        let flat = self.inputs.flatten_from(1)?;
        Ok(Units::of(&flat)?.map(|units| units.batch))
    }

    /// Whether the gradient is that of the loss, up to kinks. A loss that is not the same twice is not checked.
    fn gradient(&self, model: &mut Model, loss: &mut Loss) -> Option<Finding> {
        let check = check_gradient(self.vars, || loss(&model(self.inputs)?, self.targets)).ok()?;
        let is_off = check.quotients.iter().all(|quotient| (quotient - 1.0).abs() > 0.25 + check.rounding);
        is_off.then(|| {
            let text = format!(
                "the loss changes {} times as much along its gradient as the gradient says: an operation has a wrong \
                 backward pass, as candle's conv1d on a CPU (batches above one) and its max-pool have, or a part is cut",
                significant(check.quotients[1], 3)
            );
            Finding::new(Check::Gradient, Level::Faulty, check.quotients[1], text)
        })
    }

    /// How many numbers of the gradient are below the smallest normal one of their type, or are 0, which products of
    /// half precision make of smaller ones. Rows of a table that no sample has do not count; where a weight is 0, as a
    /// head may be at the start, nothing is said.
    fn precision(&self, trace: &Trace, gradients: &GradStore) -> Result<Option<Finding>> {
        let tables = trace.layers().iter().filter(|layer| layer.kind == Kind::Embedding);
        let tables: Vec<&String> = tables.flat_map(|layer| &layer.parameters).collect();
        let (mut small, mut count, mut dtype) = (0.0, 0.0, None);
        for (name, var) in self.vars.iter().filter(|(name, _)| !tables.contains(&name)) {
            let Some(gradient) = gradients.get(var.as_tensor()) else { continue };
            if !matches!(var.dtype(), DType::F16 | DType::BF16) {
                continue;
            }
            let sizes = gradient.detach().to_dtype(DType::F64)?.abs()?;
            let smallest = smallest_normal(Some(var.dtype()));
            if name.ends_with("weight") && largest(&var.to_dtype(DType::F64)?)? == 0.0 {
                return Ok(None);
            }
            small += number(&sizes.lt(smallest)?.to_dtype(DType::F64)?.sum_all()?)?;
            count += sizes.elem_count() as f64;
            dtype = Some(var.dtype());
        }
        let fraction = small / f64::max(count, 1.0);
        Ok(dtype.filter(|_| fraction > 0.5).map(|dtype| {
            let text = format!(
                "{} % of the gradient's numbers are below the smallest normal number of {dtype:?}: scale the loss, or \
                 train in f32",
                significant(100.0 * fraction, 2)
            );
            Finding::new(Check::Precision, Level::Unusual, fraction, text)
        }))
    }

    /// Learns the batch by heart, from the same start at several learning rates.
    fn overfit(&self, model: &mut Model, loss: &mut Loss, start: f64) -> Result<Option<Finding>> {
        let outputs = model(self.inputs)?;
        let is_classified = Classification::of(&outputs, self.targets)?.is_some();
        // What the targets themselves cost, where they can be outputs.
        let floor = match self.targets.dims() == outputs.dims() && self.targets.dtype() == outputs.dtype() {
            true => loss(&self.targets.clone(), self.targets).and_then(|loss| number(&loss)).unwrap_or(0.0),
            false => 0.0,
        };
        let floor = if floor.is_finite() { floor.clamp(0.0, start.max(0.0)) } else { 0.0 };
        let kept = Kept::of(self.vars.iter().map(|(_, var)| var))?;
        let begin = Instant::now();
        let (mut best, mut accuracy, mut steps) = (start, None, 0);
        let mut meant = 0;
        for (index, lr) in RATES.into_iter().enumerate() {
            kept.set()?;
            let vars: Vec<Var> = self.vars.iter().map(|(_, var)| var.clone()).collect();
            let mut optimizer =
                AdamW::new(vars, ParamsAdamW { lr, weight_decay: 0.0, ..Default::default() })?;
            let most = if index == 0 { self.steps / 2 } else { self.steps / 4 };
            meant += most;
            for _ in 0..most {
                let outputs = model(self.inputs)?;
                let now = loss(&outputs, self.targets)?;
                let value = number(&now)?;
                if value < best {
                    best = value;
                    if is_classified {
                        accuracy = Some(Classification::accuracy(&outputs, self.targets)?);
                    }
                }
                let is_learnt =
                    best < 0.1 * (start - floor) + floor || accuracy.is_some_and(|right| right > 0.99);
                if is_learnt {
                    return Ok(None);
                }
                if begin.elapsed() > LONGEST || !value.is_finite() {
                    break;
                }
                // What has no backward pass is an error of the first step.
                let Ok(gradients) = now.backward() else { return Ok(None) };
                optimizer.step(&gradients)?;
                steps += 1;
            }
        }
        let enough = steps >= meant.min(40);
        let is_stuck = best > 0.5 * (start - floor) + floor && accuracy.is_none_or(|right| right < 0.9);
        Ok((enough && is_stuck).then(|| {
            let of = accuracy.map(|right| format!(", with {} % right", significant(100.0 * right, 2)));
            let text = format!(
                "one batch cannot be learnt by heart: after {steps} steps of AdamW at three rates the loss is {} of {} \
                 at the start{}; look for targets that do not belong to their inputs, and for a loss or an output \
                 that cannot get there",
                significant(best, 3),
                significant(start, 3),
                of.unwrap_or_default()
            );
            Finding::new(Check::Overfit, Level::Faulty, best / start, text)
        }))
    }
}

/// Findings on what the loss does not train.
fn reach(reach: &Reach) -> Option<Finding> {
    reach.verdict().map(|verdict| Finding::new(Check::Reach, verdict.level, verdict.figure, verdict.text))
}

/// The largest difference over the largest magnitude, if it is more than the rounding of another order of summation.
fn largest_difference(before: &Tensor, after: &Tensor) -> Result<Option<f64>> {
    let [before, after] = [before, after].map(|xs| xs.detach().to_dtype(DType::F64));
    let (before, after) = (before?, after?);
    let difference = largest(&(&before - after)?)? / largest(&before)?.max(f64::MIN_POSITIVE);
    Ok((difference > 1e-5).then_some(difference))
}

fn largest(xs: &Tensor) -> Result<f64> {
    xs.abs()?.flatten_all()?.max(0)?.to_device(&Device::Cpu)?.to_scalar::<f64>()
}
