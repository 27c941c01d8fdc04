//! The server under test, its clients, its broker.

mod client;
mod described;
mod feed;
mod http;
mod rabbit;
mod rest;
mod server;

use std::time::Duration;

pub(crate) use client::{Client, Closed, subscribe};
pub(crate) use feed::{Feed, call};
pub(crate) use http::{Answer, request, request_from};
pub(crate) use rabbit::{Broker, Publisher, Vhost, kazoo_properties};
pub(crate) use rest::{Caller, PASSWORD, ROUTES, World, column, md5, sha1};
pub(crate) use server::{Account, Server};

/// Longest wait for anything; only a failing test ever waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The accounts of the fixtures.
pub(crate) const A: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
pub(crate) const B: &str = "0f9e8d7c6b5a49382716f5e4d3c2b1a0";

/// Waits for a condition that nothing announces, asking again and again.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "in vain: {what}");
        // Each question may cost a port of this machine for a minute.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Every fixture of an event.
pub(crate) fn fixtures() -> Vec<serde_json::Value> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/events");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    assert_eq!(files.len(), 23);
    files
        .iter()
        .map(|file| serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap())
        .collect()
}
