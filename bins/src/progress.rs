//! Progress on stderr, if that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Returns a bar of `steps` steps. It draws nothing if stderr is not a terminal.
pub fn bar(steps: usize, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{prefix} {bar:30.cyan/black} {pos}/{len} {msg} {eta}");
    bar.with_prefix(what).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
