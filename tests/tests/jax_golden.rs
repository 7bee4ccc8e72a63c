//! JAX's keys and Flax's defaults: the same numbers as JAX itself draws. `assets/reference/jax_init.py` made the
//! values.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use std::collections::HashMap;

use candle_core::{DType, Tensor};
use candle_nn::{Conv1dConfig, Conv2dConfig, VarBuilder};
use wick_init::jax::JaxKey;
use wick_init::{InitMap, Initializer, WeightLayout, presets};
use wick_tests::CPU;

fn golden() -> HashMap<String, Tensor> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/reference/jax_init.safetensors");
    candle_core::safetensors::load(path, &CPU).unwrap()
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn whole(tensor: &Tensor) -> Vec<i64> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn hash(values: &[f32]) -> i64 {
    let step = |hash: u64, x: &f32| (hash ^ u64::from(x.to_bits())).wrapping_mul(0x100_0000_01b3);
    values.iter().fold(0xcbf2_9ce4_8422_2325, step) as i64
}

/// The number of floats between two, which are 0 for the same one.
fn ulps(a: f32, b: f32) -> u32 {
    let place = |x: f32| {
        let bits = x.to_bits() as i32;
        if bits < 0 { i32::MIN.wrapping_sub(bits) } else { bits }
    };
    place(a).abs_diff(place(b))
}

fn most_ulps(a: &[f32], b: &[f32]) -> u32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| ulps(*a, *b)).max().unwrap_or(0)
}

/// A weight of JAX's, `[kernel…, in, out]`, with the axes as candle has them.
fn as_in_candle(weight: &Tensor) -> Tensor {
    let rank = weight.rank();
    let axes: Vec<usize> = [rank - 1, rank - 2].into_iter().chain(0..rank - 2).collect();
    weight.permute(axes).unwrap()
}

/// The words of a key as the file has them.
fn words(key: JaxKey) -> [i64; 2] {
    key.words().map(i64::from)
}

#[test]
fn keys_and_bits_to_the_bit() {
    let mut cases = 0;
    for (name, expected) in golden() {
        let parts: Vec<&str> = name.split('/').collect();
        let number = |part: usize| parts[part].parse::<u64>().unwrap();
        let got: Vec<i64> = match parts[0] {
            "keys" => words(JaxKey::new(number(1))).to_vec(),
            "keys_x64" => words(JaxKey::new_x64(number(1))).to_vec(),
            "split" => JaxKey::new(number(1)).split(number(2) as usize).into_iter().flat_map(words).collect(),
            "fold_in" => words(JaxKey::new(number(1)).fold_in(number(2) as u32)).to_vec(),
            "bits" => JaxKey::new(number(1)).bits(1000).into_iter().map(i64::from).collect(),
            _ => continue,
        };
        assert_eq!(got, whole(&expected), "{name}");
        cases += 1;
    }
    assert_eq!(cases, 26);
    // The twins: a neighbour of the seed, and the order of the bits before JAX 0.5, two words a block.
    let bits = whole(&golden()["bits/7"]);
    assert!(JaxKey::new(8).bits(1000).iter().zip(&bits).all(|(got, bits)| i64::from(*got) != *bits));
    let first = JaxKey::new(7).fold_in(500).words()[0];
    assert_ne!(i64::from(first), bits[0]);
}

/// Every draw on the CPU, in `f32`: uniforms and normals to the bit, and so the initializers that are products of
/// these; orthogonal weights to 2e-6 of a gain of 1.5.
#[test]
fn every_draw() {
    let golden = golden();
    let (mut cases, mut exact, mut wrong) = (0, 0, Vec::new());
    for (name, expected) in &golden {
        let parts: Vec<&str> = name.split('/').collect();
        let ["draw", seed, spec, shape] = parts[..] else { continue };
        if shape.ends_with('#') {
            continue;
        }
        let shape: Vec<usize> = shape.split('x').map(|n| n.parse().unwrap()).collect();
        let scheme: Initializer = spec.parse().unwrap();
        let key = JaxKey::new(seed.parse().unwrap());
        let drawn = if spec.starts_with("jax.delta_orthogonal") {
            let plain = as_in_candle(&Tensor::zeros(shape, DType::F32, &CPU).unwrap());
            scheme.tensor(key, plain.dims(), DType::F32, &CPU).unwrap()
        } else {
            scheme.tensor_with_layout(key, shape.as_slice(), WeightLayout::InOut, DType::F32, &CPU).unwrap()
        };
        let mut got = floats(&drawn);
        cases += 1;
        if let Some(hashed) = golden.get(&format!("{name}#")) {
            if whole(hashed) != [hash(&got)] {
                wrong.push(format!("{name}: the hash differs"));
            }
            got = [&got[..64], &got[got.len() - 64..]].concat();
        }
        if spec.contains("orthogonal") {
            let expected = if spec.starts_with("jax") { as_in_candle(expected) } else { expected.clone() };
            let far = got.iter().zip(floats(&expected)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            if far > 2e-6 {
                wrong.push(format!("{name}: {far}"));
            }
            continue;
        }
        let most = most_ulps(&got, &floats(expected));
        exact += usize::from(most == 0);
        if most > 0 {
            wrong.push(format!("{name}: {most} ulp"));
        }
    }
    wrong.sort();
    println!("{exact} of {cases} draws to the bit");
    assert!(wrong.is_empty(), "{} of {cases}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cases >= 120, "{cases}");
}

/// A weight `[out, in, kernel…]` has the numbers of JAX's, with the axes moved. The twin is the weight filled in
/// candle's order.
#[test]
fn weights_of_candles_layout_have_jaxs_numbers() {
    let shape = [8, 4, 3, 5];
    for spec in ["jax.lecun_normal", "normal:std=0.1", "orthogonal", "uniform:low=-1,high=2"] {
        let scheme: Initializer = spec.parse().unwrap();
        let key = JaxKey::new(3);
        let drawn = scheme.tensor(key, &shape, DType::F32, &CPU).unwrap();
        let jax = [3, 5, 4, 8];
        let in_out = scheme.tensor_with_layout(key, &jax, WeightLayout::InOut, DType::F32, &CPU).unwrap();
        assert_eq!(floats(&drawn), floats(&as_in_candle(&in_out)), "{spec}");
        assert_ne!(floats(&drawn), floats(&in_out), "{spec}");
    }
}

/// `f64`, `bf16` and `f16` are the numbers of `f32`, converted.
#[test]
fn other_types_are_f32_converted() {
    let scheme = Initializer::normal(0.1);
    let drawn = |dtype| scheme.tensor(JaxKey::new(1), (30, 20), dtype, &CPU).unwrap();
    for dtype in [DType::F64, DType::BF16, DType::F16] {
        let converted = drawn(DType::F32).to_dtype(dtype).unwrap().to_dtype(DType::F32).unwrap();
        assert_eq!(floats(&drawn(dtype).to_dtype(DType::F32).unwrap()), floats(&converted));
    }
}

/// The layers of the Flax model in `jax_init.py`, by candle's layers, in another order.
fn net(vb: &VarBuilder) {
    candle_nn::linear(5, 3, vb.pp("Dense_1")).unwrap();
    candle_nn::linear(8, 3, vb.pp("Dense_0")).unwrap();
    candle_nn::embedding(11, 8, vb.pp("Embed_0")).unwrap();
    candle_nn::conv2d(3, 6, 3, Conv2dConfig::default(), vb.pp("Conv_0")).unwrap();
    candle_nn::conv1d(4, 5, 1, Conv1dConfig::default(), vb.pp("Conv_2")).unwrap();
    vb.pp("Conv_1").get((4, 3, 3, 5), "weight").unwrap();
    vb.pp("Conv_1").get(4, "bias").unwrap();
    for layer in 0..2 {
        let vb = vb.pp(format!("layers_{layer}"));
        candle_nn::linear_no_bias(20, 8, vb.pp("down")).unwrap();
        candle_nn::linear(8, 20, vb.pp("up")).unwrap();
        candle_nn::layer_norm(8, 1e-6, vb.pp("LayerNorm_0")).unwrap();
        for part in ["query", "key", "value", "out"] {
            candle_nn::linear(8, 8, vb.pp("MultiHeadDotProductAttention_0").pp(part)).unwrap();
        }
    }
}

/// A port of a Flax model to candle starts with the weights of `model.init(jax.random.key(seed), …)`, to 2 ulp. The
/// twins are another seed, and names of candle's own.
#[test]
fn a_port_starts_with_flaxs_weights() {
    let golden = golden();
    let map = |seed: u64| InitMap::new(1).with_jax_rng(seed).with_rules(presets::flax_defaults().unwrap());
    let (mut cases, mut exact, mut most) = (0, 0, 0);
    for seed in [0, 2024] {
        let (ported, other) = (map(seed), map(seed + 1));
        for map in [&ported, &other] {
            net(&map.var_builder(DType::F32, &CPU).pp("params"));
        }
        let vars: HashMap<_, _> = ported.named_vars().into_iter().collect();
        let others: HashMap<_, _> = other.named_vars().into_iter().collect();
        for (name, expected) in &golden {
            let Some(parameter) = name.strip_prefix(&format!("flax/net/{seed}/")) else { continue };
            let (layer, part) = parameter.rsplit_once('.').unwrap();
            if layer.starts_with("BatchNorm") {
                continue;
            }
            let part = if part == "bias" { part } else { "weight" };
            let name = format!("params.{layer}.{part}");
            let expected = match (part, expected.dims()) {
                // The heads of attention are part of the outputs, or of the inputs.
                ("weight", [8, 2, 4]) => as_in_candle(&expected.reshape((8, 8)).unwrap()),
                ("weight", [2, 4, 8]) => as_in_candle(&expected.reshape((8, 8)).unwrap()),
                ("weight", [_, _, ..]) if !layer.starts_with("Embed") => as_in_candle(expected),
                _ => expected.clone(),
            };
            let expected = floats(&expected);
            let far = most_ulps(&floats(&vars[&name]), &expected);
            (cases, exact, most) = (cases + 1, exact + usize::from(far == 0), most.max(far));
            assert!(far <= 2, "{name}: {far} ulp");
            let drawn = part == "weight" && !layer.contains("Norm");
            assert!(!drawn || most_ulps(&floats(&others[&name]), &expected) > 2, "{name}");
        }
    }
    println!("{exact} of {cases} parameters to the bit, the others within {most} ulp");
    assert_eq!(cases, 2 * (2 * 13 + 11));

    let dense = |name: &str| {
        let map = map(2024);
        candle_nn::linear(20, 30, map.var_builder(DType::F32, &CPU).pp(name)).unwrap();
        floats(&map.vars()[1])
    };
    let expected = floats(&as_in_candle(&golden["flax/dense/2024/kernel"]));
    assert_eq!(most_ulps(&dense(""), &expected), 0);
    assert!(most_ulps(&dense("fc"), &expected) > 2);
}

/// The kernels of `nnx` have keys by their order.
#[test]
fn kernels_of_nnx() {
    let golden = golden();
    for (place, shape) in [(0, (4, 6)), (2, (3, 4))] {
        let key = JaxKey::new(5).fold_in(place);
        let kernel = wick_init::jax::lecun_normal().tensor(key, shape, DType::F32, &CPU).unwrap();
        let expected = as_in_candle(&golden[&format!("nnx/5/{place}")]);
        assert_eq!(floats(&kernel), floats(&expected), "{place}");
        assert_ne!(floats(&kernel), floats(&golden[&format!("nnx/5/{place}")]));
    }
}

/// A tensor that Flax has no number for is named, and a constant needs none.
#[test]
fn a_name_without_a_key_is_an_error() {
    let map = InitMap::new(1).with_jax_rng(0).with_default_init(Initializer::lecun_normal());
    let vb = map.var_builder(DType::F32, &CPU);
    let error = vb.get((3, 4), "attn.table").unwrap_err().to_string();
    assert!(error.contains("the jax stream has no key for 'attn.table'"), "{error}");
    assert_eq!(floats(&vb.get(3, "attn.shift").unwrap()), [0.0; 3]);
    assert_eq!(map.manifest().unwrap().stream, "jax, seed 0");
}
