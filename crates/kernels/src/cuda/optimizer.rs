//! Steps over many parameters in one launch.

use candle_core::backprop::GradStore;
use candle_core::cuda_backend::cudarc::driver::{
    CudaSlice, DeviceRepr, LaunchConfig, PushKernelArg, ValidAsZeroBits,
};
use candle_core::cuda_backend::{CudaDevice, WrapErr};
use candle_core::{DType, Result, Tensor, Var, bail};
use candle_nn::ParamsAdamW;

use super::{THREADS, address_of, function, on_gpu, ptx};
use crate::ParamsSgd;

/// Parameters that one launch takes: `MOST` in `optimizer.cu`.
const MOST: usize = 100;
/// Numbers that one block steps: `PART` in `optimizer.cu`.
const PART: usize = 1024;

/// `Parameter` in `optimizer.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Parameter {
    weights: u64,
    gradients: u64,
    count: u64,
    start: u64,
    end: u64,
}

/// `Parameters` in `optimizer.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Parameters {
    at: [Parameter; MOST],
    count: u64,
}

// SAFETY: plain numbers, laid out as in C.
unsafe impl DeviceRepr for Parameters {}

/// The `f32` variables of one device, and where each one's numbers begin in what the optimizer keeps.
#[derive(Debug)]
struct Vars {
    device: CudaDevice,
    vars: Vec<(Var, usize)>,
    kept: usize,
}

impl Vars {
    fn new(device: &CudaDevice, vars: Vec<Var>) -> Self {
        let mut kept = 0;
        let place = |var: Var| {
            let start = kept;
            kept += var.elem_count();
            (var, start)
        };
        let vars = vars.into_iter().map(place).collect();
        Self { device: device.clone(), vars, kept }
    }

    fn zeros(&self) -> Result<CudaSlice<f32>> {
        self.device.alloc_zeros(self.kept.max(1))
    }

    /// Launches on all parameters that have a gradient, at most [`MOST`] at a time.
    fn launch(
        &self,
        gradients: &GradStore,
        mut launch: impl FnMut(&Parameters, LaunchConfig) -> Result<()>,
    ) -> Result<()> {
        let mut found = Vec::with_capacity(self.vars.len());
        for (var, start) in &self.vars {
            if let Some(gradient) = gradients.get(var).filter(|gradient| gradient.elem_count() > 0) {
                if gradient.elem_count() != var.elem_count() {
                    bail!("a gradient of {:?} for a variable of {:?}", gradient.dims(), var.dims());
                }
                found.push((var.as_tensor(), gradient.to_dtype(DType::F32)?.contiguous()?, *start));
            }
        }
        for some in found.chunks(MOST) {
            let mut all = Parameters { at: [Parameter::default(); MOST], count: some.len() as u64 };
            let mut end = 0;
            for (place, (var, gradient, start)) in all.at.iter_mut().zip(some) {
                let count = var.elem_count();
                end += count.div_ceil(PART);
                *place = Parameter {
                    weights: begin(var)?,
                    gradients: begin(gradient)?,
                    count: count as u64,
                    start: *start as u64,
                    end: end as u64,
                };
            }
            let config = LaunchConfig {
                grid_dim: (end as u32, 1, 1),
                block_dim: (THREADS, 1, 1),
                shared_mem_bytes: 0,
            };
            launch(&all, config)?;
        }
        Ok(())
    }
}

/// Where a contiguous `f32` tensor begins.
fn begin(xs: &Tensor) -> Result<u64> {
    let (storage, layout) = xs.storage_and_layout();
    address_of::<f32>(on_gpu(&storage)?, layout)
}

/// What the user sets, on the device.
#[derive(Debug)]
struct Settings<T> {
    there: CudaSlice<T>,
    changed: Option<T>,
}

impl<T: DeviceRepr + ValidAsZeroBits + Copy + 'static> Settings<T> {
    fn new(device: &CudaDevice, settings: T) -> Result<Self> {
        Ok(Self { there: device.alloc_zeros(1)?, changed: Some(settings) })
    }

    /// Changes them there at once, for a recorded step that is launched again. If the device does not answer, the next step
    /// says so.
    fn set(&mut self, device: &CudaDevice, settings: T) {
        self.changed = match device.memcpy_htod(&[settings], &mut self.there) {
            Ok(()) => None,
            Err(_) => Some(settings),
        };
    }

    fn now(&mut self, device: &CudaDevice) -> Result<&CudaSlice<T>> {
        if let Some(settings) = self.changed.take() {
            device.memcpy_htod(&[settings], &mut self.there)?;
        }
        Ok(&self.there)
    }
}

/// `AdamSettings` in `optimizer.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct AdamSettings {
    decay1: f64,
    decay2: f64,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    eps: f32,
    rate: f32,
    keep: f32,
    unused: f32,
}

// SAFETY: plain numbers, laid out as in C.
unsafe impl DeviceRepr for AdamSettings {}
// SAFETY: all zeros are numbers.
unsafe impl ValidAsZeroBits for AdamSettings {}

impl AdamSettings {
    fn of(params: &ParamsAdamW) -> Self {
        let ParamsAdamW { lr, beta1, beta2, eps, weight_decay } = *params;
        Self {
            decay1: beta1,
            decay2: beta2,
            beta1: beta1 as f32,
            rest1: (1.0 - beta1) as f32,
            beta2: beta2 as f32,
            rest2: (1.0 - beta2) as f32,
            eps: eps as f32,
            rate: lr as f32,
            keep: (1.0 - lr * weight_decay) as f32,
            unused: 0.0,
        }
    }
}

/// `AdamState` in `optimizer.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct AdamState {
    power1: f64,
    power2: f64,
    scale1: f32,
    scale2: f32,
}

// SAFETY: plain numbers, laid out as in C.
unsafe impl DeviceRepr for AdamState {}

/// AdamW on a device. The number of steps is kept there, so that a captured step can be launched again.
#[derive(Debug)]
pub(crate) struct Adam {
    vars: Vars,
    first: CudaSlice<f32>,
    second: CudaSlice<f32>,
    state: CudaSlice<AdamState>,
    settings: Settings<AdamSettings>,
}

impl Adam {
    pub(crate) fn new(device: &CudaDevice, vars: Vec<Var>, params: &ParamsAdamW) -> Result<Self> {
        let vars = Vars::new(device, vars);
        let start = AdamState { power1: 1.0, power2: 1.0, scale1: 0.0, scale2: 0.0 };
        Ok(Self {
            first: vars.zeros()?,
            second: vars.zeros()?,
            state: device.clone_htod(&[start])?,
            settings: Settings::new(device, AdamSettings::of(params))?,
            vars,
        })
    }

    pub(crate) fn set(&mut self, params: &ParamsAdamW) {
        self.settings.set(&self.vars.device, AdamSettings::of(params));
    }

    pub(crate) fn step(&mut self, gradients: &GradStore) -> Result<()> {
        let Self { vars, first, second, state, settings } = self;
        let device = vars.device.clone();
        let settings = settings.now(&device)?;
        let tick = function(&device, "adam_tick", "wick-optimizer", ptx::OPTIMIZER)?;
        let once = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (1, 1, 1), shared_mem_bytes: 0 };
        let stream = device.cuda_stream();
        let mut launch = stream.launch_builder(&tick);
        launch.arg(settings).arg(&mut *state);
        // SAFETY: the arguments are the kernel's.
        unsafe { launch.launch(once) }.w()?;
        let step = function(&device, "adamw", "wick-optimizer", ptx::OPTIMIZER)?;
        vars.launch(gradients, |all, config| {
            let mut launch = stream.launch_builder(&step);
            launch.arg(all).arg(settings).arg(&*state).arg(&mut *first).arg(&mut *second);
            // SAFETY: the arguments are the kernel's; `first` and `second` have room for every variable.
            unsafe { launch.launch(config) }.w()?;
            Ok(())
        })
    }
}

/// `SgdSettings` in `optimizer.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct SgdSettings {
    rate: f32,
    momentum: f32,
    decay: f32,
    nesterov: i32,
}

// SAFETY: plain numbers, laid out as in C.
unsafe impl DeviceRepr for SgdSettings {}
// SAFETY: all zeros are numbers.
unsafe impl ValidAsZeroBits for SgdSettings {}

impl SgdSettings {
    fn of(params: ParamsSgd) -> Self {
        let ParamsSgd { lr, momentum, weight_decay, nesterov } = params;
        Self {
            rate: lr as f32,
            momentum: momentum as f32,
            decay: weight_decay as f32,
            nesterov: nesterov.into(),
        }
    }
}

/// Gradient descent with momentum on a device.
#[derive(Debug)]
pub(crate) struct Momentum {
    vars: Vars,
    velocity: CudaSlice<f32>,
    settings: Settings<SgdSettings>,
}

impl Momentum {
    pub(crate) fn new(device: &CudaDevice, vars: Vec<Var>, params: ParamsSgd) -> Result<Self> {
        let vars = Vars::new(device, vars);
        let settings = Settings::new(device, SgdSettings::of(params))?;
        Ok(Self { velocity: vars.zeros()?, settings, vars })
    }

    pub(crate) fn set(&mut self, params: ParamsSgd) {
        self.settings.set(&self.vars.device, SgdSettings::of(params));
    }

    pub(crate) fn step(&mut self, gradients: &GradStore) -> Result<()> {
        let Self { vars, velocity, settings } = self;
        let device = vars.device.clone();
        let settings = settings.now(&device)?;
        let stream = device.cuda_stream();
        let step = function(&device, "sgd", "wick-optimizer", ptx::OPTIMIZER)?;
        vars.launch(gradients, |all, config| {
            let mut launch = stream.launch_builder(&step);
            launch.arg(all).arg(settings).arg(&mut *velocity);
            // SAFETY: the arguments are the kernel's; `velocity` has room for every variable.
            unsafe { launch.launch(config) }.w()?;
            Ok(())
        })
    }
}
