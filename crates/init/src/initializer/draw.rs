//! What an initializer draws, and what is known of it beforehand.

use candle_core::{DType, Device, Shape, Tensor};

use super::Initializer;
use super::distribution::Distribution;
use super::plan::Plan;
use super::weight_law::WeightLaw;
use crate::error::Error;
use crate::fans::Fans;
use crate::layout::WeightLayout;
use crate::rng::RngSource;
use crate::rng::jax::to_plain;
use crate::rng::values::{Kind, Values};

impl Initializer {
    /// Returns the expected standard deviation of the elements of a tensor of this shape; of an orthogonal or
    /// sparse weight, over all of its elements. `None` for the other structured initializers.
    ///
    /// ```
    /// use wick_init::Initializer;
    ///
    /// assert_eq!(Initializer::orthogonal(2.0).std(&[100, 25])?, Some(0.2));
    /// assert_eq!(Initializer::identity(2.0).std(&[100, 25])?, None);
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
        let plan = self.plan(shape, layout)?;
        plan.check_shape(shape)?;
        Ok(match plan {
            Plan::Independent(law) => Some(law.std()),
            Plan::Structured(structured) => structured.structure().variance(shape).map(f64::sqrt),
        })
    }

    /// Returns the law of a weight `[out, in]`, if a signal that goes through the weight depends on this law
    /// alone: that needs mean 0 and no other structure than orthogonality. `None` for all other weights.
    ///
    /// ```
    /// use wick_init::Initializer;
    ///
    /// let law = Initializer::kaiming_normal().weight_law(&[300, 800])?.expect("it has one");
    /// assert!((law.variance - 2.0 / 800.0).abs() < 1e-15 && !law.orthogonal);
    /// assert!(Initializer::identity(1.0).weight_law(&[300, 800])?.is_none());
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`tensor`](Self::tensor).
    pub fn weight_law(&self, shape: &[usize]) -> Result<Option<WeightLaw>, Error> {
        let plan = self.plan(shape, WeightLayout::default())?;
        plan.check_shape(shape)?;
        Ok(match plan {
            Plan::Independent(law) if law.is_centred() => {
                Some(WeightLaw { variance: law.std().powi(2), orthogonal: false })
            }
            Plan::Independent(_) => None,
            Plan::Structured(structured) => structured.structure().weight_law(shape),
        })
    }

    /// Draws a tensor from a [`Key`](crate::Key), whose element `i` (row-major) then depends on the key and
    /// on `i` alone, or from another [`RngSource`]. `f64` is drawn in `f64`, the other types in `f32`, and
    /// rounded once.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a parameter out of range, [`Error::NoFans`] if the initializer needs fans and
    /// the shape has none, [`Error::WeightLayout`] if the shape does not fit the layout, [`Error::Shape`] if
    /// the initializer cannot fill the shape, [`Error::Overflow`] if a weight would be infinite,
    /// [`Error::Type`] for a type that is not floating point, [`Error::Candle`] if the device refuses.
    pub fn tensor<'a>(
        &self,
        source: impl Into<RngSource<'a>>,
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
        source: impl Into<RngSource<'a>>,
        shape: impl Into<Shape>,
        layout: WeightLayout,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor, Error> {
        self.drawn(source.into(), shape.into(), layout, (dtype, device), Kind::Tensor)
    }

    /// As [`tensor_with_layout`](Self::tensor_with_layout), for a variable or any tensor.
    pub(crate) fn drawn(
        &self,
        mut source: RngSource,
        shape: Shape,
        layout: WeightLayout,
        (dtype, device): (DType, &Device),
        kind: Kind,
    ) -> Result<Tensor, Error> {
        if !matches!(dtype, DType::F64 | DType::F32 | DType::BF16 | DType::F16) {
            return Err(Error::Type(dtype));
        }
        self.check(shape.dims(), layout)?;
        if shape.elem_count() == 0 {
            return Values::F64(Vec::new()).into_tensor(shape, dtype, device, kind);
        }
        match self.plan(shape.dims(), layout)? {
            Plan::Independent(law) => {
                if let Some(key) = source.jax_key() {
                    law.check_type(dtype)?;
                    let drawn = key.draw(law, self.variance(shape.dims(), layout)?, shape.elem_count());
                    let drawn = Values::F32(to_plain(drawn, shape.dims(), layout));
                    return drawn.into_tensor(shape, dtype, device, kind);
                }
                #[cfg(feature = "cuda")]
                if let Some(tensor) = source.draw_on_device(law, &shape, dtype, device)? {
                    return Ok(tensor);
                }
                source.draw_tensor(law, shape, (dtype, device), kind)
            }
            Plan::Structured(structured) => {
                let values = structured.structure().fill(&mut source, shape.dims(), layout, dtype)?;
                values.check_type(dtype)?;
                values.into_tensor(shape, dtype, device, kind)
            }
        }
    }

    /// The variance of an initializer that is given by one, `scale/fan`.
    fn variance(&self, shape: &[usize], layout: WeightLayout) -> Result<Option<f64>, Error> {
        let Self::VarianceScaling { scale, mode, distribution } = *self else { return Ok(None) };
        if distribution == Distribution::TruncatedNormal3 {
            // JAX has none that is cut there.
            return Ok(None);
        }
        Ok(Some(scale / mode.of(Fans::with_layout(shape, layout)?)))
    }

    /// Returns an error if a tensor of this shape cannot be filled.
    pub(crate) fn check(&self, shape: &[usize], layout: WeightLayout) -> Result<(), Error> {
        self.plan(shape, layout)?.check_shape(shape)
    }

    /// Draws the elements of a tensor that has some and whose shape has been checked. Those of a structured
    /// initializer are not checked against the type.
    pub(crate) fn values(
        &self,
        source: &mut RngSource,
        shape: &[usize],
        layout: WeightLayout,
        dtype: DType,
    ) -> Result<Values, Error> {
        match self.plan(shape, layout)? {
            Plan::Independent(law) => source.draw_checked(law, shape.iter().product(), dtype),
            Plan::Structured(structured) => structured.structure().fill(source, shape, layout, dtype),
        }
    }
}
