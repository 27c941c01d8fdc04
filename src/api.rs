//! HTTP on port 8000: health, metrics, and the REST that Kazoo's tools know (kazoo-rest.md).
//!
//! - `router`: all routes on one page;
//! - `envelope`: what every `/v2` answer looks like, errors included;
//! - `request`: request ids, bodies, tokens;
//! - `server`: connections, bounded in number and time;
//! - then a file per resource.

mod envelope;
mod events;
mod health;
mod request;
mod router;
mod server;
mod user_auth;
mod websockets;

pub use router::{ApiState, router};
pub use server::serve;
