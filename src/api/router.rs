//! All routes on one page.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use axum::routing::{any, get, put};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use dashmap::DashMap;
use md5::{Digest, Md5};
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::envelope::{Answer, ApiError, respond};
use super::request::Context;
use super::{events, health, user_auth, websockets};
use crate::gateway::Shared;
use crate::model::{Bucket, client_network};

/// Log-ins whose slow hash is computed at a time.
const LOGINS_AT_ONCE: usize = 2;
/// Log-in attempts of one address: at once, and a second after that (kazoo-rest.md A.11, narrower,
/// for each costs tens of milliseconds of CPU).
const LOGIN_RATE: (u32, u32) = (20, 2);
/// Addresses remembered before those with a full bucket are forgotten.
const MANY_ADDRESSES: usize = 10_000;

/// What the resources need.
#[derive(Debug)]
pub struct ApiState {
    pub(super) shared: Arc<Shared>,
    /// base64url of the MD5 of the node's name.
    pub(super) node: Arc<String>,
    pub(super) token_ttl: Duration,
    pub(super) event_max_bytes: usize,
    pub(super) logins: Semaphore,
    attempts: DashMap<IpAddr, Bucket>,
    /// The gateway stops.
    pub(super) stop: CancellationToken,
}

impl ApiState {
    /// For a node of this name. `stop` tells when the gateway stops.
    pub fn new(
        shared: Arc<Shared>,
        node: &str,
        token_ttl: Duration,
        event_max_bytes: usize,
        stop: CancellationToken,
    ) -> Self {
        Self {
            shared,
            node: Arc::new(node_hash(node)),
            token_ttl,
            event_max_bytes,
            logins: Semaphore::new(LOGINS_AT_ONCE),
            attempts: DashMap::new(),
            stop,
        }
    }

    /// Whether this address may try to log in once more.
    pub(super) fn may_try(&self, address: IpAddr) -> bool {
        let now = Instant::now();
        if self.attempts.len() >= MANY_ADDRESSES {
            self.attempts.retain(|_, bucket| !bucket.is_full(now));
        }
        let (burst, per_second) = LOGIN_RATE;
        let mut bucket = self
            .attempts
            .entry(client_network(address))
            .or_insert_with(|| Bucket::new(burst, per_second, now));
        bucket.take(now)
    }
}

fn node_hash(node: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Md5::digest(node.as_bytes()))
}

#[derive(Debug, Deserialize)]
struct WebsocketsQuery {
    format: Option<String>,
}

/// Every route.
pub fn router(state: Arc<ApiState>) -> Router {
    Router::new()
        .route("/healthz", get(async || health::healthz()))
        .route(
            "/readyz",
            get(async |State(state): State<Arc<ApiState>>| health::readyz(&state)),
        )
        .route(
            "/metrics",
            get(async |State(state): State<Arc<ApiState>>| health::metrics(&state)),
        )
        .route(
            "/v2/websockets",
            get(get_websockets)
                .fallback(|s: AppState, h: HeaderMap| wrong_method(s, h, "GET, HEAD")),
        )
        .route(
            "/v2/user_auth",
            put(put_user_auth).fallback(|s: AppState, h: HeaderMap| wrong_method(s, h, "PUT")),
        )
        .route(
            "/v2/events",
            put(put_events).fallback(|s: AppState, h: HeaderMap| wrong_method(s, h, "PUT")),
        )
        .route("/v2/{*rest}", any(not_found))
        .fallback(not_found)
        .with_state(state)
}

type AppState = State<Arc<ApiState>>;

async fn get_websockets(
    state: AppState,
    query: Result<Query<WebsocketsQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let answer = match query {
        Ok(query) => websockets::catalogue(&state.shared.catalogue, query.format.as_deref()),
        Err(error) => Err(ApiError::bad_query(&error.body_text())),
    };
    respond(&Context::new(&state, &headers), answer)
}

async fn put_user_auth(
    state: AppState,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answer = user_auth::log_in(&state, peer.ip(), body).await;
    respond(&Context::new(&state, &headers), answer)
}

async fn put_events(state: AppState, headers: HeaderMap, body: Body) -> Response {
    let context = Context::new(&state, &headers);
    let answer = events::publish(&state, &context, body).await;
    respond(&context, answer)
}

async fn wrong_method(state: AppState, headers: HeaderMap, allow: &'static str) -> Response {
    let answer: Answer = Err(ApiError::invalid_method(allow));
    respond(&Context::new(&state, &headers), answer)
}

async fn not_found(state: AppState, method: Method, headers: HeaderMap) -> Response {
    tracing::debug!(%method, "no such path");
    respond(&Context::new(&state, &headers), Err(ApiError::not_found()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_as_kazoo_names_it() {
        assert_eq!(node_hash("gw@127.0.0.1"), "F_EHiC4EzTqGlaYru2S_RQ");
    }
}
