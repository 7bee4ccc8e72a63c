//! The loss at the start, beside what the outputs make of it.

use candle_core::{D, DType, Result, Tensor};

use super::{Check, Finding};
use crate::diagnose::fault::Level;
use crate::text::significant;

/// Logits and classes, where the outputs and targets are such.
pub(crate) struct Classification {
    /// Rows of logits, in `f64` on the CPU.
    logits: Vec<Vec<f64>>,
    classes: Vec<usize>,
}

impl Classification {
    /// Outputs with one more dimension than the integer targets, which are below the number of outputs.
    pub(crate) fn of(outputs: &Tensor, targets: &Tensor) -> Result<Option<Self>> {
        let rank = outputs.rank();
        let is_one = targets.dtype().is_int() && rank >= 2 && outputs.dims()[..rank - 1] == *targets.dims();
        let Some(count) = outputs.dims().last().filter(|count| is_one && **count > 1) else {
            return Ok(None);
        };
        let rows = outputs.detach().to_dtype(DType::F64)?.reshape(((), *count))?.to_vec2::<f64>()?;
        let classes = targets.to_dtype(DType::I64)?.flatten_all()?.to_vec1::<i64>()?;
        let classes: Option<Vec<usize>> =
            classes.iter().map(|class| usize::try_from(*class).ok().filter(|class| class < count)).collect();
        Ok(classes.map(|classes| Self { logits: rows, classes }))
    }

    /// The fraction of rows whose largest logit is that of their class.
    pub(super) fn accuracy(outputs: &Tensor, targets: &Tensor) -> Result<f64> {
        let best = outputs.argmax(D::Minus1)?.to_dtype(DType::I64)?;
        let right = best.eq(&targets.to_dtype(DType::I64)?.reshape(best.shape())?)?;
        right.to_dtype(DType::F64)?.mean_all()?.to_scalar::<f64>()
    }

    /// Findings on the loss of these logits: it is `ln C + s²/2` for `C` classes and logits of standard deviation `s`
    /// that do not know the classes, and up to chance `mean(logsumexp z - Σ π_c z_c)` for the frequencies `π` of the
    /// classes in the batch.
    pub(crate) fn check(&self, loss: f64) -> Option<Finding> {
        let finding =
            |figure: f64, text: String| Some(Finding::new(Check::Loss, Level::Faulty, figure, text));
        let (rows, count) = (self.logits.len() as f64, self.logits[0].len());
        let uniform = (count as f64).ln();
        let is_probabilities = self
            .logits
            .iter()
            .all(|row| row.iter().all(|z| *z >= 0.0) && (row.iter().sum::<f64>() - 1.0).abs() < 0.02);
        let mut frequencies = vec![0.0; count];
        self.classes.iter().for_each(|class| frequencies[*class] += 1.0 / rows);
        let (mut cross_entropy, mut deviations) = (0.0, Vec::with_capacity(self.logits.len()));
        for (row, class) in self.logits.iter().zip(&self.classes) {
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let log_sum = largest + row.iter().map(|z| (z - largest).exp()).sum::<f64>().ln();
            let expected = log_sum - row.iter().zip(&frequencies).map(|(z, p)| z * p).sum::<f64>();
            cross_entropy += (log_sum - row[*class]) / rows;
            deviations.push(log_sum - row[*class] - expected);
        }
        // A loss that takes probabilities costs something else.
        if is_probabilities && (loss - cross_entropy).abs() <= 1e-3 * loss.abs() {
            let text = "the outputs are probabilities, each row adds up to 1: give the loss the logits before the \
                        softmax, which it takes itself";
            return finding(1.0, text.into());
        }
        let mean = deviations.iter().sum::<f64>() / rows;
        let variance = deviations.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (rows - 1.0).max(1.0);
        let chance = 4.0 * (variance / rows).sqrt();
        let [shown, own] = [loss, cross_entropy].map(significant_digits);
        let ratio = loss / cross_entropy;
        if rows > 1.0 && (ratio / rows - 1.0).abs() < 1e-3 {
            let text = format!(
                "the loss is {shown}, {rows} times the mean cross entropy {own} of these outputs: it is a sum over the \
                 batch, so that the learning rate depends on the batch's size; take the mean"
            );
            return finding(ratio, text);
        }
        if loss < -1e-6 {
            let text = format!(
                "the loss is {shown}, and no cross entropy is below 0: nll takes log-probabilities, and a loss is to \
                 fall, so that nothing is negated"
            );
            return finding(loss, text);
        }
        if cross_entropy - uniform > 2.0 {
            let std = self.std();
            let text = format!(
                "the cross entropy of the outputs starts at {own}, where knowing nothing costs ln {count} = {}: the \
                 logits have a standard deviation of {}; start the last layer {} times smaller",
                significant_digits(uniform),
                significant_digits(std),
                significant_digits(std)
            );
            // A few times what knowing nothing costs is unlearnt in some steps.
            let level = if cross_entropy > 5.0 * uniform { Level::Faulty } else { Level::Unusual };
            return Some(Finding::new(Check::Loss, level, cross_entropy, text));
        }
        if mean < -chance.max(0.1 * uniform) && rows >= 8.0 {
            let text = format!(
                "the cross entropy of the outputs starts at {own}, below {} for logits that do not know the classes: \
                 the model is trained, or the input has the answer in it",
                significant_digits(cross_entropy - mean)
            );
            return finding(mean, text);
        }
        None
    }

    fn std(&self) -> f64 {
        let all = || self.logits.iter().flatten();
        let count = all().count() as f64;
        let mean = all().sum::<f64>() / count;
        (all().map(|z| (z - mean).powi(2)).sum::<f64>() / count).sqrt()
    }
}

/// A finding on targets that are numbers: out of scale beside the outputs.
pub(super) fn regression(outputs: &Tensor, targets: &Tensor) -> Result<Option<Finding>> {
    if targets.dtype().is_int() {
        return Ok(None);
    }
    if outputs.dims() != targets.dims() {
        let text = format!(
            "the outputs are {:?} and the targets {:?}: if the loss broadcasts, it compares each output with every \
             target; give both the same shape",
            outputs.dims(),
            targets.dims()
        );
        let ratio = outputs.elem_count() as f64 / targets.elem_count().max(1) as f64;
        return Ok(Some(Finding::new(Check::Loss, Level::Unusual, ratio, text)));
    }
    let of = |xs: &Tensor| crate::summarize(&xs.detach(), None, 1);
    let (made, meant) = (of(outputs)?, of(targets)?);
    let is_far = meant.rms > 30.0 * made.rms.max(1.0);
    Ok(is_far.then(|| {
        let text = format!(
            "the targets have mean {} and standard deviation {}, and the outputs start with an rms of {}: standardize \
             the targets",
            significant_digits(meant.mean),
            significant_digits(meant.std),
            significant_digits(made.rms)
        );
        Finding::new(Check::Loss, Level::Unusual, meant.rms / made.rms, text)
    }))
}

fn significant_digits(x: f64) -> String {
    significant(x, 3)
}
