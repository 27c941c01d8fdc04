//! The envelope of every `/v2` answer (kazoo-rest.md A.2, A.4, A.5; table H where we differ).

use axum::http::header::{ALLOW, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::request::Context;
use crate::model::Token;
use crate::model::clock::{iso8601, unix_now};

/// What a resource answers.
pub(super) type Answer = Result<Success, ApiError>;

/// A success before it is put into its envelope.
#[derive(Debug)]
pub(super) struct Success {
    pub(super) status: StatusCode,
    pub(super) data: Value,
    /// Log-ins only.
    pub(super) auth_token: Option<Token>,
    pub(super) location: Option<String>,
}

impl Success {
    pub(super) fn ok(data: Value) -> Self {
        Self {
            status: StatusCode::OK,
            data,
            auth_token: None,
            location: None,
        }
    }

    pub(super) fn created(data: Value) -> Self {
        Self {
            status: StatusCode::CREATED,
            ..Self::ok(data)
        }
    }
}

/// An error with Kazoo's status, message and data.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    message: &'static str,
    data: Value,
    header: Option<(HeaderName, &'static str)>,
}

impl ApiError {
    fn new(status: StatusCode, message: &'static str, text: &str) -> Self {
        Self {
            status,
            message,
            data: json!({ "message": text }),
            header: None,
        }
    }

    /// 400 with field -> rule -> details.
    pub(super) fn validation(field: &str, rule: &str, details: Value) -> Self {
        Self {
            data: json!({ field: { rule: details } }),
            ..Self::new(StatusCode::BAD_REQUEST, "validation error", "")
        }
    }

    /// 400: a field that must be there is not.
    pub(super) fn required(field: &str) -> Self {
        Self::validation(
            field,
            "required",
            json!({"message":"Field is required but missing","value":field}),
        )
    }

    /// 400: a field of the wrong type.
    pub(super) fn wrong_type(field: &str, expected: &str, value: &Value) -> Self {
        let message = format!("Value did not match type(s): {expected}");
        Self::validation(
            field,
            "type",
            json!({"message":message,"target":expected,"value":value}),
        )
    }

    /// 400: the body is no JSON object.
    pub(super) fn no_json(text: &str) -> Self {
        let details = json!({"message":format!("All JSON must be valid: {text}"),"target":"body"});
        Self::validation("json", "invalid", details)
    }

    /// 400: a query string that cannot be read.
    pub(super) fn bad_query(text: &str) -> Self {
        Self::validation("query", "invalid", json!({ "message": text }))
    }

    /// 408: the body did not come in time.
    pub(super) fn too_slow() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            "the body did not come in time",
        )
    }

    /// 413.
    pub(super) fn too_large(most: usize) -> Self {
        let message = format!("Payload or Files must not be more than {most} bytes");
        Self {
            data: json!({"file":{"maxSize":{"message":message,"target":most}}}),
            ..Self::new(StatusCode::PAYLOAD_TOO_LARGE, "validation error", "")
        }
    }

    /// 401, the same for every reason.
    pub(super) fn invalid_credentials() -> Self {
        Self {
            header: Some((WWW_AUTHENTICATE, "Bearer")),
            ..Self::new(
                StatusCode::UNAUTHORIZED,
                "invalid_credentials",
                "invalid credentials",
            )
        }
    }

    /// 403.
    pub(super) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "forbidden")
    }

    /// 404.
    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "not found")
    }

    /// 405 with the methods that are allowed.
    pub(super) fn invalid_method(allow: &'static str) -> Self {
        Self {
            header: Some((ALLOW, allow)),
            ..Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "invalid_method",
                "method not allowed",
            )
        }
    }

    /// 429.
    pub(super) fn too_many_requests() -> Self {
        Self {
            header: Some((RETRY_AFTER, "1")),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "too many requests",
            )
        }
    }

    /// 503.
    pub(super) fn unavailable(text: &str) -> Self {
        Self {
            header: Some((RETRY_AFTER, "1")),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", text)
        }
    }

    /// 500.
    pub(super) fn fault() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "unspecified_fault",
            "unspecified fault",
        )
    }
}

/// Puts an answer into its envelope.
pub(super) fn respond(context: &Context, answer: Answer) -> Response {
    let mut body = Map::new();
    let mut headers: Vec<(HeaderName, String)> = vec![(CONTENT_TYPE, "application/json".into())];
    let status = match answer {
        Ok(success) => {
            body.insert("data".into(), success.data);
            body.insert("status".into(), "success".into());
            if let Some(token) = success.auth_token {
                body.insert("auth_token".into(), token.expose().into());
            }
            headers.extend(success.location.map(|location| (LOCATION, location)));
            success.status
        }
        Err(error) => {
            body.insert("data".into(), error.data);
            body.insert("status".into(), "error".into());
            body.insert("error".into(), error.status.as_str().into());
            body.insert("message".into(), error.message.into());
            headers.extend(error.header.map(|(name, value)| (name, value.to_owned())));
            error.status
        }
    };
    body.insert("request_id".into(), context.request_id.as_str().into());
    body.insert("node".into(), context.node.as_str().into());
    body.insert("timestamp".into(), iso8601(unix_now()).into());
    if context.caller.is_some() {
        body.insert("version".into(), env!("CARGO_PKG_VERSION").into());
    }
    headers.push((
        HeaderName::from_static("x-request-id"),
        context.request_id.clone(),
    ));
    let mut response = (status, Value::from(body).to_string()).into_response();
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
