//! What a data-dependent start changed.

use std::fmt;

use serde::Serialize;

/// What a data-dependent start changed, and what it left as it was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Changes {
    /// The method, with its settings.
    pub method: String,
    /// The layers in the order of execution, unchanged ones too.
    pub layers: Vec<Change>,
    /// What was left out.
    pub skipped: Vec<Skipped>,
    /// Forward passes in all.
    pub forwards: usize,
}

/// What happened to one layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The layer's name.
    pub layer: String,
    /// The name of its weight.
    pub weight: String,
    /// What the weight was multiplied by; the geometric mean where each channel has its own factor. 1 if the layer
    /// had what it should.
    pub factor: f64,
    /// The standard deviation of all elements of the signal before.
    pub std_before: f64,
    /// The same after the last correction of all.
    pub std_after: f64,
    /// Whether the signal is as close to its aim as was asked for.
    pub is_reached: bool,
}

/// A layer or a parameter that was left as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its name.
    pub name: String,
    /// Why, as the end of a sentence that begins with the name.
    pub reason: String,
}

impl Changes {
    /// Whether every layer that was not left out has what was asked for.
    pub fn are_reached(&self) -> bool {
        self.layers.iter().all(|change| change.is_reached)
    }
}

/// A number with four significant digits, from 1e-4 to 1e6 without an exponent.
pub(super) fn digits(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    // Rounding can reach the next power of ten.
    let rounded: f64 = format!("{number:.3e}").parse().unwrap_or(number);
    let power = rounded.abs().log10().floor() as i32;
    match power {
        -4..=5 => format!("{rounded:.*}", (3 - power).max(0) as usize),
        _ => format!("{number:.3e}"),
    }
}

/// A line for the method, for each layer and for what was left out.
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} layers by {} forward passes", self.method, self.layers.len(), self.forwards)?;
        for Change { layer, weight, factor, std_before, std_after, is_reached } in &self.layers {
            let missed = if *is_reached { "" } else { ", which is not what was asked for" };
            let [before, after, factor] = [std_before, std_after, factor].map(|number| digits(*number));
            writeln!(f, "{layer}: std {before} -> {after}, {weight} × {factor}{missed}")?;
        }
        for Skipped { name, reason } in &self.skipped {
            writeln!(f, "{name} {reason}")?;
        }
        Ok(())
    }
}
