//! A probe, parameters and losses together, asked once a step.

use candle_core::{DType, Result, Tensor, Var};
use wick_theory::BatchGeometry;

use crate::diagnose::course::Course;
use crate::diagnose::diagnosis::Diagnosis;
use crate::observe::parameters::Parameters;
use crate::observe::probe::Probe;
use crate::observe::units::Units;

/// Watches a training: a [`Probe`] for the layers, the parameters before each step and at the start, and the losses.
/// [`step`](Self::step), behind each step of the optimizer, gives the [`Diagnosis`] of a step that is looked at.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use wick_probe::{Fault, Monitor, Probe};
///
/// let x = Tensor::arange(0f32, 32.0, &Device::Cpu)?.sin()?.reshape((16, 2))?;
/// let w = Var::new(&[[0.8f32, -0.3], [0.4, 0.9]], &Device::Cpu)?;
/// let mut monitor = Monitor::new(Probe::new().with_units(), &[("w".to_owned(), w.clone())])?;
/// for (rate, healthy) in [(0.01, true), (10.0, false)] {
///     let h = monitor.probe().tap("layer", &x.matmul(&w)?.tanh()?)?; // go on with what the tap returns
///     let loss = h.sqr()?.mean_all()?;
///     let gradient = loss.backward()?.remove(&w).expect("the loss depends on it");
///     w.set(&(w.as_tensor() - (gradient * rate)?)?)?;
///     let found = monitor.step(&x, &loss)?.expect("every step is looked at");
///     assert_eq!(found.is_healthy(), healthy, "{found}");
/// }
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Monitor {
    probe: Probe,
    vars: Vec<(String, Var)>,
    start: Parameters,
    /// The parameters before the next step, if that is looked at.
    before: Option<Parameters>,
    losses: Course,
}

impl Monitor {
    /// Watches by the probe, of which every step is looked at or one in [`every`](Probe::every), and copies the
    /// parameters, which are given in forward order. The copies take twice the parameters' memory; of the losses of a run
    /// of any length at most 70 kB are kept, as means of losses that follow each other where they are more than 4095.
    ///
    /// # Errors
    /// If the device has no memory for the copies.
    pub fn new(probe: Probe, vars: &[(String, Var)]) -> Result<Self> {
        let start = Parameters::of(vars)?;
        let before = probe.is_recording().then(|| start.clone());
        Ok(Self { probe, vars: vars.to_vec(), start, before, losses: Course::default() })
    }

    /// The probe, for the taps of the forward pass.
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// Ends a step, behind the backward pass and the step of the optimizer: what is to be said of it, or `None` if it is
    /// not looked at. `input` is the batch, its first dimension that of the samples; integers, which are looked up, have
    /// no scale. `loss` is the batch's, one number.
    ///
    /// # Errors
    /// If the loss has more than one number, and those of the device.
    pub fn step(&mut self, input: &Tensor, loss: &Tensor) -> Result<Option<Diagnosis>> {
        self.losses.push(loss.detach().to_dtype(DType::F64)?.flatten_all()?.squeeze(0)?.to_scalar()?);
        let found = match self.before.take() {
            Some(before) => {
                let (step, since_start) = (before.updates(&self.vars)?, self.start.updates(&self.vars)?);
                let layers = self.probe.layer_reports();
                let (input, of_loss) = (geometry(input)?, self.losses.judge());
                Some(Diagnosis::with_loss(&layers, &input, &step, &since_start, of_loss))
            }
            None => None,
        };
        self.probe.next_step();
        if self.probe.is_recording() {
            self.before = Some(Parameters::of(&self.vars)?);
        }
        Ok(found)
    }
}

/// The lengths and cosines of the samples of a batch.
fn geometry(input: &Tensor) -> Result<BatchGeometry> {
    let samples = input.dims().first().copied().unwrap_or(1);
    if input.dtype().is_int() || input.elem_count() == 0 {
        return Ok(BatchGeometry::normal(samples.max(1), 1, 1.0));
    }
    let rows = input.detach().reshape((samples, ()))?;
    if let Some(units) = Units::of(&rows)? {
        return Ok(units.batch);
    }
    let values = rows.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    Ok(BatchGeometry::of_f64(&values, values.len() / samples))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use wick_theory::Activation;

    use crate::diagnose::fault::{Fault, Level};

    /// Numbers without a pattern, of about the given size.
    fn numbers(seed: f64, shape: (usize, usize), size: f64) -> Result<Tensor> {
        let count = shape.0 * shape.1;
        let xs: Vec<f32> = (0..count)
            .map(|i| ((i as f64 * 12.9898 + seed).sin() * 43758.5453).fract() as f32 * (1.7 * size) as f32)
            .collect();
        Tensor::from_vec(xs, shape, &Device::Cpu)
    }

    struct Net {
        vars: Vec<(String, Var)>,
        with_activation: bool,
        /// What the loss takes of the second head: its output, nothing or 0 times it.
        aux: Option<f64>,
    }

    impl Net {
        fn new() -> Result<Self> {
            let mut vars = Vec::new();
            for (index, (name, out, fan_in)) in
                [("fc0", 32, 16), ("fc1", 32, 32), ("aux", 5, 32), ("out", 4, 32)].into_iter().enumerate()
            {
                let w = numbers(index as f64, (out, fan_in), (2.0 / fan_in as f64).sqrt())?;
                vars.push((format!("{name}.weight"), Var::from_tensor(&w)?));
                vars.push((format!("{name}.bias"), Var::zeros(out, DType::F32, &Device::Cpu)?));
            }
            Ok(Self { vars, with_activation: true, aux: None })
        }

        fn layer(&self, name: &str, x: &Tensor) -> Result<Tensor> {
            let var = |part: &str| {
                &self.vars.iter().find(|(known, _)| *known == format!("{name}.{part}")).unwrap().1
            };
            x.matmul(&var("weight").t()?)?.broadcast_add(var("bias"))
        }

        fn set(&self, name: &str, at: usize, x: f32) -> Result<()> {
            let var = &self.vars.iter().find(|(known, _)| known == name).unwrap().1;
            let mut values = var.flatten_all()?.to_vec1::<f32>()?;
            if at == usize::MAX {
                values.fill(x);
            } else {
                values[at] = x;
            }
            var.set(&Tensor::from_vec(values, var.dims(), &Device::Cpu)?)
        }

        /// The diagnosis of the last of some steps.
        fn diagnosis(&self, steps: u8) -> Result<Diagnosis> {
            let mut monitor = Monitor::new(Probe::new().with_units(), &self.vars)?;
            let mut found = None;
            for step in 0..steps {
                let x = numbers(100.0 + f64::from(step), (64, 16), 1.0)?;
                let (probe, mut h) = (monitor.probe().clone(), x.clone());
                for name in ["fc0", "fc1"] {
                    let z = self.layer(name, &h)?;
                    h = match self.with_activation {
                        true => probe.tap_activation(name, Activation::Relu, &z, &z.relu()?)?,
                        false => probe.tap(name, &z.relu()?)?,
                    };
                }
                let aux = probe.tap("aux", &self.layer("aux", &h)?)?;
                let mut loss = probe.tap("out", &self.layer("out", &h)?)?.sqr()?.mean_all()?;
                if let Some(factor) = self.aux {
                    loss = (loss + (aux.sqr()?.mean_all()? * factor)?)?;
                }
                let gradients = loss.backward()?;
                for (_, var) in &self.vars {
                    if let Some(gradient) = gradients.get(var) {
                        var.set(&(var.as_tensor() - (gradient * 0.01)?)?)?;
                    }
                }
                found = monitor.step(&x, &loss)?;
            }
            Ok(found.expect("every step is looked at"))
        }
    }

    /// A head on which the loss does not depend has a note and no verdict, whether it gets no gradient or one of 0; one on
    /// which it depends has none.
    #[test]
    fn a_head_that_is_not_used_is_a_note() -> Result<()> {
        for (aux, is_noted) in [(None, true), (Some(0.0), true), (Some(1.0), false)] {
            let found = Net { aux, ..Net::new()? }.diagnosis(2)?;
            let noted =
                found.notes.iter().any(|note| note.starts_with("aux: the loss does not depend on it"));
            assert_eq!((found.verdicts.len(), noted), (0, is_noted), "{aux:?}: {found}");
        }
        Ok(())
    }

    /// Candle's relu makes 0 of NaN. The layer is named where the pre-activations are read; else the layer whose gradient
    /// is NaN, and that it can lie before.
    #[test]
    fn nan_that_relu_hides_is_named() -> Result<()> {
        for (with_activation, layer, said) in [
            (true, "fc1", "relu makes numbers of them"),
            (false, "fc0", "or before it, where relu makes 0 of NaN"),
        ] {
            let net = Net { with_activation, aux: Some(1.0), ..Net::new()? };
            net.set("fc1.weight", 40, f32::NAN)?;
            let found = net.diagnosis(1)?;
            let first = found.verdicts.first().expect("a weight is NaN");
            let is_named = (first.fault, first.layer.as_str()) == (Fault::NonFinite, layer);
            assert!(is_named && first.text.contains(said), "{found}");
        }
        Ok(())
    }

    /// A layer whose units are all dead comes first, and updates behind it have no advice.
    #[test]
    fn a_dead_layer_is_the_cause() -> Result<()> {
        let net = Net { aux: Some(1.0), ..Net::new()? };
        net.set("fc1.bias", usize::MAX, -60.0)?;
        let found = net.diagnosis(2)?;
        let first = &found.verdicts[0];
        assert_eq!((first.level, first.layer.as_str()), (Level::Broken, "fc1"), "{found}");
        let updates: Vec<_> =
            found.verdicts.iter().filter(|verdict| verdict.fault == Fault::UpdateRatio).collect();
        assert!(
            !updates.is_empty() && updates.iter().all(|verdict| verdict.remedy == "it follows from fc1"),
            "{found}"
        );
        Ok(())
    }

    /// One step in two is looked at; integers and single samples have a geometry.
    #[test]
    fn steps_that_are_left_out_have_no_diagnosis() -> Result<()> {
        let w = Var::ones((2, 3), DType::F32, &Device::Cpu)?;
        let mut monitor = Monitor::new(Probe::new().every(2), &[("w".to_owned(), w.clone())])?;
        let loss = w.sum_all()?;
        let inputs = [
            Tensor::zeros((4, 2), DType::U32, &Device::Cpu)?,
            Tensor::ones((4, 2), DType::F32, &Device::Cpu)?,
            Tensor::ones(5, DType::F32, &Device::Cpu)?,
            Tensor::ones((1, 3), DType::F32, &Device::Cpu)?,
            Tensor::zeros((0, 3), DType::F32, &Device::Cpu)?,
        ];
        for (index, input) in inputs.iter().enumerate() {
            assert_eq!(monitor.step(input, &loss)?.is_some(), index % 2 == 0);
            assert!(geometry(input)?.samples >= 1);
        }
        assert!(monitor.step(&inputs[1], &w).is_err());
        Ok(())
    }
}
