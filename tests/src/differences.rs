//! Gradients against difference quotients.

use candle_core::{Result, Tensor, Var};

use crate::{CPU, numbers};

/// The step of the quotient, whose error is about its fourth power.
const STEP: f64 = 1e-3;

/// Returns, for each of the `f64` inputs, how far the gradient of an op lies from the difference quotient
/// `(f(x−2h) − 8f(x−h) + 8f(x+h) − f(x+2h)) / 12h` in the worst entry, relative to the largest entry of that
/// quotient; infinity where an input has no gradient at all.
///
/// The loss is a sum over the op's output with unequal weights, so that no two entries of the output can be
/// exchanged. An input must lie further than `2h` = 0.002 from any kink.
pub fn gradient_errors(op: impl Fn(&[Tensor]) -> Result<Tensor>, inputs: &[Tensor]) -> Vec<f64> {
    let loss = |inputs: &[Tensor]| {
        let output = op(inputs).unwrap().flatten_all().unwrap();
        let weights: Vec<f64> =
            (0..output.elem_count()).map(|i| 0.4 + (0.7 * i as f64 + 0.3).cos()).collect();
        let weights = Tensor::new(weights, &CPU).unwrap();
        (output * weights).unwrap().sum_all().unwrap()
    };
    let vars: Vec<Var> = inputs.iter().map(|input| Var::from_tensor(input).unwrap()).collect();
    let tracked: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let gradients = loss(&tracked).backward().unwrap();

    let error = |(which, input): (usize, &Tensor)| {
        let Some(gradient) = gradients.get(&tracked[which]) else { return f64::INFINITY };
        assert_eq!(gradient.dims(), input.dims(), "the gradient of input {which}");
        let start = numbers(input);
        let at = |entry: usize, offset: f64| {
            let mut moved = start.clone();
            moved[entry] += offset;
            let mut inputs = inputs.to_vec();
            inputs[which] = Tensor::from_vec(moved, input.shape(), &CPU).unwrap();
            loss(&inputs).to_scalar::<f64>().unwrap()
        };
        let quotient = |entry| {
            let near = at(entry, STEP) - at(entry, -STEP);
            let far = at(entry, 2.0 * STEP) - at(entry, -2.0 * STEP);
            (8.0 * near - far) / (12.0 * STEP)
        };
        let quotients: Vec<f64> = (0..start.len()).map(quotient).collect();
        let largest = quotients.iter().fold(f64::MIN_POSITIVE, |largest, q| largest.max(q.abs()));
        let pairs = numbers(gradient).into_iter().zip(quotients);
        // A NaN must not be lost, as it is by `max`.
        let worst = |worst: f64, (got, meant): (f64, f64)| {
            let error = (got - meant).abs() / largest;
            if error.is_nan() { f64::INFINITY } else { worst.max(error) }
        };
        pairs.fold(0.0, worst)
    };
    inputs.iter().enumerate().map(error).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Tensor};

    use super::gradient_errors;
    use crate::normal;

    #[test]
    fn a_right_gradient_agrees_and_a_cut_or_a_wrong_one_does_not() {
        let (x, y) = (normal(1, "x", (3, 4), DType::F64), normal(1, "y", (3, 4), DType::F64));
        let right = gradient_errors(|t: &[Tensor]| (&t[0] * &t[1])?.tanh(), &[x.clone(), y.clone()]);
        assert!(right.iter().all(|&error| error < 1e-9), "{right:?}");
        let cut = gradient_errors(|t: &[Tensor]| &t[0] * t[1].detach(), &[x.clone(), y]);
        assert!(cut[0] < 1e-9 && cut[1] == f64::INFINITY, "{cut:?}");
        // One of two uses is cut off: the gradient is there, and half of it.
        let half = gradient_errors(|t: &[Tensor]| &t[0] * t[0].detach(), &[x]);
        assert!((half[0] - 0.5).abs() < 1e-6, "{half:?}");
    }
}
