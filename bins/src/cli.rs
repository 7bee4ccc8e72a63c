//! The frame of a program: it reads the arguments, and turns a result into an exit code and one line on
//! stderr.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use clap::error::ErrorKind;

use crate::output::ReaderGone;
use crate::threads;

/// The arguments are wrong: exit code 2. Every other error is a failed run: exit code 1.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(String);

/// A signal stopped the program after it had finished what it was doing: exit code 128 and the signal's number.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Stopped {
    /// The number of the signal.
    pub signal: i32,
    /// What is kept, and how to go on.
    pub text: String,
}

/// An error that says what is wrong with the arguments.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    Usage(message.into()).into()
}

/// Reads the arguments, runs the program, and returns its exit code: 0 for success, 1 for a failed run, 2 for
/// wrong arguments. A stdout that is closed (`program >&-`) is a failed run, before anything is computed. A reader
/// of stdout that goes away (`program | head -1`) is success. An error is one line on stderr. A signal that ends
/// the process removes its temporary files first.
pub fn run<A: Parser>(program: impl FnOnce(A) -> Result<()>) -> ExitCode {
    if wick_files::stdout_was_closed() {
        return complain("error: stdout is closed, and the result goes there: redirect it to a file", 1);
    }
    let arguments = match parse::<A>() {
        Ok(arguments) => arguments,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            // A closed pipe is no failure.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => return complain(&one_line(&error.render().to_string()), 2),
    };
    wick_kernels::limit_idle_spinning(); // Before there is another thread.
    wick_files::remove_temporaries_on_signals();
    wick_kernels::retain_freed_memory();
    match threads::start().and_then(|()| program(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<ReaderGone>() => ExitCode::SUCCESS,
        Err(error) if error.is::<Stopped>() => {
            let signal = error.downcast_ref::<Stopped>().map_or(0, |stopped| stopped.signal);
            complain(&chain(&error), u8::try_from(128 + signal).unwrap_or(1))
        }
        Err(error) => {
            let code = if error.downcast_ref::<Usage>().is_some() { 2 } else { 1 };
            complain(&format!("error: {}", chain(&error)), code)
        }
    }
}

/// Reads the arguments. A negative number is a value and not the name of an option, so that the error that
/// refuses it can name the option.
fn parse<A: Parser>() -> Result<A, clap::Error> {
    let takes_a_value = |arg: clap::Arg| {
        if arg.get_action().takes_values() { arg.allow_negative_numbers(true) } else { arg }
    };
    A::from_arg_matches(&A::command().mut_args(takes_a_value).try_get_matches()?)
}

/// Prints the one line of an error, and returns the exit code.
fn complain(line: &str, code: u8) -> ExitCode {
    let mut stderr = io::stderr().lock();
    let coloured = stderr.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let line = match line.strip_prefix("error:") {
        Some(rest) if coloured => format!("\x1b[1;31merror:\x1b[0m{rest}"),
        _ => line.to_owned(),
    };
    let _ = writeln!(stderr, "{line}");
    ExitCode::from(code)
}

/// Returns clap's message without its usage and hints, on one line.
fn one_line(rendered: &str) -> String {
    let message = rendered.split("\n\nUsage:").next().unwrap_or(rendered);
    let message = message.split("\n\nFor more information").next().unwrap_or(message);
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the error and its causes on one line, each by its first line: candle appends backtraces to its
/// errors.
fn chain(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        let line = text.lines().next().unwrap_or_default().trim().to_owned();
        // A transparent error repeats the text of its cause.
        if !line.is_empty() && !parts.iter().any(|part| part.contains(&line)) {
            parts.push(line);
        }
    }
    let text = parts.join(": ");
    match memory_now() {
        Some(now) if text.contains("OUT_OF_MEMORY") => {
            format!("out of memory on the GPU, of which {now}: ask for smaller sizes ({text})")
        }
        _ => text,
    }
}

/// Returns how much memory is free on the GPU that this thread has opened.
fn memory_now() -> Option<String> {
    #[cfg(feature = "cuda")]
    {
        use crate::output::size;

        let (free, all) = candle_core::cuda_backend::cudarc::driver::result::mem_get_info().ok()?;
        Some(format!("{} of {} are free now", size(free as f64), size(all as f64)))
    }
    #[cfg(not(feature = "cuda"))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_without_usage() {
        let rendered = "error: invalid value 'x'\n  for '--seed'\n\nUsage: p [OPTIONS]\n\nFor more information, try '--help'.\n";
        assert_eq!(one_line(rendered), "error: invalid value 'x' for '--seed'");
    }

    #[test]
    fn causes_are_joined_once() {
        let error = anyhow::anyhow!("root\n  0: backtrace").context("middle").context("middle: root");
        assert_eq!(chain(&error), "middle: root");
        let error = anyhow::anyhow!("root").context("top");
        assert_eq!(chain(&error), "top: root");
    }
}
