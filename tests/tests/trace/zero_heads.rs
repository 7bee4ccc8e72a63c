//! Heads that start at 0: a note, as their zeros are meant, and a fault where they stay or stand before another layer.

use candle_core::{DType, Result, Tensor};
use candle_nn::{Conv2dConfig, Module, VarBuilder};
use candle_transformers::models::resnet;
use wick_init::{InitMap, Initializer, Rule};
use wick_probe::{BatchGeometry, Fault, LayerReport, Probe, Trace, Verdict, judge, notes};
use wick_tests::{CPU, normal};

/// candle reads the variable once for each thread: the nets are looked at in a process of its own, with the gradients
/// that candle keeps and with those that are found without them.
#[test]
fn a_head_of_zeros_is_a_note() {
    for value in ["1", "0"] {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "zero_heads::in_a_process_of_its_own", "--ignored", "--nocapture"])
            .env("CANDLE_GRAD_DO_NOT_DETACH", value)
            .output()
            .unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "CANDLE_GRAD_DO_NOT_DETACH={value}: {text}");
    }
}

/// What is wrong with a net beside its head of zeros.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Twin {
    Healthy,
    /// The weights of the layer before the last but one are 0 too.
    ZeroBefore,
    /// The graph is cut before the layer before the head.
    Cut,
    /// The head is still 0 after a step.
    Stays,
}

const SAMPLES: usize = 50;

/// A convolutional net or a perceptron: its layers, and the verdicts and notes on the last of its looks.
fn look(with_convolutions: bool, with_biases: bool, twin: Twin) -> Result<(Vec<LayerReport>, Vec<Verdict>)> {
    let map = InitMap::new(3).with_default_init(Initializer::kaiming_normal()).with_rules([
        Rule::draw("out.weight", Initializer::zeros()).unwrap(),
        Rule::draw("**.bias", Initializer::normal(if with_biases { 0.1 } else { 0.0 })).unwrap(),
    ]);
    let vb = map.var_builder(DType::F32, &CPU);
    let images = normal(1, "images", (SAMPLES, 64), DType::F32);
    let targets = Tensor::from_vec((0..SAMPLES as u32).map(|i| i % 10).collect(), SAMPLES, &CPU)?;
    let body: Box<dyn Fn() -> Result<Tensor>> = if with_convolutions {
        let images = images.reshape((SAMPLES, 1, 8, 8))?;
        let layer = |i: usize, o: usize, vb: VarBuilder<'static>| {
            candle_nn::conv2d(i, o, 3, Conv2dConfig { padding: 1, ..Default::default() }, vb)
        };
        let (first, second) = (layer(1, 12, vb.pp("first"))?, layer(12, 24, vb.pp("second"))?);
        Box::new(move || {
            let h = first.forward(&images)?.relu()?.max_pool2d(2)?;
            second.forward(&h)?.relu()?.flatten_from(1)
        })
    } else {
        let (first, second) =
            (candle_nn::linear(64, 256, vb.pp("first"))?, candle_nn::linear(256, 384, vb.pp("second"))?);
        let images = images.clone();
        Box::new(move || second.forward(&first.forward(&images)?.relu()?)?.relu())
    };
    let (fc, out) = (candle_nn::linear(384, 128, vb.pp("fc"))?, candle_nn::linear(128, 10, vb.pp("out"))?);
    let vars = map.named_vars();
    if twin == Twin::ZeroBefore {
        let zero = |(_, var): &(String, candle_core::Var)| var.set(&var.zeros_like()?);
        vars.iter().filter(|(name, _)| name.starts_with("second")).try_for_each(zero)?;
    }
    let probe = Probe::new().with_units();
    let looks = if twin == Twin::Stays { 2 } else { 1 };
    for look in 0..looks {
        let mut trace = Trace::run(&vars, || {
            let h = body()?;
            let h = if twin == Twin::Cut { h.detach() } else { h };
            candle_nn::loss::cross_entropy(&out.forward(&fc.forward(&h)?.relu()?)?, &targets)
        })?;
        trace.add_gradients(&trace.loss().backward()?, &[&images, &images.reshape((SAMPLES, 1, 8, 8))?])?;
        assert_eq!(trace.layers().last().map(|layer| layer.output.dims().to_vec()), Some(vec![SAMPLES, 10]));
        trace.record(&probe)?;
        if look + 1 < looks {
            probe.next_step();
        }
        if twin == Twin::Cut {
            let cut = trace.reach().verdict();
            return Ok((probe.layer_reports(), cut.into_iter().collect()));
        }
    }
    let reports = probe.layer_reports();
    let verdicts = judge(&reports, &BatchGeometry::normal(SAMPLES, 64, 1.0));
    Ok((reports, verdicts))
}

#[test]
#[ignore = "run by the test above"]
fn in_a_process_of_its_own() -> Result<()> {
    for with_convolutions in [true, false] {
        for with_biases in [false, true] {
            let what = format!("convolutions {with_convolutions}, biases {with_biases}");
            let (reports, verdicts) = look(with_convolutions, with_biases, Twin::Healthy)?;
            assert_eq!(verdicts, [], "{what}");
            let said = notes(&reports, &BatchGeometry::normal(SAMPLES, 64, 1.0));
            let outputs = if with_biases { "the same for every sample" } else { "0" };
            let expected =
                format!("out: all outputs are {outputs} at the start: its weights must move first");
            assert!(said.contains(&expected), "{what}: {said:?}");

            let (_, verdicts) = look(with_convolutions, with_biases, Twin::ZeroBefore)?;
            assert!(verdicts.iter().any(|verdict| verdict.layer == "second"), "{what}: {verdicts:?}");
            let (_, verdicts) = look(with_convolutions, with_biases, Twin::Cut)?;
            let is_cut = |verdict: &Verdict| verdict.fault == Fault::VanishingGradient;
            assert!(verdicts.iter().any(is_cut), "{what}: {verdicts:?}");
            let (_, verdicts) = look(with_convolutions, with_biases, Twin::Stays)?;
            let is_head = |verdict: &Verdict| {
                matches!(verdict.fault, Fault::DiesOut | Fault::DeadUnits | Fault::RankCollapse)
                    && verdict.layer == "out"
            };
            assert!(verdicts.iter().any(is_head), "{what}: {verdicts:?}");
        }
    }
    Ok(())
}

/// candle-transformers' ResNet-18 with a head of zeros, and biases that are 0 or not, has the layers and the verdicts
/// that it has with a head that is drawn. (It has no backward pass.)
#[test]
fn a_resnet_with_a_head_of_zeros() -> Result<()> {
    let looked = |head: Initializer, biases: f64| -> Result<Vec<Verdict>> {
        let map = InitMap::new(3).with_default_init(Initializer::kaiming_normal()).with_rules([
            Rule::draw("fc.weight", head).unwrap(),
            Rule::draw("fc.bias", Initializer::normal(biases)).unwrap(),
        ]);
        let model = resnet::resnet18(10, map.var_builder(DType::F32, &CPU))?;
        let images = normal(1, "images", (8, 3 * 32 * 32), DType::F32).reshape((8, 3, 32, 32))?;
        let targets = Tensor::from_vec((0..8u32).collect(), 8, &CPU)?;
        let trace = Trace::run(&map.named_vars(), || {
            candle_nn::loss::cross_entropy(&model.forward(&images)?, &targets)
        })?;
        let last = &trace.layers()[40];
        assert_eq!((trace.layers().len(), last.name.as_str(), last.output.dims()), (41, "fc", &[8, 10][..]));
        Ok(judge(&trace.layer_reports()?, &BatchGeometry::normal(8, 3 * 32 * 32, 1.0)))
    };
    let drawn = looked(Initializer::xavier_normal(), 0.0)?;
    for biases in [0.0, 0.1] {
        assert_eq!(looked(Initializer::zeros(), biases)?, drawn, "biases of {biases}");
    }
    Ok(())
}
