//! Holds every answer of `/v2` against the OpenAPI document: what a test gets must be described.

use std::sync::LazyLock;

use serde_json::Value;

use super::Answer;

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../src/api/openapi.json")).unwrap());

/// Fails for an answer that the document does not have.
pub(crate) fn check(method: &str, target: &str, answer: &Answer) {
    let path = target.split('?').next().unwrap();
    let path = path.strip_suffix('/').unwrap_or(path);
    if !path.starts_with("/v2") {
        return;
    }
    let what = format!("{method} {target}: {} {}", answer.status, answer.text);
    if method == "OPTIONS" {
        assert_eq!(answer.status, 204, "{what}");
        return;
    }
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let item = paths.iter().find(|(known, _)| fits(known, path));
    let Some((_, item)) = item else {
        assert!(answer.status == 404 || answer.status == 429, "{what}");
        return;
    };
    let named = if method == "HEAD" { "GET" } else { method };
    // Other methods get what each operation says of them.
    let operation = item.get(named.to_lowercase()).unwrap_or_else(|| {
        assert!(answer.status == 405 || answer.status == 429, "{what}");
        let mut operations = item.as_object().unwrap().values();
        operations
            .find(|operation| operation.get("responses").is_some())
            .unwrap()
    });
    let response = shared(&operation["responses"][answer.status.to_string()]);
    assert!(response.is_object(), "not in openapi.json: {what}");
    for (name, header) in response["headers"].as_object().unwrap() {
        let required = shared(header)["required"] == true;
        assert!(
            !required || !answer.header(name).is_empty(),
            "{name}: {what}"
        );
    }
    let kind = response["content"].as_object().unwrap().keys().next();
    assert_eq!(answer.header("content-type"), kind.unwrap(), "{what}");
    if answer.status >= 400 && method != "HEAD" {
        let schema = &response["content"]["application/json"]["schema"];
        let messages = schema["properties"]["message"]["enum"].as_array().unwrap();
        assert!(messages.contains(&answer.json()["message"]), "{what}");
    }
}

/// A part of the document, wherever it stands.
fn shared(part: &'static Value) -> &'static Value {
    match part["$ref"].as_str() {
        Some(target) => DOCUMENT.pointer(target.trim_start_matches('#')).unwrap(),
        None => part,
    }
}

/// Whether a path is the described one with its holes filled.
fn fits(known: &str, path: &str) -> bool {
    let mut words = path.split('/');
    let same = known.split('/').all(|known| {
        let word = words.next();
        known.starts_with('{') || word == Some(known)
    });
    same && words.next().is_none()
}
