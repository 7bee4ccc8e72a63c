//! The attentions of a model: softmaxes whose scores have a graph.

use candle_core::{DType, Device, Result, Tensor};
use wick_theory::{BatchGeometry, SoftmaxLaw};

use super::graph::Graph;
use super::layer::TracedLayer;
use super::node::Role;
use super::sample::elements;
use super::traced::Trace;
use crate::diagnose::fault::{Fault, Level, MAX_COSINE, Verdict};
use crate::text::{short, significant};

/// Rows that are looked at.
const ROWS: usize = 64;
/// How many tensors before a softmax its scores are.
const NEAR: usize = 12;
/// How much the numbers of a row may add up to beside 1.
const TOLERANCE: f64 = 1e-3;
/// Fewer tokens do not tell whether they are alike.
const MIN_TOKENS: usize = 4;

/// An attention that a trace found.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Attention {
    /// The layer that was executed last before the softmax, as that of the values or of the keys.
    pub after: String,
    /// The mean number of keys that a row's softmax is over, without those that are masked.
    pub keys: f64,
    /// The standard deviation of the scores within a row.
    pub std: f64,
    /// The mean entropy of the rows, in nats.
    pub entropy: f64,
    /// The mean entropy that independent normal scores of this standard deviation have, for the same numbers of keys.
    pub expected_entropy: f64,
    /// The mean cosine of two tokens of a sequence in the residual stream behind the attention, where it is found.
    pub tokens: Option<f64>,
}

impl Attention {
    /// A verdict on scores whose standard deviation is above `√(2 ln T)`, from which on one of `T` keys takes
    /// everything, and on tokens that are all alike.
    pub fn verdict(&self) -> Option<Verdict> {
        let after = &self.after;
        let limit = SoftmaxLaw::collapse(self.keys.round() as usize);
        if self.keys >= 2.0 && self.std > limit {
            let text = format!(
                "the attention behind {after}: its scores have a standard deviation of {}, above √(2 ln T) = {} for {} \
                 keys: a few keys take everything, with an entropy of {} of ln T = {}",
                significant(self.std, 3),
                significant(limit, 3),
                short(self.keys),
                significant(self.entropy, 3),
                significant(self.keys.ln(), 3)
            );
            return Some(
                Verdict::new(Fault::Saturated, Level::Faulty, after, self.std, text)
                    .with_remedy("divide the scores by the root of the head's width, or norm query and key"),
            );
        }
        let tokens = self.tokens.filter(|tokens| *tokens > MAX_COSINE)?;
        let text = format!(
            "the tokens of a sequence are alike behind the attention after {after}: their mean cosine is {}",
            significant(tokens, 5)
        );
        Some(
            Verdict::new(Fault::RankCollapse, Level::Faulty, after, tokens, text)
                .with_remedy("scale the branches of the blocks down, by one over the root of their number"),
        )
    }
}

impl Trace {
    /// The attentions in the order of execution: every softmax over the last dimension of a tensor of three dimensions
    /// or more. One whose scores are cut off, as by candle-nn's `softmax_last_dim`, is not in the graph.
    ///
    /// ```
    /// use candle_core::{D, Device, Tensor, Var};
    /// use wick_probe::Trace;
    ///
    /// let numbers = |from: f32, to: f32| Tensor::arange(from, to, &Device::Cpu)?.sqr()?.sin();
    /// let q = Var::from_tensor(&numbers(0.0, 256.0)?.reshape((16, 16))?)?;
    /// let xs = numbers(256.0, 4352.0)?.reshape((4, 64, 16))?;
    /// let vars = [("q".to_owned(), q)];
    /// let attend = |scale: f64| {
    ///     let scores = (xs.broadcast_matmul(&vars[0].1)?.matmul(&xs.transpose(1, 2)?)? * scale)?;
    ///     candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&xs)?.sqr()?.sum_all()
    /// };
    /// let of = |scale: f64| Ok::<_, candle_core::Error>(Trace::run(&vars, || attend(scale))?.attentions(&[])?.remove(0));
    /// let usual = of(0.1)?;
    /// assert!(usual.verdict().is_none() && (usual.entropy - usual.expected_entropy).abs() < 0.05);
    /// assert!(of(10.0)?.verdict().is_some());
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the device cannot hand over the values.
    pub fn attentions(&self, inputs: &[&Tensor]) -> Result<Vec<Attention>> {
        let nodes = &self.graph.nodes;
        let is_candidate = |index: &usize| {
            let node = &nodes[*index];
            let keys = node.tensor.dims().last().copied().unwrap_or(0);
            node.role == Role::Activation
                && node.tensor.rank() >= 3
                && keys >= 2
                && node.tensor.dtype().is_float()
        };
        let mut order: Vec<usize> = (0..nodes.len()).filter(is_candidate).collect();
        order.sort_by_key(|index| nodes[*index].number);
        let mut attentions: Vec<Attention> = Vec::new();
        let mut last: Option<Tensor> = None;
        for index in order {
            let softmax = &nodes[index].tensor;
            let Some(rows) = probabilities(softmax)? else { continue };
            // The same numbers again, as behind a reshape or a dropout that is off.
            let is_again = match &last {
                Some(last) if last.elem_count() == softmax.elem_count() => {
                    let places = super::sample::places(softmax.elem_count(), ROWS);
                    elements(last, &places)? == elements(softmax, &places)?
                }
                _ => false,
            };
            last = Some(softmax.clone());
            if is_again {
                continue;
            }
            let Some(scores) = scores(&self.graph, index, &rows)? else { continue };
            let mut attention = of_rows(&rows, &scores);
            let number = nodes[index].number;
            let made = |layer: &&TracedLayer| {
                self.graph.index(&layer.output).is_some_and(|output| nodes[output].number < number)
            };
            attention.after =
                self.layers.iter().rfind(made).map(|layer| layer.name.clone()).unwrap_or_default();
            let queries = softmax.dims()[softmax.rank() - 2];
            if let Some(next) = self.layers.iter().find(|layer| !made(layer)) {
                attention.tokens = match self.sum_behind(next, inputs)? {
                    Some(sum) => tokens(sum.made, softmax.dims()[0], queries)?,
                    None => None,
                };
            }
            attentions.push(attention);
        }
        Ok(attentions)
    }
}

/// Rows of a tensor that are probabilities.
struct Probabilities {
    chosen: Vec<usize>,
    rows: Vec<Vec<f64>>,
}

/// Some rows over the last dimension, if each adds up to 1 and has no number below 0, and they are not all one number.
fn probabilities(xs: &Tensor) -> Result<Option<Probabilities>> {
    let keys = xs.dims()[xs.rank() - 1];
    let count = xs.elem_count() / keys;
    let chosen = BatchGeometry::choose(count, ROWS);
    let mut rows = Vec::with_capacity(chosen.len());
    for row in &chosen {
        let row = elements(xs, &(row * keys..(row + 1) * keys).collect::<Vec<_>>())?;
        let sum: f64 = row.iter().sum();
        let is_one = (sum - 1.0).abs() <= TOLERANCE * (keys as f64).sqrt().max(1.0);
        if !is_one || row.iter().any(|p| p.is_nan() || *p < 0.0) {
            return Ok(None);
        }
        rows.push(row);
    }
    Ok((!rows.is_empty()).then_some(Probabilities { chosen, rows }))
}

/// The scores of the same rows, and whether a mask was put on each.
struct Scores {
    rows: Vec<Vec<f64>>,
    masked: Vec<Vec<bool>>,
}

/// Scores are those of a tensor shortly before, whose exponentials are proportional to the probabilities. A mask was put
/// on them, or on what they were made of, where one tensor is another one but for some elements.
fn scores(graph: &Graph, softmax: usize, probabilities: &Probabilities) -> Result<Option<Scores>> {
    let node = &graph.nodes[softmax];
    let keys = node.tensor.dims()[node.tensor.rank() - 1];
    let fits = |index: &usize| {
        let other = &graph.nodes[*index];
        other.number < node.number && other.tensor.dims() == node.tensor.dims() && !other.is_weight()
    };
    let mut before: Vec<usize> = (0..graph.nodes.len()).filter(fits).collect();
    before.sort_by_key(|index| std::cmp::Reverse(graph.nodes[*index].number));
    let row_of = |index: usize, row: usize| {
        elements(&graph.nodes[index].tensor, &(row * keys..(row + 1) * keys).collect::<Vec<_>>())
    };
    for (at, index) in before.iter().enumerate().take(NEAR) {
        let mut rows = Vec::with_capacity(probabilities.rows.len());
        for (row, expected) in probabilities.chosen.iter().zip(&probabilities.rows) {
            let found = row_of(*index, *row)?;
            let largest = found.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let powers: Vec<f64> = found.iter().map(|z| (z - largest).exp()).collect();
            let sum: f64 = powers.iter().sum();
            if !powers.iter().zip(expected).all(|(power, p)| (power / sum - p).abs() <= TOLERANCE) {
                break;
            }
            rows.push(found);
        }
        // Rows of one key, or of equal ones, fit the probabilities themselves.
        let are_scores = rows.iter().flatten().any(|z| *z < 0.0 || *z > 1.0);
        let are_equal = || rows.iter().all(|row| row.iter().all(|z| *z == row[0]));
        if rows.len() < probabilities.rows.len() || !(are_scores || are_equal()) {
            continue;
        }
        let mut masked = vec![vec![false; keys]; rows.len()];
        let mut with = rows.clone();
        for before in before[at + 1..].iter().take(NEAR) {
            let without: Vec<Vec<f64>> =
                probabilities.chosen.iter().map(|row| row_of(*before, *row)).collect::<Result<_>>()?;
            if let Some(found) = mask(&with, &without) {
                masked.iter_mut().flatten().zip(found.into_iter().flatten()).for_each(|(a, b)| *a |= b);
            }
            with = without;
        }
        return Ok(Some(Scores { rows, masked }));
    }
    Ok(None)
}

/// A mask adds this to a score, or less, or puts it in its place: models take -100, -1e4, the smallest number of a type
/// or -∞.
const MASK: f64 = -50.0;
/// The digits that a sum has of a mask.
const OF_MASK: f64 = 0.01;

/// The elements that are masked in the first rows and not in the second: all others are equal, and these are one number,
/// or one number is added to them.
fn mask(with: &[Vec<f64>], without: &[Vec<f64>]) -> Option<Vec<Vec<bool>>> {
    let pairs = || with.iter().flatten().zip(without.iter().flatten());
    let is_masked = |(with, without): &(&f64, &f64)| with != without;
    let is_one = |number: &dyn Fn(f64, f64) -> f64| {
        let mut numbers = pairs().filter(is_masked).map(|(with, without)| number(*with, *without));
        let Some(first) = numbers.next().filter(|first| *first <= MASK) else { return false };
        numbers.all(|x| x == first || (x - first).abs() <= OF_MASK * first.abs())
    };
    let is_mask = pairs().any(|pair| !is_masked(&pair))
        && (is_one(&|with, without| with - without) || is_one(&|with, _| with));
    let of_row = |(with, without): (&Vec<f64>, &Vec<f64>)| {
        with.iter().zip(without).map(|pair| is_masked(&pair)).collect()
    };
    is_mask.then(|| with.iter().zip(without).map(of_row).collect())
}

/// Scores this far below the largest one are masked, where what they were without a mask is not in the graph: -1e4 is
/// added by some models, and the scores' own range is small beside it.
const MASKED: f64 = -5e3;

fn of_rows(probabilities: &Probabilities, scores: &Scores) -> Attention {
    let (mut squares, mut degrees, mut entropy, mut keys) = (0.0, 0.0, 0.0, Vec::new());
    for (row, (scores, masked)) in probabilities.rows.iter().zip(scores.rows.iter().zip(&scores.masked)) {
        // A row that is masked as a whole is as it was.
        let is_whole = masked.iter().all(|masked| *masked);
        let unmasked = scores.iter().zip(masked).filter(|(_, masked)| is_whole || !**masked).map(|(z, _)| *z);
        let unmasked: Vec<f64> = unmasked.collect();
        let largest = unmasked.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let open: Vec<f64> = unmasked.into_iter().filter(|z| z - largest > MASKED).collect();
        let count = open.len() as f64;
        let mean = open.iter().sum::<f64>() / count;
        squares += open.iter().map(|z| (z - mean).powi(2)).sum::<f64>();
        degrees += count - 1.0;
        entropy -= row.iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum::<f64>();
        keys.push(open.len());
    }
    let rows = keys.len() as f64;
    let std = if degrees > 0.0 { (squares / degrees).sqrt() } else { 0.0 };
    let mut laws: Vec<(usize, f64)> = Vec::new();
    let mut expected = 0.0;
    for keys in &keys {
        let known = laws.iter().find(|(other, _)| other == keys).map(|(_, entropy)| *entropy);
        expected += known.unwrap_or_else(|| {
            let entropy = SoftmaxLaw::new(*keys, std).entropy;
            laws.push((*keys, entropy));
            entropy
        });
    }
    Attention {
        after: String::new(),
        keys: keys.iter().sum::<usize>() as f64 / rows,
        std,
        entropy: entropy / rows,
        expected_entropy: expected / rows,
        tokens: None,
    }
}

/// The mean cosine of two tokens of a sequence, of a stream `[batch, tokens, width]` in any number of dimensions.
fn tokens(stream: &Tensor, batch: usize, tokens: usize) -> Result<Option<f64>> {
    let width = stream.dims().last().copied().unwrap_or(0);
    // Heads may be among the first dimension of the softmax.
    let count = stream.elem_count() / (tokens * width).max(1);
    if tokens < MIN_TOKENS || count == 0 || count > batch || count * tokens * width != stream.elem_count() {
        return Ok(None);
    }
    let xs =
        stream.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?.reshape((count, tokens, width))?;
    let norms = xs.sqr()?.sum_keepdim(2)?.sqrt()?;
    let sum =
        xs.broadcast_div(&(norms + f64::MIN_POSITIVE)?)?.sum(1)?.sqr()?.sum_all()?.to_scalar::<f64>()?;
    // |Σ u|² has each pair twice, and each token with itself.
    let (tokens, count) = (tokens as f64, count as f64);
    Ok(Some((sum / count - tokens) / (tokens * (tokens - 1.0))))
}
