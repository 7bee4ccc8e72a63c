//! The choice of a tensor's initializer: a rule, the map's default, or the layer's hint.

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::Init;
use candle_nn::init::{FanInOut, NormalOrUniform};

use super::pattern::{OUTPUT, parts_of};
use super::rules::Action;
use super::{Drawn, InitMap};
use crate::error::Error;
use crate::fans::{FanMode, Fans};
use crate::initializer::Initializer;
use crate::initializer::distribution::Distribution;
use crate::layout::WeightLayout;
use crate::rng::RngSource;
use crate::rng::values::Kind;

impl InitMap {
    /// The index of the first rule that matches a tensor.
    pub(super) fn rule(&self, name: &str, shape: &Shape) -> Option<usize> {
        self.settings.rules.iter().position(|rule| rule.pattern.matches(name, shape.dims()))
    }

    /// The layout of a tensor that this rule applies to.
    pub(super) fn layout(&self, rule: Option<usize>) -> WeightLayout {
        rule.map_or(WeightLayout::default(), |rule| self.settings.rules[rule].layout)
    }

    /// Chooses the initializer of a tensor; `rule` is the first rule that matches it. An error names the
    /// tensor.
    pub(super) fn resolve(
        &self,
        rule: Option<usize>,
        name: &str,
        shape: &Shape,
        hint: Init,
    ) -> Result<Drawn, Error> {
        let settings = &self.settings;
        let is_matrix = shape.rank() >= 2;
        let is_weight = is_matrix || name.ends_with("weight");
        let draw = |source, initializer| Ok(Drawn { source, initializer });
        let missing = || Error::NoInitializer { name: name.to_owned(), shape: shape.dims().to_vec() };
        if let Some(rule) = rule.map(|index| &settings.rules[index]) {
            rule.check_depth(name).map_err(|error| error.of_tensor(name))?;
            return match (&rule.action, hint) {
                (Action::Draw(initializer) | Action::DrawAnew(initializer), _) => {
                    draw("rule", initializer.clone())
                }
                (Action::TorchBias, _) => {
                    draw("rule", self.bias_beside_weight(name).map_err(|error| error.of_tensor(name))?)
                }
                (Action::Hint | Action::GrowRows | Action::GroupHeads { .. }, Init::Const(0.0))
                    if is_weight =>
                {
                    Err(missing())
                }
                (Action::Hint | Action::GrowRows | Action::GroupHeads { .. }, hint) => {
                    draw("rule", from_hint(hint, shape))
                }
            };
        }
        match (&settings.default_init, hint) {
            _ if settings.strict => {
                Err(Error::NoRule { name: name.to_owned(), shape: shape.dims().to_vec() })
            }
            (_, Init::Const(value)) if value != 0.0 => draw("hint", Initializer::Constant(value)),
            (Some(initializer), _) if is_matrix => draw("default", initializer.clone()),
            (_, Init::Const(_)) if is_weight => Err(missing()),
            (_, hint) => draw("hint", from_hint(hint, shape)),
        }
    }

    /// `U(±1/√fan_in)` with the fan_in of the weight of the same layer as a bias; 0 for a norm's bias.
    fn bias_beside_weight(&self, bias: &str) -> Result<Initializer, Error> {
        let (bias, end) = bias.strip_suffix(OUTPUT).map_or((bias, ""), |bias| (bias, OUTPUT));
        let (layer, part) = bias.split_at(bias.rfind(['.', '/']).map_or(0, |at| at + 1));
        // PyTorch's name of the weight, JAX's and TensorFlow's, and their names of a norm's scale.
        let names: &[&str] = match part {
            "output_bias" => &["output_weights"],
            _ => &["weight", "kernel", "w", "scale", "gamma", "g"],
        };
        let mut weights = names.iter().map(|name| format!("{layer}{name}{end}"));
        let known = weights.find_map(|weight| self.known_shape(&weight).map(|shape| (weight, shape)));
        match known {
            // A norm's scale can have dimensions of 1, for batch and place.
            Some((weight, shape)) if shape.len() < 2 || is_scale(&weight) => Ok(Initializer::zeros()),
            Some((weight, shape)) => {
                // PyTorch takes the fan_in of every weight as of a plain one, a transposed convolution's too.
                let layout = match self.layout(self.rule(&weight, &Shape::from(shape.as_slice()))) {
                    WeightLayout::InOut => WeightLayout::InOut,
                    _ => WeightLayout::Plain,
                };
                let fan_in = Fans::with_layout(&shape, layout)?.fan_in;
                // PyTorch, too, sets the bias of a layer without inputs to 0.
                Ok(Initializer::uniform(if fan_in > 0.0 { 1.0 / fan_in.sqrt() } else { 0.0 }))
            }
            None => Err(Error::NoSuchTensor(format!("{layer}{}", names[0]))),
        }
    }

    /// The shape of a tensor that was made, is in a file, or was declared.
    fn known_shape(&self, name: &str) -> Option<Vec<usize>> {
        let made = self.lock().get(name).map(|entry| entry.var.dims().to_vec());
        let settings = &self.settings;
        made.or_else(|| settings.files.get(name).map(|tensor| tensor.shape().to_vec()))
            .or_else(|| settings.shapes.get(name).cloned())
    }

    pub(super) fn draw(
        &self,
        initializer: &Initializer,
        layout: WeightLayout,
        name: &str,
        shape: Shape,
        on: (DType, &Device),
        kind: Kind,
    ) -> Result<Tensor, Error> {
        let draw = |source: RngSource| initializer.drawn(source, shape, layout, on, kind);
        let mut rng = self.lock_rng();
        // A constant needs no key, and so no name that Flax has.
        let source = match initializer {
            Initializer::Constant(_) => rng.has_keys().then(|| RngSource::from_seed(0)),
            _ => rng.of_tensor(name).map_err(|error| error.of_tensor(name))?,
        };
        let drawn = match source {
            // Tensors with keys can be drawn on several threads at once.
            Some(source) => {
                drop(rng);
                draw(source)
            }
            None => draw(rng.by_ref()),
        };
        drawn.map_err(|error| error.of_tensor(name))
    }
}

/// Whether a name is that of a norm's scale in JAX and TensorFlow.
fn is_scale(name: &str) -> bool {
    parts_of(name.strip_suffix(OUTPUT).unwrap_or(name))
        .last()
        .is_some_and(|part| ["scale", "gamma", "g"].contains(&part))
}

/// Translates candle's hint to an initializer. Where candle would use a fan of a shape that has none, the
/// result follows candle's rule for it.
fn from_hint(hint: Init, shape: &Shape) -> Initializer {
    match hint {
        Init::Const(value) => Initializer::Constant(value),
        Init::Randn { mean, stdev } => Initializer::Normal { mean, std: stdev },
        Init::Uniform { lo, up } => Initializer::Uniform { low: lo, high: up },
        Init::Kaiming { dist, fan, non_linearity } => {
            let gain = non_linearity.gain();
            let distribution = match dist {
                NormalOrUniform::Normal => Distribution::Normal,
                NormalOrUniform::Uniform => Distribution::Uniform,
            };
            let mode = match fan {
                FanInOut::FanIn => FanMode::FanIn,
                FanInOut::FanOut => FanMode::FanOut,
            };
            if shape.rank() >= 2 {
                return Initializer::VarianceScaling { scale: gain * gain, mode, distribution };
            }
            let std = gain / (fan.for_shape(shape) as f64).sqrt();
            match dist {
                NormalOrUniform::Normal => Initializer::normal(std),
                NormalOrUniform::Uniform => Initializer::uniform(3f64.sqrt() * std),
            }
        }
    }
}
