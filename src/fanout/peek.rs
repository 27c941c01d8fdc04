//! Reads the few fields that routing needs, in one pass, and gives the event its own routing key and
//! its account. Checks the whole body on the way.

use std::borrow::Cow;

use super::scan::{BadJson, Kind, RawString, Scanner};
use crate::catalogue::{Exchange, KeyStep};
use crate::model::{AccountId, topic};

/// What routing needs to know of an event.
#[derive(Debug, PartialEq, Eq)]
pub struct Peek<'a> {
    /// `Event-Name`, as it stands in the body, quotes included.
    pub name: Option<&'a str>,
    /// The event's own account; the isolation rule compares it.
    pub account: Option<Cow<'a, str>>,
    /// The key that is matched and that clients see.
    pub routing_key: Cow<'a, str>,
}

/// Why an event cannot be routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unroutable {
    /// The body is not a JSON object.
    Json(BadJson),
    /// A call event without `Event-Name` or `Call-ID`, from which its key is made.
    Incomplete,
}

impl From<BadJson> for Unroutable {
    fn from(error: BadJson) -> Self {
        Self::Json(error)
    }
}

/// Reads a body that came from this exchange under this key.
pub fn peek<'a>(
    body: &'a str,
    exchange: &Exchange,
    published_key: &'a str,
) -> Result<Peek<'a>, Unroutable> {
    let mut fields = Fields {
        accounts: vec![None; exchange.account.len()],
        ..Fields::default()
    };
    let mut scanner = Scanner::new(body);
    scanner.space();
    each_member(&mut scanner, 0, |key, value| {
        fields.take(exchange, key, value)
    })?;
    scanner.end()?;

    let named = fields
        .accounts
        .into_iter()
        .flatten()
        .find(|account| !account.is_empty());
    let routing_key = match exchange.key_step {
        KeyStep::Published => Cow::Borrowed(published_key),
        KeyStep::Call => {
            let name = fields.name.and_then(text).ok_or(Unroutable::Incomplete)?;
            let call_id = fields
                .call_id
                .and_then(text)
                .ok_or(Unroutable::Incomplete)?;
            let account = named.as_deref().unwrap_or("undefined");
            Cow::Owned(format!("call.{account}.{name}.{}", topic::encode(&call_id)))
        }
    };
    let account = named.or_else(|| {
        let word = topic::words(&routing_key).nth(exchange.account_word?)?;
        AccountId::of_database(word).map(|account| Cow::Owned(account.to_string()))
    });
    Ok(Peek {
        name: fields.name.filter(|name| *name != "null"),
        account,
        routing_key,
    })
}

#[derive(Default)]
struct Fields<'a> {
    name: Option<&'a str>,
    call_id: Option<&'a str>,
    /// One for each path of the exchange's rule.
    accounts: Vec<Option<Cow<'a, str>>>,
}

impl<'a> Fields<'a> {
    // Of equal keys the last counts, as in the data that clients get.
    fn take(&mut self, exchange: &Exchange, key: &str, value: &'a str) -> Result<(), BadJson> {
        match key {
            "Event-Name" => self.name = Some(value),
            "Call-ID" => self.call_id = Some(value),
            _ => {}
        }
        for (path, slot) in exchange.account.iter().zip(&mut self.accounts) {
            if let Some((first, rest)) = path.split_first()
                && first == key
            {
                *slot = at_path(value, rest)?.and_then(text);
            }
        }
        Ok(())
    }
}

fn at_path<'a>(value: &'a str, path: &[String]) -> Result<Option<&'a str>, BadJson> {
    let Some((first, rest)) = path.split_first() else {
        return Ok(Some(value));
    };
    let mut scanner = Scanner::new(value);
    let mut found = None;
    if scanner.kind() == Kind::Object {
        each_member(&mut scanner, 0, |key, value| {
            if key == first {
                found = Some(value);
            }
            Ok(())
        })?;
    }
    found.map_or(Ok(None), |value| at_path(value, rest))
}

/// Calls `member` with each key and the text of its value.
fn each_member<'a>(
    scanner: &mut Scanner<'a>,
    depth: usize,
    mut member: impl FnMut(&str, &'a str) -> Result<(), BadJson>,
) -> Result<(), BadJson> {
    let mut more = scanner.enter(b'{', b'}', depth)?;
    while more {
        let at = scanner.at();
        let key = scanner.key()?.decode().ok_or(BadJson { at })?;
        let value = scanner.value(depth + 1)?;
        member(&key, value)?;
        more = scanner.another(b'}')?;
    }
    Ok(())
}

/// The text of a JSON string; `None` for any other value.
fn text(value: &str) -> Option<Cow<'_, str>> {
    let raw = value.strip_prefix('"')?.strip_suffix('"')?;
    let escaped = raw.contains('\\');
    RawString { raw, escaped }
        .decode()
        .filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;
    use serde_json::Value;

    const A: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";

    fn peeked<'a>(exchange: &str, key: &'a str, body: &'a str) -> Result<Peek<'a>, Unroutable> {
        peek(
            body,
            Catalogue::builtin().exchange(exchange).expect("known"),
            key,
        )
    }

    #[test]
    fn fixtures() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/events");
        for file in std::fs::read_dir(folder).expect("the fixtures") {
            let text = std::fs::read_to_string(file.expect("a file").path()).expect("text");
            let event: Value = serde_json::from_str(&text).expect("JSON");
            let field = |key: &str| event[key].as_str().expect("text");
            let body = event["payload"].to_string();
            let peek = peeked(field("exchange"), field("routing_key"), &body).expect("routable");
            assert_eq!(peek.routing_key, field("expected_routing_key"));
            assert_eq!(
                peek.name.and_then(super::text).as_deref(),
                event["expected_name"].as_str()
            );
        }
    }

    #[test]
    fn the_account_of_an_event() {
        let database = AccountId::parse(A).expect("an id").database();
        let key = format!("doc_created.{database}-202611.fax.x");
        for (exchange, key, body, expected) in [
            ("faxes", "k", format!(r#"{{"Account-ID":"{A}"}}"#), Some(A)),
            (
                "faxes",
                "k",
                format!(r#"{{"Custom-Channel-Vars":{{"Account-ID":"{A}"}}}}"#),
                Some(A),
            ),
            ("faxes", "k", r#"{"Custom-Channel-Vars":1}"#.into(), None),
            ("faxes", "k", r#"{"Account-ID":null}"#.into(), None),
            ("faxes", "k", r#"{"Account-ID":""}"#.into(), None),
            (
                "faxes",
                "k",
                r#"{"Account-ID":"a","Account-ID":"b"}"#.into(),
                Some("b"),
            ),
            ("configuration", &key, "{}".into(), Some(A)),
            (
                "configuration",
                &key,
                r#"{"Account-ID":"b"}"#.into(),
                Some("b"),
            ),
            (
                "configuration",
                "doc_created.accounts.account.x",
                "{}".into(),
                None,
            ),
        ] {
            let peek = peeked(exchange, key, &body).expect("routable");
            assert_eq!(peek.account.as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn call_events() {
        let body = format!(
            r#"{{"Event-Name":"CHANNEL_CREATE","Call-ID":"a.b@c","Account-ID":"no","Custom-Channel-Vars":{{"Account-ID":"{A}"}}}}"#
        );
        let peek = peeked("callevt", "call.CHANNEL_CREATE.other", &body).expect("routable");
        assert_eq!(
            peek.routing_key,
            format!("call.{A}.CHANNEL_CREATE.a%2Eb%40c")
        );
        assert_eq!(peek.account.as_deref(), Some(A));

        let body = r#"{"Event-Name":"CHANNEL_HOLD","Call-ID":"a","Account-ID":"no"}"#;
        let peek = peeked("callevt", "k", body).expect("routable");
        assert_eq!(peek.routing_key, "call.undefined.CHANNEL_HOLD.a");
        assert_eq!(peek.account, None);

        for body in [
            "{}",
            r#"{"Event-Name":"X"}"#,
            r#"{"Call-ID":"x","Event-Name":1}"#,
        ] {
            assert_eq!(
                peeked("callevt", "k", body),
                Err(Unroutable::Incomplete),
                "{body}"
            );
        }
        for body in ["", "[]", "{}x", r#"{"a":nul}"#] {
            assert!(
                matches!(peeked("callevt", "k", body), Err(Unroutable::Json(_))),
                "{body}"
            );
        }
    }
}
