//! Values and gradients equal PyTorch's. `assets/reference/attention.py` made them and says what the cases are.

use std::collections::HashMap;

use candle_core::{DType, Module, Result, Tensor, Var};
use candle_nn::attention::AttnMask;
use wick_layers::Embedding;
use wick_layers::attention::attention;
use wick_layers::rotary_emb::{rope, rope_i};
use wick_tests::{CPU, largest, numbers};

const TYPES: [(DType, &str, f64); 2] = [(DType::F32, "f32", 2e-6), (DType::F64, "f64", 2e-14)];

struct Golden {
    tensors: HashMap<String, Tensor>,
    case: &'static str,
    dtype: DType,
    kind: &'static str,
}

impl Golden {
    fn get(&self, name: &str) -> Tensor {
        self.tensors[&format!("{}/{name}", self.case)].clone()
    }

    fn typed(&self, name: &str) -> Tensor {
        self.get(name).to_dtype(self.dtype).unwrap()
    }

    /// The largest difference of the output and the gradients of an op from those in the file, relative to the
    /// largest number there.
    fn apart(&self, names: &[&str], op: impl Fn(&[Tensor]) -> Result<Tensor>) -> f64 {
        let vars: Vec<Var> = names.iter().map(|name| Var::from_tensor(&self.typed(name)).unwrap()).collect();
        let given: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
        let output = op(&given).unwrap();
        let loss = (&output * self.typed("cotangent")).unwrap().sum_all().unwrap();
        let gradients = loss.backward().unwrap();
        let apart = |got: &Tensor, name: &str| {
            let (got, expected) = (numbers(got), numbers(&self.get(&format!("{}/{name}", self.kind))));
            assert_eq!(got.len(), expected.len());
            let size = expected.iter().fold(0.0, |size: f64, x| size.max(x.abs()));
            largest(got.iter().zip(&expected).map(|(a, b)| (a - b).abs())) / size
        };
        let of = names
            .iter()
            .zip(&vars)
            .map(|(name, var)| apart(gradients.get(var).unwrap(), &format!("d{name}")));
        largest(of.chain([apart(&output, "out")]))
    }
}

/// Runs a case in both types, and its twin, which must not pass.
fn check(
    case: &'static str,
    names: &[&str],
    op: impl Fn(&Golden, &[Tensor]) -> Result<Tensor>,
    twin: impl Fn(&Golden, &[Tensor]) -> Result<Tensor>,
) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/reference/attention.safetensors");
    for (dtype, kind, bound) in TYPES {
        let golden =
            Golden { tensors: candle_core::safetensors::load(path, &CPU).unwrap(), case, dtype, kind };
        let apart = golden.apart(names, |x| op(&golden, x));
        println!("{case} {kind}: {apart:e}");
        assert!(apart <= bound, "{case} {kind}: {apart:e}");
        assert!(golden.apart(names, |x| twin(&golden, x)) > 10.0 * bound, "{case} {kind}: the twin");
    }
}

#[test]
fn attention_as_pytorchs() {
    for (case, scale) in [
        ("plain", 1.0 / 8f64.sqrt()),
        ("causal", 0.3),
        ("grouped", 1.0 / 8f64.sqrt()),
        ("added", 0.5),
        ("kept", 1.0 / 5f64.sqrt()),
        ("long", 0.4),
    ] {
        let mask = |golden: &Golden| match case {
            "causal" => AttnMask::causal(),
            "added" | "kept" => AttnMask::Mask(golden.get("mask")),
            _ => AttnMask::None,
        };
        check(
            case,
            &["q", "k", "v"],
            |golden, x| attention(&x[0], &x[1], &x[2], &mask(golden), scale),
            |golden, x| attention(&x[0], &x[1], &x[2], &mask(golden), scale * 1.001),
        );
    }
}

#[test]
fn rotary_positions_as_pytorchs() {
    let angles = |golden: &Golden| (golden.typed("cos"), golden.typed("sin"));
    let halves = |golden: &Golden, x: &[Tensor]| rope(&x[0], &angles(golden).0, &angles(golden).1);
    let interleaved = |golden: &Golden, x: &[Tensor]| rope_i(&x[0], &angles(golden).0, &angles(golden).1);
    check("rope", &["x"], halves, interleaved);
    check("rope_i", &["x"], interleaved, halves);
}

#[test]
fn embeddings_as_pytorchs() {
    let rows = |golden: &Golden, x: &[Tensor]| Embedding::new(x[0].clone(), 4).forward(&golden.get("ids"));
    let twin = |golden: &Golden, x: &[Tensor]| rows(golden, x)? * 1.001;
    check("embedding", &["table"], rows, twin);
}
