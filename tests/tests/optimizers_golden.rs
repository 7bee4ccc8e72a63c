//! 100 steps of each optimizer, with groups and a learning rate that falls, equal those of PyTorch and optax.
//! `assets/reference/optimizers.py` made the values and says what the problem is.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::collections::HashMap;

use candle_core::{DType, Tensor, Var};
use candle_nn::{Optimizer, ParamsAdamW};
use wick_kernels::{
    Clip, ClipRule, Method, Muon, MuonScaling, Named, ParamsLion, ParamsMuon, ParamsScheduleFree, ParamsSgd,
    ScheduleFree, Stepper,
};
use wick_tests::{CPU, numbers};

/// The variables, with what the learning rate is multiplied by and the weight decay.
const GROUPS: [(&str, f64, f64); 3] = [("a", 1.0, 0.1), ("b", 2.0, 0.0), ("c", 0.5, 0.3)];
const TYPES: [(DType, &str, f64); 2] = [(DType::F32, "f32", 1e-6), (DType::F64, "f64", 1e-12)];

fn golden() -> HashMap<String, Tensor> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/reference/optimizers.safetensors");
    candle_core::safetensors::load(path, &CPU).unwrap()
}

struct Run {
    golden: HashMap<String, Tensor>,
    dtype: DType,
    vars: Vec<Var>,
}

impl Run {
    fn new(dtype: DType) -> Self {
        let golden = golden();
        let start =
            |name| Var::from_tensor(&golden[&format!("start/{name}")].to_dtype(dtype).unwrap()).unwrap();
        let vars = GROUPS.iter().map(|(name, ..)| start(name)).collect();
        Self { golden, dtype, vars }
    }

    fn named(&self) -> Vec<Named> {
        let named = |(var, (name, rate, decay)): (&Var, (&str, f64, f64))| {
            Named::new(name, var.clone()).with_rate(rate).with_decay(decay)
        };
        self.vars.iter().zip(GROUPS).map(named).collect()
    }

    /// Takes 100 steps; `rate` is the learning rate of each.
    fn train<P: Method>(&self, optimizer: &mut Stepper<P>, rate: impl Fn(usize) -> f64) {
        let data =
            |kind: &str, name: &str| self.golden[&format!("{kind}/{name}")].to_dtype(self.dtype).unwrap();
        for step in 0..100 {
            let term = |(var, (name, ..)): (&Var, (&str, f64, f64))| {
                let noise = data("noise", name).get(step).unwrap();
                let gradient =
                    (data("h", name) * (var.as_detached_tensor() - data("a", name)).unwrap()).unwrap();
                (var.as_tensor() * (gradient + noise).unwrap()).unwrap().sum_all().unwrap()
            };
            let terms: Vec<Tensor> = self.vars.iter().zip(GROUPS).map(term).collect();
            optimizer.set_learning_rate(rate(step));
            optimizer.backward_step(&Tensor::stack(&terms, 0).unwrap().sum_all().unwrap()).unwrap();
        }
    }

    /// The largest difference from the values of a case; variables that the case lacks are left out.
    fn apart(&self, case: &str, name: &str) -> f64 {
        let mut largest = 0f64;
        let mut found = 0;
        for (var, (variable, ..)) in self.vars.iter().zip(GROUPS) {
            let Some(expected) = self.golden.get(&format!("{case}/{name}/{variable}")) else { continue };
            let (got, expected) = (numbers(var), numbers(expected));
            assert_eq!(got.len(), expected.len());
            let apart = got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            (largest, found) = (largest.max(apart), found + 1);
        }
        assert!(found >= 2, "{case} {name} is not in the file");
        largest
    }
}

/// Runs a case in both types, and a twin whose learning rate is a thousandth larger and must not pass.
fn check<P: Method>(case: &str, lr: f64, params: P, clip: Option<Clip>) {
    for (dtype, name, bound) in TYPES {
        let apart = |lr: f64| {
            let run = Run::new(dtype);
            let mut optimizer = Stepper::named(run.named(), params.clone()).unwrap();
            optimizer.set_clip(clip).unwrap();
            run.train(&mut optimizer, |step| lr * (1.0 - step as f64 / 200.0));
            run.apart(case, name)
        };
        let own = apart(lr);
        println!("{case} {name}: {own:e}");
        assert!(own <= bound, "{case} {name}: {own:e}");
        assert!(apart(lr * 1.001) > 10.0 * bound, "{case} {name}: the twin");
    }
}

#[test]
fn adamw_as_pytorchs() {
    check("adamw", 0.02, ParamsAdamW::default(), None);
}

#[test]
fn sgd_as_pytorchs() {
    let params = ParamsSgd { momentum: 0.0, ..Default::default() };
    check("sgd", 0.05, params, None);
    check("sgd.momentum", 0.02, ParamsSgd { momentum: 0.9, ..params }, None);
    check("sgd.nesterov", 0.02, ParamsSgd { momentum: 0.9, nesterov: true, ..params }, None);
}

#[test]
fn lion_as_optaxs() {
    check("lion", 0.01, ParamsLion::default(), None);
}

#[test]
fn muon_as_optaxs() {
    let params = ParamsMuon { bias_correction: true, ..Default::default() };
    check("muon.original", 0.02, params, None);
    check("muon.match_rms_adamw", 0.05, ParamsMuon { scaling: MuonScaling::MatchRmsAdamW, ..params }, None);
    check("muon.plain", 0.02, ParamsMuon { nesterov: false, ..params }, None);
}

/// PyTorch orthogonalizes in `bf16`: the rounding errors of 2⁻⁹ of 15 products come to about a hundredth of a
/// step, and the 100 steps of a number to 1.8 at most. Without momentum, as the twin, the weights are others.
#[test]
fn muon_as_pytorchs_within_the_rounding_of_bf16() {
    for (case, lr, scaling) in [
        ("muon.torch", 0.02, MuonScaling::Original),
        ("muon.torch.match_rms_adamw", 0.05, MuonScaling::MatchRmsAdamW),
    ] {
        let apart = |momentum| {
            let run = Run::new(DType::F32);
            let params = ParamsMuon { scaling, momentum, ..Default::default() };
            let mut muon = Muon::named(run.named(), params).unwrap();
            run.train(&mut muon, |step| lr * (1.0 - step as f64 / 200.0));
            run.apart(case, "f32")
        };
        let (own, twin) = (apart(0.95), apart(0.0));
        println!("{case}: {own:e}, the twin {twin:e}");
        assert!(own < 0.018, "{case}: {own:e}");
        assert!(twin > 0.018, "{case}: the twin {twin:e}");
    }
}

/// Both types are compared with optax's values in `f64`: those in `f32` are 1.6·10⁻⁶ from them, since optax
/// divides the weights by β₁ in each step to find their average.
#[test]
fn schedule_free_as_optaxs() {
    for (dtype, name, bound) in TYPES {
        let run = Run::new(dtype);
        let mut optimizer = ScheduleFree::named(run.named(), ParamsScheduleFree::default()).unwrap();
        run.train(&mut optimizer, |_| 0.02);
        let train = run.apart("schedule_free", "f64");
        optimizer.eval().unwrap();
        let eval = run.apart("schedule_free.eval", "f64");
        println!("schedule_free {name}: {train:e} {eval:e}");
        assert!(train <= bound && eval <= bound, "{name}: {train:e} {eval:e}");
        assert!(run.apart("schedule_free", "f64") > 1e-3, "the averages are other weights");
    }
}

#[test]
fn clipping_in_both_conventions() {
    let params = ParamsSgd { momentum: 0.9, ..Default::default() };
    check("clip.torch", 0.05, params, Some(Clip { norm: 4.0, rule: ClipRule::Torch }));
    check("clip.optax", 0.05, params, Some(Clip { norm: 4.0, rule: ClipRule::Optax }));
}
