//! `PUT /v2/events`: publishes one event through the event source. Super-duper admins only.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::envelope::{Answer, ApiError, Success};
use super::request::Request;
use crate::source::{MAX_KEY, Publication, SourceError};

/// Answers whether some queue took the event: nobody may have subscribed to it.
pub(super) async fn publish(request: &Request) -> Answer {
    let envelope = members(&request.body)?;
    let found = envelope
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case("data"));
    let (_, data) = found.ok_or_else(|| ApiError::required("data"))?;
    let data = object("data", data)?;
    let exchange = name(&data, "exchange")?;
    let routing_key = name(&data, "routing_key")?;
    // As it was sent: order of keys and digits of numbers included.
    let payload = data
        .get("payload")
        .ok_or_else(|| ApiError::required("payload"))?;
    object("payload", payload)?;
    let most = request.state.settings.event_max_bytes;
    if payload.get().len() > most {
        return Err(ApiError::too_large(most));
    }
    let publication = Publication {
        exchange,
        routing_key,
        body: payload.get().to_owned(),
    };
    match request.state.shared.source.publish(publication).await {
        Ok(routed) => Ok(Success::created(json!({ "routed": routed }))),
        Err(SourceError::NoExchange(name)) => {
            let details = json!({"message":"exchange does not exist","value":name});
            Err(ApiError::validation("exchange", "not_found", details))
        }
        Err(error) => Err(ApiError::unavailable(&error.told())),
    }
}

/// An object's members, each as it was sent.
type Members<'b> = BTreeMap<String, &'b RawValue>;

fn members(text: &[u8]) -> Result<Members<'_>, ApiError> {
    serde_json::from_slice(text).map_err(|error| ApiError::no_json(&error.to_string()))
}

fn object<'b>(field: &str, value: &'b RawValue) -> Result<Members<'b>, ApiError> {
    match value.get() {
        "null" => Err(ApiError::required(field)),
        text if text.starts_with('{') => members(text.as_bytes()),
        text => Err(ApiError::wrong_type(field, "object", &parsed(text))),
    }
}

/// A name or key, as long as AMQP can carry it.
fn name(data: &Members<'_>, field: &str) -> Result<String, ApiError> {
    let value = data.get(field).map_or(Value::Null, |raw| parsed(raw.get()));
    match value {
        Value::Null => Err(ApiError::required(field)),
        Value::String(text) if text.len() > MAX_KEY => {
            let message = format!("String must not be more than {MAX_KEY} characters");
            let details = json!({"message":message,"target":MAX_KEY});
            Err(ApiError::validation(field, "maxLength", details))
        }
        Value::String(text) => Ok(text),
        other => Err(ApiError::wrong_type(field, "string", &other)),
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}
