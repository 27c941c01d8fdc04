//! For tests: what `api/asyncapi.json` says of the WebSocket protocol, for all whom it describes.

use std::sync::LazyLock;

use serde_json::Value;

static ASYNCAPI: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("api/asyncapi.json")).expect("JSON"));

/// An error of a request with several bindings, which names the one that is meant.
const NAMED: &str = "{binding}: {error}";

/// The document.
pub(crate) fn asyncapi() -> &'static Value {
    &ASYNCAPI
}

/// A list of it, such as `x-errors`.
pub(crate) fn list(name: &str) -> &'static [Value] {
    asyncapi()[name].as_array().expect(name)
}

/// A text of an entry of the document.
pub(crate) fn text<'e>(entry: &'e Value, key: &str) -> &'e str {
    entry[key].as_str().expect(key)
}

/// The texts that an entry lists as its reasons.
pub(crate) fn reasons(entry: &Value) -> Vec<&str> {
    let reasons = entry["reasons"].as_array().expect("reasons").iter();
    reasons
        .map(|reason| reason.as_str().expect("text"))
        .collect()
}

/// Whether a text is the template with its `{holes}` filled.
pub(crate) fn fits(template: &str, text: &str) -> bool {
    let literals = literals(template);
    let (first, others) = literals.split_first().expect("one at least");
    let Some((last, middle)) = others.split_last() else {
        return text == *first;
    };
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    for literal in middle {
        match rest.split_once(literal) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The documented error that is meant by a text: of those that fit the one that says most.
pub(crate) fn error(text: &str) -> Option<&'static str> {
    let entries = list("x-errors").iter();
    let templates = entries.map(|entry| self::text(entry, "text"));
    let said = |template: &&str| literals(template).concat().len();
    let found = templates.filter(|template| fits(template, text));
    found.max_by_key(said)
}

/// Fails for an error that the document does not have.
pub(crate) fn assert_error(text: &str) {
    let documented = match error(text) {
        // What comes after a binding, which may be any text, must be an error of its own.
        Some(NAMED) => {
            let mut splits = text.match_indices(": ");
            splits.any(|(at, _)| error(&text[at + 2..]).is_some_and(|rest| rest != NAMED))
        }
        found => found.is_some(),
    };
    assert!(documented, "not in asyncapi.json: {text:?}");
}

/// What stands around the holes.
fn literals(template: &str) -> Vec<&str> {
    let mut parts = template.split('{');
    let mut literals = vec![parts.next().expect("one at least")];
    literals.extend(parts.map(|part| part.split_once('}').expect("the hole's end").1));
    literals
}

#[test]
fn templates() {
    for (template, text, expected) in [
        ("no hole", "no hole", true),
        ("no hole", "no hole!", false),
        ("event {event} not supported", "event X not supported", true),
        ("event {event} not supported", "event X unsupported", false),
        ("{a}: {b}!", "x: y!", true),
        ("{a}: {b}!", "x: y", false),
        ("a {b} c {d} e", "a 1 c 2 e", true),
        ("a {b} c {d} e", "a 1 d 2 e", false),
    ] {
        assert_eq!(fits(template, text), expected, "{template} {text}");
    }
}

#[test]
#[should_panic(expected = "not in asyncapi.json")]
fn an_error_that_nobody_described() {
    assert_error("invalid mood: expected a smile");
}
