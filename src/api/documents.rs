//! The descriptions of the API and of the websocket protocol, for machines. They are part of the
//! program; tests hold them against it.

use serde_json::Value;

use super::envelope::{Answer, ApiError, Success};
use super::request::Request;

/// OpenAPI 3.1.
const OPENAPI: &str = include_str!("openapi.json");
/// AsyncAPI 3.
const ASYNCAPI: &str = include_str!("asyncapi.json");

pub(super) async fn openapi(_: &Request) -> Answer {
    document(OPENAPI)
}

pub(super) async fn asyncapi(_: &Request) -> Answer {
    document(ASYNCAPI)
}

fn document(text: &str) -> Answer {
    let document: Value = serde_json::from_str(text).map_err(|_| ApiError::fault())?;
    Ok(Success {
        bare: true,
        ..Success::ok(document)
    })
}

#[cfg(test)]
#[path = "documents_tests.rs"]
mod tests;
