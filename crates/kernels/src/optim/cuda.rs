//! Steps over many variables on a GPU in one launch: what the optimizers share.

use candle_core::backprop::GradStore;
use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DeviceRepr, LaunchConfig, ValidAsZeroBits};
use candle_core::{DType, Device, Result, Tensor, Var, bail};

use crate::cuda::launch::{THREADS, address_of, on_gpu};

/// The `f32` variables of the first GPU that any of the variables is on, and all others.
pub(crate) fn on_first_gpu(vars: Vec<Var>) -> (Option<(CudaDevice, Vec<Var>)>, Vec<Var>) {
    let is_ours = |var: &Var| var.device().is_cuda() && var.dtype() == DType::F32 && var.is_contiguous();
    let Some(Ok(device)) =
        vars.iter().find(|var| is_ours(var)).map(|var| var.device().as_cuda_device().cloned())
    else {
        return (None, vars);
    };
    let gpu = Device::Cuda(device.clone());
    let (ours, others) = vars.into_iter().partition(|var| is_ours(var) && var.device().same_device(&gpu));
    (Some((device, ours)), others)
}

/// The number of parameters that one launch takes: `MAX_PARAMETERS` in `optimizer.cu`.
const MAX_PARAMETERS: usize = 100;
/// The number of numbers that one block steps: `PART` in `optimizer.cu`.
const PART: usize = 1024;

/// A variable, its gradient and its state: `Parameter` in `optimizer.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Parameter {
    weights: u64,
    gradients: u64,
    count: u64,
    start: u64,
    end: u64,
}

/// The parameters of one launch: `Parameters` in `optimizer.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameters {
    at: [Parameter; MAX_PARAMETERS],
    count: u64,
}

// SAFETY: plain numbers, laid out as in C.
unsafe impl DeviceRepr for Parameters {}

/// The `f32` variables of one device, each with the index at which its numbers begin in the optimizer's
/// state.
#[derive(Debug)]
pub(super) struct Vars {
    pub(super) device: CudaDevice,
    vars: Vec<(Var, usize)>,
    state_size: usize,
}

impl Vars {
    pub(super) fn new(device: &CudaDevice, vars: Vec<Var>) -> Self {
        let mut state_size = 0;
        let with_start = |var: Var| {
            let start = state_size;
            state_size += var.elem_count();
            (var, start)
        };
        let vars = vars.into_iter().map(with_start).collect();
        Self { device: device.clone(), vars, state_size }
    }

    /// A number of the optimizer's state, zero at first, for each number of the variables.
    pub(super) fn zeros(&self) -> Result<CudaSlice<f32>> {
        self.device.alloc_zeros(self.state_size.max(1))
    }

    /// Calls `launch` with all parameters that have a gradient, at most [`MAX_PARAMETERS`] at a time. Each
    /// has as many gradients as weights, and its numbers of the state lie within [`zeros`](Self::zeros).
    pub(super) fn launch(
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
        for some in found.chunks(MAX_PARAMETERS) {
            let mut all = Parameters { at: [Parameter::default(); MAX_PARAMETERS], count: some.len() as u64 };
            let mut end = 0;
            for (parameter, (var, gradient, start)) in all.at.iter_mut().zip(some) {
                let count = var.elem_count();
                end += count.div_ceil(PART);
                *parameter = Parameter {
                    weights: tensor_address(var)?,
                    gradients: tensor_address(gradient)?,
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

/// The address of a contiguous `f32` tensor.
fn tensor_address(xs: &Tensor) -> Result<u64> {
    let (storage, layout) = xs.storage_and_layout();
    address_of::<f32>(on_gpu(&storage)?, layout)
}

/// The parameters of an optimizer, on the device.
#[derive(Debug)]
pub(super) struct Settings<T> {
    on_device: CudaSlice<T>,
    /// Parameters that the device does not have yet.
    changed: Option<T>,
}

impl<T: DeviceRepr + ValidAsZeroBits + Copy + 'static> Settings<T> {
    pub(super) fn new(device: &CudaDevice, settings: T) -> Result<Self> {
        Ok(Self { on_device: device.alloc_zeros(1)?, changed: Some(settings) })
    }

    /// Changes the settings on the device at once, for a recorded step that is replayed. If the device fails,
    /// the next step tries again and returns the error.
    pub(super) fn set(&mut self, device: &CudaDevice, settings: T) {
        self.changed = match device.memcpy_htod(&[settings], &mut self.on_device) {
            Ok(()) => None,
            Err(_) => Some(settings),
        };
    }

    /// The settings on the device.
    pub(super) fn now(&mut self, device: &CudaDevice) -> Result<&CudaSlice<T>> {
        if let Some(settings) = self.changed.take() {
            device.memcpy_htod(&[settings], &mut self.on_device)?;
        }
        Ok(&self.on_device)
    }
}
