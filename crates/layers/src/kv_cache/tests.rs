#![allow(clippy::unwrap_used)] // A test fails by panicking.

use candle_core::{Device, Tensor, Var};

use super::KvCache;

fn numbers(from: u32, count: u32) -> Tensor {
    let values: Vec<f32> = (from..from + count).map(|x| x as f32).collect();
    Tensor::from_vec(values, (1, 1, count as usize, 1), &Device::Cpu).unwrap()
}

fn values(xs: &Tensor) -> Vec<f32> {
    xs.flatten_all().unwrap().to_vec1().unwrap()
}

/// Pieces of any lengths come back in order, as candle's cache has them, with and without gradients in between.
#[test]
fn what_is_appended_comes_back_in_order() {
    for tracked in [[false; 4], [true; 4], [false, true, false, false]] {
        let (mut ours, mut theirs) = (KvCache::new(2, 4), candle_nn::kv_cache::KvCache::new(2, 4));
        let mut start = 0;
        for (count, tracked) in [3, 1, 6, 2].into_iter().zip(tracked) {
            let piece = numbers(start, count);
            start += count;
            let var = Var::from_tensor(&piece).unwrap();
            let given = if tracked { var.as_tensor() } else { &piece };
            let (k, v) = ours.append(given, given).unwrap();
            let (expected, _) = theirs.append(&piece, &piece).unwrap();
            assert_eq!((values(&k), values(&v)), (values(&expected), values(&expected)));
            assert_eq!(ours.current_seq_len(), theirs.current_seq_len());
            assert_eq!(ours.k_cache().max_seq_len(), theirs.k_cache().max_seq_len());
        }
        ours.reset();
        assert!(ours.k().unwrap().is_none() && ours.current_seq_len() == 0);
    }
}

/// A clone that goes another way, as in a beam search, and tensors returned before stay as they are. A clone of
/// candle's cache writes into the same memory.
#[test]
fn clones_do_not_disturb_each_other() {
    let mut cache = KvCache::new(2, 16);
    let (before, _) = cache.append(&numbers(0, 2), &numbers(0, 2)).unwrap();
    let mut other = cache.clone();
    let (one, _) = cache.append(&numbers(10, 1), &numbers(10, 1)).unwrap();
    let (two, _) = other.append(&numbers(20, 1), &numbers(20, 1)).unwrap();
    assert_eq!([values(&one), values(&two)], [vec![0.0, 1.0, 10.0], vec![0.0, 1.0, 20.0]]);
    cache.reset();
    cache.append(&numbers(30, 2), &numbers(30, 2)).unwrap();
    assert_eq!(values(&before), [0.0, 1.0]);

    let mut stock = candle_nn::kv_cache::KvCache::new(2, 16);
    stock.append(&numbers(0, 2), &numbers(0, 2)).unwrap();
    let mut other = stock.clone();
    let (one, _) = stock.append(&numbers(10, 1), &numbers(10, 1)).unwrap();
    other.append(&numbers(20, 1), &numbers(20, 1)).unwrap();
    assert_eq!(values(&one), [0.0, 1.0, 20.0], "candle's clones have memory of their own now");
}

/// Without gradients, appending within the room writes into the same memory.
#[test]
fn generation_writes_in_place() {
    let mut cache = KvCache::new(2, 16);
    cache.append(&numbers(0, 2), &numbers(0, 2)).unwrap();
    let before = cache.k_cache().all_data().clone().unwrap();
    cache.append(&numbers(2, 1), &numbers(2, 1)).unwrap();
    assert_eq!(values(&before.narrow(2, 0, 3).unwrap()), [0.0, 1.0, 2.0]);
}

/// With a variable as the weight, a cache without gradients holds no graph and writes in place, also when it has begun
/// with gradients; one with gradients holds a graph.
#[test]
fn without_gradients_variables_leave_no_graph() {
    let weight = Var::new(2f32, &Device::Cpu).unwrap();
    let key = |at: u32| numbers(at, 1).broadcast_mul(&weight).unwrap();
    let appended = |cache: &mut KvCache, at: u32| cache.append(&key(at), &key(at)).unwrap();
    let mut with = KvCache::new(2, 16);
    assert!(appended(&mut with, 0).0.track_op() && appended(&mut with, 1).1.track_op());
    for (mut cache, start) in [(KvCache::new(2, 16).without_gradients(), 0), (with.without_gradients(), 2)] {
        assert!(cache.k().unwrap().is_none_or(|keys| !keys.track_op()));
        for at in start..4 {
            let (k, v) = appended(&mut cache, at);
            assert!(!k.track_op() && !v.track_op());
        }
        let before = cache.k_cache().all_data().clone().unwrap();
        let (k, v) = appended(&mut cache, 4);
        assert_eq!([values(&k), values(&v)], [vec![0.0, 2.0, 4.0, 6.0, 8.0], vec![0.0, 2.0, 4.0, 6.0, 8.0]]);
        assert_eq!(values(&before.narrow(2, 4, 1).unwrap()), [8.0], "it was not written in place");
        let mut other = cache.clone();
        assert!(!appended(&mut other, 5).0.track_op(), "a clone is without gradients too");
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let mut cache = KvCache::new(2, 4);
    cache.append(&numbers(0, 2), &numbers(0, 2)).unwrap();
    let other = Tensor::zeros((1, 2, 1, 1), candle_core::DType::F32, &Device::Cpu).unwrap();
    assert!(cache.append(&other, &other).is_err());
}
