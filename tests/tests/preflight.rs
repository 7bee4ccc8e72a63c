//! What is said before the training: of healthy nets nothing, and of each planted bug its name.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use candle_core::{D, DType, Result, Tensor, Var};
use candle_nn::{
    AdamW, Module, Optimizer, ParamsAdamW, VarBuilder, embedding, layer_norm, linear, linear_no_bias,
};
use wick_init::{InitMap, Initializer, Rule};
use wick_probe::{Check, Finding, Preflight};
use wick_tests::{CPU, normal};

/// The bug that is planted in a net, if one is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Bug {
    None,
    Softmax,
    Sum,
    Detach,
    FusedNorm,
    Stale,
    LargeHead,
    Answer,
    BatchMean,
    NoMask,
    Reshape,
    IgnoresInput,
    AllZero,
    CopiedRows,
    Relabelled,
    Broadcasts,
    NotFinite,
    TinyHalf,
    WrongFan,
    DeadUnits,
    LargeRate,
    SmallRate,
    Untied,
    /// None: half precision by itself is no bug.
    Half,
}

type Model = Box<dyn FnMut(&Tensor) -> Result<Tensor>>;

/// A net with its batch.
struct Net {
    vars: Vec<(String, Var)>,
    inputs: Tensor,
    targets: Tensor,
    is_causal: bool,
    /// The standard deviations from which the variables were drawn.
    stds: Vec<(String, f64)>,
    /// The learning rate of the user's AdamW.
    lr: Option<f64>,
    model: Model,
    loss: fn(&Tensor, &Tensor) -> Result<Tensor>,
}

impl Net {
    fn findings(mut self) -> Vec<Finding> {
        let preflight = Preflight::new(&self.vars, &self.inputs, &self.targets);
        let preflight = if self.is_causal { preflight.causal() } else { preflight };
        let preflight = preflight.with_stds(&self.stds);
        let preflight = match self.lr {
            Some(lr) => preflight
                .with_optimizer(move |vars| AdamW::new(vars, ParamsAdamW { lr, ..Default::default() })),
            None => preflight,
        };
        let bits = |vars: &[(String, Var)]| -> Vec<Vec<u32>> {
            vars.iter().map(|(_, var)| wick_tests::bits(&var.to_dtype(DType::F32).unwrap())).collect()
        };
        let before = bits(&self.vars);
        let findings = preflight.run(&mut self.model, self.loss).unwrap();
        assert_eq!(bits(&self.vars), before, "a preflight leaves every variable as it was");
        findings
    }
}

fn map(seed: u64) -> InitMap {
    let rules = [
        Rule::draw("**.weight [*]", Initializer::ones()).unwrap(),
        Rule::draw("**.bias", Initializer::zeros()).unwrap(),
    ];
    InitMap::new(seed).with_rules(rules).with_default_init(Initializer::lecun_normal())
}

fn stds(map: &InitMap) -> Vec<(String, f64)> {
    let tensors = map.manifest().unwrap().tensors;
    tensors.into_iter().filter_map(|tensor| Some((tensor.name, tensor.expected_std?))).collect()
}

fn classes(count: usize, of: u32) -> Tensor {
    Tensor::from_vec((0..count as u32).map(|i| (i * 7 + i / 5) % of).collect(), count, &CPU).unwrap()
}

/// Cross entropy over the last dimension, of logits of any rank.
fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let count = logits.dim(D::Minus1)?;
    candle_nn::loss::cross_entropy(&logits.reshape(((), count))?, &targets.flatten_all()?)
}

fn sum_of_cross_entropies(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    cross_entropy(logits, targets)? * targets.elem_count() as f64
}

/// A perceptron that classifies.
fn perceptron(bug: Bug) -> Net {
    let (map, batch) = (map(1), 40);
    let vb = map
        .var_builder(if matches!(bug, Bug::TinyHalf | Bug::Half) { DType::BF16 } else { DType::F32 }, &CPU);
    let (first, second, head) = (
        linear(12, 32, vb.pp("first")).unwrap(),
        linear(32, 32, vb.pp("second")).unwrap(),
        linear(32, 5, vb.pp("head")).unwrap(),
    );
    let norm = (bug == Bug::FusedNorm).then(|| layer_norm(32, 1e-5, vb.pp("norm")).unwrap());
    let vars = map.named_vars();
    let set = |name: &str, change: &dyn Fn(&Tensor) -> Result<Tensor>| {
        let (_, var) = vars.iter().find(|(other, _)| other == name).unwrap();
        var.set(&change(var).unwrap()).unwrap();
    };
    match bug {
        Bug::LargeHead => set("head.weight", &|w| w * 12.0),
        Bug::AllZero => vars.iter().for_each(|(_, var)| var.set(&var.zeros_like().unwrap()).unwrap()),
        Bug::CopiedRows => {
            set("second.weight", &|w| w.narrow(0, 0, 1)?.broadcast_as(w.shape())?.contiguous());
        }
        Bug::TinyHalf => set("head.weight", &|w| w * 3e-38),
        // The root of fan_in was forgotten, of 32 inputs.
        Bug::WrongFan => set("second.weight", &|w| w * 32f64.sqrt()),
        Bug::DeadUnits => {
            set("second.bias", &|b| Tensor::cat(&[(b.narrow(0, 0, 20)? - 20.0)?, b.narrow(0, 20, 12)?], 0));
        }
        _ => {}
    }
    let copy = (bug == Bug::Stale).then(|| second.weight().affine(1.0, 0.0).unwrap());
    let targets = classes(batch, 5);
    let inputs = normal(5, "inputs", (batch, 12), DType::F32);
    let answer = candle_nn::encoding::one_hot(targets.clone(), 5, 3f32, 0f32).unwrap();
    let model = move |xs: &Tensor| -> Result<Tensor> {
        let xs = xs.to_dtype(first.weight().dtype())?;
        let h = first.forward(&xs)?.relu()?;
        let h = match bug {
            Bug::Detach => h.detach(),
            Bug::BatchMean => h.broadcast_sub(&h.mean_keepdim(0)?)?,
            Bug::IgnoresInput => h.zeros_like()?,
            Bug::NotFinite => (h.log()? - 1.0)?,
            _ => h,
        };
        let h = match &norm {
            Some(norm) => norm.forward(&h)?,
            None => h,
        };
        let h = match &copy {
            Some(copy) => h.matmul(&copy.t()?)?,
            None => second.forward(&h)?,
        };
        let h = if bug == Bug::IgnoresInput {
            second.bias().unwrap().broadcast_as(h.shape())?.affine(1.0, 1.0)?
        } else {
            h
        };
        let logits = head.forward(&h.relu()?)?;
        match bug {
            Bug::Softmax => candle_nn::ops::softmax(&logits, D::Minus1),
            Bug::Answer => logits + answer.to_dtype(DType::F32)?,
            _ => logits.to_dtype(DType::F32),
        }
    };
    let loss = if bug == Bug::Sum { sum_of_cross_entropies } else { cross_entropy };
    // The same inputs with one class and another.
    let inputs = if bug == Bug::Relabelled {
        inputs.narrow(0, 0, 1).unwrap().repeat((batch, 1)).unwrap()
    } else {
        inputs
    };
    let lr = match bug {
        Bug::LargeRate => Some(3.0),
        Bug::SmallRate => Some(1e-8),
        _ => None,
    };
    Net { vars, inputs, targets, is_causal: false, stds: stds(&map), lr, model: Box::new(model), loss }
}

/// A perceptron with one output.
fn regression(bug: Bug) -> Net {
    let map = map(2);
    let vb = map.var_builder(DType::F32, &CPU);
    let (hidden, head) = (linear(6, 48, vb.pp("hidden")).unwrap(), linear(48, 1, vb.pp("head")).unwrap());
    let inputs = normal(3, "inputs", (50, 6), DType::F32);
    let targets = inputs.narrow(1, 0, 1).unwrap().sin().unwrap();
    let targets = if bug == Bug::Broadcasts { targets.squeeze(1).unwrap() } else { targets };
    let loss = |made: &Tensor, meant: &Tensor| made.broadcast_sub(meant)?.sqr()?.mean_all();
    let model = move |xs: &Tensor| head.forward(&hidden.forward(xs)?.tanh()?);
    Net {
        vars: map.named_vars(),
        inputs,
        targets,
        is_causal: false,
        stds: stds(&map),
        lr: None,
        model: Box::new(model),
        loss,
    }
}

/// A convolutional net on images.
fn convolutional() -> Net {
    let map = map(3);
    let vb = map.var_builder(DType::F32, &CPU);
    let config = candle_nn::Conv2dConfig { padding: 1, stride: 2, ..Default::default() };
    let (a, b) = (
        candle_nn::conv2d(1, 12, 3, config, vb.pp("conv1")).unwrap(),
        candle_nn::conv2d(12, 24, 3, config, vb.pp("conv2")).unwrap(),
    );
    let head = linear(24 * 4, 4, vb.pp("head")).unwrap();
    let inputs = normal(3, "images", (24, 64), DType::F32).reshape((24, 1, 8, 8)).unwrap();
    let model =
        move |xs: &Tensor| head.forward(&b.forward(&a.forward(xs)?.relu()?)?.relu()?.flatten_from(1)?);
    Net {
        vars: map.named_vars(),
        inputs,
        targets: classes(24, 4),
        is_causal: false,
        stds: stds(&map),
        lr: None,
        model: Box::new(model),
        loss: cross_entropy,
    }
}

/// A residual net.
fn residual() -> Net {
    let map = map(4);
    let vb = map.var_builder(DType::F32, &CPU);
    let stem = linear(10, 32, vb.pp("stem")).unwrap();
    let blocks: Vec<_> = (0..3)
        .map(|i| {
            let vb: VarBuilder = vb.pp(format!("block{i}"));
            (linear(32, 32, vb.pp("fc1")).unwrap(), linear(32, 32, vb.pp("fc2")).unwrap())
        })
        .collect();
    let head = linear(32, 3, vb.pp("head")).unwrap();
    let model = move |xs: &Tensor| {
        let stream = blocks
            .iter()
            .try_fold(stem.forward(xs)?, |x, (a, b)| &x + (b.forward(&a.forward(&x)?.gelu()?)? * 0.5)?)?;
        head.forward(&stream)
    };
    let inputs = normal(3, "inputs", (30, 10), DType::F32);
    Net {
        vars: map.named_vars(),
        inputs,
        targets: classes(30, 3),
        is_causal: false,
        stds: stds(&map),
        lr: None,
        model: Box::new(model),
        loss: cross_entropy,
    }
}

/// A causal attention over tokens, of operations that have a backward pass.
fn attention(bug: Bug) -> Net {
    let map = map(5);
    let vb = map.var_builder(DType::F32, &CPU);
    let (tokens, width, length, batch) = (11, 24, 6, 8);
    let table = embedding(tokens, width, vb.pp("tokens")).unwrap();
    let [q, k, v, o] = ["q", "k", "v", "o"].map(|name| linear_no_bias(width, width, vb.pp(name)).unwrap());
    let head = linear_no_bias(width, tokens, vb.pp("head")).unwrap();
    if bug == Bug::Untied {
        let [tokens, head] = ["tokens.weight", "head.weight"]
            .map(|name| map.named_vars().into_iter().find(|(other, _)| other == name).unwrap().1);
        head.set(&tokens).unwrap();
    }
    let mask: Vec<f32> =
        (0..length * length).map(|i| if i % length > i / length { f32::NEG_INFINITY } else { 0.0 }).collect();
    let mask = Tensor::from_vec(mask, (length, length), &CPU).unwrap();
    let ids: Vec<u32> = (0..(batch * length) as u32).map(|i| (i * i + 3 * i) % tokens as u32).collect();
    let inputs = Tensor::from_vec(ids, (batch, length), &CPU).unwrap();
    let model = move |ids: &Tensor| {
        let x = table.forward(ids)?;
        let x = if bug == Bug::Reshape {
            x.reshape((length, batch, width))?.transpose(0, 1)?.contiguous()?
        } else {
            x
        };
        let scores = (q.forward(&x)?.matmul(&k.forward(&x)?.t()?)? * (width as f64).powf(-0.5))?;
        let scores = if bug == Bug::NoMask { scores } else { scores.broadcast_add(&mask)? };
        let mixed = candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&v.forward(&x)?)?;
        head.forward(&(x + o.forward(&mixed)?)?)
    };
    let targets = Tensor::from_vec(
        (0..(batch * length) as u32).map(|i| (i * 5 + 1) % tokens as u32).collect(),
        (batch, length),
        &CPU,
    )
    .unwrap();
    Net {
        vars: map.named_vars(),
        inputs,
        targets,
        is_causal: true,
        stds: stds(&map),
        lr: None,
        model: Box::new(model),
        loss: cross_entropy,
    }
}

/// An autoencoder, whose targets are its inputs.
fn autoencoder() -> Net {
    let map = map(6);
    let vb = map.var_builder(DType::F32, &CPU);
    let (down, up) = (linear(16, 8, vb.pp("down")).unwrap(), linear(8, 16, vb.pp("up")).unwrap());
    let code = normal(3, "code", (40, 4), DType::F32);
    let inputs = code.matmul(&normal(3, "mix", (4, 16), DType::F32)).unwrap();
    let model = move |xs: &Tensor| up.forward(&down.forward(xs)?.tanh()?);
    let loss = |made: &Tensor, meant: &Tensor| candle_nn::loss::mse(made, meant);
    let targets = inputs.clone();
    Net {
        vars: map.named_vars(),
        inputs,
        targets,
        is_causal: false,
        stds: stds(&map),
        lr: None,
        model: Box::new(model),
        loss,
    }
}

/// Seven nets that learn, of which nothing is said.
#[test]
fn nothing_is_said_of_healthy_nets() {
    for (name, net) in [
        ("perceptron", perceptron(Bug::None)),
        ("regression", regression(Bug::None)),
        ("convolutional", convolutional()),
        ("residual", residual()),
        ("attention", attention(Bug::None)),
        ("autoencoder", autoencoder()),
        ("perceptron of bf16", perceptron(Bug::Half)),
    ] {
        let since = std::time::Instant::now();
        let findings = net.findings();
        println!("{name}: {:?} {findings:#?}", since.elapsed());
        assert!(findings.is_empty(), "{name}: {findings:#?}");
    }
}

#[test]
fn every_bug_is_named() {
    let mut missed = Vec::new();
    for (bug, check, words, net) in [
        (Bug::Softmax, Check::Loss, "probabilities", perceptron as fn(Bug) -> Net),
        (Bug::Sum, Check::Loss, "40 times the mean", perceptron),
        (Bug::Detach, Check::Reach, "first.weight", perceptron),
        (Bug::FusedNorm, Check::Reach, "LayerNorm", perceptron),
        (Bug::Stale, Check::Reach, "copies of second.weight", perceptron),
        (Bug::LargeHead, Check::Loss, "times smaller", perceptron),
        (Bug::Answer, Check::Loss, "has the answer", perceptron),
        (Bug::BatchMean, Check::Samples, "the last sample's", perceptron),
        (Bug::NoMask, Check::Future, "the mask", attention),
        (Bug::Reshape, Check::Samples, "reshape", attention),
        (Bug::IgnoresInput, Check::Input, "does not look", perceptron),
        (Bug::AllZero, Check::Layers, "", perceptron),
        (Bug::CopiedRows, Check::Layers, "copies", perceptron),
        (Bug::Relabelled, Check::Overfit, "by heart", perceptron),
        (Bug::Broadcasts, Check::Loss, "broadcasts", regression),
        (Bug::NotFinite, Check::Layers, "NaN or infinite", perceptron),
        (Bug::TinyHalf, Check::Precision, "BF16", perceptron),
        (Bug::WrongFan, Check::Bands, "second: ", perceptron),
        (Bug::DeadUnits, Check::Layers, "second: ", perceptron),
        (Bug::LargeRate, Check::Update, "too large", perceptron),
        (Bug::SmallRate, Check::Update, "too small", perceptron),
        (Bug::Untied, Check::Tied, "have the same numbers", attention),
    ] {
        let findings = net(bug).findings();
        let is_named = findings.iter().any(|finding| finding.check == check && finding.text.contains(words));
        println!("{bug:?}: {findings:#?}");
        if !is_named {
            missed.push(bug);
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}
