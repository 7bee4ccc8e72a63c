//! Tasks that are one thread's from beginning to end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rayon::ThreadPoolBuilder;

/// Runs `task` for each number below `count`, several at once and each on one thread: the loops within a task, as
/// those of a matrix product, do not leave its thread. Many small nets train faster so than one after another, whose
/// products are too small for two cores.
///
/// As many threads as rayon's pool has run the tasks, in no particular order; they end with the last task. Where the
/// system refuses a thread, the calling thread runs all tasks. No bit depends on it.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// let (sum, widest) = (AtomicUsize::new(0), AtomicUsize::new(0));
/// wick_kernels::parallel::for_each_alone(5, |number| {
///     sum.fetch_add(number, Ordering::Relaxed);
///     widest.fetch_max(rayon::current_num_threads(), Ordering::Relaxed);
/// });
/// assert_eq!((sum.into_inner(), widest.into_inner()), (10, 1));
/// ```
pub fn for_each_alone(count: usize, task: impl Fn(usize) + Sync) {
    let workers = rayon::current_num_threads().min(count);
    let next = AtomicUsize::new(0);
    let work = || {
        // The loops within a task find a pool of this thread alone.
        let pool = ThreadPoolBuilder::new().num_threads(1).use_current_thread().build();
        loop {
            // The end of the scope synchronises the results; the counter only distributes the numbers.
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                break;
            }
            task(index);
        }
        drop(pool);
    };
    let started = thread::scope(|scope| {
        let start = |number: usize| {
            let builder = thread::Builder::new().name(format!("alone-{number}"));
            builder.spawn_scoped(scope, work).is_ok()
        };
        (0..workers).filter(|number| start(*number)).count()
    });
    if started == 0 {
        (next.into_inner()..count).for_each(task);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Every number comes once, and the loops within a task stay on its thread.
    #[test]
    fn every_number_once_and_loops_stay_on_a_thread() {
        let seen = Mutex::new(Vec::new());
        for_each_alone(20, |number| {
            let here = thread::current().id();
            let threads = super::super::map(100, |_| thread::current().id());
            assert!(threads.iter().all(|thread| *thread == here));
            seen.lock().unwrap().push(number);
        });
        let mut seen = seen.into_inner().unwrap();
        seen.sort_unstable();
        assert_eq!(seen, (0..20).collect::<Vec<_>>());
        for_each_alone(0, |_| unreachable!());
    }
}
