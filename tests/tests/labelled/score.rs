//! How many planted faults are found, by Wick and by the baselines.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::case::Case;

/// The counts of nets by whether they have a fault and whether there is a verdict.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Score {
    /// Faulty nets with a verdict.
    pub(crate) right: u32,
    /// Healthy nets with a verdict.
    pub(crate) wrong: u32,
    /// Faulty nets without a verdict.
    pub(crate) missed: u32,
    /// Faulty nets of which a verdict has the right fault and, if the fault has a layer, the right layer.
    pub(crate) named: u32,
}

impl Score {
    pub(crate) fn precision(self) -> f64 {
        f64::from(self.right) / f64::from(self.right + self.wrong)
    }

    pub(crate) fn recall(self) -> f64 {
        f64::from(self.right) / f64::from(self.right + self.missed)
    }
}

/// Judges the nets of the seeds and prints a table by fault.
pub(crate) fn run(seeds: Range<u64>) -> [Score; 4] {
    let mut scores = [Score::default(); 4];
    let mut by_plant: BTreeMap<String, [u32; 5]> = BTreeMap::new();
    for seed in seeds {
        let case = Case::new(seed);
        let (faults, layer) = case.label();
        let found = case.verdicts(1.0).unwrap();
        let plant = format!("{:?}", case.plant);
        let row = by_plant.entry(plant.split('(').next().unwrap().to_owned()).or_default();
        row[0] += 1;
        for (tool, (score, verdicts)) in scores.iter_mut().zip(&found).enumerate() {
            let named = verdicts.iter().any(|verdict| {
                let right_layer =
                    layer.as_ref().is_none_or(|layer| verdict.layer.starts_with(layer.as_str()));
                faults.contains(&verdict.fault) && right_layer
            });
            row[tool + 1] += u32::from(!verdicts.is_empty());
            match (faults.is_empty(), verdicts.is_empty()) {
                (true, true) => {}
                (true, false) => score.wrong += 1,
                (false, true) => score.missed += 1,
                (false, false) => score.right += 1,
            }
            score.named += u32::from(named);
            if tool == 0 && (named == faults.is_empty() || (faults.is_empty() && !verdicts.is_empty())) {
                println!("{case:?}: {verdicts:?}");
            }
        }
    }
    println!("plant: nets, found by wick, SageMaker, AutoTrainer, DeepChecker");
    for (plant, row) in by_plant {
        println!("{plant:14} {row:3?}");
    }
    for (tool, score) in ["wick", "SageMaker", "AutoTrainer", "DeepChecker"].into_iter().zip(scores) {
        println!(
            "{tool:12} precision {:.3}, recall {:.3}, fault and layer named {} of {}",
            score.precision(),
            score.recall(),
            score.named,
            score.right + score.missed
        );
    }
    scores
}
