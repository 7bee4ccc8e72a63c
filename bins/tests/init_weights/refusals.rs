//! What init-weights refuses, with one line on stderr.

use std::fs;

use crate::run;

#[test]
fn bad_input_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |arguments: &[&str], code, part: &str| crate::fails(folder.path(), arguments, code, part);
    let w = ["--shape", "w=3x4"];
    fails(&[], 2, "no tensors: name some with --shape");
    fails(&w, 2, "say how the tensors start");
    fails(&["--shape", "w", "--init", "ones"], 2, "NAME=800x750");
    fails(&["--shape", "w=3x-1", "--init", "ones"], 2, "NAME=800x750");
    fails(&[&w[..], &["--shape", "w=5", "--init", "ones"]].concat(), 2, "'w' is named twice");
    fails(&[&w[..], &["--preset", "gpt7"]].concat(), 2, "known: torch, keras, flax, gpt2, llama, olmo");
    fails(&[&w[..], &["--preset", "mup", "--base-width", "nan"]].concat(), 2, "a finite number above 0");
    for preset in ["gpt2", "llama", "t-fixup"] {
        fails(
            &[&w[..], &["--preset", preset]].concat(),
            2,
            "goes by the model's depth: give it as --layers N",
        );
    }
    let beyond = ["--shape", "h.3.mlp.c_proj.weight=3x4", "--preset", "gpt2", "--layers", "3"];
    fails(&beyond, 1, "'h.3.mlp.c_proj.weight': layer 3 is beyond the 3 layers");
    fails(&["--shape", "c=6x2x3x3", "--shape", "d", "--init", "ones", "--print-rules"], 2, "NAME=800x750");
    fails(&["--print-rules"], 2, "say how the tensors start");
    fails(
        &["--shape", "x.offset=3", "--shape", "y.shift=2", "--preset", "torch"],
        1,
        "'x.offset' [3], 'y.shift' [2]: add one that matches to --rules (--print-rules prints a preset's as a file)",
    );
    fails(
        &[&w[..], &["--preset", "gpt2", "--layers", "0"]].concat(),
        2,
        "write a whole number from 1 to 10000",
    );
    fails(
        &[&w[..], &["--stream", "torch", "--init", "torch.trunc_normal:a=3,b=10000000"]].concat(),
        1,
        "one uniform in a thousand",
    );
    fails(&[&w[..], &["--init", "sparse:sparsity=1.5"]].concat(), 2, "sparsity = 1.5 is out of range");
    fails(&[&w[..], &["--init", "dirac"]].concat(), 1, "'w': dirac cannot fill shape [3, 4]");
    fails(&["--shape", "b=3", "--init", "he_normal"], 1, "'b': shape [3] has no fans");
    fails(&["--shape", "c=2x3x3", "--init", "delta_orthogonal"], 1, "no more inputs than outputs");
    fails(&["--shape", "w=1000000x100000000", "--init", "ones"], 2, "TiB of memory");
    let empty = ["--shape", "a=0x4294967296x4294967297", "--init", "ones", "--out", "w.safetensors"];
    fails(&empty, 2, "'a' is [0, 4294967296, 4294967297], which no memory holds");
    fails(&["--shape", "rope.freqs=64", "--preset", "torch"], 1, "for which no preset draws numbers");
    fails(&["--shape", "a.bias=3", "--preset", "torch"], 1, "no tensor 'a.weight' has been made");
    fails(&["--like", "missing.safetensors", "--init", "ones"], 1, "cannot read 'missing.safetensors'");
    fs::write(folder.path().join("foreign.safetensors"), b"no safetensors").unwrap();
    fails(&["--like", "foreign.safetensors", "--init", "ones"], 1, "cannot read 'foreign.safetensors'");
    let weights = ["--shape", "w=30x40", "--init", "normal:std=1", "--out", "whole.safetensors"];
    run(folder.path(), &weights);
    let bytes = fs::read(folder.path().join("whole.safetensors")).unwrap();
    for cut in [3, 20, bytes.len() - 1] {
        fs::write(folder.path().join("cut.safetensors"), &bytes[..cut]).unwrap();
        fails(&["--like", "cut.safetensors", "--init", "ones"], 1, "cannot read 'cut.safetensors'");
    }
    for (text, part) in [
        ("strict = 7", "line 1: invalid type"),
        ("\n[[rule]]\npattern = \"**\"\n", "missing field `init`"),
        ("[[rule]]\npattern = \"a..b\"\ninit = \"ones\"", "rule 1: cannot read the pattern 'a..b'"),
        ("[[rule]]\npattern = \"**\"\ninit = \"none\"", "rule 1: unknown initializer 'none'"),
        ("[[rule]]\npattern = \"**\"\ninit = \"ones\"\nparts = 2\ngroups = 2", "one can be given"),
        ("strict = false", "strict = false: no layer is here to say"),
        ("[[rule]]\npattern = \"**\"\ninit = \"hint\"", "rule 1: init = \"hint\": no layer is here"),
        ("[[rule]]\npattern = \"**\"\ninit = \"ones\"\nparts = 0", "rule 1: groups, parts and stride are"),
        ("[[rule]]\npattern = \"**\"\ninit = \"ones\"\nstride = 2", "rule 1: stride is that of transposed"),
        ("[[rule]]\npattern = \"**\"\ninit = \"ones\"\ngroups = 2", "does not fit the layout groups=2"),
        (
            "[[rule]]\npattern = \"**\"\ninit = \"ones\"\nlearning_rate = \"fast\"",
            "rule 1: cannot read the learning rate 'fast'",
        ),
        ("strict = true\n[[rule]]\npattern = \"x\"\ninit = \"ones\"", "no rule for 'w' [3, 4]"),
    ] {
        fs::write(folder.path().join("r.toml"), text).unwrap();
        fails(&[&w[..], &["--rules", "r.toml"]].concat(), 1, part);
    }
    fs::write(folder.path().join("file"), "kept").unwrap();
    fails(
        &[&w[..], &["--init", "ones", "--out", "file/w.safetensors"]].concat(),
        1,
        "cannot make the folder 'file'",
    );
}

#[test]
fn what_has_no_effect_or_two_meanings_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |arguments: &[&str], code, part: &str| {
        crate::fails(folder.path(), &[&["--shape", "w=8x8"], arguments].concat(), code, part);
    };
    fails(&["--preset", "torch", "--layers", "3"], 2, "--layers is the depth for --preset gpt2, llama, olmo");
    fails(&["--init", "ones", "--layers", "3"], 2, "--layers is the depth");
    fails(&["--init", "ones", "--metadata", "a=1", "--metadata", "a=2"], 2, "--metadata a= is given twice");
    fails(&["--init", "ones", "--metadata", "=1"], 2, "KEY=TEXT");
    fails(&["--preset", "bert"], 2, "(did you mean torch?)");
    fails(&["--init", "normal:std=1e-9", "--dtype", "f16"], 1, "weights would be zero");
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
#[test]
fn a_closed_stdout_is_a_failed_run() {
    let folder = tempfile::tempdir().unwrap();
    for program in ["init-weights", "layer-stats"] {
        let run = |to: &str| {
            let arguments = match program {
                "layer-stats" => "--samples 9 --features 4 --widths 3x2 --no-pictures --device cpu",
                _ => "--shape w=3x4 --out w.safetensors",
            };
            let script = format!("exec \"$0\" --init ones {arguments} {to}");
            let mut shell = assert_cmd::Command::new("sh");
            shell.args(["-c", &script]).arg(crate::support::path(program)).current_dir(folder.path());
            shell.output().unwrap()
        };
        let closed = run(">&-");
        let said = "error: stdout is closed, and the result goes there: redirect it to a file\n";
        assert_eq!(
            (closed.status.code(), String::from_utf8(closed.stderr).unwrap().as_str()),
            (Some(1), said)
        );
        assert!(!folder.path().join("w.safetensors").exists());
        for open in [">/dev/null", "1<>/dev/null"] {
            assert!(run(open).status.success(), "{program} {open}");
        }
        let _ = fs::remove_file(folder.path().join("w.safetensors"));
    }
}
