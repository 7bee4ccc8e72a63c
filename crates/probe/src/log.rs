//! What a probe keeps of what it has seen.

use std::collections::{HashMap, VecDeque};

use candle_core::DType;
use wick_theory::Activation;

use crate::bad::{Bad, BadTensor, Past, Side};
use crate::{Stats, Summary, Units};

/// The records, each with a number that is never given again, so that a gradient that comes late finds its own
/// record or none.
#[derive(Debug, Default)]
pub(crate) struct Log {
    next: u64,
    pub(crate) records: Vec<(u64, Record)>,
    calls: HashMap<String, usize>,
    pub(crate) step: u64,
    pub(crate) totals: Vec<Totals>,
    past: HashMap<String, VecDeque<Past>>,
    pub(crate) bad: Option<BadTensor>,
}

/// Steps of the past that are kept for each name.
const KEPT: usize = 5;

/// What one name saw over many steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Totals {
    /// The tap's name.
    pub name: String,
    /// Of all values that passed.
    pub forward: Stats,
    /// Of all gradients that came back.
    pub backward: Stats,
}

/// What one tap saw, of one call.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The tap's name.
    pub name: String,
    /// How many calls of this name came before.
    pub call: usize,
    /// The value that passed.
    pub forward: Summary,
    /// The activation, where the tap knows it.
    pub activation: Option<Activation>,
    /// The type of the value; `None` where only a observer heard of it.
    pub dtype: Option<DType>,
    /// The share of pre-activations in the flat tails, where the tap knows the activation. `None` where the value has NaN or
    /// infinities.
    pub saturated: Option<f64>,
    /// The mean of `φ'²` over the pre-activations, where the tap knows the activation and the probe [looks at
    /// units](crate::Probe::with_units).
    pub slope_square: Option<f64>,
    /// The gradient that came back in the latest backward pass; `None` before one, and where none comes.
    pub backward: Option<Summary>,
    /// What single units did, if the probe [looks at them](crate::Probe::with_units).
    pub units: Option<Units>,
    /// The same of the gradient.
    pub gradient_units: Option<Units>,
}

/// An activation, and how flat it is where it is used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flat {
    pub(crate) activation: Option<Activation>,
    pub(crate) saturated: Option<f64>,
    pub(crate) slope_square: Option<f64>,
}

/// What was found out about one tensor.
pub(crate) struct Seen {
    pub(crate) summary: Summary,
    pub(crate) dtype: Option<DType>,
    pub(crate) units: Option<Units>,
    pub(crate) stats: Option<Stats>,
    pub(crate) bad: Option<Bad>,
}

impl Seen {
    /// By a observer, which hears no more than the summary.
    pub(crate) fn heard(summary: Summary) -> Self {
        let bad = crate::bad::heard(&summary);
        Self { summary, dtype: None, units: None, stats: None, bad }
    }
}

impl Log {
    /// Begins a record, and returns its number.
    pub(crate) fn open(&mut self, name: &str, seen: Seen, flat: Flat) -> u64 {
        let number = self.next;
        self.next += 1;
        let calls = self.calls.entry(name.to_owned()).or_default();
        let call = *calls;
        *calls += 1;
        self.note(name, call, Side::Forward, &seen);
        // A comparison with NaN is false: of such a value nothing is known.
        let known = seen.summary.rms.is_finite();
        let record = Record {
            name: name.to_owned(),
            call,
            forward: seen.summary,
            activation: flat.activation,
            dtype: seen.dtype,
            saturated: flat.saturated.filter(|_| known),
            slope_square: flat.slope_square,
            backward: None,
            units: seen.units,
            gradient_units: None,
        };
        self.records.push((number, record));
        number
    }

    /// Adds the gradient to a record. The records may have been cleared since; then nobody waits for this one.
    pub(crate) fn close(&mut self, number: u64, seen: Seen) {
        let Ok(place) = self.records.binary_search_by_key(&number, |(number, _)| *number) else { return };
        let record = &self.records[place].1;
        let (name, call) = (record.name.clone(), record.call);
        self.note(&name, call, Side::Backward, &seen);
        let record = &mut self.records[place].1;
        (record.backward, record.gradient_units) = (Some(seen.summary), seen.units);
    }

    /// Ends a step: what is kept of its records is their past.
    pub(crate) fn next_step(&mut self) {
        let step = self.step;
        for (_, record) in std::mem::take(&mut self.records) {
            let gradient_rms = record.backward.map(|gradient| gradient.rms);
            let past = self.past.entry(record.name).or_default();
            if past.len() == KEPT {
                past.pop_front();
            }
            past.push_back(Past { step, rms: record.forward.rms, gradient_rms });
        }
        self.calls.clear();
        self.step += 1;
    }

    /// Forgets the records.
    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.calls.clear();
    }

    /// Adds to the totals, and keeps what is the first bad tensor.
    fn note(&mut self, name: &str, call: usize, side: Side, seen: &Seen) {
        if let Some(stats) = &seen.stats {
            let place = self.totals.iter().position(|totals| totals.name == name).unwrap_or_else(|| {
                let (forward, backward) = Default::default();
                self.totals.push(Totals { name: name.to_owned(), forward, backward });
                self.totals.len() - 1
            });
            let totals = &mut self.totals[place];
            match side {
                Side::Forward => totals.forward.merge(stats),
                Side::Backward => totals.backward.merge(stats),
            }
        }
        let Some(bad) = seen.bad else { return };
        // What is only near the limit gives way to what is beyond.
        if self.bad.as_ref().is_none_or(|before| before.what < bad.what) {
            let past = self.past.get(name).into_iter().flatten().copied().collect();
            self.bad = Some(BadTensor {
                name: name.to_owned(),
                call,
                side,
                step: self.step,
                what: bad.what,
                value: bad.value,
                sample: bad.sample,
                past,
            });
        }
    }
}
