//! x
pub mod api;
pub mod app;
pub mod auth;
pub mod catalogue;
pub mod gateway;
pub mod index;
pub mod cli;
pub mod fanout;
pub mod model;
pub mod session;
pub mod settings;
pub mod source;
pub mod store;
pub mod telemetry;
