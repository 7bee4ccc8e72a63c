//! How a tensor starts: by a rule, by the map's weights, or by its layer's hint.

use std::sync::PoisonError;

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::Init;
use candle_nn::init::{FanInOut, NormalOrUniform};

use super::{Drawn, InitMap, Stream};
use crate::rules::Action;
use crate::{Error, Family, FanMode, Fans, Initializer, Source, WeightLayout};

impl InitMap {
    /// The place of the first rule that matches.
    pub(super) fn rule(&self, name: &str, shape: &Shape) -> Option<usize> {
        self.settings.rules.iter().position(|rule| rule.pattern.matches(name, shape.dims()))
    }

    /// What the dimensions of a tensor mean that meets this rule.
    pub(super) fn layout(&self, rule: Option<usize>) -> WeightLayout {
        rule.map_or(WeightLayout::default(), |rule| self.settings.rules[rule].layout)
    }

    /// How a tensor that meets this rule is drawn; an error names it.
    pub(super) fn plan(
        &self,
        rule: Option<usize>,
        name: &str,
        shape: &Shape,
        hint: Init,
    ) -> Result<Drawn, Error> {
        let settings = &self.settings;
        let is_matrix = shape.rank() >= 2;
        let is_weight = is_matrix || name.ends_with("weight");
        let of = |source, initializer| Ok(Drawn { source, initializer });
        let missing = || Error::NoInitializer { name: name.to_owned(), shape: shape.dims().to_vec() };
        if let Some(rule) = rule.map(|index| &settings.rules[index]) {
            rule.check_depth(name).map_err(|error| of_tensor(name, error))?;
            return match (&rule.action, hint) {
                (Action::Draw(initializer), _) => of("rule", initializer.clone()),
                (Action::TorchBias, _) => {
                    of("rule", self.bias_beside_weight(name).map_err(|error| of_tensor(name, error))?)
                }
                (Action::Hint, Init::Const(0.0)) if is_weight => Err(missing()),
                (Action::Hint, hint) => of("rule", from_hint(hint, shape)),
            };
        }
        match (&settings.weights, hint) {
            _ if settings.strict => {
                Err(Error::NoRule { name: name.to_owned(), shape: shape.dims().to_vec() })
            }
            (_, Init::Const(value)) if value != 0.0 => of("hint", Initializer::Constant(value)),
            (Some(initializer), _) if is_matrix => of("weights", initializer.clone()),
            (_, Init::Const(_)) if is_weight => Err(missing()),
            (_, hint) => of("hint", from_hint(hint, shape)),
        }
    }

    /// `U(±1/√fan_in)` with the fan_in of the weight that stands beside a bias; 0 beside a norm's.
    fn bias_beside_weight(&self, bias: &str) -> Result<Initializer, Error> {
        let weight = match bias.rsplit_once('.') {
            Some((layer, _)) => format!("{layer}.weight"),
            None => "weight".to_owned(),
        };
        let made = self.lock().get(&weight).map(|entry| entry.var.dims().to_vec());
        let settings = &self.settings;
        let known = made
            .or_else(|| settings.file.get(&weight).map(|tensor| tensor.dims().to_vec()))
            .or_else(|| settings.shapes.get(&weight).cloned());
        match known {
            Some(shape) if shape.len() < 2 => Ok(Initializer::zeros()),
            Some(shape) => {
                let fan_in = Fans::of(&shape)?.fan_in;
                // PyTorch's own case for a layer without inputs.
                Ok(Initializer::uniform(if fan_in > 0.0 { 1.0 / fan_in.sqrt() } else { 0.0 }))
            }
            None => Err(Error::NoSuchTensor(weight)),
        }
    }

    pub(super) fn draw(
        &self,
        initializer: &Initializer,
        layout: WeightLayout,
        name: &str,
        shape: Shape,
        (dtype, device): (DType, &Device),
    ) -> Result<Tensor, Error> {
        let draw = |source: Source| initializer.tensor_with_layout(source, shape, layout, dtype, device);
        let drawn = match &self.settings.stream {
            Stream::Keyed(keyed) => draw(Source::Keyed(keyed.key(name))),
            Stream::Torch(rng, _) => {
                draw(Source::Torch(&mut rng.lock().unwrap_or_else(PoisonError::into_inner)))
            }
            Stream::Rand(rng) => {
                let mut rng = rng.lock().unwrap_or_else(PoisonError::into_inner);
                draw(Source::Rand(&mut **rng))
            }
        };
        drawn.map_err(|error| of_tensor(name, error))
    }
}

pub(super) fn of_tensor(name: &str, error: Error) -> Error {
    Error::Tensor { name: name.to_owned(), error: Box::new(error) }
}

/// What candle's hint means, as one of our initializers. Where candle would use a fan of a shape that has
/// none, its own rule for it is kept.
fn from_hint(hint: Init, shape: &Shape) -> Initializer {
    match hint {
        Init::Const(value) => Initializer::Constant(value),
        Init::Randn { mean, stdev } => Initializer::Normal { mean, std: stdev },
        Init::Uniform { lo, up } => Initializer::Uniform { low: lo, high: up },
        Init::Kaiming { dist, fan, non_linearity } => {
            let gain = non_linearity.gain();
            let family = match dist {
                NormalOrUniform::Normal => Family::Normal,
                NormalOrUniform::Uniform => Family::Uniform,
            };
            let mode = match fan {
                FanInOut::FanIn => FanMode::FanIn,
                FanInOut::FanOut => FanMode::FanOut,
            };
            if shape.rank() >= 2 {
                return Initializer::VarianceScaling { scale: gain * gain, mode, family };
            }
            let std = gain / (fan.for_shape(shape) as f64).sqrt();
            match dist {
                NormalOrUniform::Normal => Initializer::normal(std),
                NormalOrUniform::Uniform => Initializer::uniform(3f64.sqrt() * std),
            }
        }
    }
}
