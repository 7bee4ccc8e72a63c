//! The kernels of a dense layer on an NVIDIA GPU, around the matrix products of cuBLAS.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{CudaFunction, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::{CudaStorage, WrapErr};
use candle_core::{Layout, Result, Shape, Tensor, bail};
use wick_theory::Activation;

use crate::activation::code::Code;
use crate::cuda::launch::{
    DeviceElement, address, address_of, alloc_uninit, blocks, by_type, contiguous, kernel, on_gpu,
    persistent_kernel, ptx, tensor,
};
use crate::dense::observer::Observation;
use crate::stats::cuda::{MAX_BINS, RecordArena, Request, Sink, summarize_now};
use crate::stats::deferred::Callback;
use crate::stats::partial::Summary;

pub(super) type Operand<'a> = (&'a CudaStorage, &'a Layout);

/// The results of a forward pass.
pub(super) struct Forward {
    pub(super) output: CudaStorage,
    /// The pre-activation, if it was to be kept.
    pub(super) pre_activation: Option<Tensor>,
    /// The statistics of the output and the fraction of saturated pre-activations, if they were read at once.
    pub(super) statistics: Option<(Summary, f64)>,
}

/// The forward pass of a layer `φ(x Wᵀ + b)`.
pub(super) struct Layer<'a> {
    pub(super) activation: Activation,
    pub(super) xs: Operand<'a>,
    pub(super) weight: Operand<'a>,
    pub(super) bias: Option<Operand<'a>>,
    /// Whether the pre-activation is kept.
    pub(super) keep: bool,
    pub(super) observation: Option<&'a Observation>,
    /// The shape of the output.
    pub(super) shape: &'a Shape,
}

impl Layer<'_> {
    pub(super) fn forward(&self) -> Result<Forward> {
        by_type!(self.xs.0.dtype(), T => forward_as::<T>(self))
    }
}

fn forward_as<T: DeviceElement>(layer: &Layer) -> Result<Forward> {
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
    // SAFETY: the kernel writes all `count` elements; it is launched below, as `keep` excludes the early
    // return.
    let kept = keep.then(|| unsafe { alloc_uninit::<T>(&device, count) }).transpose()?;
    if bias.is_none() && activation == Activation::Identity && observation.is_none() && !keep {
        return Ok(Forward { output, pre_activation: None, statistics: None });
    }
    let code = Code::new(activation);
    let zs = address(output.as_cuda_slice::<T>()?);
    let bias = bias.map_or(Ok(0), |(storage, layout)| address_of::<T>(storage, layout))?;
    let kept_at = kept.as_ref().map_or(0, address);
    let (length, width) = (count as u64, outputs as u32);
    let launch = |function: &CudaFunction, sink: Option<Sink>, max_blocks: usize| {
        let stream = device.cuda_stream();
        let mut launch = stream.launch_builder(function);
        launch.arg(&code);
        if let Some(sink) = &sink {
            launch.arg(sink);
        }
        launch.arg(&zs).arg(&bias).arg(&kept_at).arg(&zs).arg(&length).arg(&width);
        // SAFETY: the arguments are those of the kernel: `count` elements in `zs`, which it overwrites one by
        // one, and in `kept` if there is one; `outputs` biases if there are any; and a record and parts as
        // `RecordArena::record` makes them.
        unsafe { launch.launch(blocks(count, max_blocks)) }.w()?;
        Ok(())
    };
    let mut statistics = None;
    match observation {
        None => {
            let function = kernel::<T>(&device, "dense_forward", "wick-dense", ptx::DENSE)?;
            launch(&function, None, 1 << 16)?;
        }
        Some(observation) => {
            let (function, max_blocks) =
                persistent_kernel::<T>(&device, "dense_forward_observed", "wick-dense", ptx::DENSE)?;
            let (bins, range) = (bins_of(observation)?, activation.range());
            let (low, high) = activation.saturation_thresholds();
            let thresholds = (low.is_finite() || high.is_finite()).then_some((low, high));
            let request = Request { bins, range, thresholds, parts: max_blocks };
            let record = |arena: &mut RecordArena| {
                let id = arena.record(request, |sink| launch(&function, Some(sink), max_blocks))?;
                if range.is_none() {
                    arena.histogram::<T>(id, &output, &Layout::contiguous(count))?;
                }
                Ok(id)
            };
            let fraction = move |saturated: u64| saturated as f64 / count as f64;
            match observation.deferred() {
                Some(deferred) => {
                    let observation = observation.clone();
                    let dtype = output.dtype();
                    let callback: Callback = Box::new(move |summary, saturated| {
                        observation.forward(activation, dtype, (summary, fraction(saturated)), None)
                    });
                    deferred.defer(&device, bins, record, callback)?;
                }
                None => {
                    let (summary, saturated) = summarize_now(&device, bins, record)?;
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
        bins if bins > MAX_BINS => {
            bail!("a GPU counts at most {MAX_BINS} bins while it computes, not {bins}")
        }
        bins => Ok(bins),
    }
}

/// The results of a backward pass: the gradients of the pre-activation, and of the bias if there is one.
pub(super) struct Backward {
    pub(super) of_z: Tensor,
    pub(super) bias: Option<Tensor>,
    /// The statistics of the gradient of the output, if they were read at once.
    pub(super) statistics: Option<Summary>,
}

/// The backward pass of a layer through its activation.
pub(super) struct Gradient<'a> {
    pub(super) activation: Activation,
    /// The tensor that the derivative is computed from: the output if `of_output`, else the pre-activation.
    /// Contiguous.
    pub(super) known: &'a Tensor,
    pub(super) of_output: bool,
    /// The gradient of the output, contiguous and of the same shape, whose last dimension is that of the
    /// outputs.
    pub(super) gradient: &'a Tensor,
    pub(super) with_bias: bool,
    pub(super) observation: Option<&'a Observation>,
}

impl Gradient<'_> {
    pub(super) fn backward(&self) -> Result<Backward> {
        by_type!(self.gradient.dtype(), T => backward_as::<T>(self))
    }
}

fn backward_as<T: DeviceElement>(of: &Gradient) -> Result<Backward> {
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
    // SAFETY: the kernel writes all `count` elements.
    let of_z = unsafe { alloc_uninit::<T>(&device, count)? };
    let code = Code::new(activation);
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
            // SAFETY: the arguments are those of the kernel: `count` elements in `known`, `gradient` and
            // `of_z` each.
            unsafe { launch.launch(blocks(count, 1 << 16)) }.w()?;
        }
        return Ok(Backward { of_z: finished(of_z), bias: None, statistics: None });
    }

    // A block takes 32 columns and a part of the rows: as many blocks as run at once, but few parts to a
    // column.
    let (function, max_blocks) = persistent_kernel::<T>(&device, "dense_backward", "wick-dense", ptx::DENSE)?;
    let groups = outputs.div_ceil(32);
    let rows = (max_blocks / groups.max(1)).min(256).clamp(1, samples.div_ceil(32).max(1));
    let config = LaunchConfig {
        grid_dim: (groups as u32, rows as u32, 1),
        block_dim: (32, 8, 1),
        shared_mem_bytes: 0,
    };

    // SAFETY: the last block of each group of columns writes their `of_bias`.
    let of_bias = with_bias.then(|| unsafe { alloc_uninit::<T>(&device, outputs) }).transpose()?;
    // SAFETY: every block writes the `sums` of its columns before the last block of the group reads them.
    let sums = with_bias.then(|| unsafe { alloc_uninit::<f64>(&device, rows * outputs) }).transpose()?;
    let tickets = with_bias.then(|| device.alloc_zeros::<u64>(groups)).transpose()?;
    let of_bias_at = of_bias.as_ref().map_or(0, address);
    let (sums_at, tickets_at) = (sums.as_ref().map_or(0, address), tickets.as_ref().map_or(0, address));
    let (height, width) = (samples as u64, outputs as u32);
    let launch = |sink: Sink| {
        let stream = device.cuda_stream();
        let mut launch = stream.launch_builder(&function);
        launch
            .arg(&code)
            .arg(&sink)
            .arg(&known)
            .arg(&of_output)
            .arg(&gradient_at)
            .arg(&of_z_at)
            .arg(&of_bias_at);
        launch.arg(&sums_at).arg(&tickets_at).arg(&height).arg(&width);
        // SAFETY: the arguments are those of the kernel: `samples` rows of `outputs` elements in `known`,
        // `gradient` and `of_z` each; if there is a bias, `outputs` elements in `of_bias`, `rows·outputs` in
        // `sums`, and `groups` zeros in `tickets`; and a record and parts as `RecordArena::record` makes them
        // for `groups·rows` blocks.
        unsafe { launch.launch(config) }.w()?;
        Ok(())
    };
    let mut statistics = None;
    match observation {
        None => launch(Sink::default())?,
        Some(observation) => {
            let bins = bins_of(observation)?;
            let request = Request { bins, range: None, thresholds: None, parts: groups * rows };
            let record = |arena: &mut RecordArena| {
                let id = arena.record(request, launch)?;
                arena.histogram::<T>(id, gradient_storage, gradient_layout)?;
                Ok(id)
            };
            match observation.deferred() {
                Some(deferred) => {
                    let observation = observation.clone();
                    let dtype = gradient.dtype();
                    let callback: Callback =
                        Box::new(move |summary, _| observation.backward(dtype, summary, None));
                    deferred.defer(&device, bins, record, callback)?;
                }
                None => statistics = Some(summarize_now(&device, bins, record)?.0),
            }
        }
    }
    let of_z = finished(of_z);
    let bias = of_bias.map(|bias| tensor(CudaStorage::wrap_cuda_slice(bias, device.clone()), outputs));
    Ok(Backward { of_z, bias, statistics })
}
