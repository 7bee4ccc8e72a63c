//! Gradients of activations by least squares, beside the numbers of candle's own backward pass.

use candle_core::{DType, Result, Tensor};
use candle_nn::{Linear, Module, VarBuilder};
use wick_init::{InitMap, Initializer, Rule};
use wick_probe::{GradientBy, Trace};
use wick_tests::{CPU, normal};

/// Of four linear layers behind a gelu, a tanh and a relu, for up to half as many rows as inputs, the gradients are those
/// of taps (which biases as large as the outputs give to the bit) to 1e-6 in `f32` and to 1e-12 in `f64`, as the largest
/// rms of an error over that of a gradient (seed 5); the error that is told of the last layer is the real one within a
/// factor of three. The twin, the gradients of another draw of the inputs, is off by more than 1e-2.
#[test]
fn gradients_by_least_squares_are_those_of_taps() -> Result<()> {
    const WIDTH: usize = 128;
    let names = ["a", "b", "c", "d"];
    for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F64, 1e-12)] {
        for rows in [1, 8, 32, 64] {
            let map = InitMap::new(5)
                .with_default_init(Initializer::kaiming_normal())
                .with_rules([Rule::draw("**.bias", Initializer::normal(0.2)).unwrap()]);
            let build = |vb: VarBuilder<'static>| -> Result<Vec<Linear>> {
                let outputs = [WIDTH, WIDTH, WIDTH, 10];
                names.iter().zip(outputs).map(|(name, o)| candle_nn::linear(WIDTH, o, vb.pp(*name))).collect()
            };
            let layers = build(map.var_builder(dtype, &CPU))?;
            let targets = Tensor::from_vec((0..rows as u32).map(|i| i % 10).collect(), rows, &CPU)?;
            let forward = |layers: &[Linear], xs: &Tensor| -> Result<Tensor> {
                let h = layers[0].forward(xs)?.gelu_erf()?;
                let h = layers[2].forward(&layers[1].forward(&h)?.tanh()?)?.relu()?;
                candle_nn::loss::cross_entropy(&layers[3].forward(&h)?, &targets)
            };
            let of = |input: &str| -> Result<(Trace, Trace)> {
                let xs = normal(1, input, (rows, WIDTH), dtype);
                let run = || Trace::run(&map.named_vars(), || forward(&layers, &xs));
                let (mut found, mut taps) = (run()?, run()?);
                found.add_gradients(&found.loss().backward()?, &[&xs])?;
                let biases = taps.wide_biases()?;
                let wide = build(biases.var_builder(map.clone(), dtype, &CPU))?;
                taps.add_wide_gradients(&biases, &forward(&wide, &xs)?.backward()?)?;
                Ok((found, taps))
            };
            let ((found, taps), (_, twin)) = (of("inputs")?, of("others")?);
            let (mut largest, mut least_of_twin) = (0.0f64, f64::INFINITY);
            for index in 0..names.len() {
                let gradient = |trace: &Trace, expected: GradientBy| -> Result<Tensor> {
                    let (by, gradient) = trace.layers()[index].gradient.as_ref().unwrap();
                    assert_eq!(*by, expected, "{rows} rows, {}", names[index]);
                    gradient.to_dtype(DType::F64)
                };
                let size = |xs: &Tensor| xs.sqr()?.sum_all()?.to_scalar::<f64>();
                let (taps, solved) =
                    (gradient(&taps, GradientBy::WideBias)?, gradient(&found, GradientBy::LeastSquares)?);
                let error =
                    |xs: &Tensor| -> Result<f64> { Ok((size(&(xs - &taps)?)? / size(&taps)?).sqrt()) };
                let (real, told) = (error(&solved)?, found.layers()[index].gradient_error.unwrap());
                largest = largest.max(real);
                least_of_twin = least_of_twin.min(error(&gradient(&twin, GradientBy::WideBias)?)?);
                // Behind an activation candle's own product with the next weight is rounded too, and in `f64` both errors
                // are those of other roundings.
                let is_own = dtype == DType::F32 && index + 1 == names.len();
                let is_told =
                    if is_own { (1.0 / 3.0..3.0).contains(&(told / real)) } else { told < tolerance };
                assert!(is_told, "{rows} rows, {}: {told:e} is told, {real:e} is so", names[index]);
            }
            println!("{dtype:?}, {rows} rows of {WIDTH}: the largest error is {largest:.1e}");
            assert!(
                largest < tolerance && least_of_twin > 1e-2,
                "{rows} rows: {largest:e}, {least_of_twin:e}"
            );
        }
    }
    Ok(())
}
