//! `PUT /v2/events`: publishes one event through the event source. Super-duper admins only.

use std::collections::HashMap;

use axum::body::Body;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::envelope::{Answer, ApiError, Success};
use super::request::{Context, bytes, data, text};
use super::router::ApiState;
use crate::source::{MAX_KEY, Publication, SourceError};

/// Bytes of a body beside its event.
const ENVELOPE: usize = 4096;

/// Answers whether some queue took the event: nobody may have subscribed to it.
pub(super) async fn publish(state: &ApiState, context: &Context, body: Body) -> Answer {
    if !context.caller()?.superduper {
        return Err(ApiError::forbidden());
    }
    let body = bytes(body, state.event_max_bytes + ENVELOPE).await?;
    let data = data(&body)?;
    let exchange = text(&data, "exchange")?.ok_or_else(|| ApiError::required("exchange"))?;
    let routing_key =
        text(&data, "routing_key")?.ok_or_else(|| ApiError::required("routing_key"))?;
    match data.get("payload") {
        Some(Value::Object(_)) => {}
        None | Some(Value::Null) => return Err(ApiError::required("payload")),
        Some(other) => return Err(ApiError::wrong_type("payload", "object", other)),
    }
    for (field, value) in [("exchange", exchange), ("routing_key", routing_key)] {
        if value.len() > MAX_KEY {
            let message = format!("String must not be more than {MAX_KEY} characters");
            let details = json!({"message":message,"target":MAX_KEY});
            return Err(ApiError::validation(field, "maxLength", details));
        }
    }
    let payload = verbatim_payload(&body)?;
    if payload.len() > state.event_max_bytes {
        return Err(ApiError::too_large(state.event_max_bytes));
    }
    let publication = Publication {
        exchange: exchange.to_owned(),
        routing_key: routing_key.to_owned(),
        body: payload,
    };
    match state.shared.source.publish(publication).await {
        Ok(routed) => Ok(Success::created(json!({ "routed": routed }))),
        Err(SourceError::NoExchange(name)) => {
            let details = json!({"message":"exchange does not exist","value":name});
            Err(ApiError::validation("exchange", "not_found", details))
        }
        Err(error) => Err(ApiError::unavailable(&error.to_string())),
    }
}

/// The payload as it was sent: order of keys and digits of numbers included.
fn verbatim_payload(body: &[u8]) -> Result<String, ApiError> {
    type Members<'b> = HashMap<String, &'b RawValue>;
    let members = |text: &'_ [u8]| -> Result<Vec<(String, String)>, ApiError> {
        let parsed: Members<'_> =
            serde_json::from_slice(text).map_err(|error| ApiError::no_json(&error.to_string()))?;
        let owned = parsed.into_iter();
        Ok(owned
            .map(|(key, raw)| (key, raw.get().to_owned()))
            .collect())
    };
    let is_data = |(key, _): &(String, String)| key.eq_ignore_ascii_case("data");
    let data = members(body)?.into_iter().find(is_data);
    let (_, data) = data.ok_or_else(|| ApiError::required("data"))?;
    let is_payload = |(key, _): &(String, String)| key == "payload";
    let payload = members(data.as_bytes())?.into_iter().find(is_payload);
    let (_, payload) = payload.ok_or_else(|| ApiError::required("payload"))?;
    Ok(payload)
}
