//! A table of numbers.

use candle_core::{DType, Device, Tensor};

/// A table of numbers, row by row.
///
/// ```
/// use wick_train::data::Matrix;
///
/// let (standardized, constant) = Matrix::new(2, 2, vec![1.0, 7.0, 3.0, 7.0]).standardize();
/// assert_eq!((standardized.values, constant), (vec![-1.0, 0.0, 1.0, 0.0], vec![1]));
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Matrix {
    /// The number of rows: samples.
    pub rows: usize,
    /// The number of columns: features.
    pub columns: usize,
    /// `rows · columns` finite numbers, or NaN where a number is missing and that is allowed.
    pub values: Vec<f64>,
    /// What the values lack of whole numbers beyond 2⁵³, which `f64` rounds; empty if they lack nothing.
    pub lacks: Vec<f64>,
}

impl Matrix {
    /// A table of `rows · columns` numbers that `f64` holds.
    pub fn new(rows: usize, columns: usize, values: Vec<f64>) -> Self {
        Self { rows, columns, values, lacks: Vec::new() }
    }

    /// Adds a number, and what it lacks of a whole number.
    pub(super) fn push(&mut self, x: f64, lack: f64) {
        if lack != 0.0 {
            self.lacks.resize(self.values.len(), 0.0);
        }
        if lack != 0.0 || !self.lacks.is_empty() {
            self.lacks.push(lack);
        }
        self.values.push(x);
    }

    /// Keeps the first `rows` rows.
    pub fn take(mut self, rows: usize) -> Self {
        self.rows = self.rows.min(rows);
        self.values.truncate(self.rows * self.columns);
        self.lacks.truncate(self.rows * self.columns);
        self
    }

    /// Removes columns, by their places from 0.
    pub fn without(self, columns: &[usize]) -> Self {
        let is_kept = |place: usize| !columns.contains(&place);
        let kept: Vec<bool> = (0..self.columns).map(is_kept).collect();
        let columns = kept.iter().filter(|kept| **kept).count();
        if columns == self.columns {
            return self;
        }
        let of_kept = |cells: Vec<f64>| {
            let cells = cells.into_iter().zip(kept.iter().cycle());
            cells.filter_map(|(x, kept)| kept.then_some(x)).collect()
        };
        Self { rows: self.rows, columns, values: of_kept(self.values), lacks: of_kept(self.lacks) }
    }

    /// The numbers of a column, by its place from 0.
    pub fn column(&self, column: usize) -> impl Iterator<Item = f64> + Clone {
        self.values.iter().skip(column).step_by(self.columns.max(1)).copied()
    }

    /// What the numbers of a column lack; empty if no number of the table lacks anything.
    fn lacks_of(&self, column: usize) -> impl Iterator<Item = f64> + Clone {
        self.lacks.iter().skip(column).step_by(self.columns.max(1)).copied()
    }

    /// Shifts and scales each column to mean 0 and standard deviation 1, to the precision of its numbers. A
    /// column of equal numbers becomes 0; the places of such columns are returned.
    pub fn standardize(mut self) -> (Self, Vec<usize>) {
        let mut constant = Vec::new();
        for column in 0..self.columns {
            let mut cells: Vec<f64> = self.column(column).collect();
            if self.lacks_of(column).any(|lack| lack != 0.0) {
                // Differences from the first number are exact, where the numbers are not.
                let first = (cells[0], self.lacks[column]);
                for (x, lack) in cells.iter_mut().zip(self.lacks_of(column)) {
                    *x = (*x - first.0) + (lack - first.1);
                }
            }
            if !standardize(&mut cells) {
                constant.push(column);
            }
            for (x, cell) in self.values.iter_mut().skip(column).step_by(self.columns).zip(cells) {
                *x = cell;
            }
        }
        self.lacks.clear();
        (self, constant)
    }

    /// The places of the columns whose different numbers are one and the same number of this type.
    pub fn lost_columns(&self, dtype: DType) -> Vec<usize> {
        let is_lost = |column: &usize| {
            let mut cells = self.column(*column);
            let Some(first) = cells.next() else { return false };
            let mut lacks = self.lacks_of(*column);
            let first_lack = lacks.next();
            let mut differ = lacks.any(|lack| Some(lack) != first_lack);
            let same = cells.all(|x| {
                differ |= x != first;
                rounded(x, dtype) == rounded(first, dtype)
            });
            same && differ
        };
        (0..self.columns).filter(is_lost).collect()
    }

    /// The table as a tensor `[rows, columns]` of the smallest of the types `u8`, `f32` and `f64` that holds
    /// every number as it is; `i64` if whole numbers are beyond 2⁵³. Where there are both these and fractions,
    /// `f64` rounds them. NaN are kept.
    pub(super) fn exact_tensor(&self) -> candle_core::Result<Tensor> {
        let (shape, cpu) = ((self.rows, self.columns), &Device::Cpu);
        let xs = &self.values;
        if !self.lacks.is_empty() {
            let all = || xs.iter().zip(self.lacks.iter().chain(std::iter::repeat(&0.0)));
            let whole = |(x, lack): (&f64, &f64)| {
                let is_whole = x.fract() == 0.0 && x.abs() < 2f64.powi(64);
                is_whole.then(|| i64::try_from(*x as i128 + *lack as i128).ok()).flatten()
            };
            if let Some(whole) = all().map(whole).collect::<Option<Vec<i64>>>() {
                return Tensor::from_vec(whole, shape, cpu);
            }
            return Tensor::from_slice(xs, shape, cpu);
        }
        if xs.iter().all(|x| f64::from(*x as u8) == *x) {
            return Tensor::from_vec(xs.iter().map(|x| *x as u8).collect(), shape, cpu);
        }
        if xs.iter().all(|x| f64::from(*x as f32) == *x || x.is_nan()) {
            return Tensor::from_vec(xs.iter().map(|x| *x as f32).collect(), shape, cpu);
        }
        Tensor::from_slice(xs, shape, cpu)
    }
}

/// Standardizes numbers in two passes. Each pass scales the numbers by a power of two, which is exact, so
/// that neither sums nor squares overflow or vanish. Equal numbers become 0, and the result is `false`.
fn standardize(xs: &mut [f64]) -> bool {
    let (low, high) = xs.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(*x), h.max(*x)));
    if low >= high {
        xs.fill(0.0);
        return false;
    }
    scale_to_one(xs);
    // The first mean is off by rounding errors of the size of the numbers, the mean of the deviations only by
    // some of the size of the deviations.
    for _ in 0..2 {
        let mean = mean(xs);
        xs.iter_mut().for_each(|x| *x -= mean);
    }
    scale_to_one(xs);
    let std = (xs.iter().map(|x| x * x).sum::<f64>() / xs.len() as f64).sqrt();
    xs.iter_mut().for_each(|x| *x /= std);
    true
}

fn mean(xs: &[f64]) -> f64 {
    xs.iter().sum::<f64>() / xs.len() as f64
}

/// Scales numbers by a power of two to a largest magnitude between 1/2 and 2.
fn scale_to_one(xs: &mut [f64]) {
    let largest = xs.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    let exponent = largest.log2().floor() as i32;
    // One factor could overflow for subnormal numbers.
    let (half, rest) = (-exponent / 2, -exponent - -exponent / 2);
    xs.iter_mut().for_each(|x| *x = *x * 2f64.powi(half) * 2f64.powi(rest));
}

/// A whole number as `f64` holds it, and what that lacks.
pub(super) fn of_whole(x: i128) -> (f64, f64) {
    let value = x as f64;
    (value, x.saturating_sub(value as i128) as f64)
}

/// A number as a floating point type holds it.
fn rounded(x: f64, dtype: DType) -> f64 {
    match dtype {
        DType::F64 => x,
        DType::BF16 => half::bf16::from_f64(x).to_f64(),
        DType::F16 => half::f16::from_f64(x).to_f64(),
        _ => f64::from(x as f32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standardized_columns_have_mean_0_and_std_1() {
        let matrix = Matrix::new(3, 2, vec![1.0, 7.0, 2.0, 7.0, 3.0, 7.0]);
        let (matrix, constant) = matrix.standardize();
        assert_eq!(constant, [1]);
        let side = 1.5f64.sqrt();
        let expected = [-side, 0.0, 0.0, 0.0, side, 0.0];
        assert!(matrix.values.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15), "{matrix:?}");
    }

    /// Columns far from 0, large, small and subnormal have mean 0 and std 1, each to its own precision.
    #[test]
    fn columns_of_any_size_are_standardized() {
        let wave = |i: usize| ((i * 37) % 101) as f64 / 50.0 - 1.0;
        type Column = fn(f64) -> f64;
        let columns: [(Column, f64); 6] = [
            (|x| 1e9 + 5e-4 * x, 1e-3),
            (|x| 1e200 * x, 1e-12),
            (|x| 1e-200 * x, 1e-12),
            (|x| 1e-310 * x, 1e-9),
            (|x| 1.7e308 * x, 1e-12),
            // A clock in nanoseconds, whose steps are some microseconds.
            (|x| 1.7e18 + (x * 1e5).round() * 1e3, 1e-4),
        ];
        for (number, (column, precision)) in columns.into_iter().enumerate() {
            let values: Vec<f64> = (0..101).map(|i| column(wave(i))).collect();
            let (matrix, constant) = Matrix::new(101, 1, values).standardize();
            assert!(constant.is_empty(), "column {number}");
            let expected: Vec<f64> =
                (0..101).map(|i| wave(i) / (102.0f64 * 100.0 / 12.0 / 2500.0).sqrt()).collect();
            for (got, expected) in matrix.values.iter().zip(&expected) {
                assert!((got - expected).abs() < precision, "column {number}: {got} for {expected}");
            }
            let std = (matrix.values.iter().map(|x| x * x).sum::<f64>() / 101.0).sqrt();
            assert!(mean(&matrix.values).abs() < 1e-14 && (std - 1.0).abs() < 1e-14, "column {number}");
        }
        let mut constant = vec![0.1 + 0.2; 7];
        assert!(!standardize(&mut constant));
        assert_eq!(constant, [0.0; 7]);
    }

    /// A clock in nanoseconds that ticks each of them, which `f64` rounds to multiples of 256.
    #[test]
    fn whole_numbers_beyond_f64_are_subtracted_exactly() {
        let mut matrix = Matrix { columns: 2, ..Matrix::default() };
        for i in 0..100i64 {
            let (clock, x) = (1_700_000_000_000_000_000 + i, 0.1 * i as f64);
            let value = clock as f64;
            matrix.push(value, (clock - value as i64) as f64);
            matrix.push(x, 0.0);
            matrix.rows += 1;
        }
        assert_eq!(matrix.lost_columns(DType::F64), [0]);
        let small = matrix.clone().take(2).without(&[1]);
        assert_eq!((small.values.len(), &small.lacks[..]), (2, &[0.0, 1.0][..]));
        let (matrix, constant) = matrix.standardize();
        assert!(constant.is_empty());
        for (clock, x) in matrix.column(0).zip(matrix.column(1)) {
            assert!((clock - x).abs() < 1e-12, "{clock} {x}");
        }
        assert!((matrix.values[0] + 49.5 / (9999.0f64 / 12.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn columns_are_removed_and_those_that_a_type_cannot_tell_apart_are_found() {
        let values = vec![1.0, 1.7e18, 1e-200, 5.0, 2.0, 1.7e18 + 1024.0, 1e-201, 5.0];
        let matrix = Matrix::new(2, 4, values);
        assert_eq!(matrix.lost_columns(DType::F32), [1, 2]);
        assert_eq!(matrix.lost_columns(DType::F64), [0; 0]);
        let kept = matrix.clone().without(&[1, 2]);
        assert_eq!(kept, Matrix::new(2, 2, vec![1.0, 5.0, 2.0, 5.0]));
        assert_eq!(matrix.clone().without(&[]), matrix);
        // f16 steps by 2 at 2049 and by 4 at 4099; bf16 has 8 bits.
        let near = |a, b| Matrix::new(2, 1, vec![a, b]);
        assert_eq!(near(4096.0, 4097.0).lost_columns(DType::F16), [0]);
        assert_eq!(near(4096.0, 4100.0).lost_columns(DType::F16), [0; 0]);
        assert_eq!(near(256.0, 257.0).lost_columns(DType::BF16), [0]);
        assert_eq!(near(256.0, 258.0).lost_columns(DType::BF16), [0; 0]);
    }

    /// The type is the smallest that holds all numbers; what no type holds is as near as `f64` comes.
    #[test]
    fn tensors_have_the_smallest_exact_type() {
        let beyond = 9_007_199_254_740_993i64;
        let mut clock = Matrix::new(1, 2, vec![1.0]);
        clock.push(beyond as f64, (beyond - beyond as f64 as i64) as f64);
        for (matrix, dtype, last) in [
            (Matrix::new(1, 2, vec![0.0, 255.0]), DType::U8, 255.0),
            (Matrix::new(1, 2, vec![0.0, 256.0]), DType::F32, 256.0),
            (Matrix::new(1, 2, vec![-1.0, 5.0]), DType::F32, 5.0),
            (Matrix::new(1, 2, vec![f64::NAN, 5.0]), DType::F32, 5.0),
            (Matrix::new(1, 2, vec![0.5, 0.1]), DType::F64, 0.1),
            (Matrix::new(1, 2, vec![0.0, 16_777_217.0]), DType::F64, 16_777_217.0),
            (clock.clone(), DType::I64, beyond as f64),
        ] {
            let tensor = matrix.exact_tensor().unwrap();
            assert_eq!((tensor.dtype(), tensor.dims()), (dtype, &[1, 2][..]));
            let all = tensor.to_dtype(DType::F64).unwrap().to_vec2::<f64>().unwrap();
            assert_eq!(all[0][1], last, "{matrix:?}");
        }
        let exact = clock.exact_tensor().unwrap().to_vec2::<i64>().unwrap();
        assert_eq!(exact, [[1, beyond]]);
        clock.values[0] = 0.5;
        assert_eq!(clock.exact_tensor().unwrap().dtype(), DType::F64);
    }
}
