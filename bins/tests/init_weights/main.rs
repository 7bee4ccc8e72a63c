//! init-weights: what it writes, what it says, and what it refuses.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod files;
mod presets;
mod refusals;
mod shards;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};
use serde_json::Value;
use support::command;
use wick_init::presets::needs_layers;

fn run(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let mut command = command("init-weights", &[]);
    command.args(arguments).current_dir(folder).assert().success().get_output().stdout.clone()
}

fn fails(folder: &Path, arguments: &[&str], code: i32, part: &str) {
    let mut command = command("init-weights", &[]);
    let output = command.args(arguments).current_dir(folder).assert().failure().get_output().clone();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(code), 1), "{arguments:?}: {stderr}");
    assert!(stderr.contains(part), "{part} is not in: {stderr}");
    assert!(output.stdout.is_empty());
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|x| x.to_bits()).collect()
}

const RULES: &str = r#"
strict = true
[[rule]]
pattern = "**.weight_hr_l0"
init = "torch.linear"
[[rule]]
pattern = "lstm*.*"
init = "recurrent:gates=4"
[[rule]]
pattern = "gru.*"
init = "recurrent:gates=3"
[[rule]]
pattern = "rnn.*"
init = "recurrent"
[[rule]]
pattern = "embedding.weight"
init = "normal:std=1"
[[rule]]
pattern = "**.bias"
init = "torch.bias"
[[rule]]
pattern = "**.weight"
init = "torch.linear"
"#;

/// Layer after layer what `torch.manual_seed(2024)` and the layers' constructors draw
/// (`assets/reference/torch_init.py`).
#[test]
fn with_the_torch_stream_the_file_is_what_pytorch_draws() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rules.toml"), RULES).unwrap();
    let mut shapes: Vec<String> = [
        "linear.weight=30x20",
        "linear.bias=30",
        "conv.weight=6x2x3x3",
        "conv.bias=6",
        "embedding.weight=11x5",
    ]
    .map(str::to_owned)
    .to_vec();
    for (layer, gates) in [("lstm", 20), ("gru", 15), ("rnn", 5)] {
        shapes.extend([
            format!("{layer}.weight_ih_l0={gates}x6"),
            format!("{layer}.weight_hh_l0={gates}x5"),
            format!("{layer}.bias_ih_l0={gates}"),
            format!("{layer}.bias_hh_l0={gates}"),
        ]);
    }
    shapes.extend(["head.weight=3x5", "head.bias=3"].map(str::to_owned));
    let projection =
        ["weight_ih_l0=20x6", "weight_hh_l0=20x2", "bias_ih_l0=20", "bias_hh_l0=20", "weight_hr_l0=2x5"];
    shapes.extend(projection.map(|part| format!("lstm_with_projection.{part}")));
    let mut arguments = vec!["--stream", "torch", "--seed", "2024"];
    arguments.extend(shapes.iter().flat_map(|shape| ["--shape", shape.as_str()]));
    // The file is drawn by our rules, and by the preset.
    run(folder.path(), &[&arguments[..], &["--rules", "rules.toml", "--out", "w.safetensors"]].concat());
    run(folder.path(), &[&arguments[..], &["--preset", "torch", "--out", "p.safetensors"]].concat());
    let bytes = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert_eq!(bytes("w.safetensors"), bytes("p.safetensors"));

    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/reference/torch_init.safetensors");
    let golden = candle_core::safetensors::load(golden, &Device::Cpu).unwrap();
    let drawn = candle_core::safetensors::load(folder.path().join("w.safetensors"), &Device::Cpu).unwrap();
    assert_eq!(drawn.len(), shapes.len());
    for (name, tensor) in drawn {
        assert_eq!(bits(&tensor), bits(&golden[&format!("layers/{name}")]), "{name}");
    }
}

/// What `nn.Dense(30).init(jax.random.key(2024), …)` of Flax draws (`assets/reference/jax_init.py`), in JAX's layout;
/// the order of the tensors and of a file changes nothing.
#[test]
fn with_the_jax_stream_the_file_is_what_flax_draws() {
    let folder = tempfile::tempdir().unwrap();
    let draw = |more: &[&str]| {
        let flax = ["--preset", "flax", "--stream", "jax", "--seed", "2024", "--out", "w.safetensors"];
        run(folder.path(), &[more, &flax].concat());
        candle_core::safetensors::load(folder.path().join("w.safetensors"), &Device::Cpu).unwrap()
    };
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/reference/jax_init.safetensors");
    let golden = candle_core::safetensors::load(golden, &Device::Cpu).unwrap();
    let first = draw(&["--shape", "kernel=20x30", "--shape", "bias=30"]);
    for drawn in
        [first, draw(&["--shape", "bias=30", "--shape", "kernel=20x30"]), draw(&["--like", "w.safetensors"])]
    {
        for (name, tensor) in drawn {
            assert_eq!(bits(&tensor), bits(&golden[&format!("flax/dense/2024/{name}")]), "{name}");
        }
    }
}

#[test]
fn like_another_file_and_the_same_bytes_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    run(
        folder.path(),
        &[
            "--shape",
            "h.0.mlp.c_proj.weight=64x32",
            "--shape",
            "h.0.ln_1.weight=32",
            "--preset",
            "gpt2",
            "--layers",
            "12",
            "--out",
            "a.safetensors",
        ],
    );
    let like = ["--like", "a.safetensors", "--preset", "gpt2", "--layers", "12", "--out", "b.safetensors"];
    let manifest = run(folder.path(), &[&like[..], &["--format", "json"]].concat());
    assert_eq!(fs::read(path("a.safetensors")).unwrap(), fs::read(path("b.safetensors")).unwrap());

    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["stream"], "keyed_v1, seed 42");
    let projection = &manifest["tensors"][1];
    assert_eq!(projection["name"], "h.0.mlp.c_proj.weight");
    assert_eq!(projection["shape"], serde_json::json!([64, 32]));
    assert_eq!(projection["rule"], "**.c_proj.weight");
    let meant = projection["expected_std"].as_f64().unwrap();
    assert!((meant - 0.02 / 24f64.sqrt()).abs() < 1e-15);
    // n = 2048: 1/√(2n) = 1.6 % at one sigma.
    assert!((projection["std"].as_f64().unwrap() / meant - 1.0).abs() < 0.065);
    assert_eq!(manifest["tensors"][0]["init"], "ones");
    run(folder.path(), &[&like[..], &["--seed", "1"]].concat());
    assert_ne!(fs::read(path("a.safetensors")).unwrap(), fs::read(path("b.safetensors")).unwrap());
}

/// A file has its tensors in the order of their names, so that a bias comes before its weight.
#[test]
fn like_a_file_by_pytorchs_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let shapes = ["--shape", "fc.weight=50x100", "--shape", "fc.bias=50"];
    run(folder.path(), &[&shapes[..], &["--preset", "torch", "--out", "a.safetensors"]].concat());
    run(folder.path(), &["--like", "a.safetensors", "--preset", "torch", "--out", "b.safetensors"]);
    let bytes = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert_eq!(bytes("a.safetensors"), bytes("b.safetensors"));
    let bias = &candle_core::safetensors::load(folder.path().join("b.safetensors"), &Device::Cpu).unwrap()["fc.bias"];
    let largest = bias.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    assert!(largest <= 0.1 && largest > 0.08, "{largest}: U(±1/√100)");
    fails(
        folder.path(),
        &["--like", "a.safetensors", "--preset", "torch", "--stream", "torch"],
        2,
        "which a safetensors file does not keep",
    );
}

#[test]
fn an_unmatched_rule_gives_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("r.toml"),
        "[[rule]]\npattern = \"**\"\ninit = \"ones\"\n[[rule]]\npattern = \"typo\"\ninit = \"ones\"\n",
    )
    .unwrap();
    let mut command = command("init-weights", &[]);
    let assert =
        command.args(["--shape", "w=2x2", "--rules", "r.toml"]).current_dir(folder.path()).assert().success();
    let stderr = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert_eq!(stderr, "warning: no tensor met the rule 'typo' first\n");
}

#[test]
fn every_format_has_every_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--shape", "a.weight=3x4", "--shape", "a.bias=3", "--preset", "torch"];
    let csv = run(folder.path(), &[&arguments[..], &["--format", "csv"]].concat());
    assert_eq!(csv::Reader::from_reader(&csv[..]).records().count(), 2);
    let table = String::from_utf8(run(folder.path(), &arguments)).unwrap();
    assert!(table.contains("a.weight") && table.contains("2 tensors, 15 numbers"), "{table}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no --out, no file");
}

/// The tensors of a file keep their types, or all get one. A tensor that is no weight is left out with a
/// warning.
#[test]
fn like_a_file_of_many_types() {
    use candle_core::DType;
    let folder = tempfile::tempdir().unwrap();
    let ones = |dtype| Tensor::ones((4, 4), dtype, &Device::Cpu).unwrap();
    let types = [("a", DType::F16), ("b", DType::F64), ("c", DType::BF16), ("d", DType::F32)];
    let mut tensors: std::collections::HashMap<_, _> = types.map(|(name, dtype)| (name, ones(dtype))).into();
    tensors.insert("counts", ones(DType::I64));
    let path = folder.path().join("mixed.safetensors");
    candle_core::safetensors::save(&tensors, &path).unwrap();
    let drawn = |more: &[&str]| {
        let mut command = command("init-weights", &[]);
        command
            .args(["--like", "mixed.safetensors", "--init", "lecun_normal", "--out", "w.safetensors"])
            .args(more);
        let output = command.current_dir(folder.path()).assert().success().get_output().clone();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr, "warning: left out, for weights are f64, f32, bf16 or f16: counts (I64)\n");
        let drawn =
            candle_core::safetensors::load(folder.path().join("w.safetensors"), &Device::Cpu).unwrap();
        let mut types: Vec<_> = drawn.into_iter().map(|(name, tensor)| (name, tensor.dtype())).collect();
        types.sort_by(|a, b| a.0.cmp(&b.0));
        types
    };
    assert_eq!(drawn(&[]), types.map(|(name, dtype)| (name.to_owned(), dtype)));
    assert!(drawn(&["--dtype", "f64"]).iter().all(|(_, dtype)| *dtype == DType::F64));
    let counts = std::collections::HashMap::from([("counts", ones(DType::I64))]);
    candle_core::safetensors::save(&counts, &path).unwrap();
    let mut command = command("init-weights", &[]);
    command.args(["--like", "mixed.safetensors", "--init", "ones"]).current_dir(folder.path());
    command.assert().code(1);
}

/// The file claims a tebibyte of counts, of which only the header exists.
#[test]
fn of_a_file_only_the_header_is_read() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let (counts, weights) = (1u64 << 40, 48);
    let header = format!(
        r#"{{"w":{{"dtype":"F32","shape":[3,4],"data_offsets":[0,{weights}]}},"counts":{{"dtype":"I64","shape":[{}],"data_offsets":[{weights},{}]}}}}"#,
        counts / 8,
        weights + counts,
    );
    let mut file = fs::File::create(folder.path().join("large.safetensors")).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(8 + header.len() as u64 + weights + counts).unwrap();
    let json = run(folder.path(), &["--like", "large.safetensors", "--init", "ones", "--format", "json"]);
    let manifest: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(manifest["tensors"].as_array().unwrap().len(), 1);
    assert_eq!(manifest["tensors"][0]["name"], "w");
}

/// The rules that --print-rules prints do what the preset does, with its learning rates.
#[test]
fn a_printed_preset_draws_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let shapes = [
        "wte.weight=9x8",
        "h.1.mlp.c_proj.weight=8x8",
        "h.1.ln_1.bias=8",
        "h.1.ln_1.weight=8",
        "lm_head.weight=9x8",
    ];
    let shapes: Vec<&str> = shapes.iter().flat_map(|shape| ["--shape", *shape]).collect();
    for preset in ["torch", "keras", "gpt2", "llama", "t-fixup", "mup"] {
        let layers: &[&str] = if needs_layers(preset) { &["--layers", "2"] } else { &[] };
        let by_preset = [&["--preset", preset, "--base-width", "4"], layers].concat();
        let text = run(folder.path(), &[&by_preset[..], &["--print-rules"]].concat());
        fs::write(folder.path().join("r.toml"), text).unwrap();
        let manifest = |arguments: &[&str]| {
            run(folder.path(), &[&shapes[..], arguments, &["--format", "json"]].concat())
        };
        assert_eq!(manifest(&by_preset), manifest(&["--rules", "r.toml"]), "{preset}");
    }
}

/// The running statistics of a batch norm start as in PyTorch's and Keras' layers.
#[test]
fn batch_norms_start_with_unit_variance() {
    let folder = tempfile::tempdir().unwrap();
    let shapes = ["bn1.weight=8", "bn1.bias=8", "bn1.running_mean=8", "bn1.running_var=8"];
    let shapes: Vec<&str> = shapes.iter().flat_map(|shape| ["--shape", *shape]).collect();
    for preset in ["torch", "keras"] {
        run(folder.path(), &[&shapes[..], &["--preset", preset, "--out", "w.safetensors"]].concat());
        let drawn =
            candle_core::safetensors::load(folder.path().join("w.safetensors"), &Device::Cpu).unwrap();
        let all = |name: &str| drawn[name].to_vec1::<f32>().unwrap();
        assert_eq!((all("bn1.weight"), all("bn1.bias")), (vec![1.0; 8], vec![0.0; 8]), "{preset}");
        assert_eq!(
            (all("bn1.running_mean"), all("bn1.running_var")),
            (vec![0.0; 8], vec![1.0; 8]),
            "{preset}"
        );
    }
}

/// A tensor without elements has no standard deviation in any format.
#[test]
fn no_elements_have_no_std() {
    let folder = tempfile::tempdir().unwrap();
    for format in ["table", "csv", "json"] {
        let arguments = ["--shape", "w=0x4", "--init", "lecun_normal", "--format", format];
        let text = String::from_utf8(run(folder.path(), &arguments)).unwrap();
        assert!(!text.contains("NaN"), "{text}");
    }
}
