use std::fs;
use std::io::Write;

use candle_core::{DType, Device};
use clap::{CommandFactory, Parser};
use wick_train::data::{Dataset, Part};

use super::*;
use crate::cli::Usage;

#[derive(Debug, Parser)]
struct Training {
    #[command(flatten)]
    options: TrainingDataOptions,
}

#[derive(Debug, Parser)]
struct Predicting {
    #[command(flatten)]
    options: FeatureOptions,
}

fn target() -> Target {
    Target { device: Device::Cpu, name: "cpu".into(), dtype: DType::F32 }
}

/// A folder of files, and what programs say of them.
struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
        Self(folder)
    }

    /// Loads what arguments say, in which `@` stands for the folder.
    /// Loads data, without a validation part unless the arguments name one.
    fn load(&self, arguments: &str) -> Result<Prepared> {
        let none = if arguments.contains("--validation") { "" } else { " --validation 0" };
        let arguments = format!("{arguments}{none}");
        let folder = format!("{}/", self.0.path().display());
        let arguments = arguments.split(' ').map(|argument| argument.replace('@', &folder));
        let options = Training::try_parse_from(std::iter::once("train".to_owned()).chain(arguments))?.options;
        options.load_with(self.0.path(), 42, &target())
    }

    fn error(&self, arguments: &str) -> (String, bool) {
        let error = self.load(arguments).unwrap_err();
        let is_usage = error.is::<Usage>() || error.is::<clap::Error>();
        (error.to_string(), is_usage)
    }

    fn write_idx(&self, name: &str, dims: &[u8], numbers: &[u8]) {
        let file = fs::File::create(self.0.path().join(name)).unwrap();
        let mut file = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        file.write_all(&[0, 0, 8, dims.len() as u8]).unwrap();
        dims.iter().for_each(|dim| file.write_all(&[0, 0, 0, *dim]).unwrap());
        file.write_all(numbers).unwrap();
        file.finish().unwrap();
    }
}

fn sizes(prepared: &Prepared) -> [usize; 3] {
    let size = |part: &Option<Part>| part.as_ref().map_or(0, Dataset::len);
    [prepared.training.len(), size(&prepared.validation), size(&prepared.test)]
}

const IRIS: &str = "id,sepal,petal,species\n1,5,1.5,setosa\n2,6,4.5,virginica\n3,5.5,1,setosa\n4,6.5,5,virginica\n\
                    5,5,1.25,setosa\n6,7,5,virginica\n7,4,1,setosa\n8,6,4,virginica\n9,5,1,setosa\n10,6,5,virginica\n";

#[test]
fn the_digits_are_split() {
    let prepared = Files::new(&[]).load("--data digits").unwrap();
    let [training, validation, test] = sizes(&prepared);
    assert_eq!((training + test, validation), (1797, 0));
    assert!((test as f64 - 1797.0 / 5.0).abs() < 1.0, "{test}");
    assert_eq!(prepared.preparation.class_names().join(""), "0123456789");
    assert_eq!((prepared.preparation.features(), prepared.training.data().input().dtype()), (64, DType::U8));
    let batch = prepared.training.batch(&[0, 1]).unwrap();
    assert_eq!((batch.input.dims(), batch.input.dtype()), (&[2, 64][..], DType::F32));
    let prepared = Files::new(&[]).load("--data digits --test 0 --validation 1/3").unwrap();
    assert_eq!(sizes(&prepared), [1198, 599, 0]);
    // The defaults: digits, a fifth for testing, a tenth for validation.
    let options = Training::try_parse_from(["train"]).unwrap().options;
    assert_eq!(sizes(&options.load(42, &target()).unwrap()), [1258, 180, 359]);
}

#[test]
fn files_of_samples_labels_and_tests_go_together() {
    let files = Files::new(&[
        ("iris.csv", IRIS),
        ("test.csv", "petal,species,sepal\n1.25,setosa,5\n4,virginica,6\n"),
        ("x.csv", "sepal,petal\n5,1.5\n6,4.5\n5.5,1\n6.5,5\n"),
        ("y.csv", "a\nb\na\nb\n"),
        ("x2.csv", "petal,sepal\n1,5\n"),
        ("y2.csv", "b\n"),
        ("german.data", "5,5;1;ja\n6,5;2;nein\n"),
        ("holes.csv", "a,b,target\n1,,0.5\n3,4,1.5\n2,6,2.5\n"),
    ]);
    for (arguments, expected) in [
        ("--data @iris.csv --drop id", [8, 0, 2]),
        ("--data @iris.csv --drop id --label species --test 0.4 --validation 0.2", [4, 2, 4]),
        ("--data @iris.csv --drop 1 --label -1 --test @test.csv", [10, 0, 2]),
        ("--data @x.csv --labels @y.csv --test 0", [4, 0, 0]),
        ("--data @x.csv --labels @y.csv --test @x2.csv --test-labels @y2.csv", [4, 0, 1]),
        ("--data @german.data --delimiter ; --decimal-comma --label 3 --test 0", [2, 0, 0]),
        ("--data @holes.csv --missing mean --test 0", [3, 0, 0]),
    ] {
        let prepared = files.load(arguments).unwrap_or_else(|error| panic!("{arguments}: {error}"));
        assert_eq!(sizes(&prepared), expected, "{arguments}");
    }
    let prepared = files.load("--data @iris.csv --drop id --test @test.csv").unwrap();
    assert_eq!(prepared.preparation.class_names(), ["setosa", "virginica"]);
    let test = prepared.test.unwrap().batch(&[0, 1]).unwrap();
    let law = prepared.preparation.standardization().unwrap();
    let sepal = ((5.0 - law.mean()[0]) / law.std()[0]) as f32;
    assert_eq!(test.input.to_vec2::<f32>().unwrap()[0][0], sepal); // columns by name
    assert_eq!(test.targets.unwrap().to_vec1::<u32>().unwrap(), [0, 1]);
    let prepared = files.load("--data @iris.csv --drop id,species --label sepal --task regress").unwrap();
    assert_eq!(prepared.preparation.outputs(), 1);

    // What was kept prepares features alone.
    let prepared = files.load("--data @iris.csv --drop id").unwrap();
    for data in ["iris.csv", "test.csv", "x.csv"] {
        let path = files.0.path().join(data);
        let options =
            Predicting::try_parse_from(["predict", "--data", path.to_str().unwrap()]).unwrap().options;
        let features = options.load(&prepared.preparation, &target()).unwrap();
        assert!(
            features.targets().is_none() && features.batch(&[0]).unwrap().input.dims() == [1, 2],
            "{data}"
        );
    }
}

#[test]
fn fashion_mnist_is_read_from_the_package() {
    let files = Files::new(&[]);
    let (error, is_usage) = files.error("--data fashion-mnist");
    assert!(
        error.contains("install Debian's package dataset-fashion-mnist, or give files with --data")
            && !is_usage
    );
    files.write_idx("train-images-idx3-ubyte.gz", &[4, 2, 2], &[9; 16]);
    files.write_idx("train-labels-idx1-ubyte.gz", &[4], &[0, 1, 0, 1]);
    assert!(files.load("--data fashion-mnist").unwrap_err().to_string().contains("t10k-images"));
    files.write_idx("t10k-images-idx3-ubyte.gz", &[1, 2, 2], &[7; 4]);
    files.write_idx("t10k-labels-idx1-ubyte.gz", &[1], &[1]);
    let prepared = files.load("--data fashion-mnist").unwrap();
    assert_eq!((sizes(&prepared), prepared.preparation.sample_shape()), ([4, 0, 1], &[2, 2][..]));
    assert_eq!(prepared.training.data().input().dtype(), DType::U8);
    let batch = prepared.test.as_ref().unwrap().batch(&[0]).unwrap();
    assert_eq!(
        (batch.input.dims(), batch.targets.unwrap().to_vec1::<u32>().unwrap()),
        (&[1, 4][..], vec![1])
    );
    assert_eq!(sizes(&files.load("--data fashion-mnist --test 0.5").unwrap()), [2, 0, 2]);
    let by_file = "--data @train-images-idx3-ubyte.gz --labels @train-labels-idx1-ubyte.gz \
                   --test @t10k-images-idx3-ubyte.gz --test-labels @t10k-labels-idx1-ubyte.gz";
    assert_eq!(files.load(by_file).unwrap().fingerprint, prepared.fingerprint);
}

#[test]
fn bad_data_are_one_line() {
    let files = Files::new(&[
        ("iris.csv", IRIS),
        ("plain.csv", "a,b\n1,2\n3,4\n"),
        ("new.csv", "sepal,petal,species\n5,1,setosa\n6,1,unknown\n"),
        ("text.csv", "a,b,label\n1,red,0\n2,blue,1\n"),
        ("empty.csv", ""),
        ("nan.csv", "a,b,label\n1,2,x\nNaN,NaN,y\n"),
        ("hole.csv", "a,label\n1,x\n,y\n"),
        ("y.csv", "a\n"),
    ]);
    for (arguments, part, is_usage) in [
        (
            "--data @plain.csv",
            "has no column that is known to hold labels (its columns are a, b): name it",
            false,
        ),
        ("--data @plain.csv --label c", "--label c: no column has this name; they are a, b", false),
        (
            "--data @iris.csv --drop id --test @new.csv",
            "row 2: the training data has no class 'unknown'",
            false,
        ),
        ("--data @text.csv", "line 2, column 2: 'red' is not a number; if the column is no feature", false),
        ("--data @empty.csv", "holds no numbers", false),
        ("--data @nan.csv", "line 3, column 1: 'NaN' is not a finite number; --missing mean takes", false),
        ("--data @nan.csv --missing mean", "line 3: all numbers are missing; remove the line", false),
        (
            "--data @hole.csv",
            "fill in what is missing, or leave the column out with --drop 1; --missing mean",
            false,
        ),
        ("--data @missing.csv", "cannot read '", false),
        ("--data fashion-mnits", "(did you mean fashion-mnist?): data is digits, fashion-mnist, -", false),
        ("--data @plain.csv --labels @y.csv", "has 1 labels, and there are 2 samples", false),
        (
            "--data digits --test 1.5",
            "--test = 1.5 is out of range: it must be a fraction from 0 to below 1",
            true,
        ),
        ("--data digits --validation -0.5", "--validation = -0.5 is out of range", true),
        ("--data digits --test 0.5 --validation 0.5", "leave nothing to train on", true),
        ("--data digits --test 0.5 --test-labels y.csv", "give that with --test FILE", true),
        ("--data fashion-mnist --label 1", "fashion-mnist has its own labels: leave --label out", true),
        ("--data digits --label 1 --labels y.csv", "cannot be used with", true),
        ("--data digits --task guess", "invalid value 'guess' for '--task", true),
    ] {
        let (error, was_usage) = files.error(arguments);
        assert!(error.contains(part), "{arguments}: {error}");
        assert_eq!(was_usage, is_usage, "{arguments}: {error}");
        // clap's errors become a line in the program.
        assert!(!error.contains('\n') || error.starts_with("error: "), "{arguments}: {error}");
    }
}

/// Every option says its default, or is one that has to be given.
#[test]
fn the_help_says_every_default() {
    for argument in Training::command().get_arguments().chain(Predicting::command().get_arguments()) {
        let help = argument.get_help().unwrap().to_string();
        let has_default = !argument.get_default_values().is_empty() && !argument.is_hide_default_value_set();
        let id = argument.get_id().as_str();
        assert!(id == "data" || has_default || help.contains("[default: "), "--{id}: {help}");
    }
}
