//! The parameters of a SPEC.

use wick_theory::{Activation, did_you_mean, read_number};

use super::Initializer;
use super::distribution::Distribution;
use crate::conventions::torch::gain::calculate_gain;
use crate::error::{Error, check, shortened};
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
    pairs: Vec<(&'a str, &'a str)>,
    /// The keys that readers have looked for.
    taken: Vec<String>,
    find: Find,
}

/// The word that stands for a value.
pub(crate) fn word<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> &'static str {
    words.iter().find(|(_, known)| known == value).map_or("", |(word, _)| word)
}

impl<'a> Parameters<'a> {
    pub(crate) fn parse(spec: &'a str, text: Option<&'a str>, find: Find) -> Result<Self, Error> {
        let mut parameters = Self { spec, pairs: Vec::new(), taken: Vec::new(), find };
        for pair in text.into_iter().flat_map(|text| text.split(',')) {
            let (key, value) = pair
                .split_once('=')
                .map(|(key, value)| (key.trim(), value.trim()))
                .ok_or_else(|| parameters.error(&format!("'{pair}' is not of the form key=value")))?;
            if parameters.pairs.iter().any(|(known, _)| known.eq_ignore_ascii_case(key)) {
                return Err(parameters.error(&format!("{key}= is given twice")));
            }
            parameters.pairs.push((key, value));
        }
        Ok(parameters)
    }

    /// The key of a pair that is left over.
    pub(crate) fn left_over(&self) -> Option<&'a str> {
        self.pairs.first().map(|(key, _)| *key)
    }

    /// The key of a pair that is left over although the reader has looked for one of nearly the same name.
    pub(crate) fn misspelled(&self) -> Option<&'a str> {
        let is_near = |key: &&str| !did_you_mean(key, self.taken.iter().map(String::as_str)).is_empty();
        let is_taken = |key: &&str| self.taken.iter().any(|taken| taken.eq_ignore_ascii_case(key));
        self.pairs.iter().map(|(key, _)| *key).find(|key| is_near(key) && !is_taken(key))
    }

    pub(crate) fn error(&self, reason: &str) -> Error {
        Error::Spec { spec: shortened(self.spec), reason: reason.to_owned() }
    }

    /// Why a key is left over: what the initializer takes, and what may have been meant.
    pub(crate) fn not_taken(&self, name: &str, key: &str) -> String {
        let keys = || self.taken.iter().map(String::as_str);
        let meant = did_you_mean(key, keys());
        let taken: Vec<String> = keys().map(|key| format!("{key}=")).collect();
        let taken = if taken.is_empty() { "nothing".to_owned() } else { taken.join(", ") };
        format!("{name} takes no {key}={meant}: it takes {taken}")
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<&'a str> {
        if !self.taken.iter().any(|known| known == key) {
            self.taken.push(key.to_owned());
        }
        let place = self.pairs.iter().position(|(known, _)| known.eq_ignore_ascii_case(key))?;
        Some(self.pairs.remove(place).1)
    }

    /// Whether `key=` is this word; only then the pair is taken.
    pub(crate) fn take_word(&mut self, key: &str, word: &str) -> bool {
        let is_word = |(known, value): &(&str, &str)| {
            known.eq_ignore_ascii_case(key) && value.eq_ignore_ascii_case(word)
        };
        let place = self.pairs.iter().position(is_word);
        place.map(|place| self.pairs.remove(place)).is_some()
    }

    pub(crate) fn number(&mut self, key: &str) -> Result<Option<f64>, Error> {
        let Some(text) = self.take(key) else { return Ok(None) };
        match read_number(text) {
            Some(number) if number.is_finite() => Ok(Some(number)),
            _ => Err(self.error(&format!("{key}={text} is not a finite number"))),
        }
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
        let Some(text) = self.take(key) else { return Ok(None) };
        match words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)) {
            Some((_, value)) => Ok(Some(*value)),
            None => {
                let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                let (last, others) = known.split_last().unwrap_or((&"", &[]));
                let meant = did_you_mean(text, known.iter().copied());
                Err(self.error(&format!("{key}={text}{meant}: {key}= is {} or {last}", others.join(", "))))
            }
        }
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
        let names = FanMode::ALL.map(FanMode::name);
        let letters = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
        let known = FanMode::ALL.into_iter().find(|mode| letters(mode.name()) == letters(text));
        known.map(Some).ok_or_else(|| {
            let meant = did_you_mean(text, names);
            self.error(&format!("mode={text}{meant}: mode= is {}", names.join(", ")))
        })
    }

    pub(crate) fn count(&mut self, key: &str) -> Result<Option<usize>, Error> {
        let Some(text) = self.take(key) else { return Ok(None) };
        let count = text.parse().ok().filter(|count| *count > 0);
        count.map(Some).ok_or_else(|| self.error(&format!("{key}={text} is not a whole number above 0")))
    }

    /// `gain=` of an initializer that scales a variance; it must not be negative.
    fn positive_gain(&mut self) -> Result<Option<f64>, Error> {
        let gain = self.gain()?;
        let range = "finite and not negative, as its square";
        gain.map(|gain| check("gain", gain, gain >= 0.0 && (gain * gain).is_finite(), range)).transpose()
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
        match read_number(text) {
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
