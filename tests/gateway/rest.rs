//! HTTP: health, metrics, the catalogue, log-in, publishing.

use serde_json::{Value, json};

use crate::support::{A, Answer, Server, request};

async fn log_in(server: &Server, data: Value) -> Answer {
    let body = json!({ "data": data }).to_string();
    request(
        server.api,
        "PUT",
        "/v2/user_auth",
        &[("content-type", "application/json")],
        &body,
    )
    .await
}

/// md5 and sha1 of `bob:secret-1`, made by md5sum and sha1sum.
const MD5: &str = "05d42d7fe1450036033298be15cdadbe";
const SHA1: &str = "fc0fb1fc315c45ea6eeb45d3bb04cd9004b2d26b";

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
async fn log_in_by_md5_and_sha() {
    let server = Server::start().await;
    server.account(A).await;
    server
        .run(&[
            "user",
            "create",
            "--account",
            A,
            "--username",
            "Bob",
            "--password",
            "secret-1",
        ])
        .await;
    let realm = "A3F1C2.sip.example.net";
    let found = async |data: Value| {
        let answer = log_in(&server, data).await;
        (answer.status == 201).then_some(answer)
    };
    let answer = crate::support::until("the user is known", async || {
        found(json!({"credentials":MD5,"account_realm":realm,"ui_metadata":{"version":"5"}})).await
    })
    .await;
    let body = answer.json();
    assert_eq!(body["data"]["account_id"], A);
    assert_eq!(
        answer.header("location"),
        format!(
            "/v2/user_auth/{}",
            body["data"]["owner_id"].as_str().unwrap()
        )
    );
    for field in [
        "language",
        "is_reseller",
        "reseller_id",
        "is_master_account",
        "cluster_id",
        "capabilities",
        "ui_config",
        "apps",
        "account_name",
    ] {
        assert!(body["data"].get(field).is_some(), "{field}");
    }
    let token = body["auth_token"].as_str().unwrap();
    let mut client = server.client().await;
    let reply = client
        .ask(crate::support::subscribe(token, A, "call.*.*"))
        .await;
    assert_eq!(reply["status"], "success", "{reply}");
    assert!(
        found(json!({"credentials":SHA1,"method":"sha","account_realm":realm}))
            .await
            .is_some()
    );
    assert!(
        found(json!({"credentials":MD5.to_uppercase(),"account_name":A.to_uppercase()}))
            .await
            .is_some()
    );

    for data in [
        json!({"credentials":"0".repeat(32),"account_name":A}),
        json!({"credentials":MD5,"account_name":"nobody"}),
        json!({"credentials":MD5}),
        json!({"credentials":SHA1,"account_name":A}),
    ] {
        let answer = log_in(&server, data).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.json()["message"], "invalid_credentials");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
}

#[tokio::test]
async fn bad_log_ins_say_what_is_wrong() {
    let server = Server::start().await;
    for (body, field, rule) in [
        (json!({"data":{}}), "credentials", "required"),
        (json!({"data":{"credentials":7}}), "credentials", "type"),
        (
            json!({"data":{"credentials":""}}),
            "credentials",
            "minLength",
        ),
        (
            json!({"data":{"credentials":"x".repeat(65)}}),
            "credentials",
            "maxLength",
        ),
        (
            json!({"data":{"credentials":"x","method":"sha1"}}),
            "method",
            "enum",
        ),
        (
            json!({"data":{"credentials":"x","account_name":7}}),
            "account_name",
            "type",
        ),
        (json!({}), "data", "required"),
        (json!({"data":"x"}), "data", "type"),
        (json!([1]), "json", "invalid"),
    ] {
        let answer = request(server.api, "PUT", "/v2/user_auth", &[], &body.to_string()).await;
        assert_eq!(
            (answer.status, &answer.json()["message"]),
            (400, &json!("validation error")),
            "{body}"
        );
        assert!(
            answer.json()["data"][field].get(rule).is_some(),
            "{}",
            answer.text
        );
    }
    let answer = request(server.api, "PUT", "/v2/user_auth", &[], "{").await;
    assert_eq!(answer.status, 400);
    let answer = request(
        server.api,
        "PUT",
        "/v2/user_auth",
        &[],
        &" ".repeat(100_000),
    )
    .await;
    assert_eq!(answer.status, 413);
    assert!(answer.json()["data"]["file"]["maxSize"].is_object());
    // Guessing is limited by address.
    let mut last = 0;
    for _ in 0..40 {
        last = log_in(&server, json!({"credentials":"x"})).await.status;
        if last == 429 {
            break;
        }
    }
    assert_eq!(last, 429);
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

/// Half a request is not waited for for ever.
#[tokio::test]
async fn slow_requests_are_cut() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Server::start().await;
    let mut head = tokio::net::TcpStream::connect(server.api).await.unwrap();
    head.write_all(b"GET /healthz HTTP/1.1\r\nHo")
        .await
        .unwrap();
    let mut body = tokio::net::TcpStream::connect(server.api).await.unwrap();
    let half = b"PUT /v2/user_auth HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{";
    body.write_all(half).await.unwrap();
    let mut answer = String::new();
    let reading = async {
        let mut nothing = Vec::new();
        let _ = head.read_to_end(&mut nothing).await;
        let mut some = [0; 4096];
        let length = body.read(&mut some).await.unwrap();
        answer.push_str(&String::from_utf8_lossy(&some[..length]));
    };
    tokio::time::timeout(crate::support::PATIENCE, reading)
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("request_timeout"));
}
