//! Work that is done on a thread of its own, one step ahead of what uses it.

use std::sync::mpsc::sync_channel;
use std::thread;

use crate::error::Error;

/// Calls `consume` with a function that returns what `produce` makes of the next of `order`; it has to be called in
/// that order. With `is_ahead`, the next is produced while one is consumed, so that two exist at most. Where the
/// system grants no thread, each is produced when it is asked for. Nothing is produced after an error.
pub(super) fn ahead<T: Send, R>(
    order: &[usize],
    is_ahead: bool,
    produce: impl Fn(usize) -> Result<T, Error> + Sync,
    consume: impl FnOnce(&mut dyn FnMut(usize) -> Result<T, Error>) -> R,
) -> R {
    if !is_ahead {
        return consume(&mut |index| produce(index));
    }
    thread::scope(|scope| {
        // Without a buffer: a product waits in its maker's hands until it is taken.
        let (sender, receiver) = sync_channel(0);
        let make = || {
            let sender = sender;
            for &index in order {
                let made = produce(index);
                let is_last = made.is_err();
                // The receiver is gone if the consumer has failed.
                if sender.send(made).is_err() || is_last {
                    break;
                }
            }
        };
        match thread::Builder::new().spawn_scoped(scope, make) {
            Ok(_) => {
                // The receiver is dropped before the scope waits for the thread.
                let receiver = receiver;
                let ended = || candle_core::Error::msg("its thread ended before it was drawn").into();
                consume(&mut |_| receiver.recv().unwrap_or_else(|_| Err(ended())))
            }
            Err(_) => consume(&mut |index| produce(index)),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn products_come_in_order_and_at_most_two_exist() {
        for is_ahead in [false, true] {
            let (alive, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
            struct Product<'a>(usize, &'a AtomicUsize);
            impl Drop for Product<'_> {
                fn drop(&mut self) {
                    self.1.fetch_sub(1, Ordering::SeqCst);
                }
            }
            let order: Vec<usize> = (0..200).rev().collect();
            let produce = |index| {
                most.fetch_max(alive.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                Ok(Product(index, &alive))
            };
            ahead(&order, is_ahead, produce, |next| {
                for &index in &order {
                    assert_eq!(next(index).unwrap().0, index);
                }
            });
            assert!(most.load(Ordering::SeqCst) <= 1 + usize::from(is_ahead));
        }
    }

    /// A consumer that goes on after an error gets no more products.
    #[test]
    fn nothing_is_produced_after_an_error() {
        let (order, calls) = ([0, 1, 2, 3], AtomicUsize::new(0));
        let produce = |index| {
            calls.fetch_add(1, Ordering::SeqCst);
            if index == 0 { Ok(index) } else { Err(Error::NoSuchTensor("x".to_owned())) }
        };
        let made = ahead(&order, true, produce, |next| order.map(|index| next(index).is_ok()));
        assert_eq!((made, calls.into_inner()), ([true, false, false, false], 2));
    }

    #[test]
    fn an_error_on_either_side_ends_both() {
        let produce = |index| if index < 5 { Ok(index) } else { Err(Error::NoSuchTensor("x".to_owned())) };
        let order: Vec<usize> = (0..1000).collect();
        let failed =
            ahead(&order, true, produce, |next| order.iter().try_for_each(|&index| next(index).map(drop)));
        assert!(failed.is_err());
        assert_eq!(ahead(&order, true, Ok, |next| next(0).unwrap()), 0);
    }
}
