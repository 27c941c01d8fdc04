//! What every `/v2` request brings: its id, its caller's token, its body.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use http_body_util::LengthLimitError;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::envelope::ApiError;
use super::router::ApiState;
use crate::entropy::random_id;
use crate::model::clock::unix_now;
use crate::model::{Identity, Token};

/// For a whole body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Who asks, and what the envelope repeats.
#[derive(Debug)]
pub(super) struct Context {
    /// From `X-Request-ID` when sane, else made.
    pub(super) request_id: String,
    /// This node (kazoo-rest.md A.2).
    pub(super) node: Arc<String>,
    /// Of a valid token; a bad one is as none.
    pub(super) caller: Option<Identity>,
}

impl Context {
    pub(super) fn new(state: &ApiState, headers: &HeaderMap) -> Self {
        let given = headers
            .get("x-request-id")
            .and_then(|value| value.to_str().ok());
        let token = token(headers);
        let identity =
            token.and_then(|token| state.shared.authority.verify(&token, unix_now()).ok());
        Self {
            request_id: given
                .filter(|id| is_sane(id))
                .map_or_else(random_id, str::to_owned),
            node: state.node.clone(),
            caller: identity,
        }
    }

    /// The caller, who must have a token.
    pub(super) fn caller(&self) -> Result<&Identity, ApiError> {
        self.caller
            .as_ref()
            .ok_or_else(ApiError::invalid_credentials)
    }
}

/// At most 128 characters that can do no harm in logs (A.3).
fn is_sane(id: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:@/+=-".contains(c);
    (1..=128).contains(&id.len()) && id.chars().all(plain)
}

/// The token from `X-Auth-Token`, or else from `Authorization: Bearer`.
fn token(headers: &HeaderMap) -> Option<Token> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = || header(AUTHORIZATION.as_str())?.strip_prefix("Bearer ");
    header("x-auth-token").or_else(bearer).map(Token::new)
}

/// A body's bytes, bounded in number and time.
pub(super) async fn bytes(body: Body, most: usize) -> Result<Bytes, ApiError> {
    let read = timeout(BODY_TIMEOUT, to_bytes(body, most)).await;
    let read = read.map_err(|_| ApiError::too_slow())?;
    read.map_err(|error| {
        let cause = error.into_inner();
        if cause.is::<LengthLimitError>() {
            ApiError::too_large(most)
        } else {
            ApiError::no_json("the body cannot be read")
        }
    })
}

/// The `data` of a body's envelope (A.7).
pub(super) fn data(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    let envelope: Value =
        serde_json::from_slice(body).map_err(|error| ApiError::no_json(&error.to_string()))?;
    let Value::Object(envelope) = envelope else {
        return Err(ApiError::no_json("expected an object"));
    };
    // Keys of the envelope itself are normalised, those below are not.
    let found = envelope
        .into_iter()
        .find(|(key, _)| key.eq_ignore_ascii_case("data"));
    match found {
        Some((_, Value::Object(data))) => Ok(data),
        None | Some((_, Value::Null)) => Err(ApiError::required("data")),
        Some((_, other)) => Err(ApiError::wrong_type("data", "object", &other)),
    }
}

/// A text of the data, if it is there.
pub(super) fn text<'d>(
    data: &'d Map<String, Value>,
    field: &str,
) -> Result<Option<&'d str>, ApiError> {
    match data.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(ApiError::wrong_type(field, "string", other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids() {
        assert!(is_sane("5f0c2d9e-8b7a:4@x/+=_."));
        for bad in ["", "a b", "a\nb", &"x".repeat(129)] {
            assert!(!is_sane(bad), "{bad:?}");
        }
    }

    #[test]
    fn where_tokens_are() {
        let mut headers = HeaderMap::new();
        assert_eq!(token(&headers), None);
        headers.insert(AUTHORIZATION, "Bearer a".parse().expect("a value"));
        assert_eq!(token(&headers), Some(Token::new("a")));
        headers.insert("x-auth-token", "b".parse().expect("a value"));
        assert_eq!(token(&headers), Some(Token::new("b")));
    }
}
