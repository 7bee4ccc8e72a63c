//! A model in several files: which tensor is in which, their names, and the index.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Parts the tensors among files of at most `most` bytes of tensors each, in their order, as the hub's libraries do.
/// A tensor that is larger has a file of its own. Without a limit there is one file. The tensors are given by their
/// bytes, and returned as their indices.
pub(super) fn parted(bytes: &[u64], most: Option<u64>) -> Vec<Vec<usize>> {
    let most = most.unwrap_or(u64::MAX);
    let (mut shards, mut current, mut filled) = (Vec::new(), Vec::new(), 0u64);
    for (index, &bytes) in bytes.iter().enumerate() {
        if bytes > most {
            shards.push(vec![index]);
            continue;
        }
        if filled.saturating_add(bytes) > most {
            shards.push(std::mem::take(&mut current));
            filled = 0;
        }
        current.push(index);
        filled = filled.saturating_add(bytes);
    }
    if !current.is_empty() || shards.is_empty() {
        shards.push(current);
    }
    shards
}

/// The path of one of several files: `model-00001-of-00003.safetensors` for `model.safetensors`.
fn path_of(path: &Path, number: usize, count: usize) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{:05}-of-{count:05}", number + 1));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// The paths of this many files of tensors: one has the path itself.
pub(super) fn paths_of(path: &Path, count: usize) -> Vec<PathBuf> {
    match count {
        1 => vec![path.to_owned()],
        count => (0..count).map(|number| path_of(path, number, count)).collect(),
    }
}

/// As [`paths_of`], and the index, if there is one.
pub(super) fn files_of(path: &Path, count: usize) -> Vec<PathBuf> {
    let index = (count > 1).then(|| index_path(path));
    paths_of(path, count).into_iter().chain(index).collect()
}

/// The path of the index: `model.safetensors.index.json`.
pub(super) fn index_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path.file_name().unwrap_or_default());
    name.push(".index.json");
    path.with_file_name(name)
}

/// The file that says which tensor is in which.
#[derive(Debug, Serialize)]
pub(super) struct Index<'a> {
    metadata: Total,
    /// The name of each tensor's file.
    weight_map: BTreeMap<&'a str, String>,
}

#[derive(Debug, Serialize)]
struct Total {
    /// The bytes of all tensors.
    total_size: u64,
}

impl<'a> Index<'a> {
    pub(super) fn new(total_size: u64, weight_map: BTreeMap<&'a str, String>) -> Self {
        Self { metadata: Total { total_size }, weight_map }
    }

    pub(super) fn text(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `huggingface_hub.split_torch_state_dict_into_shards` makes of the same sizes.
    #[test]
    fn tensors_are_parted_as_by_the_hub() {
        assert_eq!(parted(&[4, 4, 4, 4], Some(8)), [[0, 1], [2, 3]]);
        assert_eq!(parted(&[4, 20, 4, 4], Some(8)), [vec![1], vec![0, 2], vec![3]]);
        assert_eq!(parted(&[4, 5, 4], Some(8)), [[0], [1], [2]]);
        assert_eq!(parted(&[9, 9], Some(8)), [[0], [1]]);
        assert_eq!(parted(&[4, 5, 4], None), [[0, 1, 2]]);
        assert_eq!(parted(&[], Some(8)), [Vec::<usize>::new()]);
    }

    #[test]
    fn names_are_those_of_the_hub() {
        let name = |path: &str| path_of(Path::new(path), 0, 12);
        assert_eq!(name("out/model.safetensors"), Path::new("out/model-00001-of-00012.safetensors"));
        assert_eq!(name("v1.5.safetensors"), Path::new("v1.5-00001-of-00012.safetensors"));
        assert_eq!(name("model"), Path::new("model-00001-of-00012"));
        assert_eq!(index_path(Path::new("a/model.safetensors")), Path::new("a/model.safetensors.index.json"));
    }
}
