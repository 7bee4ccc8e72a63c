//! The cases of the bench, and the rule that splits them. The rule and the lists were written down before any
//! figure was seen.

use wick_model::Activation;
use wick_probe::Fault as Found;
use wick_tests::{choose, choose_index};

use super::data::Pixels;

/// The kinds of nets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Mlp,
    OneOutput,
    Autoencoder,
    Conv1d,
    Conv2d,
    Residual,
    ResidualNorm,
    Attention,
    Recurrent,
    /// Convolutions with candle's batch norm.
    BatchNorm,
    /// A perceptron with dropout of .3.
    Dropout,
    /// An autoencoder whose decoder has the encoder's weights.
    SharedWeights,
    /// A perceptron trained by gradient descent with momentum.
    Momentum,
    /// A perceptron whose outputs are rounded to `bf16`.
    Half,
    /// A perceptron of five layers with PyTorch's default start.
    TorchStart,
    /// A perceptron with a second head, on which the loss does not depend.
    TwoHeads,
}

/// When a net is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Start,
    Trained,
}

/// A fault in a layer, or in the training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    Nothing,
    Scale(f64),
    Zero,
    Tied,
    Dead,
    NoActivation,
    Detach,
    Nan,
    Input,
    Frozen,
    RateHigh,
    RateLow,
    Decay,
    /// Weight decay of 20.
    Decay20,
    /// A learning rate of 1 for three steps in the middle.
    Spike,
    /// The targets are those of other samples.
    Shuffled,
    /// The softmax of the outputs goes into a cross entropy that takes logits.
    SoftmaxTwice,
    /// Gradient descent with a learning rate of 5.
    SgdHigh,
    /// Inputs to which a multiple of their deviation is added.
    Shift(f64),
}

/// A net and what it learns, drawn from a seed.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) kind: Kind,
    pub(crate) seed: u64,
    pub(crate) phi: Activation,
    pub(crate) depth: usize,
    pub(crate) width: usize,
    pub(crate) batch: usize,
    pub(crate) pixels: Pixels,
    pub(crate) mean: f64,
    pub(crate) torch_biases: bool,
    /// Whether the weights are drawn as PyTorch draws them if nothing is said: uniform, with a gain of 1/√3.
    pub(crate) torch_weights: bool,
    pub(crate) zero_init: bool,
    pub(crate) told: bool,
    pub(crate) fault: Fault,
    pub(crate) layer: String,
}

/// One case: a net in a state.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) setting: Setting,
    pub(crate) state: State,
}

/// The kinds that the rules were made on.
const KINDS: [Kind; 9] = [
    Kind::Mlp,
    Kind::OneOutput,
    Kind::Autoencoder,
    Kind::Conv1d,
    Kind::Conv2d,
    Kind::Residual,
    Kind::ResidualNorm,
    Kind::Attention,
    Kind::Recurrent,
];

/// The kinds and faults that came later: written down before any of them was run, after the rules were made.
const LATER_KINDS: [Kind; 5] =
    [Kind::BatchNorm, Kind::Dropout, Kind::SharedWeights, Kind::Momentum, Kind::Half];

/// The kinds that came last, in the part that may be looked at.
const LAST_KINDS: [Kind; 2] = [Kind::TorchStart, Kind::TwoHeads];

/// The variants of each later kind.
const LATER_VARIANTS: u64 = 4;

/// How many deviations a shifted input is off.
const SHIFT: f64 = 20.0;

/// Nine variants of each kind, at the start and trained, are healthy: 162 cases. MLPs are told in every second
/// variant.
const VARIANTS: u64 = 9;

impl Setting {
    pub(crate) fn new(kind: Kind, variant: u64, seed: u64) -> Self {
        let key = seed * 1000 + variant * 10 + kind as u64;
        let sigmoid = variant == 7 && matches!(kind, Kind::Mlp | Kind::Autoencoder);
        let phi = match choose_index(key, "phi", 3) {
            _ if sigmoid => Activation::Sigmoid,
            0 => Activation::Tanh,
            1 => Activation::Gelu,
            _ => Activation::Relu,
        };
        let normed = matches!(kind, Kind::ResidualNorm | Kind::Attention);
        let is_default = kind == Kind::TorchStart;
        let phi = match variant % 3 {
            0 if is_default => Activation::Gelu,
            1 if is_default => Activation::Silu,
            _ if is_default => Activation::Mish,
            _ => phi,
        };
        let has_head = !matches!(kind, Kind::Autoencoder | Kind::SharedWeights);
        let pixels = match choose_index(key, "pixels", 3) {
            _ if is_default => Pixels::Standardized,
            0 if normed || kind == Kind::Mlp => Pixels::Raw,
            1 => Pixels::Standardized,
            _ => Pixels::Unit,
        };
        Self {
            kind,
            seed: key,
            phi,
            depth: if is_default {
                4 + choose_index(key, "depth", 2)
            } else if sigmoid {
                2
            } else {
                2 + choose_index(key, "depth", 3)
            },
            width: choose(key, "width", if is_default { &[64, 128, 256] } else { &[32, 48, 64] }),
            batch: choose(key, "batch", &[32, 50, 64, 100, 128]),
            pixels,
            mean: choose(key, "mean", &[0.0, 2.0, 5.0]),
            torch_biases: is_default || choose_index(key, "biases", 2) == 0,
            torch_weights: is_default,
            zero_init: variant % 3 == 2 && has_head && !is_default,
            told: kind == Kind::Mlp && variant.is_multiple_of(2),
            fault: Fault::Nothing,
            layer: String::new(),
        }
    }

    /// A layer in the middle, and one with an activation.
    fn middle(&self) -> &'static str {
        match self.kind {
            Kind::Conv1d | Kind::Conv2d | Kind::BatchNorm => "conv1",
            Kind::Residual | Kind::ResidualNorm => "block1.fc1",
            Kind::Attention => "block1.fc1",
            Kind::Recurrent => "recurrence",
            _ => "fc1",
        }
    }

    /// What is planted in this kind, and where.
    fn plants(kind: Kind) -> Vec<(Fault, State)> {
        use State::{Start, Trained};
        let mut plants = vec![
            (Fault::Scale(0.02), Start),
            (Fault::Scale(20.0), Start),
            (Fault::Tied, Start),
            (Fault::Nan, Start),
            (Fault::Detach, Start),
            (Fault::Frozen, Trained),
            (Fault::RateHigh, Trained),
            (Fault::RateLow, Trained),
            (Fault::Decay, Trained),
        ];
        if kind != Kind::Recurrent {
            plants.extend([(Fault::NoActivation, Start), (Fault::Dead, Start)]);
        }
        if matches!(kind, Kind::Mlp | Kind::OneOutput | Kind::Autoencoder | Kind::Conv1d | Kind::Conv2d) {
            plants.extend([(Fault::Zero, Start), (Fault::Input, Start)]);
        }
        plants
    }

    /// The later faults of one of the first kinds, each with the layer where it is not the one in the middle.
    fn later_plants(kind: Kind) -> Vec<(Fault, State, Option<&'static str>)> {
        use State::{Start, Trained};
        let mut plants = vec![
            (Fault::Spike, Trained, None),
            (Fault::Decay20, Trained, None),
            (Fault::SgdHigh, Trained, None),
        ];
        if kind != Kind::Autoencoder {
            plants.push((Fault::Shuffled, Trained, None));
        }
        if !matches!(kind, Kind::Autoencoder | Kind::OneOutput) {
            plants.push((Fault::SoftmaxTwice, Trained, None));
        }
        if matches!(kind, Kind::Residual | Kind::ResidualNorm | Kind::Attention) {
            plants.push((Fault::Scale(10.0), Start, Some("block1.fc2")));
        }
        if kind == Kind::Attention {
            plants.push((Fault::Scale(30.0), Start, Some("block1.qkv")));
        }
        plants
    }
}

impl Case {
    /// All cases of a seed: the healthy ones, then the faulty ones, of which two variants are taken.
    pub(crate) fn all(seed: u64) -> Vec<Self> {
        let mut cases = Vec::new();
        for kind in KINDS {
            for variant in 0..VARIANTS {
                for state in [State::Start, State::Trained] {
                    cases.push(Self { setting: Setting::new(kind, variant, seed), state });
                }
            }
        }
        for kind in KINDS {
            for variant in [0, 1] {
                for (fault, state) in Setting::plants(kind) {
                    let mut setting = Setting::new(kind, variant, seed);
                    setting.layer = setting.middle().to_owned();
                    if kind == Kind::Recurrent && matches!(fault, Fault::Nan | Fault::Detach) {
                        setting.layer = "h.3".to_owned();
                    }
                    setting.fault = fault;
                    // A dead layer takes an activation that has a flat side.
                    if matches!(fault, Fault::Dead | Fault::NoActivation) {
                        setting.phi = Activation::Relu;
                    }
                    cases.push(Self { setting, state });
                }
            }
        }
        cases.extend(Self::later(seed));
        cases.extend(Self::last(seed));
        cases
    }

    /// The cases that came last.
    fn last(seed: u64) -> Vec<Self> {
        let mut cases = Vec::new();
        for kind in LAST_KINDS {
            for variant in 0..LATER_VARIANTS {
                for state in [State::Start, State::Trained] {
                    cases.push(Self { setting: Setting::new(kind, variant, seed), state });
                }
            }
        }
        for kind in [Kind::Mlp, Kind::OneOutput, Kind::Conv1d, Kind::Conv2d] {
            for variant in [0, 1] {
                let mut setting = Setting::new(kind, variant, seed);
                (setting.fault, setting.told) = (Fault::Shift(SHIFT), false);
                cases.push(Self { setting, state: State::Start });
            }
        }
        cases
    }

    /// The healthy and the faulty cases of the later kinds, and the later faults of the first ones.
    fn later(seed: u64) -> Vec<Self> {
        let mut cases = Vec::new();
        for kind in LATER_KINDS {
            for variant in 0..LATER_VARIANTS {
                for state in [State::Start, State::Trained] {
                    cases.push(Self { setting: Setting::new(kind, variant, seed), state });
                }
            }
            for (fault, state) in [
                (Fault::Scale(20.0), State::Start),
                (Fault::Dead, State::Start),
                (Fault::Detach, State::Start),
                (Fault::RateHigh, State::Trained),
                (Fault::Frozen, State::Trained),
            ] {
                // A batch norm takes a layer's biases away.
                if (kind, fault) == (Kind::BatchNorm, Fault::Dead) {
                    continue;
                }
                let mut setting = Setting::new(kind, 0, seed);
                setting.layer = setting.middle().to_owned();
                setting.fault = fault;
                if fault == Fault::Dead {
                    setting.phi = Activation::Relu;
                }
                cases.push(Self { setting, state });
            }
        }
        for kind in KINDS {
            for (fault, state, layer) in Setting::later_plants(kind) {
                let mut setting = Setting::new(kind, 0, seed);
                setting.layer = layer.unwrap_or(setting.middle()).to_owned();
                setting.fault = fault;
                cases.push(Self { setting, state });
            }
        }
        cases
    }

    /// Whether the case is of a kind or a fault that came later.
    pub(crate) fn is_later(&self) -> bool {
        use Fault::{Decay20, Scale, SgdHigh, Shuffled, SoftmaxTwice, Spike};
        let fault = self.setting.fault;
        let is_later = matches!(fault, Decay20 | SgdHigh | Shuffled | SoftmaxTwice | Spike);
        is_later || matches!(fault, Scale(10.0 | 30.0)) || LATER_KINDS.contains(&self.setting.kind)
    }

    /// The case without its fault.
    pub(crate) fn twin(&self) -> Self {
        let layer = String::new();
        let setting = Setting { fault: Fault::Nothing, layer, told: false, ..self.setting.clone() };
        Self { setting, state: self.state }
    }

    pub(crate) fn name(&self) -> String {
        let Setting { kind, seed, fault, .. } = &self.setting;
        format!("{kind:?}/{seed}/{fault:?}/{:?}", self.state)
    }

    /// Whether the case is run once, at the end: half by the parity of FNV-1a's hash of the name, and none that came last.
    pub(crate) fn is_set_aside(&self) -> bool {
        let came_last =
            LAST_KINDS.contains(&self.setting.kind) || matches!(self.setting.fault, Fault::Shift(_));
        let hash = self.name().bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        (hash >> 32) % 2 == 1 && !came_last
    }

    pub(crate) fn is_healthy(&self) -> bool {
        self.setting.fault == Fault::Nothing
    }

    /// Whether a verdict names the fault: its kind, and its layer where it has one.
    pub(crate) fn names(&self, fault: Found, layer: &str) -> bool {
        use Found::*;
        let at = |layer: &str| {
            let Setting { kind, layer: mine, .. } = &self.setting;
            let step = *kind == Kind::Recurrent && mine == "recurrence" && layer.starts_with("h.");
            layer == mine || layer.starts_with(&format!("{mine}.")) || step
        };
        match self.setting.fault {
            Fault::Nothing => false,
            Fault::Scale(_) => {
                at(layer) && matches!(fault, OutsideBand | DiesOut | BlowsUp | Saturated | RankCollapse)
            }
            Fault::Zero => at(layer) && matches!(fault, DiesOut | OutsideBand | DeadUnits),
            Fault::Tied => at(layer) && fault == SymmetricUnits,
            Fault::Dead => at(layer) && matches!(fault, DeadUnits | DiesOut | OutsideBand),
            Fault::NoActivation => at(layer) && fault == OutsideBand,
            // The layer that is cut off, or one before it.
            Fault::Detach => matches!(fault, VanishingGradient | UpdateRatio) && !layer.starts_with("out"),
            Fault::Nan => at(layer) && fault == NonFinite,
            Fault::Input | Fault::Shift(_) => matches!(layer, "input" | "fc0" | "conv0"),
            Fault::Frozen => at(layer) && fault == UpdateRatio,
            Fault::RateLow => fault == UpdateRatio,
            Fault::RateHigh | Fault::SgdHigh | Fault::Spike => !matches!(fault, OutsideBand | SymmetricUnits),
            Fault::Decay | Fault::Decay20 => {
                matches!(fault, RankCollapse | DiesOut | UpdateRatio | VanishingGradient | DeadUnits)
            }
            // A loss that does not fall is all that shows of targets that do not belong to the inputs.
            Fault::Shuffled => fault == Loss,
            // Nothing says that of a loss that falls as far as it can.
            Fault::SoftmaxTwice => false,
        }
    }
}
