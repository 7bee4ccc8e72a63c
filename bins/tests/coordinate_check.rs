//! The coordinate check: what it refuses, and its deepest nets.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod support;

use support::{command, json, path};

#[test]
fn options_that_do_not_fit_are_refused() {
    let over_depth = |sizes: &'static str| vec!["--over", "depth", "--sizes", sizes];
    let with_optimizer = |spec: &'static str| vec!["--optimizer", spec];
    let muon = "--parametrization mup has the learning rates of Adam's muP, and --optimizer is muon";
    for (arguments, part) in [
        (vec!["--steps", "99999999999"], "--steps is 99999999999, and a net takes 100000 at most"),
        (over_depth("1,3"), "--sizes over the depth are 2 to 10000 blocks: a net of one has no branch"),
        (over_depth("2,10001"), "--sizes over the depth are 2 to 10000 blocks"),
        (
            with_optimizer("sgd:lr=0.01"),
            "and --optimizer is sgd, whose muP is another: take adamw or schedule_free",
        ),
        (with_optimizer("lion"), "and --optimizer is lion"),
        (vec!["--optimizer", "muon", "--parametrization", "mup"], muon),
    ] {
        let output = command("coordinate-check", &["--no-pictures"]).args(&arguments).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(2), 1), "{arguments:?}: {stderr}");
        assert!(stderr.contains(part), "{part} is not in: {stderr}");
        assert!(output.stdout.is_empty());
    }
}

/// The twins of what is refused: Schedule-Free AdamW is of Adam's kind, every optimizer has a standard parametrization, and
/// a parametrization that is named twice is checked once.
#[test]
fn what_fits_is_checked_once() {
    let names = |options: &[&str]| -> Vec<String> {
        let small = ["--sizes", "8,16", "--seeds", "1", "--steps", "1"];
        let result = json("coordinate-check", &[&small, options].concat());
        let runs = result["runs"].as_array().unwrap();
        runs.iter().map(|run| run["parametrization"].as_str().unwrap().to_owned()).collect()
    };
    let standard = ["--parametrization", "standard"];
    assert_eq!(names(&["--optimizer", "schedule_free"]), ["mup", "standard"]);
    for optimizer in ["sgd", "lion", "muon"] {
        assert_eq!(names(&[&["--optimizer", optimizer][..], &standard].concat()), ["standard"]);
    }
    let twice = [&standard[..], &["--parametrization", "mup"], &standard].concat();
    assert_eq!(names(&twice), ["standard", "mup"]);
}

/// A deep net is checked on a thread of its own, whose stack holds the graph: the stack of the main thread, of 256 KiB here,
/// overflows with 500 blocks. Nets of 8000 blocks pass so too; they take minutes.
#[cfg(target_os = "linux")]
#[test]
fn deep_nets_are_checked() {
    let script = "ulimit -s 256 && exec \"$0\" --over depth --sizes 2,600 --units 4 --steps 1 --seeds 1 --parametrization \
                  standard --device cpu --no-pictures";
    let shell = std::process::Command::new("sh").args(["-c", script]).arg(path("coordinate-check")).output();
    let output = shell.unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(table.contains("exponents over the depth 2, 600 of 4 units"), "{table}");
}
