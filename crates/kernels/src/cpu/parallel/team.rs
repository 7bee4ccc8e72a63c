//! Threads of rayon's pool that wait awake for the next loop.
//!
//! A helper is a job in rayon's pool. It looks for a loop to join, does rayon's other work meanwhile, and ends
//! if nothing comes for [`PATIENCE`].

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a helper waits for the next loop: longer than the gaps between the loops of a training step.
const PATIENCE: Duration = Duration::from_micros(100);

/// A loop: does the next piece of the work, and returns whether there may be more.
type Work<'a> = &'a (dyn Fn() -> bool + Sync);

/// A loop that helpers may join.
struct Loop {
    work: Work<'static>,
    /// The number of helpers that may still join.
    places: AtomicUsize,
    /// The number of helpers that work on it.
    inside: AtomicUsize,
    /// Whether there may be work left.
    open: AtomicBool,
    /// What a helper panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// The address of a loop on the stack of the thread that runs it.
struct Address(*const Loop);

// SAFETY: a `Loop` consists of types that several threads may use at once.
unsafe impl Send for Address {}

/// The loops that run now. An address is in the list only while its loop exists, and a helper counts itself
/// into a loop under the list's lock.
static LOOPS: Mutex<Vec<Address>> = Mutex::new(Vec::new());
/// The number of loops with places left, to be looked at without the lock.
static OPEN: AtomicUsize = AtomicUsize::new(0);
/// The number of helpers that wait for a loop, and of those that rayon has not started yet.
static WAITING: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whether this thread is a helper already.
    static IS_HELPER: Cell<bool> = const { Cell::new(false) };
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `work` on this thread, and on up to `helpers` threads of rayon's pool, until it returns false. On
/// return no thread is within `work`. Panics are passed on.
pub(super) fn run(helpers: usize, work: Work<'_>) {
    // SAFETY: only the lifetime changes. The reference is used by helpers that are counted as `inside`, and
    // `Running` waits for them before this function returns or unwinds.
    let work: Work<'static> = unsafe { std::mem::transmute::<Work<'_>, Work<'static>>(work) };
    let this = Loop {
        work,
        places: AtomicUsize::new(helpers),
        inside: AtomicUsize::new(0),
        open: AtomicBool::new(true),
        panic: Mutex::new(None),
    };
    let running = Running::announce(&this);
    for _ in WAITING.load(Ordering::Relaxed)..helpers {
        WAITING.fetch_add(1, Ordering::Relaxed);
        rayon::spawn(help);
    }
    while work() {}
    drop(running);
    if let Some(panic) = lock(&this.panic).take() {
        resume_unwind(panic);
    }
}

/// A loop in the list, until this is dropped.
struct Running<'a>(&'a Loop);

impl<'a> Running<'a> {
    fn announce(this: &'a Loop) -> Self {
        lock(&LOOPS).push(Address(this));
        OPEN.fetch_add(1, Ordering::Release);
        Self(this)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut loops = lock(&LOOPS);
        loops.retain(|address| !std::ptr::eq(address.0, self.0));
        if self.0.open.swap(false, Ordering::Relaxed) {
            OPEN.fetch_sub(1, Ordering::Relaxed);
        }
        drop(loops);
        // The helpers are at their last piece. One whose thread the system has stopped needs this core.
        let mut rounds = 0u32;
        while self.0.inside.load(Ordering::Acquire) > 0 {
            rounds += 1;
            if rounds.is_multiple_of(1 << 10) { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
    }
}

/// What a helper does.
fn help() {
    if IS_HELPER.replace(true) {
        // Rayon gave a second helper to a thread that waits as one.
        WAITING.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    let mut since = Instant::now();
    while since.elapsed() < PATIENCE {
        if OPEN.load(Ordering::Acquire) > 0
            && let Some(address) = join()
        {
            WAITING.fetch_sub(1, Ordering::Relaxed);
            // SAFETY: the helper is counted as `inside`, so the loop exists until it has left.
            let this = unsafe { &*address.0 };
            work_on(this);
            WAITING.fetch_add(1, Ordering::Relaxed);
            since = Instant::now();
        } else if rayon::yield_now() == Some(rayon::Yield::Executed) {
            since = Instant::now();
        } else {
            std::hint::spin_loop();
        }
    }
    WAITING.fetch_sub(1, Ordering::Relaxed);
    IS_HELPER.set(false);
}

/// Joins a loop that has a place left: the newest, which may be part of another.
fn join() -> Option<Address> {
    let loops = lock(&LOOPS);
    let found = loops.iter().rev().find(|address| {
        // SAFETY: the loops in the list exist while its lock is held.
        let this = unsafe { &*address.0 };
        this.open.load(Ordering::Relaxed) && this.places.load(Ordering::Relaxed) > 0
    })?;
    // SAFETY: as above.
    let this = unsafe { &*found.0 };
    if this.places.fetch_sub(1, Ordering::Relaxed) == 1 && this.open.swap(false, Ordering::Relaxed) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
    this.inside.fetch_add(1, Ordering::Relaxed);
    Some(Address(found.0))
}

fn work_on(this: &Loop) {
    let result = catch_unwind(AssertUnwindSafe(|| while (this.work)() {}));
    if let Err(panic) = result {
        lock(&this.panic).get_or_insert(panic);
    }
    // Nothing of the loop is touched after this.
    this.inside.fetch_sub(1, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::parallel;

    /// Loops within loops, from several threads at once, run each number once.
    #[test]
    fn nested_and_concurrent_loops() {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let counts: Vec<AtomicUsize> = (0..60).map(|_| AtomicUsize::new(0)).collect();
                        parallel::for_each(6, |outer| {
                            parallel::for_each(10, |inner| {
                                counts[outer * 10 + inner].fetch_add(1, Ordering::Relaxed);
                            });
                        });
                        assert!(counts.into_iter().all(|count| count.into_inner() == 1));
                    }
                });
            }
        });
        assert!(lock(&LOOPS).is_empty() || OPEN.load(Ordering::Relaxed) <= lock(&LOOPS).len());
    }

    /// A panic in a task reaches the caller, whichever thread it is on, and the next loop runs as ever.
    #[test]
    fn panics_are_passed_on() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        for bad in 0..20 {
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.install(|| parallel::for_each(20, |index| assert!(index != bad, "task {index}")));
            }));
            let panic = result.unwrap_err();
            assert_eq!(panic.downcast_ref::<String>().unwrap(), &format!("task {bad}"));
            let sum = AtomicUsize::new(0);
            pool.install(|| {
                parallel::for_each(20, |index| {
                    sum.fetch_add(index, Ordering::Relaxed);
                });
            });
            assert_eq!(sum.into_inner(), 190);
        }
    }
}
