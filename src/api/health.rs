//! Health and metrics, for machines that watch.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::router::ApiState;
use crate::model::clock::iso8601;

/// The process lives.
pub(super) fn healthz() -> Response {
    json_response(StatusCode::OK, &json!({"status":"ok"}))
}

/// Events can come and new sockets are welcome: 200, or 503 with the reason and since when.
pub(super) fn readyz(state: &ApiState) -> Response {
    let source = state.shared.source.state();
    let stopping = state.stop.is_cancelled();
    let ready = source.connected && !stopping;
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({
        "ready": ready,
        "stopping": stopping,
        "source": {
            "kind": source.kind,
            "connected": source.connected,
            "since": iso8601(source.since),
            "lost": source.lost,
            "refused_bindings": source.refused,
            "error": source.error,
        },
        "sockets": state.shared.registry.len(),
    });
    json_response(status, &body)
}

/// Prometheus' text format.
pub(super) fn metrics(state: &ApiState) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], state.shared.metrics.text()).into_response()
}

fn json_response(status: StatusCode, body: &serde_json::Value) -> Response {
    (
        status,
        [(CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}
