//! Code that may panic.

use std::panic::{self, AssertUnwindSafe};

use anyhow::{Result, anyhow};

/// Runs code of candle-transformers, which panics on some configs, and makes an error of a panic.
pub(crate) fn guarded<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    panic::set_hook(hook);
    result.unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(anyhow!("candle panics: {}", text.unwrap_or_else(|| "without a message".to_owned())))
    })
}
