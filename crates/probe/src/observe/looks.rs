//! What earlier looks at a name have shown.

use crate::observe::units::Units;

/// The looks at one name, over calls and steps.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    pub(crate) count: u64,
    /// The last value of each unit that had one value in each look so far.
    only: Vec<Option<f64>>,
}

impl Looks {
    /// Adds a look, and returns the fraction of units that had one value in all of them.
    pub(crate) fn add(&mut self, units: Option<&Units>) -> Option<f64> {
        self.count += 1;
        let units = units?;
        if self.only.len() == units.count {
            // A unit whose value moves with its bias from look to look is as dead as it was.
            for (before, now) in self.only.iter_mut().zip(&units.only) {
                *before = before.and(*now);
            }
        } else {
            self.only.clone_from(&units.only);
        }
        let constant = self.only.iter().flatten().count();
        Some(constant as f64 / units.count.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;

    /// A unit is dead in all looks, and not in one alone.
    #[test]
    fn looks_add_up() {
        let look = |values: [[f32; 3]; 2]| Units::of(&Tensor::new(&values, &Device::Cpu).unwrap()).unwrap();
        let mut looks = Looks::default();
        assert_eq!(looks.add(look([[0.0, 0.0, 1.0], [0.0, 0.0, 2.0]]).as_ref()), Some(2.0 / 3.0));
        assert_eq!(looks.add(look([[0.0, 5.0, 1.0], [0.0, 0.0, 1.0]]).as_ref()), Some(1.0 / 3.0));
        assert_eq!(looks.add(look([[0.1, 0.0, 1.0], [0.1, 0.0, 1.0]]).as_ref()), Some(1.0 / 3.0));
        assert_eq!(looks.count, 3);
    }
}
