//! The sizes of a convolution, and their checks.

use candle_core::{Result, bail};

/// How a window of a kernel's size moves over the rows and the columns of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The distance from one place to the next, at least 1: of rows, of columns.
    pub stride: [usize; 2],
    /// The number of zeros before the first and after the last row and column.
    pub padding: [usize; 2],
    /// The distance between two entries of the kernel, at least 1.
    pub dilation: [usize; 2],
}

impl Default for Window {
    fn default() -> Self {
        Self { stride: [1; 2], padding: [0; 2], dilation: [1; 2] }
    }
}

impl Window {
    /// The same stride, padding and dilation for rows and columns.
    pub fn square(stride: usize, padding: usize, dilation: usize) -> Self {
        Self { stride: [stride; 2], padding: [padding; 2], dilation: [dilation; 2] }
    }

    /// The window of a sequence, which is an image of one row.
    pub(crate) fn of_sequence(stride: usize, padding: usize, dilation: usize) -> Self {
        Self { stride: [1, stride], padding: [0, padding], dilation: [1, dilation] }
    }

    /// Fails, with the numbers as [`shown`], for a stride or a dilation of 0, and for numbers of which no sum could be a size.
    pub(crate) fn check(&self, op: &str) -> Result<()> {
        const LARGEST: usize = 1 << 30;
        let Self { stride, padding, dilation } = self;
        let numbers = stride.iter().chain(padding).chain(dilation);
        let is_too_large = numbers.max().is_some_and(|&largest| largest > LARGEST);
        let shown = || [stride, padding, dilation].map(|of| shown(op, *of));
        if stride.contains(&0) || dilation.contains(&0) {
            let [stride, _, dilation] = shown();
            bail!("{op}: stride {stride} and dilation {dilation} have to be at least 1");
        }
        if is_too_large {
            let [stride, padding, dilation] = shown();
            bail!("{op}: stride {stride}, padding {padding} and dilation {dilation} are at most 2³⁰");
        }
        Ok(())
    }

    /// The number of rows and columns that a dilated kernel covers.
    pub(crate) fn extent(&self, kernel: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|axis| {
            (kernel[axis].saturating_sub(1)).saturating_mul(self.dilation[axis]).saturating_add(1)
        })
    }

    /// The number of places of the kernel on an image; `None` if the kernel is larger than the padded image.
    pub(crate) fn places(&self, image: [usize; 2], kernel: [usize; 2]) -> Option<[usize; 2]> {
        let extent = self.extent(kernel);
        let along = |axis: usize| {
            let room = (image[axis] + 2 * self.padding[axis]).checked_sub(extent[axis])?;
            Some(room / self.stride[axis] + 1)
        };
        Some([along(0)?, along(1)?])
    }
}

/// The sizes of a convolution: of `x` (`[N, C, H, W]`) with `w` (`[O, C/groups, kh, kw]`) to `[N, O, oh, ow]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) batch: usize,
    pub(crate) groups: usize,
    /// The number of input channels of a group.
    pub(crate) inputs: usize,
    /// The number of output channels of a group.
    pub(crate) outputs: usize,
    pub(crate) image: [usize; 2],
    pub(crate) kernel: [usize; 2],
    /// The rows and the columns of the output.
    pub(crate) places: [usize; 2],
    pub(crate) window: Window,
}

impl Geometry {
    /// The sizes of a convolution.
    pub(crate) fn new(
        op: &str,
        (batch, channels, image): (usize, usize, [usize; 2]),
        (out, inputs, kernel): (usize, usize, [usize; 2]),
        window: Window,
        groups: usize,
    ) -> Result<Self> {
        window.check(op)?;
        if groups == 0 || !channels.is_multiple_of(groups) || !out.is_multiple_of(groups) {
            bail!("{op}: {channels} and {out} channels cannot be split into {groups} groups");
        }
        if inputs != channels / groups {
            bail!(
                "{op}: a weight for {inputs} input channels a group, but x has {channels} in {groups} groups"
            );
        }
        if kernel.contains(&0) || channels == 0 || out == 0 {
            let kernel = shown(op, kernel);
            bail!("{op}: a kernel of size {kernel} from {channels} to {out} channels has no entries");
        }
        let Some(places) = window.places(image, kernel) else {
            let Window { padding, dilation, .. } = window;
            let what = if is_of_sequences(op) { "a sequence" } else { "an image" };
            let [kernel, dilation, image, padding] =
                [kernel, dilation, image, padding].map(|of| shown(op, of));
            bail!(
                "{op}: a kernel of {kernel} with dilation {dilation} does not fit into {what} of {image} with padding \
                 {padding}"
            );
        };
        Self { batch, groups, inputs, outputs: out / groups, image, kernel, places, window }.checked(op)
    }

    /// The sizes, if the tensors and the padded image have no more elements than a machine can address.
    fn checked(self, op: &str) -> Result<Self> {
        let padded = |axis: usize| self.image[axis].saturating_add(2 * self.window.padding[axis]);
        let count = |sizes: [usize; 4]| sizes.into_iter().try_fold(1, usize::checked_mul);
        let is_small = |sizes| count(sizes).is_some_and(|count| count <= isize::MAX as usize / 8);
        let input = [self.batch, self.channels(), padded(0), padded(1)];
        let output = [self.batch, self.out(), self.places[0], self.places[1]];
        if !is_small(input) || !is_small(output) {
            bail!("{op}: tensors of {input:?} (padded) and {output:?} are too large for this machine");
        }
        Ok(self)
    }

    /// The sizes of the convolution whose input gradient is the transposed convolution of `x` (`[N, C, h, w]`) with
    /// `w` (`[C, O/groups, kh, kw]`) to `[N, O, H, W]`.
    pub(crate) fn transposed(
        op: &str,
        (batch, channels, places): (usize, usize, [usize; 2]),
        (inputs, outputs, kernel): (usize, usize, [usize; 2]),
        window: Window,
        output_padding: [usize; 2],
        groups: usize,
    ) -> Result<Self> {
        window.check(op)?;
        if groups == 0 || !channels.is_multiple_of(groups) {
            bail!("{op}: {channels} channels cannot be split into {groups} groups");
        }
        if inputs != channels {
            bail!("{op}: a weight for {inputs} input channels, but x has {channels}");
        }
        if kernel.contains(&0) || channels == 0 || outputs == 0 {
            let kernel = shown(op, kernel);
            bail!(
                "{op}: a kernel of size {kernel} from {channels} to {outputs} channels a group has no entries"
            );
        }
        let (Window { stride, padding, dilation }, extent) = (window, window.extent(kernel));
        if (0..2).any(|axis| output_padding[axis] >= stride[axis].max(dilation[axis])) {
            let [more, stride, dilation] = [output_padding, stride, dilation].map(|of| shown(op, of));
            bail!("{op}: an output padding of {more} is not below stride {stride} or dilation {dilation}");
        }
        if places.contains(&0) {
            bail!("{op}: x of {} places has none", shown(op, places));
        }
        let size = |axis: usize| {
            let whole = (places[axis] - 1) * stride[axis] + extent[axis] + output_padding[axis];
            whole.checked_sub(2 * padding[axis]).filter(|&size| size > 0)
        };
        let (Some(height), Some(width)) = (size(0), size(1)) else {
            bail!("{op}: a padding of {} leaves nothing of the output", shown(op, padding));
        };
        let image = [height, width];
        let outputs_of_twin = channels / groups;
        Self { batch, groups, inputs: outputs, outputs: outputs_of_twin, image, kernel, places, window }
            .checked(op)
    }

    /// The channels of the input.
    pub(crate) fn channels(&self) -> usize {
        self.inputs * self.groups
    }

    /// The channels of the output.
    pub(crate) fn out(&self) -> usize {
        self.outputs * self.groups
    }

    /// The number of products in an output: a group's channels times the kernel's entries.
    pub(crate) fn depth(&self) -> usize {
        self.inputs * self.taps()
    }

    /// The number of entries of the kernel.
    pub(crate) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// The number of elements of a channel of the input.
    pub(crate) fn pixels(&self) -> usize {
        self.image[0] * self.image[1]
    }

    /// The number of elements of a channel of the output.
    pub(crate) fn area(&self) -> usize {
        self.places[0] * self.places[1]
    }

    /// The convolution, of the output's gradient with the weight turned round, that the gradient of the input is: with
    /// stride 1, and if it takes about as many products.
    pub(crate) fn turned(&self) -> Option<Self> {
        let extent = self.window.extent(self.kernel);
        let [top, left] = [0, 1].map(|axis| (extent[axis] - 1).checked_sub(self.window.padding[axis]));
        let window = Window { padding: [top?, left?], ..self.window };
        // With an output padding, the input of a transposed convolution's twin has more pixels than that gives.
        let fits = window.places(self.places, self.kernel) == Some(self.image);
        let is_cheap = self.pixels() <= self.area() + self.area() / 4;
        (window.stride == [1; 2] && fits && is_cheap).then_some(Self {
            inputs: self.outputs,
            outputs: self.inputs,
            image: self.places,
            places: self.image,
            window,
            ..*self
        })
    }

    /// Whether each input channel is a group of its own, with few outputs.
    pub(crate) fn is_depthwise(&self) -> bool {
        self.inputs == 1 && self.outputs <= 4 && self.groups > 1
    }

    pub(crate) fn input_len(&self) -> usize {
        self.batch * self.channels() * self.pixels()
    }

    pub(crate) fn output_len(&self) -> usize {
        self.batch * self.out() * self.area()
    }

    pub(crate) fn weight_len(&self) -> usize {
        self.out() * self.depth()
    }
}

/// Whether an op works on sequences, which are images of one row.
fn is_of_sequences(op: &str) -> bool {
    op.ends_with("1d")
}

/// Two numbers as the user of an op has given them: one for a sequence.
fn shown(op: &str, [rows, columns]: [usize; 2]) -> String {
    if is_of_sequences(op) { columns.to_string() } else { format!("[{rows}, {columns}]") }
}
