//! The README and the pages of `docs/`, whose code blocks are compiled and run as doctests.

macro_rules! documents {
    ($($name:ident: $path:literal,)*) => { $(#[doc = include_str!($path)] mod $name {})* };
}

documents! {
    readme: "../../README.md",
    benchmarks: "../../docs/benchmarks.md",
    finite_width: "../../docs/finite-width.md",
    gpu: "../../docs/gpu.md",
    initializers: "../../docs/initializers.md",
    layers: "../../docs/layers.md",
    programs: "../../docs/programs.md",
    theory: "../../docs/theory.md",
    trace: "../../docs/trace.md",
    training: "../../docs/training.md",
    verdicts: "../../docs/verdicts.md",
    crate_files: "../../crates/files/README.md",
    crate_theory: "../../crates/theory/README.md",
    crate_kernels: "../../crates/kernels/README.md",
    crate_init: "../../crates/init/README.md",
    crate_model: "../../crates/model/README.md",
    crate_probe: "../../crates/probe/README.md",
    crate_train: "../../crates/train/README.md",
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Every page of `docs/` is listed above.
    #[test]
    fn no_page_is_forgotten() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let Ok(pages) = root.join("docs").read_dir() else { return };
        for page in pages {
            let name = page.unwrap().file_name().into_string().unwrap();
            let listed = include_str!("documents.rs").contains(&format!("\"../../docs/{name}\","));
            assert!(listed || !name.ends_with(".md"), "docs/{name} is not in tests/src/documents.rs");
        }
    }
}
