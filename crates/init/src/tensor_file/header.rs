//! The header of a safetensors file: JSON that says where each tensor is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use super::stored::{METADATA, StoredTensor, check_shape};
use crate::error::quoted;

/// What a header says.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) metadata: BTreeMap<String, String>,
    /// In the order of their bytes; those without bytes in the order of their names.
    pub(super) tensors: Vec<StoredTensor>,
}

/// What a header says of a tensor. The type is text, so that a type of the future spoils one tensor and not
/// the file.
#[derive(serde::Deserialize)]
struct Info {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

/// The entries of a JSON object in their order, equal keys too, of which a map would lose one.
struct Entries<T>(Vec<(String, T)>);

/// A value of the header.
enum Value {
    Metadata(Entries<String>),
    Tensor(Info),
}

/// Reads a value by its key. An error names the key.
trait Keyed: Sized {
    fn next<'de, A: MapAccess<'de>>(key: &str, map: &mut A) -> Result<Self, A::Error>;
}

impl Keyed for String {
    fn next<'de, A: MapAccess<'de>>(key: &str, map: &mut A) -> Result<Self, A::Error> {
        map.next_value().map_err(|error| A::Error::custom(format!("{}: {error}", quoted(key))))
    }
}

impl Keyed for Value {
    fn next<'de, A: MapAccess<'de>>(key: &str, map: &mut A) -> Result<Self, A::Error> {
        let value = match key {
            METADATA => map
                .next_value::<Option<_>>()
                .map(|entries| Self::Metadata(entries.unwrap_or(Entries(Vec::new())))),
            _ => map.next_value().map(Self::Tensor),
        };
        value.map_err(|error| A::Error::custom(format!("{}: {error}", quoted(key))))
    }
}

impl<'de, T: Keyed> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);

        impl<'de, T: Keyed> Visitor<'de> for Reader<T> {
            type Value = Entries<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    let value = T::next(&key, &mut map)?;
                    entries.push((key, value));
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Reader(PhantomData))
    }
}

impl Header {
    /// Reads a header; an error is the reason in words.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        let foreign = |error: serde_json::Error| format!("it is no safetensors file: its header: {error}");
        let Entries(entries) = serde_json::from_slice::<Entries<Value>>(text).map_err(foreign)?;
        if let Some(twice) = repeated(&entries) {
            return Err(format!("its header names {} twice: which one is meant?", quoted(twice)));
        }
        let (mut metadata, mut tensors) = (BTreeMap::new(), Vec::with_capacity(entries.len()));
        for (name, value) in entries {
            match value {
                Value::Metadata(Entries(texts)) => {
                    if let Some(twice) = repeated(&texts) {
                        return Err(format!("its {METADATA} have {} twice", quoted(twice)));
                    }
                    metadata = texts.into_iter().collect();
                }
                Value::Tensor(Info { dtype, shape, data_offsets: (begin, end) }) => {
                    tensors.push(StoredTensor { name, dtype, shape, begin, end });
                }
            }
        }
        tensors.sort_by(|a, b| (a.begin, a.end, &a.name).cmp(&(b.begin, b.end, &b.name)));
        check(&tensors)?;
        Ok(Self { metadata, tensors })
    }
}

/// The first key that another entry has, too.
fn repeated<T>(entries: &[(String, T)]) -> Option<&str> {
    let mut seen = BTreeSet::new();
    entries.iter().map(|(key, _)| key.as_str()).find(|key| !seen.insert(*key))
}

/// Checks that the tensors have all the bytes, each its own, and as many as its shape takes.
fn check(tensors: &[StoredTensor]) -> Result<(), String> {
    let mut last: Option<&StoredTensor> = None;
    for tensor in tensors {
        let name = quoted(&tensor.name);
        let (begin, end) = (tensor.begin, tensor.end);
        let free = last.map_or(0, |last| last.end);
        if end < begin {
            return Err(format!("{name} ends at byte {end}, before it begins at {begin}"));
        }
        if let Some(last) = last.filter(|last| begin < last.end) {
            let other = quoted(&last.name);
            return Err(format!(
                "{other} and {name} share bytes, which safetensors does not allow: save tied tensors once"
            ));
        }
        if begin > free {
            return Err(format!("bytes {free} to {begin}, before {name}, belong to no tensor"));
        }
        let shape = &tensor.shape;
        check_shape(&tensor.name, shape).map_err(|error| error.to_string())?;
        let count: usize = shape.iter().product();
        let takes = |bits: usize| count.checked_mul(bits) == (end - begin).checked_mul(8);
        if !tensor.known_dtype().is_none_or(|dtype| takes(dtype.bitsize())) {
            let (dtype, bytes) = (&tensor.dtype, end - begin);
            return Err(format!("{name} has {bytes} bytes, which is not what {shape:?} {dtype} takes"));
        }
        last = Some(tensor);
    }
    Ok(())
}
