//! Attention as an op in candle's graph, on a CPU.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp3, Device, Layout, Result, Shape, Storage, Tensor, bail};

use crate::attention::backward::Backward;
use crate::attention::block::{Problem, Vectors};
use crate::attention::forward::Forward;
use crate::attention::view::{Heads, HeadsMut, MaskValues, MaskView};
use crate::cpu::simd::SimdLevel;

/// The op of one forward pass. Its output is `[batch, queries, heads, value width]`.
pub(super) struct Attention {
    pub(super) problem: Problem,
    /// `[batch, heads, queries, keys]`, of `u8` or of the type of the inputs.
    mask: Option<Tensor>,
    /// Whether each input wants a gradient.
    wanted: [bool; 3],
    /// `ln Σ eˢ` of each row of scores.
    log_sums: Arc<OnceLock<Tensor>>,
}

/// A part of a storage as an op gets it.
pub(super) type Operand<'a> = (&'a CpuStorage, &'a Layout);

impl Attention {
    pub(super) fn new(problem: Problem, mask: Option<Tensor>, inputs: [&Tensor; 3]) -> Self {
        Self { problem, mask, wanted: inputs.map(Tensor::track_op), log_sums: Arc::default() }
    }

    /// Whether a backward pass may come.
    fn differentiable(&self) -> bool {
        self.wanted.contains(&true)
    }

    /// Goes forward from views of the inputs.
    pub(super) fn forward<T: Vectors>(&self, q: Heads<T>, k: Heads<T>, v: Heads<T>) -> Result<Vec<T>> {
        let Problem { batch, heads, queries, value_width, .. } = self.problem;
        let (mut output, mut log_sums) = (Vec::new(), Vec::new());
        self.with_mask(|mask| {
            let strides = [heads * queries * value_width, value_width, heads * value_width];
            // SAFETY: the memory has room for the tensors, and is used for nothing else.
            let (output, log_sums) = unsafe {
                (
                    HeadsMut::new(reserve(&mut output, batch * heads * queries * value_width), strides),
                    HeadsMut::new(
                        reserve(&mut log_sums, batch * heads * queries),
                        [heads * queries, queries, 1],
                    ),
                )
            };
            Forward { problem: self.problem, q, k, v, mask, output, log_sums }.run(SimdLevel::best());
        })?;
        // SAFETY: the pass has written every row.
        unsafe {
            output.set_len(batch * heads * queries * value_width);
            log_sums.set_len(batch * heads * queries);
        }
        if self.differentiable() {
            // An op goes forward once; a second pass would have the same result.
            let _ = self.log_sums.set(Tensor::from_vec(log_sums, (batch, heads, queries), &Device::Cpu)?);
        }
        Ok(output)
    }

    /// Goes backward from views of the inputs into those of the gradients. `output` and `gradient` are contiguous.
    pub(super) fn backward<T: Vectors>(
        &self,
        [q, k, v]: [Heads<T>; 3],
        (output, gradient): (&Tensor, &Tensor),
        [of_q, of_k, of_v]: [Option<HeadsMut<T>>; 3],
    ) -> Result<()> {
        let Problem { batch, heads, queries, value_width, .. } = self.problem;
        let Some(log_sums) = self.log_sums.get() else { bail!("attention has not gone forward") };
        let gradient = gradient.contiguous()?;
        let (output, output_layout) = output.storage_and_layout();
        let (gradient, gradient_layout) = gradient.storage_and_layout();
        let (log_sums, log_sums_layout) = log_sums.storage_and_layout();
        let across = [batch, heads, queries, value_width];
        let strides = [heads * queries * value_width, value_width, heads * value_width];
        let (output, gradient) = (elements(&output, output_layout)?, elements(&gradient, gradient_layout)?);
        let log_sums = elements(&log_sums, log_sums_layout)?;
        let output = heads_of(output, across, strides)?;
        let gradient = heads_of(gradient, across, strides)?;
        let log_sums = heads_of(log_sums, [batch, heads, queries, 1], [heads * queries, queries, 1])?;
        self.with_mask(|mask| {
            let problem = self.problem;
            Backward { problem, q, k, v, mask, output, gradient, log_sums, of_q, of_k, of_v }
                .run(SimdLevel::best());
        })
    }

    /// Calls `f` with the mask as a view.
    fn with_mask<T: Vectors>(&self, f: impl FnOnce(Option<MaskView<T>>)) -> Result<()> {
        let Some(mask) = &self.mask else {
            f(None);
            return Ok(());
        };
        let (storage, layout) = mask.storage_and_layout();
        let Storage::Cpu(storage) = &*storage else { bail!("a mask on the CPU was expected") };
        let values = match storage {
            CpuStorage::U8(kept) => MaskValues::Kept(behind(kept, layout)),
            _ => MaskValues::Added(behind(T::cpu_storage_as_slice(storage)?, layout)),
        };
        let [a, b, c, d] = *layout.stride() else { bail!("a mask of 4 dimensions was expected") };
        f(Some(MaskView { values, strides: [a, b, c, d] }));
        Ok(())
    }

    fn forward_as<T: Vectors>(&self, q: Operand, k: Operand, v: Operand) -> Result<CpuStorage> {
        let output = self.forward::<T>(view(q)?, view(k)?, view(v)?)?;
        Ok(T::to_cpu_storage_owned(output))
    }

    /// The gradients of the inputs, each as a contiguous tensor.
    fn backward_as<T: Vectors>(
        &self,
        [q, k, v]: [&Tensor; 3],
        output: &Tensor,
        gradient: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let mut gradients = [Vec::<T>::new(), Vec::new(), Vec::new()];
        {
            let views = {
                let mut each = gradients.iter_mut().zip([q, k, v]).zip(self.wanted);
                std::array::from_fn(|_| {
                    let ((gradient, input), wanted) = each.next()?;
                    let start = wanted.then(|| reserve(gradient, input.elem_count()))?;
                    let [_, heads, rows, width] = *input.dims() else { return None };
                    // SAFETY: the memory has room for the tensor, and is used for nothing else.
                    Some(unsafe { HeadsMut::new(start, [heads * rows * width, rows * width, width]) })
                })
            };
            let ((q, q_layout), (k, k_layout), (v, v_layout)) =
                (q.storage_and_layout(), k.storage_and_layout(), v.storage_and_layout());
            let (Storage::Cpu(q), Storage::Cpu(k), Storage::Cpu(v)) = (&*q, &*k, &*v) else {
                bail!("tensors on the CPU were expected");
            };
            let inputs = [view((q, q_layout))?, view((k, k_layout))?, view((v, v_layout))?];
            self.backward(inputs, (output, gradient), views)?;
        }
        let [of_q, of_k, of_v] = gradients;
        let tensor = |mut gradient: Vec<T>, input: &Tensor, wanted: bool| {
            let made = wanted.then(|| {
                // SAFETY: the pass has written every row.
                unsafe { gradient.set_len(input.elem_count()) };
                Tensor::from_vec(gradient, input.shape(), &Device::Cpu)
            });
            made.transpose()
        };
        let [q_wanted, k_wanted, v_wanted] = self.wanted;
        Ok([tensor(of_q, q, q_wanted)?, tensor(of_k, k, k_wanted)?, tensor(of_v, v, v_wanted)?])
    }
}

/// Reserves memory for exactly this number of elements, and returns its start.
pub(super) fn reserve<T>(vector: &mut Vec<T>, count: usize) -> *mut T {
    vector.reserve_exact(count);
    vector.as_mut_ptr()
}

/// The elements of a contiguous tensor on the CPU.
fn elements<'a, T: Vectors>(storage: &'a Storage, layout: &Layout) -> Result<&'a [T]> {
    crate::cpu::slice::of_cpu(storage, layout)
}

/// A view that has to fit.
pub(super) fn heads_of<T>(data: &[T], dims: [usize; 4], strides: [usize; 3]) -> Result<Heads<'_, T>> {
    match Heads::new(data, dims, strides) {
        Some(heads) => Ok(heads),
        None => bail!("a tensor of {dims:?} and strides {strides:?} does not fit {} elements", data.len()),
    }
}

/// The numbers from a layout's first one on: none for an empty view, whose offset may lie behind them.
fn behind<'a, T>(numbers: &'a [T], layout: &Layout) -> &'a [T] {
    numbers.get(layout.start_offset()..).unwrap_or_default()
}

/// An operand of four dimensions as a view.
fn view<'a, T: Vectors>((storage, layout): Operand<'a>) -> Result<Heads<'a, T>> {
    let data = behind(T::cpu_storage_as_slice(storage)?, layout);
    let (dims, strides) = (layout.shape().dims4()?, layout.stride());
    heads_of(data, [dims.0, dims.1, dims.2, dims.3], [strides[0], strides[1], strides[2]])
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (q, k, v) = ((q, q_layout), (k, k_layout), (v, v_layout));
        let output = match q.0 {
            CpuStorage::F32(_) => self.forward_as::<f32>(q, k, v)?,
            _ => self.forward_as::<f64>(q, k, v)?,
        };
        let Problem { batch, heads, queries, value_width, .. } = self.problem;
        Ok((output, (batch, queries, heads, value_width).into()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [of_q, of_k, of_v] = match q.dtype() {
            candle_core::DType::F32 => self.backward_as::<f32>([q, k, v], output, gradient)?,
            _ => self.backward_as::<f64>([q, k, v], output, gradient)?,
        };
        Ok((of_q, of_k, of_v))
    }
}
