//! The threads of a program: as many as the system grants.

use std::num::NonZero;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use rayon::{ThreadBuilder, ThreadPoolBuilder};

use crate::warning::warn;

/// Starts rayon's global pool with `RAYON_NUM_THREADS` threads, or with one for each core.
///
/// rayon by itself panics if the system refuses a thread (`ulimit -u`, a container's limit on processes).
/// Here the pool has the threads that could be started, or the calling thread alone, and a line on stderr
/// says so.
///
/// # Errors
/// Fails if the pool exists already.
pub fn start() -> Result<()> {
    let wanted = wanted();
    let (sender, receiver) = channel::<ThreadBuilder>();
    let receiver = Arc::new(Mutex::new(receiver));
    let started = (0..wanted).take_while(|_| spawn(receiver.clone())).count();
    if started < wanted {
        warn(&format!(
            "the system grants {started} of {wanted} threads; a limit on processes (ulimit -u) is reached"
        ));
    }
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

/// The number of threads that rayon would start.
fn wanted() -> usize {
    let named = std::env::var("RAYON_NUM_THREADS").ok().and_then(|text| text.parse().ok());
    let cores = || thread::available_parallelism().map_or(1, NonZero::get);
    named.filter(|count| *count > 0).unwrap_or_else(cores)
}

/// Starts a thread that becomes one of the pool's, and returns whether the system granted it.
fn spawn(receiver: Arc<Mutex<Receiver<ThreadBuilder>>>) -> bool {
    let run = move || {
        let thread = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        if let Ok(thread) = thread {
            thread.run();
        }
    };
    thread::Builder::new().spawn(run).is_ok()
}
