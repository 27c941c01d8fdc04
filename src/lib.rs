//! `blackhole`: a real-time event gateway for Kazoo. Telephone events come in from RabbitMQ, or from
//! the embedded bus, and go out over WebSockets to whoever subscribed to them and may see them.
//!
//! # The map
//!
//! | layer | modules | knows nothing of |
//! | --- | --- | --- |
//! | words | [`model`] | everything else |
//! | core | [`catalogue`], [`index`], [`session`], [`auth`] (less its authority), [`fanout`] (less delivery) | sockets, brokers, HTTP, the clock |
//! | shell | [`gateway`], [`source`], [`cluster`], [`broker`], [`store`], [`node`], [`api`], [`telemetry`], [`settings`], [`entropy`], [`demo`] | each other, but for what is named below |
//! | whole | [`app`], [`cli`] | |
//!
//! Who may import whom is written down, and checked, in `tidy.rs`.
//!
//! # One event
//!
//! 1. [`source`]: `amqp/link.rs` takes the delivery (or `bus.rs` the publication), [`broker`] makes it
//!    text, and it waits in the [`source::Ingress`].
//! 2. [`app`] (`app/lane.rs`, a thread of its own with the broker's reader) hands it to the
//!    [`fanout::Dispatcher`]: `peek.rs` reads the few fields that routing
//!    needs and makes the event's own routing key.
//! 3. [`index`] walks the trie word by word and gives the groups that match.
//! 4. `deliver.rs` drops the groups that may not see the event's account (the isolation rule is
//!    [`index::Group::may_see`]), `normalise.rs` makes `data`, once, `frame.rs` one frame per group.
//! 5. Each member's queue, `gateway/outbox.rs`, gets a reference to it. When the batch is through, the
//!    dispatcher writes what waits for each plain socket in one system call, as far as the kernel takes
//!    it; the rest, and everything with TLS, is written by the socket's task, `gateway/connection.rs`.
//!
//! # One subscribe
//!
//! 1. `gateway/connection.rs` reads bytes, `inbound.rs` makes a message of them, and it goes to the
//!    [`session::Session`].
//! 2. `session/machine.rs` runs the checks in the protocol's order. Where the answer lies outside it
//!    returns a [`session::Step`]: the token ([`auth::Authority`]), the account, the broker's binding.
//! 3. [`catalogue`] turns the client binding into subscription keys and AMQP bindings.
//! 4. [`source`] binds on the broker; then the reply is queued and held back; then [`index`] binds; then
//!    the reply goes out.
//!
//! `benches/cases` holds the steps of both walks one by one, without sockets: `benches/micro.rs` tells
//! their time, `benches/instructions.rs` counts their instructions. Some steps are public for them alone.
//!
//! # Invariants
//!
//! - The core never reads the clock and makes no I/O.
//! - Nobody waits for a slow socket but its own task: whoever else writes to it never blocks.
//! - An event's body is normalised and serialised once; one frame serves a whole group.
//! - No event reaches a group of another account.
//! - A reply precedes every event that its subscription causes, and whoever has read it misses none.
//! - Whatever waits is bounded in bytes: for each socket, for all sockets, for the dispatcher.
//! - Tokens reach no log, no error and no listing.
//! - Every dropped event is counted with its reason.

pub mod api;
pub mod app;
pub mod auth;
pub mod broker;
pub mod catalogue;
pub mod cli;
pub mod cluster;
pub mod demo;
pub mod entropy;
pub mod fanout;
pub mod gateway;
pub mod index;
pub mod model;
pub mod node;
pub mod session;
pub mod settings;
pub mod source;
pub mod store;
pub mod telemetry;

#[cfg(test)]
mod described;
#[cfg(test)]
mod tidy;
