use candle_core::{DType, Device};

use super::*;
use crate::data::Dataset;

fn all(data: &InMemory) -> (Vec<Vec<f64>>, Tensor) {
    let batch = data.batch(&(0..data.len()).collect::<Vec<_>>()).unwrap();
    let rows = batch.input.to_dtype(DType::F64).unwrap().to_vec2().unwrap();
    (rows, batch.targets.unwrap())
}

fn classes(data: &InMemory) -> Vec<usize> {
    all(data).1.to_vec1::<u32>().unwrap().into_iter().map(|class| class as usize).collect()
}

/// The targets are those of one linear map: the normal equations of the training part predict the test part.
#[test]
fn the_linear_task_is_linear() {
    let task: Synthetic = "linear:features=3,outputs=2,samples=50,test=20".parse().unwrap();
    let parts = task.draw(3, DType::F64, &Device::Cpu).unwrap();
    let ((xs, ys), (others, targets)) = (all(&parts.training), all(&parts.test));
    let x = Tensor::new(xs, &Device::Cpu).unwrap();
    let gram = x.t().unwrap().matmul(&x).unwrap().to_vec2::<f64>().unwrap();
    let moments = x.t().unwrap().matmul(&ys).unwrap().to_vec2::<f64>().unwrap();
    // Gauss and Jordan on three equations with two right sides.
    let mut rows: Vec<Vec<f64>> = gram.iter().zip(&moments).map(|(a, b)| [&a[..], &b[..]].concat()).collect();
    for pivot in 0..3 {
        let scale = rows[pivot][pivot];
        rows[pivot].iter_mut().for_each(|x| *x /= scale);
        for row in (0..3).filter(|row| *row != pivot) {
            let (factor, from) = (rows[row][pivot], rows[pivot].clone());
            rows[row].iter_mut().zip(from).for_each(|(x, y)| *x -= factor * y);
        }
    }
    for (x, y) in others.iter().zip(targets.to_vec2::<f64>().unwrap()) {
        for output in 0..2 {
            let predicted: f64 = (0..3).map(|column| x[column] * rows[column][3 + output]).sum();
            // Features are rounded to f32.
            assert!((predicted - y[output]).abs() < 1e-5, "{predicted} {}", y[output]);
        }
    }
}

/// Each class of a teacher has a quarter of its part of the samples or more, over five seeds.
#[test]
fn no_class_of_a_teacher_is_rare() {
    for seed in 0..5 {
        let parts = "teacher".parse::<Synthetic>().unwrap().draw(seed, DType::F32, &Device::Cpu).unwrap();
        let mut counts = [0; 5];
        classes(&parts.training).into_iter().for_each(|class| counts[class] += 1);
        assert!(counts.iter().all(|count| *count >= 100), "seed {seed}: {counts:?}");
    }
}

/// The signals are not noise: the nearest mean of the training part, over all shifts, tells classes apart in more than
/// 40 % of the test part, where chance has 10 %; and shifts matter, without which the nearest mean has less than 40 %.
#[test]
fn signals_can_be_told_apart() {
    let parts = "mnist1d".parse::<Synthetic>().unwrap().draw(1, DType::F32, &Device::Cpu).unwrap();
    let ((test, _), labels) = (all(&parts.test), classes(&parts.test));
    let (training, known) = (all(&parts.training).0, classes(&parts.training));
    let nearest = |x: &[f64], samples: usize| {
        let distance = |y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<f64>();
        let best = (0..samples).min_by(|a, b| distance(&training[*a]).total_cmp(&distance(&training[*b])));
        known[best.unwrap()]
    };
    let right = |samples: usize| {
        (0..300).filter(|i| nearest(&test[*i], samples) == labels[*i]).count() as f64 / 300.0
    };
    let (all, few) = (right(training.len()), right(50));
    assert!(all > 0.4 && few < all - 0.1, "{all} {few}");
}

#[test]
fn specs_read_back_and_the_seed_decides() {
    for spec in
        ["teacher:features=4,width=5,depth=1,classes=3,samples=10,test=7", "linear:outputs=1", "mnist1d"]
    {
        assert_eq!(spec.parse::<Synthetic>().unwrap().to_string(), spec);
    }
    for (spec, part) in [
        ("mnist", "unknown task 'mnist' (did you mean mnist1d?)"),
        ("linear:width=3", "linear takes no width="),
        ("teacher:classes=1", "classes=1 is nothing to tell apart"),
        ("linear:samples=1e30", "samples=1e30 is not a whole number"),
        ("linear:samples=1000000,features=1000000", "its samples have more than 2^30 numbers"),
        ("linear:outputs=1000000000", "its samples have more than 2^30 numbers"),
        ("teacher:classes=1000000,samples=2000", "its samples have more than 2^30 numbers"),
        ("teacher:width=40000,samples=10,test=10", "a matrix of its weights has more than 2^30 numbers"),
        ("teacher:features=100000,width=20000,samples=9,test=9", "a matrix of its weights has more"),
        ("linear:features=100000,outputs=20000,samples=9,test=9", "a matrix of its weights has more"),
        ("teacher:depth=1001", "it has more than 1000 hidden layers"),
        ("mnist1d:samples=20000000", "its samples have more than 2^30 numbers"),
    ] {
        let error = spec.parse::<Synthetic>().unwrap_err().to_string();
        assert!(error.contains(part), "{spec}: {error}");
    }
    let task: Synthetic = "mnist1d:samples=20,test=10".parse().unwrap();
    let rows = |seed| all(&task.draw(seed, DType::F32, &Device::Cpu).unwrap().training).0;
    assert_eq!(rows(1), rows(1));
    assert_ne!(rows(1), rows(2));
}
