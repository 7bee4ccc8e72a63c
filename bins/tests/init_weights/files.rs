//! The names and metadata of the files that init-weights reads and writes.

use std::fs;

use wick_init::TensorFile;

use crate::{fails, run};

#[test]
fn the_metadata_of_a_copied_file_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let first = ["--shape", "w=2x2", "--init", "ones", "--metadata", "format=pt", "--metadata", "b=1=2"];
    run(folder.path(), &[&first[..], &["--out", "a.safetensors"]].concat());
    let copy = ["--like", "a.safetensors", "--init", "ones", "--out", "b.safetensors"];
    run(folder.path(), &copy);
    assert_eq!(fs::read(path("a.safetensors")).unwrap(), fs::read(path("b.safetensors")).unwrap());
    run(folder.path(), &[&copy[..], &["--metadata", "format=np"]].concat());
    let metadata = TensorFile::open(path("b.safetensors")).unwrap().metadata().clone();
    let expected = [("b", "1=2"), ("format", "np")].map(|(key, text)| (key.to_owned(), text.to_owned()));
    assert_eq!(metadata, expected.into());
    let no_text = [&first[..4], &["--metadata", "format"]].concat();
    fails(folder.path(), &no_text, 2, "KEY=TEXT");
}

#[test]
fn a_name_that_no_file_can_have_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--shape", "__metadata__=2x2", "--init", "ones", "--out", "w.safetensors"];
    fails(folder.path(), &arguments, 2, "cannot be called '__metadata__' in a safetensors file");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn odd_names_are_written_copied_and_shown_on_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["a\nb", "a=b", "#", "\u{1b}[31m", " ", "'", "𝄞"];
    let shapes: Vec<String> = names.iter().map(|name| format!("{name}=2x3")).collect();
    let shapes: Vec<&str> = shapes.iter().flat_map(|shape| ["--shape", shape.as_str()]).collect();
    run(folder.path(), &[&shapes[..], &["--init", "lecun_normal", "--out", "a.safetensors"]].concat());
    let table =
        run(folder.path(), &["--like", "a.safetensors", "--init", "lecun_normal", "--out", "b.safetensors"]);
    let table = String::from_utf8(table).unwrap();
    assert!(table.contains("a\\nb") && !table.contains('\u{1b}'), "{table}");
    let bytes = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert_eq!(bytes("a.safetensors"), bytes("b.safetensors"));
    let file = TensorFile::open(folder.path().join("b.safetensors")).unwrap();
    assert!(names.iter().all(|name| file.numbers(name).unwrap().len() == 6));
    fails(folder.path(), &["--shape", "a\nb=3", "--preset", "torch"], 1, "'a\\nb' [3]");
}

/// A file with a tensor that nobody can read, and one that two names share.
#[test]
fn foreign_and_tied_tensors_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let write = |header: &str, bytes: usize| {
        let file = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; bytes]].concat();
        fs::write(folder.path().join("f.safetensors"), file).unwrap();
    };
    let f32s = |name: &str, begin: usize| {
        format!(r#""{name}":{{"dtype":"F32","shape":[2,1],"data_offsets":[{begin},{}]}}"#, begin + 8)
    };
    let like = ["--like", "f.safetensors", "--init", "ones"];
    write(
        &format!(r#"{{{},"new":{{"dtype":"F8_E3M4","shape":[3],"data_offsets":[8,11]}}}}"#, f32s("w", 0)),
        11,
    );
    let stdout = String::from_utf8(run(folder.path(), &like)).unwrap();
    assert!(stdout.contains("1 tensor, 2 numbers"), "{stdout}");
    write(&format!("{{{},{}}}", f32s("w", 0), f32s("v", 0)), 8);
    for _ in 0..5 {
        fails(folder.path(), &like, 1, "'v' and 'w' share bytes");
    }
    write(&format!("{{{},{}}}", f32s("w", 0), f32s("w", 8)), 16);
    fails(folder.path(), &like, 1, "cannot read 'f.safetensors': its header names 'w' twice");
}

/// The manifest is not written into the file, whatever name the file has.
#[cfg(unix)]
#[test]
fn a_file_on_stdout_is_not_followed_by_the_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let draw = ["--shape", "w=2x3", "--init", "lecun_normal", "--format", "json", "--out"];
    run(folder.path(), &[&draw[..], &["w.safetensors"]].concat());
    let expected = fs::read(folder.path().join("w.safetensors")).unwrap();
    for out in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        if out.starts_with("/proc") && !cfg!(target_os = "linux") {
            continue;
        }
        let mut command = crate::command("init-weights", &draw);
        let output = command.arg(out).current_dir(folder.path()).assert().success().get_output().clone();
        assert_eq!(output.stdout, expected, "{out}");
        let manifest: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(manifest["tensors"][0]["name"], "w", "{out}");
        assert!(!folder.path().join("-").exists());
    }
    // Stdout was redirected to the file that --out names.
    let path = folder.path().join("both.safetensors");
    let mut command = std::process::Command::new(crate::support::path("init-weights"));
    command.args(draw).arg(&path).stdout(fs::File::create(&path).unwrap());
    assert!(command.output().unwrap().status.success());
    assert_eq!(fs::read(&path).unwrap(), expected);
}

/// A pipe that no one reads is no failure for stdout, and one for --out.
#[cfg(unix)]
#[test]
fn a_file_that_its_reader_does_not_take_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let draw = |out: &[&str]| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = std::process::Command::new(crate::support::path("init-weights"));
        command.args(["--shape", "w=2x3", "--init", "lecun_normal"]).args(out).current_dir(folder.path());
        let output = command.stdout(writer).stderr(std::process::Stdio::piped()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(draw(&[]), (Some(0), String::new()));
    let (code, stderr) = draw(&["--out", "-"]);
    assert_eq!((code, stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.starts_with("error: cannot write '/dev/stdout': Broken pipe"), "{stderr}");
}

/// A limit on the size of files is an error, and leaves nothing.
#[cfg(unix)]
#[test]
fn a_file_beyond_the_limit_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -f 8; exec \"$0\" --shape w=300x300 --init ones --out w.safetensors"]);
    let output =
        command.arg(crate::support::path("init-weights")).current_dir(folder.path()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains("cannot write 'w.safetensors': File too large"), "{stderr}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
