//! Regression on a random linear map.

use wick_init::{Initializer, KeyedV1};

use super::draws::{Drawn, Numbers, drawn, product};
use crate::error::Error;

pub(super) fn draw(seed: KeyedV1, count: usize, [features, outputs]: [usize; 2]) -> Result<Drawn, Error> {
    let xs = drawn(&Initializer::normal(1.0), seed.key("synthetic/linear/x"), (count, features))?;
    let law = Initializer::normal((features as f64).powf(-0.5));
    let weights = drawn(&law, seed.key("synthetic/linear/w"), (outputs, features))?;
    let targets = Numbers::Targets(product(&xs, &weights, features));
    Ok(Drawn { features: xs, targets })
}
