//! Threads of rayon's global pool that wait awake for the next loop of a thread outside the pool.
//!
//! A helper is a job in the pool. It looks for a loop to join, does rayon's other work meanwhile, and ends if
//! nothing comes for [`PATIENCE`], or after [`SHIFT`] to begin anew: the thread may have to see to a job that
//! waits below it.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a helper waits for the next loop: longer than the gaps between the loops of a training step.
const PATIENCE: Duration = Duration::from_micros(100);
/// How long a helper works before it makes room for what else its thread has to do. Changing places costs some tens
/// of microseconds: another thread of the pool may wake up for it.
const SHIFT: Duration = Duration::from_millis(20);

/// A loop: does the next piece of the work, and returns whether there may be more.
type Work<'a> = &'a (dyn Fn() -> bool + Sync);

/// A loop that helpers may join.
struct Loop {
    work: Work<'static>,
    /// The number of helpers that may still join.
    places: AtomicUsize,
    /// The number of helpers that work on it.
    inside: AtomicUsize,
    /// Whether it is counted in [`OPEN`].
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
/// The number of loops with places left, to be looked at without the lock; it changes under the lock.
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

/// Calls `work` on this thread, which is not one of the pool, and on up to `helpers` threads of the pool, until it
/// returns false. On return no thread is within `work`. Panics are passed on.
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
    // Either a helper that ends sees the loop, or it is no longer counted here.
    for _ in WAITING.load(Ordering::SeqCst)..helpers {
        WAITING.fetch_add(1, Ordering::SeqCst);
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
        let mut loops = lock(&LOOPS);
        loops.push(Address(this));
        OPEN.fetch_add(1, Ordering::SeqCst);
        Self(this)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut loops = lock(&LOOPS);
        loops.retain(|address| !std::ptr::eq(address.0, self.0));
        if self.0.open.swap(false, Ordering::Relaxed) {
            OPEN.fetch_sub(1, Ordering::SeqCst);
        }
        drop(loops);
        // The helpers are at their last piece. One whose thread the system has stopped needs this core.
        let mut rounds = 0u32;
        while self.0.inside.load(Ordering::Acquire) > 0 {
            rounds += 1;
            if rounds < 1 << 12 { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }
}

/// What a helper does.
fn help() {
    if IS_HELPER.replace(true) {
        // Rayon gave a second helper to a thread that waits as one.
        WAITING.fetch_sub(1, Ordering::SeqCst);
        return;
    }
    let start = Instant::now();
    let mut since = start;
    loop {
        let now = Instant::now();
        if now - since > PATIENCE || now - start > SHIFT {
            let is_wanted = now - since <= PATIENCE;
            WAITING.fetch_sub(1, Ordering::SeqCst);
            // A loop that has been announced since the last look has counted on this helper.
            if is_wanted || OPEN.load(Ordering::SeqCst) > 0 {
                WAITING.fetch_add(1, Ordering::SeqCst);
                rayon::spawn_fifo(help);
            }
            break;
        }
        if OPEN.load(Ordering::Acquire) > 0
            && let Some(address) = join()
        {
            WAITING.fetch_sub(1, Ordering::SeqCst);
            work_on(&address);
            WAITING.fetch_add(1, Ordering::SeqCst);
            since = Instant::now();
        }
        if rayon::yield_now() == Some(rayon::Yield::Executed) {
            since = Instant::now();
        } else {
            std::hint::spin_loop();
        }
    }
    IS_HELPER.set(false);
}

/// Joins a loop that has a place left, the newest, and counts this helper into it.
fn join() -> Option<Address> {
    let loops = lock(&LOOPS);
    // SAFETY: the loops in the list exist while its lock is held.
    let loop_at = |address: &Address| unsafe { &*address.0 };
    let found = loops.iter().rev().find(|address| loop_at(address).places.load(Ordering::Relaxed) > 0)?;
    let this = loop_at(found);
    if this.places.fetch_sub(1, Ordering::Relaxed) == 1 && this.open.swap(false, Ordering::Relaxed) {
        OPEN.fetch_sub(1, Ordering::SeqCst);
    }
    this.inside.fetch_add(1, Ordering::Relaxed);
    Some(Address(found.0))
}

/// Works on a loop that this helper is counted into, and leaves it.
fn work_on(address: &Address) {
    // SAFETY: the loop exists until this helper has left it.
    let work = unsafe { (*address.0).work };
    let result = catch_unwind(AssertUnwindSafe(|| while work() {}));
    if let Err(panic) = result {
        // SAFETY: as above.
        let first = unsafe { &(*address.0).panic };
        let mut first = lock(first);
        if first.is_none() {
            *first = Some(panic);
        } else {
            // What a payload does when it is dropped is its own affair.
            std::mem::forget(panic);
        }
    }
    // SAFETY: as above. Nothing of the loop is touched after this.
    unsafe { (*address.0).inside.fetch_sub(1, Ordering::Release) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::parallel;

    /// Runs a loop as [`parallel::for_each`] does from outside the pool, with a number of helpers.
    fn run_with(helpers: usize, count: usize, task: impl Fn(usize) + Sync) {
        let next = AtomicUsize::new(0);
        run(helpers, &|| {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index < count {
                task(index);
            }
            index + 1 < count
        });
    }

    /// Rayon's own work is done while helpers wait and while loops follow each other closely.
    #[test]
    fn loops_leave_rayon_its_work() {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    run_with(4, 16, |_| std::thread::sleep(Duration::from_micros(5)));
                }
            });
            for _ in 0..200 {
                let (a, b) = rayon::join(|| 1, || rayon::join(|| 2, || 3));
                assert_eq!((a, b), (1, (2, 3)));
            }
            done.store(true, Ordering::Relaxed);
        });
    }

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
    }

    /// A panic in a task reaches the caller, whichever thread it is on, and the next loop runs as ever.
    #[test]
    fn panics_are_passed_on() {
        for bad in 0..20 {
            let result = catch_unwind(AssertUnwindSafe(|| {
                run_with(3, 20, |index| assert!(index != bad, "task {index}"));
            }));
            let panic = result.unwrap_err();
            assert_eq!(panic.downcast_ref::<String>().unwrap(), &format!("task {bad}"));
            let sum = AtomicUsize::new(0);
            run_with(3, 20, |index| {
                sum.fetch_add(index, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 190);
        }
    }
}
