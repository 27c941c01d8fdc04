//! Which web pages may read answers (kazoo-rest.md A.6).

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue};

const REQUEST_HEADERS: &str = "content-type, depth, user-agent, x-http-method-override, x-file-size, x-requested-with, if-modified-since, x-file-name, cache-control, x-auth-token, x-kazoo-cluster-id, if-match, authorization, x-auth-account-id, x-request-id";
const EXPOSED: &str =
    "content-type, x-auth-token, x-request-id, x-kazoo-cluster-id, location, etag, retry-after";

/// The headers for a request of a browser's page; none for other programs, and for pages that are not
/// on the list. Never with credentials: tokens are sent by the page itself.
pub(super) fn headers(
    listed: &[String],
    request: &HeaderMap,
    allow: &str,
) -> Vec<(HeaderName, HeaderValue)> {
    let Some(origin) = request.get(ORIGIN) else {
        return Vec::new();
    };
    let origin = if listed.iter().any(|allowed| allowed == "*") {
        HeaderValue::from_static("*")
    } else if listed.iter().any(|allowed| origin == allowed.as_str()) {
        origin.clone()
    } else {
        return Vec::new();
    };
    let methods = HeaderValue::from_str(allow);
    vec![
        (ACCESS_CONTROL_ALLOW_ORIGIN, origin),
        (
            ACCESS_CONTROL_ALLOW_METHODS,
            methods.unwrap_or(HeaderValue::from_static("OPTIONS")),
        ),
        (
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static(REQUEST_HEADERS),
        ),
        (
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(EXPOSED),
        ),
        (ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_read() {
        let from = |origin: &str| HeaderMap::from_iter([(ORIGIN, origin.parse().expect("ok"))]);
        let allowed = |listed: &[&str], origin: &str| {
            let listed: Vec<String> = listed.iter().map(ToString::to_string).collect();
            let found = headers(&listed, &from(origin), "OPTIONS, GET");
            found.first().map(|(_, value)| value.clone())
        };
        let page = "https://desk.example.com";
        assert_eq!(allowed(&["*"], page), Some(HeaderValue::from_static("*")));
        let own = allowed(&["https://a.example", page], page);
        assert_eq!(own, Some(HeaderValue::from_static(page)));
        assert_eq!(allowed(&["https://a.example"], page), None);
        assert_eq!(allowed(&[], page), None);
        assert!(headers(&["*".into()], &HeaderMap::new(), "").is_empty());
    }
}
