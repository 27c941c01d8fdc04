//! Events: every fixture from either source to the sockets, in order, as Kazoo's clients know them.

use serde_json::{Value, json};

use crate::support::{A, Account, B, Client, Publisher, Server, Vhost, fixtures, kazoo_properties};

/// A socket that subscribed to everything that a fixture names for its account.
struct Listener {
    client: Client,
    account: String,
    expected: Vec<Value>,
}

/// Where events are published.
enum Outlet<'a> {
    Rest(&'a Server, &'a Account),
    Amqp(&'a Publisher),
}

impl Outlet<'_> {
    async fn publish(&self, event: &Value) {
        let text = |key: &str| event[key].as_str().unwrap();
        let (exchange, key) = (text("exchange"), text("routing_key"));
        match self {
            Self::Rest(server, master) => {
                server
                    .publish(master, exchange, key, &event["payload"])
                    .await;
            }
            Self::Amqp(publisher) => {
                let properties =
                    kazoo_properties(event["properties"]["headers"]["call-id"].as_str());
                let body = event["payload"].to_string();
                publisher
                    .publish(exchange, key, body.as_bytes(), properties)
                    .await;
            }
        }
    }

    /// An event that every listener of this test has subscribed to: the end of its fixture.
    async fn mark(&self, account: &str) {
        let payload = json!({
            "Event-Name": "PARK_PARKED",
            "Call-ID": "the-end",
            "Custom-Channel-Vars": {"Account-ID": account},
        });
        let event = json!({
            "exchange": "callevt",
            "routing_key": "call.PARK_PARKED.the-end",
            "payload": payload,
            "properties": {"headers": {}},
        });
        self.publish(&event).await;
    }
}

#[tokio::test]
async fn fixtures_over_the_embedded_bus() {
    let server = Server::start().await;
    let master = server.master().await;
    all_fixtures(&server, &master, &Outlet::Rest(&server, &master)).await;
}

#[tokio::test]
async fn fixtures_over_rabbitmq() {
    let vhost = Vhost::new().await;
    let server = Server::with(&["--amqp-url", &vhost.url]).await;
    let master = server.master().await;
    let publisher = Publisher::connect(&vhost.url).await;
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
    all_fixtures(&server, &master, &Outlet::Amqp(&publisher)).await;
}

async fn all_fixtures(server: &Server, master: &Account, outlet: &Outlet<'_>) {
    let accounts = [server.account(A).await, server.account(B).await];
    let mut delivered = 0;
    for fixture in fixtures() {
        let mut listeners = Vec::new();
        for account in accounts.iter().chain([master]) {
            listeners.push(listen(server, account, master, &fixture).await);
        }
        outlet.publish(&fixture).await;
        for account in [A, B] {
            outlet.mark(account).await;
        }
        for listener in &mut listeners {
            delivered += listener.check(&fixture).await;
        }
        for listener in listeners {
            listener.client.leave().await;
        }
    }
    assert!(delivered > 60, "{delivered} frames");
}

/// Subscribes to all bindings of the fixture that are valid for the account, and to the mark.
async fn listen(server: &Server, account: &Account, master: &Account, fixture: &Value) -> Listener {
    let is_master = account.id == master.id;
    let name = if is_master { "*" } else { account.id.as_str() };
    let mut client = server.client().await;
    let mut expected = Vec::new();
    let mut requests = fixture["client_bindings"].as_array().unwrap().clone();
    if fixture["exchange"] == "registrar" {
        // Has none in the fixture: a category of a newer edition.
        requests.push(json!({
            "account_id": A,
            "binding": "registration.success",
            "subscribed_key": "registration.success",
            "socket_match": true,
            "matched_subscription_key": "registration.success.a3f1c2%2Esip%2Eexample%2Enet.*",
        }));
    }
    for request in requests {
        let binding = request["binding"].as_str().unwrap();
        if request["account_id"] != name || request.get("error").is_some() || binding.contains('#')
        {
            continue;
        }
        let message = json!({"action":"subscribe","auth_token":account.token,"data":{"account_id":name,"binding":binding}});
        let reply = client.ask(message).await;
        assert_eq!(reply["status"], "success", "{reply}");
        // A fax without account is for account `*` only (section 9).
        let names_no_account = fixture["routing_key"]
            .as_str()
            .unwrap()
            .starts_with("fax.status.*.");
        if request["socket_match"] == true && (is_master || !names_no_account) {
            expected.push(json!({
                "action": "event",
                "subscribed_key": binding,
                "subscription_key": request["matched_subscription_key"],
                "name": fixture["expected_name"],
                "routing_key": fixture["expected_routing_key"],
                "data": fixture["expected_data"],
            }));
        }
    }
    let mark = json!({"action":"subscribe","auth_token":account.token,"data":{"account_id":name,"binding":"call.PARK_PARKED.the-end"}});
    assert_eq!(client.ask(mark).await["status"], "success");
    Listener {
        client,
        account: name.to_owned(),
        expected,
    }
}

impl Listener {
    /// Everything up to the mark, and nothing else, has come.
    async fn check(&mut self, fixture: &Value) -> usize {
        let mut got = Vec::new();
        loop {
            let event = self.client.event().await;
            if event["data"]["call_id"] == "the-end" {
                // The wildcard bindings of parking get the mark as well.
                if event["subscribed_key"] == "call.PARK_PARKED.the-end" {
                    break;
                }
            } else {
                got.push(event);
            }
        }
        let order = |event: &Value| event["subscribed_key"].to_string();
        got.sort_by_key(order);
        self.expected.sort_by_key(order);
        assert_eq!(
            got, self.expected,
            "{} for {}",
            fixture["description"], self.account
        );
        got.len()
    }
}

#[tokio::test]
async fn a_burst_arrives_whole_and_in_order() {
    const EVENTS: usize = 5000;
    let vhost = Vhost::new().await;
    let server = Server::with(&[
        "--amqp-url",
        &vhost.url,
        "--set",
        "socket.max_waiting_bytes=64MiB",
    ])
    .await;
    let account = server.account(A).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = server.client().await;
        client.subscribe(&account, "call.CHANNEL_CREATE.*").await;
        clients.push(client);
    }
    let publisher = Publisher::connect(&vhost.url).await;
    let publish = async {
        for number in 0..EVENTS {
            let body = json!({
                "Event-Name": "CHANNEL_CREATE",
                "Call-ID": number.to_string(),
                "Custom-Channel-Vars": {"Account-ID": A},
                "Padding": "x".repeat(1500),
            });
            publisher
                .json("callevt", &format!("call.CHANNEL_CREATE.{number}"), &body)
                .await;
        }
    };
    let read = async {
        for client in &mut clients {
            for number in 0..EVENTS {
                assert_eq!(client.event().await["data"]["call_id"], number.to_string());
            }
        }
    };
    tokio::join!(publish, read);
}

#[tokio::test]
async fn bad_bodies_are_counted_and_harm_nothing() {
    let vhost = Vhost::new().await;
    let server = Server::with(&["--amqp-url", &vhost.url, "--set", "event.max_bytes=8KiB"]).await;
    let account = server.account(A).await;
    let mut client = server.client().await;
    client.subscribe(&account, "fax.status.*").await;
    client.subscribe(&account, "call.CHANNEL_CREATE.*").await;
    let publisher = Publisher::connect(&vhost.url).await;
    let key = format!("fax.status.{A}.x");
    let json = || kazoo_properties(None);
    let good = json!({"Event-Name":"status","Account-ID":A,"Job-ID":"good"}).to_string();
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut zipped, good.as_bytes()).unwrap();
    let zipped = zipped.finish().unwrap();
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut bomb, &vec![b' '; 1_000_000]).unwrap();
    let bomb = bomb.finish().unwrap();
    let gzip = || json().with_content_encoding("gzip".into());
    let mut for_process = lapin::types::FieldTable::default();
    for_process.insert(
        "Deliver-To-PID".into(),
        lapin::types::AMQPValue::LongString("<0.1.0>".into()),
    );
    for (body, properties) in [
        (&b"not json"[..], json()),
        (b"[1]", json()),
        (b"\xff\xfe", json()),
        (b"", json()),
        (
            good.as_bytes(),
            json().with_content_type("application/erlang".into()),
        ),
        (&vec![b' '; 10_000], json()),
        (good.as_bytes(), gzip()),
        (&bomb, gzip()),
        (good.as_bytes(), json().with_headers(for_process)),
    ] {
        publisher.publish("faxes", &key, body, properties).await;
    }
    publisher
        .publish("callevt", "call.CHANNEL_CREATE.x", b"{}", json())
        .await;
    publisher.publish("faxes", &key, &zipped, gzip()).await;
    let event = client.event().await;
    assert_eq!(event["data"]["job_id"], "good");
    for (reason, count) in [
        ("not_json", 4.0),
        ("content_type", 1.0),
        ("oversize", 2.0),
        ("gzip", 1.0),
        ("for_process", 1.0),
        ("incomplete", 1.0),
    ] {
        let name = format!("blackhole_events_dropped_total{{reason=\"{reason}\"}}");
        assert!((server.metric(&name).await - count).abs() < 0.5, "{reason}");
    }
}

#[tokio::test]
async fn an_operators_category_delivers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("blackhole.toml");
    std::fs::write(
        &file,
        r#"
[[exchange]]
name = "doors"

[[category]]
name = "door"
[category.fields.event]
one_of = ["OPENED", "CLOSED"]
wildcard = "each"
error = "event {event} not supported"
[[category.form]]
binding = "door.{event}.{door_id}"
[[category.form.subscription]]
key = "door.{account}.{event}.{door_id}"
exchange = "doors"
amqp = "door.{account}.{event}.*"
"#,
    )
    .unwrap();
    let vhost = Vhost::new().await;
    let server =
        Server::with(&["--config", file.to_str().unwrap(), "--amqp-url", &vhost.url]).await;
    let account = server.account(A).await;
    let mut client = server.client().await;
    client.subscribe(&account, "door.*.*").await;
    let error = client
        .error(json!({"action":"subscribe","data":{"account_id":A,"binding":"door.BROKEN.*"}}))
        .await;
    assert_eq!(error, "event BROKEN not supported");
    let publisher = Publisher::connect(&vhost.url).await;
    let body = json!({"Event-Name":"OPENED","Account-ID":A,"Door-ID":7});
    publisher
        .json("doors", &format!("door.{A}.OPENED.7"), &body)
        .await;
    let event = client.event().await;
    assert_eq!(event["subscribed_key"], "door.*.*");
    assert_eq!(event["subscription_key"], format!("door.{A}.OPENED.*"));
    assert_eq!(event["data"]["door_id"], 7);
}
