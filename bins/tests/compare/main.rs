//! The comparison of starts: split, killed and gone on it gives the same bytes; what never trains counts.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod refusals;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::{command, json, path, stdout};

/// Two starts of two small nets, each at its rates with one seed, and then with three.
const SMALL: &[&str] = &[
    "--nets",
    "8x2,8x3",
    "--steps",
    "30",
    "--tuning-seeds",
    "1",
    "--seeds",
    "3",
    "--start",
    "xavier_normal",
    "--start",
    "normal:std=1",
];

/// The joined parts are the bytes of the whole, tuned or not. A missing part, one given twice and one of another
/// experiment are refused.
#[test]
fn parts_join_to_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let merge = |files: &[&str]| {
        let arguments = [&["--merge"], files, &["--format", "json", "--no-pictures"]].concat();
        let output = command("compare", &arguments).output().unwrap();
        let [out, error] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        if output.status.success() { Ok(out) } else { Err(error) }
    };
    for rates in ["1", "2", "2 --nested"] {
        let tuning: Vec<&str> = rates.split(' ').collect();
        let options = [SMALL, &["--rates"], &tuning, &["--format", "json"]].concat();
        let part = |shard: &str| stdout("compare", &[&options[..], &["--shard", shard]].concat());
        let files: Vec<String> = (1..=3)
            .map(|k| {
                let file = folder.path().join(format!("{rates}-{k}.json"));
                fs::write(&file, part(&format!("{k}/3"))).unwrap();
                file.to_str().unwrap().to_owned()
            })
            .collect();
        let [a, b, c] = [&files[0], &files[1], &files[2]].map(String::as_str);
        assert_eq!(merge(&[c, a, b]), Ok(stdout("compare", &options)));
        let error = merge(&[a, b]).unwrap_err();
        assert!(error.contains("runs are missing"), "{error}");
        let error = merge(&[a, b, b, c]).unwrap_err();
        assert!(error.contains("is in two of the files"), "{error}");
    }
    let [a, b] = ["1-1.json", "2-2.json"].map(|name| folder.path().join(name));
    let error = merge(&[a.to_str().unwrap(), b.to_str().unwrap()]).unwrap_err();
    assert!(error.contains("is of another experiment"), "{error}");
    fs::write(&a, "{}").unwrap();
    assert!(merge(&[a.to_str().unwrap()]).unwrap_err().contains("is not the JSON of a comparison"));
}

/// A comparison that is killed again and again goes on from the runs that are done, and gives the bytes of one that
/// was not; the runs that are done are not run again.
#[test]
fn a_killed_comparison_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs.jsonl");
    let options = [SMALL, &["--rates", "2", "--format", "json"]].concat();
    let whole = stdout("compare", &options);
    let options = [&options[..], &["--no-pictures", "--device", "cpu"]].concat();
    let lines = || fs::read_to_string(&runs).map_or(0, |text| text.lines().count());
    let mut kills = 0;
    while kills < 5 {
        let mut child = Command::new(path("compare"))
            .args(&options)
            .arg("--runs")
            .arg(&runs)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let before = lines();
        // Killed after a few more runs.
        while lines() < before + 3 && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        if lines() > 16 {
            break;
        }
    }
    // A line that was not ended.
    let text = fs::read_to_string(&runs).unwrap();
    fs::write(&runs, &text[..text.len() - 9]).unwrap();
    let known: Vec<String> = text.lines().map(str::to_owned).collect();
    let again = || {
        let assert = command("compare", &options).arg("--runs").arg(&runs).assert().success();
        String::from_utf8(assert.get_output().stdout.clone()).unwrap()
    };
    assert_eq!(again(), whole);
    let text = fs::read_to_string(&runs).unwrap();
    assert!(text.lines().take(known.len() - 1).eq(known[..known.len() - 1].iter().map(String::as_str)));
    // The first line, 4 cases at 2 rates with 1 seed, and with 3 seeds.
    assert_eq!(text.lines().count(), 1 + 8 + 12);
    assert_eq!(again(), whole);
    assert_eq!(fs::read_to_string(&runs).unwrap(), text);
    // Another experiment does not go on from it.
    let output = command("compare", &options).args(["--seed", "1", "--runs"]).arg(&runs).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("the runs of another experiment"), "{error}");
}

/// A start that never trains is censored, not dropped: zeros have no median, and are told from what trains; so is one
/// that diverges.
#[test]
fn what_never_trains_counts() {
    let options = [
        "--nets",
        "16x2",
        "--steps",
        "150",
        "--rates",
        "1",
        "--seeds",
        "6",
        "--threshold",
        "0.6",
        "--optimizer",
        "sgd:lr=0.1",
        "--activation",
        "relu",
        "--start",
        "kaiming_normal",
        "--start",
        "zeros",
        "--start",
        "normal:std=1e15",
    ];
    let result = json("compare", &options);
    let case = |number: usize| &result["cases"][number];
    assert_eq!((&case(0)["reached"], &case(0)["trains"]), (&Value::from(6), &Value::from(true)));
    for number in [1, 2] {
        assert_eq!((&case(number)["runs"], &case(number)["reached"]), (&Value::from(6), &Value::from(0)));
        assert!(case(number)["median_steps"].is_null());
        assert_eq!(
            (&case(number)["trains"], &case(number)["came_true"]),
            (&Value::from(false), &Value::from(true))
        );
    }
    assert_eq!((&case(1)["diverged"], &case(2)["diverged"]), (&Value::from(0), &Value::from(6)));
    assert!(case(2)["test_score"].is_null() && case(1)["test_score"]["mean"].as_f64().unwrap() < 0.2);
    let found = result["comparisons"].as_array().unwrap();
    let differs = |figure: &str, starts: [usize; 2]| {
        let is_it = |row: &&Value| row["figure"] == figure && row["starts"] == serde_json::json!(starts);
        found.iter().find(is_it).is_some_and(|row| row["differs"] == true)
    };
    assert!(differs("steps", [0, 1]) && differs("steps", [0, 2]), "{found:?}");
    assert!(differs("test_score", [0, 1]) && differs("test_score", [0, 2]), "{found:?}");
    // The two that never arrive do not differ in steps.
    assert!(found.iter().any(|row| row["figure"] == "steps" && row["p"] == 1.0 && row["differs"] == false));
    let table = stdout("compare", &options);
    assert!(
        table.contains("never") && table.contains("6 diverged") && table.contains("no difference between")
    );
}

/// With nested tuning each compared run has its own tuning runs, and the table says what that guarantees.
#[test]
fn each_run_has_its_own_tuning() {
    let options = [SMALL, &["--rates", "2", "--nested"]].concat();
    let result = json("compare", &options);
    // 4 cases of 3 runs, each tuned by one run at 2 rates.
    assert_eq!(result["runs"].as_array().unwrap().len(), 4 * 3 * (2 + 1));
    let case = &result["cases"][0];
    let [low, high] = [0, 1].map(|end| case["learning_rates"][end].as_f64().unwrap());
    let median = case["learning_rate"].as_f64().unwrap();
    assert!(low <= median && median <= high, "{case}");
    let table = stdout("compare", &options);
    let said = "two copies of one start are called different with a probability of 0.05 at most";
    assert!(table.contains(said) && table.contains("1 runs each for each compared run"), "{table}");
    assert!(!stdout("compare", &[SMALL, &["--rates", "2"]].concat()).contains(said));
}

/// Without a norm, Xavier's weights stall in 16 ReLU layers and Kaiming's train; behind batch norm both do, and compare says
/// that there is no difference.
#[test]
fn behind_batch_norm_the_start_hardly_matters() {
    let options = [
        "--nets",
        "32x16",
        "--activation",
        "relu",
        "--optimizer",
        "sgd:lr=0.03",
        "--steps",
        "200",
        "--threshold",
        "0.5",
        "--rates",
        "3",
        "--tuning-seeds",
        "1",
        "--seeds",
        "5",
        "--start",
        "kaiming_normal",
        "--start",
        "xavier_normal",
    ];
    let difference = |norm: &str| {
        let result = json("compare", &[&options[..], &["--norm", norm]].concat());
        assert_eq!(result["experiment"]["norm"], norm);
        let reached = [0, 1].map(|case| result["cases"][case]["reached"].as_u64().unwrap());
        (reached, result["comparisons"][0]["differs"].as_bool().unwrap())
    };
    assert_eq!(difference("none"), ([5, 0], true));
    assert_eq!(difference("batch"), ([5, 5], false));
    let table = stdout("compare", &[&options[..], &["--norm", "batch"]].concat());
    assert!(table.contains("relu behind batch norm") && table.contains("no difference between"), "{table}");
}

/// Biases are drawn, and the depth scales know them: for tanh with σ_w = 1 and σ_b² = .05, ξ_c is 3.627 layers, so that 21
/// hidden layers are not too deep, and 22 are. Without biases σ_w = 1 is critical.
#[test]
fn the_prediction_knows_the_biases() {
    let options = |bias: &'static str, nets: &'static str| {
        json(
            "compare",
            &[
                "--nets",
                nets,
                "--steps",
                "10",
                "--rates",
                "1",
                "--seeds",
                "2",
                "--bias-std",
                bias,
                "--start",
                "lecun_normal",
            ],
        )
    };
    let result = options("sqrt(0.05)", "128x21,128x22");
    let prediction = |case: usize| &result["cases"][case]["prediction"];
    let xi = prediction(0)["xi_c"].as_f64().unwrap();
    assert!((xi - 3.627).abs() < 0.004, "{xi}");
    let is_too_deep = [0, 1].map(|case| prediction(case)["is_too_deep"].as_bool().unwrap());
    assert_eq!(is_too_deep, [false, true]);
    assert!(options("0", "128x22")["cases"][0]["prediction"]["is_too_deep"] == false);
}

/// Every task that can be drawn trains, and a run ends at its threshold where it is to.
#[test]
fn drawn_tasks_are_compared() {
    let common = ["--rates", "1", "--seeds", "2", "--steps", "60"];
    for task in ["teacher:samples=200,test=50", "mnist1d:samples=200,test=50", "linear"] {
        let result = json("compare", &[&common[..], &["--synthetic", task, "--nets", "16x2"]].concat());
        assert_eq!(result["experiment"]["data"], task);
        assert_eq!(result["runs"].as_array().unwrap().len(), 6);
    }
    // Of three comparisons with two runs each, none can find a difference: the least probability is 3 · 2/6.
    let options = [&common[..], &["--synthetic", "linear", "--nets", "16x2"]].concat();
    for row in json("compare", &options)["comparisons"].as_array().unwrap() {
        assert_eq!((&row["least_p"], &row["differs"]), (&Value::from(1.0), &Value::from(false)));
        assert_eq!(row["learning_rates"], serde_json::json!([0.01, 0.01]));
    }
    let table = stdout("compare", &options);
    let said = "with 2 runs each no difference can be found at this level: take --seeds 5";
    assert!(table.contains(said) && !table.contains("no difference between"), "{table}");
    let linear = [
        "--synthetic",
        "linear:samples=16",
        "--activation",
        "identity",
        "--no-bias",
        "--nets",
        "32x3",
        "--optimizer",
        "sgd:lr=0.03,momentum=0",
        "--batch",
        "14",
        "--every",
        "1",
        "--loss-threshold",
        "1",
        "--start",
        "orthogonal",
        "--stop-at-threshold",
    ];
    let result =
        json("compare", &[&["--rates", "1", "--seeds", "2", "--steps", "200"], &linear[..]].concat());
    for run in result["runs"].as_array().unwrap() {
        let course = &run["course"];
        assert_eq!(course["ended"], "at_threshold", "{course}");
        assert_eq!(course["history"].as_array().unwrap().last().unwrap()["step"], course["reached"]);
    }
    assert!(result["comparisons"].as_array().unwrap().is_empty());
}
