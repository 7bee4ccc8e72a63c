//! Activations as the CUDA kernels take them.

use wick_theory::Activation;

/// An activation with its parameters: `Activation` in `activation.cuh`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Code {
    /// The place in [`Activation::ALL`], which is the order of `Code` in `activation.cuh`.
    code: i32,
    unused: i32,
    slope: f64,
    scale: f64,
}

impl Code {
    pub(crate) fn new(activation: Activation) -> Self {
        let (slope, scale) = activation.coefficients();
        let kind = std::mem::discriminant(&activation);
        let place = Activation::ALL.iter().position(|other| std::mem::discriminant(other) == kind);
        Self { code: place.map_or(-1, |place| place as i32), unused: 0, slope, scale }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernels' names of the activations are those of the enum, in its order.
    #[test]
    fn the_kernels_number_activations_as_the_enum_does() {
        let source = include_str!("../../cuda/activation.cuh");
        let (_, codes) = source.split_once("enum Code {").unwrap();
        let (codes, _) = codes.split_once('}').unwrap();
        let codes: Vec<String> = codes.split(',').map(|name| name.trim().to_lowercase()).collect();
        let names = Activation::ALL.map(Activation::name);
        assert_eq!(
            codes.iter().filter(|name| !name.is_empty()).collect::<Vec<_>>(),
            names.iter().collect::<Vec<_>>()
        );
        for (place, activation) in Activation::ALL.into_iter().enumerate() {
            assert_eq!(Code::new(activation).code, place as i32, "{activation}");
        }
        assert_eq!(Code::new(Activation::Elu { alpha: 3.0 }).slope, 3.0);
    }
}
