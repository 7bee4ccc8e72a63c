//! What init-weights says of a preset that does not fit the tensors.

use std::path::Path;

use serde_json::Value;

use crate::support::command;

/// The lines on stderr, and the expected std of the first tensor.
fn draw(folder: &Path, arguments: &[&str]) -> (Vec<String>, f64) {
    let mut command = command("init-weights", &[]);
    let output = command.args(arguments).args(["--format", "json"]).current_dir(folder).assert().success();
    let stderr = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    let manifest: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    (stderr.lines().map(str::to_owned).collect(), manifest["tensors"][0]["expected_std"].as_f64().unwrap())
}

#[test]
fn a_preset_knows_the_original_names_and_says_what_it_does_not_meet() {
    let folder = tempfile::tempdir().unwrap();
    let llama = |names: &[&str]| {
        let shapes: Vec<String> = names.iter().map(|name| format!("{name}=8x8")).collect();
        let shapes: Vec<&str> = shapes.iter().flat_map(|shape| ["--shape", shape.as_str()]).collect();
        draw(folder.path(), &[&shapes[..], &["--preset", "llama", "--layers", "4"]].concat())
    };
    let (warnings, std) = llama(&["layers.3.attention.wo.weight", "layers.3.feed_forward.w2.weight"]);
    assert!(warnings.is_empty(), "{warnings:?}");
    // A truncated normal with cuts at ±3 std keeps .98658 of the std.
    assert!((std - 0.02 * 0.98658 / 8f64.sqrt()).abs() < 1e-7, "{std}");
    let (warnings, std) = llama(&["blk.3.attn_output.weight", "blk.3.ffn_down.weight"]);
    assert!((std - 0.02 * 0.98658).abs() < 1e-6, "{std}");
    assert_eq!(warnings.len(), 2);
    let begin = "warning: no tensor met the rules of --preset llama for the projections of ";
    for (warning, part) in warnings.iter().zip(["attention", "the feed-forward net"]) {
        assert!(warning.starts_with(&format!("{begin}{part} into the residual stream")), "{warning}");
    }
}

#[test]
fn a_depth_that_is_not_the_files_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let gpt2 = ["--preset", "gpt2", "--layers", "12"];
    let names = ["h.0.attn.c_proj", "h.0.mlp.c_proj", "h.1.attn.c_proj", "h.1.mlp.c_proj"];
    let shapes = names.map(|name| format!("{name}.weight=8x8"));
    let shapes: Vec<&str> = shapes.iter().flat_map(|shape| ["--shape", shape.as_str()]).collect();
    let (warnings, _) = draw(folder.path(), &[&shapes[..], &gpt2, &["--out", "w.safetensors"]].concat());
    assert!(warnings.is_empty(), "{warnings:?}");
    let like = ["--like", "w.safetensors", "--preset", "gpt2", "--layers"];
    let (warnings, _) = draw(folder.path(), &[&like[..], &["12"]].concat());
    let expected = "warning: the file has 2 layers and --layers says 12: weights are scaled by the latter";
    assert_eq!(warnings, [expected]);
    assert!(draw(folder.path(), &[&like[..], &["2"]].concat()).0.is_empty());
}

/// What a release has beside its weights is left out, as integers are, and the rest is drawn.
#[test]
fn buffers_are_left_out_with_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["rope.freqs=4", "layers.0.attention.wo.weight=8x8", "h.0.attn.bias=1x1x4x4"];
    let shapes: Vec<&str> = names.iter().flat_map(|shape| ["--shape", *shape]).collect();
    let (warnings, _) = draw(folder.path(), &[&shapes[..], &["--preset", "torch"]].concat());
    let expected =
        "warning: left out, for masks, positions and versions are no weights: rope.freqs, h.0.attn.bias";
    assert_eq!(warnings, [expected]);
    // The user's own rules decide for themselves.
    assert!(draw(folder.path(), &[&shapes[..], &["--init", "zeros"]].concat()).0.is_empty());
}

/// The last layer has other names.
#[test]
fn a_layer_without_what_a_preset_needs_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let names =
        ["layers.0.attention.wo", "layers.0.feed_forward.w2", "layers.1.attention.wo", "layers.1.mlp.out"];
    let shapes = names.map(|name| format!("{name}.weight=8x8"));
    let shapes: Vec<&str> = shapes.iter().flat_map(|shape| ["--shape", shape.as_str()]).collect();
    let (warnings, _) = draw(folder.path(), &[&shapes[..], &["--preset", "llama", "--layers", "2"]].concat());
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("(mlp.down_proj or feed_forward.w2) in 1 of 2 layers (layer 1); "),
        "{warnings:?}"
    );
}

/// In names with slashes, `w` has its inputs first; elsewhere it may have.
#[test]
fn a_layout_that_a_name_does_not_tell_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let shapes = ["--shape", "mlp/linear/w=3x4", "--shape", "a.w=4x4", "--shape", "b.w=3x4"];
    let (warnings, _) = draw(folder.path(), &[&shapes[..], &["--preset", "torch"]].concat());
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("which their names do not tell: b.w; if the inputs come first"),
        "{warnings:?}"
    );
    assert!(
        draw(folder.path(), &[&shapes[..], &["--preset", "llama", "--layers", "1"]].concat()).0.len() == 2
    );
}
