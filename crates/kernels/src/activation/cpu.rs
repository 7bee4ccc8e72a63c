//! The loops over activations on a CPU.

use std::mem::MaybeUninit;

use candle_core::DType;
use wick_theory::Activation;

use crate::activation::function::{Function, OfOutput};
use crate::activation::scalar::{Visit, visit};
use crate::cpu::element::{Element, Number};
use crate::cpu::malloc::room;
use crate::cpu::parallel;
use crate::cpu::simd::{self, SimdLevel};

/// The number of elements that one task computes.
const TASK: usize = 1 << 14;

/// `φ` of every element.
pub(crate) fn values<T: Element>(level: SimdLevel, activation: Activation, xs: &[T]) -> Vec<T> {
    filled(xs.len(), |start, out| {
        let xs = &xs[start..start + out.len()];
        if !level.is_fast() {
            for (out, x) in out.iter_mut().zip(xs) {
                out.write(T::narrow(activation.value(x.widen())));
            }
            return;
        }
        run(level, activation, Values { xs, out });
        if let Some(limit) = limit(activation) {
            for (out, x) in out.iter_mut().zip(xs).filter(|(_, x)| x.widen().abs() > limit) {
                out.write(T::narrow(activation.value(x.widen())));
            }
        }
    })
}

/// `φ'` of every element, times the gradient that comes back.
pub(crate) fn gradients<T: Element>(level: SimdLevel, activation: Activation, xs: &[T], gs: &[T]) -> Vec<T> {
    filled(xs.len(), |start, out| {
        let (xs, gs) = (&xs[start..start + out.len()], &gs[start..start + out.len()]);
        let product = |x: &T, g: &T| T::narrow(activation.derivative(x.widen()) * g.widen());
        if !level.is_fast() {
            for ((out, x), g) in out.iter_mut().zip(xs).zip(gs) {
                out.write(product(x, g));
            }
            return;
        }
        run(level, activation, Gradients { xs, gs, out });
        if let Some(limit) = limit(activation) {
            for ((out, x), g) in out.iter_mut().zip(xs).zip(gs).filter(|((_, x), _)| x.widen().abs() > limit)
            {
                out.write(product(x, g));
            }
        }
    })
}

/// A vector that tasks fill part by part: `fill` gets the index of its part's first element, and writes the
/// whole part.
fn filled<T: Send>(count: usize, fill: impl Fn(usize, &mut [MaybeUninit<T>]) + Sync) -> Vec<T> {
    let mut values = room(count);
    let spare = &mut values.spare_capacity_mut()[..count];
    parallel::for_each_part(spare, TASK, |task, part| fill(task * TASK, part));
    // SAFETY: `fill` has written every part.
    unsafe { values.set_len(count) };
    values
}

/// Replaces every element by `φ` of it: in `f32` vectorised, in `f64` by [`Activation::value`] to the bit.
pub(crate) fn apply<T: Number>(activation: Activation, xs: &mut [T]) {
    let by_enum = |xs: &mut [T]| xs.iter_mut().for_each(|x| *x = T::narrow(activation.value(x.widen())));
    match T::as_f32s_mut(xs) {
        None => by_enum(xs),
        Some(fast) if is_within_limit(activation, fast) => {
            if activation != Activation::Identity {
                run(SimdLevel::best(), activation, InPlace { xs: fast });
            }
        }
        Some(_) => by_enum(xs),
    }
}

/// Replaces every gradient `g` by `φ'·g`. `known` is the output of the activation if [`derives_from_output`]
/// says so for the type, else its input.
pub(crate) fn apply_gradient<T: Number>(activation: Activation, known: &[T], gs: &mut [T]) {
    if activation == Activation::Identity {
        return;
    }
    if let (Some(known), Some(gs)) = (T::as_f32s(known), T::as_f32s_mut(gs))
        && is_within_limit(activation, known)
    {
        return run(SimdLevel::best(), activation, GradientInPlace { known, gs });
    }
    for (g, x) in gs.iter_mut().zip(known) {
        *g = T::narrow(activation.derivative(x.widen()) * g.widen());
    }
}

/// Whether a dense layer computes the derivative from the output of the activation rather than from its
/// input.
pub(crate) fn derives_from_output(activation: Activation, dtype: DType) -> bool {
    struct Ask;
    impl Visit for Ask {
        type Output = OfOutput;

        fn visit<F: Function>(self, _: F) -> OfOutput {
            F::OF_OUTPUT
        }
    }
    match dtype {
        // In `f64`, derivatives are those of the enum to the bit.
        DType::F64 => activation == Activation::Identity,
        DType::F32 => visit(activation, Ask) != OfOutput::No,
        _ => visit(activation, Ask) == OfOutput::Exactly,
    }
}

/// The magnitude beyond which the vectorised function loses digits, if it does anywhere.
fn limit(activation: Activation) -> Option<f64> {
    struct Ask;
    impl Visit for Ask {
        type Output = f64;

        fn visit<F: Function>(self, _: F) -> f64 {
            F::LIMIT
        }
    }
    Some(visit(activation, Ask)).filter(|limit| limit.is_finite())
}

fn is_within_limit(activation: Activation, xs: &[f32]) -> bool {
    limit(activation).is_none_or(|limit| !xs.iter().any(|x| f64::from(x.abs()) > limit))
}

/// A loop over elements, with a function as its body. Its `run` is `#[inline(always)]`.
trait Loop {
    fn run<F: Function>(self, function: F);
}

/// Runs a loop with the function of an activation, compiled for a level.
fn run(level: SimdLevel, activation: Activation, over: impl Loop) {
    visit(activation, AtLevel { level, over });
}

struct AtLevel<L> {
    level: SimdLevel,
    over: L,
}

impl<L: Loop> Visit for AtLevel<L> {
    type Output = ();

    fn visit<F: Function>(self, function: F) {
        simd::run(self.level, Body { function, over: self.over });
    }
}

struct Body<F, L> {
    function: F,
    over: L,
}

impl<F: Function, L: Loop> simd::Task for Body<F, L> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.over.run(self.function);
    }
}

struct Values<'a, T> {
    xs: &'a [T],
    out: &'a mut [MaybeUninit<T>],
}

impl<T: Element> Loop for Values<'_, T> {
    #[inline(always)]
    fn run<F: Function>(self, function: F) {
        for (out, &x) in self.out.iter_mut().zip(self.xs) {
            out.write(T::value(function, x));
        }
    }
}

struct Gradients<'a, T> {
    xs: &'a [T],
    gs: &'a [T],
    out: &'a mut [MaybeUninit<T>],
}

impl<T: Element> Loop for Gradients<'_, T> {
    #[inline(always)]
    fn run<F: Function>(self, function: F) {
        for ((out, &x), &g) in self.out.iter_mut().zip(self.xs).zip(self.gs) {
            out.write(T::gradient(function, x, g));
        }
    }
}

struct InPlace<'a> {
    xs: &'a mut [f32],
}

impl Loop for InPlace<'_> {
    #[inline(always)]
    fn run<F: Function>(self, function: F) {
        for x in self.xs {
            *x = function.value_f32(*x);
        }
    }
}

struct GradientInPlace<'a> {
    known: &'a [f32],
    gs: &'a mut [f32],
}

impl Loop for GradientInPlace<'_> {
    #[inline(always)]
    fn run<F: Function>(self, function: F) {
        for (g, &known) in self.gs.iter_mut().zip(self.known) {
            *g = match F::OF_OUTPUT {
                OfOutput::No => function.gradient_f32(known, *g),
                OfOutput::InF32 | OfOutput::Exactly => function.gradient_of_output_f32(known, *g),
            };
        }
    }
}
