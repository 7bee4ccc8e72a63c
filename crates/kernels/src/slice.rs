//! The numbers of CPU tensors, where they lie.

use std::marker::PhantomData;
use std::ops::Deref;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, WithDType, bail};
use wick_theory::Activation;

use crate::function::Element;
use crate::{SimdLevel, activation, gemm};

/// A type that a dense layer is computed in.
pub(crate) trait Real: gemm::Real + Element + WithDType + Lend {
    /// Whether the derivative is computed from the output of the activation rather than from its input.
    fn is_derivative_of_output(activation: Activation) -> bool;

    /// `φ` of every element, in its place.
    fn apply(activation: Activation, xs: &mut [Self]);

    /// `φ'·g` in the place of `g`, from the input of the activation or, where that is enough, from its output.
    fn apply_gradient(activation: Activation, known: &[Self], gs: &mut [Self]);

    /// The elements as what a tensor is made of.
    fn storage(values: Vec<Self>) -> CpuStorage;
}

impl Real for f32 {
    fn is_derivative_of_output(activation: Activation) -> bool {
        activation::is_derivative_of_output(activation)
    }

    fn apply(activation: Activation, xs: &mut [Self]) {
        activation::apply(SimdLevel::best(), activation, xs);
    }

    fn apply_gradient(activation: Activation, known: &[Self], gs: &mut [Self]) {
        activation::apply_gradient(SimdLevel::best(), activation, known, gs);
    }

    fn storage(values: Vec<Self>) -> CpuStorage {
        CpuStorage::F32(values)
    }
}

/// In `f64`, activations are those of [`Activation`] to the bit.
impl Real for f64 {
    fn is_derivative_of_output(activation: Activation) -> bool {
        activation == Activation::Identity
    }

    fn apply(activation: Activation, xs: &mut [Self]) {
        for x in xs {
            *x = activation.value(*x);
        }
    }

    fn apply_gradient(activation: Activation, known: &[Self], gs: &mut [Self]) {
        if activation == Activation::Identity {
            return;
        }
        for (g, &x) in gs.iter_mut().zip(known) {
            *g *= activation.derivative(x);
        }
    }

    fn storage(values: Vec<Self>) -> CpuStorage {
        CpuStorage::F64(values)
    }
}

/// A number of which statistics are taken: `f32` or `f64`.
pub trait Number: Copy + Into<f64> + PartialOrd + Send + Sync + 'static {
    /// ∞.
    const INFINITY: Self;
    /// -∞.
    const NEG_INFINITY: Self;

    /// The largest number that is not above `x`.
    fn at_most(x: f64) -> Self;

    /// The smallest number that is not below `x`.
    fn at_least(x: f64) -> Self;

    /// The numbers themselves, if they are `f32`.
    fn as_f32s(values: &[Self]) -> Option<&[f32]>;
}

impl Number for f32 {
    const INFINITY: Self = f32::INFINITY;
    const NEG_INFINITY: Self = f32::NEG_INFINITY;

    fn at_most(x: f64) -> Self {
        let near = x as f32;
        if f64::from(near) > x { near.next_down() } else { near }
    }

    fn at_least(x: f64) -> Self {
        -Self::at_most(-x)
    }

    fn as_f32s(values: &[Self]) -> Option<&[f32]> {
        Some(values)
    }
}

impl Number for f64 {
    const INFINITY: Self = f64::INFINITY;
    const NEG_INFINITY: Self = f64::NEG_INFINITY;

    fn at_most(x: f64) -> Self {
        x
    }

    fn at_least(x: f64) -> Self {
        x
    }

    fn as_f32s(_: &[Self]) -> Option<&[f32]> {
        None
    }
}

/// A type that a [`CpuStorage`] lends a slice of.
pub(crate) trait Lend: Number {
    /// All that the storage holds, if it is of this type.
    fn all(storage: &CpuStorage) -> Option<&[Self]>;
}

impl Lend for f32 {
    fn all(storage: &CpuStorage) -> Option<&[Self]> {
        if let CpuStorage::F32(values) = storage { Some(values) } else { None }
    }
}

impl Lend for f64 {
    fn all(storage: &CpuStorage) -> Option<&[Self]> {
        if let CpuStorage::F64(values) = storage { Some(values) } else { None }
    }
}

/// The elements of a contiguous part of a storage.
pub(crate) fn of<'a, T: Lend>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    match (T::all(storage), layout.contiguous_offsets()) {
        (Some(values), Some((start, end))) => Ok(&values[start..end]),
        _ => bail!("a contiguous tensor was expected, and of another type than {:?}", storage.dtype()),
    }
}

/// A lock on a storage, and the part of it that is lent.
struct Lent<'a, T, L> {
    storage: L,
    layout: &'a Layout,
    of: PhantomData<T>,
}

/// Lends the elements of a contiguous CPU tensor.
pub(crate) fn lend<T: Lend>(xs: &Tensor) -> Result<impl Deref<Target = [T]>> {
    let (storage, layout) = xs.storage_and_layout();
    match &*storage {
        Storage::Cpu(cpu) => of::<T>(cpu, layout).map(drop)?,
        _ => bail!("a tensor on the CPU was expected"),
    }
    Ok(Lent { storage, layout, of: PhantomData })
}

impl<T: Lend, L: Deref<Target = Storage>> Deref for Lent<'_, T, L> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &*self.storage {
            // It was found to be there when it was lent.
            Storage::Cpu(storage) => of(storage, self.layout).unwrap_or_default(),
            _ => &[],
        }
    }
}
