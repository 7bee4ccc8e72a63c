//! The parameters of a SPEC.

use wick_theory::Activation;

use crate::error::check;
use crate::{Error, Family, FanMode, Initializer, torch};

/// The `key=value` pairs behind a name, taken out one by one; what is left over is an error.
pub(super) struct Parameters<'a> {
    pub(super) spec: &'a str,
    pub(super) pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Parameters<'a> {
    pub(super) fn parse(spec: &'a str, text: Option<&'a str>) -> Result<Self, Error> {
        let mut parameters = Self { spec, pairs: Vec::new() };
        for pair in text.into_iter().flat_map(|text| text.split(',')) {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| parameters.error(&format!("'{pair}' is not of the form key=value")))?;
            if parameters.pairs.iter().any(|(known, _)| *known == key) {
                return Err(parameters.error(&format!("{key}= is given twice")));
            }
            parameters.pairs.push((key, value));
        }
        Ok(parameters)
    }

    pub(super) fn error(&self, reason: &str) -> Error {
        Error::Spec { spec: self.spec.to_owned(), reason: reason.to_owned() }
    }

    pub(super) fn take(&mut self, key: &str) -> Option<&'a str> {
        let place = self.pairs.iter().position(|(known, _)| *known == key)?;
        Some(self.pairs.remove(place).1)
    }

    pub(super) fn number(&mut self, key: &str) -> Result<Option<f64>, Error> {
        let Some(text) = self.take(key) else { return Ok(None) };
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some(number)),
            _ => Err(self.error(&format!("{key}={text} is not a finite number"))),
        }
    }

    pub(super) fn or(&mut self, key: &str, default: f64) -> Result<f64, Error> {
        Ok(self.number(key)?.unwrap_or(default))
    }

    pub(super) fn required(&mut self, key: &str) -> Result<f64, Error> {
        self.number(key)?.ok_or_else(|| self.error(&format!("it takes {key}=")))
    }

    /// One of some words.
    pub(super) fn one_of<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Result<Option<T>, Error> {
        let Some(text) = self.take(key) else { return Ok(None) };
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, meant)) => Ok(Some(*meant)),
            None => {
                let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                let (last, others) = known.split_last().unwrap_or((&"", &[]));
                Err(self.error(&format!("{key}= is {} or {last}", others.join(", "))))
            }
        }
    }

    /// A normal cut off at `low` and `high`, which are in standard deviations before the cut, -2 and 2 if nothing else is
    /// said.
    pub(super) fn cut(
        &mut self,
        (mean, std): (f64, f64),
        low: &str,
        high: &str,
    ) -> Result<Initializer, Error> {
        let (low, high) = (self.or(low, -2.0)?, self.or(high, 2.0)?);
        Ok(Initializer::TruncatedNormal { mean, std, low: mean + low * std, high: mean + high * std })
    }

    /// `variance_scaling` by the names that libraries have for its parameters; a library's words for the families.
    pub(super) fn library_variance_scaling(
        &mut self,
        words: &[(&str, Family)],
        default: Option<Family>,
    ) -> Result<Initializer, Error> {
        let family = match self.one_of("distribution", words)?.or(default) {
            Some(family) => family,
            None => return Err(self.error("it takes distribution=normal, truncated_normal or uniform")),
        };
        let (scale, mode) = (self.or("scale", 1.0)?, self.mode()?.unwrap_or_default());
        Ok(Initializer::VarianceScaling { scale, mode, family })
    }

    /// PyTorch's Kaiming: the gain is that of its table, of a leaky ReLU of slope `a` if nothing else is said.
    pub(super) fn torch_kaiming(&mut self, scheme: Initializer) -> Result<Initializer, Error> {
        let slope = self.number("a")?;
        let activation = match (self.take("nonlinearity"), slope) {
            // Not the slope of its table, .01: what is passed on to it is `a`, which is 0.
            (None | Some("leaky_relu"), slope) => Activation::LeakyRelu { slope: slope.unwrap_or(0.0) },
            (Some(name), None) => self.torch_nonlinearity("nonlinearity", name)?,
            (Some(_), Some(_)) => return Err(self.error("a= is the slope of nonlinearity=leaky_relu")),
        };
        let scheme = scheme.with_gain(self.torch_gain(activation)?);
        Ok(self.mode()?.map_or(scheme.clone(), |mode| scheme.with_mode(mode)))
    }

    fn torch_gain(&self, activation: Activation) -> Result<f64, Error> {
        torch::calculate_gain(activation)
            .ok_or_else(|| self.error(&format!("PyTorch's table has no gain for {activation}")))
    }

    /// What PyTorch calls a nonlinearity: an activation, or a layer without any.
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
        if LINEAR.contains(&name) { Ok(Activation::Identity) } else { self.activation(key, name) }
    }

    fn activation(&self, key: &str, name: &str) -> Result<Activation, Error> {
        name.parse().map_err(|error| self.error(&format!("{key}= is an activation: {error}")))
    }

    pub(super) fn mode(&mut self) -> Result<Option<FanMode>, Error> {
        let Some(text) = self.take("mode") else { return Ok(None) };
        let known = FanMode::ALL.into_iter().find(|mode| mode.name() == text);
        known
            .map(Some)
            .ok_or_else(|| self.error(&format!("mode= is {}", FanMode::ALL.map(FanMode::name).join(", "))))
    }

    pub(super) fn count(&mut self, key: &str) -> Result<Option<usize>, Error> {
        let Some(text) = self.take(key) else { return Ok(None) };
        let count = text.parse().ok().filter(|count| *count > 0);
        count.map(Some).ok_or_else(|| self.error(&format!("{key}={text} is not a whole number above 0")))
    }

    /// `gain=` of a scheme that scales a variance: not negative.
    fn positive_gain(&mut self) -> Result<Option<f64>, Error> {
        let gain = self.gain()?;
        gain.map(|gain| check("gain", gain, gain >= 0.0, "finite and not negative")).transpose()
    }

    /// `gain=`: a number, an activation whose gain is computed, or `torch.` and one whose gain PyTorch has in its table.
    pub(super) fn gain(&mut self) -> Result<Option<f64>, Error> {
        let Some(text) = self.take("gain") else { return Ok(None) };
        if let Some(name) = text.strip_prefix("torch.") {
            return self.torch_gain(self.torch_nonlinearity("gain", name)?).map(Some);
        }
        match text.parse::<f64>() {
            Ok(gain) => check("gain", gain, true, "finite").map(Some),
            Err(_) => match text.parse::<Activation>() {
                Ok(activation) => Ok(Some(activation.gain())),
                Err(error) => Err(self.error(&format!("gain= is a number or an activation: {error}"))),
            },
        }
    }

    /// Applies `gain=` and `mode=` to a scheme.
    pub(super) fn scaled(&mut self, mut scheme: Initializer) -> Result<Initializer, Error> {
        if let Some(gain) = self.positive_gain()? {
            scheme = scheme.with_gain(gain);
        }
        if let Some(mode) = self.mode()? {
            scheme = scheme.with_mode(mode);
        }
        Ok(scheme)
    }
}
