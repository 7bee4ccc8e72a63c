//! The records of a probe, its totals and the first bad tensor.

use std::collections::{HashMap, VecDeque};

use wick_theory::Activation;

use crate::observe::bad::{BadTensor, Past, Side};
use crate::observe::late::{Found, Late, Left, MOST_KEPT, Measurement};
use crate::observe::looks::Looks;
use crate::observe::record::{Record, Totals};
use crate::observe::units::Slopes;

/// The records of the current step, and what is kept of earlier steps. Each record has an id that is never
/// given again, so that a late gradient finds its own record or none.
#[derive(Debug, Default)]
pub(crate) struct Log {
    next_id: u64,
    records: Vec<Entry>,
    /// The bytes of the tensors that are kept for what is left to measure.
    kept: usize,
    /// Buffers for the numbers that are kept in the steps to come.
    buffers: Vec<Vec<f32>>,
    names: HashMap<String, usize>,
    seen: Vec<Seen>,
    pub(crate) step: u64,
    pub(crate) totals: Vec<Totals>,
    pub(crate) bad: Option<BadTensor>,
    /// Whether a gradient came back in an earlier step.
    pub(crate) after_start: bool,
}

/// What is known of a name.
#[derive(Debug, Default)]
struct Seen {
    /// The calls in this step.
    calls: usize,
    looks: Looks,
    /// The spread over the samples in the first look of which it is known.
    first_spread: Option<f64>,
    past: VecDeque<Past>,
}

/// A record, and what is left to measure of it.
#[derive(Debug)]
struct Entry {
    id: u64,
    record: Record,
    left: Left,
}

/// How many earlier steps are kept for each name.
const PAST_STEPS: usize = 5;

/// The activation that made a value, and how flat it is at the pre-activations.
#[derive(Debug, Default)]
pub(crate) struct Flatness {
    pub(crate) activation: Option<Activation>,
    pub(crate) saturated: Option<f64>,
    pub(crate) slope_square: Option<f64>,
    /// What the slope is left to be measured from.
    pub(crate) slopes: Option<Slopes>,
}

impl Log {
    /// The id of the next record.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Adds the record of a value.
    pub(crate) fn open(&mut self, id: u64, name: &str, mut value: Measurement, flatness: Flatness) {
        let index = self.seen_index(name);
        if let Some(units) = &value.units {
            self.seen[index].first_spread.get_or_insert(units.spread);
        }
        let call = self.seen[index].calls;
        self.seen[index].calls += 1;
        self.note(name, call, Side::Forward, &value);
        // A comparison with NaN is false, so that a fraction of such a value says nothing.
        let is_finite = value.summary.rms.is_finite();
        let looks = &mut self.seen[index].looks;
        let constant_in_all = looks.add(value.constants.take());
        self.kept += value.late.as_ref().map_or(0, Late::bytes);
        let left = Left { value: value.late, gradient: None, slopes: flatness.slopes };
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
        // Calls at the same time may come in another order.
        let place = self.records.partition_point(|entry| entry.id < id);
        self.records.insert(place, Entry { id, record, left });
    }

    /// Adds the gradient to a record. If the records were cleared since, the gradient is dropped.
    pub(crate) fn close(&mut self, id: u64, gradient: Measurement) {
        let Some(index) = self.index(id) else { return };
        let record = &self.records[index].record;
        let (name, call) = (record.name.clone(), record.call);
        self.note(&name, call, Side::Backward, &gradient);
        let Entry { record, left, .. } = &mut self.records[index];
        (record.backward, record.gradient_units) = (Some(gradient.summary), gradient.units);
        let before = Left { gradient: left.gradient.take(), ..Left::default() };
        left.gradient = gradient.late;
        self.kept += left.gradient.as_ref().map_or(0, Late::bytes);
        self.let_go(before);
    }

    /// Whether a tensor of this size may be kept, and a buffer, empty unless it is wanted.
    pub(crate) fn room(&mut self, bytes: usize, wants_buffer: bool) -> Option<Vec<f32>> {
        let has_room = self.kept + bytes <= MOST_KEPT;
        has_room.then(|| if wants_buffer { self.buffer() } else { Vec::new() })
    }

    /// A buffer, with whatever numbers are left in it.
    pub(crate) fn buffer(&mut self) -> Vec<f32> {
        self.buffers.pop().unwrap_or_default()
    }

    /// Lets go what is left to measure of a record.
    fn let_go(&mut self, left: Left) {
        let Left { value, gradient, slopes } = left;
        for late in [value, gradient].into_iter().flatten() {
            self.kept -= late.bytes();
            self.buffers.extend(late.into_buffer());
        }
        self.buffers.extend(slopes.map(Slopes::into_buffer));
    }

    /// The records so far, in the order of the calls.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().map(|entry| &entry.record)
    }

    /// The bytes of the tensors that are kept.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.kept
    }

    /// The ids of the records.
    pub(crate) fn ids(&self) -> impl Iterator<Item = u64> {
        self.records.iter().map(|entry| entry.id)
    }

    /// What is left to measure of a record.
    pub(crate) fn left(&self, id: u64) -> Option<&Left> {
        self.index(id).map(|index| &self.records[index].left)
    }

    /// Adds what was left to measure to a record. What needs no tensor any more lets it go.
    pub(crate) fn fill(&mut self, id: u64, found: Found) {
        let Some(index) = self.index(id) else { return };
        let Entry { record, left, .. } = &mut self.records[index];
        let side = match found {
            Found::SlopeSquare(slope_square) => {
                record.slope_square = Some(slope_square);
                let slopes = left.slopes.take();
                return self.let_go(Left { slopes, ..Left::default() });
            }
            Found::Units(side, _) | Found::Histogram(side, _) => side,
        };
        let (late, summary, units) = match side {
            Side::Forward => (&mut left.value, Some(&mut record.forward), &mut record.units),
            Side::Backward => (&mut left.gradient, record.backward.as_mut(), &mut record.gradient_units),
        };
        let Some(left) = late else { return };
        let mut first_spread = None;
        match found {
            Found::Units(_, found) => {
                if let (Side::Forward, Some(found)) = (side, &found) {
                    first_spread = Some((record.name.clone(), found.spread));
                }
                (*units, left.units) = (found, None);
            }
            Found::Histogram(_, histogram) => {
                summary.into_iter().for_each(|summary| summary.histogram = histogram.clone());
                left.histogram = None;
            }
            Found::SlopeSquare(_) => {}
        }
        if left.is_done() {
            let value = late.take();
            self.let_go(Left { value, ..Left::default() });
        }
        if let Some((name, spread)) = first_spread {
            let index = self.seen_index(&name);
            self.seen[index].first_spread.get_or_insert(spread);
        }
    }

    /// The spread of the first look at a record's name.
    pub(crate) fn first_spread(&self, record: &Record) -> Option<f64> {
        self.names.get(&record.name).and_then(|index| self.seen[*index].first_spread)
    }

    fn index(&self, id: u64) -> Option<usize> {
        self.records.binary_search_by_key(&id, |entry| entry.id).ok()
    }

    /// Ends a step: the sizes of its records are kept, and the records dropped.
    pub(crate) fn next_step(&mut self) {
        let step = self.step;
        for Entry { record, left, .. } in std::mem::take(&mut self.records) {
            self.let_go(left);
            let gradient_rms = record.backward.map(|gradient| gradient.rms);
            self.after_start |= gradient_rms.is_some();
            let index = self.seen_index(&record.name);
            let past = &mut self.seen[index].past;
            if past.len() == PAST_STEPS {
                past.pop_front();
            }
            past.push_back(Past { step, rms: record.forward.rms, gradient_rms });
        }
        self.clear();
        self.step += 1;
    }

    /// Drops the records of the current step.
    pub(crate) fn clear(&mut self) {
        for Entry { left, .. } in std::mem::take(&mut self.records) {
            self.let_go(left);
        }
        self.seen.iter_mut().for_each(|seen| seen.calls = 0);
    }

    /// The place of a name in [`seen`](Self::seen).
    fn seen_index(&mut self, name: &str) -> usize {
        if let Some(index) = self.names.get(name) {
            return *index;
        }
        self.names.insert(name.to_owned(), self.seen.len());
        self.seen.push(Seen::default());
        self.seen.len() - 1
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
            let seen = self.names.get(name).and_then(|index| self.seen.get(*index));
            let past = seen.map(|seen| seen.past.iter().copied().collect()).unwrap_or_default();
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
