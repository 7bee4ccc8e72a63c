//! predict: the run's own preparation, and predictions in the units of the data.

use super::*;

fn rows(text: &[u8]) -> (Vec<String>, Vec<Vec<String>>) {
    let mut reader = csv::Reader::from_reader(text);
    let header = reader.headers().unwrap().iter().map(str::to_owned).collect();
    (header, reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect())
}

/// The test's accuracy is what predictions of the same samples say, and probabilities add up to 1.
#[test]
fn classes_are_predicted_with_probabilities() {
    let folder = tempfile::tempdir().unwrap();
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/digits/digits.csv");
    let run = folder.path().join("r");
    let options = ["--data", data, "--label", "digit", "--run", run.to_str().unwrap()];
    let result = json("train", &options);
    let predicted = command("predict", &["--data", data, "--run"]).arg(&run).assert().success();
    let (header, predicted) = rows(&predicted.get_output().stdout);
    assert_eq!(
        (&header[..3], predicted.len()),
        (&["class".to_owned(), "probability".into(), "probability of 0".into()][..], 1797)
    );
    let digits = fs::read_to_string(data).unwrap();
    let labels: Vec<&str> = digits.lines().skip(1).map(|line| line.rsplit(',').next().unwrap()).collect();
    let right = predicted.iter().zip(&labels).filter(|(row, label)| row[0] == **label).count();
    // All but the mistakes of validation and test are right.
    let mistakes = |part: &Value, samples: f64| (1.0 - part["accuracy"].as_f64().unwrap()) * samples;
    let run = &result["runs"][0];
    let wrong = mistakes(&run["test"], 359.0) + mistakes(&run["best"]["validation"], 180.0);
    assert_eq!(1797 - right, wrong.round() as usize);
    for row in &predicted {
        let of_each: Vec<f64> = row[2..].iter().map(|p| p.parse().unwrap()).collect();
        let probability: f64 = row[1].parse().unwrap();
        assert!((of_each.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!(of_each.iter().fold(0.0, |largest: f64, p| largest.max(*p)), probability);
    }
}

/// Values have the units of the labels, and columns may come in another order.
#[test]
fn values_are_predicted_in_the_units_of_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let data = line(folder.path());
    let run = folder.path().join("r");
    let options = [
        "--data", &data, "--label", "value", "--task", "regress", "--widths", "32", "--epochs", "200",
        "--run",
    ];
    json("train", &[&options[..], &[run.to_str().unwrap()]].concat());
    let new = folder.path().join("new.csv");
    fs::write(&new, "b,a\n3,10\n6,2\n").unwrap();
    let out = folder.path().join("out.csv");
    command("predict", &["--run"])
        .arg(&run)
        .arg("--data")
        .arg(&new)
        .arg("--out")
        .arg(&out)
        .assert()
        .success();
    let (header, predicted) = rows(&fs::read(&out).unwrap());
    assert_eq!(header, ["value"]);
    for (row, expected) in predicted.iter().zip([1000.0 + 300.0 - 60.0, 1000.0 + 60.0 - 120.0]) {
        let value: f64 = row[0].parse().unwrap();
        assert!((value - expected).abs() < 20.0, "{value} {expected}");
    }
}

#[test]
fn what_cannot_be_predicted_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |arguments: &[&str], code: i32, part: &str| {
        let output =
            command("predict", arguments).current_dir(folder.path()).assert().failure().get_output().clone();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(code), 1), "{stderr}");
        assert!(stderr.contains(part), "{stderr}");
    };
    fails(&["--run", "none", "--data", "x.csv"], 1, "'none' is no folder of a single run of train");
    let run = ["--epochs", "1", "--run", "r", "--validation", "0"];
    json("train", &[&run[..3], &[folder.path().join("r").to_str().unwrap()], &run[4..]].concat());
    fs::write(folder.path().join("x.csv"), "a,b\n1,2\n").unwrap();
    fails(&["--run", "r", "--data", "x.csv"], 1, "x.csv");
    fails(&["--run", "r", "--data", "x.csv", "--weights", "best"], 2, "the run had no --validation");
}
