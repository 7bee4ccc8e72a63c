use candle_core::{DType, Device, Tensor, Var};

use super::layout::RopeLayout;
use super::{composed, rope};

const LAYOUTS: [RopeLayout; 3] = [RopeLayout::Halves, RopeLayout::Interleaved, RopeLayout::HalvesOfPositions];

fn wave(dims: &[usize], phase: f64) -> Tensor {
    let count = dims.iter().product::<usize>();
    let values: Vec<f64> = (0..count).map(|i| (i as f64 * 0.731 + phase).sin() * 1.7).collect();
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

fn numbers(xs: &Tensor) -> Vec<f64> {
    xs.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The values are candle's to the bit, in every layout, with angles for all sequences or for each; the gradients are
/// those of the composed ops, in f64 to 1e-15.
#[test]
fn values_are_candles_to_the_bit_and_gradients_those_of_its_ops() {
    for layout in LAYOUTS {
        for own in [false, true] {
            for (batch, second, third, width) in [(2, 3, 5, 8), (1, 1, 1, 2), (2, 70, 40, 16), (1, 4, 3, 34)]
            {
                let positions = if layout == RopeLayout::HalvesOfPositions { second } else { third };
                // Candle takes the angles of each sequence only without positions to spare.
                let (all, half) = (if own { positions } else { positions + 2 }, width / 2);
                let dims = if own { vec![batch, all, half] } else { vec![all, half] };
                for dtype in [DType::F32, DType::F64] {
                    let typed = |x: Tensor| x.to_dtype(dtype).unwrap();
                    let x = Var::from_tensor(&typed(wave(&[batch, second, third, width], 0.3))).unwrap();
                    let (cos, sin) = (typed(wave(&dims, 1.0)), typed(wave(&dims, 2.0)));
                    let ours = rope(&x, &cos, &sin, layout).unwrap();
                    let theirs = match layout {
                        RopeLayout::Halves => candle_nn::rotary_emb::rope(&x, &cos, &sin),
                        RopeLayout::Interleaved => candle_nn::rotary_emb::rope_i(&x, &cos, &sin),
                        RopeLayout::HalvesOfPositions => candle_nn::rotary_emb::rope_thd(&x, &cos, &sin),
                    };
                    assert_eq!(numbers(&ours), numbers(&theirs.unwrap()), "{layout:?} {own} {dtype:?}");
                    let weights = typed(wave(ours.dims(), 3.0));
                    let gradient = |y: &Tensor| {
                        let store = (y * &weights).unwrap().sum_all().unwrap().backward().unwrap();
                        numbers(store.get(&x).unwrap())
                    };
                    let composed = composed::composed(&x, &cos, &sin, layout).unwrap();
                    let bound = if dtype == DType::F32 { 1e-6 } else { 1e-14 };
                    for (ours, theirs) in gradient(&ours).into_iter().zip(gradient(&composed)) {
                        assert!(
                            (ours - theirs).abs() <= bound,
                            "{layout:?} {own} {dtype:?}: {ours} {theirs}"
                        );
                    }
                }
            }
        }
    }
}

/// Half types are rounded once, strided inputs change nothing, and angles can be learned.
#[test]
fn other_types_strides_and_angles_that_are_variables() {
    let (x, cos, sin) = (wave(&[2, 3, 5, 8], 0.3), wave(&[5, 4], 1.0), wave(&[5, 4], 2.0));
    for dtype in [DType::BF16, DType::F16] {
        let [x, cos, sin] = [&x, &cos, &sin].map(|t| t.to_dtype(dtype).unwrap());
        let wide = [&x, &cos, &sin].map(|t| t.to_dtype(DType::F32).unwrap());
        let exact = rope(&wide[0], &wide[1], &wide[2], RopeLayout::Halves).unwrap();
        let ours = rope(&x, &cos, &sin, RopeLayout::Halves).unwrap();
        assert_eq!(numbers(&ours), numbers(&exact.to_dtype(dtype).unwrap()));
        assert_eq!(ours.dtype(), dtype);
    }
    let strided = x.transpose(1, 2).unwrap().contiguous().unwrap().transpose(1, 2).unwrap();
    let [plain, other] = [&x, &strided].map(|x| rope(x, &cos, &sin, RopeLayout::Interleaved).unwrap());
    assert_eq!(numbers(&plain), numbers(&other));
    let cos = Var::from_tensor(&cos).unwrap();
    let store = rope(&x, &cos, &sin, RopeLayout::Halves).unwrap().sum_all().unwrap().backward().unwrap();
    assert!(store.get(&cos).is_some());
}

#[test]
fn what_does_not_fit_is_refused() {
    let told = |x: &[usize], cos: &[usize]| {
        let (x, cos) = (wave(x, 0.0), wave(cos, 1.0));
        rope(&x, &cos, &cos, RopeLayout::Halves).unwrap_err().to_string()
    };
    assert!(told(&[1, 2, 5, 8], &[4, 4]).contains("at least 5 positions"));
    assert!(told(&[1, 2, 5, 7], &[5, 3]).contains("7/2"));
    assert!(told(&[2, 5, 8], &[5, 4]).contains("4 dimensions"));
    let empty = rope(&wave(&[1, 2, 0, 8], 0.0), &wave(&[5, 4], 0.0), &wave(&[5, 4], 0.0), RopeLayout::Halves);
    assert_eq!(empty.unwrap().dims(), [1, 2, 0, 8]);
}
