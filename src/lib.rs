//! x
pub mod auth;
pub mod catalogue;
pub mod index;
pub mod fanout;
pub mod model;
pub mod session;
pub mod settings;
pub mod source;
pub mod store;
pub mod telemetry;
