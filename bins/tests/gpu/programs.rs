//! The programs on the GPU.

use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use wick_bins::device::{memory, trim};

use super::Test;
use super::support::command;

pub(crate) const TESTS: &[Test] = &[
    ("layer_stats_as_on_the_cpu", layer_stats_as_on_the_cpu),
    ("forward_backward_agrees_three_ways", forward_backward_agrees_three_ways),
    ("training_as_on_the_cpu", training_as_on_the_cpu),
    ("device_bench_finds_the_gpu", device_bench_finds_the_gpu),
    ("a_missing_device", a_missing_device),
    ("more_than_the_device_holds", more_than_the_device_holds),
    ("memory_of_the_pool_is_free", memory_of_the_pool_is_free),
];

fn json(program: &str, device: &str, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--no-pictures", "--format", "json", "--device", device]].concat();
    let output = command(program, &arguments).assert().success().get_output().stdout.clone();
    serde_json::from_slice(&output).unwrap()
}

/// The numbers in it, with the way to each.
fn numbers(value: &Value, way: &str, into: &mut Vec<(String, f64)>) {
    match value {
        Value::Number(x) => into.push((way.to_owned(), x.as_f64().unwrap())),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                numbers(item, &format!("{way}[{index}]"), into);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                numbers(field, &format!("{way}.{name}"), into);
            }
        }
        _ => {}
    }
}

/// Every number of the result is compared, except the counts of the histograms, where a rounding moves an
/// element to the next bin. The second run is the one of σ = 1.
fn layer_stats_as_on_the_cpu(_: &Device) {
    let arguments = ["--samples", "200", "--widths", "80,70,60,50"];
    let read = |device: &str| {
        let mut all = Vec::new();
        numbers(&json("layer-stats", device, &arguments), "", &mut all);
        all.retain(|(way, _)| !way.contains("histogram") && !way.contains("counts"));
        all
    };
    let (got, expected) = (read("cuda"), read("cpu"));
    assert_eq!(got.len(), expected.len());
    assert!(expected.len() > 100);
    for ((way, got), (_, expected)) in got.iter().zip(&expected) {
        let bound = match way {
            _ if way.contains("saturated") => 2e-3,
            // For a saturated tanh, 1 - h² and the gradients have few correct digits.
            _ if way.starts_with(".runs[1]") => 1e-3 * expected.abs().max(1.0),
            _ => 2e-5 * expected.abs() + 2e-7,
        };
        assert!((got - expected).abs() <= bound, "{way}: {got} for {expected}");
    }
}

/// The program fails if the formulas, candle's backward pass and the finite differences disagree.
fn forward_backward_agrees_three_ways(_: &Device) {
    let got = json("forward-backward", "cuda", &[]);
    let expected = json("forward-backward", "cpu", &[]);
    let read = |value: &Value| {
        let mut all = Vec::new();
        numbers(value, "", &mut all);
        all
    };
    let (got, expected) = (read(&got), read(&expected));
    assert_eq!(got.len(), expected.len());
    for ((way, got), (_, expected)) in got.iter().zip(&expected) {
        // The differences of the three ways are themselves rounding errors.
        assert!((got - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{way}: {got} for {expected}");
    }
}

/// A short run on the GPU is that on the CPU, to rounding, with each optimizer; its folder goes on and is read on
/// the CPU.
fn training_as_on_the_cpu(_: &Device) {
    for (optimizer, bound) in [("adamw:lr=0.001", 1e-3), ("sgd:lr=0.05", 1e-4), ("muon:lr=0.01", 1e-2)] {
        let arguments = ["--epochs", "1", "--widths", "20", "--optimizer", optimizer, "--probe-every", "10"];
        let loss = |device: &str, more: &[&str]| {
            let result = json("train", device, &[&arguments[..], more].concat());
            result["runs"][0]["history"][0]["loss"].as_f64().unwrap()
        };
        let folder = tempfile::tempdir().unwrap();
        let run = ["--run", folder.path().to_str().unwrap()];
        let (got, expected) = (loss("cuda", &run), loss("cpu", &[]));
        assert!((got - expected).abs() < bound * expected, "{optimizer}: {got} for {expected}");
        let again = [&run[..], &["--resume"]].concat();
        assert_eq!(loss("cuda", &again), got);
        assert_eq!(loss("cpu", &again), got, "the finished run of the GPU, read on the CPU");
    }
}

fn device_bench_finds_the_gpu(_: &Device) {
    let arguments = ["--batch", "4,16", "--width", "32,64", "--runs", "1"];
    let found = json("device-bench", "cuda", &arguments).to_string();
    assert!(found.contains("cuda:0"), "{found}");
}

fn a_missing_device(_: &Device) {
    let output = command("layer-stats", &["--device", "cuda:99", "--no-pictures"]).assert().failure();
    let output = output.get_output();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(text.trim().lines().count(), 1, "{text}");
    assert!(text.contains("cuda:99") && text.contains("cuda:0"), "{text}");
    assert_eq!(output.status.code(), Some(2));
}

fn more_than_the_device_holds(_: &Device) {
    // The input and the last layer fit into the machine's own memory.
    let sizes = ["--samples", "1000000", "--features", "10", "--widths", "1000000,10"];
    let arguments = [&["--device", "cuda", "--no-pictures"], &sizes[..]].concat();
    let output = command("layer-stats", &arguments).assert().failure().get_output().clone();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(text.trim().lines().count(), 1, "{text}");
    assert!(text.contains("are free on the GPU: ask for fewer --samples"), "{text}");
    assert_eq!(output.status.code(), Some(2));
}

/// The memory of a dropped tensor counts as free, before the pool is trimmed and after.
fn memory_of_the_pool_is_free(gpu: &Device) {
    /// A quarter of a GiB.
    const BYTES: u64 = 1 << 28;
    let free = || {
        gpu.synchronize().unwrap();
        memory(gpu).unwrap().0
    };
    trim(gpu).unwrap();
    let before = free();
    let large = Tensor::zeros(BYTES as usize, DType::U8, gpu).unwrap();
    assert!(free() <= before - BYTES, "the twin");
    drop(large);
    // Other processes may use some of the device's memory meanwhile.
    let near = |now: u64| now.abs_diff(before) < BYTES / 2;
    assert!(near(free()), "{} of {before}", free());
    trim(gpu).unwrap();
    assert!(near(free()), "{} of {before}", free());
}
