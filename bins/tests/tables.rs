//! Other people's tables, and starts over several seeds: layer-stats.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::fs;

use serde_json::Value;
use support::{command, json};

/// Runs layer-stats on a table of this name, and returns its JSON and its stderr.
fn run(name: &str, table: &str, arguments: &[&str]) -> (Value, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), table).unwrap();
    let common = ["--device", "cpu", "--no-pictures", "--format", "json", "--widths", "20x2", "--data", name];
    let mut command = command("layer-stats", &[&common, arguments].concat());
    let output = command.current_dir(folder.path()).assert().success().get_output().clone();
    let stderr = String::from_utf8(output.stderr).unwrap();
    (serde_json::from_slice(&output.stdout).unwrap(), stderr)
}

fn features(result: &Value) -> (u64, Vec<&str>) {
    let experiment = &result["experiment"];
    let left_out = experiment["left_out"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
    (experiment["features"].as_u64().unwrap(), left_out.collect())
}

/// A table of `columns`, each cell of row `i` from a function of `i`.
fn table(header: &str, rows: usize, cell: impl Fn(usize, usize) -> String) -> String {
    let columns = header.split(',').count();
    let row = |i: usize| (0..columns).map(|column| cell(i, column)).collect::<Vec<_>>().join(",");
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!("{header}\n{}\n", rows.join("\n"))
}

/// Numbers of mean 0 and about rms 1 that differ from column to column.
fn wave(i: usize, column: usize) -> f64 {
    (((i * (37 + 2 * column) + 11 * column) % 101) as f64 / 50.0 - 1.0) * 1.7
}

#[test]
fn labels_are_no_features() {
    let digits = include_str!("../../assets/digits/digits.csv");
    let (result, stderr) = run("digits.csv", digits, &["--samples", "200"]);
    assert_eq!(features(&result), (64, vec!["digit"]));
    assert!(stderr.contains("'digits.csv': column 65, 'digit', is taken for labels"), "{stderr}");
    // By its path, the file is the built-in one.
    let built_in = json("layer-stats", &["--data", "digits", "--samples", "200", "--widths", "20x2"]);
    assert_eq!(result["runs"], built_in["runs"]);
    assert_eq!(features(&built_in), (64, vec!["digit"]));

    let iris = table("id,sepal,petal,species", 60, |i, column| match column {
        3 => ["setosa", "virginica"][i % 2].into(),
        0 => i.to_string(),
        _ => wave(i, column).to_string(),
    });
    for (arguments, left_out) in [
        (&["--drop", "id"][..], &["id", "species"][..]),
        (&["--label", "species", "--drop", "1"], &["id", "species"]),
        (&["--label", "none", "--drop", "id,-1"], &["id", "species"]),
        (&["--label", "-1"], &["species"]),
        (&["--drop", "-1,-4"], &["id", "species"]),
        (&["--drop", "1, species"], &["id", "species"]),
    ] {
        let (result, stderr) = run("iris.csv", &iris, arguments);
        assert_eq!(features(&result), (4 - left_out.len() as u64, left_out.to_vec()), "{arguments:?}");
        assert_eq!(stderr.contains("taken for labels"), !arguments.contains(&"--label"), "{stderr}");
    }
    let (result, _) = run("iris.csv", &iris, &["--label", "-1", "--drop", "id"]);
    assert_eq!(result["experiment"]["left_out_columns"], serde_json::json!([1, 4]));
    let (result, stderr) = run("none.csv", "a,label\n1,0\n2,1\n", &["--label", "none"]);
    assert_eq!((features(&result), stderr), ((2, vec![]), String::new()));
}

#[test]
fn delimiters_decimal_commas_and_any_file_name() {
    for (name, text, arguments) in [
        ("t.tsv", "a\tb\n1\t2\n3\t4\n", &[][..]),
        ("t.csv", "a;b\n1,5;2\n3;4,5\n", &["--decimal-comma"]),
        ("t.csv", "1;2\n3;4\n", &["--delimiter", ";"]),
        ("t.data", "1 2\n3  4\n", &["--delimiter", "space"]),
    ] {
        let (result, stderr) = run(name, text, arguments);
        assert_eq!((features(&result), stderr), ((2, vec![]), String::new()), "{name} {text}");
        assert_eq!(result["experiment"]["samples"], 2, "{name} {text}");
    }
}

/// The columns of arrays have numbers.
#[test]
fn columns_of_arrays_are_left_out_by_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let values: Vec<f32> = (0..40).map(|i| i as f32 / 20.0 - 1.0).collect();
    let x = candle_core::Tensor::from_vec(values, (10, 4), &candle_core::Device::Cpu).unwrap();
    candle_core::safetensors::save(&std::collections::HashMap::from([("x", x)]), &path).unwrap();
    let result = |arguments: &[&str]| {
        let data = ["--widths", "5x2", "--data", path.to_str().unwrap()];
        json("layer-stats", &[&data, arguments].concat())
    };
    assert_eq!(features(&result(&[])), (4, vec![]));
    assert_eq!(features(&result(&["--label", "1", "--drop", "-1"])), (2, vec!["column 1", "column 4"]));
}

/// The images of an IDX file are rows.
#[test]
fn images_are_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x-images.idx3-ubyte");
    let pixels: Vec<u8> = (0..80).map(|i| (i * 37 % 101) as u8).collect();
    fs::write(&path, [&[0, 0, 8, 3, 0, 0, 0, 10, 0, 0, 0, 2, 0, 0, 0, 4][..], &pixels].concat()).unwrap();
    let data = ["--widths", "20x2", "--standardize", "--data", path.to_str().unwrap()];
    let result = json("layer-stats", &data);
    assert_eq!((features(&result), &result["experiment"]["samples"]), ((8, vec![]), &Value::from(10)));
}

/// A warning that cannot be written is no failure.
#[cfg(target_os = "linux")]
#[test]
fn a_full_stderr_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rules.toml"), "[[rule]]\npattern = \"x\"\ninit = \"zeros\"\n").unwrap();
    fs::write(folder.path().join("t.csv"), "a,b\n1,2\n1,3\n").unwrap();
    let code = |program: &str, arguments: &[&str]| {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = std::process::Command::new(support::path(program));
        command.args(arguments).current_dir(folder.path()).stderr(full);
        command.output().unwrap().status.code()
    };
    let arguments = ["--no-pictures", "--device", "cpu", "--widths", "5", "--data", "t.csv", "--standardize"];
    assert_eq!(code("layer-stats", &arguments), Some(0));
    let arguments = ["--shape", "w=3x4", "--rules", "rules.toml", "--init", "zeros"];
    assert!(code("init-weights", &arguments).is_some_and(|code| code < 3));
}

/// A column whose numbers are equal, and one that f32 cannot hold apart.
#[test]
fn columns_without_information_are_named() {
    let clock = table("wave,clock,same", 50, |i, column| match column {
        1 => format!("{}", 1_700_000_000_000_000_000u64 + 1000 * (i as u64 * 37 % 50)),
        2 => "7".into(),
        _ => wave(i, 0).to_string(),
    });
    let (_, stderr) = run("clock.csv", &clock, &[]);
    assert!(stderr.contains("f32 cannot tell the numbers of clock apart: use --standardize"), "{stderr}");
    let (result, stderr) = run("clock.csv", &clock, &["--standardize"]);
    assert_eq!(stderr, "warning: 'clock.csv': the numbers of same are equal and become 0\n");
    assert!(result["runs"][0]["layers"][0]["forward"]["std"].as_f64().unwrap() > 0.0);
}

/// Raw columns of 1e4, with and without a mean: the advice is to standardize, and no larger weights. The
/// twin: standardized, the same table gets no such advice.
#[test]
fn raw_columns_are_to_be_standardized() {
    for mean in [0.0, 1e4] {
        let raw = table("a,b,c,d,e,f", 120, |i, column| {
            (mean + 1e4 * wave(i, column) / if mean > 0.0 { 1e3 } else { 1.0 }).to_string()
        });
        let arguments = ["--activation", "tanh", "--init", "xavier_normal"];
        let (result, _) = run("raw.csv", &raw, &arguments);
        let faults = result["runs"][0]["faults"].as_array().unwrap();
        assert!(!faults.is_empty(), "{mean}");
        for fault in faults {
            let remedy = fault["remedy"].as_str().unwrap();
            assert!(remedy.starts_with("--standardize the data first: the rms"), "{mean}: {fault}");
        }
        let verdict = result["runs"][0]["verdict"].as_str().unwrap();
        assert_eq!(verdict.matches("--standardize").count(), 1, "{verdict}");
        assert!(!verdict.contains("larger σ"), "{verdict}");
        let (result, _) = run("raw.csv", &raw, &[&arguments[..], &["--standardize"]].concat());
        assert!(!result["runs"][0].to_string().contains("--standardize"), "{mean}");
    }
}

#[test]
fn starts_are_ranked_over_seeds() {
    let arguments = [
        "--samples",
        "100",
        "--features",
        "60",
        "--widths",
        "50x8",
        "--activation",
        "ReLU",
        "--seeds",
        "6",
        "--init",
        "normal:std=0.01",
        "--init",
        "Kaiming_Normal",
        "--init",
        "he_normal",
    ];
    let result = json("layer-stats", &arguments);
    let ranking = &result["ranking"];
    assert_eq!(support::numbers(&ranking["seeds"]), [42.0, 43.0, 44.0, 45.0, 46.0, 47.0]);
    let starts: Vec<_> = ranking["starts"].as_array().unwrap().iter().collect();
    let places: Vec<_> = starts
        .iter()
        .map(|start| (start["rank"].as_u64().unwrap(), start["init"].as_str().unwrap()))
        .collect();
    // Two names of one start are a tie, and σ = .01 in 7 layers of 50 shrinks by √(50 · 1e-4 / 2) = .05 each.
    assert_eq!(places, [(1, "Kaiming_Normal"), (1, "he_normal"), (3, "normal:std=0.01")]);
    assert_eq!((&starts[0]["faulty"], &starts[2]["faulty"]), (&Value::from(0), &Value::from(6)));
    let distance = &starts[2]["distance"];
    let [mean, low, high] = ["mean", "low", "high"].map(|key| distance[key].as_f64().unwrap());
    let expected = -2.0 * 7.0 * 0.05f64.log10();
    assert!(low < expected + 0.5 && expected - 0.5 < high && low < mean && mean < high, "{distance}");
    // The shown runs are those of the first seed alone.
    let one =
        json("layer-stats", &arguments[..8].iter().chain(&arguments[10..]).copied().collect::<Vec<_>>());
    assert_eq!((&result["runs"], &one["ranking"]), (&one["runs"], &Value::Null));

    let table = support::stdout("layer-stats", &arguments);
    assert!(table.contains("ranking: 1. Kaiming_Normal and he_normal (tie); 3. normal:std=0.01"), "{table}");
    let csv = support::stdout("layer-stats", &[&arguments[..], &["--format", "csv"]].concat());
    assert_eq!(csv.lines().count(), 4, "{csv}");
    assert!(csv.starts_with("rank,init,faulty,distance,distance_low,distance_high,"), "{csv}");
}

/// Layers of fewer than eight outputs have no scale, and a net of them no verdict.
#[test]
fn few_outputs_get_no_verdict() {
    for (arguments, verdict) in [
        (
            "--samples 3 --features 32 --widths 1x5 --init kaiming_normal",
            "Not judged: too few outputs of layer_0 to judge its scale: 3 over all samples, and it takes 8.",
        ),
        (
            "--samples 3 --widths 2x5 --activation relu --init zeros",
            "all outputs of layer_4 are 0. Not judged: too few outputs of layer_0",
        ),
        ("--samples 3 --widths 1x5,8x1 --init xavier_normal", "Not judged: too few outputs of layer_0"),
    ] {
        let result = json("layer-stats", &arguments.split(' ').collect::<Vec<_>>());
        let said = result["runs"][0]["verdict"].as_str().unwrap();
        assert!(said.starts_with(verdict), "{arguments}: {said}");
    }
}

/// Finite outputs whose squares are beyond `f64` are told as such.
#[test]
fn outputs_whose_squares_overflow_are_no_infinities() {
    let arguments = "--dtype f64 --activation relu --init normal:std=1e100 --widths 8x4";
    let result = json("layer-stats", &arguments.split(' ').collect::<Vec<_>>());
    let said = result["runs"][0]["verdict"].as_str().unwrap();
    assert!(said.contains("too large to judge, in this layer first: their squares are beyond"), "{said}");
}

/// Standardized data are not to be standardized, and a clock in nanoseconds keeps its steps.
#[test]
fn standardized_columns_are_as_they_should_be() {
    let mostly_constant = table(&vec!["a"; 20].join(","), 40, |i, column| match column {
        7 => wave(i, 7).to_string(),
        _ => "5".into(),
    });
    let (_, stderr) = run("t.csv", &mostly_constant, &["--standardize"]);
    assert!(stderr.contains("are equal and become 0") && !stderr.contains("--standardize"), "{stderr}");
    let clock = table("t,x", 300, |i, column| match column {
        0 => (1_700_000_000_000_000_000 + i as i64).to_string(),
        _ => wave(i, 1).to_string(),
    });
    let (_, stderr) = run("t.csv", &clock, &["--standardize"]);
    assert_eq!(stderr, "");
}

/// Formulas are numbers in every option, and names have the spellings that are in use.
#[test]
fn numbers_and_names_are_read_as_people_write_them() {
    let one = "--samples 1e2 --features 2^4 --widths 8x3 --bias-std 1/3 --activation swish --dtype Float64";
    let other = "--samples 100 --features 16 --widths 8x3 --bias-std 0.3333333333333333 --activation silu --dtype f64";
    let [one, other] = [one, other].map(|text| json("layer-stats", &text.split(' ').collect::<Vec<_>>()));
    assert_eq!(one, other);
    let curve = json("activation-gradient", &["--low", "-sqrt(4)", "--high", "1/2", "--step", "1/4"]);
    assert_eq!(curve["curves"][0]["x"].as_array().map(Vec::len), Some(10), "{curve}");
}

/// Differences of J say nothing of gradients that are below their rounding errors.
#[test]
fn central_differences_are_taken_where_they_say_something() {
    let result = json("forward-backward", &["--init", "normal:std=1e-200"]);
    for check in result["checks"].as_array().unwrap() {
        let is_taken = check["gradient"] == "dJ/do" || check["name"] == "dJ/do";
        assert_eq!(check["finite_difference"].is_null(), !is_taken, "{check}");
    }
}

/// The picture of many runs has the first ones, and says so.
#[test]
fn a_picture_of_many_runs_has_a_size() {
    let folder = tempfile::tempdir().unwrap();
    let inits: Vec<String> = (1..=9).map(|std| format!("--init=normal:std={std}")).collect();
    let mut arguments = vec!["--samples", "20", "--features", "4", "--widths", "8x2", "--out", "."];
    arguments.extend(inits.iter().map(String::as_str));
    command("layer-stats", &arguments).current_dir(folder.path()).assert().success();
    let picture = fs::read_to_string(folder.path().join("layer-stats.svg")).unwrap();
    assert!(picture.contains("; 7 of 9 runs") && !picture.contains("normal:std=8"));
}
