//! What model-stats prints.

use serde::Serialize;
use wick_bins::output::{Cell, Column, Report, Table, csv_of, shape, table_of, times};
use wick_probe::Verdict;

use crate::advice::CutOff;
use crate::input::Input;
use crate::layers::{Counts, Layer, State};
use crate::preflight::Findings;

#[derive(Debug, Serialize)]
pub(crate) struct ModelStats {
    pub(crate) experiment: Experiment,
    /// The numbers of all tensors.
    pub(crate) numbers: f64,
    pub(crate) counts: Counts,
    /// What the loss reaches, in a sentence.
    pub(crate) summary: String,
    pub(crate) layers: Vec<Layer>,
    pub(crate) cuts: Vec<CutOff>,
    pub(crate) faults: Vec<Verdict>,
    pub(crate) not_judged: Option<String>,
    /// What cannot train, and what to use instead.
    pub(crate) instead: Vec<String>,
    pub(crate) backward_error: Option<String>,
    pub(crate) gradient_check: Option<Check>,
    /// What the checks before a training found, if they were asked for.
    pub(crate) preflight: Option<Findings>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Experiment {
    pub(crate) model: &'static str,
    /// The file, or `small`.
    pub(crate) config: String,
    /// A SPEC, a preset or a file of rules.
    pub(crate) init: String,
    pub(crate) weights: Vec<String>,
    pub(crate) input: Input,
    /// What the outputs are compared by.
    pub(crate) loss: &'static str,
    pub(crate) dtype: &'static str,
    pub(crate) device: String,
    pub(crate) seed: u64,
}

/// The loss's slope along its gradient, over the gradient's norm.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) norm: f64,
    pub(crate) quotients: [f64; 2],
    pub(crate) rounding: f64,
    pub(crate) is_whole: bool,
}

fn columns<'a>() -> [Column<&'a Layer>; 20] {
    [
        Column::for_people("layer", |layer| match layer.call {
            0 => layer.name.as_str().into(),
            call => format!("{} (call {})", layer.name, call + 1).into(),
        }),
        Column::for_programs("name", |layer| layer.name.as_str().into()),
        Column::for_programs("call", |layer| layer.call.into()),
        Column::for_people("state", |layer| {
            Cell::Text(format!("{}{}", layer.state.words(), if layer.stale { ", stale" } else { "" }))
        }),
        Column::for_programs("state", |layer| layer.state.words().replace(' ', "_").into()),
        Column::new("kind", "kind", |layer| layer.kind.map_or(Cell::Unknown, Cell::from)),
        Column::new("weight", "weight", |layer| shape(&layer.weight).into()),
        Column::new("output", "output", |layer| {
            layer.output.as_ref().map_or(Cell::Unknown, |dims| shape(dims).into())
        }),
        Column::new("activation", "activation", |layer| {
            layer.activation.map_or(Cell::Unknown, |activation| activation.to_string().into())
        }),
        Column::new("std", "std", |layer| layer.std.into()),
        Column::new("rms", "rms", |layer| layer.rms.into()),
        Column::for_programs("units", |layer| layer.units.map_or(Cell::Unknown, Cell::from)),
        Column::new("dead", "dead", |layer| layer.dead.map_or(Cell::Unknown, Cell::Fraction)),
        Column::new("copies", "copies", |layer| layer.copies.map_or(Cell::Unknown, Cell::Fraction)),
        Column::new("rms of dJ/dW", "gradient_rms", |layer| layer.gradient_rms.into()),
        Column::for_programs("stale", |layer| layer.stale.to_string().into()),
        Column::for_people("cut by", |layer| layer.by.map_or(Cell::Unknown, Cell::from)),
        Column::for_programs("by", |layer| layer.by.unwrap_or_default().into()),
        Column::for_programs("parameters", |layer| layer.parameters.join(" ").into()),
        Column::for_programs("numbers", |layer| layer.weight.iter().product::<usize>().into()),
    ]
}

impl ModelStats {
    /// The model and its input in a line.
    pub(crate) fn title(&self) -> String {
        let e = &self.experiment;
        let from = match (e.weights.len(), e.config.as_str()) {
            (0, "small") => format!("the small config, {}", e.init),
            (0, config) => format!("{config}, {}", e.init),
            (files, config) => {
                format!("{config}, weights of {files} file{}", if files == 1 { "" } else { "s" })
            }
        };
        let input = &e.input;
        format!(
            "{} of {from}; {} {} of {}, {} on {}, seed {}",
            e.model,
            if input.drawn { "drawn" } else { "given" },
            input.kind,
            shape(&input.shape),
            e.dtype,
            e.device,
            e.seed
        )
    }

    /// What was found, a line each.
    fn notes(&self) -> Vec<String> {
        let c = &self.counts;
        let mut notes = vec![
            format!(
                "{} layers: {} seen, {} with their input cut, {} not reached",
                c.layers, c.seen, c.input_cut, c.not_reached
            ),
            self.summary.clone(),
        ];
        notes.extend(self.instead.iter().map(|line| format!("instead: {line}")));
        notes.extend(self.gradient_check.iter().map(|check| {
            let change =
                format!("the loss changes along it {} as much as it says", times(check.quotients[1]));
            if check.is_whole {
                return format!("the gradient is whole: {change}");
            }
            // What comes before a cut has a part of its gradient, and what is stale has one that changes nothing.
            let is_explained = !self.cuts.is_empty() || c.stale_parameters > 0;
            let pool =
                "; no operation cuts the graph, and candle's max_pool2d is one that passes back 1/k² of it";
            format!("the gradient is not that of the loss: {change}{}", if is_explained { "" } else { pool })
        }));
        for fault in &self.faults {
            let remedy = if fault.remedy.is_empty() { String::new() } else { format!(". {}", fault.remedy) };
            notes.push(format!("verdict: {}{remedy}", fault.text));
        }
        if self.faults.is_empty() && c.seen + c.input_cut > 0 {
            notes.push("verdict: no fault in the layers that are reached".to_owned());
        }
        notes.extend(self.not_judged.iter().map(|note| format!("not judged: {note}")));
        notes
    }

    /// How many layers are in a state.
    pub(crate) fn count(&self, state: State) -> usize {
        self.layers.iter().filter(|layer| layer.state == state).count()
    }
}

/// The findings before a training.
fn of_findings(preflight: &Findings) -> Table {
    let title = format!("before the training, by the {}", preflight.targets);
    if preflight.findings.is_empty() {
        return Table { title, note: "preflight: nothing was found".to_owned(), ..Table::default() };
    }
    let mut table = Table::new(title, ["check", "level", "figure", "finding"]);
    for finding in &preflight.findings {
        let figure = wick_bins::output::short(finding.figure);
        table.row([word(finding.check), word(finding.level), figure, finding.text.clone()]);
    }
    table
}

/// A check or a level as the JSON has it.
fn word(of: impl Serialize) -> String {
    let value = serde_json::to_value(of).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

impl Report for ModelStats {
    fn tables(&self) -> Vec<Table> {
        let table = table_of(self.title(), &columns(), &self.layers);
        let layers = Table { note: self.notes().join("\n"), ..table };
        std::iter::once(layers).chain(self.preflight.iter().map(of_findings)).collect()
    }

    fn csv(&self) -> Table {
        let mut table = csv_of(&columns(), &self.layers);
        let Some(preflight) = &self.preflight else { return table };
        // The findings follow the layers, with columns of their own.
        let state = table.header.iter().position(|column| column == "state").unwrap_or(0);
        let width = table.header.len();
        table.header.extend(["level", "figure", "finding"].map(str::to_owned));
        for row in &mut table.rows {
            row.resize(width + 3, String::new());
        }
        for finding in &preflight.findings {
            let mut row = vec![String::new(); width];
            (row[0], row[state]) = (word(finding.check), "preflight".to_owned());
            row.extend([word(finding.level), finding.figure.to_string(), finding.text.clone()]);
            table.rows.push(row);
        }
        table
    }
}
