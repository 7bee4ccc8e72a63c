//! Files that are drawn and written one tensor at a time: their bytes, their index, what they leave behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use serde_json::Value;
use wick_init::{InitMap, Initializer, TensorFile, presets};

use crate::{fails, run};

/// Layers of 64×32 weights and their biases, whose names are not in the order of construction.
fn shapes() -> Vec<String> {
    let layer = |layer: usize| [format!("layers.{layer}.weight=64x32"), format!("layers.{layer}.bias=64")];
    [9, 10, 11, 2, 1].into_iter().flat_map(layer).collect()
}

fn arguments<'a>(shapes: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    shapes.iter().flat_map(|shape| ["--shape", shape.as_str()]).chain(more.iter().copied()).collect()
}

fn files(folder: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

/// Both streams, and every type: the file is that of a map that holds all tensors.
#[test]
fn the_bytes_are_those_of_a_map_that_keeps_all_tensors() {
    let (folder, shapes) = (tempfile::tempdir().unwrap(), shapes());
    let path = folder.path().join("w.safetensors");
    for stream in ["keyed", "torch"] {
        for (name, dtype) in
            [("f32", DType::F32), ("bf16", DType::BF16), ("f16", DType::F16), ("f64", DType::F64)]
        {
            let more = ["--preset", "torch", "--stream", stream, "--dtype", name, "--out", "w.safetensors"];
            run(folder.path(), &arguments(&shapes, &more));
            let map = InitMap::new(42).with_rules(presets::torch_defaults().unwrap());
            let map = if stream == "torch" { map.with_torch_rng(42) } else { map };
            let vb = map.var_builder(dtype, &Device::Cpu);
            for shape in &shapes {
                let (name, sizes) = shape.split_once('=').unwrap();
                let sizes: Vec<usize> = sizes.split('x').map(|size| size.parse().unwrap()).collect();
                vb.get(sizes, name).unwrap();
            }
            map.save(folder.path().join("kept.safetensors")).unwrap();
            let bytes = |name: &str| fs::read(folder.path().join(name)).unwrap();
            assert!(bytes("w.safetensors") == bytes("kept.safetensors"), "{stream} {name}");
        }
    }
    assert!(TensorFile::open(path).is_ok());
}

/// 8448 bytes a layer in `f32`: two layers in a shard, and the last one alone.
#[test]
fn shards_have_an_index_and_load_back() {
    let (folder, shapes) = (tempfile::tempdir().unwrap(), shapes());
    let whole = ["--preset", "torch", "--metadata", "format=pt", "--out", "whole.safetensors"];
    let manifest = run(folder.path(), &arguments(&shapes, &whole));
    let sharded = [
        "--preset",
        "torch",
        "--metadata",
        "format=pt",
        "--shard-size",
        "17KB",
        "--out",
        "s/model.safetensors",
    ];
    assert_eq!(run(folder.path(), &arguments(&shapes, &sharded)), manifest);

    let shards = folder.path().join("s");
    let parts: Vec<String> = (1..=3).map(|part| format!("model-{part:05}-of-00003.safetensors")).collect();
    let index = "model.safetensors.index.json".to_owned();
    assert_eq!(files(&shards), parts.iter().cloned().chain([index.clone()]).collect());
    let index: Value = serde_json::from_slice(&fs::read(shards.join(index)).unwrap()).unwrap();
    assert_eq!(index["metadata"]["total_size"], 5 * 8448);
    assert_eq!(index["weight_map"]["layers.9.weight"], parts[0]);
    assert_eq!(index["weight_map"]["layers.1.bias"], parts[2]);
    let expected =
        candle_core::safetensors::load(folder.path().join("whole.safetensors"), &Device::Cpu).unwrap();
    assert_eq!(index["weight_map"].as_object().unwrap().len(), expected.len());

    let paths: Vec<_> = parts.iter().map(|part| shards.join(part)).collect();
    // SAFETY: nobody changes the files.
    let theirs = unsafe { VarBuilder::from_mmaped_safetensors(&paths, DType::F32, &Device::Cpu).unwrap() };
    let map = paths.iter().fold(InitMap::new(0), |map, path| map.with_file(path).unwrap());
    assert_eq!(map.metadata()["format"], "pt");
    let ours = map.var_builder(DType::F32, &Device::Cpu);
    let bits = |tensor: &Tensor| crate::bits(tensor);
    for (name, tensor) in &expected {
        let file = index["weight_map"][name].as_str().unwrap();
        assert_eq!(TensorFile::open(shards.join(file)).unwrap().get(name).unwrap().shape(), tensor.dims());
        for vb in [&ours, &theirs] {
            assert_eq!(bits(&vb.get(tensor.shape(), name).unwrap()), bits(tensor), "{name}");
        }
    }
}

#[test]
fn one_shard_is_a_file_without_an_index() {
    let (folder, shapes) = (tempfile::tempdir().unwrap(), shapes());
    run(
        folder.path(),
        &arguments(&shapes, &["--init", "ones", "--shard-size", "1MB", "--out", "m.safetensors"]),
    );
    assert_eq!(files(folder.path()), ["m.safetensors".to_owned()].into());
    fails(
        folder.path(),
        &arguments(&shapes, &["--init", "ones", "--shard-size", "5XB", "--out", "m"]),
        2,
        "5GB",
    );
    fails(folder.path(), &arguments(&shapes, &["--init", "ones", "--shard-size", "1MB"]), 2, "--out");
    fails(
        folder.path(),
        &arguments(&shapes, &["--init", "ones", "--shard-size", "1MB", "--out", "."]),
        2,
        "name a file",
    );
}

/// A loader may take the file of an older model, or its shards.
#[test]
fn files_of_an_older_model_are_named() {
    let (folder, shapes) = (tempfile::tempdir().unwrap(), shapes());
    let said = |more: &[&str]| {
        let more = [&["--init", "ones", "--out", "m.safetensors"], more].concat();
        let mut command = crate::support::command("init-weights", &arguments(&shapes, &more));
        let output = command.current_dir(folder.path()).assert().success().get_output().clone();
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!((said(&[]), said(&[])), (String::new(), String::new()));
    let warning = said(&["--shard-size", "17KB"]);
    assert!(warning.contains("a loader may take them: m.safetensors; remove them"), "{warning}");
    let warning = said(&[]);
    let old = "m-00001-of-00003.safetensors, m-00002-of-00003.safetensors, m-00003-of-00003.safetensors, \
               m.safetensors.index.json;";
    assert!(warning.contains(old) && warning.lines().count() == 1, "{warning}");
}

#[test]
fn all_places_are_checked_before_a_tensor_is_written() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("m-00002-of-00002.safetensors")).unwrap();
    let map = InitMap::new(1).with_default_init(Initializer::ones());
    let wanted = ["a", "b"].map(|name| wick_init::WantedTensor::new(name, [8, 8], DType::F32));
    let mut written = 0;
    let path = folder.path().join("m.safetensors");
    let error = map.save_drawn(path, &wanted, Some(256), |_, bytes| written += bytes).unwrap_err();
    assert!(error.to_string().contains("it is a folder") && written == 0, "{error}: {written}");
}

/// An error of the last tensor is found before the first is written, and an old set stays.
#[test]
fn a_failure_leaves_what_was_there() {
    let (folder, shapes) = (tempfile::tempdir().unwrap(), shapes());
    let out = ["--shard-size", "17KB", "--out", "m.safetensors"];
    run(folder.path(), &arguments(&shapes, &[&["--init", "ones"], &out[..]].concat()));
    let contents = || -> Vec<_> {
        files(folder.path()).into_iter().map(|name| fs::read(folder.path().join(name)).unwrap()).collect()
    };
    let before = contents();
    let bad = [&["--shape", "v=3", "--init", "lecun_normal"], &out[..]].concat();
    fails(folder.path(), &arguments(&shapes, &bad), 1, "has no fans");
    assert!(contents() == before);
}

/// The limit on a file's size stands for a full disk.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let script = "trap '' XFSZ; ulimit -f 2000; exec \"$0\" --shape a=200x1000 --shape b=900x1000 --init ones \
                  --shard-size 4MB --out m.safetensors";
    let mut shell = assert_cmd::Command::new("sh");
    let output =
        shell.args(["-c", script]).arg(crate::support::path("init-weights")).current_dir(folder.path());
    let output = output.assert().code(1).get_output().clone();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("cannot write 'm-00002-of-00002.safetensors'"), "{stderr}");
    assert_eq!((stderr.lines().count(), files(folder.path())), (1, BTreeSet::new()));
}

/// The signal comes when the first of many shards are complete.
#[cfg(unix)]
#[test]
fn a_signal_leaves_nothing() {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    let folder = tempfile::tempdir().unwrap();
    let shapes: Vec<String> = (0..80).map(|tensor| format!("t{tensor}=1000x1000")).collect();
    let mut child = Command::new(crate::support::path("init-weights"))
        .args(arguments(&shapes, &["--init", "ones", "--shard-size", "1KB", "--out", "m.safetensors"]))
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while files(folder.path()).len() < 3 {
        assert!(child.try_wait().unwrap().is_none(), "it has ended before the signal");
        std::thread::yield_now();
    }
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!((child.wait().unwrap().signal(), files(folder.path())), (Some(15), BTreeSet::new()));
}

/// The peak memory of a process and of its children, in bytes.
#[cfg(target_os = "linux")]
fn peak_of(folder: &Path, shapes: &[String], more: &[&str]) -> f64 {
    let script = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); \
                  print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)";
    let mut python = assert_cmd::Command::new("python3");
    python.args(["-c", script]).arg(crate::support::path("init-weights")).args(arguments(shapes, more));
    let output = python.current_dir(folder).assert().success().get_output().clone();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// Six tensors of 72 MB in `bf16`: at most three are in memory, of either stream. The twin is a map that keeps
/// them all: its estimate is more.
#[cfg(target_os = "linux")]
#[test]
fn the_peak_memory_is_that_of_three_tensors_at_most() {
    if std::process::Command::new("python3").arg("--version").output().is_err() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let one = ["w=1".to_owned()];
    let own = peak_of(folder.path(), &one, &["--init", "ones"]);
    let shapes: Vec<String> = (0..6).rev().map(|tensor| format!("t{tensor}=6000x6000")).collect();
    for stream in ["keyed", "torch"] {
        let more =
            ["--init", "normal:std=1", "--dtype", "bf16", "--stream", stream, "--out", "m.safetensors"];
        let more = [&more[..], &["--shard-size", "150MB"]].concat();
        let beyond = (peak_of(folder.path(), &shapes, &more) - own) / 72e6;
        assert!(beyond < 3.2, "{stream}: {beyond} tensors"); // 0.2 for buffers and the torch stream's tables
        assert!(beyond > 0.5, "{stream}: {beyond} tensors is less than one");
    }
    let map = InitMap::new(1).with_default_init(Initializer::normal(1.0));
    let wanted: Vec<_> =
        (0..6).map(|n| wick_init::WantedTensor::new(format!("t{n}"), [6000, 6000], DType::BF16)).collect();
    assert_eq!(map.memory_to_draw(&wanted), 2.0 * 72e6, "one is drawn while another is written");
}
