//! Health and metrics, for machines that watch.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use http_body_util::Full;
use serde_json::json;

use super::pipeline::Response;
use super::state::ApiState;
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
    let peers = state.cluster.peers();
    let others: Vec<&str> = peers.iter().map(|peer| peer.name.as_str()).collect();
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
        "nodes": {
            "connected": state.cluster.connected(),
            "others": others,
        },
        "sockets": state.shared.registry.len(),
    });
    json_response(status, &body)
}

/// Prometheus' text format.
pub(super) fn metrics(state: &ApiState) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    response(StatusCode::OK, kind, state.shared.metrics.text())
}

/// All that these pages can do is to be read.
pub(super) fn wrong_method() -> Response {
    let body = json!({"status":"error","message":"method not allowed"});
    let mut response = json_response(StatusCode::METHOD_NOT_ALLOWED, &body);
    let allow = HeaderValue::from_static("GET, HEAD");
    response.headers_mut().insert(ALLOW, allow);
    response
}

fn json_response(status: StatusCode, body: &serde_json::Value) -> Response {
    response(status, "application/json", body.to_string())
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
