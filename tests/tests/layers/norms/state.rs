//! What the layers keep: names and shapes of variables, running statistics and masks in checkpoints.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};

use candle_core::{DType, Module, ModuleT, Result, Tensor};
use candle_nn::{VarBuilder, VarMap, linear};
use wick_init::{InitMap, Initializer, KeyedV1};
use wick_layers::{BatchNorm, Dropout, batch_norm, group_norm, layer_norm, layer_norm_no_bias, rms_norm};
use wick_tests::{CPU, bits, normal, numbers};
use wick_train::data::{Classes, InMemory, Targets};
use wick_train::{Config, Ended, Length, NamedVars, RunFolder, Step, Trainer};

/// candle's layers and ours ask for the same variables, and ours have them after candle's.
#[test]
fn variables_are_candles() {
    let (theirs, ours) = (VarMap::new(), VarMap::new());
    let vb = |vars| VarBuilder::from_varmap(vars, DType::F32, &CPU);
    candle_nn::layer_norm(3, 1e-5, vb(&theirs).pp("a")).unwrap();
    candle_nn::layer_norm_no_bias(3, 1e-5, vb(&theirs).pp("b")).unwrap();
    candle_nn::rms_norm(3, 1e-5, vb(&theirs).pp("c")).unwrap();
    candle_nn::group_norm(2, 4, 1e-5, vb(&theirs).pp("d")).unwrap();
    candle_nn::batch_norm(4, 1e-5, vb(&theirs).pp("e")).unwrap();
    let build = |vars| {
        layer_norm(3, 1e-5, vb(vars).pp("a")).unwrap();
        layer_norm_no_bias(3, 1e-5, vb(vars).pp("b")).unwrap();
        rms_norm(3, 1e-5, vb(vars).pp("c")).unwrap();
        group_norm(2, 4, 1e-5, vb(vars).pp("d")).unwrap();
        batch_norm(4, 1e-5, vb(vars).pp("e")).unwrap();
    };
    build(&ours);
    let all = |vars: &VarMap| -> BTreeMap<String, (Vec<usize>, Vec<f64>)> {
        vars.named_vars()
            .into_iter()
            .map(|(name, var)| (name, (var.dims().to_vec(), numbers(&var))))
            .collect()
    };
    assert_eq!(all(&ours), all(&theirs));
    assert_eq!(all(&ours).len(), 2 + 1 + 1 + 2 + 4);
    build(&theirs);
    assert_eq!(all(&theirs).len(), 10, "no variable of another name");
}

/// A state of PyTorch's, with `gamma` and `beta` as older files have them.
#[test]
fn older_names_are_found() {
    let file: std::collections::HashMap<String, Tensor> = [("gamma", 2f32), ("beta", 3.0)]
        .map(|(name, value)| (format!("ln.{name}"), Tensor::full(value, 3, &CPU).unwrap()))
        .into();
    let vb = VarBuilder::from_tensors(file, DType::F32, &CPU);
    let norm = layer_norm(3, 1e-5, vb.pp("ln")).unwrap();
    let y = norm.forward(&Tensor::ones((1, 3), DType::F32, &CPU).unwrap()).unwrap();
    assert_eq!(numbers(&y), [3.0; 3]);
    assert_eq!(numbers(norm.weight()), [2.0; 3]);
}

/// Statistics and steps are moved outside the graph: the loss has the gradients of weight and bias alone.
#[test]
fn statistics_are_no_part_of_the_graph() {
    let vars = VarMap::new();
    let norm = batch_norm(2, 1e-5, VarBuilder::from_varmap(&vars, DType::F32, &CPU)).unwrap();
    for train in [true, false] {
        let y = norm.forward_t(&normal(1, "x", (4, 2, 3), DType::F32), train).unwrap();
        let gradients = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let with: Vec<String> = vars
            .named_vars()
            .into_iter()
            .filter_map(|(name, var)| gradients.get(&var).is_some().then_some(name))
            .collect();
        assert_eq!(with, ["bias", "weight"]);
    }
    let one = Tensor::ones((1, 2), DType::F32, &CPU).unwrap();
    let error = norm.forward_t(&one, true).unwrap_err().to_string();
    assert!(error.contains("more than one number for each channel, not [1, 2]"), "{error}");
    let error = norm.forward_t(&one.t().unwrap(), false).unwrap_err().to_string();
    assert!(error.contains("2 channels takes [batch, channels, …], not [2, 1]"), "{error}");
}

/// A net with a batch norm and a dropout.
struct Net {
    map: InitMap,
    first: candle_nn::Linear,
    norm: BatchNorm,
    dropout: Dropout,
    last: candle_nn::Linear,
}

impl Net {
    fn new() -> Self {
        let map = InitMap::new(5).with_default_init(Initializer::xavier_normal());
        let vb = map.var_builder(DType::F32, &CPU);
        Self {
            first: linear(4, 16, vb.pp("first")).unwrap(),
            norm: batch_norm(16, 1e-5, vb.pp("norm")).unwrap(),
            dropout: Dropout::new(0.3, KeyedV1::new(5).key("dropout")),
            last: linear(16, 3, vb.pp("last")).unwrap(),
            map,
        }
    }

    fn loss(&self, step: &Step, follows_step: bool) -> Result<Tensor> {
        if follows_step {
            self.dropout.set_step(step.key());
        }
        let h = self.norm.forward_t(&self.first.forward(step.input())?, true)?.relu()?;
        let outputs = self.last.forward(&self.dropout.forward(&h, true)?)?;
        wick_layers::loss::cross_entropy(&outputs, step.targets()?)
    }

    fn bits(&self) -> Vec<u32> {
        self.map.named_vars().iter().flat_map(|(_, var)| bits(var)).collect()
    }
}

fn points() -> InMemory {
    let classes: Vec<u32> = (0..60).map(|i| i % 3).collect();
    let classes = Classes::new(&Tensor::new(classes, &CPU).unwrap()).unwrap();
    InMemory::new(&normal(2, "points", (60, 4), DType::F32))
        .unwrap()
        .with_targets(Targets::Classes(classes))
        .unwrap()
}

/// Runs to the end, or to the steps at which it is stopped, each time with a net that is built anew.
fn run(folder: &Path, stops: &[u64], follows_step: bool) -> (Net, Vec<String>) {
    let mut stops = stops.iter();
    loop {
        let (net, stop, at) = (Net::new(), AtomicI32::new(0), stops.next().copied());
        let config = Config { batch: 10, length: Length::Steps(20), ..Config::default() };
        let mut trainer = Trainer::new(&net.map, config)
            .unwrap()
            .with_run(RunFolder::open(folder).unwrap(), 7)
            .with_stop(&stop);
        let outcome = trainer.fit(&points(), |step| {
            if Some(step.number() + 1) == at {
                stop.store(15, Ordering::Relaxed);
            }
            net.loss(step, follows_step)
        });
        let outcome = outcome.unwrap();
        if outcome.ended == Ended::Finished {
            return (net, outcome.notices);
        }
    }
}

/// A run that is stopped and goes on has the bits of the undisturbed one, with its running statistics and its
/// masks. One whose dropout counts from 0 after the stop has not, and the trainer says that its first step is not
/// the same twice.
#[test]
fn checkpoints_have_statistics_and_masks() {
    let folders = [(); 4].map(|()| tempfile::tempdir().unwrap());
    let (whole, notices) = run(folders[0].path(), &[], true);
    assert_eq!(notices, Vec::<String>::new());
    let (parts, _) = run(folders[1].path(), &[3, 7, 12], true);
    assert!(whole.bits() == parts.bits());
    let (twin, notices) = run(folders[2].path(), &[], false);
    assert_eq!(notices.len(), 1, "{notices:?}");
    let (twin_parts, _) = run(folders[3].path(), &[3, 7, 12], false);
    assert!(twin.bits() != twin_parts.bits(), "the twin that must fail");

    // The weights of the end have the statistics, and a net loads them.
    let last = RunFolder::open(folders[0].path()).unwrap().last();
    let map = InitMap::new(0).with_file(last).unwrap();
    let norm = batch_norm(16, 1e-5, map.var_builder(DType::F32, &CPU).pp("norm")).unwrap();
    assert_eq!(bits(norm.running_var()), bits(whole.norm.running_var()));
    assert!(numbers(norm.running_mean()).iter().any(|mean| mean.abs() > 1e-3));
}
