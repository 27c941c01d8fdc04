//! x
pub mod catalogue;
pub mod index;
pub mod model;
