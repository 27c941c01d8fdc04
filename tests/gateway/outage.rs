//! The broker is killed and comes back, under traffic.

use serde_json::json;

use crate::support::{A, Broker, Publisher, Server, until};

#[tokio::test]
async fn a_killed_broker_is_reported_and_everything_comes_back() {
    let broker = Broker::start().await;
    let server = Server::with(&["--amqp-url", &broker.url]).await;
    let account = server.account(A).await;
    let mut client = server.client().await;
    client.subscribe(&account, "call.*.*").await;
    client.subscribe(&account, "fax.status.*").await;
    let before = broker.bindings().await;
    assert_eq!(before.len(), 10);
    let event = |id: &str| json!({"Event-Name":"CHANNEL_CREATE","Call-ID":id,"Custom-Channel-Vars":{"Account-ID":A}});

    // Traffic, from somebody who loses the broker as well.
    let publisher = Publisher::connect(&broker.url).await;
    publisher
        .json("callevt", "call.CHANNEL_CREATE.x", &event("before"))
        .await;
    assert_eq!(client.event().await["data"]["call_id"], "before");
    let traffic = tokio::spawn(async move {
        while publisher
            .try_json("callevt", "call.CHANNEL_CREATE.x", &event("traffic"))
            .await
        {}
    });
    assert_eq!(client.event().await["data"]["call_id"], "traffic");

    broker.kill().await;
    let state = until("the loss is reported", async || {
        let answer = server.get("/readyz").await;
        (answer.status == 503).then(|| answer.json())
    })
    .await;
    assert_eq!(state["source"]["connected"], false);
    assert_eq!(state["source"]["lost"], 1);
    assert!(
        !state["source"]["error"].as_str().unwrap().contains("guest"),
        "{state}"
    );
    assert!(server.metric("blackhole_source_connected").await < 0.5);
    assert!(server.log().contains("RabbitMQ lost"));
    traffic.await.unwrap();

    // The socket lives on; whoever subscribes now is bound when the broker is back.
    let mut late = server.client().await;
    late.subscribe(&account, "presence.dialog.*").await;
    broker.start_again().await;
    until("the source is back", async || {
        (server.get("/readyz").await.status == 200).then_some(())
    })
    .await;
    assert!(server.log().contains("RabbitMQ connected"));
    assert!(server.metric("blackhole_source_lost_total").await > 0.5);
    let after = broker.bindings().await;
    assert_eq!(after.len(), 11, "{after:?}");
    assert!(before.iter().all(|binding| after.contains(binding)));

    let publisher = Publisher::connect(&broker.url).await;
    let dialog = json!({"Event-Name":"dialog_update","Call-ID":"d"});
    publisher
        .json("presence", "dialog.a3f1c2%2Esip%2Eexample%2Enet.d", &dialog)
        .await;
    assert_eq!(late.event().await["data"]["call_id"], "d");
    let body = json!({"Event-Name":"CHANNEL_CREATE","Call-ID":"after","Custom-Channel-Vars":{"Account-ID":A}});
    publisher
        .json("callevt", "call.CHANNEL_CREATE.x", &body)
        .await;
    loop {
        let id = client.event().await["data"]["call_id"].clone();
        if id == "after" {
            break;
        }
        assert_eq!(id, "traffic", "what had come before the loss");
    }
}

#[tokio::test]
async fn the_gateway_starts_before_its_broker() {
    let broker = Broker::start().await;
    broker.kill().await;
    let server = Server::with(&["--amqp-url", &broker.url]).await;
    assert_eq!(server.get("/healthz").await.status, 200);
    assert_eq!(server.get("/readyz").await.status, 503);
    let account = server.account(A).await;
    let master = server.master().await;
    let body = json!({"data":{"exchange":"callevt","routing_key":"k","payload":{}}}).to_string();
    let answer = crate::support::request(
        server.api,
        "PUT",
        "/v2/events",
        &[("x-auth-token", &master.token)],
        &body,
    )
    .await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    let mut client = server.client().await;
    client.subscribe(&account, "fax.status.*").await;
    broker.start_again().await;
    until("the source is there", async || {
        (server.get("/readyz").await.status == 200).then_some(())
    })
    .await;
    let publisher = Publisher::connect(&broker.url).await;
    let status = json!({"Event-Name":"status","Account-ID":A,"Job-ID":"j"});
    publisher
        .json("faxes", &format!("fax.status.{A}.j"), &status)
        .await;
    assert_eq!(client.event().await["data"]["job_id"], "j");
}

/// A broker that is short of memory stops taking events; binding and receiving go on.
#[tokio::test]
async fn a_broker_short_of_memory_blocks_publishers_only() {
    let broker = Broker::start().await;
    let server = Server::with(&["--amqp-url", &broker.url]).await;
    let account = server.account(A).await;
    let master = server.master().await;
    let mut client = server.client().await;
    client.subscribe(&account, "call.CHANNEL_CREATE.*").await;
    let event = |id: &str| json!({"Event-Name":"CHANNEL_CREATE","Call-ID":id,"Custom-Channel-Vars":{"Account-ID":A}});
    assert!(
        server
            .publish(
                &master,
                "callevt",
                "call.CHANNEL_CREATE.x",
                &event("before")
            )
            .await
    );
    assert_eq!(client.event().await["data"]["call_id"], "before");

    broker
        .ctl(&["set_vm_memory_high_watermark", "0.000001"])
        .await;
    let body = json!({"data":{"exchange":"callevt","routing_key":"call.CHANNEL_CREATE.x","payload":event("late")}});
    let token = [("x-auth-token", master.token.as_str())];
    let answer =
        crate::support::request(server.api, "PUT", "/v2/events", &token, &body.to_string()).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(
        answer.text.contains("may have been published"),
        "{}",
        answer.text
    );
    client.subscribe(&account, "fax.status.*").await;
    let source = server.get("/readyz").await.json()["source"].clone();
    assert_eq!(
        (&source["connected"], &source["lost"]),
        (&json!(true), &json!(0))
    );

    broker.ctl(&["set_vm_memory_high_watermark", "0.4"]).await;
    assert_eq!(client.event().await["data"]["call_id"], "late");
    let body = json!({"data":{"exchange":"callevt","routing_key":"call.CHANNEL_CREATE.x","payload":event("after")}})
        .to_string();
    until("publishing works again", async || {
        let answer = crate::support::request(server.api, "PUT", "/v2/events", &token, &body);
        (answer.await.status == 201).then_some(())
    })
    .await;
    assert_eq!(
        client.event().await["data"]["call_id"],
        "after",
        "nothing came twice"
    );
}
