use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use proptest::prelude::*;
use safetensors::Dtype;

use super::*;
use crate::{InitMap, Initializer};

/// A file that is removed when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("wick-init-{name}-{}.safetensors", std::process::id())))
    }

    fn of(name: &str, bytes: &[u8]) -> Self {
        let file = Self::new(name);
        fs::write(&file.0, bytes).unwrap();
        file
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The bytes of a file with this header and `n` bytes after it.
fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn reason(name: &str, bytes: &[u8]) -> String {
    let file = Scratch::of(name, bytes);
    let text = TensorFile::open(&file.0).unwrap_err().to_string();
    assert!(text.starts_with(&format!("cannot read '{}': ", file.0.display())), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

/// The map saves one number for each name, which says which name it is.
fn assert_names_read_back(names: &BTreeSet<String>) {
    let file = Scratch::new("names");
    let rules = names.iter().enumerate().map(|(index, _)| {
        crate::Rule::draw(&format!("[{}]", index + 1), Initializer::Constant(index as f64)).unwrap()
    });
    let map = InitMap::new(1).with_rules(rules).strict();
    let vb = map.var_builder(DType::F32, &Device::Cpu);
    for (index, name) in names.iter().enumerate() {
        vb.get(index + 1, name).unwrap();
    }
    map.save(&file.0).unwrap();
    let (ours, theirs) =
        (TensorFile::open(&file.0).unwrap(), candle_core::safetensors::load(&file.0, &Device::Cpu).unwrap());
    assert_eq!((ours.tensors().len(), theirs.len()), (names.len(), names.len()));
    for (index, name) in names.iter().enumerate() {
        let expected = vec![index as f64; index + 1];
        assert_eq!(ours.numbers(name).unwrap(), expected, "{name:?}");
        let theirs = theirs[name].to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(theirs, expected, "{name:?}");
    }
}

proptest! {
    #[test]
    fn odd_names_read_back(names in prop::collection::btree_set(prop::collection::vec(any::<char>(), 0..20), 1..6)) {
        let names = names.into_iter().map(|name| name.into_iter().collect::<String>()).collect();
        assert_names_read_back(&names);
    }

    #[test]
    fn any_bytes_are_a_file_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let file = Scratch::of("bytes", &bytes);
        if let Ok(file) = TensorFile::open(&file.0) {
            prop_assert!(file.tensors().iter().all(|tensor| tensor.end <= bytes.len()));
        }
    }

    /// A good file with one byte changed is as good to us as to the format's own reader, except that ours also
    /// opens files with types that the other does not know, and refuses equal names.
    #[test]
    fn a_changed_byte_is_seen_as_by_the_formats_own_reader(at in 0usize..190, byte in any::<u8>()) {
        let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"b":{"dtype":"I8","shape":[3],"data_offsets":[8,11]}}"#;
        let mut bytes = with_header(header, &[7; 11]);
        let at = at % bytes.len();
        bytes[at] = byte;
        let file = Scratch::of("changed", &bytes);
        let theirs = safetensors::SafeTensors::deserialize(&bytes);
        match (TensorFile::open(&file.0), theirs) {
            (Ok(ours), Ok(theirs)) => {
                for (name, view) in theirs.iter() {
                    let stored = ours.get(name).unwrap();
                    prop_assert_eq!(ours.bytes(stored).unwrap(), view.data());
                    prop_assert_eq!(stored.shape(), view.shape());
                    ours.numbers(name).ok();
                }
            }
            (Ok(ours), Err(_)) => prop_assert!(ours.tensors().iter().any(|t| t.known_dtype().is_none())),
            (Err(error), Ok(_)) => prop_assert!(error.to_string().contains("twice"), "{}", error),
            (Err(_), Err(_)) => {}
        }
    }
}

#[test]
fn names_that_a_header_has_to_escape_read_back() {
    let long = "long/".repeat(20_000);
    let names = [
        "",
        " ",
        "\0",
        "a\nb",
        "\r",
        "\"",
        "\\",
        "#",
        "a.b#c",
        "/",
        "{}",
        "\u{2028}",
        "𝄞",
        "__metadata__ ",
        "dtype",
        &long,
    ];
    assert_names_read_back(&names.map(str::to_owned).into());
}

#[test]
fn the_name_of_the_metadata_is_refused_before_the_file_is_touched() {
    let file = Scratch::of("reserved", b"old");
    let map = InitMap::new(1).with_default_init(Initializer::ones());
    map.var_builder(DType::F32, &Device::Cpu).get((2, 2), "__metadata__").unwrap();
    let error = map.save(&file.0).unwrap_err();
    assert!(matches!(&error, Error::ReservedName(name) if name == "__metadata__"), "{error}");
    assert_eq!(fs::read(&file.0).unwrap(), b"old");
}

#[test]
fn a_header_beyond_what_readers_take_is_refused() {
    let file = Scratch::of("header", b"old");
    let map = InitMap::new(1).with_metadata([("text", "x".repeat(LARGEST_HEADER as usize))]);
    let error = map.save(&file.0).unwrap_err().to_string();
    assert!(error.contains("safetensors allows 100000000") && error.lines().count() == 1, "{error}");
    assert_eq!(fs::read(&file.0).unwrap(), b"old");
}

/// With one text as metadata, where the order of a hash map does not matter, the bytes are those of the
/// format's own writer.
#[test]
fn the_bytes_are_those_of_the_formats_own_writer() {
    let file = Scratch::new("writer");
    let tensor = |dtype, shape: &[usize]| Tensor::ones(shape, dtype, &Device::Cpu).unwrap();
    let tensors = vec![
        ("b".to_owned(), tensor(DType::F32, &[2, 3])),
        ("a".to_owned(), tensor(DType::F32, &[])),
        ("c".to_owned(), tensor(DType::F64, &[1])),
        ("é".to_owned(), tensor(DType::U8, &[3])),
        ("d".to_owned(), tensor(DType::I64, &[0, 2])),
        ("e".to_owned(), tensor(DType::BF16, &[5])),
    ];
    for metadata in [BTreeMap::new(), BTreeMap::from([("format".to_owned(), "pt".to_owned())])] {
        write::write(&file.0, &tensors, &metadata).unwrap();
        let theirs = (!metadata.is_empty()).then(|| metadata.into_iter().collect::<HashMap<_, _>>());
        let theirs = safetensors::serialize(tensors.clone(), theirs).unwrap();
        assert_eq!(fs::read(&file.0).unwrap(), theirs);
    }
}

#[test]
fn metadata_are_kept_in_one_order() {
    let file = Scratch::new("metadata");
    let texts: Vec<(String, String)> =
        (0..20).map(|i| (format!("key {i:02}"), format!("\"{i}\"\n"))).collect();
    let map = InitMap::new(1).with_metadata(texts.clone());
    map.save(&file.0).unwrap();
    let bytes = fs::read(&file.0).unwrap();
    assert_eq!(TensorFile::open(&file.0).unwrap().metadata(), &texts.into_iter().collect());

    // A map that loads the file has them, and its own have precedence.
    let loaded = InitMap::new(2).with_file(&file.0).unwrap();
    loaded.save(&file.0).unwrap();
    assert_eq!(fs::read(&file.0).unwrap(), bytes);
    let other = InitMap::new(2).with_metadata([("key 03", "mine")]).with_file(&file.0).unwrap();
    assert_eq!(
        (other.metadata()["key 03"].as_str(), other.metadata()["key 04"].as_str()),
        ("mine", "\"4\"\n")
    );
}

#[test]
fn a_header_that_is_wrong_is_named() {
    let f32s = |name: &str, shape: &str, begin: usize, end: usize| {
        format!(r#""{name}":{{"dtype":"F32","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
    };
    let max = usize::MAX;
    for (header, part) in [
        (format!("{{{},{}}}", f32s("a", "[2]", 0, 8), f32s("a", "[2]", 8, 16)), "its header names 'a' twice"),
        (r#"{"__metadata__":{"k":"1","k":"2"}}"#.to_owned(), "its __metadata__ have 'k' twice"),
        (
            r#"{"__metadata__":{"epoch":3}}"#.to_owned(),
            "'epoch': invalid type: integer `3`, expected a string",
        ),
        (format!("{{{}}}", f32s("__metadata__", "[2]", 0, 8)), "'__metadata__': "),
        (format!("{{{},{}}}", f32s("z", "[4]", 0, 16), f32s("b", "[4]", 0, 16)), "'b' and 'z' share bytes"),
        (format!("{{{},{}}}", f32s("a", "[3]", 0, 12), f32s("b", "[2]", 8, 16)), "'a' and 'b' share bytes"),
        (format!("{{{},{}}}", f32s("a", "[1]", 0, 4), f32s("b", "[2]", 8, 16)), "bytes 4 to 8, before 'b'"),
        (format!("{{{}}}", f32s("a", "[2]", 16, 8)), "'a' ends at byte 8, before it begins at 16"),
        (format!("{{{}}}", f32s("a", "[3]", 0, 16)), "'a' has 16 bytes, which is not what [3] F32 takes"),
        (format!("{{{}}}", f32s("a", &format!("[{max},{max}]"), 0, 16)), "which no memory holds"),
        (format!("{{{}}}", f32s("a", &format!("[0,{max},2]"), 0, 0)), "which no memory holds"),
        (format!("{{{}}}", f32s("a", "[-1]", 0, 16)), "'a': invalid value: integer `-1`"),
        (format!("{{{}}}", f32s("a", "[5]", 0, 20)), "16 bytes"),
        (format!("{{{}}}", f32s("a", "[3]", 0, 12)), "bytes long, and by its header"),
        (format!("{{{}}}", f32s("a", "[4611686018427387903]", 0, max - 3)), "bytes long, and by its header"),
        (r#"{"a\nb":{"dtype":"F32"}}"#.to_owned(), "'a\\nb': missing field `shape`"),
        ("[]".to_owned(), "it is no safetensors file: its header: invalid type"),
        ("[".repeat(5000), "it is no safetensors file"),
        (r#"{"a":"#.repeat(5000), "it is no safetensors file"),
    ] {
        let part = if part == "16 bytes" { "bytes long, and by its header" } else { part };
        let text = reason("wrong", &with_header(&header, &[0; 16]));
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let whole = with_header(&format!("{{{}}}", f32s("a", "[4]", 0, 16)), &[0; 16]);
    assert!(reason("cut", &whole[..whole.len() - 1]).contains("bytes long, and by its header"));
    assert!(reason("cut", &whole[..7]).contains("too short"));
    assert!(reason("cut", &whole[..20]).contains("its header would be"));
    assert!(
        reason("cut", &u64::MAX.to_le_bytes()).contains("its header would be 18446744073709551615 bytes")
    );
}

/// Every type of the format, and one that it does not have yet, stand beside `x`.
#[test]
fn foreign_tensors_spoil_nothing_and_are_named() {
    /// A type, the bytes of two numbers of it, and the numbers; `None` for a type that is not read.
    type Row = (&'static str, &'static [u8], Option<[f64; 2]>);
    let types: [Row; 17] = [
        ("BOOL", &[0, 1], Some([0.0, 1.0])),
        ("U8", &[0, 255], Some([0.0, 255.0])),
        ("I8", &[1, 0x80], Some([1.0, -128.0])),
        ("U16", &[1, 0, 255, 255], Some([1.0, 65535.0])),
        ("I16", &[1, 0, 0, 0x80], Some([1.0, -32768.0])),
        ("U32", &[1, 0, 0, 0, 255, 255, 255, 255], Some([1.0, 4294967295.0])),
        ("I32", &[1, 0, 0, 0, 0, 0, 0, 0x80], Some([1.0, -2147483648.0])),
        ("U64", &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80], Some([1.0, 9223372036854775808.0])),
        ("I64", &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80], Some([1.0, -9223372036854775808.0])),
        ("F16", &[0, 0x3c, 1, 0], Some([1.0, 5.960464477539063e-8])),
        ("BF16", &[0x80, 0x3f, 0xc0, 0xbf], Some([1.0, -1.5])),
        ("F32", &[0, 0, 0x80, 0x3f, 0, 0, 0xc0, 0xbf], Some([1.0, -1.5])),
        ("F64", &[0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 0xf8, 0xbf], Some([1.0, -1.5])),
        ("F8_E5M2", &[0x3c, 0x7b], Some([1.0, 57344.0])),
        ("F8_E4M3", &[0x38, 0xfe], Some([1.0, -448.0])),
        ("F8_E8M0", &[127, 128], None),
        ("F8_E3M4", &[1, 2], None),
    ];
    let (mut header, mut data) = (String::new(), Vec::new());
    for (name, bytes, _) in types {
        let begin = data.len();
        data.extend_from_slice(bytes);
        header += &format!(
            r#""t.{name}":{{"dtype":"{name}","shape":[2],"data_offsets":[{begin},{}]}},"#,
            data.len()
        );
    }
    let begin = data.len();
    data.extend_from_slice(&2.5f32.to_le_bytes());
    header += &format!(r#""x":{{"dtype":"F32","shape":[1],"data_offsets":[{begin},{}]}}"#, data.len());
    let file = Scratch::of("foreign", &with_header(&format!("{{{header}}}"), &data));

    let opened = TensorFile::open(&file.0).unwrap();
    assert_eq!(opened.numbers("x").unwrap(), [2.5]);
    for (name, _, expected) in types {
        let numbers = opened.numbers(&format!("t.{name}"));
        match expected {
            Some(expected) => assert_eq!(numbers.unwrap(), expected, "{name}"),
            None => {
                let error = numbers.unwrap_err().to_string();
                assert!(error.starts_with(&format!("'t.{name}' in '")) && error.contains(name), "{error}");
            }
        }
    }
    let map = InitMap::new(1).with_file(&file.0).unwrap();
    let get = |map: &InitMap, dtype, name: &str| {
        let shape = if name == "x" { 1 } else { 2 };
        map.var_builder(dtype, &Device::Cpu).get(shape, name).map_err(|error| error.to_string())
    };
    assert_eq!(get(&map, DType::F32, "x").unwrap().to_vec1::<f32>().unwrap(), [2.5]);
    assert_eq!(map.unused_tensors().len(), types.len());
    let error = get(&map, DType::F32, "t.BOOL").unwrap_err();
    assert!(
        error.contains("'t.BOOL' is [2] BOOL in the file") && error.contains("with_cast_on_load"),
        "{error}"
    );

    // By choice, every type of numbers becomes the model's.
    let map = InitMap::new(1).with_file(&file.0).unwrap().with_cast_on_load(true);
    for (name, _, expected) in types {
        let loaded = get(&map, DType::F64, &format!("t.{name}"));
        match expected {
            Some(expected) => assert_eq!(loaded.unwrap().to_vec1::<f64>().unwrap(), expected, "{name}"),
            None => assert!(loaded.unwrap_err().contains(name)),
        }
    }
    let error =
        get(&InitMap::new(1).with_file(&file.0).unwrap().with_cast_on_load(true), DType::F16, "t.U64");
    let error = error.unwrap_err();
    assert!(error.contains("'t.U64': 9.223372036854776e18 is beyond the largest f16"), "{error}");
    // Weights become no integers.
    let map = InitMap::new(1).with_file(&file.0).unwrap().with_cast_on_load(true);
    assert!(get(&map, DType::U8, "x").unwrap_err().contains("'x' is [1] f32 in the file"));
}

/// All bit patterns: subnormal numbers in steps of 2⁻⁹, then eight numbers for each power of two from 2⁻⁶ on.
/// (candle's own conversion does not end for subnormal numbers, with float8 0.7.)
#[test]
fn eight_bit_floats_are_those_of_the_format() {
    let bytes: Vec<u8> = (0..=255).collect();
    let ours = numbers::decoder(Dtype::F8_E4M3).unwrap()(&bytes);
    let (mut number, mut step) = (0.0, 2f64.powi(-9));
    for byte in 0..127 {
        assert_eq!((ours[byte], ours[byte + 128]), (number, -number), "{byte:#x}");
        number += step;
        step *= if byte >= 15 && byte % 8 == 7 { 2.0 } else { 1.0 };
    }
    assert!(ours[127].is_nan() && ours[255].is_nan());
}

/// A file that is cut after it was opened is an error, not a panic.
#[test]
fn a_file_that_shrinks_is_an_error() {
    let header = r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#;
    let file = Scratch::of("shrinks", &with_header(header, &[0; 16]));
    let opened = TensorFile::open(&file.0).unwrap();
    fs::OpenOptions::new().write(true).open(&file.0).unwrap().set_len(70).unwrap();
    let error = opened.tensor("a").unwrap_err().to_string();
    assert!(error.starts_with("cannot read '") && error.contains("'a': "), "{error}");
}

#[test]
fn long_names_are_shortened_in_errors() {
    let map = InitMap::new(1);
    let error = map.var_builder(DType::F32, &Device::Cpu).get((2, 2), &"x\n".repeat(100_000)).unwrap_err();
    // A backtrace may follow the first line.
    let text = error.to_string();
    let line = text.lines().next().unwrap();
    assert!(line.len() < 1000 && line.contains("InitMap::with_default_init"), "{line}");
}
