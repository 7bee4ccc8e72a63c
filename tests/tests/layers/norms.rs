//! Norms, softmax, dropout and losses: gradients against difference quotients, values and gradients against PyTorch's
//! (`assets/reference/norms.py` made them and says what they are), and the faults of candle's that they have not.

mod faults;
mod state;

use std::collections::HashMap;

use candle_core::{DType, Module, ModuleT, Result, Tensor, Var};
use wick_kernels::{BatchStatistics, batch_norm, batch_norm_with};
use wick_layers::loss::CrossEntropy;
use wick_layers::{BatchNorm, GroupNorm, LayerNorm, RmsNorm, ops};
use wick_tests::{CPU, choose, choose_index, gradient_errors, largest, normal, numbers, uniform};

/// An op, and the shapes of its inputs.
type Case = (String, Box<dyn Fn(&[Tensor]) -> Result<Tensor>>, Vec<Vec<usize>>);

fn case(
    name: impl Into<String>,
    op: impl Fn(&[Tensor]) -> Result<Tensor> + 'static,
    shapes: &[&[usize]],
) -> Case {
    (name.into(), Box::new(op), shapes.iter().map(|shape| shape.to_vec()).collect())
}

/// The worst error of a case with inputs from N(0, 1).
fn error_of((name, op, shapes): &Case, seed: u64) -> f64 {
    let input = |(which, shape): (usize, &Vec<usize>)| {
        normal(seed, &format!("{name}/{which}"), shape.clone(), DType::F64)
    };
    let inputs: Vec<Tensor> = shapes.iter().enumerate().map(input).collect();
    gradient_errors(op, &inputs).into_iter().fold(0.0, f64::max)
}

/// A shape with `last` as its last dimension.
fn shape_before(seed: u64, last: usize) -> Vec<usize> {
    let rank = choose_index(seed, "rank", 3);
    let mut shape: Vec<usize> =
        (0..rank).map(|dim| 1 + choose_index(seed, &format!("dim/{dim}"), 4)).collect();
    shape.push(last);
    shape
}

/// A random setting of one of the ops, fixed by its number.
fn random_case(seed: u64) -> Case {
    let width = choose(seed, "width", &[1, 2, 3, 7, 31, 32, 33, 40]);
    let rows = shape_before(seed, width);
    let eps = choose(seed, "eps", &[1e-2, 1e-1, 1.0]);
    let groups = 1 + choose_index(seed, "groups", 3);
    let channels = groups * (1 + choose_index(seed, "per group", 3));
    let mut image = vec![2 + choose_index(seed, "batch", 3), channels];
    image.extend(shape_before(seed, 1 + choose_index(seed, "n", 9)));
    let turned = uniform(seed, "turned") < 0.5;
    // Reversed dimensions: an input whose elements are not next to each other.
    let turn = move |x: &Tensor| -> Result<Tensor> {
        let reversed: Vec<usize> = (0..x.rank()).rev().collect();
        if turned { x.permute(reversed) } else { Ok(x.clone()) }
    };
    let given = |shape: &[usize]| -> Vec<usize> {
        if turned { shape.iter().rev().copied().collect() } else { shape.to_vec() }
    };
    let (rows, image) = (given(&rows), given(&image));
    let probability = 0.1 + 0.8 * uniform(seed, "p");
    match choose_index(seed, "op", 9) {
        0 => case(
            "layer norm",
            move |x| LayerNorm::new(x[1].clone(), x[2].clone(), eps).forward(&turn(&x[0])?),
            &[&rows, &[width], &[width]],
        ),
        1 => case(
            "layer norm without a bias",
            move |x| LayerNorm::new_no_bias(x[1].clone(), eps).forward(&turn(&x[0])?),
            &[&rows, &[width]],
        ),
        2 => case(
            "RMS norm",
            move |x| RmsNorm::new(x[1].clone(), eps).forward(&turn(&x[0])?),
            &[&rows, &[width]],
        ),
        3 => case("softmax", move |x| ops::softmax_last_dim(&turn(&x[0])?), &[&rows]),
        4 => case("log softmax", move |x| ops::log_softmax(&turn(&x[0])?, 0), &[&rows]),
        5 => case(
            "group norm",
            move |x| {
                GroupNorm::new(x[1].clone(), x[2].clone(), channels, groups, eps)?.forward(&turn(&x[0])?)
            },
            &[&image, &[channels], &[channels]],
        ),
        6 => case(
            "batch norm",
            move |x| Ok(batch_norm(&turn(&x[0])?, Some((&x[1], &x[2])), eps)?.0),
            &[&image, &[channels], &[channels]],
        ),
        7 => case(
            "batch norm with statistics",
            move |x| {
                let mean = normal(seed, "mean", channels, DType::F64);
                let variance = (normal(seed, "variance", channels, DType::F64).sqr()? + 0.1)?;
                let statistics = BatchStatistics { mean, variance };
                batch_norm_with(&turn(&x[0])?, &statistics, Some((&x[1], &x[2])), eps)
            },
            &[&image, &[channels], &[channels]],
        ),
        _ => case(
            "dropout",
            move |x| wick_kernels::dropout(&turn(&x[0])?, probability, seed.into(), seed),
            &[&rows],
        ),
    }
}

/// 400 random settings of the nine ops.
#[test]
fn gradients_are_the_difference_quotients_of_random_settings() {
    let mut worst = (0.0, String::new());
    let mut met = HashMap::new();
    for seed in 0..400 {
        let case = random_case(seed);
        let error = error_of(&case, seed);
        // A row of one number is its mean: its gradient is 0, and the quotient is what rounding leaves.
        *met.entry(case.0.clone()).or_insert(0) += 1;
        if error > worst.0 && !is_constant(&case) {
            worst = (error, format!("{} {:?}, seed {seed}", case.0, case.2));
        }
    }
    println!("worst of {met:?}: {worst:?}");
    assert!(worst.0 <= 1e-7, "{worst:?}");
    assert!(met.len() == 9 && met.values().all(|count| *count >= 20), "{met:?}");
}

/// Whether a norm or softmax divides each number by itself, so that the gradient of the input is 0.
fn is_constant((name, _, shapes): &Case) -> bool {
    let input = &shapes[0];
    let first = input.first().copied().unwrap_or(1);
    let last = input.last().copied().unwrap_or(1);
    match name.as_str() {
        "dropout" | "batch norm with statistics" | "RMS norm" => false,
        "group norm" => input.iter().product::<usize>() <= input[0] * input[input.len() - 1] * shapes[1][0],
        _ => first == 1 || last == 1,
    }
}

/// 120 random settings of the losses.
#[test]
fn gradients_of_losses_are_their_difference_quotients() {
    for seed in 0..120 {
        let (batch, width) = (1 + choose_index(seed, "batch", 6), 2 + choose_index(seed, "classes", 40));
        let classes: Vec<i64> = (0..batch)
            .map(|row| match choose_index(seed, &format!("class/{row}"), width + 1) {
                // The first sample has a class.
                class if class == width => {
                    if row == 0 {
                        0
                    } else {
                        -100
                    }
                }
                class => class as i64,
            })
            .collect();
        let classes = Tensor::new(classes, &CPU).unwrap();
        let weights = (normal(seed, "weights", width, DType::F64).sqr().unwrap() + 0.1).unwrap();
        let options = CrossEntropy {
            ignored: Some(-100),
            label_smoothing: choose(seed, "smoothing", &[0.0, 0.1, 0.5]),
            weights: (uniform(seed, "weighted") < 0.5).then_some(weights.clone()),
        };
        let cross = case("cross entropy", move |x| options.forward(&x[0], &classes), &[&[batch, width]]);
        let targets = normal(seed, "targets", (batch, width), DType::F64);
        let targets = ((targets.tanh().unwrap() + 1.0).unwrap() / 2.0).unwrap();
        let pos_weight = (uniform(seed, "weighted") < 0.5).then_some(weights);
        let weight = pos_weight.clone();
        let of_targets = case(
            "binary cross entropy of logits and targets",
            move |x| wick_kernels::binary_cross_entropy(&x[0], &x[1], weight.as_ref()),
            &[&[batch, width], &[batch, width]],
        );
        let binary = case(
            "binary cross entropy",
            move |x| wick_kernels::binary_cross_entropy(&x[0], &targets, pos_weight.as_ref()),
            &[&[batch, width]],
        );
        for case in [cross, binary, of_targets] {
            let error = error_of(&case, seed);
            assert!(error <= 1e-7, "{} {batch}×{width}, seed {seed}: {error:e}", case.0);
        }
    }
}

/// A softmax whose sum is a constant, and a norm whose scale is one, have another gradient.
#[test]
fn wrong_twins_are_far_from_the_quotients() {
    let softmax = case(
        "softmax",
        |x| {
            let e = x[0].exp()?;
            e.broadcast_div(&e.sum_keepdim(1)?.detach())
        },
        &[&[3, 4]],
    );
    let norm = case(
        "RMS norm",
        |x| x[0].broadcast_div(&(x[0].sqr()?.mean_keepdim(1)? + 1e-2)?.sqrt()?.detach()),
        &[&[3, 4]],
    );
    for twin in [softmax, norm] {
        assert!(error_of(&twin, 1) > 0.1, "{}", twin.0);
    }
}

fn golden() -> HashMap<String, Tensor> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/reference/norms.safetensors");
    candle_core::safetensors::load(path, &CPU).unwrap()
}

/// The op of a case of the file.
fn op_of(name: &str, x: &[Tensor], golden: &HashMap<String, Tensor>) -> Result<Tensor> {
    let constant = |name: &str| golden[name].to_dtype(x[0].dtype());
    let (op, setting) = name.split_once('.').unwrap();
    let weight = || x[1].clone();
    match (op, setting) {
        ("layer_norm", "no_bias") => LayerNorm::new_no_bias(weight(), 0.1).forward(&x[0]),
        ("layer_norm", _) => LayerNorm::new(weight(), x[2].clone(), 1e-5).forward(&x[0]),
        ("rms_norm", _) => RmsNorm::new(weight(), 1e-6).forward(&x[0]),
        ("softmax", "middle") => ops::softmax(&x[0], 1),
        ("softmax", _) => ops::softmax_last_dim(&x[0]),
        ("log_softmax", _) => ops::log_softmax(&x[0], x[0].rank() - 1),
        ("group_norm", groups) => {
            let groups = groups.parse().unwrap_or(2);
            GroupNorm::new(weight(), x[2].clone(), x[1].elem_count(), groups, 1e-5)?.forward(&x[0])
        }
        ("batch_norm", _) => Ok(batch_norm(&x[0], Some((&x[1], &x[2])), 1e-5)?.0),
        ("cross_entropy", setting) => {
            let smoothing = HashMap::from([("smoothed", 0.1), ("all", 0.3)]);
            let weighted = ["weighted", "all"].contains(&setting);
            let options = CrossEntropy {
                ignored: Some(-100),
                label_smoothing: smoothing.get(setting).copied().unwrap_or(0.0),
                weights: weighted.then(|| golden["cross_entropy/weights"].clone()),
            };
            options.forward(&x[0], &golden["cross_entropy/classes"])
        }
        ("binary", setting) => {
            let weight = constant("binary/pos_weight")?;
            let weight = (setting == "pos_weight").then_some(&weight);
            wick_kernels::binary_cross_entropy(&x[0], &constant("binary/targets")?, weight)
        }
        _ => unreachable!("no op for {name}"),
    }
}

/// The largest difference of output and gradients from PyTorch's, relative to the largest number of each.
fn apart(name: &str, label: &str, dtype: DType, golden: &HashMap<String, Tensor>, factor: f64) -> f64 {
    let mut vars = Vec::new();
    while let Some(input) = golden.get(&format!("{name}/input/{}", vars.len())) {
        vars.push(Var::from_tensor(&input.to_dtype(dtype).unwrap()).unwrap());
    }
    let inputs: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let output = (op_of(name, &inputs, golden).unwrap() * factor).unwrap();
    let cotangent = golden[&format!("{name}/cotangent")].to_dtype(dtype).unwrap();
    // The file has scalars as vectors of one number.
    let cotangent = cotangent.reshape(output.shape()).unwrap();
    let gradients = (&output * cotangent).unwrap().sum_all().unwrap().backward().unwrap();
    let mut got = vec![(format!("{name}/{label}/output"), output)];
    for (which, var) in vars.iter().enumerate() {
        got.push((format!("{name}/{label}/gradient/{which}"), gradients.get(var).unwrap().clone()));
    }
    let off = |(key, got): (String, Tensor)| {
        let (got, expected) = (numbers(&got), numbers(&golden[&key]));
        assert_eq!(got.len(), expected.len());
        // What is 0 but for rounding is held against 1.
        let size = expected.iter().fold(0f64, |a, x| a.max(x.abs()));
        let size = if size < 1e-5 { 1.0 } else { size };
        largest(got.iter().zip(&expected).map(|(a, b)| (a - b).abs() / size))
    };
    largest(got.into_iter().map(off))
}

/// Values and gradients are PyTorch's, and those of an output that is a thousandth larger are not.
#[test]
fn values_and_gradients_are_pytorchs() {
    let golden = golden();
    let mut names: Vec<&str> = golden.keys().filter_map(|key| key.strip_suffix("/input/0")).collect();
    names.sort_unstable();
    assert_eq!(names.len(), 32, "{names:?}");
    // The gradient of a norm of one number is what rounding leaves of a difference, times up to 1/eps^1.5.
    let is_rounding = |name: &&str| ["layer_norm.one", "rms_norm.one"].contains(name);
    for name in names.into_iter().filter(|name| !is_rounding(name)) {
        for (label, dtype, bound) in [("f32", DType::F32, 4e-6), ("f64", DType::F64, 1e-12)] {
            let own = apart(name, label, dtype, &golden, 1.0);
            assert!(own <= bound, "{name} {label}: {own:e}");
            // The logarithm of the probability of one class is 0, and so is a thousandth more.
            let twin = apart(name, label, dtype, &golden, 1.001);
            assert!(twin > 10.0 * bound || name == "log_softmax.one", "{name} {label}: the twin");
        }
    }
}

/// Three steps of training move the running statistics as PyTorch's, and evaluation divides by them.
#[test]
fn running_statistics_are_pytorchs() {
    let golden = golden();
    let of = |name: &str| golden[&format!("batch_norm.running/{name}")].clone();
    let (mean, var) = (Var::zeros(4, DType::F64, &CPU).unwrap(), Var::ones(4, DType::F64, &CPU).unwrap());
    let norm =
        BatchNorm::new_no_bias_with_momentum(4, mean.as_tensor().clone(), var.as_tensor().clone(), 1e-5, 0.3)
            .unwrap();
    let off = |a: &Tensor, b: &Tensor| largest(numbers(a).iter().zip(numbers(b)).map(|(a, b)| (a - b).abs()));
    for step in 0..3 {
        norm.forward_t(&of(&format!("step/{step}")), true).unwrap();
        assert!(off(norm.running_mean(), &of(&format!("mean/{step}"))) < 1e-13);
        assert!(off(norm.running_var(), &of(&format!("var/{step}"))) < 1e-13);
    }
    // The variables that were given are those that were moved.
    assert!(off(&mean, &of("mean/2")) < 1e-13 && off(&var, &of("var/2")) < 1e-13);
    assert!(off(&norm.forward_t(&of("step/0"), false).unwrap(), &of("evaluated")) < 1e-12);
    assert!(off(&mean, &of("mean/1")) > 1e-3, "the twin of a step before");
}
