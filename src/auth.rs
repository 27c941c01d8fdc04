//! Who is it, and what may it see?
//!
//! - `directory`: accounts, users and signing keys as one immutable snapshot in memory;
//! - `token`: the JWT, signed and verified, without clock or I/O;
//! - `issuer`: whose tokens are trusted, and with which keys;
//! - `access`: own account, descendants, super-duper admins;
//! - `credentials`: what log-ins send and what is stored of it;
//! - `live`: what of it changes while the program runs, and the news of it;
//! - `authority`: the above with a cache, as the sockets and REST ask it.

pub mod access;
mod authority;
pub mod credentials;
mod directory;
mod issuer;
mod live;
pub mod token;

pub use authority::{Authority, NewToken};
pub use directory::{
    AccountRecord, Directory, Document, PrivLevel, SigningKey, UserRecord, normal_name,
};
pub use issuer::{IssuerError, IssuerSettings, TrustedIssuer};
pub use live::Live;
pub use token::TokenError;
