//! One event to all who may see it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::frame::{frame, tail};
use super::normalise::normalise;
use super::peek::{Unroutable, peek};
use crate::catalogue::Catalogue;
use crate::index::{Group, Index, Member};
use crate::model::Event;

/// A member of a group that takes frames. Offering never waits: what happens when the receiver is
/// full is the receiver's policy.
pub trait Receiver: Member {
    /// A frame, cheap to clone and shared by all receivers of a group.
    type Frame;

    /// A frame of an event that the source got at `received`.
    fn frame(text: String, received: Instant) -> Self::Frame;

    /// Queues a frame. True: it waits for [`Receiver::flush`].
    fn offer(&self, frame: &Self::Frame) -> bool;

    /// Sends what was queued, as far as that goes without waiting.
    fn flush(&self);
}

/// Takes events one after the other, in the order of the source.
#[derive(Debug)]
pub struct Dispatcher<M> {
    catalogue: Arc<Catalogue>,
    index: Arc<Index<M>>,
    // Reused from event to event.
    groups: Vec<Arc<Group<M>>>,
    data: String,
    /// Members with frames that nobody sends before the next flush.
    touched: VecDeque<M>,
}

/// What became of an event.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// Groups that got a frame.
    pub groups: u64,
    /// Frames queued: one for each member of each group.
    pub deliveries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Groups whose pattern matched although the event is of another account.
    pub withheld: u64,
}

/// Why an event was dropped. The name is the metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The body is not a JSON object.
    NotJson,
    /// A call event without the headers from which its key is made.
    Incomplete,
    /// From an exchange that no category names.
    UnknownExchange,
}

impl Refused {
    /// The label in metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::Incomplete => "incomplete",
            Self::UnknownExchange => "unknown_exchange",
        }
    }
}

impl<M: Receiver> Dispatcher<M> {
    /// A dispatcher over an index that others bind and unbind meanwhile.
    pub fn new(catalogue: Arc<Catalogue>, index: Arc<Index<M>>) -> Self {
        Self {
            catalogue,
            index,
            groups: Vec::new(),
            data: String::new(),
            touched: VecDeque::new(),
        }
    }

    /// Routes one event and queues its frames, which leave with [`Dispatcher::flush`]. Never waits.
    pub fn dispatch(&mut self, event: &Event) -> Result<Delivered, Refused> {
        let exchange = self
            .catalogue
            .exchange(&event.exchange)
            .ok_or(Refused::UnknownExchange)?;
        let peek =
            peek(&event.body, exchange, &event.routing_key).map_err(|error| match error {
                Unroutable::Json(_) => Refused::NotJson,
                Unroutable::Incomplete => Refused::Incomplete,
            })?;
        self.index
            .matching(&event.exchange, &peek.routing_key, &mut self.groups);
        let mut delivered = Delivered::default();
        let account = peek.account.as_deref();
        self.groups.retain(|group| {
            let allowed = group.may_see(account);
            delivered.withheld += u64::from(!allowed);
            allowed
        });
        if self.groups.is_empty() {
            return Ok(delivered);
        }
        self.data.clear();
        normalise(&event.body, &mut self.data).map_err(|_| Refused::NotJson)?;
        let tail = tail(peek.name, &peek.routing_key, &self.data);
        for group in self.groups.drain(..) {
            let text = frame(
                group.subscribed_key(),
                &group.key_for(&peek.routing_key),
                &tail,
            );
            let bytes = text.len() as u64;
            let frame = M::frame(text, event.received);
            group.for_each_member(|member| {
                if member.offer(&frame) {
                    self.touched.push_back(member.clone());
                }
                delivered.deliveries += 1;
                delivered.bytes += bytes;
            });
            delivered.groups += 1;
        }
        Ok(delivered)
    }

    /// How many receivers have frames that wait for [`Dispatcher::flush`].
    pub fn touched(&self) -> usize {
        self.touched.len()
    }

    /// Sends what waits for so many receivers, to each all its frames together; those who have waited
    /// longest come first.
    pub fn flush(&mut self, most: usize) {
        let count = most.min(self.touched.len());
        for member in self.touched.drain(..count) {
            member.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{Account, Subscription};
    use crate::model::{AccountId, Scope, SessionId};
    use serde_json::{Value, json};
    use std::sync::Mutex;

    const A: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
    const B: &str = "0f9e8d7c6b5a49382716f5e4d3c2b1a0";

    #[derive(Clone)]
    struct Socket {
        session: SessionId,
        frames: Arc<Mutex<Vec<String>>>,
    }

    impl Member for Socket {
        fn session(&self) -> &SessionId {
            &self.session
        }
    }

    impl Receiver for Socket {
        type Frame = String;
        fn frame(text: String, _: Instant) -> String {
            text
        }
        fn offer(&self, frame: &String) -> bool {
            self.frames.lock().expect("a lock").push(frame.clone());
            false
        }
        fn flush(&self) {}
    }

    struct Rig {
        catalogue: Arc<Catalogue>,
        index: Arc<Index<Socket>>,
        dispatcher: Dispatcher<Socket>,
    }

    impl Rig {
        fn new() -> Self {
            let catalogue = Arc::new(Catalogue::builtin());
            let index = Arc::new(Index::default());
            let dispatcher = Dispatcher::new(catalogue.clone(), index.clone());
            Self {
                catalogue,
                index,
                dispatcher,
            }
        }

        fn subscriptions(&self, id: &str, binding: &str) -> Vec<Subscription> {
            let plan = self.catalogue.validate(binding).expect("valid");
            let realm = if id == A {
                "a3f1c2.sip.example.net"
            } else {
                "other.example.net"
            };
            let account = Account {
                scope: AccountId::parse(id).map_or(Scope::All, Scope::One),
                realm: Some(realm.into()),
            };
            self.catalogue
                .expand(&plan, &account, false)
                .expect("expands")
        }

        fn socket(&self, id: &str, bindings: &[&str]) -> Socket {
            let socket = Socket {
                session: SessionId::new(&format!("{id}{}", bindings.join(" "))),
                frames: Arc::default(),
            };
            for subscription in bindings.iter().flat_map(|b| self.subscriptions(id, b)) {
                self.index.bind(&Arc::new(subscription), socket.clone());
            }
            socket
        }

        fn publish(&mut self, exchange: &str, key: &str, body: &str) -> Result<Delivered, Refused> {
            self.dispatcher.dispatch(&Event {
                exchange: exchange.into(),
                routing_key: key.into(),
                body: body.into(),
                received: Instant::now(),
            })
        }
    }

    /// Every fixture through the whole path, to every binding that its file names.
    #[test]
    fn fixtures() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/events");
        for file in std::fs::read_dir(folder).expect("the fixtures") {
            let text = std::fs::read_to_string(file.expect("a file").path()).expect("text");
            let event: Value = serde_json::from_str(&text).expect("JSON");
            let field = |key: &str| event[key].as_str().expect("text");
            let mut rig = Rig::new();
            for request in event["client_bindings"].as_array().expect("an array") {
                let text = |key: &str| request[key].as_str().unwrap_or_default();
                let (id, binding) = (text("account_id"), text("binding"));
                if request.get("error").is_some() || binding.contains('#') {
                    continue;
                }
                let socket = rig.socket(id, &[binding]);
                rig.publish(
                    field("exchange"),
                    field("routing_key"),
                    &event["payload"].to_string(),
                )
                .expect("delivered");
                let frames = socket.frames.lock().expect("a lock").clone();
                // Section 9: the literal `*` of a fax without account reaches account `*` only.
                let expected = request["socket_match"] == true
                    && (id == "*"
                        || text("matched_subscription_key") != format!("fax.status.{id}.*")
                        || field("routing_key").starts_with(&format!("fax.status.{A}."))
                            && id == A);
                assert_eq!(
                    frames.len(),
                    usize::from(expected),
                    "{id} {binding} {}",
                    event["description"]
                );
                let Some(frame) = frames.first() else {
                    continue;
                };
                let frame: Value = serde_json::from_str(frame).expect("JSON");
                assert_eq!(
                    frame,
                    json!({
                        "action": "event",
                        "subscribed_key": binding,
                        "subscription_key": text("matched_subscription_key"),
                        "name": field("expected_name"),
                        "routing_key": field("expected_routing_key"),
                        "data": event["expected_data"],
                    })
                );
            }
        }
    }

    #[test]
    fn another_accounts_body_under_my_key_is_withheld() {
        let mut rig = Rig::new();
        let mine = rig.socket(A, &["fax.status.*"]);
        let all = rig.socket("*", &["fax.status.*"]);
        let body = format!(r#"{{"Account-ID":"{B}","Event-Name":"status"}}"#);
        let delivered = rig
            .publish("faxes", &format!("fax.status.{A}.x"), &body)
            .expect("ok");
        assert_eq!((delivered.deliveries, delivered.withheld), (1, 1));
        assert!(mine.frames.lock().expect("a lock").is_empty());
        assert_eq!(all.frames.lock().expect("a lock").len(), 1);
    }

    #[test]
    fn overlapping_bindings_get_a_frame_each() {
        let mut rig = Rig::new();
        let socket = rig.socket(
            A,
            &["call.CHANNEL_CREATE.*", "call.*.*", "call.CHANNEL_CREATE.x"],
        );
        let body = format!(
            r#"{{"Event-Name":"CHANNEL_CREATE","Call-ID":"x","Custom-Channel-Vars":{{"Account-ID":"{A}"}}}}"#
        );
        let delivered = rig
            .publish("callevt", "call.CHANNEL_CREATE.x", &body)
            .expect("ok");
        assert_eq!(delivered.deliveries, 3);
        let mut keys: Vec<String> = socket
            .frames
            .lock()
            .expect("a lock")
            .iter()
            .map(|frame| {
                serde_json::from_str::<Value>(frame).expect("JSON")["subscribed_key"].to_string()
            })
            .collect();
        keys.sort();
        assert_eq!(
            keys,
            [
                "\"call.*.*\"",
                "\"call.CHANNEL_CREATE.*\"",
                "\"call.CHANNEL_CREATE.x\""
            ]
        );
    }

    #[test]
    fn bad_events_are_refused_by_reason() {
        let mut rig = Rig::new();
        assert_eq!(rig.publish("faxes", "k", "no"), Err(Refused::NotJson));
        assert_eq!(rig.publish("callevt", "k", "{}"), Err(Refused::Incomplete));
        assert_eq!(
            rig.publish("nowhere", "k", "{}"),
            Err(Refused::UnknownExchange)
        );
        assert_eq!(rig.publish("faxes", "k", "{}"), Ok(Delivered::default()));
    }
}
