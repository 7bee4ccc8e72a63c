use candle_core::{DType, Device, Module, Result, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use wick_theory::Activation;

use super::test_numbers::vars_of;
use super::*;

const CPU: Device = Device::Cpu;

fn normal(shape: impl Into<candle_core::Shape>) -> Tensor {
    test_numbers::normal(0.3, shape)
}

fn named<const N: usize>(vars: [(&str, &Var); N]) -> Vec<(String, Var)> {
    vars.map(|(name, var)| (name.to_owned(), var.clone())).to_vec()
}

fn names(trace: &Trace) -> Vec<(&str, usize)> {
    trace.layers().iter().map(|layer| (layer.name.as_str(), layer.call)).collect()
}

fn same(a: &Tensor, b: &Tensor) -> bool {
    a.id() == b.id()
}

/// Layers of all kinds, each with its output, its kind and its units; weights that are cast, shifted, merged and
/// shared.
#[test]
fn layers_of_all_kinds() -> Result<()> {
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &CPU);
    let embedding = candle_nn::embedding(20, 12, vb.pp("embedding"))?;
    let conv = candle_nn::conv1d(12, 8, 3, Default::default(), vb.pp("filters"))?;
    let grouped = candle_nn::Conv1dConfig { groups: 4, ..Default::default() };
    let depthwise = candle_nn::conv1d_no_bias(8, 8, 3, grouped, vb.pp("depthwise"))?;
    let head = candle_nn::linear(8, 5, vb.pp("head"))?;
    let gain = vb.get_with_hints(5, "gain.weight", candle_nn::Init::Const(0.0))?;
    let ids = Tensor::from_vec((0..60u32).map(|i| i * 7 % 20).collect(), (4, 15), &CPU)?;
    let mut taps = Vec::new();
    let vars = vars_of(&map);
    let trace = Trace::run(&vars, || {
        let x = embedding.forward(&ids)?;
        taps.push(x.clone());
        let x = conv.forward(&x.transpose(1, 2)?.contiguous()?)?;
        taps.push(x.clone());
        let x = depthwise.forward(&x.gelu_erf()?)?;
        taps.push(x.clone());
        let x = head.forward(&x.relu()?.transpose(1, 2)?.contiguous()?)?;
        taps.push(x.clone());
        let x = x.broadcast_mul(&(&gain + 1.0)?)?;
        taps.push(x.clone());
        x.sqr()?.mean_all()
    })?;
    let expected = ["embedding", "filters", "depthwise", "head", "gain"].map(|name| (name, 0));
    assert_eq!(names(&trace), expected);
    for (layer, tap) in trace.layers().iter().zip(&taps) {
        assert!(same(&layer.output, tap), "{}", layer.name);
    }
    let kinds: Vec<Kind> = trace.layers().iter().map(|layer| layer.kind).collect();
    assert_eq!(kinds, [Kind::Embedding, Kind::Conv, Kind::Conv, Kind::Linear, Kind::Other]);
    let axes: Vec<Option<usize>> = trace.layers().iter().map(|layer| layer.axis).collect();
    assert_eq!(axes, [Some(2), Some(1), Some(1), Some(2), Some(2)]);
    let activations: Vec<Option<Activation>> =
        trace.layers().iter().map(|layer| layer.activation.as_ref().map(|(phi, _)| *phi)).collect();
    assert_eq!(activations, [None, Some(Activation::Gelu), Some(Activation::Relu), None, None]);
    assert!(trace.reach().is_complete(), "{}", trace.reach());
    Ok(())
}

/// What a first version missed: a bare weight used twice on one path, a weight that is cast, weight norm, LoRA merged
/// into the weight and beside it, weights that are first arguments.
#[test]
fn hard_cases() -> Result<()> {
    let x = normal((6, 4, 9, 9));
    let w = Var::from_tensor(&normal((4, 4, 3, 3)))?;
    let conv = |x: &Tensor| x.conv2d(&w, 1, 1, 1, 1);
    let trace = Trace::run(&named([("conv.weight", &w)]), || conv(&conv(&x)?.relu()?)?.sum_all())?;
    assert_eq!(names(&trace), [("conv", 0), ("conv", 1)]);

    let square = Var::from_tensor(&normal((7, 7)))?;
    let y = normal((5, 7));
    let vars = named([("w", &square)]);
    let trace = Trace::run(&vars, || y.matmul(&square)?.tanh()?.matmul(&square)?.sum_all())?;
    assert_eq!(names(&trace), [("w", 0), ("w", 1)]);

    let table = Var::from_tensor(&normal((9, 3)))?;
    let ids = Tensor::new(&[1u32, 4, 8], &CPU)?;
    let vars = named([("table.weight", &table)]);
    let trace = Trace::run(&vars, || {
        (table.index_select(&ids, 0)?.exp()? * table.index_select(&ids, 0)?)?.sum_all()
    })?;
    assert_eq!(names(&trace), [("table", 0), ("table", 1)]);

    let half = Var::from_tensor(&normal((3, 7)).to_dtype(DType::BF16)?)?;
    let vars = named([("fc.weight", &half)]);
    let trace = Trace::run(&vars, || y.matmul(&half.to_dtype(DType::F32)?.t()?)?.sum_all())?;
    assert_eq!((names(&trace), trace.layers()[0].output.dims()), (vec![("fc", 0)], &[5usize, 3][..]));

    let (v, g) = (Var::from_tensor(&normal((3, 7)))?, Var::from_tensor(&normal((3, 1)))?);
    let vars = named([("fc.weight_g", &g), ("fc.weight_v", &v)]);
    let trace = Trace::run(&vars, || {
        let norm = v.sqr()?.sum_keepdim(1)?.sqrt()?;
        let weight = v.broadcast_mul(&g.div(&norm)?)?;
        y.matmul(&weight.t()?)?.sum_all()
    })?;
    assert_eq!((names(&trace), trace.layers()[0].output.dims()), (vec![("fc", 0)], &[5usize, 3][..]));

    for b in [normal((3, 2)), Tensor::zeros((3, 2), DType::F32, &CPU)?] {
        let (w, b) = (Var::from_tensor(&normal((3, 7)))?, Var::from_tensor(&b)?);
        let a = Var::from_tensor(&normal((2, 7)))?;
        let vars = named([("fc.lora_a.weight", &a), ("fc.lora_b.weight", &b), ("fc.weight", &w)]);
        let merged = || (w.as_tensor() + (b.matmul(&a)? * 2.0)?)?.t();
        let trace = Trace::run(&vars, || y.matmul(&merged()?)?.sum_all())?;
        assert_eq!((names(&trace), trace.layers()[0].output.dims()), (vec![("fc", 0)], &[5usize, 3][..]));
        let trace = Trace::run(&vars, || {
            let beside = y.matmul(&a.t()?)?.matmul(&b.t()?)?;
            (y.matmul(&w.t()?)? + beside)?.sum_all()
        })?;
        let expected = [("fc.lora_a", 0), ("fc.lora_b", 0), ("fc", 0)];
        assert_eq!(names(&trace), expected);
    }

    let (token, w) = (Var::from_tensor(&normal((1, 7)))?, Var::from_tensor(&normal((7, 7)))?);
    let vars = named([("fc.weight", &w), ("token", &token)]);
    let trace = Trace::run(&vars, || {
        let tokens = Tensor::cat(&[token.as_tensor(), &y.matmul(&w.t()?)?], 0)?;
        tokens.sqr()?.sum_all()
    })?;
    assert_eq!(names(&trace), [("fc", 0), ("token", 0)]);
    assert_eq!(trace.layers()[1].output.dims(), [6, 7]);
    Ok(())
}

/// A layer of zeros is a layer, and so is what comes behind it.
#[test]
fn zeros_are_layers() -> Result<()> {
    let (x, w) = (normal((1, 7)), Var::zeros((7, 7), DType::F32, &CPU)?);
    let (b, v) = (Var::zeros(7, DType::F32, &CPU)?, Var::from_tensor(&normal((7, 7)))?);
    let vars = named([("a.weight", &v), ("b.weight", &w), ("b.bias", &b)]);
    let trace = Trace::run(&vars, || {
        x.matmul(&v.t()?)?.tanh()?.matmul(&w.t()?)?.broadcast_add(&b)?.sqr()?.sum_all()
    })?;
    assert_eq!(names(&trace), [("a", 0), ("b", 0)]);
    assert_eq!(trace.layers()[1].parameters, ["b.weight", "b.bias"]);
    Ok(())
}

/// Query, key and value of one matrix are three layers, each with its input.
#[test]
fn slices_of_one_matrix() -> Result<()> {
    let w = Var::from_tensor(&normal((12, 4)))?;
    let u = Var::from_tensor(&normal((4, 4)))?;
    let x = normal((3, 4));
    let vars = named([("first.weight", &u), ("qkv.weight", &w)]);
    let mut hidden = None;
    let trace = Trace::run(&vars, || {
        let h = x.matmul(&u.t()?)?;
        hidden = Some(h.clone());
        let part = |index: usize| h.matmul(&w.narrow(0, 4 * index, 4)?.t()?);
        (part(0)? * (part(1)? + part(2)?.tanh()?)?)?.sum_all()
    })?;
    assert_eq!(names(&trace), [("first", 0), ("qkv[0]", 0), ("qkv[4]", 0), ("qkv[8]", 0)]);
    assert_eq!(trace.layers()[3].activation.as_ref().map(|(phi, _)| *phi), Some(Activation::Tanh));
    for layer in &trace.layers()[1..] {
        assert!(trace.input(layer)?.is_some_and(|input| Some(input.id()) == hidden.as_ref().map(Tensor::id)));
    }
    assert!(trace.input(&trace.layers()[0])?.is_none());
    Ok(())
}

/// What taps behind each layer say, the trace says to the bit, and so does the verdict.
#[test]
fn a_trace_says_what_taps_say() -> Result<()> {
    for (seed, scale) in [(0, 0.3), (1, 5.0), (2, 0.001)] {
        let map = VarMap::new();
        let vb = VarBuilder::from_varmap(&map, DType::F32, &CPU);
        let layers: Vec<_> =
            (0..4).map(|i| candle_nn::linear(16, 16, vb.pp(format!("fc{i}")))).collect::<Result<_>>()?;
        let vars = vars_of(&map);
        for (_, var) in &vars {
            var.set(&(var.as_tensor() * scale)?)?;
        }
        let x = (normal((32, 16)) + f64::from(seed))?;
        let probe = crate::Probe::new().with_units();
        let mut tapped = x.clone();
        for (i, layer) in layers.iter().enumerate() {
            let z = layer.forward(&tapped)?;
            tapped = probe.tap_activation(&format!("fc{i}"), Activation::Tanh, &z, &z.tanh()?)?;
        }
        let trace =
            Trace::run(&vars, || layers.iter().try_fold(x.clone(), |x, l| l.forward(&x)?.tanh())?.sum_all())?;
        let (expected, found) = (probe.layer_reports(), trace.layer_reports()?);
        assert_eq!(found, expected);
        let input = crate::BatchGeometry::normal(32, 16, 1.0);
        assert_eq!(crate::judge(&found, &input), crate::judge(&expected, &input));
    }
    Ok(())
}

/// Parameters behind a cut are named, and the layer behind it; a gradient beside a residual stream is not whole.
#[test]
fn cuts_and_partial_gradients() -> Result<()> {
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &CPU);
    let first = candle_nn::linear(8, 8, vb.pp("first"))?;
    let norm = candle_nn::layer_norm(8, 1e-5, vb.pp("norm"))?;
    let inner = candle_nn::linear(8, 8, vb.pp("inner"))?;
    let vars = vars_of(&map);
    let x = normal((6, 8));
    let residual = || {
        let h = first.forward(&x)?;
        (&h + inner.forward(&norm.forward(&h)?)?)?.sqr()?.mean_all()
    };
    let found = reach(&vars, residual)?;
    assert_eq!(found.unreached, ["norm.bias", "norm.weight"]);
    let cut = Cut { at: "inner".into(), is_within: false, by: Some("candle-nn's LayerNorm") };
    assert_eq!(found.cuts, [cut]);
    // A branch of which the input is cut: the first layer gets the part of the gradient that goes round it.
    let partial = || {
        let h = first.forward(&x)?;
        (&h + inner.forward(&h.detach())?.sqr()?)?.sum_all()
    };
    let found = reach(&vars[..4], partial)?;
    assert_eq!((found.unreached.len(), found.cuts.len()), (0, 1), "{found}");
    assert!(!check_gradient(&vars, partial)?.is_whole());

    let plain = || (first.forward(&x)?.tanh()? + inner.forward(&x)?)?.sqr()?.mean_all();
    let before: Vec<Vec<f32>> =
        vars.iter().map(|(_, var)| var.flatten_all()?.to_vec1()).collect::<Result<_>>()?;
    assert!(check_gradient(&vars, plain)?.is_whole());
    let after: Vec<Vec<f32>> =
        vars.iter().map(|(_, var)| var.flatten_all()?.to_vec1()).collect::<Result<_>>()?;
    assert_eq!(before, after);
    Ok(())
}

/// Copies that a model makes when it is built are named, with a mark alone; weights that are used beside their copy
/// are not.
#[test]
fn stale_copies() -> Result<()> {
    let [a, b, c] = [(3, 4), (3, 4), (3, 4)].map(|shape| Var::from_tensor(&normal(shape)).expect("memory"));
    let folded = (a.as_tensor() * 2.0)?;
    let beside = (b.as_tensor() * 2.0)?;
    let x = normal((5, 4));
    let vars = named([("a.weight", &a), ("b.weight", &b), ("c.weight", &c)]);
    let forward = || {
        let h = (x.matmul(&folded.t()?)? + x.matmul(&beside.t()?)?)?;
        ((h + x.matmul(&b.t()?)?)? + x.matmul(&c.t()?)?)?.sqr()?.sum_all()
    };
    let trace = Trace::run(&vars, forward)?;
    assert_eq!(trace.reach().stale, ["a.weight"]);
    assert!(trace.layers().iter().any(|layer| layer.name == "a" && layer.is_stale));
    let unmarked = Trace::of(None, &forward()?, &vars)?;
    assert!(unmarked.reach().stale.is_empty() && !unmarked.reach().is_marked);
    Ok(())
}

/// Gradients by least squares are those of taps, up to rounding, behind each activation; of too many rows there are
/// none.
#[test]
fn gradients_by_least_squares() -> Result<()> {
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &CPU);
    let layers: Vec<_> =
        (0..4).map(|i| candle_nn::linear(64, 64, vb.pp(format!("fc{i}")))).collect::<Result<_>>()?;
    let vars = vars_of(&map);
    for rows in [1, 8, 32, 33] {
        let x = normal((rows, 64));
        let probe = crate::Probe::new();
        let net = |probe: Option<&crate::Probe>| {
            layers.iter().enumerate().try_fold(x.clone(), |x, (i, layer)| {
                let z = layer.forward(&x)?;
                let h = z.gelu_erf()?;
                probe.map_or(Ok(h.clone()), |probe| probe.tap(&format!("fc{i}"), &h))
            })
        };
        net(Some(&probe))?.sqr()?.sum_all()?.backward()?;
        let mut trace = Trace::run(&vars, || net(None)?.sqr()?.sum_all())?;
        trace.add_gradients(&trace.loss().backward()?, &[&x])?;
        for (layer, record) in trace.layers()[..3].iter().zip(probe.records()) {
            let expected = record.backward.map(|gradient| gradient.rms).unwrap_or(0.0);
            let found = layer.gradient.as_ref().map(|(_, gradient)| crate::summarize(gradient, None, 1));
            let Some(found) = found.filter(|_| rows <= 32) else {
                assert!(rows > 32 && layer.gradient.is_none());
                continue;
            };
            assert!((found?.rms / expected - 1.0).abs() < 1e-6, "{rows}: {}", layer.name);
            assert!(layer.gradient_error.is_some_and(|error| error < 1e-6), "{rows}: {}", layer.name);
        }
    }
    Ok(())
}
