//! What the gateway does on RabbitMQ: declarations, bindings, the queue.

use serde_json::json;

use crate::support::{A, B, Publisher, Server, Vhost, until};

fn of(exchange: &str, keys: &[&str]) -> Vec<(String, String)> {
    keys.iter()
        .map(|key| (exchange.to_owned(), (*key).to_owned()))
        .collect()
}

#[tokio::test]
async fn bindings_are_few_counted_and_removed() {
    let vhost = Vhost::new().await;
    let flags = [
        "--amqp-url",
        &vhost.url,
        "--set",
        "amqp.unbind_delay=0s",
        "--set",
        "amqp.wide_threshold=1",
    ];
    let server = Server::with(&flags).await;
    let (a, b) = (server.account(A).await, server.account(B).await);
    let mut first = server.client().await;
    let mut second = server.client().await;
    // Calls: one for the node, whatever the account or the call.
    first.subscribe(&a, "call.CHANNEL_CREATE.*").await;
    first.subscribe(&a, "call.CHANNEL_CREATE.some-call").await;
    second.subscribe(&b, "call.CHANNEL_CREATE.*").await;
    assert_eq!(
        vhost.bindings().await,
        of("callevt", &["call.CHANNEL_CREATE.*"])
    );
    // Faxes: one an account, then one for all.
    first.subscribe(&a, "fax.status.*").await;
    first.subscribe(&a, "fax.status.some-fax").await;
    let mut expected = of("callevt", &["call.CHANNEL_CREATE.*"]);
    expected.extend(of("faxes", &[&format!("fax.status.{A}.*")]));
    assert_eq!(vhost.bindings().await, expected);
    second.subscribe(&b, "fax.status.*").await;
    expected[1].1 = "fax.status.*.*".into();
    assert_eq!(vhost.bindings().await, expected);
    // An unsubscribe of something never subscribed changes nothing for others.
    let never =
        json!({"action":"unsubscribe","data":{"account_id":B,"binding":"fax.status.other"}});
    assert_eq!(second.ask(never).await["status"], "success");
    // Gone with the last socket that needs them.
    first.leave().await;
    until("B's bindings are left", async || {
        let mut left = of("callevt", &["call.CHANNEL_CREATE.*"]);
        left.extend(of("faxes", &["fax.status.*.*"]));
        let now = vhost.bindings().await;
        let narrow = now.iter().any(|(_, key)| key.contains(B));
        (now == left || narrow).then_some(())
    })
    .await;
    let all = json!({"action":"unsubscribe"});
    assert_eq!(second.ask(all).await["status"], "success");
    until("none is left", async || {
        vhost.bindings().await.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_storm_of_reconnects_changes_no_binding() {
    let vhost = Vhost::new().await;
    let server = Server::with(&["--amqp-url", &vhost.url]).await;
    let account = server.account(A).await;
    let mut client = server.client().await;
    client.subscribe(&account, "presence.dialog.*").await;
    let before = vhost.bindings().await;
    for _ in 0..10 {
        client.leave().await;
        client = server.client().await;
        client.subscribe(&account, "presence.dialog.*").await;
    }
    assert_eq!(vhost.bindings().await, before);
}

#[tokio::test]
async fn a_client_that_has_its_reply_misses_nothing() {
    let vhost = Vhost::new().await;
    let server = Server::with(&["--amqp-url", &vhost.url, "--set", "amqp.unbind_delay=0s"]).await;
    let account = server.account(A).await;
    let publisher = Publisher::connect(&vhost.url).await;
    publisher.declare("callevt").await;
    // Who subscribes before the broker is there is bound when it comes.
    until("the source is there", async || {
        (server.get("/readyz").await.status == 200).then_some(())
    })
    .await;
    for number in 0..20 {
        let mut client = server.client().await;
        client.subscribe(&account, "call.CHANNEL_CREATE.*").await;
        let body = json!({"Event-Name":"CHANNEL_CREATE","Call-ID":number.to_string(),"Custom-Channel-Vars":{"Account-ID":A}});
        publisher
            .json("callevt", "call.CHANNEL_CREATE.x", &body)
            .await;
        assert_eq!(client.event().await["data"]["call_id"], number.to_string());
        client.leave().await;
    }
}

/// Kazoo's nodes declare the same exchanges after us, and we after them, without a quarrel.
#[tokio::test]
async fn exchanges_and_queue_are_declared_as_they_must_be() {
    let vhost = Vhost::new().await;
    let publisher = Publisher::connect(&vhost.url).await;
    publisher.declare("faxes").await;
    let server = Server::with(&["--amqp-url", &vhost.url, "--set", "node=blackhole@test"]).await;
    let account = server.account(A).await;
    let mut client = server.client().await;
    for binding in [
        "call.*.*",
        "fax.status.*",
        "object.*.*",
        "conference.event.c.*",
        "presence.dialog.*",
        "registration.success",
    ] {
        client.subscribe(&account, binding).await;
    }
    for exchange in [
        "callevt",
        "conference",
        "faxes",
        "configuration",
        "presence",
        "registrar",
    ] {
        publisher.declare(exchange).await;
    }
    let queues = vhost
        .ctl(&[
            "list_queues",
            "-q",
            "name",
            "durable",
            "auto_delete",
            "exclusive",
            "arguments",
        ])
        .await;
    let line = queues
        .lines()
        .find(|line| line.starts_with("blackhole-"))
        .unwrap();
    assert!(line.starts_with("blackhole-blackhole@test-"), "{line}");
    assert!(line.contains("false\tfalse\ttrue"), "{line}");
    assert!(
        line.contains("x-max-length-bytes") && !line.contains("\"x-max-length\""),
        "{line}"
    );
    let consumers = vhost
        .ctl(&["list_consumers", "-q", "queue_name", "ack_required"])
        .await;
    assert!(
        consumers.contains("false"),
        "automatic acknowledgement: {consumers}"
    );
}

#[tokio::test]
async fn a_refused_binding_is_an_error_and_harms_nothing() {
    let vhost = Vhost::new().await;
    // Somebody has taken the name of Kazoo's exchange for something else.
    let publisher = Publisher::connect(&vhost.url).await;
    publisher.declare_durable("faxes").await;
    let server = Server::with(&["--amqp-url", &vhost.url]).await;
    let account = server.account(A).await;
    let mut client = server.client().await;
    let error = client
        .error(crate::support::subscribe(&account.token, A, "fax.status.*"))
        .await;
    assert_eq!(error, "the event source refused the binding");
    assert!(server.log().contains("PRECONDITION_FAILED"));
    client.subscribe(&account, "call.CHANNEL_CREATE.*").await;
    assert_eq!(
        vhost.bindings().await,
        of("callevt", &["call.CHANNEL_CREATE.*"])
    );
    assert_eq!(server.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn publishing_goes_through_the_broker() {
    let vhost = Vhost::new().await;
    let server = Server::with(&["--amqp-url", &vhost.url]).await;
    let master = server.master().await;
    let account = server.account(A).await;
    let body =
        json!({"Event-Name":"CHANNEL_CREATE","Call-ID":"x","Custom-Channel-Vars":{"Account-ID":A}});
    assert!(
        !server
            .publish(&master, "callevt", "call.CHANNEL_CREATE.x", &body)
            .await,
        "nobody listens"
    );
    let mut client = server.client().await;
    client.subscribe(&account, "call.CHANNEL_CREATE.*").await;
    assert!(
        server
            .publish(&master, "callevt", "call.CHANNEL_CREATE.x", &body)
            .await
    );
    assert_eq!(client.event().await["data"]["call_id"], "x");
    let file = server.folder().join("event.json");
    std::fs::write(&file, body.to_string()).unwrap();
    let publish = [
        "publish",
        "--exchange",
        "callevt",
        "--routing-key",
        "call.CHANNEL_CREATE.x",
        file.to_str().unwrap(),
    ];
    assert_eq!(server.run(&publish).await, "published");
    assert_eq!(client.event().await["data"]["call_id"], "x");
    let output = server
        .command(&[
            "publish",
            "--exchange",
            "nowhere",
            "--routing-key",
            "x",
            file.to_str().unwrap(),
        ])
        .await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("exchange does not exist"));
}

/// The broker lets nobody read from one exchange: other subscriptions go on undisturbed, and the
/// binding is made as soon as the broker allows it.
#[tokio::test]
async fn a_binding_that_the_broker_forbids() {
    let vhost = Vhost::new().await;
    let url = vhost.limited_user(".*", ".*", "^(?!faxes$).*").await;
    let server = Server::with(&["--amqp-url", &url, "--set", "amqp.unbind_delay=0s"]).await;
    let account = server.account(A).await;
    let mut victim = server.client().await;
    victim.subscribe(&account, "call.CHANNEL_CREATE.*").await;
    let mut other = server.client().await;
    let publisher = Publisher::connect(&vhost.url).await;
    let call = |id: usize| json!({"Event-Name":"CHANNEL_CREATE","Call-ID":id.to_string(),"Custom-Channel-Vars":{"Account-ID":A}});
    for number in 0..30 {
        publisher
            .json("callevt", "call.CHANNEL_CREATE.x", &call(number))
            .await;
        if number % 10 == 5 {
            let message = crate::support::subscribe(&account.token, A, "fax.status.*");
            let error = other.error(message).await;
            assert_eq!(error, "the event source refused the binding");
        }
    }
    for number in 0..30 {
        assert_eq!(victim.event().await["data"]["call_id"], number.to_string());
    }
    assert_eq!(server.get("/readyz").await.json()["source"]["lost"], 0);

    // Allowed, subscribed, forbidden again; then the connection is cut.
    vhost.limited_user(".*", ".*", ".*").await;
    let mut other = until("the broker is asked again", async || {
        let mut client = server.client().await;
        let message = crate::support::subscribe(&account.token, A, "fax.status.*");
        let reply = client.ask(message).await;
        (reply["status"] == "success").then_some(client)
    })
    .await;
    vhost.limited_user(".*", ".*", "^(?!faxes$).*").await;
    vhost.cut_connections().await;
    until("it is back, without the forbidden binding", async || {
        let source = server.get("/readyz").await.json()["source"].clone();
        (source["lost"] == 1 && source["connected"] == true && source["refused_bindings"] == 1)
            .then_some(())
    })
    .await;
    vhost.limited_user(".*", ".*", ".*").await;
    until("it is bound after all", async || {
        (server.get("/readyz").await.json()["source"]["refused_bindings"] == 0).then_some(())
    })
    .await;
    let publisher = Publisher::connect(&vhost.url).await;
    let status = json!({"Event-Name":"status","Account-ID":A,"Job-ID":"j"});
    publisher
        .json("faxes", &format!("fax.status.{A}.j"), &status)
        .await;
    assert_eq!(other.event().await["data"]["job_id"], "j");
}
