//! Of nets that are healthy, a trace says nothing, whatever their shapes.

use candle_core::{DType, Device, Module, Result, Tensor, Var};
use candle_nn::{RNN, VarBuilder, VarMap, linear};

use super::test_numbers::vars_of;
use super::*;
use crate::{BatchGeometry, judge};

const CPU: Device = Device::Cpu;

fn normal(shape: impl Into<candle_core::Shape>) -> Tensor {
    test_numbers::normal(0.5, shape)
}

/// Two towers over one input, and an LSTM over data: none of their layers is behind a cut. A head that is not used is
/// not reached, and cuts nothing.
#[test]
fn layers_that_take_the_data() -> Result<()> {
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &CPU);
    let tower = |name: &str, outputs: usize| -> Result<_> {
        Ok((linear(8, 32, vb.pp(format!("{name}.0")))?, linear(32, outputs, vb.pp(format!("{name}.1")))?))
    };
    let (actor, critic) = (tower("actor", 4)?, tower("critic", 1)?);
    let x = normal((6, 8));
    let both = || {
        let of = |(a, b): &(candle_nn::Linear, candle_nn::Linear)| {
            b.forward(&a.forward(&x)?.tanh()?)?.sqr()?.mean_all()
        };
        of(&actor)? + of(&critic)?
    };
    assert!(reach(&vars_of(&map), both)?.is_complete());

    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &CPU);
    let (lstm, head) =
        (candle_nn::lstm(8, 8, Default::default(), vb.pp("lstm"))?, linear(8, 2, vb.pp("head"))?);
    let series = normal((4, 5, 8));
    let last = || {
        let states = lstm.seq(&series)?;
        head.forward(states[4].h())?.sqr()?.mean_all()
    };
    let found = reach(&vars_of(&map), last)?;
    assert!(found.is_complete(), "{found}");

    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &CPU);
    let (a, b, _unused) =
        (linear(16, 32, vb.pp("fc0"))?, linear(32, 3, vb.pp("fc1"))?, linear(32, 7, vb.pp("aux"))?);
    let x = normal((6, 16));
    let found = reach(&vars_of(&map), || b.forward(&a.forward(&x)?.relu()?)?.sqr()?.mean_all())?;
    assert_eq!((found.unreached.len(), found.cuts.len()), (2, 0), "{found}");
    Ok(())
}

/// Layers of which no gradient is found, as norms and embeddings, are not taken for cut off.
#[test]
fn gradients_that_are_not_found_are_no_cut() -> Result<()> {
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &CPU);
    let table = candle_nn::embedding(30, 32, vb.pp("table"))?;
    let gains = vb.get_with_hints(32, "norm.weight", candle_nn::Init::Const(1.0))?;
    let (fc, head) = (linear(32, 32, vb.pp("fc"))?, linear(32, 4, vb.pp("head"))?);
    let ids = Tensor::from_vec((0..12u32).collect(), 12, &CPU)?;
    let mut trace = Trace::run(&vars_of(&map), || {
        let x = table.forward(&ids)?.broadcast_mul(&gains)?;
        head.forward(&fc.forward(&x)?.relu()?)?.sqr()?.mean_all()
    })?;
    trace.add_gradients(&trace.loss().backward()?, &[])?;
    assert!(trace.layers().iter().any(|layer| layer.gradient.is_some()));
    let verdicts = judge(&trace.layer_reports()?, &BatchGeometry::normal(12, 32, 1.0));
    assert!(verdicts.iter().all(|verdict| verdict.fault != crate::Fault::VanishingGradient), "{verdicts:?}");
    Ok(())
}

/// One output, a batch of one with two units, a head of zeros: linear layers as others.
#[test]
fn small_layers_are_linear() -> Result<()> {
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &CPU);
    let sizes = [(8, 16), (16, 2), (2, 5), (5, 1)];
    let layers: Vec<_> = sizes
        .iter()
        .enumerate()
        .map(|(i, (inputs, outputs))| linear(*inputs, *outputs, vb.pp(format!("fc{i}"))))
        .collect::<Result<_>>()?;
    for batch in [1, 6] {
        let x = normal((batch, 8));
        let net =
            || layers.iter().try_fold(x.clone(), |x, layer| layer.forward(&x)?.tanh())?.sqr()?.sum_all();
        let trace = Trace::run(&vars_of(&map), net)?;
        let found: Vec<(&str, Kind, usize)> = trace
            .layers()
            .iter()
            .map(|layer| (layer.name.as_str(), layer.kind, layer.parameters.len()))
            .collect();
        let expected = ["fc0", "fc1", "fc2", "fc3"].map(|name| (name, Kind::Linear, 2));
        assert_eq!(found, expected);
    }
    let head = Var::zeros((3, 16), DType::F32, &CPU)?;
    let x = normal((4, 16));
    let vars = [("head.weight".to_owned(), head.clone())];
    let trace = Trace::run(&vars, || x.matmul(&head.t()?)?.sum_all())?;
    assert_eq!(trace.layers()[0].kind, Kind::Linear);
    Ok(())
}

/// Least squares gives no gradient where the weight's has another part: a weight that is used twice or scaled, a
/// penalty; and slices of one weight are no error. Bands leave out weights that are scaled.
#[test]
fn least_squares_says_nothing_wrong() -> Result<()> {
    let w = Var::from_tensor(&normal((16, 16)))?;
    let qkv = Var::from_tensor(&normal((48, 16)))?;
    let x = normal((4, 16));
    let vars = [("qkv.weight".to_owned(), qkv.clone()), ("w".to_owned(), w.clone())];
    let product = |x: &Tensor, w: &Tensor| x.matmul(&w.t()?);
    type Loss<'l> = &'l dyn Fn() -> Result<Tensor>;
    let losses: [Loss; 4] = [
        &|| product(&(product(&x, &w)? * 1.5)?, &w)?.sqr()?.sum_all(),
        &|| product(&x, &(w.as_tensor() * 0.1)?)?.sqr()?.sum_all(),
        &|| product(&x, &w)?.sqr()?.sum_all()? + (w.sqr()?.sum_all()? * 0.5)?,
        &|| {
            let part = |i: usize| product(&x, &qkv.narrow(0, 16 * i, 16)?);
            ((part(0)? * part(1)?)? + part(2)?)?.sqr()?.sum_all()
        },
    ];
    for (index, loss) in losses.iter().enumerate() {
        let mut trace = Trace::run(&vars, loss)?;
        trace.add_gradients(&trace.loss().backward()?, &[&x])?;
        assert!(trace.layers().iter().all(|layer| layer.gradient.is_none()), "loss {index}");
    }
    let trace = Trace::run(&vars, losses[1])?;
    assert!(trace.bands(&[("w".to_owned(), 0.5)], &[&x])?.is_empty());
    Ok(())
}

/// A batch without samples has no layers that are told, and is no panic.
#[test]
fn an_empty_batch() -> Result<()> {
    let w = Var::from_tensor(&normal((4, 4)))?;
    let x = Tensor::zeros((0, 4), DType::F32, &CPU)?;
    let vars = [("w".to_owned(), w.clone())];
    let mut trace = Trace::run(&vars, || x.matmul(&w.t()?)?.tanh()?.matmul(&w.t()?)?.sum_all())?;
    trace.bands(&[("w".to_owned(), 0.5)], &[&x])?;
    trace.add_gradients(&trace.loss().backward()?, &[&x])?;
    Ok(())
}

/// Variables are what they were after a model that panics.
#[test]
fn variables_survive_a_panic() -> Result<()> {
    let w = Var::from_tensor(&normal((4, 4)))?;
    let before = w.flatten_all()?.to_vec1::<f32>()?;
    let vars = [("w".to_owned(), w.clone())];
    let mut calls = 0;
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        check_gradient(&vars, || {
            calls += 1;
            assert!(calls < 4, "a model's own panic");
            w.sqr()?.sum_all()
        })
    }));
    assert!(caught.is_err());
    assert_eq!(w.flatten_all()?.to_vec1::<f32>()?, before);
    Ok(())
}

/// Two towers over data that are as wide as a layer before: nothing is cut, for nothing is not reached, and the data
/// are none of the tensors before. A variable of two names is reached under both.
#[test]
fn data_as_wide_as_a_layer() -> Result<()> {
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &CPU);
    let (a, b, head) =
        (linear(16, 16, vb.pp("a"))?, linear(16, 16, vb.pp("b"))?, linear(32, 2, vb.pp("head"))?);
    let x = normal((6, 16));
    let net = || {
        let both = Tensor::cat(&[&a.forward(&x)?.tanh()?, &b.forward(&x)?.tanh()?], 1)?;
        head.forward(&both)?.sqr()?.mean_all()
    };
    let mut vars = vars_of(&map);
    assert!(reach(&vars, net)?.is_complete());
    vars.push(("alias".to_owned(), vars[0].1.clone()));
    assert!(reach(&vars, net)?.is_complete());
    assert!(check_gradient(&vars, net)?.is_whole());
    Ok(())
}

/// A layer that is dead as a whole has the activation of the others, and is the one that is named.
#[test]
fn a_dead_layer_has_its_activation() -> Result<()> {
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &CPU);
    let layers: Vec<_> = (0..4).map(|i| linear(16, 16, vb.pp(format!("fc{i}")))).collect::<Result<_>>()?;
    let vars = vars_of(&map);
    for (name, var) in &vars {
        if name == "fc1.bias" {
            var.set(&(var.as_tensor() - 40.0)?)?;
        }
    }
    let x = normal((32, 16));
    let trace =
        Trace::run(&vars, || layers.iter().try_fold(x.clone(), |x, l| l.forward(&x)?.relu())?.sum_all())?;
    let dead = &trace.layers()[1];
    assert_eq!(dead.activation.as_ref().map(|(phi, _)| *phi), Some(wick_theory::Activation::Relu));
    let verdicts = judge(&trace.layer_reports()?, &BatchGeometry::normal(32, 16, 0.5));
    assert_eq!(verdicts[0].layer, "fc1");
    Ok(())
}

#[test]
fn a_convolution_whose_outputs_are_as_wide_as_its_filters() -> Result<()> {
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &CPU);
    let strided = candle_nn::Conv2dConfig { stride: 2, ..Default::default() };
    let first = candle_nn::conv2d(2, 8, 3, Default::default(), vb.pp("first"))?;
    let second = candle_nn::conv2d(8, 8, 3, strided, vb.pp("second"))?;
    let single = candle_nn::conv2d(1, 1, 3, Default::default(), vb.pp("single"))?;
    let (xs, position) = (normal((5, 2, 10, 10)), Var::from_tensor(&normal((1, 8, 3, 3)))?);
    let mut vars = vars_of(&map);
    vars.push(("position".to_owned(), position.clone()));
    let trace = Trace::run(&vars, || {
        let ys = second.forward(&first.forward(&xs)?.relu()?)?.broadcast_add(&position)?;
        single.forward(&ys.mean_keepdim(1)?.pad_with_zeros(2, 1, 1)?.pad_with_zeros(3, 1, 1)?)?.sum_all()
    })?;
    let kinds: Vec<_> = trace.layers().iter().map(|layer| (layer.name.as_str(), layer.kind)).collect();
    let meant =
        [("first", Kind::Conv), ("second", Kind::Conv), ("position", Kind::Other), ("single", Kind::Conv)];
    assert_eq!(kinds, meant);
    Ok(())
}

/// A head that starts at zero is meant, and has a gradient where candle's graph has one; zeros before another layer
/// are a fault.
#[test]
fn a_head_of_zeros_is_meant() -> Result<()> {
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &CPU);
    let (a, b, head) =
        (linear(8, 32, vb.pp("a"))?, linear(32, 32, vb.pp("b"))?, linear(32, 5, vb.pp("head"))?);
    let vars = vars_of(&map);
    let zero = |name: &str| {
        let of_layer = vars.iter().filter(|(other, _)| other.starts_with(name));
        of_layer.map(|(_, var)| var.set(&var.zeros_like()?)).collect::<Result<Vec<_>>>()
    };
    let x = normal((20, 8));
    let classes = Tensor::from_vec((0..20u32).map(|i| i % 5).collect(), 20, &CPU)?;
    let forward = || {
        let h = b.forward(&a.forward(&x)?.gelu()?)?.gelu()?;
        candle_nn::loss::cross_entropy(&head.forward(&h)?, &classes)
    };
    let verdicts = || -> Result<Vec<crate::Verdict>> {
        let trace = Trace::run(&vars, forward)?;
        Ok(judge(&trace.layer_reports()?, &BatchGeometry::normal(20, 8, 1.0)))
    };
    zero("head")?;
    assert!(Trace::run(&vars, forward)?.layers()[2].activation.is_none());
    assert_eq!(verdicts()?, []);
    zero("b")?;
    assert!(verdicts()?.iter().any(|verdict| verdict.layer == "b"));
    Ok(())
}

/// NaN that is made between two layers is that of the layer before, as a tap would say; what a layer makes itself is its
/// own.
#[test]
fn nan_between_layers() -> Result<()> {
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &CPU);
    let layers: Vec<_> =
        ["a", "b", "c"].iter().map(|name| linear(8, 8, vb.pp(*name))).collect::<Result<_>>()?;
    let vars = vars_of(&map);
    let x = normal((20, 8));
    let first_bad = |at: usize| -> Result<String> {
        let trace = Trace::run(&vars, || {
            let mut x = x.clone();
            for (index, layer) in layers.iter().enumerate() {
                x = layer.forward(&x)?.tanh()?;
                x = if index == at { (x * f64::NAN)? } else { x };
            }
            x.sqr()?.mean_all()
        })?;
        let verdicts = judge(&trace.layer_reports()?, &BatchGeometry::normal(20, 8, 1.0));
        assert_eq!(verdicts[0].fault, crate::Fault::NonFinite);
        Ok(verdicts[0].layer.clone())
    };
    assert_eq!([first_bad(0)?, first_bad(1)?, first_bad(2)?], ["a", "b", "c"]);
    let (_, weight) = vars.iter().find(|(name, _)| name == "b.weight").expect("a weight");
    weight.set(&(weight.as_tensor() * f64::NAN)?)?;
    assert_eq!(first_bad(2)?, "b");
    Ok(())
}
