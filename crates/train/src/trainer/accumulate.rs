//! The gradient of a step: a fixed tree over blocks of samples.

use std::collections::HashSet;
use std::ops::Range;

use candle_core::{DType, Result, Tensor};
use wick_kernels::weighted_sum;
use wick_probe::Probe;

use super::step::{Gradients, Objective, Step};
use crate::data::Batch;
use crate::error::Error;
use crate::order::Position;

/// How the samples of a step are cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) leaves: usize,
    pub(crate) micro_batches: usize,
}

/// What the blocks of a step have in common.
#[derive(Clone, Copy)]
pub(crate) struct Common<'a> {
    pub(crate) number: u64,
    pub(crate) seed: u64,
    pub(crate) loss_scale: f64,
    pub(crate) probe: Option<&'a Probe>,
}

/// The rows of a leaf of a batch of `n` samples. They depend on nothing else, neither on the micro-batches nor on
/// the process that computes the leaf.
pub(crate) fn rows_of_leaf(leaf: usize, leaves: usize, n: usize) -> Range<usize> {
    // The product fits: a batch has fewer than 2⁶² samples, and a leaf is below the leaves.
    let bound = |leaf: usize| (leaf as u128 * n as u128 / leaves as u128) as usize;
    bound(leaf)..bound(leaf + 1)
}

/// The rows of the first leaf that has some.
pub(crate) fn rows_of_first_leaf(leaves: usize, n: usize) -> Range<usize> {
    (0..leaves).map(|leaf| rows_of_leaf(leaf, leaves, n)).find(|rows| !rows.is_empty()).unwrap_or(0..n)
}

/// Loads the rows of a batch.
pub(crate) type Load<'a> = dyn FnMut(Range<usize>) -> std::result::Result<Batch, Error> + 'a;

impl Cut {
    /// The rows that are loaded at once, of a batch of `n` samples, in their order.
    pub(crate) fn loads(self, n: usize) -> impl Iterator<Item = Range<usize>> {
        let parts = self.micro_batches;
        (0..parts).map(move |part| rows_of_leaf(part, parts, n)).filter(|rows| !rows.is_empty())
    }

    /// The loss and the gradients of a step: the mean over all its samples. `load` is called for each of
    /// [`loads`](Self::loads).
    pub(crate) fn gradients(
        self,
        load: &mut Load,
        position: &Position,
        common: Common,
        objective: &mut dyn Objective,
    ) -> std::result::Result<Gradients, Error> {
        let Self { leaves, micro_batches } = self;
        let n = position.indices.len();
        let (mut tree, mut probe) = (Tree::default(), common.probe);
        let of_micro_batch = leaves / micro_batches;
        for part in 0..micro_batches {
            let rows = rows_of_leaf(part, micro_batches, n);
            if rows.is_empty() {
                (0..of_micro_batch).try_for_each(|_| tree.push(None))?;
                continue;
            }
            let (micro, offset) = (load(rows.clone())?, rows.start);
            for leaf in part * of_micro_batch..(part + 1) * of_micro_batch {
                let rows = rows_of_leaf(leaf, leaves, n);
                if rows.is_empty() {
                    tree.push(None)?;
                    continue;
                }
                let block = if rows.len() == micro.len() {
                    micro.clone()
                } else {
                    micro.rows(rows.start - offset, rows.len())?
                };
                let step = Step {
                    batch: &block,
                    number: common.number,
                    epoch: position.epoch,
                    leaf,
                    seed: common.seed,
                    loss_scale: common.loss_scale,
                    // The first block that has samples is recorded.
                    probe: probe.take(),
                };
                let weight = rows.len() as f64 / n as f64;
                let found = objective.gradients(&step, weight)?;
                tree.push(Some(Gradients { loss: found.loss * weight, ..found }))?;
            }
        }
        tree.root().ok_or(Error::Samples(0))
    }
}

/// Sums of complete subtrees, the largest first; each is of another power of two of leaves.
#[derive(Default)]
struct Tree {
    sums: Vec<(u32, Option<Gradients>)>,
}

impl Tree {
    /// Adds the next leaf; one without samples is nothing.
    fn push(&mut self, leaf: Option<Gradients>) -> Result<()> {
        let mut node = (0, leaf);
        while let Some((_, left)) = self.sums.pop_if(|(height, _)| *height == node.0) {
            node = (node.0 + 1, add(left, node.1)?);
        }
        self.sums.push(node);
        Ok(())
    }

    /// The sum over all leaves, whose number is a power of two.
    fn root(mut self) -> Option<Gradients> {
        self.sums.pop().and_then(|(_, sum)| sum)
    }
}

fn add(left: Option<Gradients>, right: Option<Gradients>) -> Result<Option<Gradients>> {
    let (mut left, right) = match (left, right) {
        (Some(left), Some(right)) => (left, right),
        (left, right) => return Ok(left.or(right)),
    };
    let (a, b) = (left.factor, right.factor);
    // A block may give no gradient of a variable that another block gives one of.
    let ids: HashSet<_> = left.store.get_ids().chain(right.store.get_ids()).copied().collect();
    for id in ids {
        let sum = match (left.store.get_id(id), right.store.get_id(id)) {
            (Some(x), Some(y)) => weighted_sum((a, &wide(x)?), (b, &wide(y)?))?,
            (Some(x), None) if a != 1.0 => wide(x)?.affine(a, 0.0)?,
            (None, Some(y)) if b != 1.0 => wide(y)?.affine(b, 0.0)?,
            (None, Some(y)) => y.clone(),
            _ => continue,
        };
        left.store.insert_id(id, sum);
    }
    Ok(Some(Gradients { loss: left.loss + right.loss, store: left.store, factor: 1.0 }))
}

/// A gradient in the type that sums are taken in.
fn wide(gradient: &Tensor) -> Result<Tensor> {
    match gradient.dtype() {
        DType::BF16 | DType::F16 => gradient.to_dtype(DType::F32),
        _ => Ok(gradient.clone()),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    /// A micro-batch has the rows of its leaves, whatever the number of samples.
    #[test]
    fn micro_batches_have_the_rows_of_their_leaves() {
        for (n, leaves, parts) in [(7, 8, 2), (100, 8, 4), (3, 8, 8), (33, 16, 2)] {
            for part in 0..parts {
                let (each, rows) = (leaves / parts, rows_of_leaf(part, parts, n));
                let first = rows_of_leaf(part * each, leaves, n).start;
                let last = rows_of_leaf((part + 1) * each - 1, leaves, n).end;
                assert_eq!(rows, first..last);
            }
        }
    }

    /// The leaves are the rows in order, and of sizes that differ by one at most.
    #[test]
    fn leaves_are_the_rows() {
        for (n, leaves) in [(8, 8), (7, 8), (1, 8), (100, 8), (33, 16), (5, 1)] {
            let all: Vec<_> = (0..leaves).map(|leaf| rows_of_leaf(leaf, leaves, n)).collect();
            assert_eq!((all[0].start, all[leaves - 1].end), (0, n));
            assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert!(all.iter().all(|rows| rows.len() == n / leaves || rows.len() == n.div_ceil(leaves)));
        }
    }

    /// Gradients are multiplied by the factors of their blocks, those that one of two blocks has too.
    #[test]
    fn gradients_that_one_block_has() {
        let [x, y, z] = [1f32, 2.0, 3.0].map(|x| Var::new(x, &Device::Cpu).unwrap());
        let gradients = |a: &Var, b: &Var, factor| {
            let store = ((a.as_tensor() * 2.0).unwrap() + b.as_tensor()).unwrap().backward().unwrap();
            Some(Gradients { loss: 1.0, store, factor })
        };
        let sum = add(gradients(&x, &y, 0.25), gradients(&z, &y, 0.5)).unwrap().unwrap();
        let of = |var: &Var| sum.store.get(var).unwrap().to_scalar::<f32>().unwrap();
        assert_eq!((of(&x), of(&y), of(&z)), (0.5, 0.75, 1.0));
        assert_eq!((sum.loss, sum.factor), (2.0, 1.0));
        assert!(add(None, None).unwrap().is_none());
        assert_eq!(add(None, gradients(&x, &y, 1.0)).unwrap().unwrap().factor, 1.0);
    }
}
