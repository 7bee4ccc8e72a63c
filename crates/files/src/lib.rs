//! Writes whole files, each one as it was or as it is to be, and sets of files with an index.
//!
//! A file is written to a temporary file in the folder of its target, synced to the disk, and renamed to the
//! target; the folder is synced too. A reader therefore sees the old file or the new one and no half of
//! either, and a failure leaves the old file as it was and no temporary file.
//!
//! What a write does to the file system:
//!
//! | the target is | the write |
//! |---|---|
//! | missing | makes it, and its folder; its mode is `0666` less the umask |
//! | a regular file | replaces it and keeps its mode, and its owner and group where the process may |
//! | a file that the process may not write (`0444`) | fails, although the folder would allow it; root may write all |
//! | a file in a folder that the process may not write in | fails: the temporary file needs the folder |
//! | a file with several hard links | replaces the one of this name; the others keep the old contents |
//! | a symbolic link | replaces or makes the file that the link points to, and keeps the link |
//! | a device or a pipe | writes into it |
//! | an open file of the process (`/dev/stdout`, `/dev/fd/3`), or a link to it | writes at its offset |
//! | a folder | fails |
//!
//! A write to an open file goes through a duplicate of its descriptor, which shares its offset: with
//! `program > file` what the program prints before and after the write stays. The buffer of
//! [`std::io::stdout`] is flushed first; buffers of the caller over other descriptors are the caller's to
//! flush.
//!
//! The temporary file never has a permission that the finished file lacks. Until the contents are written, a
//! file that replaces another is open to its owner only, because its group is still that of the process.
//! Set-user-ID and set-group-ID bits are kept only together with both owner and group.
//!
//! Access control lists (ACLs) are not kept: the new file has the list that its folder gives to new files, or
//! none. The group bits of a file with a list are the mask of the list, and become the rights of the group of
//! the new file, which may have had fewer under the list.
//!
//! Several files cannot be replaced at one moment. [`FileSet`] removes the old index of a set first and puts the new
//! one in its place last: without an index there is no set, and no reader takes old and new files for one.
//!
//! Folders that a write made stay if the write fails afterwards; their names are synced to the disk too.
//!
//! [`Appended`] is a file that grows, such as a log.
//!
//! ```
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("results/numbers.csv");
//! wick_files::write(&path, b"1,2\n")?;
//! wick_files::write_with(&path, |out| (1..=3).try_for_each(|n| writeln!(out, "{n}")))?;
//! assert_eq!(std::fs::read(&path)?, b"1\n2\n3\n");
//! # Ok::<(), std::io::Error>(())
//! ```

mod append;
mod closed;
mod descriptor;
mod error;
#[doc(hidden)]
pub mod faults;
mod registry;
mod target;
mod temporary;
mod write;

pub use append::Appended;
pub use closed::stdout_was_closed;
pub use registry::{remove_temporaries, remove_temporaries_on_signals, stop_on_signals};
pub use write::{FileSet, check_files, check_folder, is_stdout, remove_file, write, write_all, write_with};
