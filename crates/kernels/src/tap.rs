//! A tap: the identity forward, a callback backward.

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, MetalStorage, Result, Shape, Tensor};

use crate::cpu::malloc::room;
use crate::cpu::parallel;

/// Returns `xs` with a tap on it: a backward pass calls `callback` with the gradient of the loss with respect
/// to the returned tensor, summed over all its uses.
///
/// The values, and every other gradient, stay the same to the bit if all uses of `xs` are replaced by the
/// returned tensor; if some ops still take `xs` itself, gradients are summed in another order. A tap costs
/// one copy of `xs`. `callback` is never called if `xs` does not depend on a variable, or the loss does not
/// depend on the returned tensor.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use candle_core::{Device, Var};
///
/// let x = Var::new(&[1.0f32, 2.0], &Device::Cpu)?;
/// let seen = Arc::new(Mutex::new(None));
/// let slot = seen.clone();
/// let h = wick_kernels::tap(&x.affine(3.0, 0.0)?, move |gradient| {
///     *slot.lock().unwrap() = Some(gradient.clone());
///     Ok(())
/// })?;
/// h.sqr()?.sum_all()?.backward()?;
/// let gradient = seen.lock().unwrap().take().map(|g| g.to_vec1::<f32>()).transpose()?;
/// assert_eq!(gradient, Some(vec![6.0, 12.0])); // 2h
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// Those of the device; an error of `callback` ends the backward pass.
pub fn tap(xs: &Tensor, callback: impl Fn(&Tensor) -> Result<()> + Send + Sync + 'static) -> Result<Tensor> {
    // An op returns a contiguous tensor. A tensor that is dense but transposed is tapped in the order of its
    // memory, and permuted back, so that the next op gets the layout that it would have got without the tap.
    if xs.is_contiguous() {
        return xs.apply_op1(Tap { callback });
    }
    let order = memory_order(xs);
    let laid_out = xs.permute(order.as_slice())?;
    if !laid_out.is_contiguous() {
        return xs.apply_op1(Tap { callback });
    }
    let mut inverse = vec![0; order.len()];
    for (place, &dim) in order.iter().enumerate() {
        inverse[dim] = place;
    }
    let back = inverse.clone();
    let callback = move |gradient: &Tensor| callback(&gradient.permute(back.as_slice())?);
    laid_out.apply_op1(Tap { callback })?.permute(inverse.as_slice())
}

/// The dimensions, by falling stride.
fn memory_order(xs: &Tensor) -> Vec<usize> {
    let mut order: Vec<usize> = (0..xs.rank()).collect();
    order.sort_by_key(|&dim| std::cmp::Reverse(xs.stride()[dim]));
    order
}

struct Tap<F> {
    callback: F,
}

impl<F: Fn(&Tensor) -> Result<()> + Send + Sync> CustomOp1 for Tap<F> {
    fn name(&self) -> &'static str {
        "tap"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        match (storage, layout.contiguous_offsets()) {
            (CpuStorage::F32(values), Some((from, to))) => {
                Ok((CpuStorage::F32(copied(&values[from..to])), layout.shape().clone()))
            }
            _ => copy(storage, layout),
        }
    }

    fn cuda_fwd(&self, storage: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        copy(storage, layout)
    }

    fn metal_fwd(&self, storage: &MetalStorage, layout: &Layout) -> Result<(MetalStorage, Shape)> {
        copy(storage, layout)
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        (self.callback)(gradient)?;
        Ok(Some(gradient.clone()))
    }
}

/// A copy made on every core.
fn copied(values: &[f32]) -> Vec<f32> {
    const PART: usize = 1 << 16;
    let mut copy = room(values.len());
    parallel::for_each_part(&mut copy.spare_capacity_mut()[..values.len()], PART, |part, copy| {
        for (copy, &value) in copy.iter_mut().zip(&values[part * PART..]) {
            copy.write(value);
        }
    });
    // SAFETY: the parts cover the first `values.len()` elements, and each has been written.
    unsafe { copy.set_len(values.len()) };
    copy
}

fn copy<S>(storage: &S, layout: &Layout) -> Result<(S, Shape)>
where
    S: BackendStorage<Device: BackendDevice<Storage = S>>,
{
    let mut output = storage.device().zeros_impl(layout.shape(), storage.dtype())?;
    storage.copy_strided_src(&mut output, 0, layout)?;
    Ok((output, layout.shape().clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Var};
    use std::sync::{Arc, Mutex};

    type Seen = Arc<Mutex<Vec<Tensor>>>;

    fn record_in(seen: &Seen) -> impl Fn(&Tensor) -> Result<()> + Send + Sync + 'static {
        let seen = seen.clone();
        move |gradient| {
            seen.lock().unwrap().push(gradient.clone());
            Ok(())
        }
    }

    fn matrix() -> Var {
        let values: Vec<f32> = (0..12).map(|i| (i as f32 * 1.3).cos()).collect();
        Var::from_tensor(&Tensor::from_vec(values, (3, 4), &Device::Cpu).unwrap()).unwrap()
    }

    #[test]
    fn values_and_layout_stay() {
        let m = matrix();
        let views = [
            m.as_tensor().clone(),
            m.t().unwrap(),
            m.narrow(1, 1, 2).unwrap(),
            m.unsqueeze(0).unwrap().transpose(0, 2).unwrap(),
            m.get(0).unwrap().broadcast_left(5).unwrap(),
            m.sum_all().unwrap(),
        ];
        for view in views {
            let tapped = tap(&view, |_| Ok(())).unwrap();
            assert_eq!(tapped.dims(), view.dims());
            let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(flat(&tapped), flat(&view));
        }
        let transposed = m.t().unwrap();
        assert_eq!(tap(&transposed, |_| Ok(())).unwrap().stride(), transposed.stride());
    }

    /// The gradient is the one that a variable of zeros gets, added in place of the tap.
    #[test]
    fn the_gradient_is_that_of_an_added_variable() {
        for transposed in [false, true] {
            let view = |m: &Var| if transposed { m.t() } else { Ok(m.as_tensor().clone()) };
            let loss = |h: &Tensor| (h.sqr()? * h.sin()?)?.sum_all();

            let (m, seen) = (matrix(), Seen::default());
            let h = tap(&view(&m).unwrap(), record_in(&seen)).unwrap();
            let gradients = loss(&h).unwrap().backward().unwrap();

            let n = matrix();
            let zero = Var::zeros(view(&n).unwrap().shape(), DType::F32, &Device::Cpu).unwrap();
            let h = (view(&n).unwrap() + zero.as_tensor()).unwrap();
            let expected = loss(&h).unwrap().backward().unwrap();

            let seen = seen.lock().unwrap();
            assert_eq!(seen.len(), 1);
            let rows = |t: &Tensor| t.to_vec2::<f32>().unwrap();
            assert_eq!(rows(&seen[0]), rows(expected.get(&zero).unwrap()));
            assert_eq!(rows(gradients.get(&m).unwrap()), rows(expected.get(&n).unwrap()));
        }
    }

    #[test]
    fn branches_are_summed_and_detached_parts_are_silent() {
        let (m, seen, silent) = (matrix(), Seen::default(), Seen::default());
        let h = tap(&m, record_in(&seen)).unwrap();
        let cut = tap(&h.detach(), record_in(&silent)).unwrap();
        let loss = ((&h * 2.0).unwrap() + (&h * 3.0).unwrap() + cut).unwrap();
        loss.sum_all().unwrap().backward().unwrap();
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].to_vec2::<f32>().unwrap(), [[5.0; 4]; 3]);
        assert!(silent.lock().unwrap().is_empty());
    }
}
