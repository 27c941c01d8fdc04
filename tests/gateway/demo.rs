//! `--demo`: the simulated Kazoo, as a client sees it.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Account, Server, Vhost, column, md5, subscribe, until};

const QUICK: [&str; 3] = ["--demo", "--demo-calls-per-minute", "600"];

async fn accounts(server: &Server) -> Value {
    serde_json::from_str(&server.run(&["account", "list", "--json"]).await).unwrap()
}

async fn named(server: &Server, name: &str) -> Account {
    let accounts = accounts(server).await;
    let found = accounts
        .as_array()
        .unwrap()
        .iter()
        .find(|account| account["name"] == name);
    let id = found.unwrap()["id"].as_str().unwrap().to_owned();
    Account {
        token: server.token(&id).await,
        id,
    }
}

#[tokio::test]
async fn an_account_sees_its_own_calls() {
    let server = Server::with(&QUICK).await;
    let northwind = named(&server, "Northwind Travel").await;
    let mut client = server.client().await;
    client.subscribe(&northwind, "call.*.*").await;
    let mut alive = HashSet::new();
    let mut ended = 0;
    while ended < 10 {
        let event = client.event().await;
        let data = &event["data"];
        assert_eq!(data["custom_channel_vars"]["account_id"], northwind.id);
        let id = data["call_id"].as_str().unwrap().to_owned();
        match event["name"].as_str().unwrap() {
            "CHANNEL_CREATE" => assert!(alive.insert(id)),
            "CHANNEL_DESTROY" => ended += usize::from(alive.remove(&id)),
            _ => {}
        }
    }
}

#[tokio::test]
async fn every_category_has_something() {
    let server = Server::with(&QUICK).await;
    let master = server.master().await;
    let northwind = named(&server, "Northwind Travel").await;
    let mut client = server.client().await;
    let mut missing = HashSet::new();
    for (account, binding) in [
        ("*", "conference.event.*.*.*"),
        ("*", "fax.status.*"),
        ("*", "registration.success"),
        ("*", "call.CHANNEL_BRIDGE.*"),
        (&northwind.id, "presence.update.*"),
        (&northwind.id, "presence.dialog.*"),
        (&northwind.id, "object.*.*"),
        (&northwind.id, "fax.object.*"),
    ] {
        client
            .send(subscribe(&master.token, account, binding))
            .await;
        missing.insert(binding.to_owned());
    }
    while !missing.is_empty() {
        let text = client.text().await;
        let frame: Value = serde_json::from_str(&text).unwrap();
        assert_ne!(frame["status"], "error", "{text}");
        missing.remove(frame["subscribed_key"].as_str().unwrap_or_default());
    }
}

#[tokio::test]
async fn it_publishes_on_rabbitmq() {
    let vhost = Vhost::new().await;
    let server = Server::with(&[&["--amqp-url", &vhost.url], &QUICK[..]].concat()).await;
    let northwind = named(&server, "Northwind Travel").await;
    let mut client = server.client().await;
    client.subscribe(&northwind, "call.*.*").await;
    let mut known = HashSet::new();
    for _ in 0..100 {
        let event = client.event().await;
        let id = event["data"]["call_id"].as_str().unwrap().to_owned();
        // In order: nothing of a channel comes before its creation.
        let new = known.insert(id);
        assert!(new || event["name"] != "CHANNEL_CREATE", "{event}");
    }
}

#[tokio::test]
async fn its_accounts_and_users_stay() {
    let server = Server::with(&QUICK).await;
    let before = accounts(&server).await;
    let names = column(&before, "name");
    assert_eq!(names[0], "master");
    assert_eq!(
        names[1..],
        [
            "Northwind Travel",
            "Harbour Clinic",
            "Kestrel Logistics",
            "Kestrel Leeds"
        ]
    );
    assert_eq!(before[4]["parent"], before[3]["id"]);
    let shown = |greeting: &[String]| {
        let line = greeting.iter().find(|line| line.contains("shown once: "))?;
        Some(line.split(": ").last()?.to_owned())
    };
    let password = shown(&server.greeting).unwrap();
    let users = async |server: &Server| {
        let list = server.run(&["user", "list", "--json"]).await;
        let list: Value = serde_json::from_str(&list).unwrap();
        column(&list, "id")
    };
    let made = until("all users are made", async || {
        let users = users(&server).await;
        (users.len() == 35).then_some(users)
    })
    .await;
    let credentials = md5("anna.keller", &password);
    let log_in = json!({"credentials": credentials, "account_name": "Northwind Travel"});
    server.log_in(log_in).await.data(201);

    let server = server.restarted(&QUICK).await;
    assert_eq!(accounts(&server).await, before);
    assert_eq!(users(&server).await, made);
    assert_eq!(shown(&server.greeting), None);
}

#[tokio::test]
async fn it_runs_only_when_asked_for() {
    let server = Server::start().await;
    let master = server.master().await;
    let mut client = server.client().await;
    let reply = client.ask(subscribe(&master.token, "*", "call.*.*")).await;
    assert_eq!(reply["status"], "success", "{reply}");
    assert_eq!(accounts(&server).await.as_array().unwrap().len(), 1);
    // A demo would have begun four calls by then.
    tokio::time::sleep(Duration::from_secs(2)).await;
    client.lives().await;
}
