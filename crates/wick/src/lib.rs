//! Wick initializes [candle](https://github.com/huggingface/candle) models well, shows the signals in every layer, and
//! trains them.
//!
//! This crate re-exports the crates of Wick, each as a module, and at its root the types that most programs
//! need. A program uses the same version of candle (0.11) beside it.
//!
//! | you want | use |
//! |---|---|
//! | initial weights for a whole model | [`InitMap`], which is behind candle's `VarBuilder` |
//! | one tensor | [`Initializer::tensor`](Initializer) with `KeyedV1::new(seed).key(name)` |
//! | different initializers for different layers | [`Rule`]s with [`Pattern`]s on names and shapes, [`presets`] |
//! | PyTorch's own weights | [`InitMap::with_torch_rng`] with the rules of [`presets::torch_defaults`] |
//! | a table of what each tensor got | [`InitMap::manifest`] |
//! | to save and to load weights | [`InitMap::save`], [`InitMap::with_file`] |
//! | statistics of a layer in any forward pass | [`Probe::tap`], [`Probe::watch`], [`Probe::observer`] for fused layers |
//! | the layers of a model without a tap; what its loss cannot train | [`Trace`], [`reach`] |
//! | the sizes of weights and of their updates | [`Parameters`] |
//! | to know which layer is wrong, and why | [`Monitor`]; [`judge`] with [`Probe::layer_reports`], [`judge_updates`], [`judge_loss`], [`judge_drift`] |
//! | what theory predicts for a layer | [`MeanField`] (infinite width), [`finite_width()`], [`predict`] |
//! | a multilayer perceptron | [`Mlp`] with [`MlpConfig`] and [`Activation`] |
//! | to train any candle model: validation, checkpoints, a log | [`Trainer`] with what is in [`train`] |
//! | to train a perceptron, step by step | [`fit_with`] with [`Mlp::tape`], a [`Loss`], [`AdamW`], [`Sgd`], [`Lion`], [`Muon`], [`ScheduleFree`] |
//! | a fused layer for a model of your own | [`dense`], [`activate`] |
//! | candle's layers with gradients that are right, by a `use` line | [`layers`] |
//!
//! An unmodified candle layer gets orthogonal weights, and a probe records what the layer does to the signal:
//!
//! ```
//! use candle_core::{DType, Device};
//! use candle_nn::Module;
//! use wick::{InitMap, Initializer, KeyedV1, Probe};
//!
//! let map = InitMap::new(42).with_default_init("orthogonal".parse()?);
//! let layer = candle_nn::linear_no_bias(64, 64, map.var_builder(DType::F32, &Device::Cpu).pp("fc"))?;
//!
//! let key = KeyedV1::new(42).key("input");
//! let x = Initializer::normal(1.0).tensor(key, (100, 64), DType::F32, &Device::Cpu)?;
//! let probe = Probe::new();
//! let x = probe.tap("input", &x)?;
//! probe.tap("output", &layer.forward(&x)?)?;
//!
//! // Orthogonal weights preserve the norm of every sample, and so the root mean square of the batch.
//! let rms: Vec<f64> = probe.records().iter().map(|record| record.forward.rms).collect();
//! assert!((rms[1] / rms[0] - 1.0).abs() < 1e-5);
//! # Ok::<(), candle_core::Error>(())
//! ```
//!
//! The folder `examples` has seven programs: `init_any_model`, `watch_a_model`, `diagnose` and `train_digits`,
//! `train-cnn` and `train-transformers`, which train models of candle-nn and candle-transformers as they are, and
//! `train_gpt`, which trains a GPT of [`layers`].
//!
//! The features `cuda` and `metal` build Wick and candle for GPUs. Without them, everything runs on the CPU.

pub use wick_init as init;
pub use wick_kernels as kernels;
pub use wick_layers as layers;
pub use wick_model as model;
pub use wick_probe as probe;
pub use wick_theory as theory;
pub use wick_train as train;

pub use wick_init::{
    FanMode, Fans, InitMap, Initializer, KeyedV1, LearningRate, Manifest, ManifestEntry, Pattern, Rule,
    WeightLayout, presets,
};
pub use wick_kernels::{
    AdamW, Clip, ClipRule, Ema, Lion, LossScale, Muon, MuonScaling, Named, ParamsLion, ParamsMuon,
    ParamsScheduleFree, ParamsSgd, ScheduleFree, Sgd, Stepper, activate, dense, limit_idle_spinning,
    retain_freed_memory,
};
pub use wick_model::loss::{self, Loss};
pub use wick_model::{Mlp, MlpConfig, Tape, fit, fit_with};
pub use wick_probe::{
    Diagnosis, Fault, LayerReport, Monitor, Parameters, Probe, Reach, Record, Trace, Units, Verdict, judge,
    judge_drift, judge_loss, judge_updates, reach,
};
pub use wick_theory::{Activation, BatchGeometry, LayerLaw, MeanField, finite_width, predict};
pub use wick_train::Trainer;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
