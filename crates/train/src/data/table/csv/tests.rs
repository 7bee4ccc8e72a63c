use super::*;
use crate::data::table::matrix::Matrix;
use crate::data::table::options::Header;

fn read_rows(text: impl BufRead, rows: usize, options: &TableOptions) -> Result<Source, Reason> {
    let options = TableOptions { rows: Some(rows), ..options.clone() };
    read(text, options.delimiter_of("csv"), &options, Wanted::Features)
}

fn read_with(text: &str, most: usize, options: &TableOptions) -> Result<Source, Reason> {
    read_rows(text.as_bytes(), most, options)
}

fn plain(text: &str, most: usize) -> Result<Matrix, Reason> {
    Ok(read_with(text, most, &TableOptions::default())?.matrix)
}

fn options(header: Header, label: &str, drop: &str) -> TableOptions {
    let words = |text: &str| -> Vec<String> {
        text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    TableOptions { header, label: words(label).pop(), drop: words(drop), ..TableOptions::default() }
}

#[test]
fn a_guess_about_the_first_line_is_told_and_can_be_overruled() {
    let rows = |text: &str, header| {
        let read = read_with(text, 9, &options(header, "none", ""));
        read.map(|source| (source.matrix.rows, !source.notices.is_empty())).ok()
    };
    let numbered = "0,1,2\n5,6,7\n";
    assert_eq!(rows(numbered, Header::Auto), Some((2, true)));
    assert_eq!(rows(numbered, Header::Yes), Some((1, false)));
    assert_eq!(rows(numbered, Header::No), Some((2, false)));
    let missing = "NA,NA\n5,6\n";
    assert_eq!(rows(missing, Header::Auto), Some((1, true)));
    assert_eq!(rows(missing, Header::No), None);
    assert_eq!(rows("a,b\n5,6\n", Header::Auto), Some((1, false)));
    assert_eq!(rows("4,2\n5,6\n", Header::Auto), Some((2, false)));
    // Years, a column without a name as pandas and R write it, names among numbers, a label.
    assert_eq!(rows("2019,2020,2021\n5,6,7\n", Header::Auto), Some((2, true)));
    assert_eq!(rows(",0,1,2\n0,5,6,7\n", Header::Auto), Some((1, true)));
    assert_eq!(rows("label,0,1\n0,5,6\n", Header::Auto), Some((1, true)));
    assert_eq!(rows(",a,b\n0,5,6\n", Header::Auto), Some((1, true)));
    assert_eq!(rows("id,7,3\n0,5,6\n", Header::Auto), Some((1, true)));
    // A number that is missing from the first sample is no header.
    assert_eq!(rows("NA,3.5\n5,6\n", Header::Auto), None);
}

#[test]
fn columns_have_any_delimiter_and_numbers_a_point() {
    let with = |text: &str, delimiter: &str| {
        let options = TableOptions { delimiter: delimiter.parse().ok(), ..TableOptions::default() };
        read_with(text, 9, &options).map(|source| source.matrix)
    };
    for (text, delimiter) in [
        ("1;2\n", ";"),
        ("1\t2\n", "tab"),
        ("1\t2\n", "\\t"),
        ("1|2\n", "|"),
        ("1 2\n", " "),
        ("  1   2 \n", "space"),
    ] {
        assert_eq!(with(text, delimiter).unwrap().values, [1.0, 2.0], "{delimiter}");
    }
    for (text, delimiter, hint) in [
        ("1,5;2\n3;4\n", ";", "use --decimal-comma"),
        ("1.000,5;2\n3;4\n", ";", "numbers have a decimal point"),
        ("a\n1;2\n", ",", "use --delimiter ';'"),
        ("1,5;2,5\n", ",", "use --delimiter ';'"),
        ("a\n1\t2\n", ",", "use --delimiter tab"),
        ("a\n1 2\n", ",", "use --delimiter space"),
        (
            "a,b\n1,\n",
            ",",
            "line 2, column 2: '' is not a number; fill in what is missing, or leave the column out with --drop 2",
        ),
        ("a,b\n1,red\n", ",", "leave it out with --drop 2"),
    ] {
        let error = with(text, delimiter).unwrap_err().to_string();
        assert!(error.contains(hint), "{error}");
    }
}

#[test]
fn decimal_commas_are_read_by_an_option() {
    let options = TableOptions { decimal_comma: true, ..TableOptions::default() };
    let read = |text: &str| read_with(text, 9, &options);
    assert_eq!(read("x;y\n1,5;-2,25e1\n3;4\n").unwrap().matrix.values, [1.5, -22.5, 3.0, 4.0]);
    assert_eq!(read("\"1,5\";\"2\"\n").unwrap().matrix.values, [1.5, 2.0]);
    let error = read("a;b\n1.000,5;2\n").unwrap_err().to_string();
    assert!(
        error.contains("'1.000,5' is not a number; with --decimal-comma a number has no point"),
        "{error}"
    );
}

/// Columns that are left out may hold anything.
#[test]
fn labels_and_other_columns_are_left_out() {
    let iris = "5.1,3.5,setosa\n6.2,2.9,virginica\n";
    let named = format!("sepal,petal,species\n{iris}");
    let values = [5.1, 3.5, 6.2, 2.9];
    for (text, label, drop) in [
        (&*named, "", ""),
        (&*named, "species", ""),
        (&*named, "-1", ""),
        (&*named, "none", "3"),
        (iris, "3", ""),
        (iris, "", "-1"),
    ] {
        let source = read_with(text, 9, &options(Header::Auto, label, drop)).unwrap();
        let context = format!("{label:?} {drop:?} {:?}", source.notices);
        assert_eq!(source.matrix, Matrix::new(2, 2, values.to_vec()), "{context}");
        assert_eq!(source.left_out.guessed.is_some(), label.is_empty() && drop.is_empty(), "{context}");
        assert!(source.notices.is_empty(), "{context}");
    }
    let source = read_with(&named, 9, &options(Header::Auto, "species", "sepal")).unwrap();
    assert_eq!((source.matrix.values, source.matrix.columns), (vec![3.5, 2.9], 1));
    // A name is looked for in the first line, even if that has numbers alone.
    let numbered = read_with("0,1,64\n5,6,7\n", 9, &options(Header::Yes, "64", "")).unwrap();
    assert_eq!(numbered.matrix.values, [5.0, 6.0]);
    for (label, drop, part) in [
        ("colour", "", "--label colour: no column has this name; they are sepal, petal, species"),
        ("", "9", "--drop 9: the columns have the numbers 1 to 3"),
        (
            "none",
            "",
            "line 2, column 3: 'setosa' is not a number; if the column is no feature, leave it out with --drop 3",
        ),
    ] {
        let error = read_with(&named, 9, &options(Header::Auto, label, drop)).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn encodings_and_truth_values() {
    assert_eq!(plain("\u{feff}1,2\n", 9).unwrap().values, [1.0, 2.0]);
    assert_eq!(plain("a,b\nTrue,False\n", 9).unwrap().values, [1.0, 0.0]);
    let latin = read_rows(&b"Gr\xf6\xdfe,b\n1,2\n"[..], 9, &TableOptions::default()).unwrap();
    assert_eq!(latin.matrix.values, [1.0, 2.0]);
    let error = read_rows(&b"\xff\xfe1\x00"[..], 9, &TableOptions::default()).unwrap_err().to_string();
    assert!(error.contains("UTF-16"), "{error}");
}

#[test]
fn a_header_is_optional() {
    for text in ["a,b\n1, 2\n3,4\n", "1,2\n3,4"] {
        let matrix = plain(text, 9).unwrap();
        assert_eq!(matrix, Matrix::new(2, 2, vec![1.0, 2.0, 3.0, 4.0]));
    }
}

#[test]
fn lines_are_counted_with_the_blank_ones() {
    for text in ["1,2\n\n\n3,nope\n", "1,2\r\n\r\n\r\n3,nope\r\n"] {
        let error = plain(text, 9).unwrap_err().to_string();
        let hint = "if the column is no feature, leave it out with --drop 2";
        assert_eq!(error, format!("line 4, column 2: 'nope' is not a number; {hint}"));
    }
}

/// 100,000 lines take the time of some passes over the file, and not of a pass for each line. Lines beyond
/// the number of rows that the caller wants are not read.
#[test]
fn long_files_are_read_once() {
    let text = "1,2,3,4,5,6,7,8,9,10\n".repeat(100_000);
    let begun = std::time::Instant::now();
    assert_eq!(plain(&text, usize::MAX).unwrap().rows, 100_000);
    // A pass over 2 MB for each line would take minutes.
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
    let matrix = plain("a,b\n1,2\n3,4\nfive,six\n", 2).unwrap();
    assert_eq!((matrix.rows, matrix.values), (2, vec![1.0, 2.0, 3.0, 4.0]));
}

/// A quote that is not closed would swallow the lines after it, also where its column is left out.
#[test]
fn an_open_quote_is_refused() {
    for (text, line) in [
        ("1,2,a\n3,4,\"b\n5,6,c\n7,8,d\n", "line 2"),
        ("1,2,\"a\n", "line 1"),
        ("1,2,a\n\n3,4,\"b\"\"\n", "line 3"),
        ("1,2,a\n3,4,\"b\nc\"\n", "line 2"),
    ] {
        let error = format!("{}", read_with(text, 9, &options(Header::No, "3", "")).unwrap_err());
        assert!(error.starts_with(&format!("{line}: a quote is open at the end of the line")), "{error}");
    }
    let closed = "1,2,\"a, \"\"b\"\"\"\n3,4,\" c \"\n";
    let read = read_with(closed, 9, &options(Header::No, "3", "")).unwrap();
    assert_eq!(read.matrix.values, [1.0, 2.0, 3.0, 4.0]);
}

/// Of a text without end, only the rows that the caller wants are read; without a limit, no more than fits.
#[test]
fn a_text_without_end_is_read_as_far_as_wanted() {
    let endless = || std::io::BufReader::new(Endless(0));
    let options = TableOptions::default();
    assert_eq!(read_rows(endless(), 10, &options).unwrap().matrix.values.len(), 20);
    let limited = TableOptions { memory: Some(1 << 20), ..options };
    let error = read_rows(endless(), usize::MAX, &limited).unwrap_err().to_string();
    let said = "line 32769: the numbers take more memory than the 1.0 MiB that are free; take 32768 --samples at most";
    assert_eq!(error, said);
}

struct Endless(usize);

impl std::io::Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        for byte in buffer.iter_mut() {
            *byte = b"1,2\n"[self.0 % 4];
            self.0 += 1;
        }
        Ok(buffer.len())
    }
}

/// A header of numbers is not taken for a sample because its one name is in a column that is left out; a
/// sample with the name of its class is no header.
#[test]
fn a_header_is_judged_by_the_whole_line() {
    let rows = |text: &str, label, drop| {
        let source = read_with(text, 9, &options(Header::Auto, label, drop)).unwrap();
        (source.matrix.rows, source.notices.len())
    };
    let counted = "0,1,2,3,kind\n5,6,7,8,red\n";
    assert_eq!(rows(counted, "-1", ""), (1, 1));
    assert_eq!(rows(counted, "5", ""), (1, 1));
    assert_eq!(rows(counted, "none", "-1"), (1, 1));
    assert_eq!(rows("5.1,3.5,1.4,setosa\n6.2,2.9,4.3,virginica\n", "-1", ""), (2, 0));
    assert_eq!(rows("0.0,1.0,2.0,3.0\n5,6,7,8\n", "none", ""), (2, 1));
    assert_eq!(rows("0.5,1.5,2.5,3.5\n5,6,7,8\n", "none", ""), (2, 0));
}

/// Advice names the column that is meant where names are numbers.
#[test]
fn advice_about_a_column_is_unambiguous() {
    let source = read_with(",0,1,2,3\n0,5,6,7,8\n", 9, &TableOptions::default()).unwrap();
    assert!(source.notices[1].ends_with("--drop column:1"), "{:?}", source.notices);
    let left = read_with(",0,1,2,3\n0,5,6,7,8\n", 9, &options(Header::Auto, "", "column:1")).unwrap();
    assert_eq!(left.matrix.values, [5.0, 6.0, 7.0, 8.0]);
    for header in [Header::Auto, Header::Yes] {
        let read = read_with("0,1,2,3,4\n5,6,7,8,9\n", 9, &options(header, "4", ""));
        let error = read.unwrap_err().to_string();
        let said = "--label 4: column 4, or column 5, whose name it is? write column:4 or name:4";
        assert_eq!(error, said);
    }
    let by_name = read_with("0,1,2,3,4\n5,6,7,8,9\n", 9, &options(Header::Auto, "name:4", "")).unwrap();
    assert_eq!(by_name.matrix.values, [5.0, 6.0, 7.0, 8.0]);
    assert_eq!(read_with("5,1,4,2\n", 9, &options(Header::Auto, "4", "")).unwrap().matrix.values.len(), 3);
}

#[test]
fn an_error_tells_what_a_cell_may_be() {
    let long = format!("1{}", "0".repeat(400));
    for (text, said) in [
        ("a;b\n0,5;1,2\n", "use --delimiter ';' --decimal-comma"),
        ("a;b\n5;1,2\n", "use --delimiter ';' --decimal-comma"),
        ("a|b\n1|2\n", "if '|' separates the columns, use --delimiter '|'"),
        ("a,b\n1_000,2\n", "'1_000' is not a number; nothing separates the thousands of a number"),
        ("a,b\n1'000,2\n", "nothing separates the thousands"),
        ("sep=;\n1;2\n", "line 1 names what separates the columns: use --delimiter ';'"),
        ("a,b\n١,2\n", "'١' is not a number; the digits of a number are 0 to 9"),
        (
            "version https://git-lfs.github.com/spec/v1\noid sha256:4\n",
            "it is a pointer of Git LFS and not the file itself",
        ),
        ("<!DOCTYPE html>\n", "it is a page of HTML"),
        (&*format!("{long},2\n"), "'1000000000000000000000000000000000000000…' is not a finite number"),
    ] {
        let error = read_with(text, 9, &TableOptions::default()).unwrap_err().to_string();
        assert!(error.contains(said) && error.len() < 200, "{error}");
    }
    assert_eq!(plain("sep=,\n1,2\n", 9).unwrap().values, [1.0, 2.0]);
}

#[test]
fn whole_numbers_lack_nothing() {
    let matrix = plain("t\n1700000000000000000\n1700000000000000001\n-9223372036854775807\n5\n", 9).unwrap();
    assert_eq!(matrix.lacks, [0.0, 1.0, 1.0, 0.0]);
    let (matrix, constant) = plain("1700000000000000000\n1700000000000000001\n", 9).unwrap().standardize();
    assert_eq!((matrix.values, constant.len()), (vec![-1.0, 1.0], 0));
    assert!(plain("1\n2\n", 9).unwrap().lacks.is_empty());
}
