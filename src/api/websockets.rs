//! `GET /v2/websockets`: what can be subscribed to. Open to all.

use serde_json::{Map, Value, json};

use super::envelope::{Answer, ApiError, Success};
use crate::catalogue::Catalogue;

/// By category: objects ready to paste, or with `format=list` Kazoo's own plain texts.
pub(super) fn catalogue(catalogue: &Catalogue, format: Option<&str>) -> Answer {
    let plain = match format {
        None | Some("objects") => false,
        Some("list") => true,
        Some(other) => {
            let details = json!({
                "message": "Value not found in enumerated list of values",
                "target": ["objects", "list"],
                "value": other,
            });
            return Err(ApiError::validation("format", "enum", details));
        }
    };
    let mut data = Map::new();
    for section in catalogue.sections() {
        let entry = |entry: crate::catalogue::Entry<'_>| {
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
