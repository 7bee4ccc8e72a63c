//! Keras' conventions (`keras.initializers`): the normal schemes are JAX's; the plain ones have standard
//! deviations of their own. What Keras' `VarianceScaling` calls `normal` is [`Family::TruncatedNormal`](crate::Family), and
//! `untruncated_normal` the plain one.

pub use crate::jax::{
    glorot_normal, glorot_uniform, he_normal, he_uniform, lecun_normal, lecun_uniform, variance_scaling,
};

use crate::{Initializer, Scaling, Side, Window};

/// `RandomNormal()`: `N(0, 0.05²)`.
pub fn random_normal() -> Initializer {
    Initializer::normal(0.05)
}

/// `RandomUniform()`: `U(±0.05)`.
pub fn random_uniform() -> Initializer {
    Initializer::uniform(0.05)
}

/// `TruncatedNormal()`: `N(0, 0.05²)` cut at `±0.1`, not corrected.
///
/// ```
/// let std = wick_init::keras::truncated_normal().std(&[7])?.unwrap();
/// assert!((std - 0.05 * 0.879_625_661).abs() < 1e-10);
/// # Ok::<(), wick_init::Error>(())
/// ```
pub fn truncated_normal() -> Initializer {
    Initializer::truncated_normal(0.05)
}

/// `STFT(side, window)`, with Keras' own scaling (`density`) and a window that is not periodic.
///
/// ```
/// use candle_core::{DType, Device};
/// use wick_init::{KeyedV1, Side, Window, keras};
///
/// let kernels = keras::stft(Side::Real, Window::None);
/// let w = kernels.tensor(KeyedV1::new(0).key("w"), (3, 1, 4), DType::F64, &Device::Cpu)?;
/// assert_eq!(w.flatten_all()?.to_vec1::<f64>()?[8..], [1.0, -1.0, 1.0, -1.0]); // the highest frequency
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn stft(side: Side, window: Window) -> Initializer {
    Initializer::Stft { side, window, scaling: Scaling::Density, periodic: false }
}
