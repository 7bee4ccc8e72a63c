use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use wick_init::KeyedV1;

use crate::data::{Batch, Dataset, InMemory, Prefetch, Standardization};
use crate::error::Error;
use crate::order::Order;

fn data() -> InMemory {
    let numbers: Vec<f32> = (0..300).map(|i| (i as f32).sin()).collect();
    let input = Tensor::from_vec(numbers, (100, 3), &Device::Cpu).unwrap();
    let all: Vec<usize> = (0..100).collect();
    let standardization = Standardization::learn(&input, &all).unwrap();
    InMemory::new(&input).unwrap().with_standardization(standardization).unwrap()
}

/// Counts the batches that were made, and fails or panics at one of them.
#[derive(Clone, Default)]
struct Counting {
    made: Arc<AtomicUsize>,
    fails_at: Option<usize>,
    panics_at: Option<usize>,
}

impl Dataset for Counting {
    fn len(&self) -> usize {
        1
    }

    fn batch(&self, _: &[usize]) -> Result<Batch, Error> {
        let made = self.made.fetch_add(1, Ordering::SeqCst);
        if self.fails_at == Some(made) {
            return Err(Error::Data("it fails".to_owned()));
        }
        assert_ne!(self.panics_at, Some(made), "a panic that the test makes");
        data().batch(&[0])
    }
}

fn endless() -> impl Iterator<Item = (u64, Vec<usize>)> + Send {
    std::iter::repeat((0, vec![0]))
}

/// Batches made ahead are those made when they are needed, to the bit and in the order.
#[test]
fn no_bit_changes() {
    let order = Order::new(100, KeyedV1::new(3).key("order")).unwrap();
    let wanted = move |step| {
        let position = order.position(step, 32).unwrap();
        (position.epoch, position.indices)
    };
    let ahead = Prefetch::new(data(), (0..9).map(wanted)).unwrap();
    let mut count = 0;
    for (step, batch) in ahead.enumerate() {
        let (epoch, indices) = wanted(step as u64);
        let bits = |batch: Batch| -> Vec<u32> {
            batch.input.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|x| x.to_bits()).collect()
        };
        assert_eq!(bits(batch.unwrap()), bits(data().epoch_batch(epoch, &indices).unwrap()));
        count += 1;
    }
    assert_eq!(count, 9);
}

/// Two batches are made ahead, and no more, although the list of those to make has no end; the thread ends with the
/// iterator.
#[test]
fn two_batches_are_made_ahead() {
    let data = Counting::default();
    let made = data.made.clone();
    let mut ahead = Prefetch::new(data, endless()).unwrap();
    for taken in 0..3 {
        let begun = Instant::now();
        while made.load(Ordering::SeqCst) < taken + 2 && begun.elapsed() < Duration::from_secs(20) {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(made.load(Ordering::SeqCst), taken + 2);
        assert!(ahead.next().unwrap().is_ok());
    }
    drop(ahead);
    let at_end = made.load(Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!((made.load(Ordering::SeqCst), Arc::strong_count(&made)), (at_end, 1));
}

#[test]
fn errors_and_panics_are_the_last_item() {
    let failing = Counting { fails_at: Some(2), ..Counting::default() };
    let items: Vec<_> = Prefetch::new(failing.clone(), endless()).unwrap().collect();
    assert_eq!((items.len(), items[2].as_ref().unwrap_err().to_string()), (3, "it fails".to_owned()));
    assert_eq!(failing.made.load(Ordering::SeqCst), 3);
    let panicking = Counting { panics_at: Some(1), ..Counting::default() };
    let items: Vec<_> = Prefetch::new(panicking, endless()).unwrap().collect();
    assert_eq!(items.len(), 2);
    assert!(items[1].as_ref().unwrap_err().to_string().contains("has panicked"));
    // A batch that the data does not have.
    let items: Vec<_> = Prefetch::new(data(), [(0, vec![100]), (0, vec![0])]).unwrap().collect();
    assert_eq!((items.len(), items[0].is_err()), (1, true));
}
