//! Files of an earlier model beside a new one.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use wick_bins::names::listed;
use wick_bins::warning::warn;

/// Says on stderr which files of an earlier model of the same name stay beside the new ones: a single file, an
/// index, and shards. A loader may take them for the model.
pub(crate) fn warn_of_old_files(path: &Path, new: &[PathBuf]) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let is_new = |name: &OsStr| new.iter().any(|file| file.file_name() == Some(name));
    let mut old: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .filter(|name| !is_new(name))
        .filter_map(|name| name.into_string().ok().filter(|name| is_of(path, name)))
        .collect();
    old.sort_unstable();
    if !old.is_empty() {
        warn(&format!(
            "files of an earlier model stay beside '{}', and a loader may take them: {}; remove them, or write to \
             another folder",
            path.display(),
            listed(old.iter().map(String::as_str))
        ));
    }
}

/// Whether a file has the name of a model that is written to this path: the path's own, that of its index, or that
/// of a shard.
fn is_of(path: &Path, name: &str) -> bool {
    let part = |part: Option<&OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let (whole, stem, extension) = (part(path.file_name()), part(path.file_stem()), part(path.extension()));
    let is_number = |text: &str| text.len() >= 5 && text.bytes().all(|c| c.is_ascii_digit());
    let end = if extension.is_empty() { String::new() } else { format!(".{extension}") };
    let numbers = name.strip_prefix(&stem).and_then(|rest| rest.strip_prefix('-'));
    let numbers = numbers.and_then(|rest| rest.strip_suffix(&end)?.split_once("-of-"));
    name == whole
        || name.strip_prefix(&whole) == Some(".index.json")
        || numbers.is_some_and(|(number, count)| is_number(number) && is_number(count))
}
