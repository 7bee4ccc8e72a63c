//! The threads of a program: as many as the system grants, and with the stack that a deep net takes.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use rayon::{ThreadBuilder, ThreadPoolBuilder};

use crate::output::size;
use crate::warning::warn;

/// The most threads for each core: more only wait for one another.
const MOST_PER_CORE: usize = 16;

/// Starts rayon's global pool with `RAYON_NUM_THREADS` threads, or with one for each core, and at most 16 for
/// each core.
///
/// rayon by itself panics if the system refuses a thread (`ulimit -u`, a container's limit on processes).
/// Here the pool has the threads that could be started, or the calling thread alone, and a line on stderr
/// says so. candle starts threads of its own at its first large tensor, and panics, too: if they are refused
/// here, it is told to start none.
///
/// # Errors
/// Fails if the pool exists already.
pub fn start() -> Result<()> {
    let asked = number_in("RAYON_NUM_THREADS");
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let most = cores.saturating_mul(MOST_PER_CORE);
    let wanted = asked.unwrap_or(cores).min(most);
    if let Some(asked) = asked.filter(|asked| *asked > most) {
        warn(&format!(
            "RAYON_NUM_THREADS = {asked} is too many for a machine of {cores} cores: {wanted} threads are \
             started, {MOST_PER_CORE} for each core"
        ));
        tell("RAYON_NUM_THREADS", wanted);
    }
    let (sender, receiver) = channel::<ThreadBuilder>();
    let receiver = Arc::new(Mutex::new(receiver));
    let started = (0..wanted).map_while(|_| spawn(receiver.clone())).count();
    if started < wanted {
        warn(&format!(
            "the system grants {started} of {wanted} threads; a limit on processes (ulimit -u) is reached"
        ));
    }
    limit_candle(started < wanted, most);
    let pool = ThreadPoolBuilder::new();
    let built = match started {
        0 => pool.num_threads(1).use_current_thread().build_global(),
        _ => {
            let pool = pool.num_threads(started);
            pool.spawn_handler(|thread| {
                sender.send(thread).map_err(|_| std::io::Error::other("a thread has ended"))
            })
            .build_global()
        }
    };
    built.context("cannot start threads")
}

/// The layers of a net whose graph every thread has the stack for.
const SHALLOW: usize = 500;

/// The bytes of stack for a layer of a graph. A layer of batch norm, and a block of a residual net, take less than 1 KiB
/// and 2 KiB.
const STACK_PER_LAYER: usize = 1 << 14;

/// Runs `task` on a thread whose stack suffices for the graph of a net with this number of layers, or on this thread if
/// they are few. candle walks and drops a graph by recursion, a call or more for each layer, and a stack that overflows
/// ends the process. A stack is address space: memory is taken where it is used. Where the loops of the calling thread do
/// not leave it, those of `task` do not leave its thread.
///
/// # Errors
/// The system refuses such a thread.
///
/// ```
/// use std::thread;
/// use wick_bins::threads::with_stack;
///
/// assert_eq!(with_stack(3, || thread::current().id())?, thread::current().id());
/// assert_ne!(with_stack(10_000, || thread::current().id())?, thread::current().id());
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn with_stack<T: Send>(layers: usize, task: impl FnOnce() -> T + Send) -> Result<T> {
    if layers <= SHALLOW {
        return Ok(task());
    }
    let bytes = layers.saturating_mul(STACK_PER_LAYER);
    let is_alone = rayon::current_num_threads() == 1;
    let task = move || {
        let pool = is_alone.then(|| ThreadPoolBuilder::new().num_threads(1).use_current_thread().build());
        let done = task();
        drop(pool);
        done
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(bytes).spawn_scoped(scope, task).with_context(|| {
            let stack = size(bytes as f64);
            format!("the system refuses a thread with a stack of {stack}, which {layers} layers take: take fewer")
        })?;
        thread.join().map_err(|panic| resume_unwind(panic))
    })
}

/// Tells candle to compute on the calling thread alone if the system would refuse the threads that candle
/// starts: `refused` says that it has refused some already.
fn limit_candle(refused: bool, most: usize) {
    const NAME: &str = "CANDLE_NUM_THREADS";
    let wanted = number_in(NAME).unwrap_or_else(candle_core::utils::get_num_threads);
    let granted = !refused && grants(wanted.min(most).saturating_sub(1));
    if !granted {
        tell(NAME, 1);
    } else if wanted > most {
        tell(NAME, most);
    }
}

/// Whether the system grants that number of threads more now. They have ended when this returns.
fn grants(count: usize) -> bool {
    let (sender, receiver) = channel::<ThreadBuilder>();
    let receiver = Arc::new(Mutex::new(receiver));
    let threads: Vec<_> = (0..count).map_while(|_| spawn(receiver.clone())).collect();
    let granted = threads.len() == count;
    // Without a sender, the threads have nothing to wait for.
    drop(sender);
    for thread in threads {
        let _ = thread.join();
    }
    granted
}

/// The number above 0 in a variable of the environment.
fn number_in(name: &str) -> Option<usize> {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).filter(|count| *count > 0)
}

/// Sets a variable of this process that rayon or candle reads later.
fn tell(name: &str, count: usize) {
    // SAFETY: this thread alone uses the environment now. The threads that `start` has started wait for work,
    // and do not use it before.
    unsafe { std::env::set_var(name, count.to_string()) };
}

/// Starts a thread that waits to become one of the pool's, or to end. `None` if the system refuses it.
fn spawn(receiver: Arc<Mutex<Receiver<ThreadBuilder>>>) -> Option<JoinHandle<()>> {
    let run = move || {
        let thread = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        if let Ok(thread) = thread {
            thread.run();
        }
    };
    thread::Builder::new().spawn(run).ok()
}
