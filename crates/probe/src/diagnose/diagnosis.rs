//! All that is said of a step, in one order.

use std::fmt;

use serde::Serialize;
use wick_theory::BatchGeometry;

use crate::diagnose::cut::is_unused;
use crate::diagnose::drift::judge_drift;
use crate::diagnose::fault::{Fault, Level, Verdict};
use crate::diagnose::judge;
use crate::diagnose::layer_report::LayerReport;
use crate::diagnose::loss::judge_loss;
use crate::diagnose::notes::notes;
use crate::diagnose::updates::{LARGER, judge_updates};
use crate::observe::parameters::Update;

/// What is wrong with a net and its training, causes before what follows from them, and what is no fault: of
/// [`judge`](crate::judge()), [`judge_updates`](crate::judge_updates), [`judge_drift`](crate::judge_drift) and
/// [`judge_loss`](crate::judge_loss) together. [`Monitor`](crate::Monitor) makes one of each step that it looks at. Its
/// text has a line for each verdict and each note.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The faults: a loss that rises, weights that have gone off since the start, the layers from first to last, the
    /// updates, a loss that does not fall or is no number.
    pub verdicts: Vec<Verdict>,
    /// What is no fault, and what was not looked at, as [`notes`](crate::notes()) has it.
    pub notes: Vec<String>,
}

impl Diagnosis {
    /// Judges the layers of a step and its input, the updates of the step and those since the start, in forward order,
    /// and the losses from the first step on. Each may be empty; what takes it is then not judged.
    ///
    /// Behind a layer that is dead as a whole, small updates follow from it: they have no advice of their own. Weights of
    /// a head on which the loss does not depend, by the name before the last dot, are not judged.
    ///
    /// ```
    /// use wick_probe::{BatchGeometry, Diagnosis, Fault, LayerReport, Update};
    ///
    /// let layers = [("fc0", 1.0), ("fc1", 0.0), ("out", 0.0)].map(|(name, std)| {
    ///     let mut layer = LayerReport::new(name, std, std);
    ///     layer.gradient_rms = Some(0.0);
    ///     layer
    /// });
    /// let update = |name: &str| Update {
    ///     name: name.into(),
    ///     rank: 2,
    ///     rms: 0.1,
    ///     update_rms: 1e-9,
    ///     log10_ratio: -8.0,
    ///     ..Update::default()
    /// };
    /// let updates = [update("fc0.weight"), update("fc1.weight")];
    /// let found = Diagnosis::of(&layers, &BatchGeometry::normal(100, 50, 1.0), &updates, &updates, &[]);
    /// assert_eq!((found.verdicts[0].fault, found.verdicts[0].layer.as_str()), (Fault::DiesOut, "fc1"));
    /// assert_eq!(found.verdicts.last().map(|verdict| verdict.remedy.as_str()), Some("it follows from fc1"));
    /// // Steps that are too large may have killed it: their advice stays.
    /// let large = Update { update_rms: 0.2, log10_ratio: 0.3, ..update("fc1.weight") };
    /// let found = Diagnosis::of(&layers, &BatchGeometry::normal(100, 50, 1.0), &[large], &[], &[]);
    /// assert!(found.verdicts.last().is_some_and(|verdict| verdict.remedy.contains("smaller learning rate")));
    /// ```
    pub fn of(
        layers: &[LayerReport],
        input: &BatchGeometry,
        step: &[Update],
        since_start: &[Update],
        losses: &[f64],
    ) -> Self {
        Self::with_loss(layers, input, step, since_start, judge_loss(losses))
    }

    /// Does the same with the verdict on the losses.
    pub(crate) fn with_loss(
        layers: &[LayerReport],
        input: &BatchGeometry,
        step: &[Update],
        since_start: &[Update],
        of_loss: Option<Verdict>,
    ) -> Self {
        let of_layers = judge(layers, input);
        let unused: Vec<&str> = (0..layers.len())
            .filter(|index| is_unused(layers, *index))
            .map(|index| layers[index].name.as_str())
            .collect();
        let is_used = |update: &&Update| {
            let layer = update.name.rsplit_once('.').map_or(update.name.as_str(), |(layer, _)| layer);
            !unused.contains(&layer)
        };
        let of = |updates: &[Update]| updates.iter().filter(is_used).cloned().collect::<Vec<_>>();
        let mut of_updates = judge_updates(&of(step));
        let is_dead = |verdict: &&Verdict| {
            matches!(verdict.fault, Fault::DiesOut | Fault::DeadUnits) && verdict.level == Level::Broken
        };
        // Steps that are too large, and weights that are out of scale, may be why the layer is dead.
        let is_small = |verdict: &Verdict| {
            verdict.fault == Fault::UpdateRatio
                && (verdict.remedy == LARGER || verdict.level == Level::Broken)
        };
        if let Some(dead) = of_layers.iter().find(is_dead)
            && let Some(verdict) = of_updates.as_mut().filter(|verdict| is_small(verdict))
        {
            verdict.remedy = format!("it follows from {}", dead.layer);
        }
        // A loss that rises and weights that have gone off are causes; a loss that is NaN, or does not fall, is none.
        let (rises, flat): (Vec<Verdict>, Vec<Verdict>) =
            of_loss.into_iter().partition(|verdict| verdict.level == Level::Faulty);
        let drift = judge_drift(&of(since_start));
        let verdicts =
            rises.into_iter().chain(drift).chain(of_layers).chain(of_updates).chain(flat).collect();
        Self { verdicts, notes: notes(layers, input) }
    }

    /// Whether no fault was found.
    pub fn is_healthy(&self) -> bool {
        self.verdicts.is_empty()
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_healthy() {
            f.write_str("no fault found")?;
        }
        for (index, verdict) in self.verdicts.iter().enumerate() {
            write!(f, "{}{verdict}", if index > 0 { "\n" } else { "" })?;
        }
        self.notes.iter().try_for_each(|note| write!(f, "\nnote: {note}"))
    }
}
