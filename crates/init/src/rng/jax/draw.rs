//! The elements of a tensor as `jax.random` and `jax.nn.initializers` make them from bits.

use rayon::prelude::*;
use wick_kernels::simd::{self, SimdLevel, Task};

use super::math::{erf, erf_inv};
use super::threefry;
use crate::rng::law::{Law, TRUNCATED_STD};

/// The numbers that a core draws at a time.
const PART: usize = 1 << 14;

/// How the bits of an element become a number. Each step is rounded as JAX's operations are.
#[derive(Clone, Copy)]
enum Element {
    Constant(f32),
    /// `jax.random.uniform(minval, maxval)` times a scale.
    Uniform {
        low: f32,
        width: f32,
        scale: f32,
    },
    /// `jax.random.normal` times a scale.
    Normal {
        scale: f32,
        mean: f32,
    },
    /// `jax.random.truncated_normal` times a scale.
    Truncated {
        low: f32,
        width: f32,
        bounds: [f32; 2],
        scale: f32,
        mean: f32,
    },
}

impl Element {
    /// As `jax.nn.initializers` draws from a law; `variance` is that of an initializer which is given by it, whose
    /// scale JAX computes in `f32`.
    fn new(law: Law, variance: Option<f64>) -> Self {
        let sqrt = |variance: f64| (variance as f32).sqrt();
        match law {
            Law::Constant(value) => Self::Constant(value as f32),
            Law::Uniform { low, high } => match variance {
                None => Self::uniform(low as f32, high as f32, 1.0),
                Some(variance) => Self::uniform(-1.0, 1.0, (3.0 * variance as f32).sqrt()),
            },
            Law::Normal { mean, std } => {
                Self::Normal { scale: variance.map_or(std as f32, sqrt), mean: mean as f32 }
            }
            Law::TruncatedNormal { mean, std: 0.0, .. } => Self::Constant(mean as f32),
            Law::TruncatedNormal { mean, std, low, high } => {
                let (scale, low, high) = match variance {
                    None => (std as f32, (low - mean) / std, (high - mean) / std),
                    Some(variance) => (sqrt(variance) / TRUNCATED_STD as f32, -2.0, 2.0),
                };
                let (low, high) = (low as f32, high as f32);
                // XLA multiplies by the rounded 1/√2 where JAX divides by √2.
                let [a, b] = [low, high].map(|bound| erf(bound * (1.0 / std::f32::consts::SQRT_2)));
                let bounds = [low.next_up(), high.next_down()];
                Self::Truncated { low: a, width: b - a, bounds, scale, mean: mean as f32 }
            }
        }
    }

    fn uniform(low: f32, high: f32, scale: f32) -> Self {
        Self::Uniform { low, width: high - low, scale }
    }

    #[inline(always)]
    fn of(self, bits: u32) -> f32 {
        // 23 bits in [0, 1).
        let unit = f32::from_bits(bits >> 9 | 1f32.to_bits()) - 1.0;
        let between = |low: f32, width: f32| low.max(unit.mul_add(width, low));
        let normal = |u: f32| std::f32::consts::SQRT_2 * erf_inv(u);
        // JAX adds no mean where there is none: -0 stays.
        let moved = |x: f32, mean: f32| if mean == 0.0 { x } else { x + mean };
        match self {
            Self::Constant(value) => value,
            Self::Uniform { low, width, scale } => between(low, width) * scale,
            Self::Normal { scale, mean } => moved(normal(between((-1f32).next_up(), 2.0)) * scale, mean),
            Self::Truncated { low, width, bounds, scale, mean } => {
                let z = normal(between(low, width)).max(bounds[0]).min(bounds[1]);
                moved(z * scale, mean)
            }
        }
    }
}

/// Draws the first `count` elements of a key.
pub(super) fn draw(key: [u32; 2], law: Law, variance: Option<f64>, count: usize) -> Vec<f32> {
    let element = Element::new(law, variance);
    let mut out = vec![0.0; count];
    out.par_chunks_mut(PART).enumerate().for_each(|(part, out)| {
        simd::run(SimdLevel::best(), Part { key, first: (part * PART) as u64, element, out });
    });
    out
}

struct Part<'a> {
    key: [u32; 2],
    first: u64,
    element: Element,
    out: &'a mut [f32],
}

impl Task for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { key, first, element, out } = self;
        for (index, x) in (first..).zip(out) {
            *x = element.of(threefry::bits(key, index));
        }
    }
}
