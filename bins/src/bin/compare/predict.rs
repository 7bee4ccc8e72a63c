//! What theory and a batch say of a start before it is trained.

use anyhow::Result;
use candle_core::Device;
use serde::{Deserialize, Serialize};
use wick_bins::args::Target;
use wick_bins::data::numbers;
use wick_bins::warning::warn;
use wick_model::{Activation, MlpConfig};
use wick_probe::{BatchGeometry, Level, Probe, judge};
use wick_theory::{LayerLaw, MeanField};

use crate::experiment::Experiment;
use crate::net::{Net, Norm};
use crate::start::Start;
use crate::task::Samples;

/// The samples of the batch that is judged.
const BATCH: usize = 256;

/// A net trains if it has at most this many times as many hidden layers as those over which a correlation comes nearer to
/// its fixed point by a factor e (Schoenholz et al. 2017, *Deep information propagation*, section 5).
const DEPTHS: f64 = 6.0;

/// A depth scale beyond this number of layers is infinite but for rounding.
const LARGEST: f64 = 1e6;

/// A prediction for one start of one net.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prediction {
    /// The standard deviation of a hidden weight times √fan_in; `None` for weights without a law.
    pub(crate) sigma_w: Option<f64>,
    /// The factor of a squared gradient from hidden layer to hidden layer.
    pub(crate) chi_1: Option<f64>,
    /// The depth scales of correlations and of squared gradients; `None` if they are infinite or unknown.
    pub(crate) xi_c: Option<f64>,
    pub(crate) xi_grad: Option<f64>,
    /// Whether the net is deeper than six times the scale of correlations.
    pub(crate) is_too_deep: bool,
    /// The faults of one batch.
    pub(crate) verdicts: Vec<Said>,
    /// Whether it is predicted to train.
    pub(crate) trains: bool,
}

/// A verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) fault: String,
    pub(crate) layer: String,
    /// Whether it is more than unusual.
    pub(crate) is_harmful: bool,
    pub(crate) text: String,
}

impl Prediction {
    /// Draws the net as the first of the compared runs does, and judges its first batch.
    pub(crate) fn new(
        (experiment, start, net): (&Experiment, &Start, usize),
        seed: u64,
        samples: &Samples,
        target: &Target,
    ) -> Result<Self> {
        let config = experiment.net(net)?;
        let layers = config.widths.len();
        let map = start.map(seed, layers, experiment.bias_std)?;
        let vb = map.var_builder(target.dtype, &target.device);
        let net = Net::new(&config, experiment.norm, vb, samples.task)?;
        for purpose in map.unmatched_essentials() {
            warn(&format!("no weight of the net met the rules of {} for {purpose}", start.text));
        }
        // Theory has no law of a layer with a norm.
        let laws = match experiment.norm {
            Norm::None => laws(start, &config, experiment.bias_std.powi(2))?,
            Norm::Batch => None,
        };
        let probe = Probe::new().with_output_units();
        let named = laws.iter().flatten().enumerate();
        let probe = named.fold(probe, |probe, (index, law)| probe.with_law(format!("layer_{index}"), *law));

        let (all, count) = (samples.training.len(), samples.training.len().min(BATCH));
        let batch = samples.training.batch(&(0..count).map(|k| k * all / count).collect::<Vec<_>>())?;
        net.observe(&probe, &batch)?;
        let input = batch.input.to_device(&Device::Cpu)?;
        let geometry = BatchGeometry::of(&numbers(&input)?, samples.features);
        let said = |verdict: wick_probe::Verdict| -> Result<Said> {
            let fault = serde_json::to_value(verdict.fault)?;
            Ok(Said {
                fault: fault.as_str().unwrap_or_default().to_owned(),
                layer: verdict.layer,
                is_harmful: verdict.level >= Level::Faulty,
                text: verdict.text,
            })
        };
        let verdicts: Vec<Said> =
            judge(&probe.layer_reports(), &geometry).into_iter().map(said).collect::<Result<_>>()?;
        let scales = Scales::of(laws.as_deref(), &config);
        let hidden = layers as f64 - 1.0;
        let is_too_deep = scales.xi_c.is_some_and(|scale| hidden > DEPTHS * scale);
        let trains = !is_too_deep && !verdicts.iter().any(|said| said.is_harmful);
        let Scales { sigma_w, chi_1, xi_c, xi_grad } = scales;
        Ok(Self { sigma_w, chi_1, xi_c, xi_grad, is_too_deep, verdicts, trains })
    }

    /// The prediction in a few words.
    pub(crate) fn words(&self) -> String {
        let harmful =
            self.verdicts.iter().find(|said| said.is_harmful).map(|said| said.fault.replace('_', " "));
        match (harmful, self.is_too_deep) {
            (Some(fault), _) => format!("no: {fault}"),
            (None, true) => "no: too deep".to_owned(),
            (None, false) => "trains".to_owned(),
        }
    }
}

/// The scales of the hidden layers.
struct Scales {
    sigma_w: Option<f64>,
    chi_1: Option<f64>,
    xi_c: Option<f64>,
    xi_grad: Option<f64>,
}

impl Scales {
    /// By mean field theory, from the law of a hidden layer behind a hidden layer.
    fn of(laws: Option<&[LayerLaw<Activation>]>, config: &MlpConfig) -> Self {
        let hidden = laws.filter(|laws| laws.len() > 2).map(|laws| laws[1]);
        let Some(law) = hidden else {
            return Self { sigma_w: None, chi_1: None, xi_c: None, xi_grad: None };
        };
        let weight_variance = law.weight_variance * law.fan_in as f64;
        let field = MeanField { phi: config.activation, weight_variance, bias_variance: law.bias_variance };
        let phase = field.phase();
        let finite = |x: f64| x.is_finite().then_some(x);
        // A scale that rounding made negative, or less than infinite, is infinite.
        let scale = |x: f64| (0.0..LARGEST).contains(&x).then_some(x);
        Self {
            sigma_w: finite(weight_variance.sqrt()),
            chi_1: phase.as_ref().and_then(|phase| finite(phase.chi_1)),
            xi_c: phase.as_ref().and_then(|phase| phase.scales.correlation.and_then(scale)),
            xi_grad: phase.as_ref().and_then(|phase| scale(phase.scales.gradient)),
        }
    }
}

/// The laws from which the layers' weights are drawn; `None` for presets, and for weights of a structure that theory
/// does not cover.
fn laws(start: &Start, config: &MlpConfig, bias_variance: f64) -> Result<Option<Vec<LayerLaw<Activation>>>> {
    let Some(initializer) = start.initializer() else { return Ok(None) };
    let last = config.widths.len() - 1;
    let laws = config.layers().enumerate().map(|(index, (fan_in, fan_out))| {
        let law = initializer.weight_law(&[fan_out, fan_in])?;
        Ok(law.map(|law| LayerLaw {
            fan_in,
            fan_out,
            weight_variance: law.variance,
            bias_variance,
            orthogonal: law.orthogonal,
            phi: if index == last { config.output_activation } else { config.activation },
        }))
    });
    laws.collect()
}
