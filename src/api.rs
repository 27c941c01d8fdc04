//! HTTP on port 8000: health, metrics, and the REST that Kazoo's tools know (kazoo-rest.md).
//!
//! - `server`: connections, bounded in number and time;
//! - `pipeline`: one request, from its head to its answer;
//! - `routes`: all routes on one page;
//! - `request`, `fields`: what a resource is given; `rules`: what is told of a broken one;
//! - `envelope`, `page`, `fault`: what it answers, errors included;
//! - `negotiation`, `cors`, `limits`: what is the same for all;
//! - `state`: what all share;
//! - `documents`: the API described for machines;
//! - `console`: the operator console's files;
//! - then a file per resource.

mod about;
mod accounts;
mod api_auth;
mod console;
mod cors;
mod documents;
mod envelope;
mod events;
mod fault;
mod fields;
mod health;
mod limits;
mod negotiation;
mod page;
mod pipeline;
mod request;
mod routes;
mod rules;
mod server;
mod sockets;
mod state;
mod token_auth;
mod tree;
mod user_auth;
mod users;
mod websockets;

pub use console::{Console, ConsoleSettings};
pub use pipeline::Service;
pub use server::serve;
pub use state::ApiState;
