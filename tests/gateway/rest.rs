//! HTTP: health, metrics, the catalogue, envelopes, publishing, documents.

use serde_json::{Value, json};

use crate::support::{A, Server, request};

#[tokio::test]
async fn health_and_metrics() {
    let server = Server::start().await;
    assert_eq!(server.get("/healthz").await.json(), json!({"status":"ok"}));
    let ready = server.get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert_eq!(ready.json()["source"]["kind"], "embedded");
    let metrics = server.get("/metrics").await;
    assert!(
        metrics
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    for family in [
        "sockets",
        "subscriptions",
        "events_received",
        "events_matched",
        "deliveries",
        "delivered_bytes",
        "source_connected",
        "delivery_latency_seconds",
    ] {
        assert!(
            metrics
                .text
                .contains(&format!("# TYPE blackhole_{family} ")),
            "{family}"
        );
    }
    assert!(metrics.text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn the_catalogue() {
    let server = Server::start().await;
    let answer = server.get("/v2/websockets").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "application/json")
    );
    let body = answer.json();
    assert_eq!(body["status"], "success");
    assert_eq!(body["request_id"], answer.header("x-request-id"));
    assert_eq!(body["node"].as_str().unwrap().len(), 22);
    assert!(body.get("version").is_none() && body.get("auth_token").is_none());
    assert_eq!(
        body["data"]["call"][0],
        json!({"binding":"call.CHANNEL_CREATE.*","event":"CHANNEL_CREATE"})
    );
    assert_eq!(body["data"]["object"].as_array().unwrap().len(), 30);
    let list = server.get("/v2/websockets?format=list").await.json();
    assert_eq!(list["data"]["call"][0], "call.CHANNEL_CREATE.{CALL_ID}");
    assert_eq!(list["data"]["presence"][0], "presence.dialog.{ID}");
    for query in ["format=xml", "format="] {
        let answer = server.get(&format!("/v2/websockets?{query}")).await;
        assert_eq!(
            (answer.status, &answer.json()["message"]),
            (400, &json!("validation error"))
        );
    }
    assert_eq!(
        request(server.api, "HEAD", "/v2/websockets", &[], "")
            .await
            .status,
        200
    );

    // Every entry without a hole can be pasted into a subscribe.
    let account = server.account(A).await;
    let mut client = server.client().await;
    let sections = body["data"].as_object().unwrap();
    for entry in sections
        .values()
        .flat_map(|entries| entries.as_array().unwrap())
    {
        let binding = entry["binding"].as_str().unwrap();
        if !binding.contains('{') {
            client.subscribe(&account, binding).await;
        }
    }
}

#[tokio::test]
async fn errors_are_envelopes() {
    let server = Server::start().await;
    let answer = server.get("/v2/nosuch").await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.json()["error"], "404");
    assert_eq!(answer.json()["message"], "not_found");
    let answer = request(
        server.api,
        "POST",
        "/v2/user_auth",
        &[("x-request-id", "mine-1")],
        "",
    )
    .await;
    assert_eq!(
        (answer.status, answer.header("allow")),
        (405, "OPTIONS, PUT")
    );
    assert_eq!(answer.json()["request_id"], "mine-1");
    let answer = request(
        server.api,
        "GET",
        "/v2/websockets",
        &[("x-request-id", "a b")],
        "",
    )
    .await;
    assert_ne!(answer.json()["request_id"], "a b");
}

#[tokio::test]
async fn publishing_is_for_superduper_admins() {
    let server = Server::start().await;
    let master = server.master().await;
    let account = server.account(A).await;
    let put = async |token: &str, body: Value| {
        let body = body.to_string();
        request(
            server.api,
            "PUT",
            "/v2/events",
            &[("authorization", &format!("Bearer {token}"))],
            &body,
        )
        .await
    };
    let event =
        |exchange: &str| json!({"data":{"exchange":exchange,"routing_key":"k","payload":{"a":1}}});
    assert_eq!(put("garbage", event("faxes")).await.status, 401);
    assert_eq!(put(&account.token, event("faxes")).await.status, 403);
    let answer = put(&master.token, event("faxes")).await;
    assert_eq!(
        (answer.status, &answer.json()["data"]),
        (201, &json!({"routed":false}))
    );
    assert!(answer.json()["version"].is_string());
    assert!(!answer.text.contains(&master.token));
    for (body, field, rule) in [
        (event("nowhere"), "exchange", "not_found"),
        (
            json!({"data":{"routing_key":"k","payload":{}}}),
            "exchange",
            "required",
        ),
        (
            json!({"data":{"exchange":"faxes","payload":{}}}),
            "routing_key",
            "required",
        ),
        (
            json!({"data":{"exchange":"faxes","routing_key":"k"}}),
            "payload",
            "required",
        ),
        (
            json!({"data":{"exchange":"faxes","routing_key":"k","payload":[]}}),
            "payload",
            "type",
        ),
        (
            json!({"data":{"exchange":"faxes","routing_key":"k".repeat(256),"payload":{}}}),
            "routing_key",
            "maxLength",
        ),
    ] {
        let answer = put(&master.token, body).await;
        assert_eq!(answer.status, 400);
        assert!(
            answer.json()["data"][field].get(rule).is_some(),
            "{}",
            answer.text
        );
    }
    // The body goes out as it came in, digits and order included.
    let mut client = server.client().await;
    client.subscribe(&account, "fax.status.*").await;
    let raw = format!(
        r#"{{"data":{{"exchange":"faxes","routing_key":"fax.status.{A}.x","payload":{{"Z":1.0,"Account-ID":"{A}","A":123456789012345678901234567890}}}}}}"#
    );
    let answer = request(
        server.api,
        "PUT",
        "/v2/events",
        &[("x-auth-token", &master.token)],
        &raw,
    )
    .await;
    assert_eq!(answer.json()["data"]["routed"], true);
    let text = client.text().await;
    let data =
        format!(r#""data":{{"z":1.0,"account_id":"{A}","a":123456789012345678901234567890}}}}"#);
    assert!(text.ends_with(&data), "{text}");
}
