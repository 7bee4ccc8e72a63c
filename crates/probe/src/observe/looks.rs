//! What earlier looks at a name have shown.

/// The looks at one name, over calls and steps.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    pub(crate) count: u64,
    /// The number of units, and those that had one value in each look so far, rising.
    units: usize,
    constants: Vec<usize>,
}

impl Looks {
    /// Adds a look, by the number of units and the constant ones, and returns the fraction of units that had one
    /// value in each look.
    pub(crate) fn add(&mut self, units: Option<(usize, Vec<usize>)>) -> Option<f64> {
        self.count += 1;
        let (count, constants) = units?;
        if self.units == count {
            // A unit whose value moves with its bias from look to look is as dead as it was.
            self.constants.retain(|unit| constants.binary_search(unit).is_ok());
        } else {
            (self.units, self.constants) = (count, constants);
        }
        Some(self.constants.len() as f64 / count.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::observe::units::Units;

    /// A unit is dead in all looks, and not in one alone.
    #[test]
    fn looks_add_up() {
        let look = |values: [[f32; 3]; 2]| {
            let units = Units::of(&Tensor::new(&values, &Device::Cpu).unwrap()).unwrap();
            units.map(|units| (units.count, units.constants))
        };
        let mut looks = Looks::default();
        assert_eq!(looks.add(look([[0.0, 0.0, 1.0], [0.0, 0.0, 2.0]])), Some(2.0 / 3.0));
        assert_eq!(looks.add(look([[0.0, 5.0, 1.0], [0.0, 0.0, 1.0]])), Some(1.0 / 3.0));
        assert_eq!(looks.add(look([[0.1, 0.0, 1.0], [0.1, 0.0, 1.0]])), Some(1.0 / 3.0));
        assert_eq!(looks.count, 3);
    }
}
