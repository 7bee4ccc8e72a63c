//! Tensors of a file that are adapted to a model of another shape.

use candle_core::{DType, Device, Shape, Tensor};
use rayon::prelude::*;

use super::InitMap;
use super::factor::{factor, multiply};
use super::files::cast;
use super::rules::Action;
use crate::error::Error;
use crate::rng::RngSource;
use crate::rng::law::Law;

/// The new rows have this fraction of the old rows' covariance.
const SPREAD: f64 = 1e-9;

/// The most coefficients of new rows that are drawn at a time: 8 MiB. The rows' values depend on it.
const MOST_COEFFICIENTS: usize = 1 << 20;

/// What becomes of a tensor of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Adaptation {
    /// Rows are added to the first of these.
    Rows { old: usize, new: usize },
    /// Heads of this many rows are averaged.
    Heads { old: usize, new: usize, rows: usize },
}

/// Says what the manifest says of the tensor.
impl std::fmt::Display for Adaptation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rows { old, new } => {
                write!(f, "grow_rows: {old} loaded, {} drawn from their mean", new - old)
            }
            Self::Heads { old, new, .. } => write!(f, "group_heads: {new} of the means of {old}"),
        }
    }
}

impl InitMap {
    /// Whether a tensor comes from a file: the file has it, and the rule does not draw it all the same.
    pub(super) fn is_loaded(&self, rule: Option<usize>, name: &str) -> bool {
        let action = rule.map(|rule| &self.settings.rules[rule].action);
        self.settings.files.get(name).is_some() && !matches!(action, Some(Action::DrawAnew(_)))
    }

    /// Reads a tensor and adapts it as its rule says; `None` if it is to be drawn.
    pub(super) fn loaded(
        &self,
        rule: Option<usize>,
        name: &str,
        shape: &Shape,
        dtype: DType,
        device: &Device,
    ) -> Result<Option<Tensor>, Error> {
        let files = &self.settings.files;
        if !self.is_loaded(rule, name) {
            return Ok(None);
        }
        let adapted = || -> Result<Option<Vec<f64>>, Error> {
            let Some(adaptation) = self.adaptation(rule, name, shape.dims()) else { return Ok(None) };
            let Some(numbers) = files.numbers(name, dtype)? else { return Ok(None) };
            Ok(Some(match adaptation {
                Adaptation::Rows { old, new } => self.grown(name, numbers, old, new)?,
                Adaptation::Heads { old, new, rows } => grouped(&numbers, old, new, rows),
            }))
        };
        match adapted()? {
            Some(numbers) => {
                let tensor = cast(numbers, shape, dtype).map_err(|error| error.of_tensor(name))?;
                Ok(Some(tensor.to_device(device)?))
            }
            None => files.load(name, shape, dtype, device),
        }
    }

    /// What the manifest says of a tensor that is adapted.
    pub(super) fn adaptation_text(&self, rule: Option<usize>, name: &str, shape: &[usize]) -> Option<String> {
        self.adaptation(rule, name, shape).map(|adaptation| adaptation.to_string())
    }

    /// How a tensor of a file is adapted to this shape; `None` if it fits, or cannot be adapted.
    fn adaptation(&self, rule: Option<usize>, name: &str, shape: &[usize]) -> Option<Adaptation> {
        let stored = self.settings.files.get(name)?.shape();
        let ([old, before @ ..], [new, after @ ..]) = (stored, shape) else { return None };
        let (old, new) = (*old, *new);
        if before != after || old == new {
            return None;
        }
        match self.settings.rules[rule?].action {
            Action::GrowRows => (old > 0 && old < new).then_some(Adaptation::Rows { old, new }),
            Action::GroupHeads { heads } => {
                let rows = old.checked_div(heads).filter(|rows| rows * heads == old && *rows > 0)?;
                let groups = new / rows;
                let fits = groups > 0 && groups * rows == new && heads % groups == 0;
                fits.then_some(Adaptation::Heads { old: heads, new: groups, rows })
            }
            _ => None,
        }
    }

    /// Adds rows `N(m, 1e-9 Σ)` with the mean `m` and the covariance `Σ` of the `n` old ones: `m + √(1e-9/n) Fᵀ z`
    /// with `z` from N(0, 1), where [`factor`] has `FᵀF = n Σ`. Few coefficients `z` are drawn at a time; those of a row
    /// do not depend on how many rows follow.
    fn grown(&self, name: &str, mut rows: Vec<f64>, old: usize, new: usize) -> Result<Vec<f64>, Error> {
        let width = rows.len() / old;
        if width == 0 {
            return Ok(rows);
        }
        let mut mean = vec![0.0; width];
        for row in rows.chunks_exact(width) {
            mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        mean.iter_mut().for_each(|sum| *sum /= old as f64);
        let factor = factor(&rows, &mean);
        let rank = factor.len() / width;
        let law = Law::Normal { mean: 0.0, std: (SPREAD / old as f64).sqrt() };
        rows.resize(new * width, 0.0);
        let mut rng = self.lock_rng();
        let own = rng.of_tensor(name).map_err(|error| error.of_tensor(name))?;
        let at_once = (MOST_COEFFICIENTS / rank).max(1);
        for (block, added) in rows[old * width..].chunks_mut(at_once * width).enumerate() {
            let mut source = match &own {
                Some(RngSource::Jax(key)) => RngSource::Jax(key.fold_in(block as u32)),
                Some(_) => match rng.key_of(&format!("{name}, block {block} of its new rows")) {
                    Some(key) => RngSource::Keyed(key),
                    None => rng.by_ref(),
                },
                None => rng.by_ref(),
            };
            let count = added.len() / width;
            let coefficients = source.draw(law, count * rank, DType::F64).into_f64();
            multiply(&coefficients, &factor, (count, rank, width), added);
            added.par_chunks_exact_mut(width).for_each(|row| {
                row.iter_mut().zip(&mean).for_each(|(x, mean)| *x += mean);
            });
        }
        Ok(rows)
    }
}

/// The mean of each group of neighbouring heads (Ainslie et al. 2023, arXiv 2305.13245, section 2.1).
fn grouped(numbers: &[f64], heads: usize, groups: usize, rows: usize) -> Vec<f64> {
    let (size, each) = (numbers.len() / heads, heads / groups);
    debug_assert!(size.is_multiple_of(rows));
    numbers
        .chunks_exact(size * each)
        .flat_map(|group| {
            (0..size).map(move |at| (0..each).map(|head| group[head * size + at]).sum::<f64>() / each as f64)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::initializer::Initializer;
    use crate::map::manifest::Origin;
    use crate::map::rules::Rule;
    use std::collections::HashMap;

    /// A file with a tensor `w`, and what a map with the rule makes of it.
    fn adapted(
        label: &str,
        stored: Tensor,
        rule: Rule,
        shape: &[usize],
    ) -> Result<(Vec<f64>, Origin, String), String> {
        let folder = std::env::temp_dir().join(format!("wick-init-adapt-{}-{label}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.safetensors");
        candle_core::safetensors::save(&HashMap::from([("w".to_owned(), stored)]), &path).unwrap();
        let map = InitMap::new(3).with_file(&path).unwrap().with_rules([rule]);
        let wanted = [crate::map::stream::WantedTensor::new("w", shape, DType::F32)];
        // One by one and kept, it is the same.
        let streamed = map.draw_each(&wanted, |_| ()).map_err(|error| error.to_string());
        let made =
            map.var_builder(DType::F32, &Device::Cpu).get(shape, "w").map_err(|error| error.to_string());
        std::fs::remove_dir_all(&folder).unwrap();
        let (streamed, made) = (streamed?, made?);
        let entry = map.manifest().unwrap().tensors.remove(0);
        assert_eq!(streamed.tensors[0], entry);
        let values = made.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap();
        Ok((values, entry.origin, entry.init))
    }

    fn normal(shape: &[usize]) -> Tensor {
        let key = crate::rng::keyed::KeyedV1::new(9).key("w");
        let rows = Initializer::Normal { mean: 0.5, std: 1.0 }.tensor(key, shape, DType::F32, &Device::Cpu);
        rows.unwrap()
    }

    /// 200 rows of 8, 300 new ones: the old ones stay, the new ones have the mean of the old and √1e-9 of their std,
    /// within 4.5 standard errors (n = 300, seed 3; 16 statistics, alpha = 1e-4). The twin are the old rows' own mean
    /// and std.
    #[test]
    fn a_vocabulary_grows_from_its_mean() {
        let old = normal(&[200, 8]);
        let rule = Rule::grow_rows("w").unwrap();
        let (grown, origin, init) = adapted("rows", old.clone(), rule.clone(), &[500, 8]).unwrap();
        assert_eq!(
            (origin, init.as_str()),
            (Origin::Adapted, "grow_rows: 200 loaded, 300 drawn from their mean")
        );
        let before: Vec<f64> = old.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap();
        assert_eq!(grown[..1600], before);
        for column in 0..8 {
            let of = |values: &[f64]| -> (f64, f64) {
                let x: Vec<f64> = values.iter().skip(column).step_by(8).copied().collect();
                let mean = x.iter().sum::<f64>() / x.len() as f64;
                let square = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
                (mean, square.sqrt())
            };
            let ((mean, std), (new_mean, new_std)) = (of(&before), of(&grown[1600..]));
            let spread = std * SPREAD.sqrt();
            // f32 rounds at 6e-8 of the mean, a tenth of a percent of the spread.
            assert!((new_mean - mean).abs() < 4.5 * spread / 300f64.sqrt() + 6e-8, "{new_mean} {mean}");
            assert!((new_std / spread - 1.0).abs() < 4.5 / 600f64.sqrt(), "{new_std} {spread}");
            assert!((std / spread - 1.0).abs() > 1.0, "the twin");
        }
        // The first new rows are the same, however many follow.
        let (fewer, ..) = adapted("fewer", old.clone(), rule.clone(), &[203, 8]).unwrap();
        assert_eq!(fewer, grown[..203 * 8]);
        // A vocabulary does not shrink, and columns do not grow.
        for shape in [[100, 8], [500, 9]] {
            let error = adapted("shrink", old.clone(), rule.clone(), &shape).unwrap_err();
            assert!(error.contains("'w' is [200, 8]"), "{error}");
        }
    }

    /// New rows have the old rows' covariance times 1e-9, of more rows than columns and of fewer, of columns that
    /// depend on each other and of one that is constant: within 4.5 standard errors, `√((Cii Cjj + Cij²)/n)` for
    /// normal rows (n = 4000, seed 3; 99 statistics, alpha = 7e-4). The twin are independent columns, and rows of
    /// 1.1 times the standard deviation.
    #[test]
    fn new_rows_have_the_covariance_of_the_old() {
        for (old, width) in [(300usize, 6usize), (5, 12)] {
            let drawn: Vec<f64> =
                normal(&[old, width]).flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap();
            let mut stored = drawn.clone();
            for row in stored.chunks_exact_mut(width) {
                (row[1], row[2], row[3]) = (row[0] + 0.5 * row[1], row[0] - row[4], 2.0);
            }
            let tensor = Tensor::from_vec(stored.clone(), (old, width), &Device::Cpu).unwrap();
            let label = format!("law-{old}");
            // Numbers near 0 keep more digits of so small deviations.
            let mean: Vec<f64> =
                (0..width).map(|j| stored.iter().skip(j).step_by(width).sum::<f64>() / old as f64).collect();
            let centred = tensor.broadcast_sub(&Tensor::new(&mean[..], &Device::Cpu).unwrap()).unwrap();
            let centred = centred.to_dtype(DType::F32).unwrap();
            let rule = Rule::grow_rows("w").unwrap();
            let (grown, ..) = adapted(&label, centred.clone(), rule, &[old + 4000, width]).unwrap();
            let of = |rows: &[f64], i: usize, j: usize| {
                let products = rows.chunks_exact(width).map(|row| row[i] * row[j]);
                products.sum::<f64>() / (rows.len() / width) as f64
            };
            let before: Vec<f64> =
                centred.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap();
            let (mut independent_fails, mut wider_fails) = (false, false);
            for i in 0..width {
                for j in i..width {
                    let wanted = of(&before, i, j);
                    let error = ((of(&before, i, i) * of(&before, j, j) + wanted * wanted) / 4000.0).sqrt();
                    let found = of(&grown[old * width..], i, j) / SPREAD;
                    let is_as = |found: f64| (found - wanted).abs() <= 4.5 * error + 1e-12;
                    assert!(is_as(found), "{old} rows, {i} and {j}: {found} {wanted}");
                    independent_fails |= i != j && !is_as(0.0);
                    wider_fails |= !is_as(1.21 * found);
                }
            }
            assert!(independent_fails && wider_fails, "the twins");
        }
    }

    /// Llama 2's vocabulary grows to Llama 3's: no number is drawn for each pair of an old and a new row, which would
    /// take 24.6 GB, and minutes.
    #[test]
    fn a_large_vocabulary_grows_in_little_memory() {
        let rule = Rule::grow_rows("w").unwrap();
        let started = std::time::Instant::now();
        let (grown, ..) = adapted("large", normal(&[32_000, 16]), rule, &[128_256, 16]).unwrap();
        let seconds = started.elapsed().as_secs_f64();
        println!("32 000 to 128 256 rows of 16: {seconds:.2} s");
        assert!(grown.len() == 128_256 * 16 && seconds < 30.0, "{seconds} s");
    }

    #[test]
    fn heads_become_the_means_of_their_groups() {
        // Four heads of two rows: each row's number is its place.
        let rows: Vec<f32> = (0..8).map(|row| row as f32).collect();
        let stored = Tensor::from_vec(rows, (8, 1), &Device::Cpu).unwrap();
        let rule = |heads| Rule::group_heads("w", heads).unwrap();
        let (grouped, origin, init) = adapted("heads", stored.clone(), rule(4), &[4, 1]).unwrap();
        assert_eq!(grouped, [1.0, 2.0, 5.0, 6.0]);
        assert_eq!((origin, init.as_str()), (Origin::Adapted, "group_heads: 2 of the means of 4"));
        let (one, ..) = adapted("one", stored.clone(), rule(4), &[2, 1]).unwrap();
        assert_eq!(one, [3.0, 4.0]);
        // The same heads are loaded as they are; three heads are no groups of four.
        let (same, origin, _) = adapted("same", stored.clone(), rule(4), &[8, 1]).unwrap();
        assert_eq!((same[7], origin), (7.0, Origin::Loaded));
        assert!(adapted("three", stored, rule(4), &[6, 1]).unwrap_err().contains("'w' is [8, 1]"));
    }

    #[test]
    fn a_new_head_is_drawn_whatever_the_file_has() {
        let rule = Rule::draw_anew("w", Initializer::Constant(0.25)).unwrap();
        let (head, origin, init) = adapted("anew", normal(&[10, 4]), rule, &[3, 4]).unwrap();
        assert_eq!((head, origin), (vec![0.25; 12], Origin::Drawn));
        assert_eq!(init, "constant:value=0.25");
        // The twin: a rule that draws does so only where the file has nothing.
        let rule = Rule::draw("w", Initializer::Constant(0.25)).unwrap();
        assert!(adapted("draw", normal(&[10, 4]), rule, &[3, 4]).is_err());
    }
}
