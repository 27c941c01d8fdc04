//! `PUT /v2/events`: publishes one event through the event source. Super-duper admins only.

use axum::body::Body;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::envelope::{Answer, ApiError, Success};
use super::request::{Context, bytes, data, text};
use super::router::ApiState;
use crate::source::{MAX_KEY, Publication, SourceError};

/// Answers whether some queue took the event: nobody may have subscribed to it.
pub(super) async fn publish(state: &ApiState, context: &Context, body: Body) -> Answer {
    if !context.caller()?.superduper {
        return Err(ApiError::forbidden());
    }
    let body = bytes(body, state.event_max_bytes).await?;
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
    let publication = Publication {
        exchange: exchange.to_owned(),
        routing_key: routing_key.to_owned(),
        body: verbatim_payload(&body)?,
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
    #[derive(Deserialize)]
    struct Envelope<'b> {
        #[serde(borrow, alias = "Data", alias = "DATA")]
        data: Data<'b>,
    }
    #[derive(Deserialize)]
    struct Data<'b> {
        #[serde(borrow)]
        payload: &'b RawValue,
    }
    let envelope: Envelope<'_> =
        serde_json::from_slice(body).map_err(|error| ApiError::no_json(&error.to_string()))?;
    Ok(envelope.data.payload.get().to_owned())
}
