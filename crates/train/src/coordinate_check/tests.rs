use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Module, linear_no_bias};
use wick_init::{InitMap, Initializer, KeyedV1, Rule, presets};
use wick_kernels::Named;

use super::{CoordinateCheck, CoordinateTable, Subject, student};
use crate::Error;

const CPU: Device = Device::Cpu;
const WIDTHS: [usize; 4] = [128, 256, 512, 1024];

fn normal(name: &str, shape: (usize, usize)) -> Tensor {
    Initializer::normal(1.0).tensor(KeyedV1::new(1).key(name), shape, DType::F32, &CPU).unwrap()
}

/// Two hidden layers on 16 samples, with a loss whose gradient does not depend on the outputs: their luck at a width
/// is left out.
fn net(map: InitMap, width: usize) -> std::result::Result<Subject<impl FnMut(u64) -> Result<Tensor>>, Error> {
    let vb = map.var_builder(DType::F32, &CPU);
    let layer = |name, inputs, outputs| linear_no_bias(inputs, outputs, vb.pp(name));
    let layers = [layer("input", 10, width)?, layer("first", width, width)?, layer("second", width, width)?];
    let head = layer("head", width, 1)?;
    let rates = map.learning_rates().unwrap();
    let named = map.named_vars().into_iter().zip(rates);
    let vars = named.map(|((name, var), (_, rate))| Named::new(&name, var).with_rate(rate)).collect();
    let (xs, ys) = (normal("xs", (16, 10)), normal("ys", (16, 1)));
    let loss = move |_| {
        let hidden = layers.iter().try_fold(xs.clone(), |xs, layer| layer.forward(&xs)?.relu())?;
        (head.forward(&hidden)? * &ys)?.mean_all()
    };
    Ok(Subject { vars, loss })
}

fn check(optimizer: &str, steps: u64, rules: impl Fn() -> Vec<Rule>) -> CoordinateTable {
    let check = CoordinateCheck::new(optimizer.parse().unwrap()).with_steps(steps);
    check
        .run(&WIDTHS, &[1, 2, 3, 4, 5], |width, seed| net(InitMap::new(seed).with_rules(rules()), width))
        .unwrap()
}

fn exponents(table: &CoordinateTable) -> Vec<f64> {
    table.layers.iter().map(|layer| layer.change.unwrap().exponent).collect()
}

fn standard() -> Vec<Rule> {
    vec![Rule::draw("**", Initializer::kaiming_normal()).unwrap()]
}

#[test]
fn nothing_depends_on_the_width_in_mup_and_all_but_the_input_does_without() {
    let mup = check("adamw:lr=0.002,weight_decay=0", 4, || presets::mup(128.0).unwrap());
    println!("muP\n{mup}");
    // Five seeds leave ± 0.07 at the head.
    assert!(mup.is_independent(0.1), "{mup}");
    let plain = check("adamw:lr=0.0005,weight_decay=0", 1, standard);
    println!("standard\n{plain}");
    let [input, first, second, head] = exponents(&plain)[..] else { panic!("{plain}") };
    // Adam's first step has the same size for each weight: fan_in of them add up.
    assert!(input.abs() < 0.05, "{plain}");
    assert!([first, second].iter().all(|exponent| (exponent - 1.0).abs() < 0.1), "{plain}");
    // The head's weights, of size 1/√n, meet changes that are aligned with them: n · n / √n.
    assert!((1.2..1.6).contains(&head), "{plain}");
    assert!(!plain.is_independent(0.1));
}

#[test]
fn gradient_descent_changes_hidden_layers_by_the_root_of_the_width() {
    let plain = check("sgd:lr=0.00001,momentum=0", 1, standard);
    println!("{plain}");
    let [input, first, second, head] = exponents(&plain)[..] else { panic!("{plain}") };
    // δ of a hidden layer falls like 1/√n and |x|² grows like n; the output's δ does not fall.
    assert!((input + 0.5).abs() < 0.1, "{plain}");
    assert!([first, second].iter().all(|exponent| (exponent - 0.5).abs() < 0.1), "{plain}");
    assert!((head - 1.0).abs() < 0.1, "{plain}");
}

#[test]
fn settings_and_layers_are_checked() {
    let check = CoordinateCheck::new("adamw".parse().unwrap());
    let run = |widths: &[usize], seeds: &[u64], check: &CoordinateCheck| {
        let map = |seed| InitMap::new(seed).with_rules(standard());
        check.run(widths, seeds, |width, seed| net(map(seed), width)).map(|_| ())
    };
    assert!(run(&[8, 16], &[1], &check).is_ok());
    for (widths, seeds) in [(&[8usize][..], &[1u64][..]), (&[16, 8], &[1]), (&[8, 8], &[1]), (&[8, 16], &[])]
    {
        assert!(matches!(run(widths, seeds, &check), Err(Error::Settings(_))), "{widths:?} {seeds:?}");
    }
    assert!(matches!(run(&[8, 16], &[1], &check.clone().with_steps(0)), Err(Error::Settings(_))));
    let wild = CoordinateCheck::new("sgd:lr=1e30".parse().unwrap());
    let error = run(&[8, 16], &[1], &wild).unwrap_err().to_string();
    assert!(error.contains("not finite: lower the learning rate"), "{error}");
}

#[test]
fn students_quantiles() {
    use statrs::distribution::{ContinuousCDF, StudentsT};
    for degrees in 1..200 {
        let exact = StudentsT::new(0.0, 1.0, degrees as f64).unwrap().inverse_cdf(0.975);
        assert!((student(degrees) / exact - 1.0).abs() < 0.005, "{degrees}: {} {exact}", student(degrees));
    }
}
