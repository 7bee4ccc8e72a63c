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
    assert_eq!(loaded, best.validation);
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
