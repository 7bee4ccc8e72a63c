//! The parameters of a SPEC.

use wick_theory::Activation;
use wick_theory::spec::{self, Pairs, SpecError};

use super::Initializer;
use super::distribution::Distribution;
use crate::conventions::torch::gain::calculate_gain;
use crate::error::{Error, check};
use crate::fans::FanMode;

/// A name of a SPEC and its reader.
pub(crate) type Row = (&'static str, Reader);

/// Makes an initializer from the parameters of a SPEC.
pub(crate) type Reader = fn(&mut Parameters) -> Result<Initializer, Error>;

/// Finds the reader of a name.
type Find = fn(&str) -> Result<Reader, Error>;

/// The `key=value` pairs that follow the name in a SPEC. Readers remove the pairs that they use; a pair that
/// is left over is an error.
pub(crate) struct Parameters<'a> {
    spec: &'a str,
    pairs: Pairs<'a>,
    find: Find,
}

/// The error of a SPEC whose pairs cannot be read.
fn unreadable(spec: &str, error: &SpecError) -> Error {
    Error::Spec { spec: spec.to_owned(), reason: error.to_string() }
}

impl<'a> Parameters<'a> {
    pub(crate) fn parse(spec: &'a str, text: Option<&'a str>, find: Find) -> Result<Self, Error> {
        let pairs = Pairs::parse(text).map_err(|error| unreadable(spec, &error))?;
        Ok(Self { spec, pairs, find })
    }

    /// The key of a pair that is left over.
    pub(crate) fn left_over(&self) -> Option<&'a str> {
        self.pairs.left_over()
    }

    pub(crate) fn error(&self, reason: &str) -> Error {
        Error::Spec { spec: self.spec.to_owned(), reason: reason.to_owned() }
    }

    /// Why a key is left over: what the initializer takes, and what may have been meant.
    pub(crate) fn not_taken(&self, name: &str, key: &str) -> String {
        self.pairs.not_taken(name, key)
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<&'a str> {
        self.pairs.take(key)
    }

    pub(crate) fn number(&mut self, key: &str) -> Result<Option<f64>, Error> {
        self.pairs.number(key).map_err(|error| unreadable(self.spec, &error))
    }

    pub(crate) fn or(&mut self, key: &str, default: f64) -> Result<f64, Error> {
        Ok(self.number(key)?.unwrap_or(default))
    }

    pub(crate) fn required(&mut self, key: &str) -> Result<f64, Error> {
        self.number(key)?.ok_or_else(|| self.error(&format!("it takes {key}=")))
    }

    /// `key=` as the name of another initializer, whose parameters are the pairs that are left.
    pub(crate) fn initializer(&mut self, key: &str) -> Result<Option<Initializer>, Error> {
        let Some(name) = self.take(key) else { return Ok(None) };
        (self.find)(name)?(self).map(Some)
    }

    /// `key=` as one of some words.
    pub(crate) fn one_of<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Result<Option<T>, Error> {
        self.pairs.one_of(key, words).map_err(|error| unreadable(self.spec, &error))
    }

    /// A normal cut off at `low=` and `high=`, which are in standard deviations before the cut; by default -2
    /// and 2.
    pub(crate) fn cut(
        &mut self,
        (mean, std): (f64, f64),
        low: &str,
        high: &str,
    ) -> Result<Initializer, Error> {
        let (low, high) = (self.or(low, -2.0)?, self.or(high, 2.0)?);
        Ok(Initializer::TruncatedNormal { mean, std, low: mean + low * std, high: mean + high * std })
    }

    /// `variance_scaling` with the parameter names and the words for the distributions that a library uses.
    pub(crate) fn library_variance_scaling(
        &mut self,
        words: &[(&str, Distribution)],
        default: Option<Distribution>,
    ) -> Result<Initializer, Error> {
        let distribution = match self.one_of("distribution", words)?.or(default) {
            Some(distribution) => distribution,
            None => return Err(self.error("it takes distribution=normal, truncated_normal or uniform")),
        };
        let (scale, mode) = (self.or("scale", 1.0)?, self.mode()?.unwrap_or_default());
        Ok(Initializer::VarianceScaling { scale, mode, distribution })
    }

    /// PyTorch's Kaiming: the gain is that of PyTorch's table; by default, that of a leaky ReLU of slope `a`.
    pub(crate) fn torch_kaiming(&mut self, initializer: Initializer) -> Result<Initializer, Error> {
        let slope = self.number("a")?;
        let name = self.take("nonlinearity");
        // A leaky ReLU without a slope of its own; `leaky_relu:0.2` has one.
        let is_leaky =
            |name: &str| !name.contains(':') && matches!(name.parse(), Ok(Activation::LeakyRelu { .. }));
        let activation = match (name.filter(|name| !is_leaky(name)), slope) {
            // PyTorch passes `a` on to its table, so the default slope is 0 and not the table's own .01.
            (None, slope) => Activation::LeakyRelu { slope: slope.unwrap_or(0.0) },
            (Some(name), None) => self.torch_nonlinearity("nonlinearity", name)?,
            (Some(_), Some(_)) => return Err(self.error("a= is the slope of nonlinearity=leaky_relu")),
        };
        let initializer = initializer.with_gain(self.torch_gain(activation)?);
        Ok(self.mode()?.map_or(initializer.clone(), |mode| initializer.with_mode(mode)))
    }

    fn torch_gain(&self, activation: Activation) -> Result<f64, Error> {
        calculate_gain(activation)
            .ok_or_else(|| self.error(&format!("PyTorch's table has no gain for {activation}")))
    }

    /// A nonlinearity in PyTorch's sense: an activation, or the name of a layer without one.
    fn torch_nonlinearity(&self, key: &str, name: &str) -> Result<Activation, Error> {
        const LINEAR: [&str; 7] = [
            "linear",
            "conv1d",
            "conv2d",
            "conv3d",
            "conv_transpose1d",
            "conv_transpose2d",
            "conv_transpose3d",
        ];
        if LINEAR.iter().any(|linear| linear.eq_ignore_ascii_case(name)) {
            Ok(Activation::Identity)
        } else {
            self.activation(key, name)
        }
    }

    fn activation(&self, key: &str, name: &str) -> Result<Activation, Error> {
        name.parse().map_err(|error| self.error(&format!("{key}= is an activation: {error}")))
    }

    pub(crate) fn mode(&mut self) -> Result<Option<FanMode>, Error> {
        let Some(text) = self.take("mode") else { return Ok(None) };
        let known = FanMode::ALL.into_iter().find(|mode| mode.name().eq_ignore_ascii_case(text));
        known
            .map(Some)
            .ok_or_else(|| self.error(&format!("mode= is {}", FanMode::ALL.map(FanMode::name).join(", "))))
    }

    pub(crate) fn count(&mut self, key: &str) -> Result<Option<usize>, Error> {
        self.pairs.count(key).map_err(|error| unreadable(self.spec, &error))
    }

    /// `gain=` of an initializer that scales a variance; it must not be negative.
    fn positive_gain(&mut self) -> Result<Option<f64>, Error> {
        let gain = self.gain()?;
        gain.map(|gain| check("gain", gain, gain >= 0.0, "finite and not negative")).transpose()
    }

    /// `gain=`: a number, an activation, whose gain is computed, or `torch.` and an activation of PyTorch's
    /// table.
    pub(crate) fn gain(&mut self) -> Result<Option<f64>, Error> {
        let Some(text) = self.take("gain") else { return Ok(None) };
        if let Some((_, name)) =
            text.split_once('.').filter(|(library, _)| library.eq_ignore_ascii_case("torch"))
        {
            return self.torch_gain(self.torch_nonlinearity("gain", name)?).map(Some);
        }
        match spec::number(text) {
            Some(gain) => check("gain", gain, true, "finite").map(Some),
            None => match text.parse::<Activation>() {
                Ok(activation) => Ok(Some(activation.gain())),
                Err(error) => Err(self.error(&format!("gain= is a number or an activation: {error}"))),
            },
        }
    }

    /// Applies `gain=` and `mode=` to an initializer.
    pub(crate) fn scaled(&mut self, mut initializer: Initializer) -> Result<Initializer, Error> {
        if let Some(gain) = self.positive_gain()? {
            initializer = initializer.with_gain(gain);
        }
        if let Some(mode) = self.mode()? {
            initializer = initializer.with_mode(mode);
        }
        Ok(initializer)
    }
}
