//! One request, from its head to its answer: everything that is the same for all resources.
//!
//! The order of checks: path (404), method (405), rate (429), who asks (401, 403, 404), what is
//! accepted (406), what is sent (415, 413, 408), then the resource's own. Who asks comes before
//! whatever would tell something to a stranger.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, VARY};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use matchit::Router;
use tokio::time::timeout;

use super::envelope::{Answer, ApiError, Enveloped, envelope};
use super::request::{Context, Query, Request};
use super::routes::{Access, Route, table};
use super::state::ApiState;
use super::{cors, health, negotiation};
use crate::model::client_network;

/// For a whole body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a body that is no event.
const MAX_BODY: usize = 64 * 1024;
/// Bytes of a body beside its event.
const EVENT_ENVELOPE: usize = 4096;

pub(super) type Response = http::Response<Full<Bytes>>;

/// The whole API.
pub struct Service {
    state: Arc<ApiState>,
    /// From a path to the routes of its methods.
    paths: Router<Vec<Route>>,
}

/// What a path leads to.
struct Found<'s> {
    routes: &'s [Route],
    values: Vec<(String, String)>,
}

impl Service {
    /// Over all routes.
    pub fn new(state: Arc<ApiState>) -> Self {
        let mut paths = Router::new();
        let mut routes = table().into_iter().peekable();
        // The methods of one path stand together.
        while let Some(first) = routes.next() {
            let path = first.path;
            let mut methods = vec![first];
            while let Some(next) = routes.next_if(|route| route.path == path) {
                methods.push(next);
            }
            // Fails for a path that stands in two places, which a test would find.
            if let Err(error) = paths.insert(path, methods) {
                tracing::error!(path, %error, "a route cannot be served");
            }
        }
        Self { state, paths }
    }

    /// Answers a request, whatever it is.
    pub(super) async fn answer(
        &self,
        peer: SocketAddr,
        request: http::Request<Incoming>,
    ) -> Response {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        // A slash at the end makes no difference.
        let path = path.strip_suffix('/').unwrap_or(path).to_owned();
        let reads = [Method::GET, Method::HEAD].contains(&head.method);
        match path.as_str() {
            "/healthz" if reads => health::healthz(),
            "/readyz" if reads => health::readyz(&self.state),
            "/metrics" if reads => health::metrics(&self.state),
            "/healthz" | "/readyz" | "/metrics" => health::wrong_method(),
            _ => match self.console(&path, &head) {
                Some(page) if reads => page,
                Some(_) => health::wrong_method(),
                None => self.resource(peer, &path, head, body).await,
            },
        }
    }

    fn console(&self, path: &str, head: &Parts) -> Option<Response> {
        self.state.console.as_ref()?.answer(path, &head.headers)
    }

    async fn resource(
        &self,
        peer: SocketAddr,
        path: &str,
        head: Parts,
        body: Incoming,
    ) -> Response {
        let found = self.find(path);
        let allow = allowed(found.as_ref().map_or(&[], |found| found.routes));
        let query = Query::parse(head.uri.query());
        let mut context = Context::new(&self.state, &head.headers, &query);
        if head.method == Method::OPTIONS {
            return self.options(&context, &head, &allow);
        }
        let client = client_network(peer.ip());
        let answer = match self.price(&mut context, client) {
            Err(error) => Err(error),
            Ok(()) => match (found, method(&head.method)) {
                (None, _) => Err(ApiError::not_found()),
                (Some(Found { routes, values }), method) => {
                    match routes.iter().find(|route| route.method == method) {
                        None => Err(ApiError::invalid_method(allow.clone())),
                        Some(route) => {
                            let request = Request {
                                state: self.state.clone(),
                                context,
                                peer: peer.ip(),
                                path: values,
                                query,
                                body: Bytes::new(),
                            };
                            let (answer, back) = self.run(route, request, &head, body).await;
                            context = back;
                            answer
                        }
                    }
                }
            },
        };
        let status = match &answer {
            Ok(success) => success.status,
            Err(error) => error.fault.status(),
        };
        self.state.shared.metrics.answered(status.as_u16());
        tracing::debug!(
            method = %head.method,
            status = status.as_u16(),
            request = context.request_id,
            "answered"
        );
        self.respond(&context, &head, &allow, envelope(&context, answer))
    }

    fn find(&self, path: &str) -> Option<Found<'_>> {
        let matched = self.paths.at(path).ok()?;
        let decode = |(name, value): (&str, &str)| {
            let value = percent_encoding::percent_decode_str(value).decode_utf8();
            Some((name.to_owned(), value.ok()?.into_owned()))
        };
        Some(Found {
            routes: matched.value,
            values: matched.params.iter().map(decode).collect::<Option<_>>()?,
        })
    }

    /// Whoever has no valid token pays for each request (A.11).
    fn price(&self, context: &mut Context, client: std::net::IpAddr) -> Result<(), ApiError> {
        let requests = &self.state.requests;
        if context.caller.is_some() {
            context.remaining = requests.left(&client);
            return Ok(());
        }
        context.remaining = requests.take(client).map_err(ApiError::too_many_requests)?;
        Ok(())
    }

    async fn run(
        &self,
        route: &Route,
        mut request: Request,
        head: &Parts,
        body: Incoming,
    ) -> (Answer, Context) {
        let answer = async {
            route.access.check(&request)?;
            if !negotiation::accepts_json(&head.headers) {
                return Err(ApiError::not_acceptable());
            }
            if [Method::PUT, Method::POST, Method::PATCH].contains(&route.method) {
                if !negotiation::sends_json(&head.headers) {
                    return Err(ApiError::unsupported_media_type());
                }
                request.body = read(body, self.most(route)).await?;
                if route.access != Access::Open {
                    request.still_allowed(route.access)?;
                }
            }
            let resource = AssertUnwindSafe((route.handler)(&request)).catch_unwind();
            resource.await.unwrap_or_else(|_| {
                tracing::error!(path = route.path, "a request failed: this is a bug");
                Err(ApiError::fault())
            })
        }
        .await;
        (answer, request.context)
    }

    fn most(&self, route: &Route) -> usize {
        if route.path == "/v2/events" {
            self.state
                .settings
                .event_max_bytes
                .saturating_add(EVENT_ENVELOPE)
        } else {
            MAX_BODY
        }
    }

    /// Answered whatever the path and the token (A.6).
    fn options(&self, context: &Context, head: &Parts, allow: &str) -> Response {
        let empty = Enveloped {
            status: StatusCode::NO_CONTENT,
            headers: vec![(ALLOW, value(allow))],
            body: serde_json::Value::Null,
            secret: false,
        };
        self.respond(context, head, allow, empty)
    }

    fn respond(
        &self,
        context: &Context,
        head: &Parts,
        allow: &str,
        enveloped: Enveloped,
    ) -> Response {
        let mut body = Vec::new();
        let mut headers: Vec<(HeaderName, HeaderValue)> = enveloped.headers;
        headers.push((
            HeaderName::from_static("x-request-id"),
            value(&context.request_id),
        ));
        headers.push((CACHE_CONTROL, HeaderValue::from_static("no-store")));
        if !enveloped.body.is_null() {
            body = enveloped.body.to_string().into_bytes();
            headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
            headers.push((
                VARY,
                HeaderValue::from_static("accept, accept-encoding, origin"),
            ));
            // Never where a secret stands beside what the client chose: the length would tell of it.
            if !enveloped.secret && negotiation::wants_gzip(&head.headers, body.len()) {
                body = negotiation::gzip(&body);
                headers.push((CONTENT_ENCODING, HeaderValue::from_static("gzip")));
            }
        }
        headers.extend(cors::headers(
            &self.state.settings.origins,
            &head.headers,
            allow,
        ));
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = enveloped.status;
        response.headers_mut().extend(headers);
        response
    }
}

/// `HEAD` is a `GET` whose body hyper leaves out.
fn method(asked: &Method) -> Method {
    if *asked == Method::HEAD {
        Method::GET
    } else {
        asked.clone()
    }
}

/// The methods of a path, for `Allow`.
fn allowed(routes: &[Route]) -> String {
    let mut names = vec!["OPTIONS"];
    for route in routes {
        names.push(route.method.as_str());
        if route.method == Method::GET {
            names.push("HEAD");
        }
    }
    names.join(", ")
}

/// A body's bytes, bounded in number and time.
async fn read(body: Incoming, most: usize) -> Result<Bytes, ApiError> {
    let collecting = timeout(BODY_TIMEOUT, Limited::new(body, most).collect());
    let read = collecting.await.map_err(|_| ApiError::too_slow())?;
    read.map(http_body_util::Collected::to_bytes)
        .map_err(|error| {
            if error.is::<LengthLimitError>() {
                ApiError::too_large(most)
            } else {
                ApiError::no_json("the body cannot be read")
            }
        })
}

/// Texts of our own, and request ids that were found sane.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}
