//! What decides the bits of a run.

use std::collections::BTreeMap;

use wick_kernels::Named;

use super::Trainer;
use super::validation::Validation;
use super::variables::{Variables, is_buffer};
use crate::data::Dataset;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::run::hash::ContentHash;

/// The samples that the fingerprint of a data set reads.
const FINGERPRINT: usize = 64;

/// What decides the bits of a run, by name.
pub(super) fn identity(
    trainer: &Trainer,
    variables: &Variables,
    data: &dyn Dataset,
) -> Result<BTreeMap<String, String>, Error> {
    let mut identity = trainer.config.identity();
    identity.insert("data".to_owned(), fingerprint(data)?);
    if let Some(Validation { data, metrics, every, stopping, .. }) = &trainer.validation {
        let metrics = if matches!(metrics, Metrics::Classification) { "classify" } else { "regress" };
        let every = every.map_or("each epoch".to_owned(), |every| format!("every {every} steps"));
        let text = format!(
            "{metrics} {}, {every}, by {:?}, patience {}, min_delta {}",
            fingerprint(*data)?,
            stopping.monitor,
            if stopping.patience == u64::MAX { "none".to_owned() } else { stopping.patience.to_string() },
            stopping.min_delta
        );
        identity.insert("validation".to_owned(), text);
    }
    if let Some((_, every)) = &trainer.probe {
        identity.insert("probe".to_owned(), format!("every {every} steps"));
    }
    identity.extend(variables.all.iter().filter(|named| !is_buffer(&named.name)).filter_map(particular));
    for (name, text) in &trainer.identity {
        if identity.insert(name.clone(), text.clone()).is_some() {
            let text =
                format!("with_identity(\"{name}\", …) is a name that the trainer uses itself: give another");
            return Err(Error::Settings(text));
        }
    }
    Ok(identity)
}

/// What a variable has of its own, by its name.
fn particular(named: &Named) -> Option<(String, String)> {
    let parts = [
        named.frozen.then(|| "frozen".to_owned()),
        (named.rate != 1.0).then(|| format!("rate {}", named.rate)),
        named.decay.map(|decay| format!("decay {decay}")),
        named.elementwise.then(|| "elementwise".to_owned()),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| (format!("variable {}", named.name), parts.join(", ")))
}

/// The number of samples, and a hash: of all of them where the data have one, or else of some that are spread over all.
fn fingerprint(data: &dyn Dataset) -> Result<String, Error> {
    let n = data.len();
    if let Some(fingerprint) = data.fingerprint()? {
        return Ok(format!("{n} samples, {fingerprint:016x}"));
    }
    let count = n.min(FINGERPRINT);
    let spread: Vec<usize> = (0..count).map(|k| (k as u128 * n as u128 / count as u128) as usize).collect();
    let batch = data.batch(&spread)?;
    let mut hash = ContentHash::default();
    for tensor in std::iter::once(&batch.input).chain(&batch.further).chain(&batch.targets) {
        hash.tensor(tensor)?;
    }
    Ok(format!("{n} samples, {}", &hash.finish()[..16]))
}
