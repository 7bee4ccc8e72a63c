//! A trace of unmodified models beside passes of the same variables that are written out with taps: the same layers in
//! the same order, and the same bits.

use std::cell::RefCell;
use std::collections::HashMap;

use candle_core::{D, Result, Tensor};
use candle_nn::{BatchNorm, Conv2d, Conv2dConfig, Linear, Module, ModuleT, RmsNorm};
use wick_probe::{Probe, Trace, summarize};
use wick_tests::{CPU, bits};

use crate::models::{self, Model};

/// A pass with a tap behind each layer, whose variables are looked up by name.
struct Tapped {
    vars: HashMap<String, Tensor>,
    probe: Probe,
    seen: RefCell<Vec<(String, Tensor)>>,
}

impl Tapped {
    fn of(model: &Model) -> Self {
        let vars = model.map.named_vars().into_iter().map(|(name, var)| (name, var.as_tensor().clone()));
        Self { vars: vars.collect(), probe: Probe::new(), seen: RefCell::default() }
    }

    fn get(&self, layer: &str, parameter: &str) -> Tensor {
        self.vars[&format!("{layer}.{parameter}")].clone()
    }

    fn has(&self, layer: &str) -> bool {
        self.vars.contains_key(&format!("{layer}.weight"))
    }

    fn tap(&self, layer: &str, xs: Tensor) -> Result<Tensor> {
        let xs = self.probe.tap(layer, &xs)?;
        self.seen.borrow_mut().push((layer.to_owned(), xs.clone()));
        Ok(xs)
    }

    fn conv(&self, layer: &str, xs: &Tensor, (stride, padding): (usize, usize)) -> Result<Tensor> {
        let weight = self.get(layer, "weight");
        let groups = xs.dim(1)? / weight.dim(1)?;
        let bias = self.vars.get(&format!("{layer}.bias")).cloned();
        let config = Conv2dConfig { stride, padding, groups, ..Default::default() };
        self.tap(layer, Conv2d::new(weight, bias, config).forward(xs)?)
    }

    /// A convolution whose output has one pixel for each `stride` pixels of the input, by zeros around it.
    fn same(&self, layer: &str, xs: &Tensor, stride: usize, height_first: bool) -> Result<Tensor> {
        let kernel = self.get(layer, "weight").dim(2)?;
        let pad = |size: usize| ((size.div_ceil(stride) - 1) * stride + kernel).saturating_sub(size);
        let (height, width) = (pad(xs.dim(2)?), pad(xs.dim(3)?));
        let mut padded = xs.clone();
        if height > 0 || width > 0 {
            let sides = if height_first { [(2, height), (3, width)] } else { [(3, width), (2, height)] };
            for (axis, pad) in sides {
                padded = padded.pad_with_zeros(axis, pad / 2, pad - pad / 2)?;
            }
        }
        self.conv(layer, &padded, (stride, 0))
    }

    fn batch_norm(&self, layer: &str, xs: &Tensor, eps: f64) -> Result<Tensor> {
        let of = |parameter: &str| self.get(layer, parameter);
        let (mean, var) = (of("running_mean"), of("running_var"));
        let norm = BatchNorm::new(mean.dim(0)?, mean, var, of("weight"), of("bias"), eps)?;
        self.tap(layer, norm.forward_t(xs, false)?)
    }

    fn linear(&self, layer: &str, xs: &Tensor) -> Result<Tensor> {
        let weight = self.get(layer, "weight");
        let weight = if weight.rank() > 2 { weight.flatten_from(1)? } else { weight };
        let bias = self.vars.get(&format!("{layer}.bias")).cloned();
        self.tap(layer, Linear::new(weight, bias).forward(xs)?)
    }
}

/// ResNet with blocks of two or of three convolutions.
fn resnet(net: &Tapped, images: &Tensor, blocks: [usize; 4]) -> Result<Tensor> {
    let normed = |conv: &str, norm: &str, xs: &Tensor, sizes: (usize, usize)| {
        net.batch_norm(norm, &net.conv(conv, xs, sizes)?, 1e-5)
    };
    let xs = normed("conv1", "bn1", images, (2, 3))?.relu()?;
    let xs = xs.pad_with_same(D::Minus1, 1, 1)?.pad_with_same(D::Minus2, 1, 1)?;
    let mut xs = xs.max_pool2d_with_stride(3, 2)?;
    for (stage, count) in blocks.into_iter().enumerate() {
        for block in 0..count {
            let of = |layer: &str| format!("layer{}.{block}.{layer}", stage + 1);
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let (a, b, c) = (of("conv1"), of("conv2"), of("conv3"));
            let branch = if net.has(&c) {
                let h = normed(&a, &of("bn1"), &xs, (1, 0))?.relu()?;
                let h = normed(&b, &of("bn2"), &h, (stride, 1))?.relu()?;
                normed(&c, &of("bn3"), &h, (1, 0))?
            } else {
                let h = normed(&a, &of("bn1"), &xs, (stride, 1))?.relu()?;
                normed(&b, &of("bn2"), &h, (1, 1))?
            };
            let skip = if net.has(&of("downsample.0")) {
                normed(&of("downsample.0"), &of("downsample.1"), &xs, (stride, 0))?
            } else {
                xs
            };
            xs = (skip + branch)?.relu()?;
        }
    }
    net.linear("fc", &xs.mean(D::Minus1)?.mean(D::Minus1)?)
}

/// VGG: its convolutions between pools, and three linear layers.
fn vgg(net: &Tapped, images: &Tensor, stages: [usize; 5]) -> Result<Tensor> {
    let (mut xs, mut index) = (images.clone(), 0);
    for count in stages {
        for _ in 0..count {
            xs = net.conv(&format!("features.{index}"), &xs, (1, 1))?.relu()?;
            index += 2;
        }
        xs = xs.max_pool2d_with_stride(2, 2)?;
        index += 1;
    }
    let xs = net.linear("pre_logits.fc1", &xs.flatten_all()?.unsqueeze(0)?)?.relu()?;
    let xs = net.linear("pre_logits.fc2", &xs)?.relu()?;
    net.linear("head.fc", &xs)?.relu()
}

fn convmixer(net: &Tapped, images: &Tensor) -> Result<Tensor> {
    let xs = net.conv("0", images, (14, 0))?.gelu_erf()?;
    let mut xs = net.batch_norm("2", &xs, 1e-5)?;
    for block in 3..23 {
        let of = |layer: &str| format!("{block}.{layer}");
        let branch = net.same(&of("0.fn.0"), &xs, 1, false)?.gelu_erf()?;
        let branch = net.batch_norm(&of("0.fn.2"), &branch, 1e-5)?;
        xs = net.conv(&of("1"), &(xs + branch)?, (1, 0))?.gelu_erf()?;
        xs = net.batch_norm(&of("3"), &xs, 1e-5)?;
    }
    net.linear("25", &xs.mean(3)?.mean(2)?)
}

fn efficientnet(net: &Tapped, images: &Tensor) -> Result<Tensor> {
    let swish = |xs: Tensor| &xs * candle_nn::ops::sigmoid(&xs)?;
    let normed = |layer: &str, xs: &Tensor, stride: usize| {
        net.batch_norm(&format!("{layer}.1"), &net.same(&format!("{layer}.0"), xs, stride, true)?, 1e-3)
    };
    let mut xs = swish(normed("features.0", images, 2)?)?;
    // Repeats and strides of the seven stages of B0 (Tan and Le 2019, table 1).
    for (stage, (count, stride)) in
        [(1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1)].into_iter().enumerate()
    {
        for repeat in 0..count {
            let block = format!("features.{}.{repeat}.block", stage + 1);
            let stride = if repeat == 0 { stride } else { 1 };
            // The first part is the expansion, if there are four.
            let depthwise = usize::from(net.has(&format!("{block}.3.0")));
            let part = |index: usize| format!("{block}.{}", depthwise + index);
            let h = if depthwise == 1 { swish(normed(&format!("{block}.0"), &xs, 1)?)? } else { xs.clone() };
            let h = swish(normed(&part(0), &h, stride)?)?;
            let pooled = h.mean_keepdim(D::Minus2)?.mean_keepdim(D::Minus1)?;
            let squeezed = swish(net.conv(&format!("{}.fc1", part(1)), &pooled, (1, 0))?)?;
            let gates = net.conv(&format!("{}.fc2", part(1)), &squeezed, (1, 0))?;
            let h = normed(&part(2), &h.broadcast_mul(&candle_nn::ops::sigmoid(&gates)?)?, 1)?;
            xs = if stride == 1 && h.dims() == xs.dims() { (h + xs)? } else { h };
        }
    }
    let xs = swish(normed("features.8", &xs, 1)?)?;
    net.linear("classifier.1", &xs.mean(D::Minus1)?.mean(D::Minus1)?)
}

/// A decoder of four heads of eight numbers, two of keys and values: gemma, whose norms add 1 to their gains, or mistral.
fn decoder(net: &Tapped, ids: &Tensor, is_gemma: bool) -> Result<Tensor> {
    const WIDTH: usize = 8;
    let (batch, length) = ids.dims2()?;
    let norm = |layer: &str, xs: &Tensor| -> Result<Tensor> {
        let weight = net.get(layer, "weight");
        let normed = if is_gemma {
            let square = (xs.sqr()?.sum_keepdim(D::Minus1)? / xs.dim(D::Minus1)? as f64)?;
            xs.broadcast_div(&(square + 1e-6)?.sqrt()?)?.broadcast_mul(&(weight + 1.0)?)?
        } else {
            RmsNorm::new(weight, 1e-6).forward(xs)?
        };
        net.tap(layer, normed)
    };
    let numbers = |of: &dyn Fn(usize, usize) -> f32, rows: usize, columns: usize| {
        let all = (0..rows * columns).map(|i| of(i / columns, i % columns)).collect::<Vec<f32>>();
        Tensor::from_vec(all, (rows, columns), &CPU)
    };
    let times = numbers(&|row, _| row as f32, length, 1)?;
    let rates = numbers(&|_, i| 1.0 / 10_000f64.powf(2.0 * i as f64 / WIDTH as f64) as f32, 1, WIDTH / 2)?;
    let angles = times.matmul(&rates)?;
    let mask = numbers(&|i, j| if i < j { f32::NEG_INFINITY } else { 0.0 }, length, length)?;
    let table = net.get("model.embed_tokens", "weight");
    let xs = table.index_select(&ids.flatten_all()?, 0)?.reshape((batch, length, ()))?;
    let mut xs = net.tap("model.embed_tokens", xs)?;
    if is_gemma {
        xs = (xs * 32f64.sqrt())?;
    }
    for block in 0..2 {
        let of = |layer: &str| format!("model.layers.{block}.{layer}");
        let h = norm(&of("input_layernorm"), &xs)?;
        let heads = |layer: &str| {
            let made = net.linear(&of(layer), &h)?;
            let heads = made.dim(2)? / WIDTH;
            made.reshape((batch, length, heads, WIDTH))?.transpose(1, 2)?.contiguous()
        };
        let [query, key, value] = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"].map(heads);
        let rope = |xs: Tensor| candle_nn::rotary_emb::rope(&xs, &angles.cos()?, &angles.sin()?);
        // Each head of keys and values serves two of the queries.
        let twice = |xs: Tensor| Tensor::cat(&[&xs, &xs], 2)?.reshape((batch, 4, length, WIDTH));
        let (query, key, value) = (rope(query?)?, twice(rope(key?)?)?, twice(value?)?);
        let scores = (query.matmul(&key.transpose(2, 3)?)? * (1.0 / (WIDTH as f64).sqrt()))?;
        let weights = candle_nn::ops::softmax_last_dim(&scores.broadcast_add(&mask)?)?;
        let mixed = weights.matmul(&value)?.transpose(1, 2)?.reshape((batch, length, ()))?;
        xs = (net.linear(&of("self_attn.o_proj"), &mixed)? + xs)?;
        let h = norm(&of("post_attention_layernorm"), &xs)?;
        let gate = net.linear(&of("mlp.gate_proj"), &h)?;
        let gate = if is_gemma { gate.gelu_erf()? } else { gate.silu()? };
        let gated = (gate * net.linear(&of("mlp.up_proj"), &h)?)?;
        xs = (xs + net.linear(&of("mlp.down_proj"), &gated)?)?;
    }
    let last = norm("model.norm", &xs.narrow(1, length - 1, 1)?)?;
    net.linear(if is_gemma { "model.embed_tokens" } else { "lm_head" }, &last)
}

/// Compares the layers that a trace of the unmodified model sees, `seen` of them, with those of the pass with taps: each
/// is the one of its name and call, in the same order, has the same bits and the same statistics.
fn compare(mut model: Model, seen: usize, pass: impl FnOnce(&Tapped) -> Result<Tensor>) {
    let net = Tapped::of(&model);
    let outputs = pass(&net).unwrap();
    let vars = model.map.named_vars();
    let trace = Trace::run(&vars, || (model.forward)()).unwrap();
    let own = outputs.sqr().unwrap().mean_all().unwrap();
    assert_eq!(bits(&own), bits(trace.loss()), "{}: the loss", model.name);
    assert_eq!(trace.layers().len(), seen, "{}", model.name);
    let records = net.probe.records();
    let tapped = net.seen.borrow();
    let mut rest = tapped.iter().zip(&records);
    for layer in trace.layers() {
        let found =
            rest.by_ref().find(|((name, _), record)| *name == layer.name && record.call == layer.call);
        assert!(found.is_some(), "{}: {} is not among the taps that are left", model.name, layer.name);
        let (_, record) = found.unwrap();
        let tap = &tapped.iter().zip(&records).find(|(_, other)| std::ptr::eq(*other, record)).unwrap().0.1;
        assert_eq!(bits(&layer.output), bits(tap), "{}: {}", model.name, layer.name);
        let summary = summarize(&layer.output.detach(), None, record.forward.histogram.counts.len()).unwrap();
        assert_eq!(summary, record.forward, "{}: {}", model.name, layer.name);
    }
    println!("{}: {seen} of {} layers have the bits of their taps", model.name, tapped.len());
}

#[test]
fn a_trace_is_what_taps_are() {
    let images = |batch, size| models::images(batch, 3, size);
    compare(models::small("resnet18"), 41, |net| resnet(net, &images(2, 64), [2, 2, 2, 2]));
    compare(models::small("resnet50"), 107, |net| resnet(net, &images(2, 64), [3, 4, 6, 3]));
    compare(models::small("efficientnet-b0"), 131, |net| efficientnet(net, &images(2, 64)));
    compare(models::small("gemma"), 17, |net| decoder(net, &models::ids(2, 6, 40), true));
    compare(models::small("mistral"), 13, |net| decoder(net, &models::ids(2, 6, 40), false));
}

/// The same of models that take more memory or time.
#[test]
#[ignore = "a minute, and 2 GB"]
fn a_trace_is_what_taps_are_in_large_models() {
    let images = |batch, size| models::images(batch, 3, size);
    compare(models::small("convmixer"), 83, |net| convmixer(net, &images(1, 28)));
    compare(models::small("vgg"), 13, |net| vgg(net, &images(1, 224), [2, 2, 2, 2, 2]));
    let vgg16 = models::changed("vgg", &[("architecture", "vgg16".into())]);
    compare(vgg16, 16, |net| vgg(net, &images(1, 224), [2, 2, 3, 3, 3]));
}
