//! Progress on stderr, if that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Returns a bar of `bytes` bytes. It draws nothing if stderr is not a terminal.
pub fn bytes(bytes: u64, what: &'static str) -> ProgressBar {
    let template = "{prefix} {bar:30.cyan/black} {decimal_bytes}/{decimal_total_bytes} {msg} {eta}";
    styled(ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr()), what, template)
}

/// Returns a bar of `steps` steps. It draws nothing if stderr is not a terminal.
pub fn bar(steps: usize, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr());
    styled(bar, what, "{prefix} {bar:30.cyan/black} {pos}/{len} {msg} {eta}")
}

fn styled(bar: ProgressBar, what: &'static str, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template);
    bar.with_prefix(what).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
