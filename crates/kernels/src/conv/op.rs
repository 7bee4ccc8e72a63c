//! A convolution, or a transposed one, as an op in candle's graph.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Device, Layout, Result, Shape, Tensor};

use crate::conv::geometry::Geometry;
use crate::conv::{cpu, sums};
use crate::cpu::element::Number;
use crate::cpu::parallel;
use crate::cpu::simd::SimdLevel;
use crate::cpu::slice;

/// The op.
#[derive(Debug, Clone, Copy)]
pub(super) struct Convolution {
    /// The sizes of the convolution, or of the one whose input gradient the op computes.
    pub(super) geometry: Geometry,
    pub(super) transposed: bool,
    /// Whether `x`, the weight and the bias depend on a variable.
    pub(super) wants: [bool; 3],
    pub(super) level: SimdLevel,
}

type Operand<'a> = (&'a CpuStorage, &'a Layout);
type Gradients = [Option<Tensor>; 3];

/// Adds to each channel, of `[batch, channels, area]`, its bias.
fn add_bias<T: Number>(ys: &mut [T], bias: &[T], area: usize) {
    parallel::for_each_part(ys, area, |plane, ys| {
        let bias = bias[plane % bias.len()];
        ys.iter_mut().for_each(|y| *y += bias);
    });
}

impl Convolution {
    /// The shapes of the input and the output, as the op has them.
    fn shapes(&self) -> [[usize; 4]; 2] {
        let g = &self.geometry;
        let image = [g.batch, g.channels(), g.image[0], g.image[1]];
        let places = [g.batch, g.out(), g.places[0], g.places[1]];
        if self.transposed { [places, image] } else { [image, places] }
    }

    fn forward(&self, xs: Operand, weight: Operand, bias: Option<Operand>) -> Result<(CpuStorage, Shape)> {
        let ys = match xs.0 {
            CpuStorage::F32(_) => self.forward_as::<f32>(xs, weight, bias)?,
            _ => self.forward_as::<f64>(xs, weight, bias)?,
        };
        Ok((ys, self.shapes()[1].as_slice().into()))
    }

    fn forward_as<T: Number>(
        &self,
        xs: Operand,
        weight: Operand,
        bias: Option<Operand>,
    ) -> Result<CpuStorage> {
        let (xs, weight) = (slice::of::<T>(xs.0, xs.1)?, slice::of::<T>(weight.0, weight.1)?);
        let bias = bias.map(|bias| slice::of::<T>(bias.0, bias.1)).transpose()?;
        let geometry = &self.geometry;
        let ys = if self.transposed {
            let mut ys = cpu::of_input(self.level, geometry, xs, weight);
            if let (Some(bias), false) = (bias, ys.is_empty()) {
                add_bias(&mut ys, bias, geometry.pixels());
            }
            ys
        } else {
            cpu::forward(self.level, geometry, xs, weight, bias)
        };
        Ok(T::to_cpu_storage_owned(ys))
    }

    fn backward(&self, xs: &Tensor, weight: &Tensor, gradient: &Tensor) -> Result<Gradients> {
        match xs.dtype() {
            DType::F32 => self.backward_as::<f32>(xs, weight, gradient),
            _ => self.backward_as::<f64>(xs, weight, gradient),
        }
    }

    fn backward_as<T: Number>(&self, xs: &Tensor, weight: &Tensor, gradient: &Tensor) -> Result<Gradients> {
        let gradient = gradient.contiguous()?;
        let ((xs_at, xs_layout), (weight_at, weight_layout), (gradient_at, gradient_layout)) =
            (xs.storage_and_layout(), weight.storage_and_layout(), gradient.storage_and_layout());
        let (x, w) = (slice::of_cpu::<T>(&xs_at, xs_layout)?, slice::of_cpu::<T>(&weight_at, weight_layout)?);
        let dys = slice::of_cpu::<T>(&gradient_at, gradient_layout)?;
        let (geometry, level, [input, output]) = (&self.geometry, self.level, self.shapes());
        let tensor = |values: Vec<T>, shape: &[usize]| Tensor::from_vec(values, shape, &Device::Cpu);
        let of_input = || match self.transposed {
            true => tensor(cpu::forward(level, geometry, dys, w, None), &input),
            false => tensor(cpu::of_input(level, geometry, dys, w), &input),
        };
        let of_weight = || match self.transposed {
            true => tensor(cpu::of_weight(level, geometry, dys, x), weight.dims()),
            false => tensor(cpu::of_weight(level, geometry, x, dys), weight.dims()),
        };
        let of_bias = || {
            let [_, channels, height, width] = output;
            tensor(sums::of_channels(dys, channels, height * width), &[channels])
        };
        let [x_wanted, weight_wanted, bias_wanted] = self.wants;
        Ok([
            x_wanted.then(of_input).transpose()?,
            weight_wanted.then(of_weight).transpose()?,
            bias_wanted.then(of_bias).transpose()?,
        ])
    }
}

impl CustomOp2 for Convolution {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn cpu_fwd(
        &self,
        xs: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        w_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((xs, x_layout), (weight, w_layout), None)
    }

    fn bwd(
        &self,
        xs: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [of_input, of_weight, _] = self.backward(xs, weight, gradient)?;
        Ok((of_input, of_weight))
    }
}

impl CustomOp3 for Convolution {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn cpu_fwd(
        &self,
        xs: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        w_layout: &Layout,
        bias: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((xs, x_layout), (weight, w_layout), Some((bias, b_layout)))
    }

    fn bwd(
        &self,
        xs: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [of_input, of_weight, of_bias] = self.backward(xs, weight, gradient)?;
        Ok((of_input, of_weight, of_bias))
    }
}
