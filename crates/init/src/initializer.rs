//! The schemes, and what they tell of the tensors that they fill.

use candle_core::{DType, Device, Shape, Tensor};

use crate::plan::Plan;
use crate::source::{Source, Values, to_tensor};
use crate::stft::{Scaling, Side, Window};
use crate::structured::{self, Structure};
use crate::{Error, FanMode, WeightLayout};

/// How a tensor starts.
///
/// The named schemes ([`xavier_normal`](Self::xavier_normal), [`kaiming_uniform`](Self::kaiming_uniform) …)
/// are constructors of [`VarianceScaling`](Self::VarianceScaling). Where libraries disagree on what a name
/// means, the modules [`torch`](crate::torch), [`jax`](crate::jax), [`keras`](crate::keras) and
/// [`timm`](crate::timm) have each library's convention. A scheme can be read from text, a SPEC: see
/// [`Initializer::from_str`](#impl-FromStr-for-Initializer).
///
/// ```
/// use candle_core::{DType, Device};
/// use wick_init::{Initializer, KeyedV1};
///
/// let key = KeyedV1::new(42).key("fc.weight");
/// let weight = Initializer::xavier_normal().tensor(key, (750, 800), DType::F32, &Device::Cpu)?;
/// let std = weight.sqr()?.mean_all()?.to_scalar::<f32>()?.sqrt();
/// assert!((f64::from(std) - (2.0f64 / 1550.0).sqrt()).abs() < 1e-4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Initializer {
    /// Every element the same; any finite value.
    Constant(f64),
    /// `N(mean, std²)`; `std ≥ 0`. Mind that papers write `N(mean, variance)`.
    Normal {
        /// The mean.
        mean: f64,
        /// The standard deviation, not the variance.
        std: f64,
    },
    /// `U(low, high)`; `low ≤ high`.
    Uniform {
        /// The lower bound.
        low: f64,
        /// The upper bound.
        high: f64,
    },
    /// `N(mean, std²)` cut off outside `[low, high]`; `std ≥ 0`, `low ≤ high`. The `std` is the one *before* the
    /// cut, and the bounds are absolute, as in `torch.nn.init.trunc_normal_`; what comes out is narrower.
    TruncatedNormal {
        /// The mean before the cut.
        mean: f64,
        /// The standard deviation before the cut.
        std: f64,
        /// The lower bound.
        low: f64,
        /// The upper bound.
        high: f64,
    },
    /// Mean 0 and `Var W = scale / fan`, `scale ≥ 0`: the core of the Xavier, Kaiming and LeCun schemes.
    /// The std is that of what comes out, whatever the family.
    VarianceScaling {
        /// The variance times the fan; the square of what PyTorch calls gain.
        scale: f64,
        /// Which fan.
        mode: FanMode,
        /// The family of the distribution.
        family: Family,
    },
    /// `U(±1/fan_in)`, the first layer of a SIREN (Sitzmann et al. 2020, arXiv 2006.09661, section 3.2): its
    /// inputs are coordinates in `[-1, 1]`, and its `ω₀` is in the forward pass.
    SirenFirst,
    /// `U(±√(6/fan_in)/ω₀)`, the hidden layers of a SIREN (Sitzmann et al. 2020, theorem 1.8); `ω₀ > 0`.
    SirenHidden {
        /// The frequency in `sin(ω₀ (W x + b))`; 30 in the paper.
        omega: f64,
    },
    /// `U(±1/√hidden)`, where `hidden` is the first dimension divided by the gates: PyTorch's default for
    /// every weight and bias of a recurrent layer.
    Recurrent {
        /// 4 for an LSTM, 3 for a GRU, 1 for a plain recurrent layer.
        gates: usize,
    },
    /// The bias `[4·hidden]` of an LSTM (gates in the order input, forget, cell, output, as PyTorch and candle have them):
    /// `value` for the forget gate, 0 for the others, so that the cell remembers at first (Gers et al. 2000; Jozefowicz
    /// et al. 2015). With 1, it is Keras' `unit_forget_bias`.
    ForgetGate {
        /// The forget gate's bias; any finite value.
        value: f64,
    },
    /// `gain` on the diagonal of a matrix, 0 elsewhere.
    Identity {
        /// The diagonal; any finite value, as are the singular values below.
        gain: f64,
    },
    /// A convolution `[out, in/groups, kernel…]` (1-d to 3-d) that passes as many channels through as it can,
    /// in each group: 1 at the kernel's centre where the channels are the same. The centre of a side `k` is `⌊k/2⌋`,
    /// PyTorch's choice; for even sides JAX's, `⌊(k-1)/2⌋`, is one less.
    Dirac {
        /// How many groups the convolution has; a divisor of `out`.
        groups: usize,
    },
    /// `gain` times a matrix with orthonormal rows or columns, whichever are fewer, uniform among these (Haar):
    /// Saxe et al. 2013, arXiv 1312.6120. More than two dimensions are taken as `[out, the rest]`.
    Orthogonal {
        /// The singular values.
        gain: f64,
    },
    /// A convolution `[out, in, kernel…]`, `out ≥ in`, that is orthogonal at its centre and 0 elsewhere (Xiao et
    /// al. 2018, arXiv 1806.05393, algorithm 1): it keeps the norm of every signal.
    DeltaOrthogonal {
        /// The singular values.
        gain: f64,
        /// Which element of an even side is the centre.
        centre: Centre,
    },
    /// `N(0, std²)` with a share of the elements of every column (or row) set to 0 (Martens 2010, *Deep learning
    /// via Hessian-free optimization*): `⌈sparsity · length⌉` of them.
    Sparse {
        /// The share that is 0; in `[0, 1]`.
        sparsity: f64,
        /// The standard deviation of the others.
        std: f64,
        /// Whether the zeros are counted in columns (PyTorch's way) or in rows.
        by: SparseBy,
    },
    /// A transposed convolution `[channels, channels/groups, kernel…]` that interpolates linearly (Long et al.
    /// 2015, arXiv 1411.4038, section 3.3), each channel by itself; `channels` is a multiple of `channels/groups`.
    Bilinear,
    /// A convolution in front of a pixel shuffle: each set of `factor²` (in 2-d) output channels that make one
    /// channel's pixels starts the same (Aitken et al. 2017, arXiv 1707.02937), so that nothing is chequered.
    Icnr {
        /// By how much the shuffle enlarges each side.
        factor: usize,
        /// What one channel of each set is drawn from.
        base: Box<Self>,
    },
    /// Identities, and Hadamard matrices where a layer widens, without randomness (Zhao et al. 2022, arXiv 2110.12661,
    /// algorithm 1): `2^{-(m-1)/2} H_m` with `m = ⌈log₂ out⌉`, as the paper has it, which doubles `|Wx|²` where `out` is a
    /// power of two; the authors' program divides by `2^{m/2}`, which keeps it. Convolutions have it at their centre.
    Zero,
    /// The kernels `[bands, 1, frame]` of a short-time Fourier transform of `2(bands - 1)` steps, of two or more bands:
    /// `w(n) cos(2πkn/(2(bands - 1)))`, or `-sin`, for band `k` and place `n` of the frame. Keras' `STFT`.
    Stft {
        /// Which part.
        side: Side,
        /// What the frame is weighted with.
        window: Window,
        /// What the window is divided by.
        scaling: Scaling,
        /// Whether the window's period is the frame, and not one less.
        periodic: bool,
    },
}

/// The family of a distribution that is given by its standard deviation `σ`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `N(0, σ²)`.
    Normal,
    /// `N(0, s²)` cut off at `±2s`, with `s = σ/0.87962566103423978` so that what comes out has `σ`: what JAX
    /// and Keras draw.
    TruncatedNormal,
    /// `U(-√3 σ, √3 σ)`.
    Uniform,
}

/// Which element of a kernel's even side `k` is its centre. Of an odd one it is the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Centre {
    /// `⌊k/2⌋`, PyTorch's choice.
    #[default]
    Upper,
    /// `⌊(k-1)/2⌋`, JAX's.
    Lower,
}

/// Which way the zeros of [`Initializer::Sparse`] are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SparseBy {
    /// In every column of `[out, in]`: each input reaches that share of the outputs less.
    Column,
    /// In every row: each output hears that share of the inputs less.
    Row,
}

/// What [`Initializer::weight_law`] tells of a weight of mean 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WeightLaw {
    /// The variance of an element.
    pub variance: f64,
    /// Whether rows or columns, whichever are fewer, are orthogonal and of equal length; the elements are independent
    /// otherwise.
    pub orthogonal: bool,
}

impl Initializer {
    /// The standard deviation that the elements of a tensor of this shape are meant to have: of an orthogonal or sparse
    /// weight, over all of its elements. `None` for the other structures.
    ///
    /// ```
    /// use wick_init::Initializer;
    ///
    /// assert_eq!(Initializer::Orthogonal { gain: 2.0 }.std(&[100, 25])?, Some(0.2));
    /// assert_eq!(Initializer::Identity { gain: 2.0 }.std(&[100, 25])?, None);
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`tensor`](Self::tensor).
    pub fn std(&self, shape: &[usize]) -> Result<Option<f64>, Error> {
        self.std_with_layout(shape, WeightLayout::default())
    }

    /// As [`std`](Self::std), for a weight of another layout.
    ///
    /// # Errors
    /// As [`tensor`](Self::tensor).
    pub fn std_with_layout(&self, shape: &[usize], layout: WeightLayout) -> Result<Option<f64>, Error> {
        match self.plan(shape, layout)? {
            Plan::Independent(distribution) => Ok(Some(distribution.std())),
            Plan::Structure(structure) => {
                structure.check(shape)?;
                Ok(structure.variance(shape).map(f64::sqrt))
            }
        }
    }

    /// What becomes of a signal that goes through a weight `[out, in]` of this scheme depends on this alone, where the weight
    /// has a mean of 0 and no other structure than orthogonality; `None` for the others.
    ///
    /// ```
    /// use wick_init::Initializer;
    ///
    /// let law = Initializer::kaiming_normal().weight_law(&[300, 800])?.expect("it has one");
    /// assert!((law.variance - 2.0 / 800.0).abs() < 1e-15 && !law.orthogonal);
    /// assert!(Initializer::Identity { gain: 1.0 }.weight_law(&[300, 800])?.is_none());
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`tensor`](Self::tensor).
    pub fn weight_law(&self, shape: &[usize]) -> Result<Option<WeightLaw>, Error> {
        let law = |variance, orthogonal| Ok(Some(WeightLaw { variance, orthogonal }));
        match self.plan(shape, WeightLayout::default())? {
            Plan::Independent(distribution) if distribution.is_centred() => {
                law(distribution.std().powi(2), false)
            }
            Plan::Independent(_) => Ok(None),
            Plan::Structure(structure) => {
                structure.check(shape)?;
                match structure.variance(shape) {
                    Some(variance) if matches!(structure, Structure::Orthogonal { .. }) => {
                        law(variance, true)
                    }
                    Some(variance) if matches!(structure, Structure::Sparse { .. }) => law(variance, false),
                    _ => Ok(None),
                }
            }
        }
    }

    /// Draws a tensor from a [`Key`](crate::Key), whose element `i` (row-major) then depends on the key and on
    /// `i` alone, or from another [`Source`]. `f64` is drawn in `f64`, the other types in `f32`, and rounded once.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a parameter out of range, [`Error::NoFans`] where the scheme needs fans and
    /// the shape has none, [`Error::WeightLayout`] where the shape is none of the layout, [`Error::Shape`] where the scheme
    /// cannot fill it, [`Error::Type`] for a type that is not floating point, [`Error::Candle`] if the device refuses.
    pub fn tensor<'a>(
        &self,
        source: impl Into<Source<'a>>,
        shape: impl Into<Shape>,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor, Error> {
        self.tensor_with_layout(source, shape, WeightLayout::default(), dtype, device)
    }

    /// As [`tensor`](Self::tensor), for a weight of another layout.
    ///
    /// # Errors
    /// As [`tensor`](Self::tensor).
    pub fn tensor_with_layout<'a>(
        &self,
        source: impl Into<Source<'a>>,
        shape: impl Into<Shape>,
        layout: WeightLayout,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor, Error> {
        let (mut source, shape) = (source.into(), shape.into());
        if !matches!(dtype, DType::F64 | DType::F32 | DType::BF16 | DType::F16) {
            return Err(Error::Type(dtype));
        }
        let plan = self.plan(shape.dims(), layout)?;
        plan.check_shape(shape.dims())?;
        let values = match plan {
            _ if shape.elem_count() == 0 => Values::F64(Vec::new()),
            Plan::Independent(distribution) => {
                #[cfg(feature = "cuda")]
                if let Some(tensor) = source.draw_there(distribution, &shape, dtype, device)? {
                    return Ok(tensor);
                }
                source.draw_checked(distribution, shape.elem_count(), dtype)?
            }
            Plan::Structure(structure) => {
                let values = structured::fill(structure, &mut source, shape.dims(), layout, dtype)?;
                values.check_type(dtype)?;
                values
            }
        };
        to_tensor(values, shape, dtype, device)
    }
}

#[cfg(test)]
#[path = "initializer_tests.rs"]
mod tests;
