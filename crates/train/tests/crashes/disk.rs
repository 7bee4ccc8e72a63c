//! A model of a disk: what each operation of a run does, what a kill or a power cut leaves, and faults.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use wick_files::faults::{Answer, Operation, Watch, watch};

/// The files of a folder and of those in it, by path; `None` is a folder.
pub type Tree = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// What happens at the operation with the number of the plan, and from it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The process is killed: half of a write is done, any other operation is not, and nothing after it.
    Kill,
    /// The machine loses its power; what was not synced is lost as these say.
    PowerCut(Data, Names),
    /// Nothing more fits on the disk.
    Full,
    /// The device reports an error, once.
    Error,
    /// A write writes half of its bytes, once.
    Short,
}

/// What a power cut leaves of bytes that were written and not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    Kept,
    Half,
    Lost,
    /// The file is as long as it was, and the bytes are zeros.
    Zeros,
}

/// What a power cut leaves of new names, renames and removals in folders that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    Kept,
    Lost,
}

pub const FAULTS: [Fault; 11] = [
    Fault::Kill,
    Fault::PowerCut(Data::Kept, Names::Lost),
    Fault::PowerCut(Data::Half, Names::Kept),
    Fault::PowerCut(Data::Half, Names::Lost),
    Fault::PowerCut(Data::Lost, Names::Kept),
    Fault::PowerCut(Data::Lost, Names::Lost),
    Fault::PowerCut(Data::Zeros, Names::Kept),
    Fault::PowerCut(Data::Zeros, Names::Lost),
    Fault::Full,
    Fault::Error,
    Fault::Short,
];

/// The undoing of a change of names: what its paths had before.
struct Undo {
    folder: PathBuf,
    before: Vec<(PathBuf, Option<Vec<u8>>)>,
    /// A rename takes what is known of the file along.
    renamed: Option<(PathBuf, PathBuf)>,
}

/// A sync that the model takes for none: the device reports it and does nothing, or the program forgot it.
pub type Forgotten = fn(&Operation) -> bool;

struct Model {
    root: PathBuf,
    fault: Fault,
    at: usize,
    forgotten: Forgotten,
    operations: Vec<String>,
    /// The tree that a crash left.
    left: Option<Tree>,
    /// What was last synced of the files that were written since.
    synced: BTreeMap<PathBuf, Vec<u8>>,
    undo: Vec<Undo>,
    /// The steps whose checkpoints were renamed, and the last one of which the folder was synced afterwards.
    renamed: BTreeSet<u64>,
    durable: u64,
}

/// A disk with a plan, which this thread's operations meet until it is ended.
pub struct Disk {
    model: Rc<RefCell<Model>>,
    _watch: Watch,
}

/// What a disk saw.
pub struct Seen {
    pub operations: Vec<String>,
    /// The step of the last checkpoint that was on the disk for certain.
    pub durable: u64,
}

impl Disk {
    pub fn new(root: &Path, fault: Fault, at: usize, forgotten: Forgotten) -> Self {
        let model = Rc::new(RefCell::new(Model {
            root: root.to_owned(),
            fault,
            at,
            forgotten,
            operations: Vec::new(),
            left: None,
            synced: BTreeMap::new(),
            undo: Vec::new(),
            renamed: BTreeSet::new(),
            durable: 0,
        }));
        let told = model.clone();
        let watch = watch(move |operation| told.borrow_mut().meet(operation));
        Self { model, _watch: watch }
    }

    /// Ends the plan, and leaves on the real disk what the crash left.
    pub fn end(self) -> Seen {
        let mut model = self.model.borrow_mut();
        if let Some(tree) = model.left.take() {
            restore(&model.root, &tree);
        }
        Seen { operations: std::mem::take(&mut model.operations), durable: model.durable }
    }
}

impl Model {
    fn meet(&mut self, operation: &Operation) -> Answer {
        let error = |number: i32| Answer::Fail(io::Error::from_raw_os_error(number));
        if self.left.is_some() {
            return error(EIO);
        }
        let number = self.operations.len();
        self.operations.push(self.describe(operation));
        match self.fault {
            Fault::Kill | Fault::PowerCut(..) if number == self.at => {
                self.crash(operation);
                return error(EIO);
            }
            Fault::Full if number >= self.at && needs_space(operation) => return error(ENOSPC),
            Fault::Error if number == self.at => return error(EIO),
            _ => (),
        }
        self.note(operation);
        match (self.fault, operation) {
            (Fault::Short, Operation::Write(_, bytes)) if number == self.at => Answer::Short(bytes.len() / 2),
            // The model says what is synced; the real disk need not be waited for.
            (_, Operation::Sync(_) | Operation::SyncFolder(_)) => Answer::Skip,
            _ => Answer::Go,
        }
    }

    /// Notes what a power cut would undo.
    fn note(&mut self, operation: &Operation) {
        let content = |path: &Path| fs::read(path).ok();
        if let Operation::SyncFolder(folder) = *operation
            && folder.ends_with("checkpoints")
        {
            self.durable = self.renamed.iter().copied().max().unwrap_or(0);
        }
        match *operation {
            Operation::Sync(_) | Operation::SyncFolder(_) if (self.forgotten)(operation) => (),
            Operation::Write(path, _) | Operation::Cut(path, _) => {
                self.synced.entry(path.to_owned()).or_insert_with(|| content(path).unwrap_or_default());
            }
            Operation::Sync(path) => drop(self.synced.remove(path)),
            Operation::SyncFolder(folder) => self.undo.retain(|undo| undo.folder != folder),
            Operation::MakeFolder(path) | Operation::Make(path) | Operation::Remove(path) => {
                let before = vec![(path.to_owned(), content(path))];
                self.undo.push(Undo { folder: folder_of(path), before, renamed: None });
            }
            Operation::Rename(from, to) => {
                let before = vec![(to.to_owned(), content(to))];
                let renamed = Some((from.to_owned(), to.to_owned()));
                self.undo.push(Undo { folder: folder_of(to), before, renamed });
                if let Some(synced) = self.synced.remove(from) {
                    self.synced.insert(to.to_owned(), synced);
                }
                let name = to.file_name().and_then(|name| name.to_str());
                let step = name.and_then(|name| name.strip_prefix("step-")?.strip_suffix(".safetensors"));
                self.renamed.extend(step.and_then(|step| step.parse::<u64>().ok()));
            }
        }
    }

    /// Keeps what a crash leaves in the middle of an operation.
    fn crash(&mut self, operation: &Operation) {
        if matches!(operation, Operation::Write(..)) {
            self.note(operation);
        }
        let mut tree = read(&self.root);
        if let Operation::Write(path, bytes) = operation
            && let Some(Some(content)) = tree.get_mut(*path)
        {
            content.extend(&bytes[..bytes.len() / 2]);
        }
        if let Fault::PowerCut(data, names) = self.fault {
            for (path, synced) in &self.synced {
                if let Some(Some(content)) = tree.get_mut(path) {
                    lose(content, synced, data);
                }
            }
            let undone = if names == Names::Lost { std::mem::take(&mut self.undo) } else { Vec::new() };
            for undo in undone.into_iter().rev() {
                if let Some((from, to)) = undo.renamed
                    && let Some(content) = tree.remove(&to)
                {
                    tree.insert(from, content);
                }
                for (path, content) in undo.before {
                    match content {
                        Some(content) => drop(tree.insert(path, Some(content))),
                        None => tree.retain(|other, _| !other.starts_with(&path)),
                    }
                }
            }
        }
        self.left = Some(tree);
    }

    fn describe(&self, operation: &Operation) -> String {
        let name = |path: &Path| path.strip_prefix(&self.root).unwrap_or(path).display().to_string();
        match *operation {
            Operation::MakeFolder(path) => format!("make the folder {}", name(path)),
            Operation::Make(path) => format!("make {}", name(path)),
            Operation::Write(path, bytes) => format!("write {} bytes to {}", bytes.len(), name(path)),
            Operation::Cut(path, length) => format!("cut {} to {length} bytes", name(path)),
            Operation::Sync(path) => format!("sync {}", name(path)),
            Operation::Rename(from, to) => format!("rename {} to {}", name(from), name(to)),
            Operation::Remove(path) => format!("remove {}", name(path)),
            Operation::SyncFolder(path) => format!("sync the folder {}", name(path)),
        }
    }
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

fn needs_space(operation: &Operation) -> bool {
    matches!(operation, Operation::MakeFolder(_) | Operation::Make(_) | Operation::Write(..))
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}

/// Takes from a file what was written and not synced.
fn lose(content: &mut Vec<u8>, synced: &[u8], data: Data) {
    let common = synced.iter().zip(&*content).take_while(|(a, b)| a == b).count();
    match data {
        Data::Kept => (),
        Data::Half => content.truncate(common + (content.len() - common) / 2),
        Data::Lost => *content = synced.to_vec(),
        Data::Zeros => content[common..].fill(0),
    }
}

/// The files under a folder.
pub fn read(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let content = if path.is_dir() { None } else { Some(fs::read(&path).unwrap()) };
            if content.is_none() {
                folders.push(path.clone());
            }
            tree.insert(path, content);
        }
    }
    tree
}

fn restore(root: &Path, tree: &Tree) {
    fs::remove_dir_all(root).unwrap();
    fs::create_dir_all(root).unwrap();
    for (path, content) in tree {
        match content {
            None => fs::create_dir_all(path).unwrap(),
            Some(content) => fs::write(path, content).unwrap(),
        }
    }
}
