//! The session against `api/asyncapi.json`: what the document says happens, and what happens it says.

use super::*;
use crate::described;

/// A session in the state that an entry needs.
fn given(entry: &Value) -> Rig {
    let given = entry.get("given").map(|_| described::text(entry, "given"));
    match given {
        None => Rig::logged_in(),
        Some("no token yet") => Rig::new(),
        Some("the rate limit is reached") => {
            let mut rig = Rig::logged_in();
            while rig.send(json!({"action":"ping"}))["status"] == "success" {}
            rig
        }
        // The texts themselves are held against the source's by the API's tests.
        Some(
            "the event source is away"
            | "the event source refuses"
            | "the account is full"
            | "the node is full",
        ) => {
            let mut rig = Rig::logged_in();
            rig.broker = Err(described::text(entry, "text").to_owned());
            rig
        }
        Some(setting) => {
            let most = setting.strip_prefix("socket.max_subscriptions = ");
            let most = most.unwrap_or_else(|| panic!("what is {setting:?}?"));
            let mut rig =
                Rig::with(|limits| limits.max_subscriptions = most.parse().expect("a number"));
            rig.send(json!({"action":"ping","auth_token":A}));
            rig
        }
    }
}

/// What the documents' examples write in words.
fn real(example: &Value) -> Value {
    let number = |text: &str, unit: &str| -> Option<usize> {
        text.strip_prefix('{')?.strip_suffix(unit)?.parse().ok()
    };
    match example {
        Value::Object(members) => {
            let members = members.iter();
            members
                .map(|(key, value)| (key.clone(), real(value)))
                .collect()
        }
        Value::Array(items) => match items.as_slice() {
            [Value::String(text)] if number(text, " times}").is_some() => {
                json!(vec!["x"; number(text, " times}").unwrap_or_default()])
            }
            items => items.iter().map(real).collect(),
        },
        Value::String(text) => match text.as_str() {
            "{token}" => A.into(),
            "{token of another account}" => B.into(),
            text => number(text, " characters}")
                .map_or_else(|| text.into(), |many| "x".repeat(many).into()),
        },
        other => other.clone(),
    }
}

#[test]
fn each_error_is_provoked_by_its_request() {
    for entry in described::list("x-errors") {
        let expected = described::text(entry, "text");
        assert!(!described::text(entry, "meaning").is_empty());
        let Some(request) = entry.get("request") else {
            assert!(!described::text(entry, "note").is_empty(), "{expected}");
            continue;
        };
        let mut rig = given(entry);
        let reply = match request {
            Value::String(raw) => rig.text(raw),
            message => rig.send(real(message)),
        };
        let errors = reply["data"]["errors"].as_array();
        let error = errors
            .and_then(|all| all.last()?.as_str())
            .unwrap_or_default();
        assert_eq!(described::error(error), Some(expected), "{reply}");
    }
}

#[test]
fn errors_of_the_built_in_categories() {
    fn check(value: &toml::Value) {
        match value {
            toml::Value::Table(members) => {
                for (key, value) in members {
                    match value.as_str() {
                        Some(text)
                            if ["error", "wildcard_error", "refuse", "invalid_format"]
                                .contains(&&**key) =>
                        {
                            described::assert_error(text);
                        }
                        _ => check(value),
                    }
                }
            }
            toml::Value::Array(items) => items.iter().for_each(check),
            _ => {}
        }
    }
    check(
        &include_str!("../catalogue/builtin.toml")
            .parse()
            .map(toml::Value::Table)
            .expect("TOML"),
    );
}

#[test]
fn examples_are_what_happens() {
    let document = described::asyncapi();
    let messages = &document["components"]["messages"];
    let mut rig = Rig::new();
    for (request, reply) in [
        ("subscribe", "subscribeReply"),
        ("unsubscribe", "unsubscribeReply"),
        ("ping", "pingReply"),
    ] {
        let example = real(&messages[request]["examples"][0]["payload"]);
        let expected = &messages[reply]["examples"][0]["payload"];
        assert_eq!(rig.send(example), *expected, "{request}");
    }
    let others = ["subscribe", "unsubscribe"].map(|request| &messages[request]["examples"][1]);
    for example in others {
        let reply = rig.send(real(&example["payload"]));
        assert_eq!(reply["status"], "success", "{example}");
    }
    let unknown = rig.send(json!({"action":"dance","request_id":"r-1"}));
    assert_eq!(unknown, messages["errorReply"]["examples"][0]["payload"]);
}
