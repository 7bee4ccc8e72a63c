//! The steps of a look: the model is built, run, traced, and its loss is differentiated.

use anyhow::{Context, Result, anyhow};
use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};
use candle_nn::var_builder::SimpleBackend;
use wick_bins::args::Target;
use wick_bins::names::{listed, on_one_line};
use wick_bins::progress;
use wick_bins::warning::warn;
use wick_init::{InitMap, Initializer, Rule};
use wick_model_stats::{Architecture, Forward, Net};
use wick_probe::{GradientCheck, Mark, Trace, check_gradient, judge, not_judged};

use crate::guarded::guarded;
use crate::input::Run;
use crate::objective::Objective;
use crate::options::Args;
use crate::recorder::{Recorder, Wanted};
use crate::report::{Check, Experiment, ModelStats};
use crate::{advice, input, layers, preflight};

pub(crate) fn look(
    args: &Args,
    row: &Architecture,
    net: &Net,
    config: &str,
    target: &Target,
) -> Result<ModelStats> {
    let bar =
        progress::bar(4 + usize::from(args.check_gradient) + usize::from(args.preflight), "model-stats");
    bar.set_message("building");
    let map = args.weights.iter().try_fold(InitMap::new(args.common.seed), InitMap::with_file)?;
    let map = map.with_cast_on_load(true);
    let recorder = Recorder::new(&map);
    let building = || format!("candle cannot build {} from '{config}'", row.name);
    drop(
        guarded(|| Ok(net.build(recorder.var_builder(target.dtype, &target.device))?))
            .with_context(building)?,
    );
    let wanted = recorder.wanted();
    let numbers = wanted.iter().map(|(_, shape)| shape.iter().map(|n| *n as f64).product::<f64>()).sum();
    // The weights and their gradients.
    target.check_memory(2.0 * numbers, "take a smaller model, or a --dtype of fewer bytes")?;
    let missing = if args.weights.is_empty() { Vec::new() } else { missing_in_files(&map, &wanted)? };
    let Run { xs, objective, input, geometry } = input::make(args, row, net.takes, target)?;

    let (map, init) = start(args, row, map, &wanted)?;
    let mut model =
        guarded(|| Ok(net.build(map.var_builder(target.dtype, &target.device))?)).with_context(building)?;
    args.start.warn_of_unmatched(&map);
    if !args.weights.is_empty() {
        say("drawn, for no file of --weights has them", &missing);
        say("in --weights, and not in the model", &map.unused_tensors());
    }
    let vars = in_order(&map, &wanted);
    bar.inc(1);

    bar.set_message("forward pass and trace");
    let dtype = target.dtype;
    let hint = if dtype == DType::F32 {
        String::new()
    } else {
        format!(" in {} (--dtype f32 may not)", dtype.as_str())
    };
    let passing = || format!("the forward pass of {} fails{hint}", row.name);
    let mark = Mark::new()?;
    let outputs = guarded(|| Ok(model(&xs)?)).with_context(passing)?;
    objective.check(&outputs)?;
    let trace =
        guarded(|| Ok(Trace::of(Some(&mark), &objective.loss(&outputs)?, &vars)?)).with_context(passing)?;
    bar.inc(1);
    bar.set_message("backward pass");
    let gradients = guarded(|| Ok(trace.loss().backward()?));
    let backward_error = gradients.as_ref().err().map(|error| on_one_line(&first_line(error)));
    bar.inc(1);
    bar.set_message("statistics");
    let reports = trace.layer_reports()?;
    let rows = layers::rows(&trace, &reports, &vars, gradients.as_ref().ok())?;
    let check = args.check_gradient.then(|| {
        bar.inc(1);
        bar.set_message("checking the gradient");
        checked(&mut model, (&xs, &objective), &vars, &gradients)
    });
    let check = check.transpose().context("the gradient cannot be checked")?;
    let preflight = args.preflight.then(|| {
        bar.inc(1);
        bar.set_message("checks before the training");
        let is_drawn = objective.targets().is_none();
        let objective = match is_drawn {
            true => Objective::drawn(&outputs, net.takes, args.common.seed, target)?,
            false => objective.clone(),
        };
        preflight::run(&mut model, &vars, (&xs, &objective), &map, is_drawn)
    });
    let preflight = preflight.transpose()?;
    bar.finish_and_clear();

    let reach = trace.reach();
    let faults = judge(&reports, &geometry);
    Ok(ModelStats {
        experiment: Experiment {
            model: row.name,
            config: config.to_owned(),
            init,
            weights: args.weights.iter().map(|path| path.display().to_string()).collect(),
            input,
            loss: objective.words(),
            dtype: target.dtype.as_str(),
            device: target.name.clone(),
            seed: args.common.seed,
        },
        numbers,
        counts: layers::counts(&rows, reach),
        summary: reach.to_string(),
        layers: rows,
        cuts: advice::cuts(reach),
        not_judged: not_judged(&reports, &geometry),
        faults,
        instead: advice::instead(&trace, backward_error.as_deref()),
        backward_error,
        gradient_check: check,
        preflight,
    })
}

/// The map of the weights, and how it says that they start.
fn start(args: &Args, row: &Architecture, map: InitMap, wanted: &Wanted) -> Result<(InitMap, String)> {
    let depth = wanted.iter().filter_map(|(name, _)| Rule::layer_of(name)).max().map(|last| last + 1);
    let map = map.with_shapes(wanted.iter().cloned());
    if let Some(rules) = args.start.named_rules(depth)? {
        let of_file = args.start.rules.as_ref().map(|path| path.display().to_string());
        let name = of_file.or_else(|| args.start.preset.clone()).unwrap_or_default();
        return Ok((map.with_rules(rules), name));
    }
    let spec = args.start.init.as_ref();
    let initializer = spec.map_or_else(Initializer::lecun_normal, |spec| spec.initializer.clone());
    let name = spec.map_or_else(|| initializer.to_string(), |spec| spec.text.clone());
    let gains = Rule::draw("**.weight [*] | **.gamma [*]", Initializer::Constant(row.gains))?;
    Ok((map.with_rules([gains]).with_default_init(initializer), name))
}

/// The tensors of the model that no file has. It is an error if the files have none at all.
fn missing_in_files<'a>(map: &InitMap, wanted: &'a Wanted) -> Result<Vec<&'a str>> {
    let names = || wanted.iter().map(|(name, _)| name.as_str());
    let missing: Vec<&str> = names().filter(|name| !map.contains_tensor(name)).collect();
    if missing.len() == wanted.len() {
        return Err(anyhow!(
            "--weights has none of the model's {} tensors, '{}' first: the files are of another model, or have other \
             names",
            wanted.len(),
            names().next().unwrap_or_default()
        ));
    }
    Ok(missing)
}

/// Says on stderr what names there are, if there are any.
fn say<S: AsRef<str>>(what: &str, names: &[S]) {
    if !names.is_empty() {
        warn(&format!("{what}: {}", listed(names.iter().map(AsRef::as_ref))));
    }
}

/// The variables in the order in which the model asks for them.
fn in_order(map: &InitMap, wanted: &Wanted) -> Vec<(String, Var)> {
    let mut vars = map.named_vars();
    let place = |name: &str| wanted.iter().position(|(known, _)| known == name).unwrap_or(usize::MAX);
    vars.sort_by_cached_key(|(name, _)| place(name));
    vars
}

fn checked(
    model: &mut Forward,
    (xs, objective): (&Tensor, &Objective),
    vars: &[(String, Var)],
    gradients: &Result<GradStore>,
) -> Result<Check> {
    if let Err(error) = gradients {
        return Err(anyhow!("candle's backward pass is an error: {}", first_line(error)));
    }
    let check: GradientCheck = guarded(|| Ok(check_gradient(vars, || objective.loss(&model(xs)?))?))?;
    Ok(Check {
        norm: check.norm,
        quotients: check.quotients,
        rounding: check.rounding,
        is_whole: check.is_whole(),
    })
}

/// The innermost cause, without the backtrace that candle appends.
fn first_line(error: &anyhow::Error) -> String {
    error.root_cause().to_string().lines().next().unwrap_or_default().to_owned()
}
