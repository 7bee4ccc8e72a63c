use candle_core::{DType, Device, Tensor};

use super::*;

fn tensor(rows: &[[f64; 6]]) -> Tensor {
    Tensor::from_slice(rows.as_flattened(), (rows.len(), 6), &Device::Cpu).unwrap()
}

/// Against numbers by hand: softmax of a row, ranks with ties, two batches as one.
#[test]
fn classification_is_what_it_says() {
    let rows =
        [[3.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]];
    let classes = [0u32, 0, 5];
    let evaluate = |cuts: &[std::ops::Range<usize>]| {
        let mut evaluator = Evaluator::new(Metrics::Classification);
        for cut in cuts {
            let targets = Tensor::new(&classes[cut.clone()], &Device::Cpu).unwrap();
            evaluator.add(&tensor(&rows[cut.clone()]), &targets).unwrap();
        }
        evaluator.finish().unwrap()
    };
    let evaluation = evaluate(std::slice::from_ref(&(0..3)));
    assert_eq!(evaluation, evaluate(&[0..1, 1..3]));
    let loss =
        ((3f64.exp() + 5.0).ln() - 3.0 + (0..6).map(|k| f64::from(k).exp()).sum::<f64>().ln() + 6f64.ln())
            / 3.0;
    assert!((evaluation.loss - loss).abs() < 1e-14, "{} {loss}", evaluation.loss);
    let Scores::Classification { accuracy, top5, confusion } = evaluation.scores else { panic!() };
    let confusion = confusion.unwrap();
    // The second sample's class is the sixth; the third's is the last of six equal ones.
    assert_eq!((accuracy, top5), (1.0 / 3.0, Some(1.0 / 3.0)));
    assert_eq!((confusion[0][0], confusion[0][5], confusion[5][0]), (1, 1, 1));
}

/// Against scikit-learn's r2_score([3, -0.5, 2, 7], [2.5, 0, 2, 8]) = 0.9486, of its documentation.
#[test]
fn regression_is_what_it_says() {
    let column = |xs: [f64; 4]| Tensor::new(&xs, &Device::Cpu).unwrap();
    let (targets, outputs) = (column([3.0, -0.5, 2.0, 7.0]), column([2.5, 0.0, 2.0, 8.0]));
    let mut evaluator = Evaluator::new(Metrics::Regression { standardization: None });
    evaluator.add(&outputs, &targets).unwrap();
    let evaluation = evaluator.finish().unwrap();
    assert_eq!(evaluation.loss, 1.5 / 8.0);
    let Scores::Regression { mse, mae, r2 } = evaluation.scores else { panic!() };
    assert_eq!((mse, mae), (0.375, 0.5));
    assert!((r2.unwrap() - 0.948_608_137_044_967_8).abs() < 1e-14);

    // Standardised by mean 1 and std 2, the errors have the units of the data again.
    let standardization = Standardization::uniform(1, 1.0, 2.0).unwrap();
    let standardized = |xs: &Tensor| ((xs - 1.0).unwrap() / 2.0).unwrap();
    let mut evaluator = Evaluator::new(Metrics::Regression { standardization: Some(standardization) });
    evaluator.add(&standardized(&outputs), &standardized(&targets)).unwrap();
    let restored = evaluator.finish().unwrap();
    assert_eq!(restored.loss, 1.5 / 32.0);
    let Scores::Regression { mse, mae, .. } = restored.scores else { panic!() };
    assert_eq!((mse, mae), (0.375, 0.5));
}

#[test]
fn what_cannot_be_evaluated_is_named() {
    let mut evaluator = Evaluator::new(Metrics::Classification);
    let targets = Tensor::new(&[0u32, 1], &Device::Cpu).unwrap();
    let logits = Tensor::new(&[[0f32, 1.0], [f32::NAN, 0.0]], &Device::Cpu).unwrap();
    let error = evaluator.add(&logits, &targets).unwrap_err().to_string();
    assert_eq!(error, "sample 1, column 0: NaN is not finite");
    let logits = Tensor::new(&[[0f32], [1.0]], &Device::Cpu).unwrap();
    assert!(evaluator.add(&logits, &targets).is_err());
    assert!(Evaluator::new(Metrics::Classification).finish().is_err());
}

/// A matrix of many classes is not kept, and the accuracy is.
#[test]
fn many_classes_have_no_matrix() {
    let logits = Tensor::zeros((2, 201), DType::F32, &Device::Cpu).unwrap();
    let mut evaluator = Evaluator::new(Metrics::Classification);
    evaluator.add(&logits, &Tensor::new(&[0u32, 200], &Device::Cpu).unwrap()).unwrap();
    let Scores::Classification { accuracy, confusion, .. } = evaluator.finish().unwrap().scores else {
        panic!()
    };
    assert_eq!((accuracy, confusion), (0.5, None));
}

/// Errors beyond the largest number are no result.
#[test]
fn errors_beyond_f64_are_refused() {
    let mut evaluator = Evaluator::new(Metrics::Regression { standardization: None });
    let column = |x: f64| Tensor::new(&[x, 0.0], &Device::Cpu).unwrap();
    evaluator.add(&column(1e200), &column(-1e200)).unwrap();
    let error = evaluator.finish().unwrap_err().to_string();
    assert!(error.contains("beyond the largest number"), "{error}");
}
