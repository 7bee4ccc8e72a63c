//! model-stats on every architecture: counts, formats, errors.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use std::path::Path;
use std::time::{Duration, Instant};

use assert_cmd::Command;
use serde_json::{Value, json};
use wick_model_stats::{architecture, architectures};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_model-stats"));
    command.args(arguments).env_remove("RUST_BACKTRACE");
    command
}

fn stdout(arguments: &[&str]) -> String {
    let assert = command(arguments).args(["--device", "cpu", "--no-pictures"]).assert().success();
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

fn result(arguments: &[&str]) -> Value {
    serde_json::from_str(&stdout(&[arguments, &["--format", "json"]].concat())).unwrap()
}

/// Runs in a folder, and checks the exit code and the one line on stderr.
fn fails(folder: &Path, arguments: &[&str], code: i32, said: &str) {
    let output =
        command(arguments).args(["--device", "cpu", "--no-pictures"]).current_dir(folder).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    assert_eq!(stderr, format!("error: {said}\n"), "{arguments:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
}

/// What is known of an architecture at its small size: parameters that are reached and all of them; layers that are
/// seen, whose input is cut, and that are not reached; parameters that are stale; by what the graph is cut.
struct Expected {
    name: &'static str,
    parameters: (usize, usize),
    layers: [usize; 3],
    stale: usize,
    by: &'static str,
}

#[rustfmt::skip]
const EXPECTED: [Expected; 17] = [
    Expected { name: "llama", parameters: (1, 30), layers: [0, 1, 29], stale: 0, by: "RmsNorm" },
    Expected { name: "mistral", parameters: (13, 21), layers: [7, 6, 8], stale: 0, by: "RmsNorm" },
    Expected { name: "qwen2", parameters: (1, 26), layers: [0, 1, 19], stale: 0, by: "RmsNorm" },
    Expected { name: "gemma", parameters: (16, 20), layers: [17, 0, 4], stale: 0, by: "softmax" },
    Expected { name: "gemma3", parameters: (16, 28), layers: [15, 2, 12], stale: 0, by: "KvCache" },
    Expected { name: "phi", parameters: (2, 33), layers: [0, 1, 16], stale: 0, by: "LayerNorm" },
    Expected { name: "mamba", parameters: (1, 22), layers: [0, 1, 17], stale: 0, by: "RmsNorm" },
    Expected { name: "bert", parameters: (0, 37), layers: [0, 0, 20], stale: 0, by: "LayerNorm" },
    Expected { name: "t5", parameters: (36, 52), layers: [37, 0, 16], stale: 0, by: "softmax" },
    Expected { name: "vit", parameters: (24, 40), layers: [9, 4, 8], stale: 0, by: "LayerNorm" },
    Expected { name: "resnet18", parameters: (62, 62), layers: [41, 0, 0], stale: 0, by: "" },
    Expected { name: "resnet50", parameters: (161, 161), layers: [107, 0, 0], stale: 0, by: "" },
    Expected { name: "efficientnet-b0", parameters: (213, 213), layers: [131, 0, 0], stale: 0, by: "" },
    Expected { name: "convnext", parameters: (2, 152), layers: [0, 1, 81], stale: 0, by: "LayerNorm" },
    Expected { name: "convmixer", parameters: (166, 166), layers: [83, 0, 0], stale: 0, by: "" },
    Expected { name: "repvgg", parameters: (290, 290), layers: [23, 0, 0], stale: 288, by: "" },
    Expected { name: "vgg", parameters: (26, 26), layers: [13, 0, 0], stale: 0, by: "" },
];

/// Every architecture of the table runs at its small size, in bounded time, and shows the layers that are known.
#[test]
fn every_architecture_at_its_small_size() {
    let names: Vec<&str> = architectures().iter().map(|row| row.name).collect();
    assert_eq!(names, EXPECTED.map(|expected| expected.name));
    for Expected { name, parameters, layers, stale, by } in EXPECTED {
        let begun = Instant::now();
        let result = result(&["--model", name, "--small"]);
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(180), "{name}: {took:?}");
        let counts = &result["counts"];
        let [seen, cut, unreached] = layers;
        let expected = json!({
            "parameters": parameters.1, "reached": parameters.0, "layers": seen + cut + unreached, "seen": seen,
            "input_cut": cut, "not_reached": unreached, "stale_parameters": stale,
        });
        assert_eq!(*counts, expected, "{name}");
        println!("{name}: {counts} in {took:.1?}");
        // Every parameter is in the row of a layer.
        let rows = result["layers"].as_array().unwrap();
        let mut named: Vec<&str> = rows
            .iter()
            .flat_map(|row| row["parameters"].as_array().unwrap())
            .map(|name| name.as_str().unwrap())
            .collect();
        named.sort_unstable();
        named.dedup();
        let of_stale = if stale > 0 { named.len() } else { parameters.1 };
        assert_eq!(named.len(), of_stale, "{name}");
        // A layer that is not reached, or whose input is cut, has the operation that cut it.
        for row in rows.iter().filter(|row| row["state"] != "seen") {
            assert!(row["by"].as_str().unwrap().contains(by), "{name}: {row}");
        }
        for row in rows.iter().filter(|row| row["state"] != "not_reached") {
            assert!(row["std"].as_f64().unwrap() >= 0.0 && row["kind"].is_string(), "{name}: {row}");
            // candle has no backward pass for the max-pool of resnet.
            assert_eq!(row["gradient_rms"].is_f64(), result["backward_error"].is_null(), "{name}: {row}");
        }
        assert_eq!(result["backward_error"].is_string(), name.starts_with("resnet"), "{name}");
        let instead = result["instead"].as_array().unwrap();
        assert_eq!(instead.is_empty(), by.is_empty() && stale == 0 && !name.starts_with("resnet"), "{name}");
        assert!(by.is_empty() || instead.iter().any(|line| line.as_str().unwrap().contains(by)), "{name}");
    }
}

/// The table, the JSON and the CSV have the same layers with the same figures.
#[test]
fn the_formats_agree() {
    for name in ["gemma", "vit", "bert"] {
        let result = result(&["--model", name]);
        let rows = result["layers"].as_array().unwrap();
        let csv = stdout(&["--model", name, "--format", "csv"]);
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        let records: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
        assert_eq!(records.len(), rows.len(), "{name}");
        let table = stdout(&["--model", name]);
        let lines: Vec<&str> = table.lines().skip(3).take(rows.len()).collect();
        for ((row, record), line) in rows.iter().zip(&records).zip(lines) {
            let cell = |key: &str| &record[header.iter().position(|column| column == key).unwrap()];
            for key in ["name", "state", "kind", "activation", "by"] {
                assert_eq!(cell(key), row[key].as_str().unwrap_or_default(), "{name}: {row}");
            }
            for key in ["std", "rms", "dead", "copies", "gradient_rms"] {
                assert_eq!(cell(key).parse::<f64>().ok(), row[key].as_f64(), "{name} {key}: {row}");
            }
            let layer = row["name"].as_str().unwrap();
            let state = row["state"].as_str().unwrap().replace('_', " ");
            assert!(line.trim_start().starts_with(layer) && line.contains(&state), "{line}");
            if let Some(std) = row["std"].as_f64() {
                assert!(line.contains(&wick_bins::output::short(std)), "{line}");
            }
        }
    }
}

/// One JSON as it is, with numbers of four digits, which machines of other vector units do not change.
#[test]
fn a_json_as_it_is() {
    fn rounded(value: &mut Value) {
        match value {
            Value::Number(number) if number.is_f64() => {
                *value = wick_bins::output::short(number.as_f64().unwrap()).into();
            }
            Value::Array(values) => values.iter_mut().for_each(rounded),
            Value::Object(fields) => fields.values_mut().for_each(rounded),
            _ => {}
        }
    }
    let mut result = result(&["--model", "gemma", "--tokens", "3,10,17", "--tokens", "24,31,38"]);
    rounded(&mut result);
    insta::assert_snapshot!(serde_json::to_string_pretty(&result).unwrap());
}

/// The same seed gives the same bytes with one thread and with two, and another seed others.
#[test]
fn the_seed_decides() {
    let run = |seed: &str, threads: &str| {
        let mut command = command(&["--model", "t5", "--device", "cpu", "--no-pictures", "--seed", seed]);
        let assert = command.args(["--format", "json"]).env("RAYON_NUM_THREADS", threads).assert().success();
        assert.get_output().stdout.clone()
    };
    assert_eq!(run("7", "2"), run("7", "1"));
    assert_ne!(run("7", "2"), run("8", "2"));
}

#[test]
fn the_gradient_is_checked() {
    let whole =
        |name: &str| result(&["--model", name, "--check-gradient"])["gradient_check"]["is_whole"].clone();
    assert_eq!(whole("phi"), true);
    assert_eq!(whole("vit"), false);
    assert_eq!(result(&["--model", "phi"])["gradient_check"], Value::Null);
    let folder = tempfile::tempdir().unwrap();
    fails(
        folder.path(),
        &["--model", "resnet18", "--check-gradient"],
        1,
        "the gradient cannot be checked: candle's backward pass is an error: backward not supported for maxpool2d if \
         ksize (3, 3) != stride (2, 2)",
    );
}

/// Weights by each way, and types.
#[test]
fn weights_and_types() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (weights, rules) = (path("w.safetensors"), path("rules.toml"));
    let std = |arguments: &[&str]| result(arguments)["layers"][0]["std"].as_f64().unwrap();
    let small = ["--model", "gemma"];
    for dtype in ["f64", "bf16", "f16"] {
        let row = &result(&[&small[..], &["--dtype", dtype]].concat())["layers"][0];
        assert!(row["std"].as_f64().unwrap() > 0.0, "{dtype}");
    }
    fails(
        folder.path(),
        &["--model", "bert", "--dtype", "f64"],
        1,
        "the forward pass of bert fails in f64 (--dtype f32 may not): unsupported dtype for rmsnorm F64",
    );
    // The embedding's first, of std 1/√32 by lecun_normal of 32 inputs.
    let default = std(&small);
    let doubled = std(&[&small[..], &["--init", "lecun_normal:gain=2"]].concat());
    assert!((doubled / default - 2.0).abs() < 1e-6, "{default} {doubled}");
    std::fs::write(&rules, "[[rule]]\npattern = \"**\"\ninit = \"constant:value=0.5\"\n").unwrap();
    assert_eq!(std(&[&small[..], &["--rules", &rules]].concat()), 0.0);
    // The depth of llama's preset is that of the model.
    assert!(std(&[&small[..], &["--preset", "torch"]].concat()) > 2.0 * default);
    assert_eq!(result(&["--model", "llama", "--preset", "llama"])["experiment"]["init"], "llama");

    // Half of the tensors are in a file.
    let tensor =
        candle_core::Tensor::ones((40, 32), candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
    let file = std::collections::HashMap::from([("model.embed_tokens.weight".to_owned(), tensor.clone())]);
    candle_core::safetensors::save(&file, &weights).unwrap();
    let assert = command(&["--model", "gemma", "--weights", &weights, "--no-pictures", "--format", "csv"])
        .assert()
        .success();
    let stderr = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(
        stderr.starts_with("warning: drawn, for no file of --weights has them: model.layers.0."),
        "{stderr}"
    );
    assert_eq!(std(&[&small[..], &["--weights", &weights]].concat()), 0.0);
    // The tensors of bert have a prefix in the files of models with a head.
    let named = |name: &str| std::collections::HashMap::from([(name.to_owned(), tensor.clone())]);
    candle_core::safetensors::save(&named("bert.embeddings.word_embeddings.weight"), &weights).unwrap();
    let of_file = result(&["--model", "bert", "--weights", &weights]);
    assert_eq!(of_file["layers"][0]["name"], "bert.embeddings.word_embeddings");
    candle_core::safetensors::save(&named("model.embed_tokens.weight"), &weights).unwrap();
    fails(
        folder.path(),
        &["--model", "phi", "--weights", "w.safetensors", "--config", "none.json"],
        1,
        "cannot read 'none.json': No such file or directory (os error 2)",
    );
    let other = candle_core::Tensor::ones(3, candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
    candle_core::safetensors::save(&std::collections::HashMap::from([("x".to_owned(), other)]), &weights)
        .unwrap();
    fails(
        folder.path(),
        &["--model", "gemma", "--weights", "w.safetensors"],
        1,
        "--weights has none of the model's 20 tensors, 'model.embed_tokens.weight' first: the files are of another \
         model, or have other names",
    );
}

#[test]
fn configs() {
    let folder = tempfile::tempdir().unwrap();
    let write = |config: &Value| std::fs::write(folder.path().join("c.json"), config.to_string()).unwrap();
    let of = |name: &str| architecture(name).unwrap().small().unwrap();
    let refused = |model: &str, config: &Value, said: &str| {
        write(config);
        fails(folder.path(), &["--model", model, "--config", "c.json"], 2, said);
    };
    let mut config = of("llama");
    config["model_type"] = "mistral".into();
    refused(
        "llama",
        &config,
        "'c.json': it is the config of 'mistral', and not of llama: use --model mistral",
    );
    config["model_type"] = "gpt_neox".into();
    refused("llama", &config, "'c.json': it is the config of 'gpt_neox', and not of llama");
    refused(
        "resnet18",
        &of("resnet50"),
        "'c.json': it is the config of 'resnet50', and not of resnet18: use --model resnet50",
    );
    config["model_type"] = "llama".into();
    config.as_object_mut().unwrap().remove("rms_norm_eps");
    refused("llama", &config, "'c.json': it lacks the field 'rms_norm_eps', which llama needs");
    config["rms_norm_eps"] = "small".into();
    refused(
        "llama",
        &config,
        "'c.json': its field 'rms_norm_eps' is not what llama takes: invalid type: string \"small\", expected f64",
    );
    refused("llama", &json!([1]), "'c.json': it is no JSON object, as the hub's config.json is one");
    // Every field without which a row's own small config is an error is named.
    for row in architectures() {
        let small = row.small().unwrap();
        for field in small.as_object().unwrap().keys() {
            let mut without = small.clone();
            without.as_object_mut().unwrap().remove(field);
            if let Err(error) = row.read(&without) {
                assert!(error.to_string().contains(&format!("'{field}'")), "{}: {error}", row.name);
            }
        }
    }
    // What candle refuses, or panics on, is one line.
    let mut config = of("mistral");
    config["num_attention_heads"] = 0.into();
    write(&config);
    let output =
        command(&["--model", "mistral", "--config", "c.json"]).current_dir(folder.path()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.starts_with("error: candle cannot build mistral from 'c.json': "), "{stderr}");
    let mut config = of("llama");
    config["vocab_size"] = 4_000_000_000_000u64.into();
    write(&config);
    let output =
        command(&["--model", "llama", "--config", "c.json"]).current_dir(folder.path()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("of memory and") && stderr.contains("take a smaller model"), "{stderr}");
    // A config as the hub has it, with fields that candle does not take.
    let mut config = of("vit");
    config["model_type"] = "vit".into();
    config["architectures"] = json!(["ViTForImageClassification"]);
    config["id2label"] = json!({"0": "cat", "1": "dog", "2": "fish"});
    config.as_object_mut().unwrap().remove("num_labels");
    write(&config);
    let text = folder.path().join("c.json");
    let result = result(&["--model", "vit", "--config", text.to_str().unwrap()]);
    let rows = result["layers"].as_array().unwrap();
    assert!(rows.iter().any(|row| row["name"] == "classifier" && row["weight"] == json!([3, 32])));
}

#[test]
fn inputs_and_options() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str], said: &str| fails(folder.path(), arguments, 2, said);
    refused(
        &["--model", "lama"],
        &format!(
            "invalid value 'lama' for '--model <NAME>': no architecture 'lama' (did you mean llama?); known: {}",
            EXPECTED.map(|expected| expected.name).join(", ")
        ),
    );
    refused(
        &["--model", "llama", "--tokens", "3,40"],
        "--tokens has 40, and the config has 40 tokens, from 0 on",
    );
    refused(
        &["--model", "llama", "--tokens", "3,4", "--tokens", "5"],
        "--tokens has samples of 2 and of 1 tokens: give all the same length",
    );
    refused(
        &["--model", "llama", "--length", "33"],
        "the input has 33 tokens, and the config takes 32 at most",
    );
    refused(&["--model", "llama", "--batch", "0"], "the input has 0 samples, and must have 1 or more");
    refused(
        &["--model", "llama", "--images", "2x8"],
        "llama takes tokens: give --tokens, or --batch and --length, for --images",
    );
    refused(
        &["--model", "vit", "--tokens", "1,2"],
        "vit takes images: give --images NxSIZE for --tokens or --length",
    );
    refused(&["--model", "vit", "--images", "2x24"], "--images has size 24, and vit takes 16 alone");
    refused(
        &["--model", "llama", "--layers", "3"],
        &format!(
            "--layers is the depth for --preset {}, and nothing else goes by it: leave it out",
            wick_init::presets::BY_DEPTH.join(", ")
        ),
    );
    // An image that is too small for the pools and strides.
    let output =
        command(&["--model", "convmixer", "--images", "1x5"]).current_dir(folder.path()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.starts_with("error: the forward pass of convmixer fails: "), "{stderr}");
    assert_eq!(
        result(&["--model", "llama", "--batch", "3", "--length", "9"])["experiment"]["input"]["shape"],
        json!([3, 9])
    );
}

#[test]
fn the_picture_is_drawn_where_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("a/b");
    command(&["--model", "gemma3", "--device", "cpu", "--out"]).arg(&out).assert().success();
    let svg = std::fs::read_to_string(out.join("model-stats.svg")).unwrap();
    for part in ["not reached (12)", "input cut (2)", "model.layers.0.self_attn.q_norm"] {
        assert!(svg.contains(part), "{part}");
    }
    assert!(out.join("model-stats.png").exists());
    let help = command(&["--help"]).assert().success();
    let help = String::from_utf8(help.get_output().stdout.clone()).unwrap();
    assert!(help.contains("Examples:") && help.contains("--check-gradient"));
    let readme = include_str!("../../README.md");
    assert!(readme.contains("\n### model-stats\n"));
}
