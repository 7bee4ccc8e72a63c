//! The protocol of the programs that answer jobs.

use std::io::{BufRead, Write};

use candle_core::Result;

/// Answers each line of stdin with a line on stdout.
pub(crate) fn serve(mut answer: impl FnMut(&str) -> Result<String>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        if !line.trim().is_empty() {
            writeln!(out, "{}", answer(line.trim())?)?;
            out.flush()?;
        }
    }
    Ok(())
}
