//! What single units and samples do: the dead, the copies, and how alike samples are.

use candle_core::{DType, Device, Result, Tensor};
use wick_theory::{Activation, BatchGeometry};

/// What the units of a layer do over the samples of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Units {
    /// How many units there are.
    pub count: usize,
    /// The share of them that have the same value for every sample.
    pub constant: f64,
    /// The share of them that equal an earlier unit for every sample, constant ones aside.
    pub copies: f64,
    /// The samples: their lengths and cosines.
    pub batch: BatchGeometry,
}

/// More samples than these are looked at by some.
pub(crate) const MOST: usize = 256;

impl Units {
    /// The units of a tensor: its last dimension, or its second of four or five, `[batch, channel, …]`. Every other
    /// dimension counts as samples, of which 256 are looked at, evenly chosen, where there are more. `None` where there is one
    /// dimension, or one sample.
    ///
    /// # Errors
    /// If the device cannot hand over the values.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use wick_probe::Units;
    ///
    /// // Of four units one is always 0, and one is a copy.
    /// let h = Tensor::new(&[[0.0f32, 1.0, 2.0, 1.0], [0.0, 3.0, -1.0, 3.0]], &Device::Cpu)?;
    /// let units = Units::of(&h)?.expect("two dimensions");
    /// assert_eq!((units.count, units.constant, units.copies), (4, 0.25, 0.25));
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn of(xs: &Tensor) -> Result<Option<Self>> {
        Ok(rows(xs)?.map(|(values, count, samples)| {
            let units = Self::of_rows(&values, count);
            Self { batch: BatchGeometry { samples, ..units.batch }, ..units }
        }))
    }

    fn of_rows(values: &[f64], count: usize) -> Self {
        let mut constant = vec![true; count];
        // Two numbers for each unit that only copies share, whatever the last bits of the products that made them.
        let mut marks = vec![[0.0f64; 3]; count];
        for (sample, row) in values.chunks_exact(count).enumerate() {
            let turn = sample as f64;
            let factors = [(1.0 + turn).sqrt().fract() + 0.5, (2.0 + turn).cbrt().fract() - 1.5];
            for (((&x, first), constant), mark) in row.iter().zip(values).zip(&mut constant).zip(&mut marks) {
                *constant &= x == *first;
                mark[0] += x * factors[0];
                mark[1] += x * factors[1];
                mark[2] += x.abs();
            }
        }
        let mut living: Vec<[f64; 3]> = marks
            .into_iter()
            .zip(&constant)
            .filter(|(_, constant)| !**constant)
            .map(|(mark, _)| mark)
            .collect();
        living.sort_by(|a, b| a[0].total_cmp(&b[0]));
        let equal = |a: &[f64; 3], b: &[f64; 3]| a.iter().zip(b).all(|(x, y)| (x - y).abs() <= 1e-6 * a[2]);
        let copies = living.windows(2).filter(|pair| equal(&pair[0], &pair[1])).count();
        Self {
            count,
            constant: (count - living.len()) as f64 / count as f64,
            copies: copies as f64 / count as f64,
            batch: BatchGeometry::of(values, count),
        }
    }
}

/// At most 256 samples of a tensor, evenly chosen, row by row; the units, and the samples that there are. `None` without units
/// or with one sample alone.
fn rows(xs: &Tensor) -> Result<Option<(Vec<f64>, usize, usize)>> {
    let last = match xs.rank() {
        0 | 1 => return Ok(None),
        4 | 5 => xs.transpose(1, xs.rank() - 1)?,
        _ => xs.clone(),
    };
    let count = last.dim(last.rank() - 1)?;
    let samples = xs.elem_count() / count.max(1);
    if samples < 2 {
        return Ok(None);
    }
    let mut rows = last.detach().reshape((samples, count))?;
    if samples > MOST {
        let chosen: Vec<u32> = (0..MOST).map(|row| (row * samples / MOST) as u32).collect();
        rows = rows.index_select(&Tensor::from_vec(chosen, MOST, rows.device())?, 0)?;
    }
    let values = rows.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    Ok(Some((values, count, samples)))
}

/// The mean of `φ'²` over the pre-activations of at most 256 samples.
pub(crate) fn slope_square(activation: Activation, pre_activation: &Tensor) -> Result<Option<f64>> {
    Ok(rows(pre_activation)?.map(|(values, ..)| {
        values.iter().map(|&x| activation.derivative(x).powi(2)).sum::<f64>() / values.len() as f64
    }))
}
