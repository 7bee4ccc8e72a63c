//! Where a layer is measured.

use serde::Serialize;

/// Where a layer's signal is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Signal {
    /// The layer's own output, before an activation: as in the paper.
    PreActivation,
    /// Behind the activation, where the layer has one.
    Activation,
}
