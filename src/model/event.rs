//! An event as a source hands it over.

use std::sync::Arc;
use std::time::Instant;

/// One event, its body decoded to text but not parsed.
#[derive(Debug, Clone)]
pub struct Event {
    /// Where it was published.
    pub exchange: Arc<str>,
    /// The key it was published under.
    pub routing_key: String,
    /// JSON, not yet checked.
    pub body: String,
    /// When the source got it.
    pub received: Instant,
}
