//! Presets by their names: on candle's models, and on the names and shapes of original releases. No tensor is without a
//! rule, and every tensor is what the cited source says.

mod images;
mod language;
mod states;

use candle_core::DType;
use candle_nn::VarBuilder;
use wick_init::{InitMap, Initializer, PatternError, Rule, presets};
use wick_tests::{CPU, numbers, std_error};

use Is::{Between, Ramp, Std, Value};

type Rules = Result<Vec<Rule>, PatternError>;

/// What the elements of a tensor are.
enum Is {
    /// All this number.
    Value(f64),
    /// Of mean 0 and this standard deviation.
    Std(f64),
    /// Uniform between two numbers.
    Between(f64, f64),
    /// These, along the last dimension.
    Ramp(Box<dyn Fn(f64) -> f64>),
}

/// The standard deviation of a normal of std 1 that is cut at ±3.
const CUT: f64 = 0.986_578_392_558_108_6;

/// The tensors that are not what they should be. A mean and a std are within 4.1 of their standard errors (normal
/// tensors, seed 42; alpha = 4e-5 a tensor and statistic).
fn wrong(map: &InitMap, build: &dyn Fn(&VarBuilder), expected: &dyn Fn(&str, &[usize]) -> Is) -> Vec<String> {
    build(&map.var_builder(DType::F32, &CPU));
    let vars = map.named_vars();
    let is_wrong = |name: &str, shape: &[usize], values: &[f64]| {
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-6 * b.abs().max(1e-7);
        match expected(name, shape) {
            Value(value) => values.iter().any(|x| !near(*x, value)),
            Std(std) => {
                let got = (values.iter().map(|x| x * x).sum::<f64>() / n as f64).sqrt();
                let error = std * std_error(n);
                mean.abs() > 4.1 * std / (n as f64).sqrt() || (got - std).abs() > 4.1 * error
            }
            Between(low, high) => {
                let error = (high - low) / 12f64.sqrt() / (n as f64).sqrt();
                let within = values.iter().all(|x| (low..=high).contains(x));
                !within || (mean - 0.5 * (low + high)).abs() > 4.1 * error
            }
            Ramp(of) => {
                let last = shape[shape.len() - 1];
                values.iter().enumerate().any(|(at, x)| (x - of((at % last) as f64)).abs() > 2e-6)
            }
        }
    };
    vars.iter()
        .filter(|(name, var)| is_wrong(name, var.dims(), &numbers(var.as_tensor())))
        .map(|(name, _)| name.clone())
        .collect()
}

/// Checks a preset, strict, and that it meets what it needs. The twin is a net of N(0, 0.05²).
fn check(label: &str, rules: Rules, build: impl Fn(&VarBuilder), expected: impl Fn(&str, &[usize]) -> Is) {
    let map = InitMap::new(42).with_rules(rules.unwrap()).strict();
    let found = wrong(&map, &build, &expected);
    assert!(found.is_empty(), "{label}: {found:?}");
    assert_eq!(map.unmatched_essentials(), [""; 0], "{label}");
    let twin = InitMap::new(42).with_rules([Rule::draw("**", Initializer::normal(0.05)).unwrap()]);
    let found = wrong(&twin, &build, &expected).len();
    // Tensors of a few elements, or of nearly that std, cannot be told.
    assert!(2 * found > twin.vars().len(), "{label}: the twin, {found} of {}", twin.vars().len());
}

/// The tensors of these names and shapes.
fn listed<'a>(tensors: &'a [(&'a str, &'a [usize])]) -> impl Fn(&VarBuilder) + 'a {
    move |vb| {
        for (name, shape) in tensors {
            vb.get(*shape, name).unwrap();
        }
    }
}

fn layer(name: &str) -> f64 {
    Rule::layer_of(name).unwrap_or(0) as f64
}

/// peft's `tuners/lora/layer.py`.
#[test]
fn lora() {
    let tensors: [(&str, &[usize]); 5] = [
        ("model.layers.0.self_attn.q_proj.lora_A.default.weight", &[8, 256]),
        ("model.layers.0.self_attn.q_proj.lora_B.default.weight", &[256, 8]),
        ("model.layers.0.self_attn.q_proj.lora_A.weight", &[8, 256]),
        ("model.embed_tokens.lora_embedding_A", &[8, 100]),
        ("model.embed_tokens.lora_embedding_B", &[64, 8]),
    ];
    check("lora", presets::lora(), listed(&tensors), |name, _| match name {
        _ if name.contains("lora_A") => Between(-0.0625, 0.0625),
        _ if name.contains("embedding_B") => Std(1.0),
        _ => Value(0.0),
    });
}

/// A generic preset takes the scale of a block for none of a norm: a `gamma` of 1 would let ConvNeXt and DINOv2 start
/// far from the identity.
#[test]
fn scales_of_blocks_are_no_norms() {
    for (label, rules) in [("torch", presets::torch_defaults()), ("keras", presets::keras_defaults())] {
        let map = InitMap::new(42).with_rules(rules.unwrap()).strict();
        let vb = map.var_builder(DType::F32, &CPU);
        for (name, value) in [
            ("stages.0.blocks.1.gamma", 1e-6f32),
            ("blocks.3.ls1.gamma", 1e-5),
            ("blocks.3.ls2.gamma", 1e-5),
            ("LayerNorm.gamma", 1.0),
            ("batch_normalization.gamma", 1.0),
        ] {
            assert_eq!(vb.get(4, name).unwrap().to_vec1::<f32>().unwrap(), [value; 4], "{label}, {name}");
        }
    }
}
