//! The table of architectures.

use crate::architecture::Architecture;
use crate::{images, text};

/// All architectures.
pub fn architectures() -> Vec<Architecture> {
    text::rows().into_iter().chain(images::rows()).collect()
}

/// The architecture of this name.
pub fn architecture(name: &str) -> Option<Architecture> {
    architectures().into_iter().find(|architecture| architecture.name == name)
}

/// The architecture whose configs have this `model_type` or `architecture`.
///
/// ```
/// let row = wick_model_stats::architecture_of("efficientnet_b0");
/// assert_eq!(row.map(|row| row.name), Some("efficientnet-b0"));
/// ```
pub fn architecture_of(kind: &str) -> Option<Architecture> {
    architectures().into_iter().find(|architecture| architecture.types.contains(&kind))
}
