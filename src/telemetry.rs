//! What operators see of a running gateway: metrics and log.

pub mod logging;
mod metrics;

pub use metrics::Metrics;
