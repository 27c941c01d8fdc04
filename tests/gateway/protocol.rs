//! Sections 2 to 7 and 9 of the protocol, row by row, over each transport and each source.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{A, Account, B, Client, Server, Vhost, subscribe};

#[tokio::test]
async fn over_ws() {
    let server = Server::start().await;
    rows(&server, async || server.client().await).await;
}

#[tokio::test]
async fn over_wss() {
    let server = Server::start().await;
    rows(&server, async || server.tls_client().await).await;
}

#[tokio::test]
async fn with_rabbitmq() {
    let vhost = Vhost::new().await;
    let server = Server::with(&["--amqp-url", &vhost.url]).await;
    rows(&server, async || server.client().await).await;
}

async fn rows(server: &Server, connect: impl AsyncFn() -> Client) {
    let master = server.master().await;
    let (a, b) = (server.account(A).await, server.account(B).await);
    replies(&mut connect().await, &a).await;
    authentication(&mut connect().await, &a, &b).await;
    authorisation(&connect, &master, &a, &b).await;
    validation(&mut connect().await, &a).await;
    subscriptions(&mut connect().await, &a).await;
    differences(&mut connect().await, &a).await;
}

/// Section 3: the shape, key order included.
async fn replies(client: &mut Client, a: &Account) {
    client
        .send_text(&format!(
            r#"{{"action":"subscribe","auth_token":"{}","request_id":"R","data":{{"account_id":"{A}","binding":"call.CHANNEL_CREATE.*"}}}}"#,
            a.token
        ))
        .await;
    let expected = r#"{"action":"reply","request_id":"R","status":"success","data":{"subscribed":["call.CHANNEL_CREATE.*"]}}"#;
    assert_eq!(client.text().await, expected);
    client
        .send_text(&format!(
            r#"{{"action":"unsubscribe","request_id":"R","data":{{"account_id":"{A}","binding":"call.CHANNEL_CREATE.*"}}}}"#
        ))
        .await;
    let expected = r#"{"action":"reply","request_id":"R","status":"success","data":{"unsubscribed":["call.CHANNEL_CREATE.*"],"subscribed":[]}}"#;
    assert_eq!(client.text().await, expected);
    client
        .send_text(r#"{"action":"ping","request_id":"R"}"#)
        .await;
    let expected =
        r#"{"action":"reply","request_id":"R","status":"success","data":{"response":"pong"}}"#;
    assert_eq!(client.text().await, expected);
    client
        .send_text(r#"{"action":"dance","request_id":"R"}"#)
        .await;
    let expected = r#"{"action":"reply","request_id":"R","status":"error","data":{"errors":["unknown action dance"]}}"#;
    assert_eq!(client.text().await, expected);
    let made = client.ask(json!({"action":"ping"})).await["request_id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(made.len(), 32);
    client.send_raw(Message::Ping("x".into())).await;
    assert_eq!(client.next().await, Some(Message::Pong("x".into())));
}

/// Sections 4 and 5.
async fn authentication(client: &mut Client, a: &Account, b: &Account) {
    assert_eq!(
        client.error(json!({"action":"ping"})).await,
        "authentication token required"
    );
    assert_eq!(
        client.error(json!({"action":"ping","auth_token":1})).await,
        "invalid authentication token format"
    );
    for (token, reason) in [
        ("garbage", "malformed"),
        ("", "malformed"),
        (&a.token.replace('.', ""), "malformed"),
        (
            &format!("{}AAAA", &a.token[..a.token.len() - 4]),
            "bad signature",
        ),
    ] {
        let error = client
            .error(json!({"action":"ping","auth_token":token}))
            .await;
        assert_eq!(error, format!("failed to authenticate token: {reason}"));
    }
    // Fails after its token was checked: the socket is as it was.
    let failing = json!({"action":"dance","auth_token":a.token});
    assert_eq!(client.error(failing).await, "unknown action dance");
    assert_eq!(
        client.error(json!({"action":"ping"})).await,
        "authentication token required"
    );
    let reply = client
        .ask(json!({"action":"ping","auth_token":a.token}))
        .await;
    assert_eq!(reply["status"], "success");
    assert_eq!(
        client.ask(json!({"action":"ping"})).await["status"],
        "success"
    );
    let other = json!({"action":"ping","auth_token":b.token});
    assert_eq!(
        client.error(other).await,
        "token belongs to another account"
    );
}

async fn authorisation(
    connect: &impl AsyncFn() -> Client,
    master: &Account,
    a: &Account,
    b: &Account,
) {
    let mut client = connect().await;
    let wildcard = client.error(subscribe(&a.token, "*", "call.*.*")).await;
    assert_eq!(wildcard, "unauthorized wildcard account id");
    let other = client.error(subscribe(&a.token, &b.id, "call.*.*")).await;
    assert_eq!(other, "unauthorized account id");
    let above = client
        .error(subscribe(&a.token, &master.id, "call.*.*"))
        .await;
    assert_eq!(above, "unauthorized account id");
    let every = client
        .error(subscribe(&a.token, A, "conference.event.*.*.*"))
        .await;
    assert_eq!(every, "unauthorized wildcard for conference id");
    let mut client = connect().await;
    for account in ["*", &master.id, A, B] {
        let reply = client
            .ask(subscribe(&master.token, account, "call.*.*"))
            .await;
        assert_eq!(reply["status"], "success", "{account}: {reply}");
    }
}

/// Section 6, and the texts of kazoo-amqp.md chapter 3.
async fn validation(client: &mut Client, a: &Account) {
    client
        .ask(json!({"action":"ping","auth_token":a.token}))
        .await;
    let data = |data: Value| json!({"action":"subscribe","data":data});
    for (message, expected) in [
        (
            json!({"action":"subscribe"}),
            "missing required keys in data object",
        ),
        (data(json!({})), "missing required keys in data object"),
        (
            data(json!({"x":1})),
            "missing required keys : account_id, binding",
        ),
        (
            data(json!({"account_id":A})),
            "missing required keys : binding",
        ),
        (
            data(json!({"binding":"x"})),
            "missing required keys : account_id",
        ),
        (
            data(json!({"account_id":A,"binding":1})),
            "invalid binding: expected a string",
        ),
        (
            data(json!({"account_id":1,"binding":"x"})),
            "invalid account_id: expected a string",
        ),
        (
            data(json!({"account_id":A,"bindings":1})),
            "invalid bindings: expected an array of strings",
        ),
        (data(json!("x")), "invalid data: expected an object"),
        (json!({"action":7}), "invalid action: expected a string"),
    ] {
        assert_eq!(client.error(message).await, expected);
    }
    for (binding, expected) in [
        ("foo.bar", "no available subscriptions to requested binding"),
        ("", "no available subscriptions to requested binding"),
        (
            "*.CHANNEL_CREATE.*",
            "no available subscriptions to requested binding",
        ),
        ("call", "invalid format for call subscription : "),
        (
            "call.CHANNEL_CREATE",
            "invalid format for call subscription : CHANNEL_CREATE",
        ),
        (
            "call.CHANNEL_CREATE.a.b",
            "invalid format for call subscription : CHANNEL_CREATE, a, b",
        ),
        ("call.RINGING.*", "event RINGING not supported"),
        ("conference.event.*.x", "ConferenceId required"),
        ("conference.command.*", "ConferenceId required"),
        (
            "conference.foo.bar",
            "invalid format for conference subscription : foo, bar",
        ),
        (
            "conference.event.dance.c.*",
            "Unsupported conference event dance",
        ),
        ("fax.status", "invalid format for fax subscription : status"),
        (
            "object.doc_created",
            "invalid format for object subscription : doc_created",
        ),
        ("object.doc_made.user", "event doc_made.user not supported"),
        ("object.*.sandwich", "event *.sandwich not supported"),
        ("presence.probe.*", "event probe not supported"),
        ("presence", "invalid format for presence subscription : "),
        (
            "presence.dialog",
            "no available subscriptions to requested binding",
        ),
        (
            "registration.failure",
            "invalid format for registration subscription : failure",
        ),
        (
            "call.CHANNEL_CREATE.#",
            "invalid binding call.CHANNEL_CREATE.#: '#' is not allowed",
        ),
        (
            "call.CHANNEL_CREATE.",
            "invalid binding call.CHANNEL_CREATE.: empty segment",
        ),
        (
            "conference.command.#",
            "invalid binding conference.command.#: '#' is not allowed",
        ),
    ] {
        assert_eq!(
            client.error(subscribe(&a.token, A, binding)).await,
            expected,
            "{binding}"
        );
    }
    assert_eq!(
        client.ask(json!({"action":"unsubscribe"})).await["data"]["unsubscribed"],
        json!([])
    );
}

/// Section 7.
async fn subscriptions(client: &mut Client, a: &Account) {
    for (binding, listed) in [
        ("call.*.*", json!(["call.*.*"])),
        (
            "presence.dialog.*",
            json!(["call.*.*", "presence.dialog.*"]),
        ),
        ("call.*.*", json!(["call.*.*", "presence.dialog.*"])),
        (
            "object.doc_created.*",
            json!(["call.*.*", "presence.dialog.*", "object.doc_created.*"]),
        ),
    ] {
        let reply = client.ask(subscribe(&a.token, A, binding)).await;
        assert_eq!(reply["data"]["subscribed"], listed, "{reply}");
    }
    let one = json!({"action":"unsubscribe","data":{"account_id":A,"binding":"call.*.*"}});
    let left = json!(["presence.dialog.*", "object.doc_created.*"]);
    assert_eq!(
        client.ask(one).await["data"],
        json!({"unsubscribed":["call.*.*"],"subscribed":left})
    );
    let never = json!({"action":"unsubscribe","data":{"account_id":A,"binding":"fax.status.*"}});
    assert_eq!(
        client.ask(never).await["data"],
        json!({"unsubscribed":[],"subscribed":left})
    );
}

/// Section 9, as far as the rows above do not show it already.
async fn differences(client: &mut Client, a: &Account) {
    for (text, start) in [
        ("{", "invalid JSON: "),
        ("[]", "invalid JSON: expected an object"),
        (r#"{"Action":"ping"}"#, "authentication token required"),
        (
            r#"{"Auth_token":"x"}"#,
            "authentication token required (found \"Auth_token\": keys are lower case)",
        ),
    ] {
        client.send_text(text).await;
        let reply = client.reply().await;
        let error = reply["data"]["errors"][0].as_str().unwrap();
        assert!(error.starts_with(start), "{error}");
    }
    client.send_raw(Message::Binary("{}".into())).await;
    let error = client.reply().await["data"]["errors"][0].clone();
    assert_eq!(error, "invalid JSON: binary frame, expected text");
    client
        .ask(json!({"action":"ping","auth_token":a.token}))
        .await;
    assert_eq!(client.error(json!({})).await, "missing action");
    assert_eq!(
        client.error(json!({"Action":"ping"})).await,
        "missing action (found \"Action\": keys are lower case)"
    );
    assert_eq!(
        client.error(json!({"action":"subscribe","Data":{}})).await,
        "missing required keys in data object (found \"Data\": keys are lower case)"
    );
    // All or nothing, every bad one named.
    let several = json!({"action":"subscribe","data":{"account_id":A,"bindings":["call.X.*","fax.status.*","foo"]}});
    let reply = client.ask(several).await;
    assert_eq!(
        reply["data"]["errors"],
        json!([
            "call.X.*: event X not supported",
            "foo: no available subscriptions to requested binding"
        ])
    );
    let several = json!({"action":"subscribe","data":{"account_id":A,"bindings":["fax.status.*","conference.event.*.c.*"]}});
    let reply = client.ask(several).await;
    assert_eq!(
        reply["data"]["subscribed"],
        json!(["fax.status.*", "conference.event.*.c.*"])
    );
    let flat = json!({"action":"subscribe","account_id":A,"binding":"doc_created.*.user.*"});
    let reply = client.ask(flat).await;
    assert_eq!(reply["data"]["subscribed"][2], "doc_created.*.user.*");
    let all = client.ask(json!({"action":"unsubscribe"})).await;
    assert_eq!(all["data"]["unsubscribed"].as_array().unwrap().len(), 3);
    assert_eq!(all["data"]["subscribed"], json!([]));
}
