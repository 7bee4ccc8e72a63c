//! Tensors of heads in memory.

/// A tensor `[batch, heads, rows, width]` whose rows are contiguous.
#[derive(Clone, Copy)]
pub(crate) struct Heads<'a, T> {
    data: &'a [T],
    strides: [usize; 3],
}

/// The rows of one head.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, T> {
    pub(super) data: &'a [T],
    pub(super) stride: usize,
}

impl<'a, T> Heads<'a, T> {
    /// The tensor that begins with the first element of `data`; `None` if the data end before it does.
    pub(crate) fn new(data: &'a [T], dims: [usize; 4], strides: [usize; 3]) -> Option<Self> {
        (end(dims, strides) <= data.len()).then_some(Self { data, strides })
    }

    pub(super) fn rows(&self, batch: usize, head: usize) -> Rows<'a, T> {
        let start = batch * self.strides[0] + head * self.strides[1];
        Rows { data: self.data.get(start..).unwrap_or_default(), stride: self.strides[2] }
    }
}

impl<T> Rows<'_, T> {
    /// The address of a row, which is valid if the tensor has it.
    #[inline(always)]
    pub(super) fn at(&self, row: usize) -> *const T {
        self.data.as_ptr().wrapping_add(row * self.stride)
    }
}

/// A tensor `[batch, heads, rows, width]` that is written, each row by one task.
#[derive(Clone, Copy)]
pub(crate) struct HeadsMut<T> {
    start: *mut T,
    strides: [usize; 3],
}

// SAFETY: it stands for a mutable slice, and each task writes to rows of its own.
unsafe impl<T: Send> Sync for HeadsMut<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for HeadsMut<T> {}

impl<T> HeadsMut<T> {
    /// The tensor that begins at `start`.
    ///
    /// # Safety
    /// The memory must be valid for all elements, and belong to the tensor alone as long as it is used.
    pub(crate) unsafe fn new(start: *mut T, strides: [usize; 3]) -> Self {
        Self { start, strides }
    }

    #[inline(always)]
    pub(super) fn row_stride(&self) -> usize {
        self.strides[2]
    }

    #[inline(always)]
    pub(super) fn at(&self, batch: usize, head: usize, row: usize) -> *mut T {
        let [of_batch, of_head, of_row] = self.strides;
        self.start.wrapping_add(batch * of_batch + head * of_head + row * of_row)
    }
}

/// One more than the index of the last element.
fn end(dims: [usize; 4], strides: [usize; 3]) -> usize {
    if dims.contains(&0) {
        return 0;
    }
    (0..3).map(|dim| (dims[dim] - 1) * strides[dim]).sum::<usize>() + dims[3]
}

/// What is added to the scores, or which keys take part: `[batch, heads, queries, keys]` in memory, by any strides.
#[derive(Clone, Copy)]
pub(crate) struct MaskView<'a, T> {
    pub(crate) values: MaskValues<'a, T>,
    pub(crate) strides: [usize; 4],
}

/// The elements of a mask.
#[derive(Clone, Copy)]
pub(crate) enum MaskValues<'a, T> {
    /// Numbers that are added to the scores.
    Added(&'a [T]),
    /// A key takes part where there is no 0.
    Kept(&'a [u8]),
}
