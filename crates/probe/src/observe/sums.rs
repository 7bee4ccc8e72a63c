//! Sums over parameters and their gradients, each in one pass over the numbers where they are.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use candle_core::{CpuStorage, DType, Device, Result, Storage, Tensor, bail};
use wick_kernels::{Number, SimdLevel, parallel, simd};

/// The numbers that one task adds. The tasks' sums are added in order, whatever the number of threads.
const BLOCK: usize = 1 << 16;
/// The sums that run side by side.
const LANES: usize = 16;

/// Sums over a parameter before a step, `b`, and how far the step moved it, `d`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Moved {
    /// `Σ b²`.
    pub(super) squares: f64,
    /// `Σ d²`.
    pub(super) updates: f64,
    /// `Σ b d`.
    pub(super) products: f64,
}

/// Sums over a gradient `g`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Magnitudes {
    /// `Σ g²`.
    pub(super) squares: f64,
    /// `Σ |g|`.
    pub(super) absolute: f64,
    /// How many are 0.
    pub(super) zeros: f64,
}

pub(super) fn moved(before: &Tensor, after: &Tensor) -> Result<Moved> {
    let (before, after) = (on_cpu(before)?, on_cpu(after)?);
    if before.dtype() != after.dtype() || before.shape() != after.shape() {
        bail!(
            "a parameter of {:?} {:?} became {:?} {:?}",
            before.dtype(),
            before.shape(),
            after.dtype(),
            after.shape()
        );
    }
    let [squares, updates, products] = match before.dtype() {
        DType::F64 => with::<f64, _>(&before, |b| with::<f64, _>(&after, |a| sums(b, a, of_moved)))??,
        _ => with::<f32, _>(&before, |b| with::<f32, _>(&after, |a| sums(b, a, of_moved)))??,
    };
    Ok(Moved { squares, updates, products })
}

pub(super) fn magnitudes(xs: &Tensor) -> Result<Magnitudes> {
    let xs = on_cpu(xs)?;
    let [squares, absolute, zeros] = match xs.dtype() {
        DType::F64 => with::<f64, _>(&xs, |xs| sums(xs, xs, of_magnitudes))?,
        _ => with::<f32, _>(&xs, |xs| sums(xs, xs, of_magnitudes))?,
    };
    Ok(Magnitudes { squares, absolute, zeros })
}

#[inline(always)]
fn of_moved(b: f64, a: f64) -> [f64; 3] {
    let d = a - b;
    [b * b, d * d, b * d]
}

#[inline(always)]
fn of_magnitudes(x: f64, _: f64) -> [f64; 3] {
    [x * x, x.abs(), if x == 0.0 { 1.0 } else { 0.0 }]
}

/// The fraction of the slices of a tensor's first dimension that equal an earlier one; slices of one element or of
/// zeros do not count.
pub(super) fn copied_rows(xs: &Tensor) -> Result<f64> {
    let rows = xs.dims().first().copied().unwrap_or(0);
    let columns = xs.elem_count() / rows.max(1);
    if xs.rank() < 2 || columns < 2 || rows < 2 {
        return Ok(0.0);
    }
    let xs = on_cpu(xs)?;
    let copies = match xs.dtype() {
        DType::F64 => with::<f64, _>(&xs, |xs| copies(xs, columns, f64::to_bits))?,
        _ => with::<f32, _>(&xs, |xs| copies(xs, columns, f32::to_bits))?,
    };
    Ok(copies as f64 / rows as f64)
}

/// How many rows equal an earlier one, but for rows of zeros. Most differ in their first numbers: only those that do
/// not are compared whole.
fn copies<T: Number, B: Hash + Eq + Copy>(xs: &[T], columns: usize, bits: impl Fn(T) -> B) -> usize {
    const FIRST: usize = 4;
    let rows = || xs.chunks_exact(columns).filter(|row| row.iter().any(|x| x.widen() != 0.0));
    let bits = |row: &[T]| row.iter().map(|x| bits(*x)).collect::<Vec<B>>();
    let mut alike: HashMap<Vec<B>, Vec<&[T]>> = HashMap::new();
    for row in rows() {
        alike.entry(bits(&row[..FIRST.min(columns)])).or_default().push(row);
    }
    let copies_of = |rows: Vec<&[T]>| match rows.len() {
        1 => 0,
        count => count - rows.into_iter().map(&bits).collect::<HashSet<_>>().len(),
    };
    alike.into_values().map(copies_of).sum()
}

/// The numbers on the CPU, next to each other, in `f32` or `f64`.
fn on_cpu(xs: &Tensor) -> Result<Tensor> {
    let xs = xs.detach().to_device(&Device::Cpu)?;
    match xs.dtype() {
        DType::F32 | DType::F64 => xs,
        DType::BF16 | DType::F16 => xs.to_dtype(DType::F32)?,
        _ => xs.to_dtype(DType::F64)?,
    }
    .contiguous()
}

/// Calls `f` with the numbers of a tensor of [`on_cpu`].
fn with<T: Number, R>(xs: &Tensor, f: impl FnOnce(&[T]) -> R) -> Result<R> {
    let (storage, layout) = xs.storage_and_layout();
    let (Storage::Cpu(storage), Some((from, to))) = (&*storage, layout.contiguous_offsets()) else {
        bail!("a parameter on another device")
    };
    Ok(f(&CpuStorage::as_slice::<T>(storage)?[from..to]))
}

/// Three sums over pairs of numbers.
fn sums<T: Number, F: Fn(f64, f64) -> [f64; 3] + Copy + Sync>(xs: &[T], ys: &[T], of: F) -> [f64; 3] {
    let blocks = parallel::map(xs.len().div_ceil(BLOCK), |block| {
        let place = block * BLOCK..xs.len().min((block + 1) * BLOCK);
        simd::run(SimdLevel::best(), Sums { xs: &xs[place.clone()], ys: &ys[place], of })
    });
    blocks.into_iter().fold([0.0; 3], |all, block| [all[0] + block[0], all[1] + block[1], all[2] + block[2]])
}

struct Sums<'a, T, F> {
    xs: &'a [T],
    ys: &'a [T],
    of: F,
}

impl<T: Number, F: Fn(f64, f64) -> [f64; 3]> simd::Task for Sums<'_, T, F> {
    type Output = [f64; 3];

    #[inline(always)]
    fn run(self) -> [f64; 3] {
        let mut lanes = [[0.0; LANES]; 3];
        let mut add = |lane: usize, x: T, y: T| {
            let of = (self.of)(x.widen(), y.widen());
            for (lanes, of) in lanes.iter_mut().zip(of) {
                lanes[lane] += of;
            }
        };
        let ((xs, x_rest), (ys, y_rest)) = (self.xs.as_chunks::<LANES>(), self.ys.as_chunks::<LANES>());
        for (xs, ys) in xs.iter().zip(ys) {
            for lane in 0..LANES {
                add(lane, xs[lane], ys[lane]);
            }
        }
        for (lane, (x, y)) in x_rest.iter().zip(y_rest).enumerate() {
            add(lane, *x, *y);
        }
        lanes.map(|lanes| lanes.iter().sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers between -1 and 1 that do not repeat.
    fn numbers(start: f64, shape: (usize, usize), dtype: DType) -> Tensor {
        let numbers =
            (0..shape.0 * shape.1).map(|i| (start + 1.7 * i as f64 + 0.01 * (i * i % 1009) as f64).sin());
        let numbers = Tensor::from_iter(numbers, &Device::Cpu).unwrap();
        numbers.reshape(shape).unwrap().to_dtype(dtype).unwrap()
    }

    /// The sums equal those of candle's ops in `f64`, for every type, for views, and for more than one block.
    #[test]
    fn sums_are_those_of_candles_ops() {
        for dtype in [DType::F32, DType::F64, DType::BF16, DType::F16] {
            for (rows, columns) in [(1, 1), (3, 7), (300, 517)] {
                let (b, a) = (numbers(0.3, (rows, columns), dtype), numbers(0.8, (columns, rows), dtype));
                let b = b.relu().unwrap(); // Half of the numbers are 0.
                let a = a.t().unwrap();
                let wide = |xs: &Tensor| xs.to_dtype(DType::F64).unwrap();
                let sum = |xs: Tensor| xs.sum_all().unwrap().to_scalar::<f64>().unwrap();
                let (b64, d) = (wide(&b), (wide(&a) - wide(&b)).unwrap());
                let near =
                    |found: f64, expected: f64| (found - expected).abs() <= 1e-11 * (rows * columns) as f64;
                let found = moved(&b, &a).unwrap();
                assert!(near(found.squares, sum(b64.sqr().unwrap())));
                assert!(near(found.updates, sum(d.sqr().unwrap())));
                assert!(near(found.products, sum((&d * &b64).unwrap())));
                let found = magnitudes(&b).unwrap();
                assert!(near(found.squares, sum(b64.sqr().unwrap())));
                assert!(near(found.absolute, sum(b64.abs().unwrap())));
                let zeros = b64.eq(&b64.zeros_like().unwrap()).unwrap();
                assert_eq!(found.zeros, sum(zeros.to_dtype(DType::F64).unwrap()));
            }
        }
        let nan = Tensor::new(&[1f32, f32::NAN], &Device::Cpu).unwrap();
        assert!(magnitudes(&nan).unwrap().squares.is_nan());
        assert!(moved(&nan, &nan.narrow(0, 0, 1).unwrap()).is_err());
    }

    /// Of six rows, one is a copy of another, one differs in its last number alone, and two are zeros.
    #[test]
    fn copies_are_told_from_rows_that_begin_alike() {
        let row = |last: f32| [1.0, 2.0, 3.0, 4.0, 5.0, last];
        let rows = [row(6.0), row(7.0), [0.0; 6], row(6.0), [0.0; 6], [2.0; 6]];
        let xs = Tensor::new(&rows, &Device::Cpu).unwrap();
        for dtype in [DType::F32, DType::F64, DType::BF16, DType::I64] {
            assert_eq!(copied_rows(&xs.to_dtype(dtype).unwrap()).unwrap(), 1.0 / 6.0);
        }
        assert_eq!(copied_rows(&numbers(0.1, (100, 5), DType::F32)).unwrap(), 0.0);
        assert_eq!(copied_rows(&xs.narrow(1, 0, 1).unwrap()).unwrap(), 0.0);
        assert_eq!(copied_rows(&xs.narrow(1, 0, 5).unwrap()).unwrap(), 2.0 / 6.0);
    }
}
