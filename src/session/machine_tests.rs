//! Sections 2 to 7 and 9 of the protocol under a pretend clock.

use super::*;
use crate::described;
use crate::model::{AccountId, Scope};
use proptest::prelude::*;
use serde_json::{Value, json};

#[path = "described_tests.rs"]
mod described_tests;

const A: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
const CHILD: &str = "c1b2c3d4e5f60718293a4b5c6d7e8f90";
const B: &str = "0f9e8d7c6b5a49382716f5e4d3c2b1a0";
const UNIX: u64 = 1_795_370_000;

/// A session with the answers that the shell would give: tokens are account ids (`ID`, `ID+SECONDS`
/// for one that expires, `super`), everything else is a bad token.
struct Rig {
    session: Session,
    now: Instant,
    /// What the broker says to new bindings.
    broker: Result<(), String>,
    /// Everything bound so far, by key.
    bound: Vec<String>,
    checks: usize,
}

impl Rig {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits {
            rate_burst: 100,
            rate_per_second: 10,
            max_subscriptions: 20,
            login: Duration::from_secs(60),
            idle: Duration::from_secs(3600),
            ping: Some(Duration::from_secs(30)),
            kazoo_listing: false,
        };
        change(&mut limits);
        let now = Instant::now();
        let session = Session::new(
            SessionId::new("5e5510"),
            Arc::new(Catalogue::builtin()),
            Arc::new(limits),
            now,
        );
        Self {
            session,
            now,
            broker: Ok(()),
            bound: Vec::new(),
            checks: 0,
        }
    }

    fn frame(&mut self, frame: Frame<'_>) -> Done {
        let mut step = self.session.on_frame(frame, self.now);
        loop {
            step = match step {
                Step::Authenticate(token) => {
                    self.checks += 1;
                    self.session
                        .on_identity(identity(token.expose()), self.now, UNIX)
                }
                Step::Authorise(identity, account) => {
                    self.session.on_access(access(&identity, &account))
                }
                Step::Listen(wanted) => {
                    let denied = |error| Denied {
                        outcome: Outcome::Source,
                        error,
                    };
                    let all = wanted.into_iter().map(Arc::new).collect();
                    let verdict = self.broker.clone().map(|()| all).map_err(denied);
                    self.session.on_listening(verdict)
                }
                Step::Done(done) => {
                    if let (Frame::Text(request), Some(reply)) = (frame, &done.reply) {
                        assert_described(request, reply);
                    }
                    for subscription in &done.unbind {
                        self.bound.retain(|key| *key != *subscription.key);
                    }
                    self.bound
                        .extend(done.bind.iter().map(|s| s.key.to_string()));
                    return done;
                }
            }
        }
    }

    fn text(&mut self, text: &str) -> Value {
        let done = self.frame(Frame::Text(text));
        serde_json::from_str(&done.reply.expect("a reply")).expect("JSON")
    }

    fn send(&mut self, message: Value) -> Value {
        self.text(&message.to_string())
    }

    /// The only error of a message that must fail.
    fn error(&mut self, message: Value) -> String {
        let reply = self.send(message);
        assert_eq!(reply["status"], "error", "{reply}");
        assert_eq!(
            reply["data"]["errors"].as_array().map(Vec::len),
            Some(1),
            "{reply}"
        );
        reply["data"]["errors"][0]
            .as_str()
            .expect("text")
            .to_owned()
    }

    fn logged_in() -> Self {
        let mut rig = Self::new();
        assert_eq!(
            rig.send(json!({"action":"ping","auth_token":A}))["status"],
            "success"
        );
        rig
    }

    fn subscribe(&mut self, binding: &str) -> Value {
        self.send(json!({"action":"subscribe","request_id":"r","data":{"account_id":A,"binding":binding}}))
    }

    fn later(&mut self, seconds: u64) -> Tick {
        self.now += Duration::from_secs(seconds);
        self.session.on_deadline(self.now)
    }
}

/// Nothing happens in any test that `asyncapi.json` does not have.
fn assert_described(request: &str, reply: &str) {
    let reply: Value = serde_json::from_str(reply).expect("JSON");
    for error in reply["data"]["errors"].as_array().into_iter().flatten() {
        described::assert_error(error.as_str().expect("text"));
    }
    if reply["status"] == "success" {
        let request: Value = serde_json::from_str(request).expect("JSON");
        let action = request["action"].as_str().expect("text");
        let operation = &described::asyncapi()["operations"][action];
        assert_eq!(operation["action"], "receive", "{action}");
    }
}

fn identity(token: &str) -> Result<Identity, String> {
    let (account, expires_at) = match token.split_once('+') {
        Some((account, left)) => {
            let left: u32 = left.parse().map_err(|_| "malformed")?;
            (account, Some(UNIX + u64::from(left)))
        }
        None => (token, None),
    };
    let superduper = account == "super";
    let account = if superduper { A } else { account };
    Ok(Identity {
        account: AccountId::parse(account).ok_or("malformed")?,
        owner: None,
        expires_at,
        superduper,
        grant: Default::default(),
    })
}

fn access(identity: &Identity, account: &str) -> Result<Account, String> {
    let realm = Some("a3f1c2.sip.example.net".to_owned());
    match AccountId::parse(account) {
        None if account == "*" && identity.superduper => Ok(Account {
            scope: Scope::All,
            realm: None,
        }),
        None if account == "*" => Err("unauthorized wildcard account id".into()),
        Some(id) if id == identity.account || account == CHILD => Ok(Account {
            scope: Scope::One(id),
            realm,
        }),
        _ => Err("unauthorized account id".into()),
    }
}

#[test]
fn replies_have_the_shape_of_section_3() {
    let mut rig = Rig::new();
    let done = rig.frame(Frame::Text(&format!(
        r#"{{"action":"subscribe","auth_token":"{A}","request_id":"R","data":{{"account_id":"{A}","binding":"call.CHANNEL_CREATE.*"}}}}"#
    )));
    assert_eq!(
        done.reply.as_deref(),
        Some(
            r#"{"action":"reply","request_id":"R","status":"success","data":{"subscribed":["call.CHANNEL_CREATE.*"]}}"#
        )
    );
    let done = rig.frame(Frame::Text(&format!(
        r#"{{"action":"unsubscribe","request_id":"R","data":{{"account_id":"{A}","binding":"call.CHANNEL_CREATE.*"}}}}"#
    )));
    assert_eq!(
        done.reply.as_deref(),
        Some(
            r#"{"action":"reply","request_id":"R","status":"success","data":{"unsubscribed":["call.CHANNEL_CREATE.*"],"subscribed":[]}}"#
        )
    );
    let done = rig.frame(Frame::Text(r#"{"action":"ping","request_id":"R"}"#));
    assert_eq!(
        done.reply.as_deref(),
        Some(
            r#"{"action":"reply","request_id":"R","status":"success","data":{"response":"pong"}}"#
        )
    );
    let done = rig.frame(Frame::Text(r#"{"action":"dance","request_id":"R"}"#));
    assert_eq!(
        done.reply.as_deref(),
        Some(
            r#"{"action":"reply","request_id":"R","status":"error","data":{"errors":["unknown action dance"]}}"#
        )
    );
}

#[test]
fn request_ids_are_echoed_or_made() {
    let mut rig = Rig::logged_in();
    assert_eq!(
        rig.send(json!({"action":"ping","request_id":"mine"}))["request_id"],
        "mine"
    );
    let mut made = Vec::new();
    for message in [
        json!({"action":"ping"}),
        json!({"action":"ping","request_id":""}),
    ] {
        let id = rig.send(message)["request_id"]
            .as_str()
            .expect("text")
            .to_owned();
        assert!(crate::model::id::is_hex32(&id), "{id}");
        made.push(id);
    }
    assert_ne!(made[0], made[1]);
    assert_eq!(
        rig.error(json!({"action":"ping","request_id":1})),
        "invalid request_id: expected a string"
    );
}

#[test]
fn authentication() {
    let mut rig = Rig::new();
    assert_eq!(
        rig.error(json!({"action":"ping"})),
        "authentication token required"
    );
    assert_eq!(
        rig.error(json!({"action":"ping","Auth_token":A})),
        "authentication token required (found \"Auth_token\": keys are lower case)"
    );
    assert_eq!(
        rig.error(json!({"action":"ping","auth_token":7})),
        "invalid authentication token format"
    );
    assert_eq!(
        rig.error(json!({"action":"ping","auth_token":"garbage"})),
        "failed to authenticate token: malformed"
    );
    // A message that fails after its token was checked leaves the socket as it was.
    assert_eq!(
        rig.error(json!({"action":"dance","auth_token":A})),
        "unknown action dance"
    );
    assert_eq!(
        rig.error(json!({"action":"ping"})),
        "authentication token required"
    );
    assert_eq!(
        rig.send(json!({"action":"ping","auth_token":A}))["status"],
        "success"
    );
    assert_eq!(rig.send(json!({"action":"ping"}))["status"], "success");
}

#[test]
fn later_tokens() {
    let mut rig = Rig::logged_in();
    let checks = rig.checks;
    assert_eq!(
        rig.send(json!({"action":"ping","auth_token":A}))["status"],
        "success"
    );
    assert_eq!(rig.checks, checks, "the same token is not checked again");
    assert_eq!(
        rig.error(json!({"action":"ping","auth_token":B})),
        "token belongs to another account"
    );
    let identity = rig.session.listing().identity.expect("logged in");
    assert_eq!(identity.account.as_str(), A);
    assert_eq!(
        rig.send(json!({"action":"ping","auth_token":"garbage"}))["status"],
        "success"
    );
}

#[test]
fn authorisation() {
    let mut rig = Rig::logged_in();
    let mut ask = |account: &str| {
        rig.send(json!({"action":"subscribe","data":{"account_id":account,"binding":"call.*.*"}}))
    };
    assert_eq!(
        ask("*")["data"]["errors"],
        json!(["unauthorized wildcard account id"])
    );
    assert_eq!(ask(B)["data"]["errors"], json!(["unauthorized account id"]));
    assert_eq!(ask(CHILD)["status"], "success");
    assert_eq!(
        rig.error(
            json!({"action":"subscribe","data":{"account_id":A,"binding":"conference.event.*.*.*"}})
        ),
        "unauthorized wildcard for conference id"
    );
    let mut rig = Rig::new();
    let all = json!({"action":"subscribe","auth_token":"super","data":{"account_id":"*","binding":"call.PARK_PARKED.*"}});
    assert_eq!(rig.send(all)["status"], "success");
    assert_eq!(rig.bound, ["call.*.PARK_PARKED.*"]);
    assert_eq!(rig.subscribe("conference.event.*.*.*")["status"], "success");
}

#[test]
fn validation() {
    let mut rig = Rig::logged_in();
    for (message, expected) in [
        (
            json!({"action":"subscribe"}),
            "missing required keys in data object",
        ),
        (
            json!({"action":"subscribe","data":{}}),
            "missing required keys in data object",
        ),
        (
            json!({"action":"unsubscribe","data":{}}),
            "missing required keys in data object",
        ),
        (
            json!({"action":"subscribe","Data":{"account_id":A}}),
            "missing required keys in data object (found \"Data\": keys are lower case)",
        ),
        (
            json!({"action":"unsubscribe","Data":{"account_id":A}}),
            "missing required keys in data object (found \"Data\": keys are lower case)",
        ),
        (
            json!({"action":"subscribe","data":[]}),
            "invalid data: expected an object",
        ),
        (
            json!({"action":"subscribe","data":{"x":1}}),
            "missing required keys : account_id, binding",
        ),
        (
            json!({"action":"subscribe","data":{"account_id":A}}),
            "missing required keys : binding",
        ),
        (
            json!({"action":"subscribe","data":{"binding":"x"}}),
            "missing required keys : account_id",
        ),
        (
            json!({"action":"subscribe","data":{"account_id":A,"binding":1}}),
            "invalid binding: expected a string",
        ),
        (
            json!({"action":"subscribe","data":{"account_id":1,"binding":"x"}}),
            "invalid account_id: expected a string",
        ),
        (
            json!({"action":"subscribe","data":{"account_id":A,"bindings":["x",1]}}),
            "invalid bindings: expected an array of strings",
        ),
        (json!({"action":1}), "invalid action: expected a string"),
        (json!({}), "missing action"),
        (
            json!({"Action":"ping"}),
            "missing action (found \"Action\": keys are lower case)",
        ),
        (
            json!({"action":"subscribe","data":{"account_id":A,"binding":"foo.bar"}}),
            NOT_AVAILABLE,
        ),
        (
            json!({"action":"subscribe","data":{"account_id":A,"binding":"call.X.*"}}),
            "event X not supported",
        ),
        (
            json!({"action":"ping","metadata":"x".repeat(5000)}),
            "invalid metadata: name and metadata may have 4096 bytes together",
        ),
        (
            json!({"action":"unsubscribe","metadata":"x".repeat(5000)}),
            "invalid metadata: name and metadata may have 4096 bytes together",
        ),
    ] {
        assert_eq!(rig.error(message), expected);
    }
    assert!(rig.bound.is_empty());
}

#[test]
fn what_is_no_message() {
    let mut rig = Rig::new();
    for (text, start) in [
        ("", "invalid JSON: "),
        ("{", "invalid JSON: "),
        ("[1]", "invalid JSON: expected an object"),
        ("\"x\"", "invalid JSON: expected an object"),
    ] {
        let reply = rig.text(text);
        let error = reply["data"]["errors"][0].as_str().expect("text");
        assert!(error.starts_with(start), "{error}");
    }
    let done = rig.frame(Frame::Binary);
    assert!(
        done.reply
            .expect("a reply")
            .contains("invalid JSON: binary frame, expected text")
    );
    assert!(rig.frame(Frame::Pong).reply.is_none());
}

#[test]
fn subscriptions_are_pairs_and_listed_once() {
    let mut rig = Rig::logged_in();
    assert_eq!(
        rig.subscribe("call.*.*")["data"]["subscribed"],
        json!(["call.*.*"])
    );
    assert_eq!(rig.bound.len(), 9);
    assert_eq!(
        rig.subscribe("presence.dialog.*")["data"]["subscribed"],
        json!(["call.*.*", "presence.dialog.*"])
    );
    let again = rig.subscribe("call.*.*");
    assert_eq!(
        again["data"]["subscribed"],
        json!(["call.*.*", "presence.dialog.*"])
    );
    assert_eq!(
        rig.bound.len(),
        10,
        "the same binding again changes nothing"
    );
    let reply =
        rig.send(json!({"action":"unsubscribe","data":{"account_id":A,"binding":"call.*.*"}}));
    assert_eq!(
        reply["data"],
        json!({"unsubscribed":["call.*.*"],"subscribed":["presence.dialog.*"]})
    );
    let nothing =
        rig.send(json!({"action":"unsubscribe","data":{"account_id":A,"binding":"fax.status.*"}}));
    assert_eq!(
        nothing["data"],
        json!({"unsubscribed":[],"subscribed":["presence.dialog.*"]})
    );
    let all = rig.send(json!({"action":"unsubscribe"}));
    assert_eq!(
        all["data"],
        json!({"unsubscribed":["presence.dialog.*"],"subscribed":[]})
    );
    assert!(rig.bound.is_empty());
}

#[test]
fn kazoo_listing_repeats_and_drops_the_prefix() {
    let mut rig = Rig::with(|limits| limits.kazoo_listing = true);
    rig.send(json!({"action":"ping","auth_token":A}));
    let nine = vec!["call.*.*"; 9];
    assert_eq!(rig.subscribe("call.*.*")["data"]["subscribed"], json!(nine));
    let listed = rig.subscribe("presence.dialog.*")["data"]["subscribed"].clone();
    assert_eq!(listed[9], "dialog.*");
    let reply = rig.send(
        json!({"action":"unsubscribe","data":{"account_id":A,"binding":"presence.dialog.*"}}),
    );
    assert_eq!(reply["data"]["unsubscribed"], json!(["dialog.*"]));
}

#[test]
fn several_bindings_are_all_or_nothing() {
    let mut rig = Rig::logged_in();
    let mut ask = |bindings: Value| {
        rig.send(json!({"action":"subscribe","data":{"account_id":A,"bindings":bindings}}))
    };
    let reply = ask(json!(["call.X.*", "fax.status.*", "conference.command.*"]));
    assert_eq!(
        reply["data"]["errors"],
        json!([
            "call.X.*: event X not supported",
            "conference.command.*: ConferenceId required"
        ])
    );
    let reply = ask(json!(["fax.status.*", "foo"]));
    assert_eq!(
        reply["data"]["errors"],
        json!([format!("foo: {NOT_AVAILABLE}")])
    );
    let reply = ask(json!([
        "fax.status.*",
        "call.CHANNEL_CREATE.*",
        "fax.status.*"
    ]));
    assert_eq!(
        reply["data"]["subscribed"],
        json!(["fax.status.*", "call.CHANNEL_CREATE.*"])
    );
    assert_eq!(rig.bound.len(), 2);
    let both = json!({"account_id":A,"binding":"object.*.*","bindings":["nonsense"]});
    assert_eq!(
        rig.send(json!({"action":"subscribe","data":both}))["status"],
        "success"
    );
}

#[test]
fn the_flat_form_and_raw_documents() {
    let mut rig = Rig::new();
    let flat = json!({"action":"subscribe","auth_token":A,"account_id":A,"binding":"doc_created.*.user.*"});
    assert_eq!(
        rig.send(flat)["data"]["subscribed"],
        json!(["doc_created.*.user.*"])
    );
    let flat = json!({"action":"unsubscribe","account_id":A,"bindings":["doc_created.*.user.*"]});
    assert_eq!(
        rig.send(flat)["data"]["unsubscribed"],
        json!(["doc_created.*.user.*"])
    );
}

#[test]
fn a_refused_broker_binding_leaves_no_trace() {
    let mut rig = Rig::new();
    let refusal = "the event source refused the binding";
    rig.broker = Err(refusal.into());
    let message =
        json!({"action":"subscribe","auth_token":A,"data":{"account_id":A,"binding":"call.*.*"}});
    assert_eq!(rig.error(message), refusal);
    assert!(rig.bound.is_empty());
    assert_eq!(rig.session.listing(), Listing::default());
}

#[test]
fn limits() {
    let mut rig = Rig::logged_in();
    for binding in ["call.*.*", "call.*.x"] {
        assert_eq!(rig.subscribe(binding)["status"], "success");
    }
    let message = json!({"action":"subscribe","data":{"account_id":A,"binding":"call.*.y"}});
    assert_eq!(
        rig.error(message),
        "too many subscriptions: at most 20 for a socket"
    );
    assert_eq!(rig.bound.len(), 18);
}

/// Nothing that a client sends in one message may cost much, or come back to it many times over.
#[test]
fn large_requests_are_cut_short() {
    let mut rig = Rig::logged_in();
    let many: Vec<String> = (0..5000).map(|number| format!("call.*.{number}")).collect();
    let message = json!({"action":"subscribe","data":{"account_id":A,"bindings":many}});
    assert_eq!(
        rig.error(message),
        "invalid bindings: at most 20 in one message"
    );
    let message = json!({"action":"subscribe","data":{"account_id":A,"binding":format!("call.*.{}", "x".repeat(300))}});
    assert_eq!(rig.error(message), "invalid binding: at most 255 bytes");
    let error = rig.error(json!({"action":"x".repeat(60_000)}));
    assert!(error.len() < 300, "{}", error.len());
    let reply = rig.send(json!({"action":"ping","request_id":"x".repeat(60_000)}));
    assert_eq!(
        reply["data"]["errors"],
        json!(["invalid request_id: at most 256 bytes"])
    );
    assert_eq!(reply["request_id"].as_str().map(str::len), Some(32));

    let mut rig = Rig::with(|limits| limits.max_subscriptions = 1000);
    rig.send(json!({"action":"ping","auth_token":A}));
    let bad = vec![""; 1000];
    let reply = rig.send(json!({"action":"subscribe","data":{"account_id":A,"bindings":bad}}));
    let errors = reply["data"]["errors"].as_array().expect("errors");
    assert_eq!(errors.len(), 101);
    assert_eq!(errors[100], "and 900 more");
}

#[test]
fn the_rate_limit_comes_before_everything() {
    let mut rig = Rig::logged_in();
    while rig.send(json!({"action":"ping"}))["status"] == "success" {}
    let reply = rig.text("not json");
    assert_eq!(
        reply["data"]["errors"],
        json!(["rate limiting threshold hit for 5e5510!"])
    );
    // Pongs that nobody asked for count as well.
    let mut rig = Rig::logged_in();
    let closed = (0..1000).find_map(|_| rig.frame(Frame::Pong).close);
    assert_eq!(closed, Some(Close::Rate));
}

#[test]
fn only_changes_are_listed_anew() {
    let mut rig = Rig::logged_in();
    assert!(!rig.frame(Frame::Text(r#"{"action":"ping"}"#)).relist);
    assert!(
        rig.frame(Frame::Text(r#"{"action":"ping","name":"desk"}"#))
            .relist
    );
    let outcome = rig.frame(Frame::Text(r#"{"action":"dance"}"#)).outcome;
    assert_eq!(outcome, Outcome::Invalid);
}

#[test]
fn rate_limit_and_its_end() {
    let mut rig = Rig::logged_in();
    for _ in 0..99 {
        assert_eq!(rig.send(json!({"action":"ping"}))["status"], "success");
    }
    let refused = rig.send(json!({"action":"ping","request_id":"r"}));
    assert_eq!(
        refused["data"]["errors"],
        json!(["rate limiting threshold hit for 5e5510!"])
    );
    assert_eq!(refused["request_id"], "r");
    let mut refusals = 1;
    loop {
        let done = rig.frame(Frame::Text("{}"));
        if let Some(close) = done.close {
            assert_eq!(close, Close::Rate);
            break;
        }
        refusals += 1;
    }
    assert_eq!(refusals, 100);
    let mut rig = Rig::logged_in();
    while rig.send(json!({"action":"ping"}))["status"] == "success" {}
    rig.now += Duration::from_secs(1);
    assert_eq!(
        rig.send(json!({"action":"ping"}))["status"],
        "success",
        "ten a second come back"
    );
}

#[test]
fn deadlines() {
    let mut rig = Rig::with(|limits| limits.ping = None);
    assert_eq!(
        rig.session.next_deadline(),
        rig.now + Duration::from_secs(60)
    );
    assert_eq!(rig.later(59), Tick::Nothing);
    assert_eq!(
        rig.later(1),
        Tick::Close(Close::Login(Duration::from_secs(60)))
    );

    let mut rig = Rig::with(|limits| limits.ping = None);
    rig.send(json!({"action":"ping","auth_token":A}));
    assert_eq!(rig.later(3599), Tick::Nothing);
    rig.frame(Frame::Pong);
    assert_eq!(rig.later(3599), Tick::Nothing);
    assert_eq!(
        rig.later(1),
        Tick::Close(Close::Idle(Duration::from_secs(3600)))
    );

    let mut rig = Rig::logged_in();
    assert_eq!(rig.later(30), Tick::Ping);
    rig.frame(Frame::Pong);
    assert_eq!(rig.later(30), Tick::Ping);
    assert_eq!(rig.later(30), Tick::Close(Close::Dead));
}

#[test]
fn expiry_is_enforced_and_extended() {
    let token = |left: u64| format!("{A}+{left}");
    let mut rig = Rig::with(|limits| limits.ping = None);
    rig.send(json!({"action":"ping","auth_token":token(100)}));
    assert_eq!(rig.later(99), Tick::Nothing);
    assert_eq!(rig.later(1), Tick::Close(Close::Expired));

    let mut rig = Rig::with(|limits| limits.ping = None);
    rig.send(json!({"action":"ping","auth_token":token(100)}));
    rig.send(json!({"action":"ping","auth_token":token(300)}));
    rig.send(json!({"action":"ping","auth_token":token(50)}));
    assert_eq!(rig.later(299), Tick::Nothing);
    assert_eq!(rig.later(1), Tick::Close(Close::Expired));
}

#[test]
fn name_and_metadata_are_kept() {
    let mut rig = Rig::logged_in();
    rig.send(json!({"action":"ping","name":"desk","data":{"metadata":{"floor":3}}}));
    let listing = rig.session.listing();
    assert_eq!(
        (listing.name, listing.metadata),
        (Some(json!("desk")), Some(json!({"floor":3})))
    );
    rig.send(json!({"action":"ping"}));
    assert_eq!(rig.session.listing().name, Some(json!("desk")));
}

#[test]
fn the_end_gives_everything_back() {
    let mut rig = Rig::logged_in();
    rig.subscribe("call.*.*");
    assert_eq!(rig.session.end().len(), 9);
    assert!(rig.session.listing().bindings.is_empty());
}

fn message() -> impl Strategy<Value = String> {
    let action = prop::sample::select(vec!["subscribe", "unsubscribe", "ping", "dance"]);
    let account = prop::sample::select(vec![A, B, "*", ""]);
    let binding = prop::sample::select(vec![
        "call.*.*",
        "fax.status.*",
        "object.*.*",
        "x",
        "call.#.x",
        "",
    ]);
    let token = prop::sample::select(vec![A, B, "garbage"]);
    let structured = (
        action,
        prop::option::of(account),
        prop::option::of(binding),
        prop::option::of(token),
    )
        .prop_map(|(action, account, binding, token)| {
            let mut message = json!({"action":action,"data":{}});
            if let Some(token) = token {
                message["auth_token"] = token.into();
            }
            if let Some(account) = account {
                message["data"]["account_id"] = account.into();
            }
            if let Some(binding) = binding {
                message["data"]["binding"] = binding.into();
            }
            message.to_string()
        });
    prop_oneof![
        structured,
        ".{0,40}",
        r#"\{"(action|data|auth_token)":.{0,20}\}"#
    ]
}

proptest! {
    #[test]
    fn any_text_frame_gets_exactly_one_reply(messages in prop::collection::vec(message(), 1..40)) {
        let mut rig = Rig::new();
        for message in messages {
            let done = rig.frame(Frame::Text(&message));
            let reply: Value = serde_json::from_str(&done.reply.expect("a reply")).expect("JSON");
            prop_assert_eq!(&reply["action"], "reply");
            if reply["status"] == "error" {
                prop_assert!(done.bind.is_empty() && done.unbind.is_empty() && !done.relist);
            }
        }
    }

    #[test]
    fn subscribe_then_unsubscribe_leaves_nothing(
        bindings in prop::collection::vec(prop::sample::select(vec![
            "call.CHANNEL_CREATE.*", "fax.status.*", "fax.status.x", "presence.dialog.*", "object.doc_created.user",
        ]), 1..12),
    ) {
        let mut rig = Rig::logged_in();
        for binding in &bindings {
            rig.subscribe(binding);
        }
        for binding in &bindings {
            rig.send(json!({"action":"unsubscribe","data":{"account_id":A,"binding":binding}}));
        }
        prop_assert!(rig.bound.is_empty());
        prop_assert!(rig.session.end().is_empty());
    }
}
