//! The log: one line an event on standard error, as text or JSON.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Starts the log for the whole process. `filter` is a level, or directives such as
/// `info,blackhole::session=debug`; settings checked it.
pub fn start(filter: &str, format: Format) {
    let chosen = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let ours = filter_fn(|line| is_ours(line.target()));
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(stderr().is_terminal())
        .with_writer(stderr);
    let log = tracing_subscriber::registry().with(chosen).with(ours);
    // Fails when a log was started already, which then goes on.
    let _ = match format {
        Format::Text => log.with(lines.with_target(false)).try_init(),
        Format::Json => log.with(lines.json().flatten_event(true)).try_init(),
    };
}

/// Libraries log whole frames, and with them tokens, at their finest levels; what they have to say
/// comes to us as errors anyway.
fn is_ours(target: &str) -> bool {
    target == "blackhole" || target.starts_with("blackhole::")
}

/// Whether a filter text can be used.
pub fn is_filter(text: &str) -> bool {
    EnvFilter::try_new(text).is_ok()
}
