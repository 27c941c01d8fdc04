//! What a client accepts and what it sends (kazoo-rest.md A.7, A.8).

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};

/// Smaller bodies are not worth it (A.1).
const LEAST_GZIP: usize = 300;

/// Whether an answer in JSON is welcome.
pub(super) fn accepts_json(headers: &HeaderMap) -> bool {
    let mut any = false;
    for item in items(headers, &ACCEPT) {
        any = true;
        let (name, quality) = weighted(item);
        let json = [
            "application/json",
            "application/x-json",
            "application/*",
            "*/*",
        ];
        if quality > 0.0 && json.contains(&name.to_ascii_lowercase().as_str()) {
            return true;
        }
    }
    !any
}

/// Whether the body is said to be JSON: nothing said, JSON, or curl's default for `-d`.
pub(super) fn sends_json(headers: &HeaderMap) -> bool {
    let Some(said) = headers.get(CONTENT_TYPE) else {
        return true;
    };
    let said = said.to_str().unwrap_or_default();
    let name = said.split(';').next().unwrap_or_default().trim();
    [
        "application/json",
        "application/x-json",
        "application/x-www-form-urlencoded",
    ]
    .iter()
    .any(|json| name.eq_ignore_ascii_case(json))
}

/// Whether a body of this length is to be compressed.
pub(super) fn wants_gzip(headers: &HeaderMap, length: usize) -> bool {
    length >= LEAST_GZIP
        && items(headers, &ACCEPT_ENCODING).any(|item| {
            let (name, quality) = weighted(item);
            quality > 0.0 && ["gzip", "*"].contains(&name.to_ascii_lowercase().as_str())
        })
}

pub(super) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default()
}

/// The comma-separated items of a header, over all its lines.
fn items<'h>(
    headers: &'h HeaderMap,
    name: &http::HeaderName,
) -> impl Iterator<Item = &'h str> + use<'h> {
    let lines = headers.get_all(name).into_iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// An item's name and its `q` (RFC 9110, 12.4.2).
fn weighted(item: &str) -> (&str, f32) {
    let mut parts = item.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let quality = parts
        .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
        .map_or(1.0, |q| q.parse().unwrap_or(0.0));
    (name, quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().expect("a value"))])
    }

    #[test]
    fn what_is_accepted() {
        assert!(accepts_json(&HeaderMap::new()));
        for (value, expected) in [
            ("application/json", true),
            ("text/html, */*;q=0.1", true),
            ("Application/*", true),
            ("text/html", false),
            ("application/json;q=0", false),
            ("", true),
        ] {
            assert_eq!(accepts_json(&with(ACCEPT, value)), expected, "{value}");
        }
    }

    #[test]
    fn what_is_sent() {
        assert!(sends_json(&HeaderMap::new()));
        for (value, expected) in [
            ("application/json; charset=utf-8", true),
            ("APPLICATION/JSON", true),
            ("application/x-www-form-urlencoded", true),
            ("text/plain", false),
            ("multipart/form-data; boundary=x", false),
        ] {
            assert_eq!(sends_json(&with(CONTENT_TYPE, value)), expected, "{value}");
        }
    }

    #[test]
    fn what_is_compressed() {
        let wants = |value| wants_gzip(&with(ACCEPT_ENCODING, value), 300);
        assert!(wants("deflate, gzip;q=0.5") && wants("*"));
        assert!(!wants("gzip;q=0") && !wants("br"));
        assert!(!wants_gzip(&with(ACCEPT_ENCODING, "gzip"), 299));
    }
}
