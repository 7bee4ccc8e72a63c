//! Whether a gradient is that of the loss.

use candle_core::backprop::GradStore;
use candle_core::{DType, Error, Result, Tensor, Var};

use crate::kept::Kept;
use crate::number::number;

/// How a loss changes along its gradient, beside what the gradient says.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct GradientCheck {
    /// The norm of the gradient over all variables that have one.
    pub norm: f64,
    /// The measured slopes of the loss along the gradient over that norm, for a step and for a third of it: 1 if the
    /// gradient is whole, 0 if the variables do not move the loss, another number if a part of the gradient is
    /// missing or wrong.
    pub quotients: [f64; 2],
    /// What rounding of the loss may change in the quotients.
    pub rounding: f64,
}

impl GradientCheck {
    /// Whether the quotient of the smaller step is 1 up to two hundredths and rounding.
    pub fn is_whole(&self) -> bool {
        (self.quotients[1] - 1.0).abs() <= 0.02 + self.rounding
    }
}

/// Compares the gradient with central differences of the loss along it, by four forward passes. Variables have the
/// same bits after it. The loss has to be a function of the variables alone: the same batch, no dropout.
///
/// ```
/// use candle_core::{Device, Var};
/// use wick_probe::check_gradient;
///
/// let vars = [("x".to_owned(), Var::new(&[3.0f32, -1.0], &Device::Cpu)?)];
/// let x = vars[0].1.as_tensor();
/// assert!(check_gradient(&vars, || (x * x)?.sum_all())?.is_whole());
/// // One of the factors is cut off: half of the gradient is missing.
/// let check = check_gradient(&vars, || (x * x.detach())?.sum_all())?;
/// assert!((check.quotients[1] - 2.0).abs() < 0.01);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// Those of the passes; if the loss is no single finite number, is not the same twice, or no gradient comes.
pub fn check_gradient(
    vars: &[(String, Var)],
    mut forward: impl FnMut() -> Result<Tensor>,
) -> Result<GradientCheck> {
    let (loss, first) = same_twice(&mut forward)?;
    let gradients = loss.backward()?;
    let moved: Vec<(&Var, Tensor)> = vars
        .iter()
        .enumerate()
        // A variable of two names is moved once.
        .filter(|(index, (_, var))| vars[..*index].iter().all(|(_, other)| other.id() != var.id()))
        .map(|(_, named)| named)
        .filter_map(|(_, var)| gradient(&gradients, var).map(|gradient| (var, gradient)))
        .collect();
    let mut square = 0.0;
    for (_, gradient) in &moved {
        square += number(&gradient.to_dtype(DType::F64)?.sqr()?.sum_all()?)?;
    }
    let norm = square.sqrt();
    if !(norm > 0.0 && norm.is_finite()) {
        return Err(Error::Msg(format!(
            "the gradient's norm is {norm} over {} variables: there is no direction to check along",
            moved.len()
        )));
    }
    check_along(&moved, norm, (first, coarsest(&loss, &moved)), &mut forward)
}

/// The loss, if it is finite and the same twice.
fn same_twice(forward: &mut impl FnMut() -> Result<Tensor>) -> Result<(Tensor, f64)> {
    let loss = forward()?;
    let (first, second) = (number(&loss)?, number(&forward()?)?);
    if first.to_bits() != second.to_bits() || !first.is_finite() {
        return Err(Error::Msg(format!(
            "the loss is {first} and then {second}: a gradient can be checked where the loss is finite and the same \
             twice; turn dropout off, and give the same batch"
        )));
    }
    Ok((loss, first))
}

/// Compares with differences along the gradient of some variables.
fn check_along(
    moved: &[(&Var, Tensor)],
    norm: f64,
    (value, dtype): (f64, DType),
    forward: &mut impl FnMut() -> Result<Tensor>,
) -> Result<GradientCheck> {
    let kept = Kept::of(moved.iter().map(|(var, _)| *var))?;
    let change = change(value, dtype);
    let quotients = slopes(moved, &kept.copies, norm, change, forward);
    kept.restore()?;
    let rounding = 9.0 * epsilon(dtype) * (1.0 + value.abs()) / change;
    Ok(GradientCheck { norm, quotients: quotients?, rounding })
}

/// The type with the fewest digits of a loss and the variables that are moved.
fn coarsest(loss: &Tensor, moved: &[(&Var, Tensor)]) -> DType {
    let all = std::iter::once(loss.dtype()).chain(moved.iter().map(|(var, _)| var.dtype()));
    all.max_by(|a, b| epsilon(*a).total_cmp(&epsilon(*b))).unwrap_or(DType::F32)
}

/// A change of a loss that is far above its rounding.
fn change(value: f64, dtype: DType) -> f64 {
    10.0 * epsilon(dtype).sqrt() * (1.0 + value.abs())
}

fn epsilon(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::EPSILON,
        DType::F32 => f64::from(f32::EPSILON),
        _ => 4e-3,
    }
}

/// Checks the gradient of each variable by itself, with one backward pass and four forward passes for each: which of
/// them are whole, and which lack a part that went through a cut. Variables without a gradient are left out, and those
/// whose gradient is too small for the loss's digits to tell.
///
/// # Errors
/// Those of [`check_gradient`].
pub fn check_each_gradient(
    vars: &[(String, Var)],
    mut forward: impl FnMut() -> Result<Tensor>,
) -> Result<Vec<(String, GradientCheck)>> {
    let (loss, value) = same_twice(&mut forward)?;
    let gradients = loss.backward()?;
    let mut checks = Vec::new();
    for (name, var) in vars {
        let Some(gradient) = gradient(&gradients, var) else { continue };
        let norm = number(&gradient.to_dtype(DType::F64)?.sqr()?.sum_all()?)?.sqrt();
        let moved = [(var, gradient)];
        let dtype = coarsest(&loss, &moved);
        // A step that changes the loss would change the variable out of scale.
        let scale = number(&var.to_dtype(DType::F64)?.sqr()?.sum_all()?)?.sqrt();
        if norm > 0.0 && norm.is_finite() && change(value, dtype) / norm < 0.3 * scale {
            checks.push((name.clone(), check_along(&moved, norm, (value, dtype), &mut forward)?));
        }
    }
    Ok(checks)
}

/// Central differences for a step along the gradient and for a third of it.
fn slopes(
    moved: &[(&Var, Tensor)],
    copies: &[Tensor],
    norm: f64,
    change: f64,
    forward: &mut impl FnMut() -> Result<Tensor>,
) -> Result<[f64; 2]> {
    let mut quotients = [0.0; 2];
    for (quotient, change) in quotients.iter_mut().zip([change, change / 3.0]) {
        // Along g/|g| by `change/|g|`, the loss changes by `change`.
        let factor = change / (norm * norm);
        let mut at = |factor: f64| {
            for ((var, gradient), copy) in moved.iter().zip(copies) {
                var.set(&(copy + (gradient * factor)?)?)?;
            }
            number(&forward()?)
        };
        *quotient = (at(factor)? - at(-factor)?) / (2.0 * change);
    }
    Ok(quotients)
}

fn gradient(gradients: &GradStore, var: &Var) -> Option<Tensor> {
    gradients.get(var.as_tensor()).filter(|gradient| gradient.dims() == var.dims()).cloned()
}
