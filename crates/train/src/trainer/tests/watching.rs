//! Validation, early stopping, the best weights, groups and buffers.

use candle_nn::ModuleT;

use super::*;

/// The best weights are those of the best validation, which is not the last one: after it, the learning rate
/// is so large that the net becomes too sure of itself for the wrong labels of the validation.
#[test]
fn the_best_weights_are_kept() {
    let (net, data) = (Net::new(DType::F32), points());
    let wrong: Vec<u32> = (0..70).map(|n| if n < 7 { (n + 1) % 3 } else { n % 3 }).collect();
    let wrong = Classes::new(&Tensor::new(wrong, &Device::Cpu).unwrap()).unwrap();
    let validation = InMemory::new(data.input()).unwrap().with_targets(Targets::Classes(wrong)).unwrap();
    let schedule = crate::Schedule::from_fn("jump", |step| if step < 10 { 10.0 } else { 1000.0 });
    let config = Config { schedule, ..config(10) };
    let stopping = EarlyStopping { patience: 4, ..EarlyStopping::default() };
    let mut trainer = Trainer::new(&net.map, config).unwrap().with_validation(
        &validation,
        Metrics::Classification,
        Some(2),
        stopping,
        |batch| net.outputs(&batch.input),
    );
    let outcome = trainer.fit(&data, |step| net.loss(step)).unwrap();
    let best = outcome.best.unwrap();
    assert_eq!((outcome.ended, best.step, outcome.steps), (Ended::EarlyStopping, 6, 14));
    assert!(best.validation.loss < outcome.validation.unwrap().loss);
    let last = evaluate(&validation, Metrics::Classification, |batch| net.outputs(&batch.input)).unwrap();
    assert!(last.loss > best.validation.loss);
    trainer.load_best().unwrap();
    let loaded = evaluate(&validation, Metrics::Classification, |batch| net.outputs(&batch.input)).unwrap();
    // Batches of another size round otherwise.
    assert!((loaded.loss - best.validation.loss).abs() < 1e-6 && loaded.scores == best.validation.scores);
}

/// A frozen variable keeps its bits; one with twice the rate moves twice as far in a step of gradient descent.
#[test]
fn groups_have_rates_of_their_own() {
    let moved = |group: Option<Group>| {
        let net = Net::new(DType::F64);
        let before = net.map.vars()[0].to_vec1::<f64>().unwrap();
        let optimizer = "sgd:lr=0.5,momentum=0".parse().unwrap();
        let config = Config { length: Length::Steps(1), optimizer, ..config(1) };
        let mut trainer = Trainer::new(&net.map, config).unwrap();
        if let Some(group) = group {
            trainer = trainer.with_group(group);
        }
        let data = points().with_type(DType::F64, &Device::Cpu).unwrap();
        let loss = |step: &Step| -> Result<Tensor> {
            candle_nn::loss::cross_entropy(&net.outputs(step.input())?, step.targets()?)
        };
        trainer.fit(&data, loss).unwrap();
        let after = net.map.vars()[0].to_vec1::<f64>().unwrap();
        before.iter().zip(after).map(|(a, b)| b - a).collect::<Vec<_>>()
    };
    let (once, twice) = (moved(None), moved(Some(Group::new("body.bias").unwrap().with_rate(2.0))));
    assert!(once.iter().zip(&twice).all(|(a, b)| (2.0 * a - b).abs() < 1e-15 && *a != 0.0));
    assert_eq!(moved(Some(Group::new("body.**").unwrap().frozen())), [0.0; 16]);
}

/// The statistics of candle's batch norm are neither variables without a gradient nor changed by the trial of the
/// first step: they are those of as many forward passes as there are steps.
#[test]
fn batch_norm_trains() {
    let net = Net::new(DType::F32);
    let vb = net.map.var_builder(DType::F32, &Device::Cpu);
    let norm = candle_nn::batch_norm(4, candle_nn::BatchNormConfig::default(), vb.pp("norm")).unwrap();
    let config = Config { length: Length::Steps(3), shuffle: false, batch: 70, ..config(1) };
    let data = points();
    let outcome = Trainer::new(&net.map, config).unwrap().fit(&data, |step| {
        candle_nn::loss::cross_entropy(&net.outputs(&norm.forward_t(step.input(), true)?)?, step.targets()?)
    });
    assert_eq!(outcome.unwrap().notices, Vec::<String>::new());
    let mean = data.input().mean(0).unwrap().to_vec1::<f32>().unwrap();
    let running = norm.running_mean().to_vec1::<f32>().unwrap();
    let part = 1.0 - 0.9f32.powi(3);
    assert!(mean.iter().zip(running).all(|(mean, running)| (mean * part - running).abs() < 1e-6));
}

/// What is validated and kept are the averaged weights: of EMA, by hand, and the variables have them at the end.
#[test]
fn averaged_weights_are_validated_and_kept() {
    let (net, data) = (Net::new(DType::F64), points().with_type(DType::F64, &Device::Cpu).unwrap());
    let loss = |step: &Step| -> Result<Tensor> {
        candle_nn::loss::cross_entropy(&net.outputs(step.input())?, step.targets()?)
    };
    let mut averages: Vec<Vec<f64>> = Vec::new();
    let numbers = || -> Vec<f64> {
        net.map.vars().iter().flat_map(|var| var.flatten_all().unwrap().to_vec1::<f64>().unwrap()).collect()
    };
    averages.push(numbers());
    let config = Config { ema: Some(0.75), length: Length::Steps(3), ..config(1) };
    let outputs = |batch: &Batch| net.outputs(&batch.input);
    let mut trainer = Trainer::new(&net.map, config).unwrap().with_validation(
        &data,
        Metrics::Classification,
        Some(1),
        EarlyStopping::default(),
        outputs,
    );
    let outcome = trainer
        .fit(&data, |step| {
            // Before each step, the variables have the weights of training.
            if step.number() > 0 {
                let last = averages[averages.len() - 1].clone();
                averages.push(last.iter().zip(numbers()).map(|(a, w)| 0.75 * a + 0.25 * w).collect());
            }
            loss(step)
        })
        .unwrap();
    // The trial of the first step is no step; the last average needs the last weights, of which it is one quarter.
    let shown = numbers();
    let last = &averages[averages.len() - 1];
    assert_eq!(averages.len(), 3);
    assert!(shown.iter().zip(last).any(|(a, b)| a != b));
    // AdamW moves by about 0.01 a step, and the average lags behind by three of them at most.
    assert!(shown.iter().zip(last).all(|(a, b)| (a - b).abs() < 0.25 * 0.04));
    let evaluated = evaluate(&data, Metrics::Classification, outputs).unwrap();
    let validation = outcome.validation.unwrap();
    assert!((evaluated.loss - validation.loss).abs() < 1e-12 && evaluated.scores == validation.scores);
}

/// The rates of muP multiply the steps: in gradient descent, a variable with the rate 3 moves three times as far.
#[test]
fn rates_multiply_the_learning_rate() {
    let moved = |rate: f64| {
        let net = Net::new(DType::F64);
        let var = net.map.vars()[2].clone();
        let before = var.to_vec1::<f64>().unwrap();
        let optimizer = "sgd:lr=0.5,momentum=0".parse().unwrap();
        let config = Config { length: Length::Steps(1), optimizer, ..config(1) };
        let data = points().with_type(DType::F64, &Device::Cpu).unwrap();
        let mut trainer = Trainer::new(&net.map, config).unwrap().with_rates(vec![(var.clone(), rate)]);
        trainer
            .fit(&data, |step| candle_nn::loss::cross_entropy(&net.outputs(step.input())?, step.targets()?))
            .unwrap();
        before.iter().zip(var.to_vec1::<f64>().unwrap()).map(|(a, b)| b - a).collect::<Vec<_>>()
    };
    assert!(moved(1.0).iter().zip(moved(3.0)).all(|(a, b)| (3.0 * a - b).abs() < 1e-15 && *a != 0.0));
}

/// A step with fewer samples than blocks is recorded, too.
#[test]
fn small_steps_are_recorded() {
    let (net, data) = (Net::new(DType::F32), points());
    let few = crate::data::Subset::new(&data, (0..19).collect()).unwrap();
    let config = Config { leaves: 8, length: Length::Steps(2), ..config(1) };
    let replay = Trainer::new(&net.map, config).unwrap().replay(&few, 1, |step| net.loss(step)).unwrap();
    assert_eq!((replay.samples.len(), replay.layers.len()), (3, 2));
}
