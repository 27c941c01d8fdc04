//! Frames as text: requests parsed (sections 2 and 6), replies written (section 3).

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::model::Token;

/// `name` and `metadata` together may be this long, as JSON.
const MAX_NOTES: usize = 4096;

/// A longer `request_id` is refused: replies repeat it.
const MAX_REQUEST_ID: usize = 256;
/// Characters of a text of the client's that an error repeats.
const MAX_ECHO: usize = 255;

/// A request whose frame was a JSON object. Its parts are checked when they are asked for, in the
/// protocol's order.
pub(super) struct Request {
    body: Map<String, Value>,
    /// What the reply carries.
    pub(super) id: String,
}

/// The body may hold a token.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What `subscribe` and `unsubscribe` name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    /// An account id or `*`.
    pub(super) account: String,
    pub(super) bindings: Vec<String>,
    /// From `bindings`: errors must tell which one is meant.
    pub(super) several: bool,
}

/// The friendly name and the free data that a client attaches to its session.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Notes {
    pub(super) name: Option<Value>,
    pub(super) metadata: Option<Value>,
}

impl Request {
    /// Parses a frame. On failure gives the error text; the reply then carries `made_id`.
    pub(super) fn parse(
        text: &str,
        made_id: impl FnOnce() -> String,
    ) -> Result<Self, (String, String)> {
        let body = match serde_json::from_str(text) {
            Ok(Value::Object(body)) => body,
            Ok(_) => return Err((made_id(), "invalid JSON: expected an object".into())),
            Err(error) => return Err((made_id(), format!("invalid JSON: {error}"))),
        };
        let given = body.get("request_id").and_then(Value::as_str);
        let given = given.filter(|id| (1..=MAX_REQUEST_ID).contains(&id.len()));
        let id = given.map_or_else(made_id, str::to_owned);
        Ok(Self { body, id })
    }

    /// The token, if one is there.
    pub(super) fn token(&self) -> Result<Option<Token>, String> {
        match self.body.get("auth_token") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(token)) => Ok(Some(Token::new(token.as_str()))),
            Some(_) => Err("invalid authentication token format".into()),
        }
    }

    pub(super) fn token_required(&self) -> String {
        self.with_hint("authentication token required", "auth_token")
    }

    /// The action, after the checks that hold for every message.
    pub(super) fn action(&self) -> Result<&str, String> {
        match self.body.get("request_id") {
            Some(Value::String(id)) if id.len() > MAX_REQUEST_ID => {
                return Err(format!(
                    "invalid request_id: at most {MAX_REQUEST_ID} bytes"
                ));
            }
            None | Some(Value::Null | Value::String(_)) => {}
            Some(_) => return Err("invalid request_id: expected a string".into()),
        }
        match self.body.get("action") {
            None | Some(Value::Null) => Err(self.with_hint("missing action", "action")),
            Some(Value::String(action)) => Ok(action),
            Some(_) => Err("invalid action: expected a string".into()),
        }
    }

    /// Whether the message has no arguments at all.
    pub(super) fn is_bare(&self) -> bool {
        let flat = ["account_id", "binding", "bindings"]
            .iter()
            .any(|key| self.has(key));
        !self.has("data") && !flat && lower_case(&self.body, "data").is_none()
    }

    /// The arguments: from `data`, or flat when there is no `data`.
    pub(super) fn arguments(&self) -> Result<Arguments, String> {
        let empty = || self.with_hint("missing required keys in data object", "data");
        let data = match self.body.get("data") {
            Some(Value::Object(data)) if data.is_empty() => return Err(empty()),
            Some(Value::Object(data)) => data,
            None | Some(Value::Null) if self.is_flat() => &self.body,
            None | Some(Value::Null) => return Err(empty()),
            Some(_) => return Err("invalid data: expected an object".into()),
        };
        let account = string(data, "account_id")?;
        let binding = string(data, "binding")?;
        let bindings = strings(data, "bindings")?;
        let several = binding.is_none();
        let bindings = binding.map_or(bindings, |one| Some(vec![one]));
        match (account.filter(|account| !account.is_empty()), bindings) {
            (Some(account), Some(bindings)) => Ok(Arguments {
                account,
                bindings,
                several,
            }),
            (account, bindings) => {
                let mut missing = Vec::new();
                let mut hints = Vec::new();
                for (key, absent) in [
                    ("account_id", account.is_none()),
                    ("binding", bindings.is_none()),
                ] {
                    if absent {
                        missing.push(key);
                        hints.extend(lower_case(data, key));
                    }
                }
                let text = format!("missing required keys : {}", missing.join(", "));
                Err(hints
                    .first()
                    .map_or_else(|| text.clone(), |found| hinted(&text, found)))
            }
        }
    }

    /// `name` and `metadata`, from the top level or from `data`.
    pub(super) fn notes(&self) -> Result<Notes, String> {
        let data = self.body.get("data").and_then(Value::as_object);
        let find = |key: &str| {
            let inside = || data.and_then(|data| data.get(key));
            self.body
                .get(key)
                .or_else(inside)
                .filter(|value| !value.is_null())
                .cloned()
        };
        let notes = Notes {
            name: find("name"),
            metadata: find("metadata"),
        };
        let length = |value: &Option<Value>| value.as_ref().map_or(0, |v| v.to_string().len());
        if length(&notes.name) + length(&notes.metadata) > MAX_NOTES {
            return Err(format!(
                "invalid metadata: name and metadata may have {MAX_NOTES} bytes together"
            ));
        }
        Ok(notes)
    }

    fn is_flat(&self) -> bool {
        self.has("account_id") || self.has("binding") || self.has("bindings")
    }

    fn has(&self, key: &str) -> bool {
        self.body.get(key).is_some_and(|value| !value.is_null())
    }

    fn with_hint(&self, text: &str, key: &str) -> String {
        lower_case(&self.body, key).map_or_else(|| text.to_owned(), |found| hinted(text, found))
    }
}

fn hinted(text: &str, found: &str) -> String {
    format!("{text} (found {found:?}: keys are lower case)")
}

/// A text of the client's, short enough to repeat.
pub(super) fn echo(text: &str) -> String {
    let short: String = text.chars().take(MAX_ECHO).collect();
    if short.len() < text.len() {
        short + "..."
    } else {
        short
    }
}

/// A key that would be the expected one, were it in lower case.
fn lower_case<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    let fits = |found: &&String| {
        found.as_str() != key && found.replace('-', "_").eq_ignore_ascii_case(key)
    };
    object.keys().find(fits).map(String::as_str)
}

fn string(object: &Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("invalid {key}: expected a string")),
    }
}

fn strings(object: &Map<String, Value>, key: &str) -> Result<Option<Vec<String>>, String> {
    let error = || format!("invalid {key}: expected an array of strings");
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(items)) if items.is_empty() => Ok(None),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(error)
            .map(Some),
        Some(_) => Err(error()),
    }
}

/// What a success says.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Success {
    Pong {
        response: &'static str,
    },
    Unsubscribed {
        unsubscribed: Vec<Arc<str>>,
        subscribed: Vec<Arc<str>>,
    },
    Subscribed {
        subscribed: Vec<Arc<str>>,
    },
}

#[derive(Serialize)]
struct Reply<'a, D> {
    action: &'static str,
    request_id: &'a str,
    status: &'static str,
    data: D,
}

pub(super) fn success(request_id: &str, data: Success) -> String {
    reply(request_id, "success", data)
}

pub(super) fn error(request_id: &str, errors: &[String]) -> String {
    reply(request_id, "error", serde_json::json!({ "errors": errors }))
}

fn reply(request_id: &str, status: &'static str, data: impl Serialize) -> String {
    let reply = Reply {
        action: "reply",
        request_id,
        status,
        data,
    };
    // Strings and lists of strings always serialise.
    serde_json::to_string(&reply).unwrap_or_default()
}
