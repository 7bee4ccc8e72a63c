use candle_core::{DType, Device, Tensor};

use crate::data::{Missing, Samples, TableOptions};
use crate::error::Error;

fn text(text: &str, options: &TableOptions) -> Result<Samples, Error> {
    Samples::from_text(text.as_bytes(), "t", options)
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn npy(dtype: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let header = format!("{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': {shape}, }}");
    [b"\x93NUMPY\x01\x00\x76\x00", format!("{header:<117}\n").as_bytes(), data].concat()
}

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn read(&self, name: &str, bytes: &[u8], options: &TableOptions) -> Result<Samples, Error> {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        Samples::read(path.to_str().unwrap(), options)
    }
}

#[test]
fn a_table_has_labels_and_names() {
    let iris = "id,sepal,species,petal\n1,5.5,setosa,2\n2,6.25,virginica,3\n";
    let options = |label: Option<&str>| TableOptions {
        label: label.map(str::to_owned),
        drop: vec!["id".to_owned()],
        ..TableOptions::default()
    };
    let samples = text(iris, &options(Some("species"))).unwrap();
    assert_eq!(samples.names(), ["sepal", "petal"]);
    assert_eq!((samples.label_name(), samples.notices().len()), (Some("species"), 0));
    assert_eq!(
        (samples.features().dtype(), numbers(samples.features())),
        (DType::F32, vec![5.5, 2.0, 6.25, 3.0])
    );
    assert_eq!(samples.labels().unwrap().classes().unwrap().names(), ["setosa", "virginica"]);
    // A column of labels can have any place, also without a header.
    let samples =
        text("setosa,1\nvirginica,2\n", &TableOptions { label: Some("1".into()), ..TableOptions::default() });
    let samples = samples.unwrap();
    assert_eq!((samples.names().len(), samples.label_name()), (0, Some("column 1")));
    assert_eq!(samples.labels().unwrap().classes().unwrap().labels(), [0, 1]);
    // A guessed label is used, and nothing is lost.
    let samples = text("a,label\n1,x\n", &TableOptions::default()).unwrap();
    assert!(samples.notices().is_empty() && samples.labels().is_some());
    assert!(text("a,b\n1,2\n", &TableOptions::default()).unwrap().labels().is_none());
}

#[test]
fn bad_tables_are_refused_with_line_and_column() {
    let by_name = TableOptions { label: Some("c".into()), ..TableOptions::default() };
    for (table, part) in [
        ("a,b,c\n1,x,0\n", "line 2, column 2: 'x' is not a number; if the column is no feature"),
        ("a,b,c\n1,2,0\n1,2,\n", "line 3, column 3 ('c'): '' is no label"),
        ("a,b,c\n1,2,NA\n", "line 2, column 3 ('c'): 'NA' is no label"),
        ("a,b,c\n1,,0\n", "line 2, column 2: '' is not a number; fill in"),
        ("a,b,c\n1,nan,0\n", "line 2, column 2: 'nan' is not a finite number"),
        ("a,b,c\n1,inf,0\n", "line 2, column 2: 'inf' is not a finite number"),
        ("a,b,c\n", "'t' holds no numbers"),
        ("", "'t' holds no numbers"),
        ("a,b\n1,2\n", "--label c: no column has this name; they are a, b"),
        ("c\n1\n", "no feature is left"),
    ] {
        let error = text(table, &by_name).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("'t'") && !error.contains('\n'), "{error}");
    }
    // The twin: the same table without what is wrong.
    assert!(text("a,b,c\n1,2,0\n", &by_name).is_ok());
    // A class may be called none.
    assert!(text("a,c\n1,none\n2,-\n", &by_name).is_ok());
    let missing = |table: &str| matches!(text(table, &by_name), Err(Error::Missing { .. }));
    assert!(missing("a,b,c\n1,,0\n") && missing("a,b,c\n1,nan,0\n"));
    assert!(!missing("a,b,c\n1,x,0\n") && !missing("a,b,c\n1,inf,0\n"));
}

#[test]
fn missing_numbers_are_kept_if_they_will_be_replaced() {
    let options = TableOptions { missing: Missing::Mean, ..TableOptions::default() };
    let samples = text("a,b,label\n1,NA,x\n,2,y\nnan,3.5,x\n", &options).unwrap();
    let values = numbers(samples.features());
    assert_eq!(samples.features().dtype(), DType::F32);
    assert!(values[1].is_nan() && values[2].is_nan() && values[4].is_nan());
    assert_eq!([values[0], values[3], values[5]], [1.0, 2.0, 3.5]);
    for (table, part) in [
        ("a,b\n1,2\n,NaN\n", "line 3: all numbers are missing; remove the line"),
        ("a,b\n1,inf\n", "'inf' is not a finite number"),
        ("a,b\n1,x\n", "'x' is not a number"),
        ("a,label\n1,\n", "'' is no label"),
    ] {
        let error = text(table, &options).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let files = Files::new();
    let rows = |xs: [f32; 4]| npy("<f4", false, "(2, 2)", &xs.map(f32::to_le_bytes).concat());
    let hole = rows([1.0, f32::NAN, 3.0, 4.0]);
    assert!(files.read("x.npy", &hole, &options).is_ok());
    let error = files.read("x.npy", &hole, &TableOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }) && error.to_string().contains("row 1, column 2: NaN"));
    let empty = files.read("x.npy", &rows([1.0, 2.0, f32::NAN, f32::NAN]), &options).unwrap_err().to_string();
    assert!(empty.ends_with("row 2: all numbers are missing; remove the row"), "{empty}");
    let infinite =
        files.read("x.npy", &rows([1.0, f32::INFINITY, 3.0, 4.0]), &options).unwrap_err().to_string();
    assert!(infinite.ends_with("row 1, column 2: inf is not a finite number"), "{infinite}");
}

/// Arrays have the type and the shape of the file. The numbers are those of NumPy 2:
/// `np.arange(12).reshape(2, 3, 2)`.
#[test]
fn arrays_keep_their_type_and_shape() {
    let files = Files::new();
    fn bytes<const N: usize>(number: impl Fn(u8) -> [u8; N]) -> Vec<u8> {
        (0..12).flat_map(number).collect()
    }
    let half = |x: u8| half::f16::from_f32(x.into()).to_le_bytes();
    let types: [(&str, DType, Vec<u8>); 12] = [
        ("|u1", DType::U8, bytes(|x| [x])),
        ("|i1", DType::I16, bytes(|x| [x])),
        ("<i2", DType::I16, bytes(|x| i16::from(x).to_le_bytes())),
        (">i2", DType::I16, bytes(|x| i16::from(x).to_be_bytes())),
        ("<u2", DType::U32, bytes(|x| u16::from(x).to_le_bytes())),
        ("<u4", DType::U32, bytes(|x| u32::from(x).to_le_bytes())),
        ("<i4", DType::I32, bytes(|x| i32::from(x).to_le_bytes())),
        ("<i8", DType::I64, bytes(|x| i64::from(x).to_le_bytes())),
        (">u8", DType::I64, bytes(|x| u64::from(x).to_be_bytes())),
        ("<f2", DType::F16, bytes(half)),
        ("<f4", DType::F32, bytes(|x| f32::from(x).to_le_bytes())),
        (">f8", DType::F64, bytes(|x| f64::from(x).to_be_bytes())),
    ];
    let counted: Vec<f64> = (0..12).map(f64::from).collect();
    // np.asfortranarray(np.arange(12).reshape(2, 3, 2)) has these numbers in its file.
    let in_file = [0, 6, 2, 8, 4, 10, 1, 7, 3, 9, 5, 11];
    for (descr, dtype, data) in types {
        let size = data.len() / 12;
        let turned: Vec<u8> = in_file.iter().flat_map(|at| data[at * size..][..size].to_vec()).collect();
        for (fortran, data) in [(false, &data), (true, &turned)] {
            let file = npy(descr, fortran, "(2, 3, 2)", data);
            let samples = files.read("x.npy", &file, &TableOptions::default()).unwrap();
            let features = samples.features();
            assert_eq!((features.dims(), features.dtype()), (&[2, 3, 2][..], dtype), "{descr}");
            assert_eq!(numbers(features), counted, "{descr} {fortran}");
            let one = TableOptions { rows: Some(1), ..TableOptions::default() };
            let samples = files.read("x.npy", &file, &one).unwrap();
            assert_eq!((samples.len(), numbers(samples.features())), (1, counted[..6].to_vec()), "{descr}");
        }
    }
    let large = [u64::MAX.to_le_bytes(), 1u64.to_le_bytes()].concat();
    let samples = files.read("x.npy", &npy("<u8", false, "(2,)", &large), &TableOptions::default()).unwrap();
    assert_eq!(
        (samples.features().dtype(), numbers(samples.features())),
        (DType::F64, vec![2f64.powi(64), 1.0])
    );
    let cut = npy("|u1", false, "(3, 2)", &[0; 5]);
    let error = files.read("x.npy", &cut, &TableOptions::default()).unwrap_err().to_string();
    assert!(error.contains("the header says [3, 2], which is more than the file holds"), "{error}");
    for (descr, part) in [("<U4", "numbers of type '<U4' are not read"), ("|O", "numbers of type '|O'")] {
        let error = files.read("x.npy", &npy(descr, false, "(1, 1)", &[0; 16]), &TableOptions::default());
        let error = error.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let error = files.read("x.npy", &npy("|u1", false, "()", &[0]), &TableOptions::default()).unwrap_err();
    assert!(error.to_string().contains("this is a single number"), "{error}");
}

#[test]
fn columns_of_an_array_can_be_labels() {
    let files = Files::new();
    let options = |label: &str, drop: &[&str]| TableOptions {
        label: Some(label.to_owned()),
        drop: drop.iter().map(|column| (*column).to_owned()).collect(),
        ..TableOptions::default()
    };
    for descr in ["|u1", "|i1"] {
        let file = npy(descr, false, "(2, 4)", &[1, 2, 3, 7, 4, 5, 6, 8]);
        let samples = files.read("x.npy", &file, &options("-1", &["2"])).unwrap();
        assert_eq!(numbers(samples.features()), [1.0, 3.0, 4.0, 6.0]);
        assert_eq!(samples.labels().unwrap().classes().unwrap().names(), ["7", "8"]);
        let error = files.read("x.npy", &file, &options("5", &[])).unwrap_err().to_string();
        assert!(error.contains("--label 5: the columns have the numbers 1 to 4"), "{error}");
    }
    let images = npy("|u1", false, "(1, 2, 2)", &[0; 4]);
    let error = files.read("x.npy", &images, &options("1", &[])).unwrap_err().to_string();
    assert!(error.contains("the array [1, 2, 2] has none"), "{error}");
    assert!(files.read("x.npy", &images, &options("none", &[])).is_ok());
}

#[test]
fn safetensors_and_idx_are_samples() {
    let files = Files::new();
    let images = Tensor::new(&[[[1u8, 2], [3, 4]]], &Device::Cpu).unwrap();
    let path = files.0.path().join("x.safetensors");
    let tensors = std::collections::HashMap::from([("images", images.clone()), ("labels", images)]);
    candle_core::safetensors::save(&tensors, &path).unwrap();
    let source = format!("{}#images", path.display());
    let samples = Samples::read(&source, &TableOptions::default()).unwrap();
    assert_eq!((samples.features().dims(), samples.features().dtype()), (&[1, 2, 2][..], DType::U8));
    let error = Samples::read(path.to_str().unwrap(), &TableOptions::default()).unwrap_err().to_string();
    assert!(error.contains("name the tensor with FILE#TENSOR: there are images, labels"), "{error}");
    let idx = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 5, 6, 7, 8];
    let samples = files.read("a-images-idx3-ubyte", &idx, &TableOptions::default()).unwrap();
    assert_eq!((samples.features().dims(), samples.features().dtype()), (&[2, 1, 2][..], DType::U8));
    assert_eq!(numbers(samples.features()), [5.0, 6.0, 7.0, 8.0]);
}

/// What takes more memory than is free is refused before it is read.
#[test]
fn too_little_memory_is_an_error_of_its_own() {
    let files = Files::new();
    let file = npy("<f4", false, "(4, 4)", &[0; 64]);
    let options = |memory| TableOptions { memory: Some(memory), ..TableOptions::default() };
    let error = files.read("x.npy", &file, &options(63)).unwrap_err();
    let said = "x.npy': this takes 64.0 B of memory and 63.0 B are free: take a smaller array";
    assert!(error.to_string().ends_with(said), "{error}");
    assert!(matches!(error, Error::Memory { .. }));
    assert!(files.read("x.npy", &file, &options(64)).is_ok());
}
