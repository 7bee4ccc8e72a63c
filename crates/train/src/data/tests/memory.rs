use candle_core::{DType, Device, Tensor};

use crate::data::{Classes, Dataset, InMemory, Standardization, Subset, Targets};

const CPU: Device = Device::Cpu;

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Each type is held as it is, and a batch of any type has its numbers, with and without standardisation.
#[test]
fn every_type_becomes_every_type() {
    let values = Tensor::new(&[[[1f64, 2.0]], [[3.0, 4.0]], [[100.0, 6.0]]], &CPU).unwrap();
    let standardization = Standardization::learn(&values, &[0, 1]).unwrap();
    let held = [
        DType::U8,
        DType::U32,
        DType::I16,
        DType::I32,
        DType::I64,
        DType::BF16,
        DType::F16,
        DType::F32,
        DType::F64,
    ];
    for from in held {
        let data = InMemory::new(&values.to_dtype(from).unwrap()).unwrap();
        assert_eq!(data.input().dtype(), from);
        for to in [DType::F64, DType::F32, DType::BF16, DType::F16] {
            let data = data.clone().with_type(to, &CPU).unwrap();
            let batch = data.batch(&[2, 0, 2]).unwrap();
            assert_eq!((batch.input.dims(), batch.input.dtype()), (&[3, 1, 2][..], to));
            assert_eq!(numbers(&batch.input), [100.0, 6.0, 1.0, 2.0, 100.0, 6.0], "{from:?} to {to:?}");
            assert!(batch.targets.is_none());
            let standardized = data.with_standardization(standardization.clone()).unwrap();
            let batch = standardized.batch(&[1, 2]).unwrap();
            assert_eq!(numbers(&batch.input), [1.0, 1.0, 98.0, 3.0], "{from:?} to {to:?}");
        }
    }
}

#[test]
fn inputs_and_targets_of_several_types_go_together() {
    let classes =
        |labels: &[i64]| Targets::Classes(Classes::new(&Tensor::new(labels, &CPU).unwrap()).unwrap());
    let data = InMemory::new(&Tensor::new(&[[1u8, 2], [3, 4], [5, 6]], &CPU).unwrap())
        .unwrap()
        .with_further(&Tensor::new(&[7u32, 8, 9], &CPU).unwrap())
        .unwrap()
        .with_further(&Tensor::new(&[[0.5f64], [1.5], [2.5]], &CPU).unwrap())
        .unwrap()
        .with_targets(classes(&[0, 2, 1]))
        .unwrap();
    let batch = data.batch(&[2, 1]).unwrap();
    assert_eq!(numbers(&batch.input), [5.0, 6.0, 3.0, 4.0]);
    let types: Vec<DType> = batch.further.iter().map(Tensor::dtype).collect();
    assert_eq!(types, [DType::U32, DType::F32]);
    assert_eq!(numbers(&batch.further[0]), [9.0, 8.0]);
    assert_eq!(batch.targets.unwrap().to_vec1::<u32>().unwrap(), [1, 2]);

    let targets = Tensor::new(&[[10f64], [20.0], [40.0]], &CPU).unwrap();
    let learned = Standardization::learn(&targets, &[0, 1]).unwrap();
    let regression = data.clone().with_targets(Targets::Numbers(targets)).unwrap();
    assert_eq!(numbers(&regression.batch(&[1]).unwrap().targets.unwrap()), [20.0]);
    let regression = regression.with_target_standardization(learned.clone()).unwrap();
    let batch = regression.batch(&[2, 0]).unwrap().targets.unwrap();
    assert_eq!((batch.dims(), batch.dtype()), (&[2, 1][..], DType::F32));
    assert_eq!(numbers(&batch), [5.0, -1.0]);
    assert_eq!(numbers(&learned.restore(&batch).unwrap()), [40.0, 10.0]);

    let part = Subset::new(&data, vec![2, 1]).unwrap();
    let inner = Subset::new(&part, vec![1]).unwrap();
    assert_eq!((part.len(), inner.len(), inner.is_empty()), (2, 1, false));
    assert_eq!(inner.batch(&[0, 0]).unwrap().targets.unwrap().to_vec1::<u32>().unwrap(), [2, 2]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let input = Tensor::new(&[[1u8, 2], [3, 4], [5, 6]], &CPU).unwrap();
    let data = InMemory::new(&input).unwrap();
    let scale = Standardization::uniform(3, 0.0, 255.0).unwrap();
    let one = Tensor::new(&[1u8], &CPU).unwrap();
    let classes = Classes::new(&one).unwrap();
    let float = Tensor::new(&[1f32], &CPU).unwrap();
    for (error, text) in [
        (data.batch(&[0, 3]).err(), "there is no sample 3: the 3 samples have the numbers 0 to 2"),
        (data.batch(&[]).err(), "a batch of 0 is not between 1 and the 3 samples"),
        (
            data.clone().with_targets(Targets::Classes(classes.clone())).err(),
            "there are 1 targets and 3 samples",
        ),
        (data.clone().with_targets(Targets::Numbers(one.clone())).err(), "there are 1 targets and 3 samples"),
        (data.clone().with_further(&one).err(), "there are 1 samples of the further input and 3 samples"),
        (
            data.clone().with_standardization(scale.clone()).err(),
            "the data has 2 columns, and the standardization was learned on 3",
        ),
        (data.clone().with_target_standardization(scale).err(), "only targets that are numbers"),
        (data.clone().with_type(DType::U8, &CPU).err(), "batches are not made of or in the type u8"),
        (InMemory::new(&Tensor::new(1f32, &CPU).unwrap()).err(), "a tensor of shape [] does not do"),
        (InMemory::new(&Tensor::zeros((0, 4), DType::F32, &CPU).unwrap()).err(), "shape [0, 4]"),
        (InMemory::new(&Tensor::zeros((4, 0), DType::F32, &CPU).unwrap()).err(), "shape [4, 0]"),
        (Classes::new(&float).err(), "labels are whole numbers, and these are f32"),
        (Classes::new(&input).err(), "it needs one label for each sample"),
        (classes.with_count(1).err(), "1 classes are too few: the largest label is 1"),
        (Subset::new(&data, vec![3]).err(), "there is no sample 3"),
    ] {
        let error = error.unwrap().to_string();
        assert!(error.contains(text) && !error.contains('\n'), "{error} has not '{text}'");
    }
    assert_eq!(Classes::new(&one).unwrap().with_count(10).unwrap().count(), 10);
}

/// A batch that several tasks convert has the rows that were asked for, each as by itself, and rows with NaN their
/// numbers; sizes are around those of tasks and vectors.
#[test]
fn large_batches_are_their_rows() {
    for (samples, columns) in [(700, 100), (50, 1023), (3, 40_000), (40_000, 1)] {
        let bytes: Vec<u8> = (0..samples * columns).map(|place| (place * 7919 % 251) as u8).collect();
        let bytes = Tensor::from_vec(bytes, (samples, columns), &CPU).unwrap();
        let scale = Standardization::uniform(columns, 3.0, 255.0).unwrap();
        let indices: Vec<usize> = (0..samples).map(|place| place * 37 % samples).collect();
        let of = |data: &InMemory| numbers(&data.batch(&indices).unwrap().input);
        let wanted = |number: fn(u8) -> f64| {
            let rows = indices.iter().flat_map(|row| (0..columns).map(move |column| row * columns + column));
            rows.map(|place| number((place * 7919 % 251) as u8)).collect::<Vec<f64>>()
        };

        let data = InMemory::new(&bytes).unwrap();
        assert_eq!(of(&data), wanted(f64::from));
        let scaled = data.with_standardization(scale.clone()).unwrap();
        assert_eq!(of(&scaled), wanted(|x| f64::from((f32::from(x) - 3.0) / 255.0)));

        let is_large = bytes.to_dtype(DType::F64).unwrap().ge(100.0).unwrap();
        let floats = is_large.where_cond(
            &bytes.to_dtype(DType::F64).unwrap(),
            &Tensor::full(f64::NAN, (samples, columns), &CPU).unwrap(),
        );
        let data = InMemory::new(&floats.unwrap()).unwrap().with_type(DType::F64, &CPU).unwrap();
        let filled = data.with_missing_means(vec![5.0; columns]).unwrap();
        assert_eq!(of(&filled), wanted(|x| if x >= 100 { f64::from(x) } else { 5.0 }));
        let both = filled.with_standardization(scale).unwrap();
        assert_eq!(of(&both), wanted(|x| if x >= 100 { (f64::from(x) - 3.0) / 255.0 } else { 2.0 / 255.0 }));
    }
}
