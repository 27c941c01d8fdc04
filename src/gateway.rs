//! The sockets: accepting them, one task for each, and who is connected.
//!
//! - `addresses`: how many connections each client has;
//! - `listen`: ports, the limit per address, TLS;
//! - `handshake`: the HTTP request that opens a websocket;
//! - `origin`: which web pages may connect;
//! - `tls`: certificates;
//! - `connection`: one socket's task;
//! - `wire`: a socket's bytes, plain or TLS;
//! - `frame`, `inbound`: websocket frames out and in;
//! - `outbox`: what waits to be written to a socket;
//! - `room`, `relief`: how much may wait for all sockets, and who goes when it is too much;
//! - `quota`: how much each account has;
//! - `linger`: the end of a TCP connection;
//! - `registry`: who is connected;
//! - `sentry`: whether open sockets may still be what they are;
//! - `close`: why sockets end.

mod addresses;
mod close;
mod connection;
mod frame;
mod handshake;
mod inbound;
mod linger;
mod listen;
mod origin;
mod outbox;
mod quota;
mod registry;
mod relief;
mod room;
mod sentry;
mod tls;
mod wire;

pub use addresses::Addresses;
pub use close::CloseReason;
pub use connection::Shared;
pub use frame::Frame;
pub use inbound::{Fault, Inbound, Message};
pub use listen::{Transport, bind, serve};
pub use outbox::{Outbox, Pushed, Written};
pub use quota::Quotas;
pub use registry::{Handle, Registry};
pub use relief::keep_within;
pub use room::Room;
pub use sentry::keep_watch;
pub use tls::{TlsError, server_config};
