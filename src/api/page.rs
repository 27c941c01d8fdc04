//! Listings in pages, as Kazoo pages (kazoo-rest.md A.2): `page_size`, `start_key`, and
//! `paginate=false` for all at once.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use super::envelope::{ApiError, Page, Success};
use super::request::Query;

/// Entries of a page unless the client says otherwise.
const USUAL: usize = 50;
const MOST: usize = 1000;

/// One entry and the key that it is sorted by; no two have the same.
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: Value,
}

/// A page of the entries. `paged`: pages are made unless the client wants all; otherwise only where
/// it asks for pages.
pub(super) fn page(
    query: &Query,
    mut entries: Vec<Entry>,
    paged: bool,
) -> Result<Success, ApiError> {
    let size = match query.get("page_size") {
        None => None,
        Some(text) => {
            let size = text.parse().ok().filter(|size| (1..=MOST).contains(size));
            Some(size.ok_or_else(|| {
                let message = format!("Value must be a number from 1 to {MOST}");
                let details = serde_json::json!({"message":message,"value":text});
                ApiError::validation("page_size", "invalid", details)
            })?)
        }
    };
    let asked = match query.get("paginate") {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(other) => return Err(ApiError::not_one_of("paginate", &["true", "false"], other)),
    };
    let start_key = query.get("start_key");
    let start = start_key.map(decode).transpose()?;
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    let wanted = asked.unwrap_or_else(|| paged || size.is_some() || start.is_some());
    if !wanted {
        let all = entries.into_iter().map(|entry| entry.value).collect();
        return Ok(Success::ok(all));
    }
    let first = start.map_or(0, |start| {
        entries.partition_point(|entry| entry.key < start)
    });
    let size = size.unwrap_or(USUAL);
    let next = entries.get(first + size).map(|entry| encode(&entry.key));
    let values: Vec<Value> = entries
        .into_iter()
        .skip(first)
        .take(size)
        .map(|entry| entry.value)
        .collect();
    let page = Page {
        size: values.len(),
        start_key: start_key.map(str::to_owned),
        next_start_key: next,
    };
    Ok(Success {
        page: Some(page),
        ..Success::ok(values.into())
    })
}

fn encode(key: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(key)
}

fn decode(text: &str) -> Result<String, ApiError> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
    let key = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    key.ok_or_else(|| {
        let message = "Value must be a next_start_key of an answer";
        let details = serde_json::json!({"message":message,"value":text});
        ApiError::validation("start_key", "invalid", details)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        ["c", "a", "b"]
            .map(|key| Entry {
                key: key.into(),
                value: key.into(),
            })
            .into()
    }

    #[test]
    fn page_after_page() {
        let first = Query::parse(Some("page_size=2"));
        let answer = page(&first, entries(), true).expect("a page");
        assert_eq!(answer.data, Some(serde_json::json!(["a", "b"])));
        let next = answer.page.expect("paged").next_start_key.expect("more");
        let second = Query::parse(Some(&format!("page_size=2&start_key={next}")));
        let answer = page(&second, entries(), false).expect("a page");
        assert_eq!(answer.data, Some(serde_json::json!(["c"])));
        let last = answer.page.expect("paged");
        assert_eq!((last.size, last.next_start_key), (1, None));
        assert_eq!(last.start_key, Some(next));
        let all = page(&Query::parse(Some("paginate=false")), entries(), true).expect("all");
        assert_eq!(all.page, None);
        assert_eq!(all.data, Some(serde_json::json!(["a", "b", "c"])));
        for bad in ["page_size=0", "page_size=x", "start_key=*", "paginate=1"] {
            assert!(
                page(&Query::parse(Some(bad)), entries(), true).is_err(),
                "{bad}"
            );
        }
    }
}
