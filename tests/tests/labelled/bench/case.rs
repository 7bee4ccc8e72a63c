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
        let pixels = match choose_index(key, "pixels", 3) {
            0 if normed || kind == Kind::Mlp => Pixels::Raw,
            1 => Pixels::Standardized,
            _ => Pixels::Unit,
        };
        Self {
            kind,
            seed: key,
            phi,
            depth: if sigmoid { 2 } else { 2 + choose_index(key, "depth", 3) },
            width: choose(key, "width", &[32, 48, 64]),
            batch: choose(key, "batch", &[32, 50, 64, 100, 128]),
            pixels,
            mean: choose(key, "mean", &[0.0, 2.0, 5.0]),
            torch_biases: choose_index(key, "biases", 2) == 0,
            zero_init: variant % 3 == 2 && kind != Kind::Autoencoder,
            told: kind == Kind::Mlp && variant.is_multiple_of(2),
            fault: Fault::Nothing,
            layer: String::new(),
        }
    }

    /// A layer in the middle, and one with an activation.
    fn middle(&self) -> &'static str {
        match self.kind {
            Kind::Mlp | Kind::OneOutput | Kind::Autoencoder => "fc1",
            Kind::Conv1d | Kind::Conv2d => "conv1",
            Kind::Residual | Kind::ResidualNorm => "block1.fc1",
            Kind::Attention => "block1.fc1",
            Kind::Recurrent => "recurrence",
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
        cases
    }

    pub(crate) fn name(&self) -> String {
        let Setting { kind, seed, fault, .. } = &self.setting;
        format!("{kind:?}/{seed}/{fault:?}/{:?}", self.state)
    }

    /// Whether the case is run once, at the end: half of the names are, by the parity of FNV-1a's hash.
    pub(crate) fn is_set_aside(&self) -> bool {
        let hash = self.name().bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        (hash >> 32) % 2 == 1
    }

    pub(crate) fn is_healthy(&self) -> bool {
        self.setting.fault == Fault::Nothing
    }

    /// Whether a verdict names the fault: its kind, and its layer where it has one.
    pub(crate) fn names(&self, fault: Found, layer: &str) -> bool {
        use Found::*;
        let at = |layer: &str| {
            let mine = &self.setting.layer;
            let step =
                self.setting.kind == Kind::Recurrent && mine == "recurrence" && layer.starts_with("h.");
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
            Fault::Input => matches!(layer, "input" | "fc0" | "conv0"),
            Fault::Frozen => at(layer) && fault == UpdateRatio,
            Fault::RateLow => fault == UpdateRatio,
            Fault::RateHigh => !matches!(fault, OutsideBand | SymmetricUnits),
            Fault::Decay => {
                matches!(fault, RankCollapse | DiesOut | UpdateRatio | VanishingGradient | DeadUnits)
            }
        }
    }
}
