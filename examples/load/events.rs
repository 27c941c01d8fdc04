//! Events as Kazoo publishes them: real ones, with account, realm, call and number put in.

use anyhow::Context;
use serde_json::{Value, json};

use crate::accounts::Account;

/// Exchange, key and body of the sample files belong to this account and realm.
const ACCOUNT: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
const REALM: &str = "a3f1c2.sip.example.net";
const ENCODED_REALM: &str = "a3f1c2%2Esip%2Eexample%2Enet";
const DATABASE: &str = "account%2Fa1%2Fb2%2Fc3d4e5f60718293a4b5c6d7e8f90";
/// Before the event's number, in a frame.
pub(crate) const MARK: &[u8] = b"\"load_number\":";
/// Stand for what is put in. They need no escape, neither in JSON nor in a routing key.
const SLOTS: [(&str, Slot); 6] = [
    ("~account~", Slot::Account),
    ("~realm~", Slot::Realm),
    ("~encoded-realm~", Slot::EncodedRealm),
    ("~database~", Slot::Database),
    ("~call~", Slot::Call),
    ("\"~number~\"", Slot::Number),
];

/// A kind of event: its name, the client binding that matches it, a real one.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) binding: &'static str,
    sample: &'static str,
}

macro_rules! kind {
    ($binding:literal, $sample:literal) => {
        Kind {
            binding: $binding,
            sample: include_str!(concat!("../../tests/fixtures/events/", $sample, ".json")),
        }
    };
}

/// All kinds. The first nine are call events.
pub(crate) const KINDS: [Kind; 13] = [
    kind!("call.CHANNEL_CREATE.*", "channel-create"),
    kind!("call.CHANNEL_ANSWER.*", "channel-answer"),
    kind!("call.CHANNEL_BRIDGE.*", "channel-bridge"),
    kind!("call.CHANNEL_HOLD.*", "channel-hold"),
    kind!("call.CHANNEL_UNHOLD.*", "channel-unhold"),
    kind!("call.CHANNEL_DESTROY.*", "channel-destroy"),
    kind!("call.PARK_PARKED.*", "park-parked"),
    kind!("call.PARK_RETRIEVED.*", "park-retrieved"),
    kind!("call.PARK_ABANDONED.*", "park-abandoned"),
    kind!("presence.dialog.*", "presence-dialog"),
    kind!("presence.update.*", "presence-update"),
    kind!("object.doc_created.*", "doc-created"),
    kind!("object.doc_edited.*", "doc-edited"),
];
/// How many of them are call events.
pub(crate) const CALL_KINDS: usize = 9;
/// The place of CHANNEL_CREATE.
pub(crate) const CREATE: u8 = 0;

/// The id of a call.
pub(crate) fn call_id(number: u32) -> String {
    format!("7f3e9a10-55d2-4c1b-9d61-{number:012x}")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Account,
    Realm,
    EncodedRealm,
    Database,
    Call,
    Number,
}

/// Text with places to be filled: each piece is followed by what goes there.
#[derive(Debug)]
struct Template(Vec<(String, Option<Slot>)>);

/// What goes into a template.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filling<'a> {
    pub(crate) account: &'a Account,
    pub(crate) call: u32,
    pub(crate) number: usize,
}

impl Template {
    fn new(mut text: &str) -> Self {
        let mut pieces = Vec::new();
        let next = |text: &str| {
            let found = SLOTS
                .iter()
                .map(|(name, slot)| (text.find(name), name.len(), *slot));
            let found = found.filter_map(|(at, length, slot)| Some((at?, length, slot)));
            found.min_by_key(|(at, ..)| *at)
        };
        while let Some((at, length, slot)) = next(text) {
            pieces.push((text[..at].to_owned(), Some(slot)));
            text = &text[at + length..];
        }
        pieces.push((text.to_owned(), None));
        Self(pieces)
    }

    fn fill(&self, filling: Filling<'_>) -> String {
        let account = filling.account;
        let mut text = String::with_capacity(4096);
        for (piece, slot) in &self.0 {
            text.push_str(piece);
            match slot {
                Some(Slot::Account) => text.push_str(&account.id),
                Some(Slot::Realm) => text.push_str(&account.realm),
                Some(Slot::EncodedRealm) => text.push_str(&account.realm.replace('.', "%2E")),
                Some(Slot::Database) => {
                    let id = &account.id;
                    let parts = ["account", &id[..2], &id[2..4], &id[4..]];
                    text.push_str(&parts.join("%2F"));
                }
                Some(Slot::Call) => text.push_str(&call_id(filling.call)),
                Some(Slot::Number) => text.push_str(&filling.number.to_string()),
                None => {}
            }
        }
        text
    }
}

/// One kind of event, ready to be filled and published.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) exchange: String,
    key: Template,
    body: Template,
    request: Template,
}

impl Sample {
    fn new(kind: &Kind) -> anyhow::Result<Self> {
        // The database holds the account's id; it has to go first.
        let text = kind
            .sample
            .replace(DATABASE, "~database~")
            .replace(ENCODED_REALM, "~encoded-realm~")
            .replace(REALM, "~realm~")
            .replace(ACCOUNT, "~account~");
        let sample: Value = serde_json::from_str(&text)?;
        let exchange = sample["exchange"].as_str().context("no exchange")?;
        let mut key = sample["routing_key"].as_str().context("no key")?.to_owned();
        let mut payload = sample["payload"].clone();
        payload["Load-Number"] = json!("~number~");
        if exchange != "configuration" {
            payload["Call-ID"] = json!("~call~");
            let (head, _) = key.rsplit_once('.').context("a key of one word")?;
            key = format!("{head}.~call~");
        }
        let request = json!({
            "data": {"exchange": exchange, "routing_key": key, "payload": payload},
        });
        Ok(Self {
            exchange: exchange.to_owned(),
            key: Template::new(&key),
            body: Template::new(&payload.to_string()),
            request: Template::new(&request.to_string()),
        })
    }

    /// Of all kinds, in their order.
    pub(crate) fn all() -> anyhow::Result<Vec<Self>> {
        let sample = |kind: &Kind| {
            Self::new(kind).with_context(|| format!("the sample of {}", kind.binding))
        };
        KINDS.iter().map(sample).collect()
    }

    /// The routing key on the broker.
    pub(crate) fn key(&self, filling: Filling<'_>) -> String {
        self.key.fill(filling)
    }

    /// The body on the broker.
    pub(crate) fn body(&self, filling: Filling<'_>) -> String {
        self.body.fill(filling)
    }

    /// The body of `PUT /v2/events`.
    pub(crate) fn request(&self, filling: Filling<'_>) -> String {
        self.request.fill(filling)
    }
}

/// Finds the number of the event in a frame.
#[derive(Debug)]
pub(crate) struct NumberFinder(memchr::memmem::Finder<'static>);

impl NumberFinder {
    pub(crate) fn new() -> Self {
        Self(memchr::memmem::Finder::new(MARK))
    }

    pub(crate) fn find(&self, frame: &[u8]) -> Option<usize> {
        let digits = &frame[self.0.find(frame)? + MARK.len()..];
        let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
        std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found() {
        let finder = NumberFinder::new();
        let event = br#"{"a":1,"load_number":420,"z":2}"#;
        assert_eq!(finder.find(event), Some(420));
        assert_eq!(finder.find(br#"{"load_number":}"#), None);
        assert_eq!(finder.find(br#"{"load_number":4"#), None);
        assert_eq!(finder.find(b"{}"), None);
    }

    #[test]
    fn samples_are_filled() -> anyhow::Result<()> {
        let account = Account {
            id: "0123456789abcdef0123456789abcdef".into(),
            realm: "one.example.com".into(),
        };
        let filling = Filling {
            account: &account,
            call: 7,
            number: 42,
        };
        for sample in Sample::all()? {
            let (key, body) = (sample.key(filling), sample.body(filling));
            assert!(!key.contains('~') && !body.contains('~'), "{key} {body}");
            let body: Value = serde_json::from_str(&body)?;
            assert_eq!(body["Load-Number"], 42);
            let request: Value = serde_json::from_str(&sample.request(filling))?;
            assert_eq!(request["data"]["payload"], body);
        }
        Ok(())
    }
}
