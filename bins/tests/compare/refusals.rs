//! What is refused, each in one line.

use crate::support::command;

#[test]
fn options_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, part) in [
        (&["--start", "zeros", "--start", "zeros"][..], "--start zeros is given twice"),
        (&["--start", "xavir_normal"], "did you mean xavier_normal"),
        (&["--start", "preset:torhc"], "unknown preset 'torhc' (did you mean torch?)"),
        (&["--nets", "8x2,8-8"], "--nets names the net 8-8 twice"),
        (&["--nets", "0x2"], "a net is 1x1 or more"),
        (&["--nets", "64x20000"], "take 10000 at most"),
        (&["--nets", "1000000x5"], "of memory"),
        (&["--steps", "0"], "--steps is 0, and must be 1 or more"),
        (&["--every", "500"], "--every is 500, and a run has 400 steps"),
        (&["--batch", "5000"], "--batch is 5000, and there are 1258 samples to train on"),
        (&["--seeds", "1"], "--seeds is 1, and one run is nothing to compare"),
        (&["--bias-std", "-1"], "--bias-std is -1, and a standard deviation is 0 or more"),
        (&["--bias-std", "1", "--no-bias"], "cannot be used with"),
        (&["--bias-std", "1", "--start", "preset:torch"], "preset:torch has biases of its own"),
        (&["--norm", "batch", "--bias-std", "1"], "cannot be used with"),
        (&["--norm", "batch", "--batch", "1"], "batch norm takes two samples or more"),
        (&["--norm", "batch", "--batch", "419"], "the last batch of 1258 samples has one"),
        (&["--nested", "--rates", "1"], "--nested tunes the rate of each run, and --rates is 1"),
        (&["--rates", "0"], "write a whole number from 1 to 25"),
        (&["--alpha", "1"], "--alpha is 1, and must be above 0 and below 1"),
        (&["--threshold", "nan"], "a threshold is not finite"),
        (&["--threshold", "0.5", "--loss-threshold", "1"], "cannot be used with"),
        (&["--validation", "0"], "--validation is 0: give --loss-threshold"),
        (&["--device", "cuda:1"], "--device is cuda:1, and compare trains small nets"),
        (&["--shard", "7/6"], "not K/N with 1 ≤ K ≤ N"),
        (&["--shard", "1/4"], "--shard is of 4 parts, and there are 3 to give away"),
        (&["--merge", "a.json", "--steps", "3"], "cannot be used with"),
        (&["--validation", "0", "--loss-threshold", "1", "--every", "5"], "--every is about validations"),
        (&["--synthetic", "linear:outputs=1000000000"], "more than 2^30 numbers in a layer"),
        (&["--synthetic", "teacher:width=40000,samples=9,test=9"], "weights has more than 2^30 numbers"),
        (&["--synthetic", "teacher:depth=2000"], "more than 1000 hidden layers"),
        (&["--synthetic", "mnist"], "did you mean mnist1d?"),
        (&["--synthetic", "linear", "--data", "digits"], "cannot be used with"),
        (&["--optimizer", "adam"], "did you mean adamw?"),
        (&["--schedule", "cosin"], "did you mean cosine?"),
    ] {
        let output =
            command("compare", &["--no-pictures"]).args(arguments).current_dir(folder.path()).output();
        let output = output.unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(2), 1), "{arguments:?}: {stderr}");
        assert!(stderr.contains(part), "{part} is not in: {stderr}");
        assert!(output.stdout.is_empty());
    }
    let missing = command("compare", &["--merge", "a.json"]).current_dir(folder.path()).output().unwrap();
    let stderr = String::from_utf8(missing.stderr).unwrap();
    assert!(missing.status.code() == Some(1) && stderr.contains("cannot open a.json"), "{stderr}");
}
