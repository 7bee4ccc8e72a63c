use super::*;
use candle_core::{DType, Device, Var};

fn grid() -> Vec<f64> {
    (-80..80).map(|i| f64::from(i) * 0.1 + 0.03).collect()
}

#[test]
fn forward_and_backward_are_the_enum() {
    for activation in Activation::ALL {
        let x = Var::new(grid(), &Device::Cpu).unwrap();
        let weights = Tensor::new(grid(), &Device::Cpu).unwrap().cos().unwrap();
        let y = activate(activation, &x).unwrap();
        let gradients = (&y * &weights).unwrap().sum_all().unwrap().backward().unwrap();
        let gradient = gradients.get(&x).unwrap().to_vec1::<f64>().unwrap();
        let weights = weights.to_vec1::<f64>().unwrap();
        for (i, (x, y)) in grid().into_iter().zip(y.to_vec1::<f64>().unwrap()).enumerate() {
            assert_eq!(y, activation.value(x), "{activation} at {x}");
            assert_eq!(gradient[i], activation.derivative(x) * weights[i], "{activation}' at {x}");
        }
    }
}

/// Compositions of candle's ops, which devices without an op of this crate use, compared with the enum.
/// (candle's erf is accurate to about 1e-7, which sets the tolerance of what uses it.)
#[test]
fn compositions_are_the_enum() {
    for activation in Activation::ALL {
        let loose = matches!(activation, Activation::Erf | Activation::Gelu);
        let tolerance = if loose { 1e-6 } else { 1e-12 };
        let kinks = [-3.0, -1.0, 0.0, 1.0, 3.0];
        let grid: Vec<f64> = grid().into_iter().chain(kinks).collect();
        let x = Var::new(grid.as_slice(), &Device::Cpu).unwrap();
        let y = compose(activation, &x).unwrap();
        let gradients = y.sum_all().unwrap().backward().unwrap();
        let gradient = gradients.get(&x).unwrap().to_vec1::<f64>().unwrap();
        for ((x, y), g) in grid.into_iter().zip(y.to_vec1::<f64>().unwrap()).zip(gradient) {
            assert!((y - activation.value(x)).abs() < tolerance, "{activation} at {x}: {y}");
            assert!((g - activation.derivative(x)).abs() < tolerance, "{activation}' at {x}: {g}");
        }
    }
}

/// Large inputs, forward and backward, in the types that overflow soonest.
#[test]
fn compositions_hold_far_out() {
    let far = [-200f64, -100.0, -50.0, -15.0, 0.0, 15.0, 50.0, 100.0, 200.0];
    for (dtype, tolerance) in [(DType::F32, 2e-5), (DType::F16, 0.02)] {
        for activation in Activation::ALL {
            let x = Tensor::new(&far, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let x = Var::from_tensor(&x).unwrap();
            let y = compose(activation, &x).unwrap();
            let gradients = y.sum_all().unwrap().backward().unwrap();
            let numbers = |t: &Tensor| t.to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
            let (ys, gs) = (numbers(&y), numbers(gradients.get(&x).unwrap()));
            for ((x, y), g) in far.into_iter().zip(ys).zip(gs) {
                assert!((y - activation.value(x)).abs() <= tolerance, "{activation} at {x} {dtype:?}: {y}");
                let slope = activation.derivative(x);
                assert!((g - slope).abs() <= tolerance, "{activation}' at {x} {dtype:?}: {g}");
            }
        }
    }
}

#[test]
fn any_layout_and_type() {
    let x = Tensor::arange(0f32, 12.0, &Device::Cpu).unwrap().reshape((3, 4)).unwrap();
    let x = (x - 6.0).unwrap();
    let strided = x.t().unwrap().narrow(0, 1, 2).unwrap();
    let plain = activate(Activation::Tanh, &x).unwrap().t().unwrap().narrow(0, 1, 2).unwrap();
    let got = activate(Activation::Tanh, &strided).unwrap();
    assert_eq!(got.to_vec2::<f32>().unwrap(), plain.to_vec2::<f32>().unwrap());
    let row = x.get(0).unwrap().broadcast_left(3).unwrap();
    let rows = activate(Activation::Tanh, &row).unwrap().to_vec2::<f32>().unwrap();
    assert_eq!(
        rows,
        vec![activate(Activation::Tanh, &x.get(0).unwrap()).unwrap().to_vec1::<f32>().unwrap(); 3]
    );
    for (dtype, tolerance) in [(DType::BF16, 4e-3), (DType::F16, 5e-4), (DType::F64, 6e-8)] {
        let narrow = activate(Activation::Tanh, &x.to_dtype(dtype).unwrap()).unwrap();
        assert_eq!(narrow.dtype(), dtype);
        let difference = narrow.to_dtype(DType::F32).unwrap().sub(&activate(Activation::Tanh, &x).unwrap());
        let largest = difference.unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(largest <= tolerance, "{dtype:?}: {largest}");
    }
    assert!(activate(Activation::Tanh, &x.to_dtype(DType::U8).unwrap()).is_err());
    let empty = Tensor::zeros((0, 3), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(activate(Activation::Mish, &empty).unwrap().dims(), [0, 3]);
}

#[test]
fn the_gradient_of_a_strided_input_has_its_layout() {
    let x = Var::new(&[[0.1f64, 0.2, 0.3], [0.4, 0.5, 0.6]], &Device::Cpu).unwrap();
    let y = activate(Activation::Sin, &x.t().unwrap()).unwrap();
    let weights = Tensor::new(&[[1f64, 2.0], [3.0, 4.0], [5.0, 6.0]], &Device::Cpu).unwrap();
    let gradients = (y * weights).unwrap().sum_all().unwrap().backward().unwrap();
    let got = gradients.get(&x).unwrap().to_vec2::<f64>().unwrap();
    let expected = [
        [0.1f64.cos(), 3.0 * 0.2f64.cos(), 5.0 * 0.3f64.cos()],
        [2.0 * 0.4f64.cos(), 4.0 * 0.5f64.cos(), 6.0 * 0.6f64.cos()],
    ];
    assert_eq!(got, expected);
}

/// Numbers of every exponent and sign, with subnormal and special ones.
fn all_exponents() -> Vec<f32> {
    let mantissas = (0..64u32).map(|i| i.wrapping_mul(0x9e37_79b9) & 0x007f_ffff);
    let mut xs: Vec<f32> = mantissas
        .flat_map(|mantissa| (0..=254u32).map(move |exponent| f32::from_bits(exponent << 23 | mantissa)))
        .flat_map(|x| [x, -x])
        .collect();
    // Near zero, where the functions bend, a much finer grid.
    xs.extend((-300_000..300_000).map(|i| i as f32 * 1e-4));
    xs.extend([f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN, -0.0]);
    xs
}

/// The distance, in units of `f32`, between the computed and the right value.
fn ulps(got: f32, right: f64) -> u64 {
    let right = right as f32;
    if got.is_nan() && right.is_nan() || got == right {
        return 0;
    }
    let place = |x: f32| {
        let bits = i64::from(x.to_bits() & 0x7fff_ffff);
        if x.is_sign_negative() { -bits } else { bits }
    };
    if got.is_nan() || right.is_nan() { u64::MAX } else { place(got).abs_diff(place(right)) }
}

#[test]
fn within_two_units_in_the_last_place_at_every_exponent() {
    let (xs, ones) = (all_exponents(), vec![1f32; all_exponents().len()]);
    for level in SimdLevel::available().filter(|level| level.is_fast()) {
        for activation in Activation::ALL
            .into_iter()
            .chain([Activation::LeakyRelu { slope: -0.3 }, Activation::Elu { alpha: 0.7 }])
        {
            let (ys, gs) = (values(level, activation, &xs), gradients(level, activation, &xs, &ones));
            for ((x, y), g) in xs.iter().zip(ys).zip(gs) {
                let (value, slope) = (activation.value(f64::from(*x)), activation.derivative(f64::from(*x)));
                assert!(ulps(y, value) <= 2, "{activation} at {x:e}: {y:e}, not {value:e}");
                assert!(ulps(g, slope) <= 2, "{activation}' at {x:e}: {g:e}, not {slope:e}");
            }
        }
    }
}

#[test]
fn every_level_gives_the_same_bits() {
    let xs = all_exponents();
    let bits = |level, activation| -> Vec<u32> {
        values(level, activation, &xs).into_iter().map(f32::to_bits).collect()
    };
    let fast: Vec<SimdLevel> = SimdLevel::available().filter(|level| level.is_fast()).collect();
    for activation in Activation::ALL {
        assert!(fast.windows(2).all(|pair| bits(pair[0], activation) == bits(pair[1], activation)));
    }
}

#[test]
fn odd_functions_are_odd_to_the_bit() {
    let xs: Vec<f32> = all_exponents().into_iter().filter(|x| !x.is_nan()).collect();
    let mirrored: Vec<f32> = xs.iter().map(|x| -x).collect();
    use Activation::{Erf, Hardtanh, Identity, Sin, Softsign, Tanh};
    for activation in [Identity, Tanh, Softsign, Hardtanh, Sin, Erf] {
        let (plus, minus) =
            (values(SimdLevel::best(), activation, &xs), values(SimdLevel::best(), activation, &mirrored));
        for ((x, plus), minus) in xs.iter().zip(plus).zip(minus) {
            assert!(plus.to_bits() == (-minus).to_bits() || plus.is_nan(), "{activation} at {x:e}");
        }
    }
}
