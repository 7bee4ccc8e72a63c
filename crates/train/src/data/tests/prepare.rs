use candle_core::{CpuStorage, DType, Device, Storage, Tensor};

use crate::data::{
    Dataset, Labels, Missing, Part, Preparation, PrepareOptions, Prepared, Samples, Standardize,
    TableOptions, Task, TestPart,
};
use crate::error::Error;

const NONE: TestPart<'static> = TestPart::Fraction(0.0);

fn table(text: &str) -> Samples {
    let options = TableOptions { missing: Missing::Mean, ..TableOptions::default() };
    let strict = TableOptions::default();
    let options = if text.contains("NA") { options } else { strict };
    Samples::from_text(text.as_bytes(), "t", &options).unwrap()
}

fn prepared(text: &str) -> Result<Prepared, Error> {
    Prepared::new(&table(text), NONE, &PrepareOptions::default())
}

fn inputs(part: &Part) -> Vec<Vec<f32>> {
    part.batch(&(0..part.len()).collect::<Vec<_>>()).unwrap().input.to_vec2().unwrap()
}

fn classes(part: &Part) -> Vec<u32> {
    part.batch(&(0..part.len()).collect::<Vec<_>>()).unwrap().targets.unwrap().to_vec1().unwrap()
}

fn rows(count: usize, row: impl Fn(usize) -> String) -> String {
    (0..count).map(row).collect()
}

#[test]
fn every_part_has_its_fraction_of_each_class() {
    let text = format!("a,label\n{}", rows(100, |i| format!("{i},{}\n", ["x", "y", "y", "y"][i % 4])));
    let options = PrepareOptions { validation: 0.2, ..PrepareOptions::default() };
    let prepared = Prepared::new(&table(&text), TestPart::Fraction(0.4), &options).unwrap();
    let (validation, test) = (prepared.validation.unwrap(), prepared.test.unwrap());
    for (part, expected) in [(&prepared.training, [10, 30]), (&validation, [5, 15]), (&test, [10, 30])] {
        let classes = classes(part);
        let count = |class| classes.iter().filter(|other| **other == class).count();
        assert_eq!([count(0), count(1)], expected);
    }
    let mut all = [prepared.training.indices(), validation.indices(), test.indices()].concat();
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
    // Without parts that are held out, everything is for training.
    let whole = Prepared::new(&table(&text), NONE, &PrepareOptions::default()).unwrap();
    assert_eq!((whole.training.len(), whole.validation.is_none(), whole.test.is_none()), (100, true, true));
}

/// The mean of a column and the standardisation are those of the training part, whatever the others hold.
#[test]
fn what_is_learned_is_learned_on_the_training_part() {
    let train = table("a,b,label\n1,5,x\n3,5,y\nNA,5,x\n");
    let test = table("label,b,a\ny,7,NA\nx,5,100\n");
    let prepared = Prepared::new(&train, TestPart::Data(&test), &PrepareOptions::default()).unwrap();
    let preparation = &prepared.preparation;
    assert_eq!(preparation.missing_means(), Some(&[2.0, 5.0][..]));
    let std = (2f64 / 3.0).sqrt();
    let learned = preparation.standardization().unwrap();
    assert_eq!((learned.mean(), learned.constant_columns()), (&[2.0, 5.0][..], &[1][..]));
    assert!((learned.std()[0] - std).abs() < 1e-15 && learned.std()[1] == 1.0);
    assert_eq!(prepared.notices, ["the numbers of b are equal in the training part and become 0"]);
    let side = (1.0 / std) as f32;
    assert_eq!(inputs(&prepared.training), [[-side, 0.0], [side, 0.0], [0.0, 0.0]]);
    let test = prepared.test.unwrap();
    assert_eq!(inputs(&test), [[0.0, 2.0], [(98.0 / std) as f32, 0.0]]);
    assert_eq!(classes(&test), [1, 0]);
    // A split: the twin whose held out samples are others learns the same.
    let text = |held: f64| {
        format!("a,label\n{}", rows(40, |i| format!("{},{}\n", if i == 0 { held } else { i as f64 }, i % 2)))
    };
    let options = (0..50).map(|seed| PrepareOptions { seed, ..PrepareOptions::default() });
    let is_held = |options: &PrepareOptions| {
        let prepared = Prepared::new(&table(&text(0.0)), TestPart::Fraction(0.5), options).unwrap();
        prepared.test.unwrap().indices().contains(&0)
    };
    let (held, kept): (Vec<_>, Vec<_>) = options.partition(is_held);
    let learned = |held: f64, options: &PrepareOptions| {
        Prepared::new(&table(&text(held)), TestPart::Fraction(0.5), options).unwrap().preparation
    };
    assert_eq!(learned(0.0, &held[0]), learned(1e6, &held[0]));
    assert_ne!(learned(0.0, &kept[0]), learned(1e6, &kept[0]));
}

#[test]
fn targets_of_regression_are_standardised_and_restored() {
    let prepared = prepared("a,target\n1,10.5\n2,20.5\n").unwrap();
    assert_eq!(prepared.preparation.task(), Task::Regress);
    assert!(prepared.notices[0].contains("--task classify"), "{:?}", prepared.notices);
    let batch = prepared.training.batch(&[0, 1]).unwrap();
    let targets = batch.targets.unwrap();
    assert_eq!((targets.dtype(), targets.to_vec1::<f32>().unwrap()), (DType::F32, vec![-1.0, 1.0]));
    let law = prepared.preparation.target_standardization().unwrap();
    assert_eq!(
        law.restore(&targets.reshape((2, 1)).unwrap()).unwrap().to_vec2::<f32>().unwrap(),
        [[10.5], [20.5]]
    );
    assert_eq!((prepared.preparation.outputs(), prepared.preparation.class_names().len()), (1, 0));
    let several = Tensor::new(&[[1f32, 2.0], [3.0, 6.0]], &Device::Cpu).unwrap();
    let data = Samples::new(&Tensor::new(&[[1f32], [2.0]], &Device::Cpu).unwrap()).unwrap();
    let data = data.with_labels(Labels::new(&several).unwrap()).unwrap();
    let prepared = Prepared::new(&data, NONE, &PrepareOptions::default()).unwrap();
    assert_eq!(prepared.preparation.outputs(), 2);
    let targets = prepared.training.batch(&[0, 1]).unwrap().targets.unwrap();
    assert_eq!(targets.to_vec2::<f32>().unwrap(), [[-1.0, -1.0], [1.0, 1.0]]);
}

#[test]
fn what_cannot_be_trained_on_is_refused() {
    let classify = PrepareOptions { task: Some(Task::Classify), ..PrepareOptions::default() };
    let regress = PrepareOptions { task: Some(Task::Regress), ..PrepareOptions::default() };
    let good = "a,b,label\n1,2,x\n3,4,y\n1,2,x\n3,4,y\n";
    let numbers = "a,b,label\n1,2,1\n3,4,0\n";
    assert!(Prepared::new(&table(good), NONE, &classify).is_ok());
    assert!(Prepared::new(&table(numbers), NONE, &regress).is_ok());
    let with_nan = format!("a,b,label\n{}", rows(4, |i| format!("NA,{i},{}\n", i % 2)));
    for (text, test, options, part) in [
        (
            "a,b\n1,2\n",
            None,
            &classify,
            "'t' has no column that is known to hold labels (its columns are a, b)",
        ),
        ("a,label\n1,x\n2,x\n", None, &classify, "all samples have the label 'x': two classes or more"),
        (good, None, &regress, "the label 'x' of row 1 is no number, as regression needs"),
        (
            good,
            Some("a,b,label\n1,2,y\n1,2,z\n"),
            &classify,
            "'t', row 2: the training data has no class 'z', only x, y",
        ),
        (good, Some("a,b\n1,2\n"), &classify, "'t' has no column that is known to hold labels"),
        (good, Some("a,c,label\n1,2,x\n"), &classify, "'t' has no column 'b', which the model takes"),
        (
            good,
            Some("a,b,c,label\n1,2,3,x\n"),
            &classify,
            "'t' has a column 'c', which the model does not take",
        ),
        (numbers, Some("a,b,label\n1,2,x\n"), &regress, "the label 'x' of row 1 is no number"),
        (&with_nan, None, &classify, "'t', column 1 ('a') has no number in the training part"),
        (good, Some("a,b,label\nNA,2,x\n"), &classify, "row 1, column 1: NaN is not a finite number"),
    ] {
        let test = test.map(table);
        let part_of = test.as_ref().map_or(NONE, TestPart::Data);
        let error = Prepared::new(&table(text), part_of, options).unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains('\n'), "{error}");
    }
    let error =
        Prepared::new(&table("a,label\n1,x\n2,x\n3,y\n"), TestPart::Fraction(0.3), &classify).unwrap_err();
    assert!(
        error.to_string().starts_with("class 'y' (1 sample) is too small for training and test"),
        "{error}"
    );
    for fraction in [1.0, -0.1, f64::NAN] {
        let error =
            Prepared::new(&table(good), TestPart::Fraction(fraction), &classify).unwrap_err().to_string();
        assert!(error.starts_with("test = ") && error.contains("a fraction from 0 to below 1"), "{error}");
    }
}

#[test]
fn images_are_standardised_as_a_whole_and_keep_their_shape() {
    let pixels: Vec<u8> = (0..24).map(|i| if i % 4 == 0 { 0 } else { i }).collect();
    let images = Tensor::from_vec(pixels.clone(), (6, 2, 2), &Device::Cpu).unwrap();
    let labels = Labels::new(&Tensor::new(&[0u8, 1, 0, 1, 0, 1], &Device::Cpu).unwrap()).unwrap();
    let data = Samples::new(&images).unwrap().with_labels(labels).unwrap();
    let mean = pixels.iter().map(|x| f64::from(*x)).sum::<f64>() / 24.0;
    let variance = pixels.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / 24.0;
    for flat in [true, false] {
        let options = PrepareOptions { flat, ..PrepareOptions::default() };
        let prepared = Prepared::new(&data, NONE, &options).unwrap();
        let law = prepared.preparation.standardization().unwrap();
        assert!(law.mean().iter().all(|m| (m - mean).abs() < 1e-12), "{law:?}");
        assert!(law.std().iter().all(|s| (s - variance.sqrt()).abs() < 1e-12), "{law:?}");
        assert!(law.constant_columns().is_empty() && prepared.notices.is_empty());
        let shape = if flat { vec![4] } else { vec![2, 2] };
        assert_eq!((prepared.preparation.input_shape(), prepared.preparation.features()), (shape.clone(), 4));
        let batch = prepared.training.batch(&[1]).unwrap().input;
        assert_eq!(batch.dims()[1..], shape);
        let first = batch.flatten_all().unwrap().to_vec1::<f32>().unwrap()[1];
        assert!((f64::from(first) - (5.0 - mean) / variance.sqrt()).abs() < 1e-6);
        // A new file may have the images flat.
        let new = Samples::new(&images.reshape((6, 4)).unwrap()).unwrap();
        let new = prepared.preparation.apply(&new, DType::F32, &Device::Cpu).unwrap();
        let same = new.batch(&[1]).unwrap().input;
        assert_eq!(same.dims(), batch.dims());
        assert_eq!(same.flatten_all().unwrap().to_vec1::<f32>().unwrap()[1], first);
        let other = Samples::new(&images.reshape((3, 2, 4)).unwrap()).unwrap();
        let error = prepared.preparation.apply(&other, DType::F32, &Device::Cpu).unwrap_err().to_string();
        assert!(error.contains("samples of shape [2, 4], and the model takes [2, 2]"), "{error}");
    }
    for (standardize, first) in [(Standardize::No, 5.0), (Standardize::Columns, -0.878)] {
        let options = PrepareOptions { standardize: Some(standardize), ..PrepareOptions::default() };
        let prepared = Prepared::new(&data, NONE, &options).unwrap();
        let row = inputs(&prepared.training)[1].clone();
        assert!((row[1] - first).abs() < 1e-3, "{row:?}");
    }
}

/// The parts, and the data themselves, have one tensor.
#[test]
fn parts_have_one_tensor_in_common() {
    fn address(tensor: &Tensor) -> usize {
        match &*tensor.storage_and_layout().0 {
            Storage::Cpu(CpuStorage::U8(bytes)) => bytes.as_ptr() as usize,
            other => panic!("{other:?}"),
        }
    }
    let images = Tensor::zeros((20, 2, 2), DType::U8, &Device::Cpu).unwrap();
    let labels =
        Labels::new(&Tensor::new((0..20u8).map(|i| i % 2).collect::<Vec<_>>(), &Device::Cpu).unwrap());
    let data = Samples::new(&images).unwrap().with_labels(labels.unwrap()).unwrap();
    let options = PrepareOptions { validation: 0.2, ..PrepareOptions::default() };
    let prepared = Prepared::new(&data, TestPart::Fraction(0.2), &options).unwrap();
    for part in [&prepared.training, &prepared.validation.unwrap(), &prepared.test.unwrap()] {
        assert_eq!(address(part.data().input()), address(&images));
    }
}

#[test]
fn a_preparation_is_kept_as_text() {
    let text = "id,a,b,label\n1,1,2,x\n2,3,NA,y\n3,0.5,5,x\n";
    let options = TableOptions { missing: Missing::Mean, drop: vec!["id".into()], ..TableOptions::default() };
    let data = Samples::from_text(text.as_bytes(), "t", &options).unwrap();
    let preparation = Prepared::new(&data, NONE, &PrepareOptions::default()).unwrap().preparation;
    let kept = serde_json::to_string(&preparation).unwrap();
    assert_eq!(serde_json::from_str::<Preparation>(&kept).unwrap(), preparation);
    // Columns that were no features need not be there, and may.
    let options = preparation.table_options(&TableOptions::default());
    for new in ["b,a\n5,0.5\n", "label,b,id,a\nanything,5,also,0.5\n", "0.5,5\n", "id,label,a,b\n1,x,0.5,5\n"]
    {
        let new = Samples::from_text(new.as_bytes(), "new", &options).unwrap();
        let data = preparation.apply(&new, DType::F64, &Device::Cpu).unwrap();
        let row = data.batch(&[0]).unwrap().input.to_vec2::<f64>().unwrap();
        let law = preparation.standardization().unwrap();
        let expected =
            [0.5, 5.0].iter().zip(law.mean()).zip(law.std()).map(|((x, mean), std)| (x - mean) / std);
        assert_eq!(row[0], expected.collect::<Vec<f64>>());
    }
    let more = Samples::from_text(&b"1,2,3\n"[..], "new", &options).unwrap();
    let error = preparation.apply(&more, DType::F32, &Device::Cpu).unwrap_err().to_string();
    assert_eq!(
        error,
        "'new' has 3 columns of features, and the model takes 2 (a, b): leave others out with --drop"
    );
    for (from, to) in [
        ("\"sample_shape\":[2]", "\"sample_shape\":[3]"),
        ("\"sample_shape\":[2]", "\"sample_shape\":[18446744073709551615,18446744073709551615]"),
        ("\"classes\":[\"x\",\"y\"]", "\"classes\":[]"),
        ("\"names\":[\"a\",\"b\"]", "\"names\":[\"a\"]"),
        ("\"missing_means\":[", "\"missing_means\":[0.0,"),
        ("\"task\":\"classify\"", "\"task\":\"regress\""),
    ] {
        assert!(kept.contains(from), "{kept}");
        let damaged = serde_json::from_str::<Preparation>(&kept.replace(from, to));
        assert!(damaged.is_err(), "{to}");
    }
}

/// The fingerprint is the same on every machine, and another one for other features, labels or another split.
#[test]
fn data_have_a_fingerprint() {
    let text = format!("a,label\n{}", rows(10, |i| format!("{}.5,{}\n", i, i % 2)));
    let of = |text: &str, seed, test| {
        let options = PrepareOptions { seed, ..PrepareOptions::default() };
        Prepared::new(&table(text), test, &options).unwrap().fingerprint
    };
    let test = TestPart::Fraction(0.2);
    let first = of(&text, 1, test);
    assert_eq!(first, FINGERPRINT);
    assert_eq!(first, of(&text, 1, test));
    let other = [
        of(&text.replace("9.5", "9.25"), 1, test),
        of(&text.replace("0.5,0", "0.5,1"), 1, test),
        of(&text.replace("label", "class"), 1, TestPart::Fraction(0.4)),
        of(&text.replacen('a', "b", 1), 1, test),
        of(&text, 3, test),
        of(&text, 1, NONE),
        of(&text, 1, TestPart::Data(&table("a,label\n1,1\n"))),
        of(&text, 1, TestPart::Data(&table("a,label\n2,1\n"))),
    ];
    assert!(!other.contains(&first), "{other:?}");
    assert_ne!(other[6], other[7]);
}

/// Of SipHash-2-4 by this definition; a change of it is a change of every checkpoint.
const FINGERPRINT: u64 = 14_348_950_284_319_071_901;
