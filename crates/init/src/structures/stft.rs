//! The kernels of a short-time Fourier transform, as a convolution.

use std::fmt;

use candle_core::DType;
use wick_theory::spec::word;

use super::structure::{Structure, Structured};
use crate::error::Error;
use crate::initializer::Initializer;
use crate::initializer::parameters::Row;
use crate::layout::WeightLayout;
use crate::rng::RngSource;
use crate::rng::keyed::math::sin_cos_pi_f64;
use crate::rng::values::Values;

pub(crate) const ROW: Row = ("keras.stft", |p| {
    Ok(Initializer::stft(
        p.one_of("side", &Side::WORDS)?.unwrap_or_default(),
        p.one_of("window", &Window::WORDS)?.unwrap_or_default(),
        p.one_of("scaling", &Scaling::WORDS)?.unwrap_or_default(),
        p.one_of("periodic", &[("true", true), ("false", false)])?.unwrap_or(false),
    ))
});

/// The part of the transform that a kernel computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Side {
    /// `cos`.
    #[default]
    Real,
    /// `-sin`.
    Imaginary,
}

/// The window that the frame is multiplied by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Window {
    /// `0.5 - 0.5 cos(2πn/N)`.
    #[default]
    Hann,
    /// `0.54 - 0.46 cos(2πn/N)`.
    Hamming,
    /// No window, and no scaling.
    None,
}

/// The number that the window is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scaling {
    /// The square root of its sum of squares.
    #[default]
    Density,
    /// Its sum.
    Spectrum,
    /// 1.
    None,
}

impl Side {
    /// The words of a SPEC.
    pub(crate) const WORDS: [(&str, Self); 2] = [("real", Self::Real), ("imag", Self::Imaginary)];
}

impl Window {
    /// The words of a SPEC.
    pub(crate) const WORDS: [(&str, Self); 3] =
        [("hann", Self::Hann), ("hamming", Self::Hamming), ("none", Self::None)];

    /// The window's values over a frame. The last value is the first again, or with `periodic`, the value
    /// after the last.
    fn values(self, frame: usize, periodic: bool) -> Vec<f64> {
        let (middle, side) = match self {
            Self::Hann => (0.5, 0.5),
            Self::Hamming => (0.54, 0.46),
            Self::None => return vec![1.0; frame],
        };
        if frame <= 1 {
            return vec![1.0; frame];
        }
        let steps = if periodic { frame } else { frame - 1 };
        (0..frame).map(|n| middle - side * turned(n, steps).1).collect()
    }
}

impl Scaling {
    /// The words of a SPEC.
    pub(crate) const WORDS: [(&str, Self); 3] =
        [("density", Self::Density), ("spectrum", Self::Spectrum), ("none", Self::None)];
}

/// `(sin 2πn/N, cos 2πn/N)`, the same bits on every machine.
fn turned(n: usize, steps: usize) -> (f64, f64) {
    let turn = (n % steps) as f64 / steps as f64;
    sin_cos_pi_f64(2.0 * if turn < 0.5 { turn } else { turn - 1.0 })
}

#[derive(Debug)]
struct Stft {
    side: Side,
    window: Window,
    scaling: Scaling,
    periodic: bool,
}

impl Initializer {
    /// The kernels `[bands, 1, frame]` of a short-time Fourier transform of `2(bands - 1)` steps, of two or
    /// more bands: `w(n) cos(2πkn/(2(bands - 1)))`, or `-sin`, for band `k` and place `n` of the frame.
    /// Keras' `STFT`. With `periodic`, the window's period is the frame, and not one less. In a SPEC,
    /// `keras.stft` with `side` (`real`, or `imag`), `window` (`hann`, `hamming` or `none`), `scaling`
    /// (`density`, `spectrum` or `none`) and `periodic` (`false`).
    ///
    /// ```
    /// use wick_init::{Initializer, Scaling, Side, Window};
    ///
    /// let kernels = Initializer::stft(Side::Real, Window::None, Scaling::None, true);
    /// assert_eq!(kernels, "keras.stft:window=none,scaling=none,periodic=true".parse()?);
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    pub fn stft(side: Side, window: Window, scaling: Scaling, periodic: bool) -> Self {
        Self::Structured(Structured::new(Stft { side, window, scaling, periodic }))
    }
}

impl fmt::Display for Stft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (side, window) = (word(&Side::WORDS, &self.side), word(&Window::WORDS, &self.window));
        let (scaling, periodic) = (word(&Scaling::WORDS, &self.scaling), self.periodic);
        write!(f, "keras.stft:side={side},window={window},scaling={scaling},periodic={periodic}")
    }
}

impl Structure for Stft {
    fn fits(&self, shape: &[usize]) -> bool {
        matches!(shape, [bands, 1, _] if *bands >= 2)
    }

    fn needs(&self) -> &'static str {
        "a convolution [bands, 1, frame] of two or more bands"
    }

    fn fill(
        &self,
        _source: &mut RngSource,
        shape: &[usize],
        _layout: WeightLayout,
        _dtype: DType,
    ) -> Result<Values, Error> {
        let (bands, frame) = (shape[0], shape[2]);
        let weights = self.window.values(frame, self.periodic);
        let scale = match self.scaling {
            _ if self.window == Window::None => 1.0,
            Scaling::Density => weights.iter().map(|w| w * w).sum::<f64>().sqrt(),
            Scaling::Spectrum => weights.iter().map(|w| w.abs()).sum(),
            Scaling::None => 1.0,
        };
        let steps = 2 * (bands - 1);
        let wave = |band: usize, n: usize| {
            // The turns of a band repeat after `steps`; the remainders keep the product small.
            let (sin, cos) = turned((band % steps) * (n % steps), steps);
            if self.side == Side::Real { cos } else { -sin }
        };
        let weights = &weights;
        let kernel = |band| weights.iter().enumerate().map(move |(n, w)| wave(band, n) * w / scale);
        Ok(Values::F64((0..bands).flat_map(kernel).collect()))
    }
}

#[cfg(test)]
mod tests {
    use crate::structures::tests::filled;

    /// keras 3.15: `keras.initializers.STFT(side, window, scaling, periodic)((5, 1, 3), "float64")`,
    /// transposed; its π is that of a `float32`.
    #[test]
    fn kernels_are_those_of_keras() {
        for (spec, expected) in GOLDEN {
            let got = filled(&spec.parse().unwrap(), &[3, 1, 5]);
            assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{spec}: {got:?}");
        }
        let twin = filled(&"keras.stft:periodic=true".parse().unwrap(), &[3, 1, 5]);
        assert!(twin.iter().zip(GOLDEN[0].1).any(|(a, b)| (a - b).abs() > 1e-3));
    }

    const GOLDEN: [(&str, [f64; 15]); 3] = [
        (
            "keras.stft",
            [
                0.0,
                0.408_248_29,
                0.816_496_58,
                0.408_248_29,
                0.0,
                0.0,
                0.0,
                -0.816_496_58,
                0.0,
                0.0,
                0.0,
                -0.408_248_29,
                0.816_496_58,
                -0.408_248_29,
                0.0,
            ],
        ),
        (
            "keras.stft:side=imag,window=hamming,scaling=spectrum,periodic=true",
            [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -0.147_352_66, 0.0, 0.337_832_52, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        ),
        (
            "keras.stft:side=imag,window=none",
            [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        ),
    ];
}
