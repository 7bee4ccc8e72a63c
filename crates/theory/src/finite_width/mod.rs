//! Networks whose layers are not wide: how far one draw of the weights deviates from the wide limit.
//!
//! `docs/finite-width.md` derives what is computed; the numbers of equations in this folder are those of that
//! page. `forward.rs` has the equations (1) to (13), `backward.rs` (16) to (23), `layer.rs` (14) and (15),
//! `noise.rs` (24), (25) and the random numbers, `samples.rs` the samples that stand for a batch.

mod backward;
mod band;
mod forward;
mod geometry;
mod layer;
mod lengths;
mod noise;
mod pairs;
mod samples;
mod simulation;
mod table;
#[cfg(test)]
mod tests;

pub use band::Band;
pub use geometry::BatchGeometry;
pub use simulation::{LayerBands, finite_width};
