use candle_core::{DType, Device, Tensor};

use crate::data::Standardization;

const CPU: Device = Device::Cpu;

/// Columns far from 0, large, small and subnormal have mean 0 and standard deviation 1, to their precision.
#[test]
fn columns_of_any_size_are_standardized() {
    const N: usize = 1009;
    let wave = |i: usize| ((i * 37) % N) as f64 / (N / 2) as f64 - 1.0;
    type Column = fn(f64) -> f64;
    let columns: [(Column, f64); 7] = [
        (|x| x, 1e-14),
        (|x| 1e9 + 5e-4 * x, 1e-3),
        (|x| 1e200 * x, 1e-13),
        (|x| 1e-200 * x, 1e-13),
        (|x| 1e-310 * x, 1e-6),
        (|x| 1.7e308 * x, 1e-13),
        (|x| 1e15 + (1000.0 * x).round(), 1e-3),
    ];
    let values: Vec<f64> = (0..N).flat_map(|i| columns.map(|(column, _)| column(wave(i)))).collect();
    let data = Tensor::from_vec(values, (N, columns.len()), &CPU).unwrap();
    let all: Vec<usize> = (0..N).collect();
    let learned = Standardization::learn(&data, &all).unwrap();
    assert!(learned.constant_columns().is_empty());
    let std = ((N * N - 1) as f64 / 12.0).sqrt() / (N / 2) as f64;
    let applied = learned.apply(&data).unwrap().t().unwrap().to_vec2::<f64>().unwrap();
    for (number, ((_, precision), column)) in columns.iter().zip(applied).enumerate() {
        for (i, x) in column.iter().enumerate() {
            assert!(
                (x - wave(i) / std).abs() < *precision,
                "column {number}, row {i}: {x}, {}",
                wave(i) / std
            );
        }
    }
}

/// The samples that are held out change nothing, and are shifted and scaled like the others.
#[test]
fn the_held_out_samples_are_not_looked_at() {
    let mut values: Vec<f64> = (0..600).map(|i| ((i * 7919) % 101) as f64).collect();
    let training: Vec<usize> = (0..200).filter(|sample| sample % 3 != 0).collect();
    let learned = |values: &[f64]| {
        let data = Tensor::from_slice(values, (200, 3), &CPU).unwrap();
        Standardization::learn(&data, &training).unwrap()
    };
    let before = learned(&values);
    (0..200).step_by(3).for_each(|sample| values[sample * 3] = f64::NAN);
    assert_eq!(learned(&values), before);
    values[3] += 1.0;
    assert_ne!(learned(&values), before);
}

#[test]
fn bytes_are_learned_and_applied_as_numbers_are() {
    let bytes: Vec<u8> = (0..500u32).map(|i| (i * i % 251) as u8).collect();
    let data = Tensor::from_vec(bytes, (50, 2, 5), &CPU).unwrap();
    let all: Vec<usize> = (0..50).collect();
    let wide = data.to_dtype(DType::F64).unwrap();
    let learned = Standardization::learn(&data, &all).unwrap();
    assert_eq!(learned, Standardization::learn(&wide, &all).unwrap());
    let applied = learned.apply(&data).unwrap();
    assert_eq!((applied.dtype(), applied.dims()), (DType::F32, data.dims()));
    let exact = learned.apply(&wide).unwrap();
    let off = (applied.to_dtype(DType::F64).unwrap() - exact).unwrap().abs().unwrap().max_all().unwrap();
    // Three roundings of numbers of up to 4 standard deviations.
    assert!(off.to_scalar::<f64>().unwrap() < 12.0 * 2f64.powi(-24), "{off}");
}

#[test]
fn constant_columns_are_named_and_become_0() {
    let data = Tensor::new(&[[0.1f64, 1.0, 5e-324], [0.1, 2.0, 0.0], [0.1, 2.0, 0.0]], &CPU).unwrap();
    let learned = Standardization::learn(&data, &[0, 1, 2]).unwrap();
    assert_eq!(learned.constant_columns(), [0]);
    let applied = learned.apply(&data).unwrap();
    let numbers = applied.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    assert!(numbers[0] == 0.0 && numbers.iter().all(|x| x.is_finite()), "{numbers:?}");
    assert_eq!(Standardization::learn(&data, &[1]).unwrap().constant_columns(), [0, 1, 2]);
}

#[test]
fn it_is_kept_as_text_and_checked_when_read() {
    let data = Tensor::new(&[[0.1f64, 1e300, 3.0], [0.7, -1e-5, 3.0]], &CPU).unwrap();
    let learned = Standardization::learn(&data, &[0, 1]).unwrap();
    let text = serde_json::to_string(&learned).unwrap();
    assert_eq!(serde_json::from_str::<Standardization>(&text).unwrap(), learned);
    for text in [
        r#"{"mean":[],"std":[],"constant":[]}"#,
        r#"{"mean":[1.0],"std":[1.0,2.0],"constant":[]}"#,
        r#"{"mean":[1.0],"std":[0.0],"constant":[]}"#,
        r#"{"mean":[1.0],"std":[-1.0],"constant":[]}"#,
        r#"{"mean":[1.0],"std":[1.0],"constant":[1]}"#,
        r#"{"mean":[1.0],"std":[1.0]}"#,
        r#"{"mean":[1.0],"std":[1.0],"constant":[],"more":1}"#,
    ] {
        assert!(serde_json::from_str::<Standardization>(text).is_err(), "{text}");
    }
}

#[test]
fn what_cannot_be_learned_is_refused() {
    let data = Tensor::new(&[[0f32, 1.0], [f32::NAN, f32::INFINITY]], &CPU).unwrap();
    let learned = Standardization::learn(&data, &[0]).unwrap();
    for (error, text) in [
        (Standardization::learn(&data, &[0, 1]).err(), "sample 1, column 0: NaN is not finite"),
        (Standardization::learn(&data, &[]).err(), "a batch of 0 is not between 1 and the 2 samples"),
        (Standardization::learn(&data, &[2]).err(), "there is no sample 2"),
        (Standardization::uniform(0, 0.0, 1.0).err(), "a standardization needs a finite mean"),
        (Standardization::uniform(2, f64::NAN, 1.0).err(), "a standardization needs a finite mean"),
        (learned.apply(&data.t().unwrap().narrow(1, 0, 1).unwrap()).err(), "the data has 1 columns"),
        (learned.restore(&data.narrow(1, 0, 1).unwrap()).err(), "the data has 1 columns"),
    ] {
        let error = error.unwrap().to_string();
        assert!(error.contains(text) && !error.contains('\n'), "{error}");
    }
}
