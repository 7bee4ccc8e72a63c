//! The lecture's numbers, checked on the programs' output.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod support;

use serde_json::Value;
use support::{json, numbers};

fn stds(run: &Value) -> Vec<f64> {
    run["layers"].as_array().unwrap().iter().map(|layer| layer["forward"]["std"].as_f64().unwrap()).collect()
}

/// The standard deviations are those that the lecture printed for σ = 0.01 (its later digits are rounding
/// errors) and for σ = 1, and those that the length map q' = n_in σ² E[tanh²(√q z)] predicts for Xavier.
#[test]
fn layer_stats_are_the_lectures() {
    let result = json("layer-stats", &[]);
    let runs = result["runs"].as_array().unwrap();
    let specs: Vec<_> = runs.iter().map(|run| run["init"].as_str().unwrap()).collect();
    assert_eq!(specs, ["normal:std=0.01", "normal:std=1", "xavier_normal"]);

    let dying = [0.263598, 0.071868, 0.019059, 0.004843, 0.001191, 0.000280, 0.000063];
    let saturated =
        [0.985804, 0.985147, 0.984583, 0.984043, 0.983436, 0.982512, 0.981745, 0.980658, 0.979448, 0.978073];
    let living = [0.6325, 0.4938, 0.4183, 0.3700, 0.3364, 0.3117, 0.2930, 0.2786, 0.2675, 0.2593];
    for (run, expected, tolerance) in
        [(0, &dying[..], 0.03), (1, &saturated[..], 0.005), (2, &living[..], 0.02)]
    {
        for (layer, (got, expected)) in stds(&runs[run]).into_iter().zip(expected).enumerate() {
            assert!((got / expected - 1.0).abs() < tolerance, "{}, layer {layer}: {got}", specs[run]);
        }
    }
    let last = |run: usize, side: &str, figure: &str| {
        runs[run]["layers"].as_array().unwrap().last().unwrap()[side][figure].as_f64().unwrap()
    };
    // The gradient at the last output is g itself, 600,000 numbers N(0, 1), whose rms is 1 within 4/√(2n).
    assert!((last(0, "backward", "rms") - 1.0).abs() < 4.0 / 1.2e6f64.sqrt());
    assert_eq!(last(0, "forward", "saturated"), 0.0);
    assert!(last(1, "forward", "saturated") > 0.9);
}

/// The runs have the three verdicts. Of 30 stds and 27 gradients, which are correlated within a run, at least
/// 50 are in their 95 % bands. The twin: the bands of another run contain none of the first run's values.
#[test]
fn layer_stats_gives_the_three_verdicts() {
    let result = json("layer-stats", &[]);
    let runs = result["runs"].as_array().unwrap();
    for (run, text) in runs.iter().zip(["dies out", "saturates", "lives but shrinks like 1/√depth"]) {
        assert!(run["verdict"].as_str().unwrap().starts_with(text), "{}", run["verdict"]);
    }
    let faults = |run: usize| -> Vec<&str> {
        runs[run]["faults"].as_array().unwrap().iter().map(|fault| fault["fault"].as_str().unwrap()).collect()
    };
    assert_eq!(faults(0), ["dies_out", "vanishing_gradient"]);
    assert_eq!(faults(1), ["saturated", "exploding_gradient"]);
    assert!(faults(2).is_empty());
    let held = |run: usize, by: usize| {
        let layers =
            runs[run]["layers"].as_array().unwrap().iter().zip(runs[by]["layers"].as_array().unwrap());
        let inside = |x: &Value, low: &Value, high: &Value| {
            let [x, low, high] = [x, low, high].map(|x| x.as_f64().unwrap());
            usize::from(low < x && x < high)
        };
        layers
            .map(|(layer, by)| {
                let predicted = &by["predicted"];
                inside(&layer["forward"]["std"], &predicted["std_low"], &predicted["std_high"])
                    + inside(
                        &layer["backward"]["rms"],
                        &predicted["backward_low"],
                        &predicted["backward_high"],
                    )
            })
            .sum::<usize>()
    };
    let all: usize = (0..3).map(|run| held(run, run)).sum();
    assert!(all >= 50, "{all} of 57");
    assert_eq!(held(0, 2), 0, "the twin that must fail");
}

/// The measured χ₁ of nets of 200 × 24 (seed 42) is within 8 % of the predicted one in 20 cells, where the
/// slope of 16 layers has a standard deviation of about 1.5 %. The twin is the prediction of another cell.
/// The critical line of tanh starts at its known point.
#[test]
fn the_phase_diagram_is_the_nets_own() {
    let arguments = ["--grid", "5x4", "--width", "200", "--depth", "24", "--sigma-b", "0.1,1"];
    let result = json("phase-diagram", &arguments);
    let cells = result["cells"].as_array().unwrap();
    let chi = |cell: &Value, side: &str| cell[side]["chi_1"].as_f64().unwrap();
    for cell in cells {
        let (measured, predicted) = (chi(cell, "measured"), chi(cell, "predicted"));
        assert!((measured / predicted).ln().abs() < 0.08, "{cell}");
    }
    let far = cells
        .windows(2)
        .filter(|pair| (chi(&pair[0], "measured") / chi(&pair[1], "predicted")).ln().abs() > 0.08);
    assert!(far.count() >= 18, "the twin that must fail");
    let critical = result["critical"].as_array().unwrap();
    let first = &critical[0];
    assert!((first["sigma_w"].as_f64().unwrap().powi(2) - 1.424_205_29).abs() < 1e-7);
    assert!((first["q"].as_f64().unwrap() - 0.273_300_91).abs() < 1e-7);
}

/// dJ/dh of a linear net is g W, a sum over the outputs. With Var W = 1/fan_out its rms is that of g, and
/// with 1/fan_in it is √(out/in) times that. With 200 samples × 100 units of two random maps it is within 5
/// %.
#[test]
fn gradients_of_a_linear_net_keep_their_size() {
    let rms = |mode: &str| -> Vec<f64> {
        let init = format!("lecun_normal:mode={mode}");
        let arguments =
            ["--activation", "identity", "--samples", "200", "--widths", "100,400,200", "--init", &init];
        let result = json("layer-stats", &arguments);
        let layers = result["runs"][0]["layers"].as_array().unwrap().clone();
        layers.iter().map(|layer| layer["backward"]["rms"].as_f64().unwrap()).collect()
    };
    let near = |got: f64, expected: f64| (got / expected - 1.0).abs() < 0.05;
    let kept = rms("fan_out");
    assert!(kept.iter().all(|&rms| near(rms, 1.0)), "{kept:?}");
    let twin = rms("fan_in");
    assert!(near(twin[1], 0.5f64.sqrt()) && near(twin[0], 2f64.sqrt()), "{twin:?}");
}

#[test]
fn the_digits_are_real_data() {
    let result = json("layer-stats", &["--data", "digits", "--widths", "32,10", "--init", "xavier_normal"]);
    let experiment = &result["experiment"];
    assert_eq!((experiment["samples"].as_u64(), experiment["features"].as_u64()), (Some(1797), Some(64)));
    let saturated = |result: &Value| result["runs"][0]["layers"][0]["forward"]["saturated"].as_f64().unwrap();
    // Raw pixels of 0 to 16 saturate the first layer; standardized ones do not.
    assert!(saturated(&result) > 0.5);
    let arguments = ["--data", "digits", "--standardize", "--widths", "32,10", "--init", "xavier_normal"];
    assert!(saturated(&json("layer-stats", &arguments)) < 0.2);
}

/// In f64 the formulas agree with the backward pass and with central differences, for every activation and
/// loss.
#[test]
fn gradients_agree_three_ways() {
    for activation in wick_theory::Activation::ALL {
        for (loss, lambda) in [("squared", "0.1"), ("cross_entropy", "0.1"), ("squared", "0")] {
            let arguments = ["--activation", activation.name(), "--loss", loss, "--lambda", lambda];
            let result = json("forward-backward", &arguments);
            let checks = result["checks"].as_array().unwrap();
            let names: Vec<_> = checks.iter().map(|check| check["name"].as_str().unwrap()).collect();
            assert_eq!(names, ["dJ/do", "ds/dW1", "ds/dW2", "dJ/dW2", "dJ/dh", "dJ/dz", "dJ/dW1"]);
            for check in checks {
                let figure = |key: &str| check[key].as_f64().unwrap();
                assert!(figure("autograd") <= 1e-12, "{activation} {loss}: {check}");
                assert!(figure("finite_difference") <= 1e-7, "{activation} {loss}: {check}");
                assert!(figure("compared") >= 1.0, "{activation} {loss}: {check}");
            }
            let sum = result["loss"].as_f64().unwrap() + result["penalty"].as_f64().unwrap();
            assert!((result["objective"].as_f64().unwrap() - sum).abs() < 1e-14);
        }
    }
}

/// With --max-differences 0, no entry is compared with central differences.
#[test]
fn no_differences_are_none() {
    let result = json("forward-backward", &["--max-differences", "0"]);
    for check in result["checks"].as_array().unwrap() {
        assert_eq!(
            (check["compared"].as_u64(), check["finite_difference"].is_null()),
            (Some(0), true),
            "{check}"
        );
    }
}

/// If a gradient is a rounding error or subnormal, the three ways still agree within what rounding explains.
#[test]
fn gradients_of_next_to_nothing_agree_three_ways() {
    for arguments in [
        ["--loss", "cross_entropy", "--init", "normal:std=100", "--dtype", "f64"],
        ["--loss", "cross_entropy", "--init", "normal:std=30", "--dtype", "f32"],
        ["--loss", "cross_entropy", "--init", "normal:std=10", "--dtype", "f16"],
        ["--loss", "squared", "--init", "normal:std=1e-6", "--dtype", "f16"],
        ["--loss", "squared", "--init", "normal:std=1e-4", "--dtype", "f16"],
        ["--loss", "cross_entropy", "--init", "normal:std=1e-5", "--dtype", "f16"],
        ["--loss", "squared", "--init", "zeros", "--dtype", "bf16"],
    ] {
        for seed in ["1", "2", "3"] {
            for activation in ["tanh", "relu", "sigmoid"] {
                let rest = ["--lambda", "0", "--seed", seed, "--activation", activation];
                json("forward-backward", &[&arguments[..], &rest].concat());
            }
        }
    }
}

/// layer-stats finds the faults of units and of samples, which need the layers' outputs.
#[test]
fn layer_stats_sees_units_and_samples() {
    let faults = |arguments: &[&str]| -> Vec<String> {
        let small = ["--samples", "300", "--features", "60", "--widths", "60,60,60"];
        let result = json("layer-stats", &[&small[..], arguments].concat());
        let faults = result["runs"][0]["faults"].as_array().unwrap().clone();
        faults.iter().map(|fault| fault["fault"].as_str().unwrap().to_owned()).collect()
    };
    assert!(faults(&["--init", "constant:value=0.01"]).contains(&"symmetric_units".into()));
    assert!(faults(&["--init", "normal:std=0.001", "--bias-std", "1"]).contains(&"rank_collapse".into()));
    let dead = ["--init", "kaiming_normal", "--bias-std", "30", "--activation", "relu"];
    assert!(faults(&dead).contains(&"dead_units".into()));
    assert_eq!(faults(&["--init", "zeros", "--activation", "sigmoid"]), ["dies_out", "vanishing_gradient"]);
    assert!(faults(&["--init", "kaiming_normal", "--activation", "relu"]).is_empty());
}

/// A verdict does not say both that the layers are in their bands and that one of them is off.
#[test]
fn a_verdict_does_not_contradict_itself() {
    for (activation, init, seed) in [
        ("gelu", "kaiming_normal:gain=gelu", "1"),
        ("tanh", "normal:std=0.01", "2"),
        ("relu", "kaiming_normal", "3"),
        ("sigmoid", "zeros", "4"),
    ] {
        let widths = vec!["64"; 20].join(",");
        let small = ["--samples", "50", "--features", "64", "--widths", &widths];
        let which = ["--activation", activation, "--init", init, "--seed", seed];
        let result = json("layer-stats", &[&small[..], &which].concat());
        let text = result["runs"][0]["verdict"].as_str().unwrap();
        let all_inside = text.contains("Every layer's std is in its predicted band");
        assert!(
            !(all_inside && text.contains("what its input and the law of its weights predict")),
            "{text}"
        );
        assert!(!text.contains("NaN"), "{text}");
    }
}

/// Sigmoid's gradient is largest at 0, where it is 1/4, and vanishes on both sides.
#[test]
fn the_sigmoid_figure() {
    let result = json("activation-gradient", &[]);
    let curve = &result["curves"][0];
    let (x, gradient) = (numbers(&curve["x"]), numbers(&curve["gradient"]));
    assert_eq!((x.len(), x[0]), (160, -8.0));
    assert!((x[159] - 7.9).abs() < 1e-6);
    for (x, g) in x.iter().zip(&gradient) {
        let exact = (-x).exp() / (1.0 + (-x).exp()).powi(2);
        assert!((g - exact).abs() < 1e-7, "{x}: {g}");
    }
    assert!((gradient[80] - 0.25).abs() < 1e-7 && gradient[0] < 4e-4);
}

/// The norm of a product of L Gaussian n×n matrices grows by the Lyapunov exponent ½(ln 2 + ψ(n/2)) a factor:
/// for n = 4, .557966. From factor 50 on (before, the product still turns to its leading direction) over 100
/// trials of 350 factors the mean slope is normal with a standard deviation of √(ψ'(2)/4/350/100) = .00215
/// (ψ'(2) = .6449): alpha = 1e-4 is 3.9 of them. Twin: σ = 1.02, whose exponent is ln 1.02 = .0198 higher,
/// must fail.
#[test]
fn the_product_grows_by_its_lyapunov_exponent() {
    let holds = |result: &Value| {
        let trials = result["trials"].as_array().unwrap();
        let slopes = trials.iter().map(|trial| {
            let norms = numbers(&trial["log10_norm"]);
            assert_eq!(norms.len(), 401);
            (norms[400] - norms[50]) * std::f64::consts::LN_10 / 350.0
        });
        (slopes.sum::<f64>() / 100.0 - 0.557966).abs() < 3.9 * 0.00215
    };
    let run =
        |sigma: &str| json("matrix-product", &["--trials", "100", "--factors", "400", "--sigma", sigma]);
    let result = run("1");
    assert!(holds(&result));
    assert!(!holds(&run("1.02")), "the twin");
    let overflow = result["overflow_at"].as_u64().unwrap();
    assert!(
        (120..170).contains(&overflow),
        "10^38.5 is reached after about 38.5/.2423 = 159 factors: {overflow}"
    );
}

/// With the scale kept apart, the results are those of plain f64 as long as that does not overflow.
#[test]
fn carrying_the_scale_changes_nothing() {
    let result = json("matrix-product", &["--dtype", "f64", "--factors", "50"]);
    let matrix = |value: &Value| -> Vec<f64> {
        value["matrix"].as_array().unwrap().iter().flat_map(numbers).collect()
    };
    let norm = |entries: &[f64]| entries.iter().map(|x| x * x).sum::<f64>().sqrt().log10();
    let norms = numbers(&result["trials"][0]["log10_norm"]);
    assert!((norm(&matrix(&result["first"])) - norms[0]).abs() < 1e-12);
    let exponent = result["product"]["exponent"].as_f64().unwrap();
    assert!((norm(&matrix(&result["product"])) + exponent - norms[50]).abs() < 1e-9);
    assert!(result["overflow_at"].is_null());
    // σ is a factor of every matrix, even if the type could not hold the product.
    let at = |sigma: &str, dtype: &str| {
        let result = json("matrix-product", &["--sigma", sigma, "--dtype", dtype, "--factors", "50"]);
        numbers(&result["trials"][0]["log10_norm"])
    };
    for (sigma, log10, dtype) in [("1e-310", -310.0, "f64"), ("1e39", 39.0, "f32"), ("1e5", 5.0, "f16")] {
        for (k, (scaled, plain)) in at(sigma, dtype).into_iter().zip(at("1", dtype)).enumerate() {
            assert!((scaled - plain - (k + 1) as f64 * log10).abs() < 1e-9 * scaled.abs(), "{sigma} {k}");
        }
    }
}

#[test]
fn equal_weights_stay_equal_to_the_bit_and_random_ones_do_not() {
    for activation in ["tanh", "relu", "gelu"] {
        let result = json("symmetry", &["--steps", "60", "--activation", activation]);
        let (equal, random) = (&result["runs"][0], &result["runs"][1]);
        assert_eq!(numbers(&equal["spread"]), [0.0; 61], "{activation}");
        let loss = numbers(&equal["loss"]);
        assert!(loss[60] < loss[0], "{activation}: it learns what one hidden unit can");
        assert!(numbers(&random["spread"]).iter().all(|&spread| spread > 0.1));
        assert!(random["accuracy"].as_f64() > equal["accuracy"].as_f64());
    }
}

/// The length of a row follows its distribution: the mean of 400 products of 101 matrices is within 4
/// standard errors of the exact mean, and 95 % are in the band (for a binomial with alpha 1e-4: 362 to 396).
/// The twin is the distribution of matrices whose σ is 2 % larger.
#[test]
fn products_follow_their_law() {
    let result = json("matrix-product", &["--trials", "400"]);
    let predicted = |key: &str| numbers(&result["predicted"][key])[100];
    let rows: Vec<f64> = (0..400).map(|t| numbers(&result["trials"][t]["log10_row_norm"])[100]).collect();
    let mean = rows.iter().sum::<f64>() / 400.0;
    let sigma = (predicted("high") - predicted("low")) / (2.0 * 1.959_964);
    assert!((predicted("log10_row_norm") - 101.0 * 0.557_966 * std::f64::consts::LOG10_E).abs() < 1e-4);
    assert!((mean - predicted("log10_row_norm")).abs() < 4.0 * sigma / 20.0, "{mean}");
    let inside = |shift: f64| {
        rows.iter().filter(|x| (predicted("low") + shift..=predicted("high") + shift).contains(x)).count()
    };
    assert!((362..=396).contains(&inside(0.0)), "{}", inside(0.0));
    let wider = 101.0 * 1.02f64.log10();
    assert!((mean - predicted("log10_row_norm") - wider).abs() > 4.0 * sigma / 20.0, "the twin");
}
