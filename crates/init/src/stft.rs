//! The kernels of a short-time Fourier transform, as a convolution.

use crate::stream::math::sin_cos_pi_f64;

/// Which part of the transform a kernel computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Side {
    /// `cos`.
    #[default]
    Real,
    /// `-sin`.
    Imaginary,
}

/// What the frame is weighted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Window {
    /// `0.5 - 0.5 cos(2πn/N)`.
    #[default]
    Hann,
    /// `0.54 - 0.46 cos(2πn/N)`.
    Hamming,
    /// Nothing, and then nothing scales it.
    None,
}

/// What the window is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scaling {
    /// The root of its sum of squares.
    #[default]
    Density,
    /// Its sum.
    Spectrum,
    /// Nothing.
    None,
}

impl Side {
    pub(crate) const WORDS: [(&str, Self); 2] = [("real", Self::Real), ("imag", Self::Imaginary)];
}

impl Window {
    pub(crate) const WORDS: [(&str, Self); 3] =
        [("hann", Self::Hann), ("hamming", Self::Hamming), ("none", Self::None)];

    /// Its values over a frame: the last is the first again, or with `periodic` would be the one behind.
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
    pub(crate) const WORDS: [(&str, Self); 3] =
        [("density", Self::Density), ("spectrum", Self::Spectrum), ("none", Self::None)];
}

/// `(sin 2πn/N, cos 2πn/N)`, the same bits on every machine.
fn turned(n: usize, steps: usize) -> (f64, f64) {
    let turn = (n % steps) as f64 / steps as f64;
    sin_cos_pi_f64(2.0 * if turn < 0.5 { turn } else { turn - 1.0 })
}

/// Fills `[bands, 1, frame]`, of two or more bands.
pub(crate) fn fill(
    (bands, frame): (usize, usize),
    side: Side,
    window: Window,
    scaling: Scaling,
    periodic: bool,
) -> Vec<f64> {
    let weights = window.values(frame, periodic);
    let scale = match scaling {
        _ if window == Window::None => 1.0,
        Scaling::Density => weights.iter().map(|w| w * w).sum::<f64>().sqrt(),
        Scaling::Spectrum => weights.iter().map(|w| w.abs()).sum(),
        Scaling::None => 1.0,
    };
    let steps = 2 * (bands - 1);
    let wave = |band: usize, n: usize| {
        // The turns of a band repeat, and the product is kept small.
        let (sin, cos) = turned((band % steps) * (n % steps), steps);
        if side == Side::Real { cos } else { -sin }
    };
    let weights = &weights;
    (0..bands)
        .flat_map(|band| weights.iter().enumerate().map(move |(n, w)| wave(band, n) * w / scale))
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::Initializer;

    fn filled(spec: &str) -> Vec<f64> {
        let key = crate::KeyedV1::new(0).key("w");
        let scheme: Initializer = spec.parse().unwrap();
        let drawn =
            scheme.tensor(key, (3, 1, 5), candle_core::DType::F64, &candle_core::Device::Cpu).unwrap();
        drawn.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// keras 3.15: `keras.initializers.STFT(side, window, scaling, periodic)((5, 1, 3), "float64")`, transposed; its π is
    /// that of a `float32`.
    #[test]
    fn kernels_are_those_of_keras() {
        for (spec, expected) in GOLDEN {
            let got = filled(spec);
            assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{spec}: {got:?}");
        }
        let twin = filled("keras.stft:periodic=true");
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
