//! Loops over tasks on every core, in which the calling thread takes part.
//!
//! A thread outside rayon's pool that gives the pool a loop sleeps until the loop is done, and a thread of the
//! pool that has nothing to do falls asleep too; waking either costs as much as a product of some millions of
//! operations. Here the calling thread starts on the loop at once, and the pool's threads that join it stay
//! awake for a moment, since in a training step the next loop is microseconds away (`team`). A loop within
//! the pool, as one within another loop, is left to rayon, whose threads take other work while they wait.

mod alone;
mod team;

use std::sync::atomic::{AtomicUsize, Ordering};

pub use alone::for_each_alone;

/// Runs `task` for each number below `count`, in no particular order.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// let sum = AtomicUsize::new(0);
/// wick_kernels::parallel::for_each(5, |number| {
///     sum.fetch_add(number, Ordering::Relaxed);
/// });
/// assert_eq!(sum.into_inner(), 10);
/// ```
pub fn for_each(count: usize, task: impl Fn(usize) + Sync) {
    let helpers = rayon::current_num_threads().min(count).saturating_sub(1);
    if helpers == 0 {
        return (0..count).for_each(task);
    }
    let next = AtomicUsize::new(0);
    let work = || {
        // The end of the loop synchronises the results; the counter only distributes the numbers.
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index < count {
            task(index);
        }
        index + 1 < count
    };
    if rayon::current_thread_index().is_none() {
        return team::run(helpers, &work);
    }
    rayon::in_place_scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(|_| while work() {});
        }
        while work() {}
    });
}

/// Runs `task` for each part of `size` elements (the last may be shorter), with the part's number.
///
/// ```
/// let mut numbers = [1; 10];
/// wick_kernels::parallel::for_each_part(&mut numbers, 4, |part, numbers| numbers.fill(part));
/// assert_eq!(numbers, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]);
/// ```
pub fn for_each_part<T: Send>(data: &mut [T], size: usize, task: impl Fn(usize, &mut [T]) + Sync) {
    let (size, len) = (size.max(1), data.len());
    let start = Start(data.as_mut_ptr());
    for_each(len.div_ceil(size), |index| {
        let first = index * size;
        // SAFETY: the parts lie within the slice, which is borrowed as long as the tasks run, and no two
        // parts overlap.
        let part = unsafe { std::slice::from_raw_parts_mut(start.at(first), size.min(len - first)) };
        task(index, part);
    });
}

/// The results of `task` for each number below `count`, in order.
///
/// ```
/// assert_eq!(wick_kernels::parallel::map(4, |number| number * number), [0, 1, 4, 9]);
/// ```
pub fn map<R: Send>(count: usize, task: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let mut results: Vec<Option<R>> = (0..count).map(|_| None).collect();
    for_each_part(&mut results, 1, |index, place| place[0] = Some(task(index)));
    results.into_iter().flatten().collect()
}

/// The beginning of a slice, of which each task takes a part of its own.
pub(crate) struct Start<T>(pub(crate) *mut T);

impl<T> Start<T> {
    pub(crate) fn at(&self, index: usize) -> *mut T {
        self.0.wrapping_add(index)
    }
}

// SAFETY: the pointer stands for a mutable slice, of which each task takes a part of its own.
unsafe impl<T: Send> Sync for Start<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_once_in_and_out_of_the_pool() {
        let run = || {
            for count in [0, 1, 2, 3, 1000] {
                assert_eq!(
                    map(count, |index| index * 3),
                    (0..count).map(|index| index * 3).collect::<Vec<_>>()
                );
                let mut data = vec![0; count];
                for_each_part(&mut data, 7, |part, data| data.iter_mut().for_each(|x| *x += part + 1));
                assert!(data.iter().enumerate().all(|(i, x)| *x == i / 7 + 1), "{count}: {data:?}");
            }
        };
        run();
        for threads in [1, 2, 5] {
            rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run);
        }
    }
}
