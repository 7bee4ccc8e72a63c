//! A last bias that knows how frequent the classes are.

use candle_core::{Tensor, Var};

use crate::Error;

/// Sets the bias of a last layer to the logarithms of the classes' frequencies, `b_c = ln((n_c + 1) / (N + C))` less
/// their mean, so that the first loss of a net with small weights is the entropy of the labels and not `ln C` (the rule
/// of succession keeps a class without samples finite). With one bias for two classes, `counts` are those of the labels
/// 0 and 1, and the bias becomes `ln(p / (1 − p))` (Lin et al. 2017, arXiv 1708.02002, section 3.3).
///
/// ```
/// use candle_core::{DType, Device, Var};
/// use wick_train::data_dependent::prior_bias;
///
/// let bias = Var::zeros(3, DType::F32, &Device::Cpu)?;
/// prior_bias(&bias, &[899, 99, 0])?;
/// let odds = (bias.get(0)? - bias.get(1)?)?.to_scalar::<f32>()?;
/// assert!((odds - 9f32.ln()).abs() < 1e-6);
///
/// let bias = Var::zeros(1, DType::F32, &Device::Cpu)?;
/// prior_bias(&bias, &[899, 99])?;
/// assert!((bias.to_vec1::<f32>()?[0] + 9f32.ln()).abs() < 1e-6);
/// # Ok::<(), wick_train::Error>(())
/// ```
///
/// # Errors
/// [`Error::Settings`] if the bias has not one element for each count, or one for two, if there is one class only,
/// or no label was counted; the bias then has what it had.
pub fn prior_bias(bias: &Var, counts: &[u64]) -> Result<(), Error> {
    let elements = bias.elem_count();
    if bias.rank() != 1 || !(elements == counts.len() || elements == 1 && counts.len() == 2) {
        return Err(Error::Settings(format!(
            "a bias of shape {:?} does not do for the counts of {} classes: it needs one element for each class, or \
             one for two",
            bias.dims(),
            counts.len()
        )));
    }
    if counts.len() < 2 {
        let message = "one class has no prior: give the counts of two classes or more";
        return Err(Error::Settings(message.to_owned()));
    }
    if counts.iter().all(|&count| count == 0) {
        return Err(Error::Settings("no label was counted: count those of the training data".to_owned()));
    }
    let logs: Vec<f64> = counts.iter().map(|&count| (count as f64 + 1.0).ln()).collect();
    let values = match (elements, logs.as_slice()) {
        (1, [zero, one]) => vec![one - zero],
        _ => {
            let mean = logs.iter().sum::<f64>() / logs.len() as f64;
            logs.iter().map(|log| log - mean).collect()
        }
    };
    bias.set(&Tensor::new(values, bias.device())?.to_dtype(bias.dtype())?)?;
    Ok(())
}
