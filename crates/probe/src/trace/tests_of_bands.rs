//! Norms, residual sums and attentions beside what is predicted for them, each with a wrong twin.

use candle_core::{D, DType, Device, Result, Tensor, Var};

use super::test_numbers::normal;
use super::*;
use crate::Fault;

fn var(name: &str, xs: &Tensor) -> (String, Var) {
    (name.to_owned(), Var::from_tensor(xs).expect("memory"))
}

/// A norm with gains, or with gains and biases, has the rms that they say, to a thousandth where all gains are alike;
/// one whose eps is above the variance of its input, and one that forgets the root, are named.
#[test]
fn norms_are_predicted() -> Result<()> {
    let gains = (normal(0.3, 48) + 1.0)?;
    let vars =
        [var("norm.weight", &gains), var("norm.bias", &normal(0.2, 48)), var("stem", &normal(0.2, (16, 48)))];
    let xs = normal(1.0, (40, 16));
    let run = |scale: f64, power: f64, has_bias: bool| {
        Trace::run(&vars, || {
            let x = (xs.matmul(&vars[2].1)? * scale)?;
            let x = x.broadcast_sub(&x.mean_keepdim(1)?)?;
            let size = (x.sqr()?.mean_keepdim(1)? + 1e-5)?.powf(power)?;
            let x = x.broadcast_div(&size)?.broadcast_mul(&vars[0].1)?;
            let x = if has_bias { x.broadcast_add(&vars[1].1)? } else { x };
            x.sqr()?.sqr()?.mean_all()
        })
    };
    for has_bias in [false, true] {
        let bands = run(1.0, 0.5, has_bias)?.norm_bands()?;
        assert!(bands.len() == 1 && bands[0].band.contains(bands[0].rms), "{bands:?}");
        assert_eq!((bands[0].of, bands[0].verdict()), (Predicted::Norm, None));
        for (scale, power) in [(1e-3, 0.5), (3.0, 0.25)] {
            let verdict = run(scale, power, has_bias)?.norm_bands()?[0].verdict();
            assert_eq!(verdict.map(|verdict| verdict.fault), Some(Fault::OutsideBand), "{scale} {power}");
        }
    }
    vars[0].1.set(&(vars[0].1.as_tensor() * 0.0)?.affine(1.0, 1.5)?)?;
    let exact = &run(1.0, 0.5, false)?.norm_bands()?[0];
    assert!((exact.rms / 1.5 - 1.0).abs() < 1e-3 && exact.band.low == exact.band.high, "{exact:?}");
    Ok(())
}

/// Statistics of a batch that run along are no law of a norm.
#[test]
fn a_batch_norm_that_is_evaluated_has_no_band() -> Result<()> {
    let ones = Tensor::ones(12, DType::F32, &Device::Cpu)?;
    let mut vars = vec![var("bn.weight", &ones), var("stem", &normal(2.0, (16, 12)))];
    let xs = normal(1.0, (40, 16));
    let forward = |vars: &[(String, Var)]| {
        Trace::run(vars, || xs.matmul(&vars[1].1)?.broadcast_mul(&vars[0].1)?.sqr()?.sqr()?.mean_all())
    };
    assert_eq!(forward(&vars)?.norm_bands()?.len(), 1);
    vars.push(var("bn.running_var", &ones));
    assert_eq!(forward(&vars)?.norm_bands()?.len(), 0);
    Ok(())
}

/// Mean squares add over 300 draws (alpha .002 for 92 to 98 %): of a linear branch that is scaled, and of a
/// convolution, both with biases. A law of three times the std, and so wider bands, is not tight; a branch that is the
/// stream again is named.
#[test]
fn residual_sums_are_predicted() -> Result<()> {
    let std = 0.25;
    let vars = [
        var("a", &normal(0.3, (10, 16))),
        var("b.weight", &normal(std, (16, 16))),
        var("b.bias", &normal(0.1, 16)),
        var("c.weight", &normal(0.1, (6, 6, 3))),
    ];
    let stds = [("b.weight".to_owned(), std), ("b.bias".to_owned(), 0.1), ("c.weight".to_owned(), 0.2)];
    let xs = normal(1.0, (12, 10));
    let images = Var::from_tensor(&normal(1.0, (3, 6, 20)))?;
    let forward = || {
        let x = xs.matmul(&vars[0].1)?;
        let branch =
            candle_nn::Linear::new(vars[1].1.as_tensor().clone(), Some(vars[2].1.as_tensor().clone()));
        let x = (&x + (candle_nn::Module::forward(&branch, &x)? * 0.5)?)?;
        let y = (images.as_tensor() + images.conv1d(&vars[3].1, 1, 1, 1, 1)?)?;
        x.sqr()?.mean_all()? + y.sqr()?.mean_all()?
    };
    let (mut inside, mut narrow, mut all) = (0, 0, 0);
    for _ in 0..150 {
        for ((_, var), std) in vars[1..].iter().zip([std, 0.1, 0.2]) {
            var.set(&normal(std, var.shape()))?;
        }
        let bands = Trace::run(&vars, forward)?.sum_bands(&stds, &[])?;
        assert_eq!(bands.iter().map(|band| band.layer.as_str()).collect::<Vec<_>>(), ["b", "c"]);
        for band in &bands {
            assert_eq!(band.verdict(), None, "{band:?}");
            all += 1;
            inside += usize::from(band.band.contains(band.rms));
            let half = |end: f64| (end * band.band.middle).sqrt();
            narrow += usize::from((half(band.band.low)..half(band.band.high)).contains(&band.rms));
        }
    }
    let fraction = |inside: usize| inside as f64 / f64::from(all);
    assert!((0.92..0.98).contains(&fraction(inside)), "{inside} of {all}");
    assert!(fraction(narrow) < 0.85, "{narrow} of {all}");
    vars[1].1.set(&Tensor::eye(16, DType::F32, &Device::Cpu)?)?;
    let verdict = Trace::run(&vars, forward)?.sum_bands(&stds, &[])?[0].verdict();
    assert!(verdict.is_some_and(|verdict| verdict.text.starts_with("b: the residual sum")));
    Ok(())
}

/// The entropies of draws are those of the law: within 2 % of `ln T` for scores of a std up to that of the collapse, with
/// a mask too, where `ln T - s²/2` is not; above it the attention is named, and tokens that are alike are.
#[test]
fn attentions_are_predicted() -> Result<()> {
    let (tokens, width) = (32, 256);
    let vars = [
        var("q", &normal(1.0 / 16.0, (width, width))),
        var("k", &normal(1.0 / 16.0, (width, width))),
        var("v", &normal(1.0 / 16.0, (width, width))),
        var("o.weight", &normal(1.0 / 16.0, (width, width))),
    ];
    let xs = normal(1.0, (4, tokens, width));
    let mask: Vec<f32> =
        (0..tokens * tokens).map(|i| if i % tokens > i / tokens { f32::NEG_INFINITY } else { 0.0 }).collect();
    let mask = Tensor::from_vec(mask, (tokens, tokens), &Device::Cpu)?;
    let run = |xs: &Tensor, scale: f64, is_causal: bool| -> Result<Attention> {
        let mut found = Trace::run(&vars, || {
            let of = |index: usize| xs.broadcast_matmul(&vars[index].1);
            let (query, key, value) = (of(0)?, of(1)?, of(2)?);
            let scores = (query.matmul(&key.transpose(1, 2)?)? * (scale / 16.0))?;
            let scores = if is_causal { scores.broadcast_add(&mask)? } else { scores };
            let mixed = candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&value)?;
            (xs + mixed.broadcast_matmul(&vars[3].1)?)?.sqr()?.mean_all()
        })?
        .attentions(&[xs])?;
        assert_eq!(found.len(), 1);
        Ok(found.remove(0))
    };
    let log = (tokens as f64).ln();
    for is_causal in [false, true] {
        for scale in [0.3, 1.0, 2.0] {
            let found = run(&xs, scale, is_causal)?;
            assert!((found.std / scale - 1.0).abs() < 0.15, "{found:?}");
            let off = (found.entropy - found.expected_entropy).abs() / log;
            assert!(off < 0.02, "{found:?}");
            assert_eq!(found.verdict(), None, "{found:?}");
            if scale == 2.0 && !is_causal {
                assert!((found.entropy - (log - scale * scale / 2.0)).abs() / log > 0.1, "{found:?}");
            }
            assert!(found.tokens.is_some_and(|tokens| tokens < 0.5), "{found:?}");
        }
        let collapsed = run(&xs, 4.0, is_causal)?.verdict();
        assert_eq!(collapsed.map(|verdict| verdict.fault), Some(Fault::Saturated));
    }
    let alike =
        (normal(1.0, (4, 1, width)).broadcast_as((4, tokens, width))? + normal(0.01, (4, tokens, width)))?;
    let verdict = run(&alike, 1.0, false)?.verdict();
    assert_eq!(verdict.map(|verdict| verdict.fault), Some(Fault::RankCollapse));
    Ok(())
}

/// A causal mask is none of the scores, whatever number it has and however it is put on them: std, entropy and number of
/// keys are those of a mask of -∞, with no verdict. The twins are scores that really are four times too large behind the
/// mask, and numbers of -100 to -200 that differ, which are no mask; both are named.
#[test]
fn masks_of_any_number_are_left_out() -> Result<()> {
    let (tokens, width) = (32, 64);
    let vars = [var("q", &normal(0.125, (width, width))), var("k", &normal(0.125, (width, width)))];
    let xs = normal(1.0, (4, tokens, width));
    let is_later = |i: usize| i % tokens > i / tokens;
    let matrix = |number: &dyn Fn(usize) -> f32| {
        Tensor::from_vec(
            (0..tokens * tokens).map(number).collect::<Vec<f32>>(),
            (tokens, tokens),
            &Device::Cpu,
        )
    };
    let added = |by: f32| matrix(&move |i| if is_later(i) { by } else { 0.0 });
    let later = matrix(&|i| f32::from(u8::from(is_later(i))))?.to_dtype(DType::U8)?;
    let run = |scale: f64, mask: &dyn Fn(&Tensor) -> Result<Tensor>| -> Result<Attention> {
        let mut found = Trace::run(&vars, || {
            let (query, key) = (xs.broadcast_matmul(&vars[0].1)?, xs.broadcast_matmul(&vars[1].1)?);
            let scores = mask(&(query.matmul(&key.transpose(1, 2)?)? * (scale / 8.0))?)?;
            candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&xs)?.sqr()?.mean_all()
        })?
        .attentions(&[])?;
        assert_eq!(found.len(), 1);
        Ok(found.remove(0))
    };
    let expected = run(1.0, &|scores| scores.broadcast_add(&added(f32::NEG_INFINITY)?))?;
    assert!((expected.keys - 16.5).abs() < 2.0 && expected.verdict().is_none(), "{expected:?}");
    for by in [-100.0, -1e4, -1e9, f32::MIN] {
        let filled = |scores: &Tensor| {
            let numbers = Tensor::full(by, scores.shape(), &Device::Cpu)?;
            later.broadcast_as(scores.shape())?.where_cond(&numbers, scores)
        };
        type Way<'w> = &'w dyn Fn(&Tensor) -> Result<Tensor>;
        let ways: [Way; 3] = [&|scores| scores.broadcast_add(&added(by)?), &filled, &|scores| {
            (scores * 8.0)?.broadcast_add(&added(by)?)? / 8.0
        }];
        for (way, mask) in ways.into_iter().enumerate() {
            let found = run(1.0, mask)?;
            let is_near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 1e-3;
            let is_same = found.keys == expected.keys && is_near(found.std, expected.std);
            assert!(is_same && is_near(found.entropy, expected.entropy), "{by}, way {way}: {found:?}");
            assert_eq!(found.verdict(), None, "{by}, way {way}");
            assert!(run(4.0, mask)?.verdict().is_some(), "{by}, way {way}");
        }
    }
    let uneven = matrix(&|i| if is_later(i) { -100.0 - (i % 101) as f32 } else { 0.0 })?;
    let named = run(1.0, &|scores| scores.broadcast_add(&uneven))?;
    assert!(named.keys > 30.0 && named.verdict().is_some(), "{named:?}");
    Ok(())
}
