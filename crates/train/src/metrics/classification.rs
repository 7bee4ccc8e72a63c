//! The sums of classification.

use candle_core::{DType, Device, Tensor};

use super::evaluation::{Evaluation, Scores, check_finite, numbers};
use crate::error::Error;

/// The number of logits that count for `top5`.
const TOP: usize = 5;

/// The most classes of which a matrix of confusion is kept.
const MOST_CLASSES: usize = 200;

#[derive(Debug, Default)]
pub(super) struct ClassificationSums {
    samples: u64,
    classes: usize,
    loss: f64,
    right: u64,
    among_top: u64,
    confusion: Option<Vec<Vec<u64>>>,
}

impl ClassificationSums {
    pub(super) fn add(&mut self, outputs: &Tensor, targets: &Tensor) -> Result<(), Error> {
        let &[batch, classes] = outputs.dims() else {
            return Err(Error::Shape { shape: outputs.dims().to_vec(), needs: "[batch, classes]" });
        };
        if targets.dims() != [batch] {
            return Err(Error::Shape {
                shape: targets.dims().to_vec(),
                needs: "[batch], a class for each sample",
            });
        }
        let logits = numbers(outputs)?;
        check_finite(&logits, classes, self.samples)?;
        let targets = targets.to_device(&Device::Cpu)?.to_dtype(DType::U32)?.to_vec1::<u32>()?;
        if self.samples == 0 {
            self.classes = classes;
            self.confusion = (classes <= MOST_CLASSES).then(|| vec![vec![0; classes]; classes]);
        }
        for (row, class) in logits.chunks_exact(classes.max(1)).zip(&targets) {
            let class = *class as usize;
            if class >= classes || self.classes != classes {
                return Err(Error::Count { count: classes, largest: class });
            }
            let said = row.iter().enumerate().fold(0, |best, (k, x)| if *x > row[best] { k } else { best });
            let before = |(k, x): &(usize, &f64)| **x > row[class] || **x == row[class] && *k < class;
            let rank = row.iter().enumerate().filter(before).count();
            self.loss += row.iter().map(|x| (x - row[said]).exp()).sum::<f64>().ln() + row[said] - row[class];
            self.among_top += u64::from(rank < TOP);
            self.right += u64::from(said == class);
            if let Some(confusion) = &mut self.confusion {
                confusion[class][said] += 1;
            }
            self.samples += 1;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Evaluation, Error> {
        let Self { samples, classes, loss, right, among_top, confusion } = self;
        if samples == 0 {
            return Err(Error::Settings("there is nothing to evaluate: give samples".to_owned()));
        }
        let n = samples as f64;
        let top5 = (classes > TOP).then_some(among_top as f64 / n);
        let scores = Scores::Classification { accuracy: right as f64 / n, top5, confusion };
        Ok(Evaluation { samples, loss: loss / n, scores })
    }
}
