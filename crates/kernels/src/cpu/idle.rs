//! What candle's worker threads do between two of its ops.

/// Lets candle's worker threads sleep soon after each of its ops; returns whether they will.
///
/// candle 0.11 has threads of its own for elementwise ops. After an op they wait awake for the next one, for 25 000
/// turns of a loop, and keep a core that long from the threads that compute the ops of this crate: a step of a small GPT
/// takes 1.35 times as long (`docs/benchmarks.md`). The function sets `CANDLE_BARRIER_POOL_SPIN_LIMIT`, from which
/// candle reads the number of turns, to 500, unless it is set already.
///
/// Call it once, as the first statement of a program that trains. A variable may be set only while no other thread
/// reads one: in a process with more than one thread, and where their number cannot be known (other systems than Linux
/// and Windows), nothing happens. Such a program can be started with the variable.
///
/// ```
/// let limited = wick_kernels::limit_idle_spinning();
/// assert_eq!(limited, std::env::var_os("CANDLE_BARRIER_POOL_SPIN_LIMIT").is_some());
/// ```
pub fn limit_idle_spinning() -> bool {
    const LIMIT: &str = "CANDLE_BARRIER_POOL_SPIN_LIMIT";
    const TURNS: &str = "500";
    if std::env::var_os(LIMIT).is_none() {
        if !may_set_variables() {
            return false;
        }
        // SAFETY: there is no other thread, or the system has a lock for its environment.
        unsafe { std::env::set_var(LIMIT, TURNS) };
    }
    true
}

/// Whether no other thread can read the environment while it changes.
fn may_set_variables() -> bool {
    let is_alone = || std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1);
    cfg!(windows) || (cfg!(target_os = "linux") && is_alone())
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_variable_is_set_beside_another_thread() {
        let told = std::env::var_os("CANDLE_BARRIER_POOL_SPIN_LIMIT").is_some();
        let limited = std::thread::scope(|scope| scope.spawn(super::limit_idle_spinning).join().unwrap());
        assert_eq!(limited, told || cfg!(windows));
    }
}
