//! The records of a probe, its totals and the first bad tensor.

use std::collections::{HashMap, VecDeque};

use candle_core::DType;
use wick_kernels::{Stats, Summary};
use wick_theory::Activation;

use crate::observe::bad::{Bad, BadTensor, Past, Side};
use crate::observe::looks::Looks;
use crate::observe::record::{Record, Totals};
use crate::observe::units::Units;

/// The records of the current step, and what is kept of earlier steps. Each record has an id that is never
/// given again, so that a late gradient finds its own record or none.
#[derive(Debug, Default)]
pub(crate) struct Log {
    next_id: u64,
    pub(crate) records: Vec<(u64, Record)>,
    calls: HashMap<String, usize>,
    pub(crate) step: u64,
    pub(crate) totals: Vec<Totals>,
    past: HashMap<String, VecDeque<Past>>,
    pub(crate) bad: Option<BadTensor>,
    looks: HashMap<String, Looks>,
    /// Whether a gradient came back in an earlier step.
    pub(crate) after_start: bool,
}

/// How many earlier steps are kept for each name.
const PAST_STEPS: usize = 5;

/// The activation that made a value, and how flat it is at the pre-activations.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flatness {
    pub(crate) activation: Option<Activation>,
    pub(crate) saturated: Option<f64>,
    pub(crate) slope_square: Option<f64>,
}

/// What was measured of one tensor.
#[derive(Debug)]
pub(crate) struct Measurement {
    pub(crate) summary: Summary,
    pub(crate) dtype: DType,
    pub(crate) tracked: Option<bool>,
    pub(crate) units: Option<Units>,
    pub(crate) stats: Option<Stats>,
    pub(crate) bad: Option<Bad>,
}

impl Log {
    /// Adds the record of a value, and returns its id.
    pub(crate) fn open(&mut self, name: &str, value: Measurement, flatness: Flatness) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let calls = self.calls.entry(name.to_owned()).or_default();
        let call = *calls;
        *calls += 1;
        self.note(name, call, Side::Forward, &value);
        // A comparison with NaN is false, so that a fraction of such a value says nothing.
        let is_finite = value.summary.rms.is_finite();
        let looks = self.looks.entry(name.to_owned()).or_default();
        let constant_in_all = looks.add(value.units.as_ref());
        let record = Record {
            name: name.to_owned(),
            call,
            forward: value.summary,
            activation: flatness.activation,
            tracked: value.tracked,
            dtype: value.dtype,
            saturated: flatness.saturated.filter(|_| is_finite),
            slope_square: flatness.slope_square,
            backward: None,
            units: value.units,
            constant_in_all,
            looks: looks.count,
            after_start: self.after_start,
            gradient_units: None,
        };
        self.records.push((id, record));
        id
    }

    /// Adds the gradient to a record. If the records were cleared since, the gradient is dropped.
    pub(crate) fn close(&mut self, id: u64, gradient: Measurement) {
        let Ok(index) = self.records.binary_search_by_key(&id, |(id, _)| *id) else { return };
        let record = &self.records[index].1;
        let (name, call) = (record.name.clone(), record.call);
        self.note(&name, call, Side::Backward, &gradient);
        let record = &mut self.records[index].1;
        (record.backward, record.gradient_units) = (Some(gradient.summary), gradient.units);
    }

    /// Ends a step: the sizes of its records are kept, and the records dropped.
    pub(crate) fn next_step(&mut self) {
        let step = self.step;
        for (_, record) in std::mem::take(&mut self.records) {
            let gradient_rms = record.backward.map(|gradient| gradient.rms);
            self.after_start |= gradient_rms.is_some();
            let past = self.past.entry(record.name).or_default();
            if past.len() == PAST_STEPS {
                past.pop_front();
            }
            past.push_back(Past { step, rms: record.forward.rms, gradient_rms });
        }
        self.calls.clear();
        self.step += 1;
    }

    /// Drops the records of the current step.
    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.calls.clear();
    }

    /// Adds a tensor to the totals, and keeps it if it is the first bad one.
    fn note(&mut self, name: &str, call: usize, side: Side, measured: &Measurement) {
        if let Some(stats) = &measured.stats {
            let index = self.totals.iter().position(|totals| totals.name == name).unwrap_or_else(|| {
                let (forward, backward) = Default::default();
                self.totals.push(Totals { name: name.to_owned(), forward, backward });
                self.totals.len() - 1
            });
            let totals = &mut self.totals[index];
            match side {
                Side::Forward => totals.forward.merge(stats),
                Side::Backward => totals.backward.merge(stats),
            }
        }
        let Some(bad) = measured.bad else { return };
        // A number that is not finite replaces one that is only near the limit.
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
