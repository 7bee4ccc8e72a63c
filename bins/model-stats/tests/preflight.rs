//! model-stats with data, and with the checks before a training.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::path::Path;

use assert_cmd::Command;
use serde_json::{Value, json};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_model-stats"));
    command.args(arguments).args(["--device", "cpu", "--no-pictures"]).env_remove("RUST_BACKTRACE");
    command
}

fn stdout(arguments: &[&str]) -> String {
    let assert = command(arguments).assert().success();
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

fn of(arguments: &[&str]) -> Value {
    serde_json::from_str(&stdout(&[arguments, &["--format", "json"]].concat())).unwrap()
}

fn refused(folder: &Path, arguments: &[&str], said: &str) {
    let output = command(arguments).current_dir(folder).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
    assert!(stderr.ends_with(&format!("error: {said}\n")), "{arguments:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
}

/// The findings are the same in the table, the JSON and the CSV, after the layers: of vit, that its graph is cut, and
/// not that the loss or the layers are off.
#[test]
fn findings_in_every_format() {
    let arguments = ["--model", "vit", "--preflight"];
    let result = of(&arguments);
    let findings = result["preflight"]["findings"].as_array().unwrap();
    let checks: Vec<&str> = findings.iter().map(|finding| finding["check"].as_str().unwrap()).collect();
    assert!(checks.contains(&"reach"), "{findings:#?}");
    assert!(!checks.contains(&"loss") && !checks.contains(&"samples"), "{findings:#?}");
    assert_eq!(result["preflight"]["targets"], "cross entropy of drawn targets");

    let table = stdout(&arguments);
    let csv = stdout(&[&arguments[..], &["--format", "csv"]].concat());
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let column = |name: &str| header.iter().position(|column| column == name).unwrap();
    let records: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
    let layers = result["layers"].as_array().unwrap().len();
    assert_eq!(records.len(), layers + findings.len());
    for (finding, record) in findings.iter().zip(&records[layers..]) {
        let text = finding["text"].as_str().unwrap();
        assert!(table.contains(text), "{text}");
        assert_eq!(&record[column("finding")], text);
        assert_eq!(&record[0], finding["check"].as_str().unwrap());
        assert_eq!(&record[column("level")], finding["level"].as_str().unwrap());
        assert_eq!(record[column("figure")].parse::<f64>().ok(), finding["figure"].as_f64());
        assert_eq!(&record[column("state")], "preflight");
    }
    // Without the option there is nothing of it.
    let without = of(&["--model", "vit"]);
    assert_eq!(without["preflight"], Value::Null);
    assert_eq!(without["layers"], result["layers"]);
}

/// A start that is too large is named by its loss, and one as it should be is not.
#[test]
fn findings_are_of_the_start() {
    let checks = |arguments: &[&str]| -> Vec<String> {
        let result = of(&[&["--model", "gemma", "--preflight", "--batch", "4"], arguments].concat());
        let findings = result["preflight"]["findings"].as_array().unwrap().clone();
        findings.iter().map(|finding| finding["check"].as_str().unwrap().to_owned()).collect()
    };
    let healthy = checks(&[]);
    assert!(healthy.iter().all(|check| check == "reach"), "{healthy:?}");
    let large = checks(&["--init", "lecun_normal:gain=8"]);
    assert!(large.iter().any(|check| check == "loss"), "{large:?}");
    // The law is that of the draw, so that no layer is outside of its band.
    assert!(!large.iter().any(|check| check == "bands"), "{large:?}");
}

/// Images and rows of a table as `train` reads them, and the loss of their labels.
#[test]
fn data_as_train_reads_them() {
    let result = of(&["--model", "resnet18", "--data", "digits", "--batch", "4", "--preflight"]);
    let experiment = &result["experiment"];
    assert_eq!(experiment["input"], json!({"kind": "images", "shape": [4, 3, 8, 8], "drawn": false}));
    assert_eq!(experiment["loss"], "cross entropy");
    assert_eq!(result["preflight"]["targets"], "cross entropy of the data's targets");
    // candle has no backward pass for its max-pool: nothing trains.
    let findings = result["preflight"]["findings"].as_array().unwrap();
    assert!(
        findings.iter().any(|finding| finding.to_string().contains("the backward pass is an error")),
        "{findings:?}"
    );
    // Grey images are standardized by columns, and go to each of the three channels.
    let folder = tempfile::tempdir().unwrap();
    let rows = |write: &dyn Fn(usize) -> String| -> String {
        (0..12)
            .map(|i| {
                let pixels: Vec<String> = (0..48).map(|j| ((i * 7 + j * j) % 17).to_string()).collect();
                format!("{},{}\n", pixels.join(","), write(i))
            })
            .collect()
    };
    let names: Vec<String> = (0..48).map(|j| format!("p{j}")).collect();
    let header = format!("{},label\n", names.join(","));
    let write = |text: String| std::fs::write(folder.path().join("d.csv"), header.clone() + &text).unwrap();
    write(rows(&|i| (i % 2).to_string()));
    let path = folder.path().join("d.csv");
    let of_rows = of(&["--model", "efficientnet-b0", "--data", path.to_str().unwrap()]);
    // 48 numbers are three channels of 4 x 4.
    assert_eq!(of_rows["experiment"]["input"]["shape"], json!([2, 3, 4, 4]));
}

#[test]
fn data_that_a_model_does_not_take() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str], said: &str| refused(folder.path(), arguments, said);
    refused(
        &["--model", "llama", "--data", "digits"],
        "llama takes tokens: give --tokens, or --batch and --length, for --data",
    );
    refused(
        &["--model", "vit", "--data", "digits"],
        "vit takes images of 16 x 16 pixels, and those of --data have 8 x 8",
    );
    refused(
        &["--model", "resnet18", "--data", "digits", "--batch", "1798"],
        "--batch is 1798, and 'digits' has 1797 samples",
    );
    refused(&["--model", "resnet18", "--drop", "a"], "--drop is about --data: give that, or leave it out");
    let rows: String = (0..12).map(|i| format!("{i},{},{},{}\n", i * i % 7, i * 3 % 5, i % 11)).collect();
    std::fs::write(folder.path().join("three.csv"), format!("a,b,c,label\n{rows}")).unwrap();
    refused(
        &["--model", "resnet18", "--data", "three.csv"],
        "a sample of 'three.csv' has the shape 3, and the model takes images of 1 or 3 channels: give images \
         [height, width] or [channels, height, width], or rows with the pixels of a square one",
    );
    let rows: String = (0..12).map(|i| format!("{i},{},{},{},{i}\n", i * i % 7, i * 3 % 5, i % 11)).collect();
    std::fs::write(folder.path().join("four.csv"), format!("a,b,c,d,label\n{rows}")).unwrap();
    refused(
        &["--model", "efficientnet-b0", "--data", "four.csv"],
        "the data have 12 classes, and the model makes 2×10: give a --config with as many outputs",
    );
    refused(
        &["--model", "efficientnet-b0", "--data", "four.csv", "--task", "regress"],
        "the data have 1 target for each sample, and the model makes 10 numbers: give a --config with as many \
         outputs, or --task classify",
    );
    refused(
        &["--model", "resnet18", "--data", "digits", "--images", "2x8"],
        "the argument '--data <digits|fashion-mnist|FILE>' cannot be used with '--images <NxSIZE>'",
    );
}
