//! init-weights: what it writes, what it says, and what it refuses.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use candle_core::{Device, Tensor};
use serde_json::Value;

fn run(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_init-weights"));
    command.args(arguments).current_dir(folder).assert().success().get_output().stdout.clone()
}

fn fails(folder: &Path, arguments: &[&str], code: i32, part: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_init-weights"));
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
pattern = "lstm.*"
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
    let mut arguments = vec!["--stream", "torch", "--seed", "2024"];
    arguments.extend(shapes.iter().flat_map(|shape| ["--shape", shape.as_str()]));
    // By rules of our own, and by the preset.
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
    let meant = projection["std_meant"].as_f64().unwrap();
    assert!((meant - 0.02 / 24f64.sqrt()).abs() < 1e-15);
    // n = 2048: 1/√(2n) = 1.6 % at one sigma.
    assert!((projection["std"].as_f64().unwrap() / meant - 1.0).abs() < 0.065);
    assert_eq!(manifest["tensors"][0]["init"], "ones");
    run(
        folder.path(),
        &["--like", "a.safetensors", "--preset", "gpt2", "--seed", "1", "--out", "b.safetensors"],
    );
    assert_ne!(fs::read(path("a.safetensors")).unwrap(), fs::read(path("b.safetensors")).unwrap());
}

/// A file has its tensors in the order of their names: a bias before its weight.
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
fn a_rule_that_no_tensor_meets_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("r.toml"),
        "[[rule]]\npattern = \"**\"\ninit = \"ones\"\n[[rule]]\npattern = \"typo\"\ninit = \"ones\"\n",
    )
    .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_init-weights"));
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

#[test]
fn bad_input_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |arguments: &[&str], code, part: &str| fails(folder.path(), arguments, code, part);
    let w = ["--shape", "w=3x4"];
    fails(&[], 2, "no tensors: name some with --shape");
    fails(&w, 2, "say how the tensors start");
    fails(&["--shape", "w", "--init", "ones"], 2, "NAME=800x750");
    fails(&["--shape", "w=3x-1", "--init", "ones"], 2, "NAME=800x750");
    fails(&[&w[..], &["--shape", "w=5", "--init", "ones"]].concat(), 2, "'w' is named twice");
    fails(&[&w[..], &["--preset", "gpt7"]].concat(), 2, "known: torch, keras, gpt2, llama, t-fixup, mup");
    fails(&[&w[..], &["--preset", "mup", "--base-width", "nan"]].concat(), 2, "a finite number above 0");
    fails(&[&w[..], &["--preset", "gpt2", "--layers", "0"]].concat(), 2, "0 is not in 1..=10000");
    fails(
        &[&w[..], &["--stream", "torch", "--init", "torch.trunc_normal:a=3,b=10000000"]].concat(),
        1,
        "one uniform in a thousand",
    );
    fails(&[&w[..], &["--init", "sparse:sparsity=1.5"]].concat(), 2, "sparsity = 1.5 is out of range");
    fails(&[&w[..], &["--init", "dirac"]].concat(), 1, "'w': dirac cannot fill shape [3, 4]");
    fails(&["--shape", "b=3", "--init", "he_normal"], 1, "'b': shape [3] has no fans");
    fails(&["--shape", "c=2x3x3", "--init", "delta_orthogonal"], 1, "no more inputs than outputs");
    fails(&["--shape", "w=1000000x100000000", "--init", "ones"], 2, "PiB of memory");
    fails(&["--shape", "a.bias=3", "--preset", "torch"], 1, "no tensor 'a.weight' has been made");
    fails(&["--like", "missing.safetensors", "--init", "ones"], 1, "cannot read 'missing.safetensors'");
    fs::write(folder.path().join("foreign.safetensors"), b"no safetensors").unwrap();
    fails(&["--like", "foreign.safetensors", "--init", "ones"], 1, "cannot read 'foreign.safetensors'");
    for (text, part) in [
        ("strict = 7", "line 1: invalid type"),
        ("\n[[rule]]\npattern = \"**\"\n", "missing field `init`"),
        ("[[rule]]\npattern = \"a..b\"\ninit = \"ones\"", "rule 1: cannot read the pattern 'a..b'"),
        ("[[rule]]\npattern = \"**\"\ninit = \"none\"", "rule 1: unknown initializer 'none'"),
        ("[[rule]]\npattern = \"**\"\ninit = \"ones\"\nparts = 2\ngroups = 2", "one can be given"),
        ("strict = true\n[[rule]]\npattern = \"x\"\ninit = \"ones\"", "no rule for 'w' [3, 4]"),
    ] {
        fs::write(folder.path().join("r.toml"), text).unwrap();
        fails(&[&w[..], &["--rules", "r.toml"]].concat(), 1, part);
    }
    fs::write(folder.path().join("file"), "kept").unwrap();
    fails(
        &[&w[..], &["--init", "ones", "--out", "file/w.safetensors"]].concat(),
        1,
        "cannot make the folder 'file'",
    );
}
