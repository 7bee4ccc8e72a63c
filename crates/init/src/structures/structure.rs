//! What a structured initializer must provide.

use std::fmt;
use std::sync::Arc;

use candle_core::DType;

use super::shape_gain::ShapeGain;
use crate::error::Error;
use crate::initializer::weight_law::WeightLaw;
use crate::layout::WeightLayout;
use crate::rng::RngSource;
use crate::rng::values::Values;

/// An initializer that fills a weight as a whole. `Display` writes its SPEC, `name` or `name:key=value,…`.
pub(crate) trait Structure: fmt::Debug + fmt::Display + Send + Sync {
    /// Returns an error if a parameter is out of range. The shape and the layout are those of the weight;
    /// they matter to an initializer that has another one as a parameter.
    fn check_parameters(&self, _shape: &[usize], _layout: WeightLayout) -> Result<(), Error> {
        Ok(())
    }

    /// Whether it can fill a weight of this shape.
    fn fits(&self, shape: &[usize]) -> bool;

    /// The shapes that [`fits`](Self::fits) allows, in words.
    fn needs(&self) -> &'static str;

    /// The mean square of the elements, if randomness or orthogonality makes it the same everywhere.
    fn variance(&self, _shape: &[usize]) -> Option<f64> {
        None
    }

    /// The law of a signal that goes through the weight, if [`WeightLaw`] can describe it.
    fn weight_law(&self, _shape: &[usize]) -> Option<WeightLaw> {
        None
    }

    /// The same initializer with another gain, if it has one.
    fn with_gain(&self, _gain: f64) -> Option<Structured> {
        None
    }

    /// The same initializer with a gain by the shape, if it is an orthogonal one.
    fn with_shape_gain(&self, _by: ShapeGain) -> Option<Structured> {
        None
    }

    /// The same ramp with a zigzag in each head, if it is a ramp.
    fn with_zigzag(&self, _zigzag: f64, _head: usize) -> Option<Structured> {
        None
    }

    /// Fills a weight, row-major. The parameters and the shape have been checked, and the weight has
    /// elements.
    fn fill(
        &self,
        source: &mut RngSource,
        shape: &[usize],
        layout: WeightLayout,
        dtype: DType,
    ) -> Result<Values, Error>;
}

/// A structured initializer with its parameters. The constructors of [`Initializer`](crate::Initializer) make
/// them.
#[derive(Clone)]
pub struct Structured(Arc<dyn Structure>);

impl Structured {
    pub(crate) fn new(structure: impl Structure + 'static) -> Self {
        Self(Arc::new(structure))
    }

    pub(crate) fn structure(&self) -> &dyn Structure {
        &*self.0
    }

    /// The name in a SPEC.
    pub(crate) fn name(&self) -> String {
        let mut spec = self.to_string();
        spec.truncate(spec.find(':').unwrap_or(spec.len()));
        spec
    }

    /// Returns an error if it cannot fill a weight of this shape.
    pub(crate) fn check_shape(&self, shape: &[usize]) -> Result<(), Error> {
        if self.0.fits(shape) {
            return Ok(());
        }
        Err(Error::Shape { shape: shape.to_vec(), initializer: self.name(), needs: self.0.needs() })
    }
}

/// Two structured initializers are equal if their SPECs are.
impl PartialEq for Structured {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl fmt::Debug for Structured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for Structured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&*self.0, f)
    }
}
