//! The threads of a program: as many as the system grants.

use std::num::NonZero;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use rayon::{ThreadBuilder, ThreadPoolBuilder};

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
