//! What is refused, and by what words.

use std::cell::Cell;

use super::*;

fn fit(trainer: &mut Trainer, net: &Net) -> std::result::Result<Outcome, Error> {
    trainer.fit(&points(), |step| net.loss(step))
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    let net = Net::new(DType::F32);
    let refused = |config: Config| match Trainer::new(&net.map, config) {
        Ok(mut trainer) => fit(&mut trainer, &net).unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    for (config, text) in [
        (Config { batch: 0, ..config(1) }, "a batch of 0 samples cannot be trained on: use 1 or more"),
        (Config { batch: 71, ..config(1) }, "a batch of 71 is not between 1 and the 70 samples"),
        (Config { leaves: 3, ..config(1) }, "leaves = 3 is no power of two: use 1, 2, 4, 8, …"),
        (
            Config { length: Length::Epochs(0), ..config(1) },
            "a run of length 0 trains nothing: use 1 epoch or step, or more",
        ),
    ] {
        assert_eq!(refused(config), text);
    }
    let too_many = refused(Config { leaves: 1 << 40, ..config(1) });
    assert_eq!(too_many, "1099511627776 leaves are more than a batch of 16 has samples: use 16 at most");
    let twice = Config { ema: Some(0.5), optimizer: "schedule_free".parse().unwrap(), ..config(1) };
    assert!(refused(twice).contains("averages the weights itself"));
    assert!(
        refused(Config { leaves: 2, micro_batches: 4, ..config(1) }).contains("do not divide the 2 leaves")
    );
    let optimizer =
        crate::OptimizerSpec::AdamW(candle_nn::ParamsAdamW { lr: f64::NAN, ..Default::default() });
    assert!(refused(Config { optimizer, ..config(1) }).contains("learning rate"));
    let nothing: Vec<(String, Var)> = Vec::new();
    assert!(Trainer::new(&nothing, config(1)).is_err());
}

/// A variable that the loss does not depend on is named, unless it is frozen or that is allowed.
#[test]
fn variables_without_a_gradient_are_named() {
    let net = Net::new(DType::F32);
    net.map.var_builder(DType::F32, &Device::Cpu).get(3, "unused.bias").unwrap();
    let error = fit(&mut Trainer::new(&net.map, config(1)).unwrap(), &net).unwrap_err();
    assert!(
        error.to_string().starts_with("no gradient reaches `unused.bias`: the loss does not depend on it"),
        "{error}"
    );
    let mut trainer = Trainer::new(&net.map, config(1)).unwrap().with_missing_gradients();
    let outcome = fit(&mut trainer, &net).unwrap();
    assert_eq!(outcome.notices, ["no gradient reaches unused.bias: they stay as they are"]);
    let mut trainer =
        Trainer::new(&net.map, config(1)).unwrap().with_group(Group::new("unused.**").unwrap().frozen());
    assert_eq!(fit(&mut trainer, &net).unwrap().notices, Vec::<String>::new());
}

/// A step with candle's Dropout, which draws from the thread's generator, differs from itself.
#[test]
fn a_step_that_differs_from_itself_is_noted() {
    let net = Net::new(DType::F32);
    let outcome = Trainer::new(&net.map, config(1)).unwrap().fit(&points(), |step| {
        let dropped = candle_nn::ops::dropout(step.input(), 0.5)?;
        candle_nn::loss::cross_entropy(&net.outputs(&dropped)?, step.targets()?)
    });
    let notices = outcome.unwrap().notices;
    assert!(notices.len() == 1 && notices[0].contains("gave different bits"), "{notices:?}");
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = |config: Config, net: &Net, data: &InMemory, identity: &str| {
        let mut trainer = Trainer::new(&net.map, config)
            .unwrap()
            .with_run(RunFolder::open(folder.path()).unwrap(), 100)
            .with_identity("start", identity);
        trainer.fit(data, |step| net.loss(step)).map_err(|error| error.to_string())
    };
    let net = Net::new(DType::F32);
    run(config(1), &net, &points(), "xavier").unwrap();
    let refused =
        |config, net: &Net, data: &InMemory, identity| run(config, net, data, identity).unwrap_err();
    for (config, difference) in [
        (Config { seed: 1, ..config(1) }, "it has seed = 42, and this run 1"),
        (Config { batch: 8, ..config(1) }, "it has batch = 16, and this run 8"),
        (Config { ema: Some(0.5), ..config(1) }, "it has ema = none, and this run 0.5"),
        (config(2), "it has length = 1 epochs, and this run 2 epochs"),
    ] {
        let error = refused(config, &net, &points(), "xavier");
        assert!(error.contains("is of another run") && error.ends_with(difference), "{error}");
    }
    assert!(refused(config(1), &net, &points(), "he").ends_with("it has start = xavier, and this run he"));
    assert!(
        refused(config(1), &Net::new(DType::F64), &points(), "xavier")
            .contains("`body.bias` is (F32, [16]) there")
    );
    let other = InMemory::new(&Tensor::zeros((70, 4), DType::F32, &Device::Cpu).unwrap()).unwrap();
    let other = other.with_targets(points().targets().unwrap().clone()).unwrap();
    assert!(refused(config(1), &net, &other, "xavier").contains("it has data = 70 samples"));
}

/// Groups and rates are the run's too, and so is each variable.
#[test]
fn a_checkpoint_with_other_variables_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let group = |pattern: &str| Group::new(pattern).unwrap();
    let run = |net: &Net, groups: &[Group], rates: Vec<(Var, f64)>| {
        let trainer = Trainer::new(&net.map, config(1)).unwrap().with_missing_gradients().with_rates(rates);
        let trainer = groups.iter().cloned().fold(trainer, Trainer::with_group);
        let mut trainer = trainer.with_run(RunFolder::open(folder.path()).unwrap(), 100);
        trainer.fit(&points(), |step| net.loss(step)).map_err(|error| error.to_string())
    };
    let (net, larger) = (Net::new(DType::F32), Net::new(DType::F32));
    larger.map.var_builder(DType::F32, &Device::Cpu).get(3, "third.bias").unwrap();
    let groups = [group("body.bias").frozen(), group("head.*").with_decay(0.0).with_rate(2.0)];
    run(&larger, &groups, Vec::new()).unwrap();
    for (net, groups, rates, difference) in [
        (
            &larger,
            &groups[..1],
            Vec::new(),
            "it has variable head.bias = rate 2, decay 0, and this run nothing",
        ),
        (&larger, &groups[1..], Vec::new(), "it has variable body.bias = frozen, and this run nothing"),
        (
            &larger,
            &groups[..],
            vec![(larger.map.vars()[1].clone(), 0.5)],
            "it has variable body.weight = nothing, and this run rate 0.5",
        ),
        (&net, &groups[..], Vec::new(), "it has `third.bias`, and this model does not"),
    ] {
        let error = run(net, groups, rates).unwrap_err();
        assert!(error.contains("is of another run") && error.ends_with(difference), "{error}");
    }
    assert_eq!(run(&larger, &groups, Vec::new()).unwrap().steps_here, 0);
}

/// The first bad tensor and sample of a loss that is not finite: in the data, in a layer with a tap, and by samples.
#[test]
fn a_loss_that_is_not_finite_is_explained() {
    let net = Net::new(DType::F32);
    let rows = points().input().to_vec2::<f32>().unwrap();
    let data = |change: &dyn Fn(&mut Vec<Vec<f32>>)| {
        let mut rows = rows.clone();
        change(&mut rows);
        let data = InMemory::new(&Tensor::new(rows, &Device::Cpu).unwrap()).unwrap();
        data.with_targets(points().targets().unwrap().clone()).unwrap()
    };
    let explained = |data: &dyn Dataset, loss: &dyn Fn(&Step) -> Result<Tensor>| {
        let error = Trainer::new(&net.map, config(1)).unwrap().fit(data, |step| loss(step)).unwrap_err();
        error.to_string()
    };
    let bad = data(&|rows| rows[33][2] = f32::NAN);
    let text = explained(&bad, &|step| net.loss(step));
    assert!(text.contains("the loss is NaN: sample 33 has NaN as number 2 of its features"), "{text}");

    // Of a part of the data, the sample has its number in the whole.
    let part = crate::data::Subset::new(bad, (20..70).collect()).unwrap();
    let text = explained(&part, &|step| net.loss(step));
    assert!(text.contains("sample 33 has NaN"), "{text}");

    // The logarithm of the one sample with a negative first number, at a layer with a tap and at one without.
    let once = data(&|rows| {
        rows.iter_mut().enumerate().for_each(|(n, row)| row[0] = if n == 41 { -1.0 } else { 2.0 });
    });
    let of = |step: &Step, tapped: bool| -> Result<Tensor> {
        let logs = step.input().narrow(1, 0, 1)?.log()?;
        let logs = if tapped { step.tap("logarithm", &logs)? } else { logs };
        net.loss(step)? + logs.mean_all()?
    };
    let text = explained(&once, &|step| of(step, true));
    assert!(text.contains("the value at logarithm is the first with NaN, in sample 41"), "{text}");
    let text = explained(&once, &|step| of(step, false));
    assert!(text.contains("it is NaN for sample 41 alone"), "{text}");

    // Weights that are infinite before the step.
    let first = Cell::new(true);
    let text = explained(&points(), &|step| {
        if step.number() == 3 && first.replace(false) {
            net.map.vars()[2].set(&Tensor::new(&[f32::INFINITY; 3], &Device::Cpu)?)?;
        }
        net.loss(step)
    });
    assert!(text.starts_with("step 3: the loss is NaN: `head.bias` has inf as its number 0"), "{text}");
}

/// Blocks have no statistics of the batch: the first buffer is named.
#[test]
fn statistics_of_the_batch_are_refused_with_blocks() {
    let net = Net::new(DType::F32);
    let vb = net.map.var_builder(DType::F32, &Device::Cpu);
    candle_nn::batch_norm(16, candle_nn::BatchNormConfig::default(), vb.pp("norm")).unwrap();
    let config = Config { leaves: 2, ..config(1) };
    let error = fit(&mut Trainer::new(&net.map, config).unwrap(), &net).unwrap_err().to_string();
    assert!(error.starts_with("`norm.running_mean` is a statistic of the batch"), "{error}");
}

/// Groups and rates of no variable, and a name of the trainer's own, are mistakes.
#[test]
fn what_has_no_effect_is_refused() {
    let net = Net::new(DType::F32);
    let trainer = || Trainer::new(&net.map, config(1)).unwrap();
    let error = |trainer: &mut Trainer| fit(trainer, &net).unwrap_err().to_string();
    let group = Group::new("bodi.**").unwrap().frozen();
    assert_eq!(
        error(&mut trainer().with_group(group)),
        "no variable matches the group `bodi.**`: look at its pattern"
    );
    let other = Var::zeros(1, DType::F32, &Device::Cpu).unwrap();
    assert!(
        error(&mut trainer().with_rates(vec![(other, 2.0)]))
            .contains("a variable that the trainer does not have")
    );
    let named = error(&mut trainer().with_identity("seed", "7"));
    assert!(named.contains("is a name that the trainer uses itself"), "{named}");
}

/// A run goes on with the very data: one label of all makes others, also behind the first samples.
#[test]
fn one_other_label_makes_other_data() {
    let labels = |change: usize| {
        let labels: Vec<u32> =
            (0..70).map(|n| if n == change { (n as u32 + 1) % 3 } else { n as u32 % 3 }).collect();
        let classes = Classes::new(&Tensor::new(labels, &Device::Cpu).unwrap()).unwrap();
        InMemory::new(points().input()).unwrap().with_targets(Targets::Classes(classes)).unwrap()
    };
    let hashes: Vec<_> = [70, 70, 69, 33].map(|change| labels(change).fingerprint().unwrap()).into();
    assert_eq!(hashes[0], hashes[1]);
    assert!(hashes[0] != hashes[2] && hashes[0] != hashes[3] && hashes[2] != hashes[3]);
    let part =
        |to: usize| crate::data::Subset::new(points(), (0..to).collect()).unwrap().fingerprint().unwrap();
    assert!(part(60) != part(61) && part(60).is_some());
}
