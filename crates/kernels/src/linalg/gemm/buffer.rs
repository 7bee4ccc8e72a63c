//! Buffers for packed operands, which stay with their thread.

use std::cell::RefCell;

use crate::cpu::element::Number;
use crate::linalg::gemm::vector::LINE;

/// A cache line of memory: a buffer of these begins at one.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

const _: () = assert!(size_of::<Line>() == LINE && align_of::<Line>() == LINE);

thread_local!(static KEPT: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) });

/// Calls `f` with `size` elements of unspecified value that begin at a cache line. The memory stays with the
/// thread from one product to the next; calls within `f` get buffers of their own.
pub(crate) fn with_buffer<T: Number, R>(size: usize, f: impl FnOnce(&mut [T]) -> R) -> R {
    let mut buffer = KEPT.with_borrow_mut(Vec::pop).unwrap_or_default();
    let lines = (size * size_of::<T>()).div_ceil(LINE);
    if buffer.len() < lines {
        buffer.resize(lines, Line([0; LINE]));
    }
    // SAFETY: the buffer has at least `size·size_of::<T>()` initialised bytes, at an address that is a
    // multiple of 64 and so of `T`'s alignment; `T` is `f32` or `f64`, of which any bytes are a value; the
    // buffer is borrowed for nothing else.
    let result = f(unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast::<T>(), size) });
    KEPT.with_borrow_mut(|kept| kept.push(buffer));
    result
}
