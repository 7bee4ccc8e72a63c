//! Rules: which tensors are initialized how.

use std::fmt;
use std::str::FromStr;

use wick_theory::{read_number, write_number};

use super::pattern::{Pattern, PatternError, parts_of};
use crate::error::{Error, check, shortened};
use crate::fans::Fans;
use crate::initializer::Initializer;
use crate::layout::WeightLayout;

/// What a rule does with its tensors.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// Draws what the layer hints at.
    Hint,
    /// Draws from an initializer, whatever the layer hints at.
    Draw(Initializer),
    /// PyTorch's default for the bias of `Linear` and `Conv`: `U(±1/√fan_in)`, with the fan_in of the same
    /// layer's `weight`. The shape of that weight must be known: made before, in the file, or declared by
    /// [`InitMap::with_shapes`](crate::InitMap::with_shapes). If the weight has fewer than two dimensions,
    /// the layer is a norm, and its bias is 0.
    TorchBias,
    /// Draws from an initializer, also where a file has the tensor, of whatever shape: a new head.
    DrawAnew(Initializer),
    /// Loads the tensor and adds the rows that the model has more of: a vocabulary that grows. Each new row is from
    /// `N(m, 1e-9 Σ)` with the mean and the covariance of the old rows (Hewitt 2021, *Initializing new word embeddings
    /// for pretrained language models*; `_init_added_embeddings_weights_with_mean` in Hugging Face's transformers).
    /// Where no file has the tensor, it is drawn as the layer hints.
    GrowRows,
    /// Loads the keys or values of full attention, `[heads·dim, …]`, and takes the mean of neighbouring heads where the
    /// model has fewer: grouped heads (Ainslie et al. 2023, arXiv 2305.13245, section 2.1). Where no file has the
    /// tensor, it is drawn as the layer hints.
    GroupHeads {
        /// The heads in the file.
        heads: usize,
    },
}

/// Writes the `init` of a rules file: `hint`, `torch.bias`, or the initializer as a SPEC; in words, what is done to the
/// tensors of a file, which a rules file cannot say.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hint => f.write_str("hint"),
            Self::TorchBias => f.write_str("torch.bias"),
            Self::Draw(initializer) => initializer.fmt(f),
            Self::DrawAnew(initializer) => write!(f, "draw_anew, {initializer}"),
            Self::GrowRows => f.write_str("grow_rows"),
            Self::GroupHeads { heads } => write!(f, "group_heads of {heads}"),
        }
    }
}

/// The factor for the learning rate of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum LearningRate {
    /// 1.
    #[default]
    Base,
    /// `base/fan_in`: muP's rule for Adam on matrices whose two sides grow with the width.
    InverseFanIn {
        /// The fan_in at which the learning rate was tuned; above 0.
        base: f64,
    },
    /// A number, 0 or above.
    Times(f64),
}

/// Writes `1`, `base/fan_in` or a number, which reads back as the same value.
///
/// ```
/// use wick_init::LearningRate;
///
/// let rate: LearningRate = "256/fan_in".parse()?;
/// assert_eq!(rate, LearningRate::InverseFanIn { base: 256.0 });
/// assert_eq!(rate.to_string(), "256/fan_in");
/// # Ok::<(), wick_init::Error>(())
/// ```
impl fmt::Display for LearningRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("1"),
            Self::InverseFanIn { base } => write!(f, "{}/fan_in", write_number(*base)),
            Self::Times(factor) => f.write_str(&write_number(*factor)),
        }
    }
}

impl FromStr for LearningRate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let number = |number: &str| read_number(number).ok_or_else(|| Error::LearningRate(shortened(text)));
        let base = text.rsplit_once('/').filter(|(_, fan)| is_fan_in(fan)).map(|(base, _)| base);
        match base {
            Some(base) => {
                let base = number(base)?;
                let base =
                    check("learning_rate", base, base > 0.0, "BASE/fan_in with a finite BASE above 0")?;
                Ok(Self::InverseFanIn { base })
            }
            None => {
                let factor = number(text)?;
                check("learning_rate", factor, factor >= 0.0, "a finite number from 0 on, or BASE/fan_in")?;
                Ok(if factor == 1.0 { Self::Base } else { Self::Times(factor) })
            }
        }
    }
}

/// Whether a text is `fan_in`, with or without its underscore.
fn is_fan_in(text: &str) -> bool {
    text.trim().replace(['_', '-'], "").eq_ignore_ascii_case("fanin")
}

/// A rule: a pattern, and what to do with the tensors that it matches.
///
/// ```
/// use wick_init::{Initializer, Rule, WeightLayout};
///
/// let rule = Rule::draw("**.qkv.weight", Initializer::xavier_uniform())?
///     .with_layout(WeightLayout::Stacked { parts: 3 });
/// assert_eq!(rule.pattern.to_string(), "**.qkv.weight");
/// # Ok::<(), wick_init::PatternError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The tensors that the rule applies to.
    pub pattern: Pattern,
    /// Their initial values.
    pub action: Action,
    /// The meaning of their dimensions.
    pub layout: WeightLayout,
    /// The factor for their learning rate.
    pub learning_rate: LearningRate,
    /// The depth of the model, if the rule depends on it: a tensor whose layer number is not below the depth
    /// is an error. See [`layer_of`](Self::layer_of) for the layer number.
    pub layers: Option<usize>,
    /// What the rule is needed for, in words, if a model that it meets no tensor of is probably none that it
    /// is meant for. Rules with the same words are a group, of which one is needed. See
    /// [`InitMap::unmatched_essentials`](crate::InitMap::unmatched_essentials).
    pub essential: Option<String>,
}

impl Rule {
    /// Draws the tensors that the pattern matches from an initializer.
    ///
    /// # Errors
    /// If the pattern cannot be read.
    pub fn draw(pattern: &str, initializer: Initializer) -> Result<Self, PatternError> {
        Self::new(pattern, Action::Draw(initializer))
    }

    /// Draws what their layers hint at for the tensors that the pattern matches.
    ///
    /// # Errors
    /// If the pattern cannot be read.
    pub fn hint(pattern: &str) -> Result<Self, PatternError> {
        Self::new(pattern, Action::Hint)
    }

    /// Draws the biases that the pattern matches as PyTorch does, see [`Action::TorchBias`].
    ///
    /// # Errors
    /// If the pattern cannot be read.
    pub fn torch_bias(pattern: &str) -> Result<Self, PatternError> {
        Self::new(pattern, Action::TorchBias)
    }

    /// Draws the tensors from an initializer, whatever a file has, see [`Action::DrawAnew`].
    ///
    /// # Errors
    /// If the pattern cannot be read.
    pub fn draw_anew(pattern: &str, initializer: Initializer) -> Result<Self, PatternError> {
        Self::new(pattern, Action::DrawAnew(initializer))
    }

    /// Adds rows to the tensors of a file, see [`Action::GrowRows`].
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use wick_init::{InitMap, Initializer, Rule};
    ///
    /// let path = std::env::temp_dir().join("wick-init-vocabulary.safetensors");
    /// let map = InitMap::new(1).with_default_init(Initializer::normal(1.0));
    /// map.var_builder(DType::F32, &Device::Cpu).get((100, 8), "wte.weight")?;
    /// map.save(&path)?;
    ///
    /// let map = InitMap::new(2).with_file(&path)?.with_rules([Rule::grow_rows("wte.weight")?]);
    /// let grown = map.var_builder(DType::F32, &Device::Cpu).get((103, 8), "wte.weight")?;
    /// let far = (grown.get(102)? - grown.narrow(0, 0, 100)?.mean(0)?)?.abs()?.max_all()?;
    /// assert!(far.to_scalar::<f32>()? < 2e-4);
    /// assert_eq!(map.manifest()?.tensors[0].init, "grow_rows: 100 loaded, 3 drawn from their mean");
    /// # std::fs::remove_file(path).ok();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the pattern cannot be read.
    pub fn grow_rows(pattern: &str) -> Result<Self, PatternError> {
        Self::new(pattern, Action::GrowRows)
    }

    /// Makes fewer heads of the `heads` in the tensors of a file, see [`Action::GroupHeads`].
    ///
    /// # Errors
    /// If the pattern cannot be read.
    pub fn group_heads(pattern: &str, heads: usize) -> Result<Self, PatternError> {
        Self::new(pattern, Action::GroupHeads { heads })
    }

    fn new(pattern: &str, action: Action) -> Result<Self, PatternError> {
        let (layout, learning_rate) = (WeightLayout::default(), LearningRate::default());
        Ok(Self { pattern: pattern.parse()?, action, layout, learning_rate, layers: None, essential: None })
    }

    /// The same rule for weights of another layout.
    pub fn with_layout(self, layout: WeightLayout) -> Self {
        Self { layout, ..self }
    }

    /// The same rule with another learning rate.
    pub fn with_learning_rate(self, learning_rate: LearningRate) -> Self {
        Self { learning_rate, ..self }
    }

    /// The same rule for models of this depth only, see [`layers`](Self::layers).
    ///
    /// ```
    /// use wick_init::{Initializer, Rule};
    ///
    /// let rule = Rule::draw("h.*.mlp.c_proj.weight", Initializer::normal(0.004))?.with_layers(12);
    /// assert!(rule.check_depth("h.11.mlp.c_proj.weight").is_ok());
    /// assert!(rule.check_depth("h.12.mlp.c_proj.weight").is_err());
    /// # Ok::<(), wick_init::PatternError>(())
    /// ```
    pub fn with_layers(self, layers: usize) -> Self {
        Self { layers: Some(layers), ..self }
    }

    /// The same rule as one that a model of the right kind needs, see [`essential`](Self::essential).
    pub fn with_essential(self, purpose: impl Into<String>) -> Self {
        Self { essential: Some(purpose.into()), ..self }
    }

    /// The number of the layer that a tensor belongs to, by its name: the part after `h`, `layer`, `layers`,
    /// `block` or `blocks` (or a name that ends so, as `encoder_layers` does) that is a whole number; without such
    /// a part, the first whole number. In names with slashes, as TensorFlow's and JAX's are, the number may also
    /// end such a part (`h11`, `layer_2`).
    ///
    /// ```
    /// use wick_init::Rule;
    ///
    /// assert_eq!(Rule::layer_of("model.layers.3.mlp.up_proj.weight"), Some(3));
    /// assert_eq!(Rule::layer_of("module.0.transformer.h.11.mlp.c_proj.weight"), Some(11));
    /// assert_eq!(Rule::layer_of("model/h11/mlp/c_proj/w"), Some(11));
    /// assert_eq!(Rule::layer_of("bert/encoder/layer_2/output/dense/kernel"), Some(2));
    /// assert_eq!(Rule::layer_of("conv2.weight"), None);
    /// ```
    pub fn layer_of(name: &str) -> Option<usize> {
        let has_slashes = name.contains('/');
        // A part as the text before its number, and the number.
        let numbered = |part: &'_ str| {
            let stem = part.trim_end_matches(|c: char| c.is_ascii_digit()).len();
            let number = part[stem..].parse().ok().filter(|_| has_slashes || stem == 0);
            number.map(|number: usize| (stem, number))
        };
        let mut before = "";
        let mut first = None;
        for part in parts_of(name) {
            if let Some((stem, number)) = numbered(part) {
                let layers = if stem == 0 { before } else { part[..stem].trim_end_matches('_') };
                if is_of_layers(layers) {
                    return Some(number);
                }
                first = first.or((stem == 0).then_some(number));
            }
            before = part;
        }
        first
    }

    /// Checks that a tensor's layer is within the depth that the rule is for.
    ///
    /// # Errors
    /// [`Error::Depth`] if the layer is beyond the depth.
    pub fn check_depth(&self, name: &str) -> Result<(), Error> {
        match (Self::layer_of(name), self.layers) {
            (Some(layer), Some(layers)) if layer >= layers => {
                Err(Error::Depth { layer, layers, pattern: self.pattern.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// The factor for the learning rate of a tensor of this shape.
    ///
    /// # Errors
    /// [`Error::NoFans`] if the factor needs fans and the shape has none, [`Error::WeightLayout`] if the
    /// shape does not fit the rule's layout.
    pub fn learning_rate_multiplier(&self, shape: &[usize]) -> Result<f64, Error> {
        match self.learning_rate {
            LearningRate::Base => Ok(1.0),
            LearningRate::Times(factor) => Ok(factor),
            LearningRate::InverseFanIn { base } => Ok(base / Fans::with_layout(shape, self.layout)?.fan_in),
        }
    }
}

/// Whether a part of a name is that of a list of layers.
fn is_of_layers(part: &str) -> bool {
    let part = part.to_ascii_lowercase();
    part == "h" || ["layer", "layers", "block", "blocks"].iter().any(|end| part.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learning_rates_read_back() {
        for rate in [
            LearningRate::Base,
            LearningRate::InverseFanIn { base: 100.5 },
            LearningRate::Times(0.0),
            LearningRate::Times(1e-3),
        ] {
            assert_eq!(rate.to_string().parse::<LearningRate>().unwrap(), rate);
        }
        let of_width = LearningRate::InverseFanIn { base: 256.0 };
        for text in ["256/fanin", "2^8 / fan_in"] {
            assert_eq!(text.parse::<LearningRate>().unwrap(), of_width);
        }
        for (text, part) in [
            ("fast", "cannot read the learning rate 'fast': write a number from 0 on, or BASE/fan_in"),
            ("-1", "learning_rate = -1 is out of range"),
            ("0/fan_in", "BASE/fan_in with a finite BASE above 0"),
            ("inf", "a finite number from 0 on"),
            ("x/fan_in", "cannot read the learning rate 'x/fan_in'"),
            ("256/fan_inn", "cannot read the learning rate '256/fan_inn'"),
        ] {
            let error = text.parse::<LearningRate>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn the_number_of_a_layer_is_the_one_of_its_list() {
        for (name, layer) in [
            ("module.0.transformer.h.11.mlp.c_proj.weight", Some(11)),
            ("gpt2_v2/h0/mlp/c_proj/w", Some(0)),
            ("gpt2_v2/wte", None),
            ("Transformer/encoderblock_7/MlpBlock_3/Dense_0/kernel", Some(7)),
            ("decoder.block.5.layer.2.DenseReluDense.wo.weight", Some(5)),
            ("visual.transformer.resblocks.3.mlp.c_fc.weight", Some(3)),
            ("layer4.2.conv1.weight", Some(2)),
            ("encoder.1.ffn.7.weight", Some(1)),
            ("h2.weight", None),
        ] {
            assert_eq!(Rule::layer_of(name), layer, "{name}");
        }
        let rule = Rule::hint("**").unwrap().with_layers(2);
        for name in ["fc.weight", "encoder.1.ffn.7.weight", "h2.weight"] {
            assert!(rule.check_depth(name).is_ok(), "{name}");
        }
        let error = rule.check_depth("encoder.2.ffn.0.weight").unwrap_err().to_string();
        assert_eq!(error, "layer 2 is beyond the 2 layers that the rule '**' is for");
    }
}
