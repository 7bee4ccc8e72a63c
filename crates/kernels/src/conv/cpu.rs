//! Convolutions on a CPU as products, whose operands are packed piece by piece from the images.

use std::ops::Range;

use crate::conv::columns::{Outputs, Piece, Segment, fill, scatter};
use crate::conv::geometry::Geometry;
use crate::conv::stage::Stage;
use crate::conv::{depthwise, sums};
use crate::cpu::element::Number;
use crate::cpu::malloc::room;
use crate::cpu::parallel::{self, Start};
use crate::cpu::simd::SimdLevel;
use crate::linalg::gemm::Matrix;
use crate::linalg::gemm::implicit::{Left, SLACK, Target, pack_right, right_size, widest, with_buffer};

/// The number of multiplications that one task takes, at least.
const GRAIN: usize = 1 << 18;
/// About the number of rows of the matrix of columns whose gradients one task adds up.
const ROWS: usize = 112;
/// The number of outputs whose gradients are multiplied at once, for the gradient of the input.
const WIDE: usize = 64;
/// About the number of outputs of one task there.
const OUTPUTS: usize = 256;
/// The number of outputs that the gradient of the weight is summed over at once.
const DEEP: usize = 256;
/// The number of input channels whose kernels one task turns round.
const TURNED: usize = 16;
/// The columns of the gradient of the weight that one task computes, where there are few tasks.
const COLUMNS: usize = 256;

/// `x ∗ w + b`.
pub(super) fn forward<T: Number>(
    level: SimdLevel,
    geometry: &Geometry,
    xs: &[T],
    weight: &[T],
    bias: Option<&[T]>,
) -> Vec<T> {
    if geometry.output_len() == 0 {
        return Vec::new();
    }
    if geometry.is_depthwise() {
        return depthwise::forward(level, geometry, xs, weight, bias);
    }
    let (rows, depth) = (geometry.outputs, geometry.depth());
    let left = |group: usize| Matrix::new(&weight[group * rows * depth..][..rows * depth], rows, depth);
    products(level, geometry, left, xs, bias)
}

/// The products of each group's matrix (`outputs × depth`) with the matrix of columns, and the bias.
fn products<'w, T: Number>(
    level: SimdLevel,
    geometry: &Geometry,
    left: impl Fn(usize) -> Option<Matrix<'w, T>>,
    xs: &[T],
    bias: Option<&[T]>,
) -> Vec<T> {
    let (rows, depth, groups) = (geometry.outputs, geometry.depth(), geometry.groups);
    let stage = Stage::new(geometry);
    let staged = stage.stage(xs);
    let (staged, offsets, outputs) = (&*staged, stage.offsets(), Outputs::new(geometry, &stage));
    let (total, area, widest) = (geometry.batch * geometry.area(), geometry.area(), widest::<T>(level));
    let panels = total.div_ceil(widest);
    let together = (GRAIN / (rows * depth * widest).max(1)).clamp(1, panels);
    let tasks = panels.div_ceil(together);

    let mut ys = room(geometry.output_len());
    let start = Start(ys.as_mut_ptr());
    let size = Left::<T>::size(level, rows, depth);
    with_buffer(size * groups, |packed: &mut [T]| {
        let lefts: Vec<Left<T>> = packed
            .chunks_exact_mut(size)
            .enumerate()
            .filter_map(|(group, packed)| Some(Left::pack(level, left(group)?, packed)))
            .collect();
        parallel::for_each(tasks * groups, |task| {
            let (group, first) = (task / tasks, task % tasks * together);
            let (left, mut segments) = (&lefts[group], Vec::new());
            let bias = bias.map(|bias| &bias[group * rows..][..rows]);
            let xs = &staged[group * geometry.inputs * stage.size()..];
            for panel in first..panels.min(first + together) {
                let range = panel * widest..total.min((panel + 1) * widest);
                outputs.segments(range.clone(), &mut segments);
                let panel = |target| {
                    left.panel(range.len(), target, |depths, width, to| {
                        fill(xs, &offsets[depths], &segments, width, to);
                    });
                };
                let place = |piece: Piece| {
                    let at = (piece.image * geometry.out() + group * rows) * area + piece.place;
                    debug_assert!(at + (rows - 1) * area + piece.count <= geometry.output_len());
                    start.at(at)
                };
                let mut pieces = outputs.pieces(range.clone());
                let Some(piece) = pieces.next() else { continue };
                if piece.count == range.len() {
                    let (start, add) = (place(piece), bias.is_some());
                    // SAFETY: these columns of the channels' rows belong to this task alone.
                    unsafe { begin(start, area, piece.count, bias) };
                    let len = (rows - 1) * area + piece.count;
                    panel(Target { start, len, row_stride: area, add });
                    continue;
                }
                with_buffer(rows * widest, |scratch: &mut [T]| {
                    let start = scratch.as_mut_ptr();
                    // SAFETY: the scratch has `rows` rows of `widest` elements.
                    unsafe { begin(start, widest, range.len(), bias) };
                    let add = bias.is_some();
                    panel(Target { start, len: rows * widest, row_stride: widest, add });
                    for piece in std::iter::once(piece).chain(pieces) {
                        let to = place(piece);
                        for row in 0..rows {
                            let from = &scratch[row * widest + piece.first..][..piece.count];
                            // SAFETY: these outputs belong to this task alone.
                            unsafe {
                                std::ptr::copy_nonoverlapping(from.as_ptr(), to.add(row * area), piece.count);
                            }
                        }
                    }
                });
            }
        });
    });
    // SAFETY: the panels of all groups have set every output.
    unsafe { ys.set_len(geometry.output_len()) };
    ys
}

/// Begins each row with its bias, if there is one.
///
/// # Safety
/// The rows, `step` apart, are valid for writes of `count` elements.
unsafe fn begin<T: Number>(start: *mut T, step: usize, count: usize, bias: Option<&[T]>) {
    for (row, bias) in bias.into_iter().flatten().enumerate() {
        for column in 0..count {
            // SAFETY: the function's contract.
            unsafe { start.add(row * step + column).write(*bias) };
        }
    }
}

/// The gradient of the input, for that of the output: the transposed convolution.
pub(super) fn of_input<T: Number>(level: SimdLevel, geometry: &Geometry, dys: &[T], weight: &[T]) -> Vec<T> {
    if geometry.output_len() == 0 || geometry.input_len() == 0 {
        return vec![T::ZERO; geometry.input_len()];
    }
    if geometry.is_depthwise() {
        return depthwise::of_input(level, geometry, dys, weight);
    }
    let (outputs, depth) = (geometry.outputs, geometry.depth());
    let weight_of = |group: usize| &weight[group * outputs * depth..][..outputs * depth];
    if let Some(turned) = geometry.turned() {
        let (rows, depth) = (turned.outputs, turned.depth());
        let weight = turn(geometry, weight);
        let left = |group: usize| Matrix::new(&weight[group * rows * depth..][..rows * depth], rows, depth);
        return products(level, &turned, left, dys, None);
    }
    let stage = Stage::new(geometry);
    let (area, taps, size) = (geometry.area(), geometry.taps(), stage.size());
    let at_once = (ROWS / taps).clamp(1, geometry.inputs);
    let blocks = geometry.inputs.div_ceil(at_once);
    let images = (OUTPUTS / area).clamp(1, geometry.batch);
    let batches = geometry.batch.div_ceil(images);
    let (outputs_of, widest) = (Outputs::new(geometry, &stage), widest::<T>(level));
    // Within a row of the kernel's entries, neighbours in a column of the kernel follow each other.
    let [height, width] = geometry.kernel;
    let order: Vec<(usize, usize)> = (0..at_once)
        .flat_map(|c| (0..width).flat_map(move |j| (0..height).map(move |i| (c, i, j))))
        .map(|(c, i, j)| ((c * height + i) * width + j, c * size + stage.offset([i, j])))
        .collect();

    let mut dxs = vec![T::ZERO; geometry.batch * geometry.channels() * size];
    let start = Start(dxs.as_mut_ptr());
    let packed_size = Left::<T>::size(level, at_once * taps, outputs);
    with_buffer(packed_size * blocks * geometry.groups, |packed: &mut [T]| {
        let lefts: Vec<Left<T>> = packed
            .chunks_exact_mut(packed_size)
            .enumerate()
            .filter_map(|(index, packed)| {
                let (group, first) = (index / blocks, index % blocks * at_once);
                let rows = at_once.min(geometry.inputs - first) * taps;
                let part = Matrix::part(&weight_of(group)[first * taps..], outputs, rows, depth)?;
                Some(Left::pack(level, part.t(), packed))
            })
            .collect();
        // A task that has all blocks packs its gradients once for them.
        let is_enough = batches * geometry.groups >= 2 * rayon::current_num_threads();
        let of_task = if is_enough { blocks } else { 1 };
        let room = right_size::<T>(level, outputs);
        parallel::for_each(batches * lefts.len() / of_task, |task| {
            let (batch, first) = (task * of_task / lefts.len(), task * of_task % lefts.len());
            let group = first / blocks;
            let (dys, offsets) = channels_of(geometry, dys, group);
            let end = geometry.batch.min((batch + 1) * images) * area;
            for from in (batch * images * area..end).step_by(WIDE) {
                let range = from..end.min(from + WIDE);
                let panels = |range: &Range<usize>| {
                    let end = range.end;
                    range.clone().step_by(widest).map(move |first| first..end.min(first + widest))
                };
                with_buffer(WIDE.div_ceil(widest) * room, |packed: &mut [T]| {
                    for (panel, packed) in panels(&range).zip(packed.chunks_exact_mut(room)) {
                        let segments = segments_of(geometry, &outputs_of, panel.clone());
                        pack_right(level, panel.len(), outputs, packed, |depths, width, to| {
                            fill(dys, &offsets[depths], &segments, width, to);
                        });
                    }
                    for (index, left) in lefts.iter().enumerate().skip(first).take(of_task) {
                        let before = group * geometry.inputs + index % blocks * at_once;
                        with_buffer(left.rows() * WIDE + SLACK, |rows: &mut [T]| {
                            for (panel, packed) in panels(&range).zip(packed.chunks_exact(room)) {
                                let at = panel.start - range.start;
                                let (len, start) = (rows.len() - at, rows[at..].as_mut_ptr());
                                let target = Target { start, len, row_stride: WIDE, add: false };
                                left.packed_panel(panel.len(), target, packed);
                            }
                            let order = &order[..left.rows()];
                            // SAFETY: these channels of these images belong to this task alone.
                            unsafe {
                                add_to_pixels(
                                    geometry,
                                    size,
                                    &outputs_of,
                                    range.clone(),
                                    rows,
                                    order,
                                    start.at(before * size),
                                );
                            }
                        });
                    }
                });
            }
        });
    });
    stage.unstage(dxs)
}

/// Adds rows of the gradients of the columns, of some outputs and [`WIDE`] apart, to the pixels that they came from:
/// `start` is the place of the rows' first channel in the first image, whose channels have `size` elements.
///
/// # Safety
/// The rows' channels of the outputs' images belong to the caller alone.
unsafe fn add_to_pixels<T: Number>(
    geometry: &Geometry,
    size: usize,
    outputs: &Outputs,
    range: Range<usize>,
    rows: &[T],
    order: &[(usize, usize)],
    start: *mut T,
) {
    let (area, step, mut segments) = (geometry.area(), geometry.channels() * size, Vec::new());
    let channels = order.len() / geometry.taps();
    for piece in outputs.pieces(range) {
        let place = piece.image * area + piece.place;
        outputs.segments(place..place + piece.count, &mut segments);
        for segment in &mut segments {
            segment.first += piece.first;
            segment.source -= piece.image * step;
        }
        // SAFETY: the function's contract; the channels of an image follow each other.
        let to = unsafe { std::slice::from_raw_parts_mut(start.add(piece.image * step), channels * size) };
        scatter(rows, order, &segments, WIDE, to);
    }
}

/// The weight of [`Geometry::turned`]: inputs and outputs of each group exchanged, and each kernel turned round.
fn turn<T: Number>(geometry: &Geometry, weight: &[T]) -> Vec<T> {
    let (inputs, outputs, taps) = (geometry.inputs, geometry.outputs, geometry.taps());
    let mut turned = vec![T::ZERO; weight.len()];
    parallel::for_each_part(&mut turned, TURNED * outputs * taps, |part, turned| {
        for (row, to) in turned.chunks_exact_mut(outputs * taps).enumerate() {
            let (group, input) = ((part * TURNED + row) / inputs, (part * TURNED + row) % inputs);
            for (output, to) in to.chunks_exact_mut(taps).enumerate() {
                let from = &weight[((group * outputs + output) * inputs + input) * taps..][..taps];
                to.iter_mut().zip(from.iter().rev()).for_each(|(to, from)| *to = *from);
            }
        }
    });
    turned
}

/// The gradients of the outputs from a group's on, and the place of each of its channels.
fn channels_of<'a, T>(geometry: &Geometry, dys: &'a [T], group: usize) -> (&'a [T], Vec<usize>) {
    let area = geometry.area();
    let offsets = (0..geometry.outputs).map(|output| output * area).collect();
    (&dys[group * geometry.outputs * area..], offsets)
}

/// The segments of the gradients of some outputs.
fn segments_of(geometry: &Geometry, outputs: &Outputs, range: Range<usize>) -> Vec<Segment> {
    let step = geometry.out() * geometry.area();
    outputs.pieces(range).map(|piece| piece.segment(step)).collect()
}

/// The gradient of the weight.
///
/// The outputs of all images are summed in blocks whose number depends on the sizes alone, and the blocks' sums are
/// added in order.
pub(super) fn of_weight<T: Number>(level: SimdLevel, geometry: &Geometry, xs: &[T], dys: &[T]) -> Vec<T> {
    let len = geometry.weight_len();
    if geometry.output_len() == 0 || len == 0 {
        return vec![T::ZERO; len];
    }
    if geometry.is_depthwise() {
        return depthwise::of_weight(level, geometry, xs, dys);
    }
    /// The number of outputs for which a block pays, and the most elements that all blocks' sums may have.
    const BLOCK: usize = 4 * DEEP;
    const LARGEST: usize = 1 << 22;
    let total = geometry.batch * geometry.area();
    let blocks = (total / BLOCK).min(LARGEST / len).clamp(1, 16);
    let in_block = total.div_ceil(blocks).next_multiple_of(DEEP);
    let blocks = total.div_ceil(in_block);

    let (depth, rows) = (geometry.depth(), geometry.outputs);
    let stage = Stage::new(geometry);
    let staged = stage.stage(xs);
    let (staged, offsets, outputs) = (&*staged, stage.offsets(), Outputs::new(geometry, &stage));
    // A task that has all columns packs its gradients once for them.
    let is_enough = blocks * geometry.groups >= 2 * rayon::current_num_threads();
    let in_part = if is_enough { depth } else { COLUMNS };
    let parts = depth.div_ceil(in_part);
    let mut sums: Vec<T> = Vec::with_capacity(blocks * len);
    let start = Start(sums.as_mut_ptr());
    parallel::for_each(blocks * geometry.groups * parts, |task| {
        let (block, rest) = (task / (geometry.groups * parts), task % (geometry.groups * parts));
        let (group, part) = (rest / parts, rest % parts);
        let columns = part * in_part..depth.min((part + 1) * in_part);
        let xs = &staged[group * geometry.inputs * stage.size()..];
        let (mut segments, widest) = (Vec::new(), widest::<T>(level));
        let panels = columns.clone().step_by(widest).map(|column| column..columns.end.min(column + widest));
        let panels: Vec<_> = panels.collect();
        let end = total.min((block + 1) * in_block);
        for first in (block * in_block..end).step_by(DEEP) {
            let range = first..end.min(first + DEEP);
            outputs.segments(range.clone(), &mut segments);
            with_buffer(Left::<T>::size(level, rows, range.len()), |packed| {
                let Some(left) = gradients(level, geometry, dys, group, &outputs, range.clone(), packed)
                else {
                    return;
                };
                for panel in &panels {
                    let at = block * len + group * rows * depth + panel.start;
                    debug_assert!(at + (rows - 1) * depth + panel.len() <= blocks * len);
                    let len = (rows - 1) * depth + panel.len();
                    let add = first > block * in_block;
                    let target = Target { start: start.at(at), len, row_stride: depth, add };
                    left.panel(panel.len(), target, |depths, width, to| {
                        // The whole range is one block of the sum.
                        debug_assert_eq!(depths, 0..range.len());
                        with_buffer(width * DEEP + SLACK, |scratch: &mut [T]| {
                            fill(xs, &offsets[panel.clone()], &segments, DEEP, scratch);
                            left.turn(scratch, width, DEEP, range.len(), to);
                        });
                    });
                }
            });
        }
    });
    // SAFETY: each block has set all of its sums.
    unsafe { sums.set_len(blocks * len) };
    sums::merge(&mut sums, len);
    sums
}

/// The gradients of some outputs of a group, packed: a row for each channel.
fn gradients<'a, T: Number>(
    level: SimdLevel,
    geometry: &Geometry,
    dys: &[T],
    group: usize,
    outputs: &Outputs,
    range: Range<usize>,
    packed: &'a mut [T],
) -> Option<Left<'a, T>> {
    let ((dys, offsets), segments) =
        (channels_of(geometry, dys, group), segments_of(geometry, outputs, range.clone()));
    let (rows, columns) = (geometry.outputs, range.len());
    if let [segment] = segments[..] {
        let matrix = Matrix::part(&dys[segment.source..], rows, columns, geometry.area())?;
        return Some(Left::pack(level, matrix, packed));
    }
    with_buffer(rows * columns + SLACK, |gathered: &mut [T]| {
        fill(dys, &offsets, &segments, columns, gathered);
        Some(Left::pack(level, Matrix::part(gathered, rows, columns, columns)?, packed))
    })
}
