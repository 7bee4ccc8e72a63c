//! Work that is replayed as one CUDA graph.

use candle_core::{Device, Result, Tensor};

/// Work on a GPU that is recorded once, as a CUDA graph, and then replayed any number of times: a forward
/// pass, or a whole training step. A replay saves the time that a CPU takes to launch each kernel. On other
/// devices a replay calls the work again. The results are the same either way.
///
/// The work must do the same to the same tensors each time: new input is written into its input tensor
/// (`Tensor::slice_set`). It must not read a number back from the device, nor take statistics
/// ([`Observer`](crate::Observer)). Its results must be in variables, in an optimizer's state, or in the one
/// tensor that it returns. The recording keeps the value of every setting; only the settings of this crate's
/// optimizers can be changed later, by [`set_learning_rate`](candle_nn::Optimizer::set_learning_rate) or
/// `set_params`.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use candle_nn::{Optimizer, ParamsAdamW};
/// use wick_kernels::{AdamW, CudaGraph};
///
/// let w = Var::new(&[1f32, -2.0], &Device::Cpu)?;
/// let mut adamw = AdamW::new(vec![w.clone()], ParamsAdamW { lr: 0.1, ..Default::default() })?;
/// let mut step = CudaGraph::new(&Device::Cpu, || {
///     let loss = w.sqr()?.sum_all()?;
///     adamw.backward_step(&loss)?;
///     Ok(loss)
/// })?;
/// let first = step.output().to_scalar::<f32>()?; // The step has run once.
/// step.replay()?;
/// assert_eq!(first, 5.0);
/// assert!(step.output().to_scalar::<f32>()? < first);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub struct CudaGraph<F> {
    work: F,
    output: Tensor,
    #[cfg(feature = "cuda")]
    graph: Option<candle_core::cuda_backend::cudarc::driver::CudaGraph>,
}

impl<F> std::fmt::Debug for CudaGraph<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CudaGraph").field("output", &self.output.dims()).finish_non_exhaustive()
    }
}

impl<F: FnMut() -> Result<Tensor>> CudaGraph<F> {
    /// Calls the work once, and on a GPU records it.
    ///
    /// # Errors
    /// If the work fails, or cannot be recorded.
    pub fn new(device: &Device, mut work: F) -> Result<Self> {
        #[cfg(feature = "cuda")]
        if let Device::Cuda(device) = device {
            return Self::on_gpu(device, work);
        }
        let _ = device;
        let output = work()?.detach();
        Ok(Self {
            work,
            output,
            #[cfg(feature = "cuda")]
            graph: None,
        })
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(device: &candle_core::CudaDevice, mut work: F) -> Result<Self> {
        use candle_core::cuda_backend::WrapErr;
        use candle_core::cuda_backend::cudarc::driver::sys;

        // The shapes and strides that candle uploads for its kernels are kept from the first call for the
        // recording.
        let _uploads = device.enable_cuda_graph_htod_cache();
        let first = work()?.detach();
        // The output is copied to a tensor that outlives the recording, in which all other memory is
        // allocated and freed.
        let output = first.copy()?.contiguous()?;
        // All kernels must be loaded before the recording, that of `keep` too.
        keep(&output, &first)?;
        drop(first);
        let stream = device.cuda_stream();
        stream.synchronize().w()?;
        stream.begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).w()?;
        let recorded = work().and_then(|result| keep(&output, &result.detach()));
        // A capture that has begun must end, even after an error. cudarc keeps the error of a dropped tensor
        // and returns it from the next call, so it is taken out before the end of the capture, and after an
        // end that failed.
        let dropped = stream.context().check_err();
        let graph = stream.end_capture(sys::CUgraphInstantiate_flags(0));
        if graph.is_err() {
            let _ = stream.context().check_err();
        }
        recorded?;
        dropped.w()?;
        match graph.w()? {
            Some(graph) => Ok(Self { work, output, graph: Some(graph) }),
            None => candle_core::bail!("the driver has recorded nothing"),
        }
    }

    /// Repeats the work; the result is in [`output`](Self::output).
    ///
    /// # Errors
    /// If the work or the device fails.
    pub fn replay(&mut self) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let Some(graph) = &self.graph {
            use candle_core::cuda_backend::WrapErr;
            return graph.launch().w();
        }
        self.output = (self.work)()?.detach();
        Ok(())
    }

    /// The tensor that the work returned the last time. On a GPU, the next replay overwrites it.
    pub fn output(&self) -> &Tensor {
        &self.output
    }
}

/// Writes a tensor into another.
#[cfg(feature = "cuda")]
fn keep(into: &Tensor, result: &Tensor) -> Result<()> {
    let count = into.elem_count();
    into.reshape(count)?.slice_set(&result.contiguous()?.reshape(count)?, 0, 0)
}
