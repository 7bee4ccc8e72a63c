use candle_core::{DType, Device, Tensor};

use crate::data::{Header, Labels, TableOptions, Task};

fn tensor<T: candle_core::WithDType>(numbers: &[T]) -> Labels {
    Labels::new(&Tensor::new(numbers, &Device::Cpu).unwrap()).unwrap()
}

/// Classes are sorted by number if all labels are numbers, else by text; one number in two spellings is one class.
#[test]
fn classes_are_sorted_and_named() {
    for (texts, names, classes) in [
        (&["b", "a", "b"][..], &["a", "b"][..], &[1, 0, 1][..]),
        (&["10", "9", "10.0", "-1"], &["-1", "9", "10"], &[2, 1, 2, 0]),
        (&["10", "9", "x"], &["10", "9", "x"], &[0, 1, 2]),
        (&["true", "false"], &["false", "true"], &[1, 0]),
        (&["9007199254740993", "9007199254740992"], &["9007199254740992", "9007199254740993"], &[1, 0]),
        (&["0.5", "0.25"], &["0.25", "0.5"], &[1, 0]),
    ] {
        let read = Labels::from_texts(texts.iter().copied()).classes().unwrap();
        assert_eq!((read.names(), &read.labels()[..], read.count()), (&own(names)[..], classes, names.len()));
    }
    let arrays = [
        tensor(&[7u8, 3, 7]),
        tensor(&[7i64, 3, 7]),
        tensor(&[7f32, 3.0, 7.0]),
        Labels::new(&Tensor::new(&[[7i32], [3], [7]], &Device::Cpu).unwrap()).unwrap(),
    ];
    for labels in arrays {
        let read = labels.classes().unwrap();
        assert_eq!((read.names(), read.labels()), (&own(&["3", "7"])[..], vec![1, 0, 1]));
    }
    assert_eq!(tensor(&[-0.0f64, 0.0]).classes().unwrap().names(), own(&["0"]));
}

fn own(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn classes_of_other_data_are_found_by_name() {
    let names = own(&["3", "7", "10"]);
    let other = Labels::from_texts(["10.0", "3"]).classes_among(&names).unwrap();
    assert_eq!((other.labels(), other.count()), (vec![2, 0], 3));
    assert_eq!(tensor(&[10u8]).classes_among(&names).unwrap().labels(), [2]);
    let error = Labels::from_texts(["3", "4"]).classes_among(&names).unwrap_err().to_string();
    assert_eq!(error, "row 2: the training data has no class '4', only 3, 7, 10");
    let texts = own(&["3", "x"]);
    let error = Labels::from_texts(["3.0"]).classes_among(&texts).unwrap_err().to_string();
    assert!(error.contains("no class '3.0'"), "{error}");
}

#[test]
fn the_usual_task_is_that_of_the_labels() {
    let many: Vec<u32> = (0..101).collect();
    for (labels, task) in [
        (Labels::from_texts(["a", "1.5"]), Task::Classify),
        (Labels::from_texts(["1", "2"]), Task::Classify),
        (Labels::from_texts(["1", "2.5"]), Task::Regress),
        (tensor(&[0u8, 9]), Task::Classify),
        (tensor(&[0f32, 9.0]), Task::Classify),
        (tensor(&[0f32, 9.5]), Task::Regress),
        (tensor(&many[..100]), Task::Classify),
        (tensor(&many), Task::Regress),
        (Labels::new(&Tensor::zeros((2, 2), DType::F32, &Device::Cpu).unwrap()).unwrap(), Task::Regress),
    ] {
        assert_eq!(labels.usual_task().unwrap(), task, "{labels:?}");
    }
}

#[test]
fn numbers_are_targets() {
    assert_eq!(
        Labels::from_texts(["1e3", "-2"]).numbers().unwrap().to_vec1::<f64>().unwrap(),
        [1000.0, -2.0]
    );
    assert_eq!(tensor(&[0.5f32]).numbers().unwrap().dtype(), DType::F32);
    let several = Labels::new(&Tensor::zeros((2, 2), DType::F32, &Device::Cpu).unwrap()).unwrap();
    assert_eq!(several.numbers().unwrap().dims(), [2, 2]);
    assert!(several.classes().unwrap_err().to_string().contains("one label for each sample"));
    let nan = Labels::new(&Tensor::new(&[1f32, f32::NAN], &Device::Cpu).unwrap()).unwrap_err().to_string();
    assert_eq!(nan, "'the labels', row 2: the label is NaN");
}

#[test]
fn labels_have_a_file_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, bytes: &[u8]| std::fs::write(path(name), bytes).unwrap();
    let read = |name: &str, header| {
        let options = TableOptions { header, ..TableOptions::default() };
        Labels::read(&path(name), 2, &options).and_then(|labels| labels.classes())
    };
    write("plain.csv", b"b\na\n");
    write("header.csv", b"kind\r\nb\r\na\r\n");
    write("commas.tsv", b"b, c\na, b\n");
    write("x-labels-idx1-ubyte", &[0, 0, 8, 1, 0, 0, 0, 2, 9, 4]);
    let npy = format!("{:<117}\n", "{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }");
    let npy = [b"\x93NUMPY\x01\x00\x76\x00", npy.as_bytes(), &9i64.to_le_bytes(), &4i64.to_le_bytes()];
    write("x.npy", &npy.concat());
    for (name, names) in [
        ("plain.csv", ["a", "b"]),
        ("header.csv", ["a", "b"]),
        ("commas.tsv", ["a, b", "b, c"]),
        ("x-labels-idx1-ubyte", ["4", "9"]),
        ("x.npy", ["4", "9"]),
    ] {
        let classes = read(name, Header::Auto).unwrap();
        assert_eq!((classes.names(), classes.labels()), (&own(&names)[..], vec![1, 0]), "{name}");
    }
    write("two.csv", b"a,1\nb,2\n");
    write("hole.csv", b"a\nNA\n");
    write("three.csv", b"a\nb\nc\nd\n");
    write("none.csv", b"");
    for (name, header, part) in [
        ("two.csv", Header::Auto, "line 1: 2 columns where one of labels is needed"),
        ("hole.csv", Header::Auto, "line 2, column 1: 'NA' is no label"),
        ("three.csv", Header::Auto, "has 4 labels, and there are 2 samples"),
        ("header.csv", Header::No, "has 3 labels, and there are 2 samples"),
        ("plain.csv", Header::Yes, "has 1 labels, and there are 2 samples"),
        ("none.csv", Header::Auto, "has 0 labels"),
        ("missing.csv", Header::Auto, "No such file"),
        ("x.txt", Header::Auto, "cannot tell what"),
    ] {
        let error = read(name, header).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains(name) && !error.contains('\n'), "{error}");
    }
}
