//! What a dense layer does beside its matrix products, which are cuBLAS'.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{CudaFunction, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::{CudaStorage, WrapErr};
use candle_core::{Layout, Result, Shape, Tensor, bail};
use wick_theory::Activation;

use super::stats::{Board, Ear, MOST_BINS, Wanted, at_once};
use super::{
    Code, Element, address, address_of, blocks, by_type, contiguous, kernel, lasting_kernel, on_gpu, ptx,
    room, tensor,
};
use crate::deferred::Hear;
use crate::dense::Observation;
use crate::summary::Summary;

pub(crate) type Operand<'a> = (&'a CudaStorage, &'a Layout);

/// What a forward pass leaves.
pub(crate) struct Forward {
    pub(crate) output: CudaStorage,
    /// If it was to be kept.
    pub(crate) pre_activation: Option<Tensor>,
    /// The statistics of the output and the fraction of saturated pre-activations, if they were read at once.
    pub(crate) statistics: Option<(Summary, f64)>,
}

/// A layer `φ(x Wᵀ + b)` that goes forward.
pub(crate) struct Layer<'a> {
    pub(crate) activation: Activation,
    pub(crate) xs: Operand<'a>,
    pub(crate) weight: Operand<'a>,
    pub(crate) bias: Option<Operand<'a>>,
    /// Whether the pre-activation is kept.
    pub(crate) keep: bool,
    pub(crate) observation: Option<&'a Observation>,
    /// Of the output.
    pub(crate) shape: &'a Shape,
}

impl Layer<'_> {
    pub(crate) fn forward(&self) -> Result<Forward> {
        by_type!(self.xs.0.dtype(), T => forward_as::<T>(self))
    }
}

fn forward_as<T: Element>(layer: &Layer) -> Result<Forward> {
    let &Layer { activation, xs, weight, bias, keep, observation, shape } = layer;
    let device = xs.0.device().clone();
    let (outputs, inputs) = weight.1.shape().dims2()?;
    let samples = shape.elem_count() / outputs.max(1);
    let count = samples * outputs;
    if count == 0 || inputs == 0 {
        bail!(
            "a dense layer on a GPU takes no empty tensors, as of {:?} and {:?}",
            xs.1.dims(),
            weight.1.dims()
        );
    }
    let (x_start, _) = contiguous(xs.1)?;
    let (w_start, _) = contiguous(weight.1)?;
    let x_layout = Layout::contiguous_with_offset((samples, inputs), x_start);
    let w_layout = Layout::contiguous_with_offset((outputs, inputs), w_start).transpose(0, 1)?;
    let output = xs.0.matmul(weight.0, (1, samples, outputs, inputs), &x_layout, &w_layout)?;
    let kept = keep.then(|| room::<T>(&device, count)).transpose()?;
    if bias.is_none() && activation == Activation::Identity && observation.is_none() && !keep {
        return Ok(Forward { output, pre_activation: None, statistics: None });
    }
    let code = Code::of(activation);
    let zs = address(output.as_cuda_slice::<T>()?);
    let bias = bias.map_or(Ok(0), |(storage, layout)| address_of::<T>(storage, layout))?;
    let kept_at = kept.as_ref().map_or(0, address);
    let (length, width) = (count as u64, outputs as u32);
    let launch = |function: &CudaFunction, ear: Option<Ear>, most: usize| {
        let stream = device.cuda_stream();
        let mut launch = stream.launch_builder(function);
        launch.arg(&code);
        if let Some(ear) = &ear {
            launch.arg(ear);
        }
        launch.arg(&zs).arg(&bias).arg(&kept_at).arg(&zs).arg(&length).arg(&width);
        // SAFETY: the arguments are the kernel's: `count` elements in `zs`, which it overwrites one by one, and in `kept` if
        // there is one, and a bias for each of the `outputs` columns.
        unsafe { launch.launch(blocks(count, most)) }.w()?;
        Ok(())
    };
    let mut statistics = None;
    match observation {
        None => {
            let function = kernel::<T>(&device, "dense_forward", "wick-dense", ptx::DENSE)?;
            launch(&function, None, 1 << 16)?;
        }
        Some(observation) => {
            let (function, most) =
                lasting_kernel::<T>(&device, "dense_forward_heard", "wick-dense", ptx::DENSE)?;
            let (bins, range) = (bins_of(observation)?, activation.range());
            let tails = crate::dense::saturation_thresholds(activation);
            let tails = (tails.0.is_finite() || tails.1.is_finite()).then_some(tails);
            let wanted = Wanted { bins, range, tails, parts: most };
            let record = |board: &mut Board| {
                let place = board.record(wanted, |ear| launch(&function, Some(ear), most))?;
                if range.is_none() {
                    board.histogram::<T>(place, &output, &Layout::contiguous(count))?;
                }
                Ok(place)
            };
            let fraction = move |saturated| saturated as f64 / count as f64;
            match observation.deferred() {
                Some(deferred) => {
                    let observation = observation.clone();
                    let dtype = output.dtype();
                    let hear: Hear = Box::new(move |summary, saturated| {
                        observation.forward(activation, dtype, (summary, fraction(saturated)), None)
                    });
                    deferred.note(&device, bins, record, hear)?;
                }
                None => {
                    let (summary, saturated) = at_once(&device, bins, record)?;
                    statistics = Some((summary, fraction(saturated)));
                }
            }
        }
    }
    let pre_activation = kept.map(|kept| tensor(CudaStorage::wrap_cuda_slice(kept, device.clone()), shape));
    Ok(Forward { output, pre_activation, statistics })
}

/// The number of bins of an observation's histograms, if the kernels can count them.
fn bins_of(observation: &Observation) -> Result<usize> {
    match observation.bins().max(1) {
        bins if bins > MOST_BINS => bail!("a GPU counts at most {MOST_BINS} bins on the way, not {bins}"),
        bins => Ok(bins),
    }
}

/// What a backward pass leaves: the gradients of the pre-activation, and of the bias if there is one.
pub(crate) struct Backward {
    pub(crate) of_z: Tensor,
    pub(crate) bias: Option<Tensor>,
    /// The statistics of the gradient of the output, if they were read at once.
    pub(crate) statistics: Option<Summary>,
}

/// The gradient of a layer's output that goes back through its activation.
pub(crate) struct Gradient<'a> {
    pub(crate) activation: Activation,
    /// What the derivative is computed from: the output if `of_output`, else the pre-activation. Contiguous.
    pub(crate) known: &'a Tensor,
    pub(crate) of_output: bool,
    /// Contiguous and of the same shape, whose last dimension are the outputs.
    pub(crate) gradient: &'a Tensor,
    pub(crate) with_bias: bool,
    pub(crate) observation: Option<&'a Observation>,
}

impl Gradient<'_> {
    pub(crate) fn backward(&self) -> Result<Backward> {
        by_type!(self.gradient.dtype(), T => backward_as::<T>(self))
    }
}

fn backward_as<T: Element>(of: &Gradient) -> Result<Backward> {
    let &Gradient { activation, known, of_output, gradient, with_bias, observation } = of;
    if activation == Activation::Identity && !with_bias && observation.is_none() {
        return Ok(Backward { of_z: gradient.clone(), bias: None, statistics: None });
    }
    let (known_storage, known_layout) = known.storage_and_layout();
    let (gradient_storage, gradient_layout) = gradient.storage_and_layout();
    let (known_storage, gradient_storage) = (on_gpu(&known_storage)?, on_gpu(&gradient_storage)?);
    let device = gradient_storage.device().clone();
    let outputs = gradient.dims().last().copied().unwrap_or(1);
    let count = gradient.elem_count();
    let samples = count / outputs.max(1);
    let of_z = room::<T>(&device, count)?;
    let code = Code::of(activation);
    let known = address_of::<T>(known_storage, known_layout)?;
    let gradient_at = address_of::<T>(gradient_storage, gradient_layout)?;
    let of_z_at = address(&of_z);
    let of_output = i32::from(of_output);
    let finished = |of_z| tensor(CudaStorage::wrap_cuda_slice(of_z, device.clone()), (samples, outputs));
    if !with_bias && observation.is_none() {
        if count > 0 {
            let function = kernel::<T>(&device, "dense_gradient", "wick-dense", ptx::DENSE)?;
            let length = count as u64;
            let stream = device.cuda_stream();
            let mut launch = stream.launch_builder(&function);
            launch.arg(&code).arg(&known).arg(&of_output).arg(&gradient_at).arg(&of_z_at).arg(&length);
            // SAFETY: the arguments are the kernel's: `count` elements in `known`, `gradient` and `of_z`.
            unsafe { launch.launch(blocks(count, 1 << 16)) }.w()?;
        }
        return Ok(Backward { of_z: finished(of_z), bias: None, statistics: None });
    }

    // 32 columns and some eighths of the rows to a block: as many blocks as are run at once, but few parts to a column.
    let (function, most) = lasting_kernel::<T>(&device, "dense_backward", "wick-dense", ptx::DENSE)?;
    let groups = outputs.div_ceil(32);
    let rows = (most / groups.max(1)).min(256).clamp(1, samples.div_ceil(32).max(1));
    let config = LaunchConfig {
        grid_dim: (groups as u32, rows as u32, 1),
        block_dim: (32, 8, 1),
        shared_mem_bytes: 0,
    };

    let of_bias = with_bias.then(|| room::<T>(&device, outputs)).transpose()?;
    let sums = with_bias.then(|| room::<f64>(&device, rows * outputs)).transpose()?;
    let tickets = with_bias.then(|| device.alloc_zeros::<u64>(groups)).transpose()?;
    let of_bias_at = of_bias.as_ref().map_or(0, address);
    let (sums_at, tickets_at) = (sums.as_ref().map_or(0, address), tickets.as_ref().map_or(0, address));
    let (height, width) = (samples as u64, outputs as u32);
    let launch = |ear: Ear| {
        let stream = device.cuda_stream();
        let mut launch = stream.launch_builder(&function);
        launch
            .arg(&code)
            .arg(&ear)
            .arg(&known)
            .arg(&of_output)
            .arg(&gradient_at)
            .arg(&of_z_at)
            .arg(&of_bias_at);
        launch.arg(&sums_at).arg(&tickets_at).arg(&height).arg(&width);
        // SAFETY: the arguments are the kernel's: `samples` rows of `outputs` in `known`, `gradient` and `of_z`, a number for
        // each column in `of_bias` if there is one, and then in each of the `rows` rows of `sums`, and a ticket for each group.
        unsafe { launch.launch(config) }.w()?;
        Ok(())
    };
    let mut statistics = None;
    match observation {
        None => launch(Ear::default())?,
        Some(observation) => {
            let bins = bins_of(observation)?;
            let wanted = Wanted { bins, range: None, tails: None, parts: groups * rows };
            let record = |board: &mut Board| {
                let place = board.record(wanted, launch)?;
                board.histogram::<T>(place, gradient_storage, gradient_layout)?;
                Ok(place)
            };
            match observation.deferred() {
                Some(deferred) => {
                    let observation = observation.clone();
                    let dtype = gradient.dtype();
                    let hear: Hear = Box::new(move |summary, _| observation.backward(dtype, summary, None));
                    deferred.note(&device, bins, record, hear)?;
                }
                None => statistics = Some(at_once(&device, bins, record)?.0),
            }
        }
    }
    let of_z = finished(of_z);
    let bias = of_bias.map(|bias| tensor(CudaStorage::wrap_cuda_slice(bias, device.clone()), outputs));
    Ok(Backward { of_z, bias, statistics })
}
