//! The envelope of every `/v2` answer (kazoo-rest.md A.2, A.4, A.5; table H where we differ).

use http::header::{ALLOW, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::fault::Fault;
use super::request::Context;
use super::rules;
use crate::model::Token;
use crate::model::clock::{iso8601, unix_now};

/// What a resource answers.
pub(super) type Answer = Result<Success, ApiError>;

/// A success before it is put into its envelope.
#[derive(Debug)]
pub(super) struct Success {
    pub(super) status: StatusCode,
    /// `None`: there is no `data` at all.
    pub(super) data: Option<Value>,
    /// Log-ins only.
    pub(super) auth_token: Option<Token>,
    pub(super) location: Option<String>,
    /// Listings in pages only.
    pub(super) page: Option<Page>,
    /// Nodes that should have answered and did not.
    pub(super) missing_nodes: Vec<String>,
    /// A document as it is, without an envelope.
    pub(super) bare: bool,
    /// `data` holds a secret: it is not compressed.
    pub(super) secret: bool,
}

/// Where a listing stands (A.2).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) size: usize,
    pub(super) start_key: Option<String>,
    pub(super) next_start_key: Option<String>,
}

impl Success {
    pub(super) fn ok(data: Value) -> Self {
        Self {
            status: StatusCode::OK,
            data: Some(data),
            auth_token: None,
            location: None,
            page: None,
            missing_nodes: Vec::new(),
            bare: false,
            secret: false,
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
    pub(super) fault: Fault,
    data: Value,
    header: Option<(HeaderName, String)>,
}

impl ApiError {
    fn new(fault: Fault, text: &str) -> Self {
        // A 401 says how to log in, whatever it is about (RFC 9110, 15.5.2).
        let scheme = (fault.status() == StatusCode::UNAUTHORIZED)
            .then(|| (WWW_AUTHENTICATE, "Bearer".into()));
        Self {
            fault,
            data: json!({ "message": text }),
            header: scheme,
        }
    }

    /// 400 with field -> rule -> details.
    pub(super) fn validation(field: &str, rule: &str, details: Value) -> Self {
        Self::invalid(json!({ field: { rule: details } }))
    }

    /// 400 with all that is wrong.
    pub(super) fn invalid(data: Value) -> Self {
        Self {
            data,
            ..Self::new(Fault::Validation, "")
        }
    }

    /// 400: a field that must be there is not.
    pub(super) fn required(field: &str) -> Self {
        Self::validation(field, "required", rules::required(field))
    }

    /// 400: a field of the wrong type.
    pub(super) fn wrong_type(field: &str, expected: &str, value: &Value) -> Self {
        Self::validation(field, "type", rules::wrong_type(expected, Some(value)))
    }

    /// 400: a value that is not one of a few.
    pub(super) fn not_one_of(field: &str, allowed: &[&str], value: &str) -> Self {
        Self::validation(field, "enum", rules::not_one_of(allowed, value))
    }

    /// 400: the body is no JSON object.
    pub(super) fn no_json(text: &str) -> Self {
        let details = json!({"message":format!("All JSON must be valid: {text}"),"target":"body"});
        Self::validation("json", "invalid", details)
    }

    /// 401, the same for every reason.
    pub(super) fn invalid_credentials() -> Self {
        Self::new(Fault::InvalidCredentials, "invalid credentials")
    }

    /// Why a token that was asked about is worth nothing (C.5).
    pub(super) fn bad_token(fault: Fault) -> Self {
        Self {
            data: json!({}),
            ..Self::new(fault, "")
        }
    }

    /// 403.
    pub(super) fn forbidden() -> Self {
        Self::new(Fault::Forbidden, "forbidden")
    }

    /// 403 with the reason.
    pub(super) fn forbidden_because(cause: &str) -> Self {
        Self {
            data: json!({"message":"forbidden","cause":cause}),
            ..Self::forbidden()
        }
    }

    /// 404: no such path.
    pub(super) fn not_found() -> Self {
        Self::new(Fault::NotFound, "not found")
    }

    /// 404: nothing has this id.
    pub(super) fn bad_identifier(id: &str) -> Self {
        Self {
            data: json!({"message":"bad identifier","cause":id}),
            ..Self::new(Fault::BadIdentifier, "")
        }
    }

    /// 405 with the methods that are allowed.
    pub(super) fn invalid_method(allow: String) -> Self {
        Self {
            header: Some((ALLOW, allow)),
            ..Self::new(Fault::InvalidMethod, "method not allowed")
        }
    }

    /// 406.
    pub(super) fn not_acceptable() -> Self {
        Self::new(Fault::NotAcceptable, "only application/json can be given")
    }

    /// 408: the body did not come in time.
    pub(super) fn too_slow() -> Self {
        Self::new(Fault::RequestTimeout, "the body did not come in time")
    }

    /// 413.
    pub(super) fn too_large(most: usize) -> Self {
        let message = format!("Payload or Files must not be more than {most} bytes");
        Self {
            data: json!({"file":{"maxSize":{"message":message,"target":most}}}),
            ..Self::new(Fault::TooLarge, "")
        }
    }

    /// 415.
    pub(super) fn unsupported_media_type() -> Self {
        Self::new(
            Fault::UnsupportedMediaType,
            "the body must be application/json",
        )
    }

    /// 429; in so many seconds there is room again.
    pub(super) fn too_many_requests(seconds: u64) -> Self {
        Self {
            header: Some((RETRY_AFTER, seconds.max(1).to_string())),
            ..Self::new(Fault::TooManyRequests, "too many requests")
        }
    }

    /// 503.
    pub(super) fn unavailable(text: &str) -> Self {
        Self {
            header: Some((RETRY_AFTER, "1".into())),
            ..Self::new(Fault::Unavailable, text)
        }
    }

    /// 500.
    pub(super) fn fault() -> Self {
        Self::new(Fault::Unspecified, "unspecified fault")
    }
}

/// An answer in its envelope: status, headers of its own, body.
pub(super) struct Enveloped {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Value,
    /// Holds a token: must not be compressed beside what a client chose.
    pub(super) secret: bool,
}

/// Puts an answer into its envelope.
pub(super) fn envelope(context: &Context, answer: Answer) -> Enveloped {
    let mut body = Map::new();
    let mut headers: Vec<(HeaderName, String)> = Vec::new();
    let mut secret = false;
    let status = match answer {
        Ok(success) if success.bare => {
            return Enveloped {
                status: success.status,
                headers: Vec::new(),
                body: success.data.unwrap_or_default(),
                secret,
            };
        }
        Ok(success) => {
            if let Some(data) = success.data {
                body.insert("data".into(), data);
            }
            body.insert("status".into(), "success".into());
            secret = success.secret;
            let token = success.auth_token.or_else(|| context.repeated_token());
            if let Some(token) = token {
                body.insert("auth_token".into(), token.expose().into());
                secret = true;
            }
            if let Some(page) = success.page {
                body.insert("page_size".into(), page.size.into());
                for (name, key) in [
                    ("start_key", page.start_key),
                    ("next_start_key", page.next_start_key),
                ] {
                    body.extend(key.map(|key| (name.to_owned(), key.into())));
                }
            }
            if !success.missing_nodes.is_empty() {
                body.insert("missing_nodes".into(), success.missing_nodes.into());
            }
            headers.extend(success.location.map(|location| (LOCATION, location)));
            success.status
        }
        Err(error) => {
            body.insert("data".into(), error.data);
            body.insert("status".into(), "error".into());
            let status = error.fault.status();
            body.insert("error".into(), status.as_str().into());
            body.insert("message".into(), error.fault.message().into());
            headers.extend(error.header);
            status
        }
    };
    body.insert("request_id".into(), context.request_id.as_str().into());
    body.insert("node".into(), context.node.as_str().into());
    body.insert("timestamp".into(), iso8601(unix_now()).into());
    let tokens = json!({"consumed":1,"remaining":context.remaining});
    body.insert("tokens".into(), tokens);
    if context.caller.is_some() {
        body.insert("version".into(), env!("CARGO_PKG_VERSION").into());
    }
    let readable = |(name, value)| Some((name, HeaderValue::try_from(value).ok()?));
    Enveloped {
        status,
        headers: headers.into_iter().filter_map(readable).collect(),
        body: body.into(),
        secret,
    }
}
