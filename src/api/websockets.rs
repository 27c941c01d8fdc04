//! `GET /v2/websockets`: what can be subscribed to. Open to all.

use serde_json::{Map, Value, json};

use super::envelope::{Answer, ApiError, Success};
use super::request::Request;
use crate::catalogue::Entry;

/// By category: objects ready to paste, or with `format=list` Kazoo's own plain texts.
pub(super) async fn catalogue(request: &Request) -> Answer {
    let plain = match request.query.get("format") {
        None | Some("objects") => false,
        Some("list") => true,
        Some(other) => return Err(ApiError::not_one_of("format", &["objects", "list"], other)),
    };
    let mut data = Map::new();
    for section in request.state.shared.catalogue.sections() {
        let entry = |entry: Entry<'_>| {
            if plain {
                Value::from(entry.template)
            } else {
                json!({"binding": entry.binding, "event": entry.event})
            }
        };
        let entries: Vec<Value> = section.entries.into_iter().map(entry).collect();
        data.insert(section.category.to_owned(), entries.into());
    }
    Ok(Success::ok(data.into()))
}
