use candle_core::Error as CandleError;

use super::*;

fn config(optimizer: &str) -> Config {
    Config { batch: 16, optimizer: optimizer.parse().unwrap(), ..Config::default() }
}

fn gradients(net: &Net, step: &Step) -> Result<(Tensor, candle_core::backprop::GradStore)> {
    let loss = net.loss(step)?;
    let store = loss.backward()?;
    Ok((loss, store))
}

/// The variables have their bits again, whether the test goes to its last rate, ends at its limit, or fails.
#[test]
fn a_test_of_rates_leaves_no_trace() {
    for optimizer in ["adamw", "sgd", "schedule_free", "muon"] {
        let (net, data) = (Net::new(DType::F32), points());
        let before = net.bits();
        let found = RateTest::default()
            .run(&net.map, &config(optimizer), &data, |step| gradients(&net, step))
            .unwrap();
        assert_eq!(net.bits(), before, "{optimizer}");
        let steepest = found.steepest.unwrap();
        assert!(steepest < found.limit.unwrap_or(10.0) && steepest > 1e-4, "{optimizer}: {found:?}");
        assert!(found.losses.windows(2).all(|pair| pair[0].0 < pair[1].0));
        // The twin: a step of training does change them.
        let config = Config { length: Length::Steps(1), ..config(optimizer) };
        Trainer::new(&net.map, config).unwrap().fit(&data, |step| net.loss(step)).unwrap();
        assert_ne!(net.bits(), before, "{optimizer}");
    }
    let (net, data) = (Net::new(DType::F32), points());
    let before = net.bits();
    let failed = RateTest::default().run(&net.map, &config("sgd"), &data, |step| match step.number() {
        50 => Err(CandleError::Msg("no more".to_owned())),
        _ => gradients(&net, step),
    });
    assert!(failed.unwrap_err().to_string().contains("no more"));
    assert_eq!(net.bits(), before);
}

/// The rate at which the loss falls fastest is within a factor of ten of the best of a grid of factors of √10, for three
/// optimizers; a hundred times it is not.
#[test]
fn the_steepest_rate_is_near_the_best_of_a_grid() {
    for optimizer in ["adamw", "sgd:momentum=0", "sgd"] {
        let data = points();
        let train = |rate: f64| {
            let net = Net::new(DType::F32);
            let config = Config {
                optimizer: config(optimizer).optimizer.with_learning_rate(rate),
                length: Length::Steps(60),
                ..config(optimizer)
            };
            let trained = Trainer::new(&net.map, config).unwrap().fit(&data, |step| net.loss(step));
            trained.map_or(f64::INFINITY, |outcome| outcome.history.last().unwrap().loss)
        };
        let best = (-10..3).map(|power| 10f64.powf(f64::from(power) / 2.0));
        let best = best.min_by(|a, b| train(*a).total_cmp(&train(*b))).unwrap();
        let net = Net::new(DType::F32);
        let found =
            RateTest::default().run(&net.map, &config(optimizer), &data, |step| gradients(&net, step));
        let steepest = found.unwrap().steepest.unwrap();
        assert!((0.1..10.0).contains(&(steepest / best)), "{optimizer}: {steepest}, and {best} is best");
    }
}

#[test]
fn a_range_of_rates_is_checked() {
    let (net, data) = (Net::new(DType::F32), points());
    for (test, part) in [
        (RateTest { low: 0.0, ..RateTest::default() }, "low = 0"),
        (RateTest { high: 1e-7, ..RateTest::default() }, "high = 0.0000001"),
        (RateTest { steps: 9, ..RateTest::default() }, "steps = 9"),
        (RateTest { limit: 1.0, ..RateTest::default() }, "limit = 1"),
    ] {
        let error = test.run(&net.map, &config("sgd"), &data, |step| gradients(&net, step)).unwrap_err();
        assert!(error.to_string().starts_with(part), "{error}");
    }
}
