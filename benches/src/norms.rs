//! Norms, softmax, dropout and cross entropy: forward, and forward and backward (`…_training`), where the gradient
//! that comes back consists of ones. `graph` is what candle's backward pass does beside calling an op's: it makes those
//! ones, and adds the op's gradient to zeros.

use std::time::Instant;

use candle_core::{Device, Result, Tensor, Var, bail};
use wick_kernels as ops;

use crate::net::normal;

/// The shapes, with the calls that are timed together.
const SHAPES: [(&str, &[usize], usize); 3] =
    [("", &[2048, 768], 10), ("_128", &[2048, 128], 50), ("_attention", &[8, 8, 512, 512], 1)];
/// The ops, with the suffixes of their shapes.
const OPS: [(&str, &[&str]); 7] = [
    ("layer_norm", &["", "_128"]),
    ("rms_norm", &["", "_128"]),
    ("softmax", &["", "_128", "_attention"]),
    ("log_softmax", &[""]),
    ("dropout", &["", "_attention"]),
    ("cross_entropy", &["", "_128"]),
    ("graph", &["", "_128", "_attention"]),
];

/// The names of the jobs; candle's are those of its ops that have a gradient.
pub(crate) fn names() -> impl Iterator<Item = String> {
    OPS.iter().flat_map(|(op, shapes)| {
        shapes.iter().flat_map(move |shape| {
            ["", "candle_"]
                .into_iter()
                .flat_map(move |library| ["", "_training"].map(|pass| format!("{library}{op}{shape}{pass}")))
        })
    })
}

/// A job, ready to run.
pub(crate) struct Job {
    name: String,
    op: &'static str,
    stock: bool,
    training: bool,
    input: Var,
    weight: Var,
    bias: Var,
    classes: Tensor,
    count: usize,
}

impl Job {
    /// The job of this name; `None` if there is none.
    pub(crate) fn named(name: &str) -> Result<Option<Self>> {
        if !names().any(|known| known == name) {
            return Ok(None);
        }
        let plain = name.strip_prefix("candle_").unwrap_or(name);
        let plain = plain.strip_suffix("_training").unwrap_or(plain);
        let found = OPS.iter().rev().find_map(|(op, _)| Some((*op, plain.strip_prefix(op)?)));
        let Some((op, shape)) = found else { return Ok(None) };
        let Some((_, shape, count)) = SHAPES.iter().find(|(suffix, ..)| *suffix == shape) else {
            return Ok(None);
        };
        let width = shape[shape.len() - 1];
        let classes: Vec<u32> = (0..shape[0] as u32).map(|row| row * 7919 % width as u32).collect();
        Ok(Some(Self {
            name: name.to_owned(),
            op,
            stock: name.starts_with("candle_"),
            training: name.ends_with("_training"),
            input: Var::from_tensor(&normal("rows", *shape, &Device::Cpu)?)?,
            weight: Var::from_tensor(&normal("row", width, &Device::Cpu)?)?,
            bias: Var::from_tensor(&normal("bias", width, &Device::Cpu)?)?,
            classes: Tensor::new(classes, &Device::Cpu)?,
            count: *count,
        }))
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// The milliseconds of one of the calls.
    pub(crate) fn run(&self) -> Result<f64> {
        let start = Instant::now();
        for step in 0..self.count {
            if self.op == "graph" {
                let (ones, zeros) = (self.input.ones_like()?, self.input.zeros_like()?);
                drop((zeros + ones)?);
            } else if self.training {
                drop(self.forward(&self.input, &self.weight, &self.bias, step)?.backward()?);
            } else {
                let [x, w, b] = [&self.input, &self.weight, &self.bias].map(Var::as_detached_tensor);
                drop(self.forward(&x, &w, &b, step)?);
            }
        }
        Ok(start.elapsed().as_secs_f64() * 1e3 / self.count as f64)
    }

    fn forward(&self, x: &Tensor, w: &Tensor, b: &Tensor, step: usize) -> Result<Tensor> {
        use candle_nn::ops as stock;
        let last = x.rank() - 1;
        match (self.op, self.stock) {
            ("layer_norm", false) => ops::layer_norm(x, w, Some(b), 1e-5),
            ("rms_norm", false) => ops::rms_norm(x, w, 1e-5),
            ("softmax", false) => ops::softmax(x),
            ("log_softmax", false) => ops::log_softmax(x),
            ("dropout", false) => ops::dropout(x, 0.1, 42.into(), step as u64),
            ("cross_entropy", false) => ops::CrossEntropy::default().forward(x, &self.classes),
            // The fused ops of candle have no gradient.
            ("layer_norm", true) if self.training => stock::layer_norm_slow(x, w, b, 1e-5),
            ("rms_norm", true) if self.training => stock::rms_norm_slow(x, w, 1e-5),
            ("layer_norm", true) => stock::layer_norm(x, w, b, 1e-5),
            ("rms_norm", true) => stock::rms_norm(x, w, 1e-5),
            ("softmax", true) if self.training => stock::softmax(x, last),
            ("softmax", true) => stock::softmax_last_dim(x),
            ("log_softmax", true) => stock::log_softmax(x, last),
            ("dropout", true) => stock::dropout(x, 0.1),
            ("cross_entropy", true) => candle_nn::loss::cross_entropy(x, &self.classes),
            (op, _) => bail!("unknown op '{op}'"),
        }
    }
}
