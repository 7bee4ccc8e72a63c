//! What to do about data that are not in the units that weights are made for.

use candle_core::DType;
use wick_bins::data::{Data, Matrix};
use wick_bins::output::short;
use wick_bins::warning::warn;

/// Data whose rms is farther from 1 than by this factor are advised to be standardized.
const MAX_SCALE: f64 = 3.0;

/// Standardizes the columns, and says on stderr which of them hold one number.
pub(crate) fn standardize(data: Data, source: &str) -> Data {
    let (matrix, constant) = data.matrix.standardize();
    let named = some_names(&constant, &data.features);
    match constant.len() {
        0 => {}
        1 => warn_of(source, &format!("the numbers of {named} are equal and become 0")),
        count => warn_of(
            source,
            &format!("the numbers of each of {count} columns are equal and become 0: {named}"),
        ),
    }
    Data { matrix, ..data }
}

/// Says on stderr if a type is too coarse for a column.
pub(crate) fn warn_of_lost_columns(data: &Data, dtype: DType, source: &str, standardized: bool) {
    let lost = data.matrix.lost_columns(dtype);
    if lost.is_empty() {
        return;
    }
    let (named, dtype) = (some_names(&lost, &data.features), dtype.as_str());
    let remedy = if standardized { "use --dtype f64" } else { "use --standardize" };
    warn_of(source, &format!("{dtype} cannot tell the numbers of {named} apart: {remedy}"));
}

/// The advice to standardize data whose rms is far from 1, which stderr gets too: such data can hide behind a
/// healthy verdict, for a ReLU scales with its input. Standardized data get none.
pub(crate) fn standardize_first(matrix: &Matrix, source: &str, standardized: bool) -> Option<String> {
    if standardized {
        return None;
    }
    let range = unusual_scale(matrix)?;
    let reason = format!("the rms of the columns is {range}, and weights are made for inputs of about 1");
    warn_of(source, &format!("{reason}; use --standardize"));
    Some(format!("--standardize the data first: {reason}"))
}

/// The range of the columns' rms if that of the data is far from 1. Columns of zeros do not count.
fn unusual_scale(matrix: &Matrix) -> Option<String> {
    let columns = (0..matrix.columns).map(|column| rms(matrix.column(column)));
    let columns: Vec<f64> = columns.filter(|rms| *rms > 0.0).collect();
    let ends = (f64::INFINITY, 0.0);
    let (low, high) =
        columns.iter().fold(ends, |(low, high): (f64, f64), rms| (low.min(*rms), high.max(*rms)));
    let all = rms(columns.into_iter());
    if all == 0.0 || (1.0 / MAX_SCALE..=MAX_SCALE).contains(&all) {
        return None;
    }
    let (low, high) = (short(low), short(high));
    Some(if low == high { low } else { format!("{low} to {high}") })
}

/// The root mean square of numbers of any size.
fn rms(xs: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = xs.clone().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    if largest == 0.0 {
        return 0.0;
    }
    let (count, sum) = xs.fold((0.0, 0.0), |(count, sum), x| (count + 1.0, sum + (x / largest).powi(2)));
    largest * (sum / count).sqrt()
}

/// The names of the first of some columns.
fn some_names(columns: &[usize], features: &[String]) -> String {
    const MOST: usize = 5;
    let names: Vec<&str> =
        columns.iter().take(MOST).filter_map(|&column| Some(features.get(column)?.as_str())).collect();
    let more = if columns.len() > MOST { ", …" } else { "" };
    format!("{}{more}", names.join(", "))
}

fn warn_of(source: &str, text: &str) {
    warn(&format!("'{source}': {text}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_far_from_1_are_to_be_standardized() {
        let matrix = |a: f64, b: f64| Matrix::new(2, 2, vec![a, -b, -a, b]);
        for (a, b, range) in [
            (1e4, 1e4, Some("10000")),
            (1e4, 0.5, Some("0.5000 to 10000")),
            (1e200, 0.0, Some("1.000e200")),
            (0.01, 0.02, Some("0.01000 to 0.02000")),
            (1.0, 2.0, None),
            (0.0, 0.0, None),
            (4.0, 0.0, Some("4.000")),
            (1.0, 0.0, None),
        ] {
            let got = unusual_scale(&matrix(a, b));
            assert_eq!(got.as_deref(), range, "{a}, {b}");
        }
        // 19 of 20 columns are zeros, and the other is as it should be.
        let mut values = vec![0.0; 40];
        (values[3], values[23]) = (1.0, -1.0);
        let matrix = Matrix::new(2, 20, values);
        assert_eq!(unusual_scale(&matrix), None);
        assert_eq!(standardize_first(&Matrix::new(1, 1, vec![9.0]), "x", true), None);
    }
}
