//! x
pub mod auth;
pub mod catalogue;
pub mod index;
pub mod fanout;
pub mod model;
pub mod session;
pub mod store;
