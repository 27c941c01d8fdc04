//! The log: one line an event on standard error, as text or JSON.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

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
    // The AMQP library logs each lost connection as an error of its own; the source tells it better.
    let quiet = format!("{filter},lapin=off,async_rs=off");
    let filter = EnvFilter::try_new(&quiet).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(stderr().is_terminal())
        .with_writer(stderr);
    // Fails when a log was started already, which then goes on.
    let _ = match format {
        Format::Text => builder.with_target(false).try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// Whether a filter text can be used.
pub fn is_filter(text: &str) -> bool {
    EnvFilter::try_new(text).is_ok()
}
