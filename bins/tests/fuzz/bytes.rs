//! Inputs: bytes at random, and valid ones with some edits.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// One change of an input.
#[derive(Debug, Clone)]
enum Edit {
    Replace(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, u8),
    Repeat(Index, u8, u8),
    Cut(Index),
}

/// Texts that are special in one format or another.
const WORDS: [&str; 42] = [
    "18446744073709551615",
    "9223372036854775808",
    "4294967296",
    "1e999",
    "-1e999",
    "1e-400",
    "-0",
    "-1",
    "0",
    "NaN",
    "inf",
    "null",
    "true",
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    ",",
    ":",
    ";",
    "=",
    "\"",
    "'",
    "\\",
    "\n",
    "\r\n",
    "\t",
    "\0",
    "*",
    "**",
    "..",
    ".",
    "×",
    "\u{feff}",
    "F32",
    "BOOL",
    "<f8",
    "__metadata__",
    "[[rule]]",
    "# ",
];

fn edit() -> impl Strategy<Value = Edit> {
    let word = prop_oneof![
        8 => select(&WORDS[..]).prop_map(|word| word.as_bytes().to_vec()),
        2 => vec(any::<u8>(), 1..9),
        1 => (select(&["(", "[", "{\"a\":", "[[", "**.", "1,"][..]), 1..3000usize)
            .prop_map(|(word, times)| word.repeat(times).into_bytes()),
    ];
    prop_oneof![
        3 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        4 => (any::<Index>(), word).prop_map(|(at, word)| Edit::Insert(at, word)),
        2 => (any::<Index>(), 1..20u8).prop_map(|(at, bytes)| Edit::Remove(at, bytes)),
        2 => (any::<Index>(), 1..40u8, 1..20u8).prop_map(|(at, bytes, times)| Edit::Repeat(at, bytes, times)),
        1 => any::<Index>().prop_map(Edit::Cut),
    ]
}

fn apply(bytes: &mut Vec<u8>, edit: &Edit) {
    let place = |at: &Index| at.index(bytes.len() + 1);
    let range = |at: &Index, count: u8| place(at)..(place(at) + usize::from(count)).min(bytes.len());
    match edit {
        Edit::Replace(at, byte) => {
            let at = place(at);
            if let Some(old) = bytes.get_mut(at) {
                *old = *byte;
            }
        }
        Edit::Insert(at, word) => {
            let at = place(at);
            bytes.splice(at..at, word.iter().copied());
        }
        Edit::Remove(at, count) => {
            let range = range(at, *count);
            bytes.drain(range);
        }
        Edit::Repeat(at, count, times) => {
            let range = range(at, *count);
            let part = bytes[range.clone()].repeat(usize::from(*times));
            bytes.splice(range, part);
        }
        Edit::Cut(at) => {
            let at = place(at);
            bytes.truncate(at);
        }
    }
}

/// An input of a reader: one in four is bytes at random, the others are one of `valid` with some edits, to which
/// `repair` is applied in half of the cases: it corrects a length that the edits made wrong.
pub(crate) fn inputs(valid: Vec<Vec<u8>>, repair: fn(&mut [u8])) -> impl Strategy<Value = Vec<u8>> {
    let edited =
        (select(valid), vec(edit(), 0..6), any::<bool>()).prop_map(move |(mut bytes, edits, repaired)| {
            edits.iter().for_each(|edit| apply(&mut bytes, edit));
            if repaired {
                repair(&mut bytes);
            }
            bytes
        });
    prop_oneof![1 => vec(any::<u8>(), 0..200), 3 => edited]
}
