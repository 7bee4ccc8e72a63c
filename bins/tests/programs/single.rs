//! What holds for one program alone.

use serde_json::Value;

use crate::support::{command, json, stdout};
use crate::table::program;

/// At full size the products are large enough to be split among threads.
#[test]
fn layer_stats_at_full_size_is_the_same_with_one_thread() {
    let run = |threads: &str| {
        let arguments = ["--device", "cpu", "--no-pictures", "--format", "json", "--init", "xavier_normal"];
        let assert = command("layer-stats", &arguments).env("RAYON_NUM_THREADS", threads).assert().success();
        assert.get_output().stdout.clone()
    };
    assert_eq!(run("1"), run("2"));
}

/// Every number of a layer's output is counted in its histogram.
#[test]
fn a_histogram_counts_every_output() {
    let layer = &json("layer-stats", program("layer-stats").small)["runs"][0]["layers"][0];
    assert_eq!((layer["name"].as_str(), layer["fan_in"].as_u64()), (Some("layer_0"), Some(200)));
    let counts = layer["forward"]["histogram"]["counts"].as_array().unwrap();
    assert_eq!(counts.iter().map(|count| count.as_u64().unwrap()).sum::<u64>(), 300 * 150);
}

/// A net that shrinks by a percent a layer is not told to shrink ×1; one sample and one output get no verdict
/// on dead units or on a scale, and one note.
#[test]
fn words_say_what_the_numbers_show() {
    let verdicts = |arguments: &[&str]| -> Vec<String> {
        let layers = json("layer-stats", &[&["--seed", "1"], arguments].concat());
        let runs = layers["runs"].as_array().unwrap();
        runs.iter().map(|run| run["verdict"].as_str().unwrap().to_owned()).collect()
    };
    let widths = vec!["100"; 30].join(",");
    let net = ["--samples", "50", "--features", "100", "--widths", &widths, "--activation", "identity"];
    let said = &verdicts(&[&net[..], &["--init", "orthogonal:gain=0.988"]].concat())[0];
    assert!(said.starts_with("lives but shrinks ×0.988 a layer"), "{said}");
    for said in verdicts(&["--samples", "1", "--features", "5", "--widths", "20,1"]) {
        assert!(!said.contains("dead") && !said.contains("the same number"), "{said}");
        let note =
            "Not judged: too few outputs of layer_1 to judge its scale: 1 over all samples, and it takes 8.";
        let text = stdout("layer-stats", &["--samples", "1", "--features", "5", "--widths", "20,1"]);
        assert!(text.contains(note) && !text.contains("forward, std from"), "{text}");
        assert!(said.ends_with(note) && said.matches("too few").count() == 1, "{said}");
    }
}

/// In every CSV an unknown value is empty, and the columns of theory are called predicted.
#[test]
fn csv_has_no_nan_and_names_predictions() {
    let rows = |program: &str, arguments: &[&str]| {
        let text = stdout(program, &[arguments, &["--format", "csv"]].concat());
        assert!(!text.contains("NaN") && !text.contains("inf"), "{program}: {text}");
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
        (header, rows)
    };
    // Identity matrices have no law, and weights of 1e20 overflow.
    for init in ["identity", "constant:value=1e20"] {
        let small = ["--samples", "20", "--features", "9", "--widths", "9,9", "--activation", "relu"];
        let (header, rows) = rows("layer-stats", &[&small[..], &["--init", init]].concat());
        let at = |name: &str| header.iter().position(|column| column == name).unwrap();
        assert_eq!((&rows[0][at("predicted_std")], &rows[0][at("predicted_backward_low")]), ("", ""));
        assert!(init != "identity" || !rows[1][at("backward_rms")].is_empty());
        assert_eq!(rows[1][at("std")].is_empty(), init != "identity");
    }
    // With σ_b = 0, a ReLU has a fixed point of length 0 and no correlation. With σ_w = 3 lengths grow
    // without a fixed point.
    let plane = ["--activation", "relu", "--sigma-w", "1,3", "--grid", "2x2", "--width", "9", "--depth", "4"];
    let (header, rows) = rows("phase-diagram", &plane);
    assert_eq!(header[2..5], ["predicted_q", "predicted_c", "predicted_chi_1"]);
    assert_eq!((&rows[0][2], &rows[0][3], &rows[0][6]), ("0", "", ""));
    assert!((rows[0][4].parse::<f64>().unwrap() - 0.5).abs() < 1e-12, "{:?}", rows[0]);
    assert_eq!((&rows[1][2], &rows[1][4], &rows[1][7]), ("", "", ""));
}

/// The joined parts are the bytes of the whole. A missing part, one given twice and one of another experiment
/// are refused.
#[test]
fn parts_of_a_phase_diagram_join_to_the_whole() {
    let small = program("phase-diagram").small;
    let folder = tempfile::tempdir().unwrap();
    let parts: Vec<String> = (1..=3)
        .map(|k| {
            let path = folder.path().join(format!("{k}.json"));
            let shard = format!("{k}/3");
            let text = stdout("phase-diagram", &[small, &["--shard", &shard, "--format", "json"]].concat());
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        })
        .collect();
    let whole = stdout("phase-diagram", &[small, &["--format", "json"]].concat());
    let merge = |files: &[&str]| {
        let arguments = [&["--merge"], files, &["--format", "json", "--no-pictures"]].concat();
        let output = command("phase-diagram", &arguments).output().unwrap();
        let [out, error] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        if output.status.success() { Ok(out) } else { Err(error) }
    };
    let [a, b, c] = [&parts[0], &parts[1], &parts[2]].map(String::as_str);
    assert_eq!(merge(&[c, a, b]), Ok(whole));
    assert!(merge(&[a, b]).unwrap_err().contains("2 of 6 cells are missing, [2, 0] first"));
    assert!(merge(&[a, b, b, c]).unwrap_err().contains("in two of the files"));
    let other =
        stdout("phase-diagram", &[small, &["--seed", "7", "--shard", "3/3", "--format", "json"]].concat());
    let foreign = folder.path().join("foreign.json");
    std::fs::write(&foreign, other).unwrap();
    assert!(merge(&[a, b, foreign.to_str().unwrap()]).unwrap_err().contains("is of another experiment"));
}

/// Times differ from run to run, and the rest does not. Without a GPU the result says what is missing.
#[test]
fn device_bench_measures_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let small = program("device-bench").small;
    let arguments = ["--device", "cpu", "--format", "json", "--out", out.to_str().unwrap()];
    let assert = command("device-bench", small).args(arguments).assert().success();
    let result: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert_eq!(result["missing"], "only the CPU was asked for");
    // Three jobs of four sizes each, and drawing for two widths.
    let rows = result["measured"].as_array().unwrap();
    assert_eq!(rows.len(), 14);
    for row in rows {
        let (ms, gflops) = (row["ms"].as_f64().unwrap(), row["gflops"].as_f64().unwrap());
        let (batch, width) = (row["batch"].as_f64().unwrap(), row["width"].as_f64().unwrap());
        let product = 2.0 * batch * width * width;
        let operations = match row["job"].as_str().unwrap() {
            "product" => product,
            "forward" => 4.0 * product,
            "training" => 12.0 * product,
            _ => width * width,
        };
        assert!(ms > 0.0 && (gflops * ms * 1e6 / operations - 1.0).abs() < 1e-9, "{row}");
    }
    assert_eq!(std::fs::read_dir(out).unwrap().count(), 2);
}
