//! The plane of σ_w and σ_b: the experiment, its cells, and what theory predicts.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use wick_model::Activation;
use wick_theory::{MeanField, Phase};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Experiment {
    pub(crate) activation: String,
    pub(crate) sigma_w: [f64; 2],
    pub(crate) sigma_b: [f64; 2],
    /// The numbers of σ_w and of σ_b.
    pub(crate) grid: [usize; 2],
    pub(crate) width: usize,
    pub(crate) depth: usize,
    pub(crate) samples: usize,
    pub(crate) dtype: String,
    pub(crate) device: String,
    pub(crate) seed: u64,
}

impl Experiment {
    /// Returns every position of the grid, σ_b by σ_b.
    pub(crate) fn cells(&self) -> impl Iterator<Item = [usize; 2]> + use<> {
        let [columns, rows] = self.grid;
        (0..rows).flat_map(move |b| (0..columns).map(move |w| [w, b]))
    }

    pub(crate) fn sigmas(&self, at: [usize; 2]) -> [f64; 2] {
        let on = |[low, high]: [f64; 2], index: usize, of: usize| {
            low + (high - low) * index as f64 / (of - 1) as f64
        };
        [on(self.sigma_w, at[0], self.grid[0]), on(self.sigma_b, at[1], self.grid[1])]
    }

    pub(crate) fn phi(&self) -> Result<Activation> {
        Ok(self.activation.parse()?)
    }
}

/// The measurements of one net.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    /// The position on the grid, along σ_w and along σ_b.
    pub(crate) at: [usize; 2],
    pub(crate) sigma_w: f64,
    pub(crate) sigma_b: f64,
    pub(crate) measured: Measured,
}

/// The measured values; `None` if numbers overflowed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// The mean square of the last pre-activations.
    pub(crate) q: Option<f64>,
    /// The mean cosine of the last pre-activations of two samples.
    pub(crate) c: Option<f64>,
    /// The factor by which the squared gradient changes from layer to layer.
    pub(crate) chi_1: Option<f64>,
}

/// The prediction for one point of the plane, which exists where the lengths have a fixed point.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Predicted {
    pub(crate) q: f64,
    /// `None` if the length is 0.
    pub(crate) c: Option<f64>,
    pub(crate) chi_1: f64,
    /// The depth scales; `None` if they are infinite, or if there is no correlation.
    pub(crate) xi_q: Option<f64>,
    pub(crate) xi_c: Option<f64>,
    pub(crate) xi_grad: Option<f64>,
}

impl From<Phase> for Predicted {
    fn from(Phase { q, c, chi_1, scales }: Phase) -> Self {
        // A scale that rounding made negative is infinite.
        let finite = |x: f64| (x.is_finite() && x >= 0.0).then_some(x);
        Self {
            q,
            c,
            chi_1,
            xi_q: finite(scales.length),
            xi_c: scales.correlation.and_then(finite),
            xi_grad: finite(scales.gradient),
        }
    }
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct CriticalPoint {
    pub(crate) sigma_w: f64,
    pub(crate) sigma_b: f64,
    pub(crate) q: f64,
}

/// A cell beside its prediction.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Both {
    #[serde(flatten)]
    pub(crate) cell: Cell,
    pub(crate) predicted: Option<Predicted>,
}

pub(crate) fn predicted(phi: Activation, [sigma_w, sigma_b]: [f64; 2]) -> Option<Predicted> {
    let field = MeanField { phi, weight_variance: sigma_w * sigma_w, bias_variance: sigma_b * sigma_b };
    field.phase().map(Predicted::from)
}
